//! Following the Node objects, and telling the others this node's key.

use super::nodes::{self, KEY_ANNOTATION, Node, PublicKey};
use crate::client;
use crate::places::Places;
use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch::Sender;

const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// Sends the nodes of the cluster whenever what matters of one changed. A client is made anew after each failure, because the
/// node's certificate may have been.
pub async fn run(places: &Places, name: &str, key: Option<PublicKey>, send: Sender<Option<Vec<Node>>>) {
    let mut wait = SOONEST;
    loop {
        let mut heard = false;
        let done = match client::node(places) {
            Ok(client) => follow(client, name, key.as_ref(), &send, &mut heard).await,
            Err(why) => Err(why),
        };
        if heard {
            wait = SOONEST;
        }
        if let Err(why) = done {
            tracing::debug!("following the nodes: {why:#}");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LATEST);
    }
}

async fn follow(client: Client, name: &str, key: Option<&PublicKey>, send: &Sender<Option<Vec<Node>>>, heard: &mut bool) -> Result<()> {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes");
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    // Small pages: a Node lists its images.
    let mut events = pin!(watcher::watcher(api.clone(), watcher::Config::default().page_size(20)));
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let mut fresh: BTreeMap<String, Node> = BTreeMap::new();
    while let Some(event) = events.try_next().await.context("asking the API server")? {
        match event {
            Event::Init => {
                fresh = BTreeMap::new();
                continue;
            }
            Event::InitApply(node) => {
                let node = of(&node);
                fresh.insert(node.name.clone(), node);
                continue;
            }
            Event::InitDone => nodes = std::mem::take(&mut fresh),
            Event::Apply(node) => {
                let node = of(&node);
                nodes.insert(node.name.clone(), node);
            }
            Event::Delete(node) => {
                nodes.remove(&of(&node).name);
            }
        }
        *heard = true;
        let list: Vec<Node> = nodes.values().cloned().collect();
        send.send_if_modified(|now| {
            let news = now.as_ref() != Some(&list);
            if news {
                *now = Some(list);
            }
            news
        });
        if let (Some(me), Some(key)) = (nodes.get(name), key) {
            if me.key.as_ref() != Some(key) {
                let body = json!({ "metadata": { "annotations": { KEY_ANNOTATION: key.as_str() } } });
                api.patch(name, &PatchParams::default(), &Patch::Merge(&body))
                    .await
                    .context("telling the other nodes this node's WireGuard key")?;
            }
        }
    }
    Ok(())
}

fn of(object: &DynamicObject) -> Node {
    let annotations = object.metadata.annotations.as_ref();
    let part = |name: &str| object.data.get(name).cloned().unwrap_or(Value::Null);
    nodes::read(&json!({
        "metadata": { "name": object.metadata.name, "annotations": { KEY_ANNOTATION: annotations.and_then(|a| a.get(KEY_ANNOTATION)) } },
        "spec": part("spec"),
        "status": { "addresses": part("status").get("addresses").cloned() },
    }))
}
