//! On servers with etcd: who was deleted from the cluster is a member no longer.
//!
//! A member that is gone for good counts as one that does not answer: with three members, the next one to fail would stop the cluster.
//! `kubectl delete node NAME` is the owner's word for it. Every server's agent hears it; the first one removes the member.

use crate::client;
use crate::issue::Credentials;
use crate::places::Places;
use crate::trouble::innermost;
use anyhow::{Context, Result, anyhow};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use skerry_distribution::kubernetes::member::{self, Ask};
use skerry_sys::file;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);
/// etcd answers within this, or somebody else is asked later.
const PATIENCE: Duration = Duration::from_secs(30);

/// Watches for ever.
pub async fn follow(client: Client, places: &Places, own: &str) {
    let nodes: Api<Node> = Api::all(client);
    let mut seen = pin!(watcher(nodes.clone(), watcher::Config::default()).default_backoff());
    let mut gone = BTreeSet::new();
    let mut known = BTreeSet::new();
    loop {
        tokio::select! {
            event = seen.next() => match event {
                Some(Ok(event)) => gone.extend(deleted(&mut known, event)),
                Some(Err(why)) => tracing::debug!("watching the nodes: {}", innermost(&why)),
                None => return,
            },
            () = sleep(AGAIN), if !gone.is_empty() => {}
        }
        for name in gone.clone() {
            match remove(&nodes, places, &name, own).await {
                Ok(()) => _ = gone.remove(&name),
                Err(why) => tracing::warn!(node = name, "removing a deleted server from etcd: {why:#}; trying again"),
            }
        }
    }
}

/// What was there and is not any more: by an event, or because a new list lacks it.
fn deleted(known: &mut Known, event: Event<Node>) -> Vec<String> {
    match event {
        Event::Apply(node) => {
            known.insert(node.name_any());
            vec![]
        }
        Event::Delete(node) => {
            known.remove(&node.name_any());
            vec![node.name_any()]
        }
        Event::Init => {
            known.retain(|name| !name.starts_with(LISTED));
            vec![]
        }
        Event::InitApply(node) => {
            known.insert(format!("{LISTED}{}", node.name_any()));
            vec![]
        }
        Event::InitDone => {
            let (listed, before): (Known, Known) = std::mem::take(known).into_iter().partition(|n| n.starts_with(LISTED));
            *known = listed.iter().map(|n| n.trim_start_matches(LISTED).to_owned()).collect();
            before.difference(known).cloned().collect()
        }
    }
}

type Known = BTreeSet<String>;
/// Marks a name of the list that is still coming; no node's name begins with it.
const LISTED: &str = "+";

async fn remove(nodes: &Api<Node>, places: &Places, name: &str, own: &str) -> Result<()> {
    // It may have registered again since.
    if nodes.get_metadata_opt(name).await.context("looking for the Node")?.is_some() {
        return Ok(());
    }
    let etcd = etcd(places)?;
    let members = member::members(&ask(&etcd, &member::list()).await?).context("reading the list of etcd's members")?;
    let Some(what) = member::deleted(&members, name, own) else {
        return Ok(());
    };
    ask(&etcd, &what).await?;
    tracing::info!(node = name, "its Node was deleted: it is no member of etcd any more");
    Ok(())
}

/// A way to this server's etcd, by its gRPC gateway.
fn etcd(places: &Places) -> Result<Client> {
    let [ca, certificate, key] = member_files(places);
    let read = |path| file::read_text(path, 1 << 20);
    let mut config = client::config(&format!("https://{}", places.local_etcd), Some(read(ca)?.as_bytes()))?;
    // Its certificate names the address.
    config.tls_server_name = None;
    let credentials = Credentials {
        certificate: read(certificate)?,
        key: read(key)?,
    };
    client::connect(config, Some(&credentials))
}

fn member_files(places: &Places) -> [std::path::PathBuf; 3] {
    skerry_distribution::kubernetes::datastore::etcd_client().map(|path| places.at(&path))
}

async fn ask(etcd: &Client, what: &Ask) -> Result<Value> {
    let doing = || format!("asking etcd for {}", what.path);
    let request = http::Request::post(what.path)
        .header("content-type", "application/json")
        .body(what.body.to_string().into_bytes())
        .with_context(doing)?;
    match timeout(PATIENCE, etcd.request::<Value>(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(anyhow!("{}: {}", doing(), innermost(&why))),
        Err(_) => Err(anyhow!("{}: no answer", doing())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        serde_json::from_value(serde_json::json!({ "metadata": { "name": name } })).unwrap()
    }

    #[test]
    fn who_is_gone() {
        let mut known = Known::new();
        let mut see = |event| deleted(&mut known, event);
        let none = Vec::<String>::new();
        for name in ["a", "b"] {
            assert_eq!(see(Event::InitApply(node(name))), none);
        }
        assert_eq!(see(Event::InitDone), none, "the first list is no news");
        assert_eq!(see(Event::Apply(node("c"))), none);
        assert_eq!(see(Event::Delete(node("b"))), ["b"]);
        // The watch was away for a while, and its next list was cut off once.
        assert_eq!(see(Event::Init), none);
        assert_eq!(see(Event::InitApply(node("a"))), none);
        assert_eq!(see(Event::Init), none);
        assert_eq!(see(Event::InitApply(node("c"))), none);
        assert_eq!(see(Event::InitDone), ["a"]);
        assert_eq!(see(Event::Delete(node("c"))), ["c"]);
    }
}
