//! How does a claim of the class `local-path` get a folder of its node?
//!
//! On servers, as rancher's local-path-provisioner does it, whose words are kept: its provisioner's name, its folders' names, its
//! annotations. A volume is a folder of the node that the scheduler chose. A short-lived pod on that node makes the folder before
//! there is a volume, and removes it before the volume goes; its program is `pause`, which every node has. All servers do it; they
//! decide the same, and names are fixed, so that what one has made the others find made.
//!
//! | file | answers |
//! |---|---|
//! | [`read`] | what the objects say |
//! | [`plan`] | what is to be done next |
//! | [`made`] | the objects that are made: pods, volumes |

pub mod made;
pub mod plan;
pub mod read;

use crate::client;
use crate::heard::Heard;
use crate::places::Places;
use anyhow::{Context, Result};
use futures_util::stream::{SelectAll, select_all};
use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Error};
use plan::{Cluster, Name, Step};
use serde_json::Value;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// Objects in one answer of the API server.
const PAGE: u32 = 50;
/// Where the helpers live.
const NAMESPACE: &str = "kube-system";

/// Makes and removes volumes in `folder`, for ever. A client is made anew after each failure.
pub async fn run(places: Places, node: String, folder: String) {
    let mut wait = SOONEST;
    loop {
        let mut heard = false;
        let done = match client::server(&places) {
            Ok(client) => serve(client, &node, &folder, &mut heard).await,
            Err(why) => Err(why),
        };
        if heard {
            wait = SOONEST;
        }
        if let Err(why) = done {
            tracing::debug!("making local volumes: {why:#}");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LATEST);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Claim,
    Class,
    Volume,
    Helper,
    Node,
}

const KINDS: [(Kind, &str, &str, &str); 5] = [
    (Kind::Claim, "", "PersistentVolumeClaim", "persistentvolumeclaims"),
    (Kind::Class, "storage.k8s.io", "StorageClass", "storageclasses"),
    (Kind::Volume, "", "PersistentVolume", "persistentvolumes"),
    (Kind::Helper, "", "Pod", "pods"),
    (Kind::Node, "", "Node", "nodes"),
];

type Events = SelectAll<Pin<Box<dyn Stream<Item = Result<(Kind, Event<DynamicObject>), watcher::Error>> + Send>>>;

fn resource(kind: Kind) -> ApiResource {
    let (_, group, name, plural) = KINDS.into_iter().find(|(k, ..)| *k == kind).unwrap_or(KINDS[0]);
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", name), plural)
}

fn events(client: &Client) -> Events {
    select_all(KINDS.map(|(kind, ..)| {
        let (api, config): (Api<DynamicObject>, _) = match kind {
            Kind::Helper => (
                Api::namespaced_with(client.clone(), NAMESPACE, &resource(kind)),
                watcher::Config::default().labels(made::LABEL),
            ),
            _ => (Api::all_with(client.clone(), &resource(kind)), watcher::Config::default()),
        };
        watcher::watcher(api, config.page_size(PAGE))
            .map_ok(move |event| (kind, event))
            .boxed()
    }))
}

async fn serve(client: Client, node: &str, folder: &str, heard: &mut bool) -> Result<()> {
    let mut events = events(&client);
    let reporter = Reporter {
        controller: "skerry-agent".to_owned(),
        instance: Some(node.to_owned()),
    };
    let mut hands = Hands {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        folder: folder.to_owned(),
        told: BTreeMap::new(),
    };
    let mut cluster = Cluster::default();
    let mut lists = Heard::of(KINDS.len());
    while let Some(event) = events.next().await {
        let (kind, event) = event.context("asking the API server")?;
        lists.hear(kind, &event);
        take(&mut cluster, kind, event);
        if !lists.is_whole() {
            continue;
        }
        *heard = true;
        for step in plan::plan(&cluster) {
            hands.perform(&cluster, step).await?;
        }
        hands.told.retain(|name, _| cluster.claims.contains_key(name));
    }
    Ok(())
}

fn take(cluster: &mut Cluster, kind: Kind, event: Event<DynamicObject>) {
    match event {
        Event::Init => match kind {
            // A new list begins, because a watch broke off: what it does not name is gone.
            Kind::Claim => cluster.claims.clear(),
            Kind::Class => cluster.classes.clear(),
            Kind::Volume => cluster.volumes.clear(),
            Kind::Helper => cluster.helpers.clear(),
            Kind::Node => cluster.nodes.clear(),
        },
        Event::InitDone => {}
        Event::Delete(o) => {
            let name = read::name(&o);
            match kind {
                Kind::Claim => drop(cluster.claims.remove(&name)),
                Kind::Class => drop(cluster.classes.remove(&name.1)),
                Kind::Volume => drop(cluster.volumes.remove(&name.1)),
                Kind::Helper => drop(cluster.helpers.remove(&name.1)),
                Kind::Node => drop(cluster.nodes.remove(&name.1)),
            }
        }
        Event::InitApply(o) | Event::Apply(o) => {
            let name = read::name(&o);
            match kind {
                Kind::Claim => drop(cluster.claims.insert(name, read::claim(&o))),
                Kind::Class => cluster.classes.extend(read::class(&o).map(|class| (name.1, class))),
                Kind::Volume => cluster.volumes.extend(read::volume(&o).map(|volume| (name.1, volume))),
                Kind::Helper => drop(cluster.helpers.insert(name.1, read::helper(&o))),
                Kind::Node => drop(cluster.nodes.insert(name.1.clone(), read::host_name(&o))),
            }
        }
    }
}

struct Hands {
    client: Client,
    recorder: Recorder,
    folder: String,
    /// Problems that an Event was written for.
    told: BTreeMap<Name, String>,
}

impl Hands {
    async fn perform(&mut self, cluster: &Cluster, step: Step) -> Result<()> {
        match step {
            Step::Make { claim, node } => {
                if let Some(of) = cluster.claims.get(&claim) {
                    let helper = plan::helper_name(plan::MAKE, &of.uid);
                    let folder = plan::folder(&claim, of);
                    self.create(Kind::Helper, &made::helper(&helper, &node, plan::MAKE, &self.folder, &folder))
                        .await?;
                }
            }
            Step::Remove { volume, node } => {
                if let Some((base, folder)) = cluster.volumes.get(&volume).and_then(|of| plan::split(&of.path)) {
                    let helper = plan::helper_name(plan::REMOVE, plan::uid(&volume));
                    self.create(Kind::Helper, &made::helper(&helper, &node, plan::REMOVE, base, folder))
                        .await?;
                }
            }
            Step::Volume { claim, node } => {
                let (of, host) = (cluster.claims.get(&claim), cluster.nodes.get(&node));
                if let (Some(of), Some(host)) = (of, host) {
                    let class = cluster.classes.get(&of.class).cloned().unwrap_or_default();
                    self.create(Kind::Volume, &made::volume(&claim, of, &class, &node, host, &self.folder))
                        .await?;
                    tracing::info!(claim = %format_args!("{}/{}", claim.0, claim.1), node, "made a volume");
                }
            }
            Step::Forget { volume } => {
                self.delete(Kind::Volume, &volume).await?;
                tracing::info!(volume, "removed");
            }
            Step::Dismiss { helper } => self.delete(Kind::Helper, &helper).await?,
            Step::Refuse { claim, why } => self.refuse(claim, why).await,
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        match kind {
            Kind::Helper => Api::namespaced_with(self.client.clone(), NAMESPACE, &resource(kind)),
            _ => Api::all_with(self.client.clone(), &resource(kind)),
        }
    }

    async fn create(&self, kind: Kind, body: &Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(body.clone())?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let api = self.api(kind);
        match tokio::time::timeout(PATIENCE, api.create(&PostParams::default(), &object)).await {
            // It is there already: ours of a moment ago, or another server's.
            Ok(Err(Error::Api(status))) if status.code == 409 => Ok(()),
            Ok(done) => done.map(drop).with_context(|| format!("making {kind:?} {name}")),
            Err(_) => anyhow::bail!("making {kind:?} {name}: no answer"),
        }
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        let api = self.api(kind);
        match tokio::time::timeout(PATIENCE, api.delete(name, &DeleteParams::background())).await {
            Ok(Err(Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(done) => done.map(drop).with_context(|| format!("removing {kind:?} {name}")),
            Err(_) => anyhow::bail!("removing {kind:?} {name}: no answer"),
        }
    }

    async fn refuse(&mut self, claim: Name, why: String) {
        if self.told.get(&claim) == Some(&why) {
            return;
        }
        tracing::warn!("making a volume for {}/{}: {why}", claim.0, claim.1);
        let event = Told {
            type_: EventType::Warning,
            reason: "ProvisioningFailed".to_owned(),
            note: Some(why.clone()),
            action: "Provisioning".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            kind: Some("PersistentVolumeClaim".to_owned()),
            api_version: Some("v1".to_owned()),
            namespace: Some(claim.0.clone()),
            name: Some(claim.1.clone()),
            ..ObjectReference::default()
        };
        if let Ok(Err(why)) = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &regarding)).await {
            tracing::debug!(%why, "writing an Event");
        }
        self.told.insert(claim, why);
    }
}
