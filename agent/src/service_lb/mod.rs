//! How does a Service of type `LoadBalancer` get addresses?
//!
//! On servers: its status lists the nodes that take it, by their own addresses, as k3s's does. Nothing else is needed: kube-proxy on
//! each node makes the rules for every address in the status of a Service (`ipMode: VIP`; `LoadBalancerVIPs` in its nftables proxier),
//! and one of them is the node's own. All servers do it; they decide the same.
//!
//! | file | answers |
//! |---|---|
//! | [`read`] | what the objects say |
//! | [`plan`] | which nodes take which Service |

pub mod plan;
pub mod read;

use crate::client;
use crate::heard::Heard;
use crate::places::Places;
use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use plan::{Change, Cluster};
use read::MANAGER;
use serde_json::json;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// Objects in one answer of the API server.
const PAGE: u32 = 50;

/// Gives addresses, for ever. A client is made anew after each failure.
pub async fn run(places: Places, node: String) {
    let mut wait = SOONEST;
    loop {
        let mut heard = false;
        let done = match client::server(&places) {
            Ok(client) => serve(client, &node, &mut heard).await,
            Err(why) => Err(why),
        };
        if heard {
            wait = SOONEST;
        }
        if let Err(why) = done {
            tracing::debug!("giving Services addresses: {why:#}");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LATEST);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Service,
    Slice,
}

async fn serve(client: Client, node: &str, heard: &mut bool) -> Result<()> {
    let api = |group: &str, kind: &str, plural: &str| -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, "v1", kind);
        Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
    };
    let watch = |kind: Kind, api: Api<DynamicObject>| {
        watcher::watcher(api, watcher::Config::default().page_size(PAGE)).map_ok(move |event| (kind, event))
    };
    let nodes = watch(Kind::Node, api("", "Node", "nodes"));
    let services = watch(Kind::Service, api("", "Service", "services"));
    let slices = watch(Kind::Slice, api("discovery.k8s.io", "EndpointSlice", "endpointslices"));
    let mut events = pin!(futures_util::stream::select(nodes, futures_util::stream::select(services, slices)));
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: Some(node.to_owned()),
    };
    let mut writer = Writer {
        recorder: Recorder::new(client.clone(), reporter),
        client: client.clone(),
        told: BTreeMap::new(),
    };
    let mut cluster = Cluster::default();
    let mut lists = Heard::of(3);
    while let Some(event) = events.next().await {
        let (kind, event) = event.context("asking the API server")?;
        lists.hear(kind, &event);
        take(&mut cluster, kind, event);
        if !lists.is_whole() {
            continue;
        }
        *heard = true;
        writer.write(&plan::plan(&cluster)).await?;
    }
    Ok(())
}

fn take(cluster: &mut Cluster, kind: Kind, event: Event<DynamicObject>) {
    match (kind, event) {
        // A new list begins, because a watch broke off: what it does not name is gone.
        (Kind::Node, Event::Init) => cluster.nodes.clear(),
        (Kind::Service, Event::Init) => cluster.services.clear(),
        (Kind::Slice, Event::Init) => cluster.slices.clear(),
        (_, Event::InitDone) => {}
        (Kind::Node, Event::InitApply(o) | Event::Apply(o)) => {
            let node = read::node(&o);
            cluster.nodes.insert(node.name.clone(), node);
        }
        (Kind::Service, Event::InitApply(o) | Event::Apply(o)) => {
            cluster.services.insert(read::name(&o), read::service(&o));
        }
        (Kind::Slice, Event::InitApply(o) | Event::Apply(o)) => {
            cluster.slices.insert(read::name(&o), read::slice(&o));
        }
        (Kind::Node, Event::Delete(o)) => drop(cluster.nodes.remove(&read::name(&o).1)),
        (Kind::Service, Event::Delete(o)) => drop(cluster.services.remove(&read::name(&o))),
        (Kind::Slice, Event::Delete(o)) => drop(cluster.slices.remove(&read::name(&o))),
    }
}

struct Writer {
    client: Client,
    recorder: Recorder,
    /// Problems that an Event was written for.
    told: BTreeMap<plan::Name, String>,
}

impl Writer {
    async fn write(&mut self, changes: &[Change]) -> Result<()> {
        for change in changes {
            if change.write {
                self.status(change).await?;
            }
            let (namespace, name) = &change.service;
            match &change.problem {
                Some(why) if self.told.get(&change.service) != Some(why) => {
                    tracing::warn!("giving Service {namespace}/{name} an address: {why}");
                    self.tell(change, why).await;
                    self.told.insert(change.service.clone(), why.clone());
                }
                Some(_) => {}
                None => tracing::info!(service = %format_args!("{namespace}/{name}"), addresses = ?change.addresses, "Service"),
            }
        }
        self.told
            .retain(|name, _| changes.iter().any(|c| c.service == *name && c.problem.is_some()));
        Ok(())
    }

    async fn status(&self, change: &Change) -> Result<()> {
        let (namespace, name) = &change.service;
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Service"), "services");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let ingress: Vec<_> = change
            .addresses
            .iter()
            .map(|a| json!({ "ip": a.to_string(), "ipMode": "VIP" }))
            .collect();
        // What we applied before and do not name now goes away; what others wrote stays theirs.
        let status = if ingress.is_empty() {
            json!({})
        } else {
            json!({ "loadBalancer": { "ingress": ingress } })
        };
        let body = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "status": status });
        let how = PatchParams::apply(MANAGER).force();
        match tokio::time::timeout(PATIENCE, api.patch_status(name, &how, &Patch::Apply(&body))).await {
            Ok(Ok(_)) => Ok(()),
            // It was removed meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(Err(why)) => Err(why).with_context(|| format!("writing the status of Service {namespace}/{name}")),
            Err(_) => anyhow::bail!("writing the status of Service {namespace}/{name}: no answer"),
        }
    }

    async fn tell(&self, change: &Change, why: &str) {
        let event = Told {
            type_: EventType::Warning,
            reason: "NoAddress".to_owned(),
            note: Some(why.to_owned()),
            action: "Balancing".to_owned(),
            secondary: None,
        };
        let service = ObjectReference {
            kind: Some("Service".to_owned()),
            api_version: Some("v1".to_owned()),
            namespace: Some(change.service.0.clone()),
            name: Some(change.service.1.clone()),
            ..ObjectReference::default()
        };
        if let Ok(Err(why)) = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &service)).await {
            tracing::debug!(%why, "writing an Event");
        }
    }
}
