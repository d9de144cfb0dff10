//! How does a `HelmChart` become a release?
//!
//! On servers, in k3s's words (`helm.cattle.io/v1`): by the program `helm` of this machine, where k3s starts a Job. Nothing is pulled
//! for it, and it works before there is a pod network. One server does it at a time: who holds the [`lease`].
//!
//! | file | answers |
//! |---|---|
//! | [`chart`] | what the objects say |
//! | [`plan`] | what is to be run, with which arguments and files |
//! | [`release`] | what helm has made so far, and running it |
//! | [`lease`] | which server does it |

pub mod chart;
pub mod lease;
pub mod plan;
pub mod release;

use crate::client;
use crate::heard::Heard;
use crate::places::Places;
use anyhow::{Context, Result};
use chart::{Chart, Known, Name};
use futures_util::stream::SelectAll;
use futures_util::{Stream, StreamExt, TryStreamExt};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const SOONEST: Duration = Duration::from_secs(2);
/// The kinds may not be there yet.
const LATEST: Duration = Duration::from_secs(30);
/// After a failure, twice as long each time.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_LATEST: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);
/// Somebody else may be at it.
const LOOK: Duration = Duration::from_secs(20);
const PAGE: u32 = 20;
/// By it a chart that is removed waits until its release is.
const FINALIZER: &str = "skerry.io/helm";

/// Installs charts, for ever. A client is made anew after each failure.
pub async fn run(places: Places, node: String) {
    let mut wait = SOONEST;
    loop {
        let mut heard = false;
        let done = match client::server(&places) {
            Ok(client) => serve(client, &places, &node, &mut heard).await,
            Err(why) => Err(why),
        };
        if heard {
            wait = SOONEST;
        }
        if let Err(why) = done {
            tracing::debug!("installing charts: {why:#}");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LATEST);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chart,
    Config,
}

fn resource(kind: Kind) -> ApiResource {
    let (name, plural) = match kind {
        Kind::Chart => ("HelmChart", "helmcharts"),
        Kind::Config => ("HelmChartConfig", "helmchartconfigs"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("helm.cattle.io", "v1", name), plural)
}

type Events = SelectAll<Pin<Box<dyn Stream<Item = Result<(Kind, Event<DynamicObject>), watcher::Error>> + Send>>>;

fn events(client: &Client) -> Events {
    futures_util::stream::select_all([Kind::Chart, Kind::Config].map(|kind| {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
        watcher::watcher(api, watcher::Config::default().page_size(PAGE))
            .map_ok(move |event| (kind, event))
            .boxed()
    }))
}

/// A chart that failed.
struct Failure {
    digest: String,
    times: u32,
    until: Instant,
}

struct All<'a> {
    client: Client,
    places: &'a Places,
    node: &'a str,
    charts: BTreeMap<Name, Chart>,
    configs: BTreeMap<Name, Value>,
    failures: BTreeMap<Name, Failure>,
    known: BTreeMap<Name, Known>,
}

async fn serve(client: Client, places: &Places, node: &str, heard: &mut bool) -> Result<()> {
    let mut events = events(&client);
    let mut all = All {
        client,
        places,
        node,
        charts: BTreeMap::new(),
        configs: BTreeMap::new(),
        failures: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let mut lists = Heard::of(2);
    let mut next = Instant::now() + LOOK;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let (kind, event) = event.context("asking the API server")?;
                lists.hear(kind, &event);
                all.take(kind, event);
            }
            () = sleep_until(next), if lists.is_whole() => {}
        }
        if lists.is_whole() {
            *heard = true;
            next = all.work().await?;
        }
    }
}

impl All<'_> {
    fn take(&mut self, kind: Kind, event: Event<DynamicObject>) {
        match (kind, event) {
            (Kind::Chart, Event::Init) => self.charts.clear(),
            (Kind::Config, Event::Init) => self.configs.clear(),
            (_, Event::InitDone) => {}
            (Kind::Chart, Event::InitApply(o) | Event::Apply(o)) => {
                let (name, chart) = (chart::name(&o), chart::read(&o, FINALIZER));
                // What we did is heard of now: from here on the object says what another server may do.
                if self.known.get(&name).is_some_and(|k| k.uid == chart.uid && k.done == chart.done) {
                    self.known.remove(&name);
                }
                self.charts.insert(name, chart);
            }
            (Kind::Config, Event::InitApply(o) | Event::Apply(o)) => drop(self.configs.insert(chart::name(&o), chart::spec(&o))),
            (Kind::Chart, Event::Delete(o)) => drop(self.charts.remove(&chart::name(&o))),
            (Kind::Config, Event::Delete(o)) => drop(self.configs.remove(&chart::name(&o))),
        }
    }

    /// Does what is due. When to look again, if nothing happens before.
    async fn work(&mut self) -> Result<Instant> {
        let now = Instant::now();
        let mut next = now + Duration::from_secs(3600);
        self.failures.retain(|name, _| self.charts.contains_key(name));
        self.known.retain(|name, _| self.charts.contains_key(name));
        let mut due = vec![];
        for (name, chart) in &self.charts {
            let digest = plan::digest(chart, self.configs.get(name));
            if chart.is_done(&digest, self.known.get(name)) {
                continue;
            }
            match self.failures.get(name).filter(|f| f.digest == digest && f.until > now) {
                Some(failure) => next = next.min(failure.until),
                None => due.push((name.clone(), digest)),
            }
        }
        if due.is_empty() {
            return Ok(next);
        }
        let Some(lease) = lease::take(&self.client, self.node).await? else {
            return Ok(now + LOOK);
        };
        for (name, digest) in due {
            let Some(chart) = self.charts.get(&name).cloned() else { continue };
            let done = tokio::select! {
                done = self.one(&name, &chart, &digest) => done,
                // It only ends when it was lost.
                why = lease::keep(&self.client, self.node, &lease) => Err(why),
            };
            next = next.min(self.note(&name, &chart, &digest, done).await?);
        }
        lease::release(&self.client, self.node).await;
        Ok(next)
    }

    async fn one(&self, name: &Name, chart: &Chart, digest: &str) -> Result<()> {
        if chart.deleted {
            tracing::info!(chart = %shown(name), "uninstalling");
            return release::uninstall(self.places, name, chart).await;
        }
        if !chart.held {
            let all = [&chart.finalizers[..], &[FINALIZER.to_owned()]].concat();
            let body = json!({ "metadata": { "finalizers": all } });
            self.patch(name, &body, false).await?;
        }
        tracing::info!(chart = %shown(name), digest, "installing");
        let secrets = release::secrets(&self.client, name, chart, self.configs.get(name)).await?;
        release::install(&self.client, self.places, name, chart, self.configs.get(name), &secrets).await
    }

    /// Says what became of it: in the status, and in the log.
    async fn note(&mut self, name: &Name, chart: &Chart, digest: &str, done: Result<()>) -> Result<Instant> {
        let condition = |ok: bool, reason: &str, message: &str| {
            json!({ "status": { "skerryDigest": if ok { Some(digest) } else { None }, "conditions": [{
                "type": "Deployed", "status": if ok { "True" } else { "False" }, "reason": reason, "message": message,
                "lastTransitionTime": crate::token::date::rfc3339(client::now()),
            }] } })
        };
        let far = Instant::now() + Duration::from_secs(3600);
        if done.is_ok() {
            let known = Known {
                uid: chart.uid.clone(),
                done: (!chart.deleted).then(|| digest.to_owned()),
            };
            self.known.insert(name.clone(), known);
        }
        match done {
            Ok(()) if chart.deleted => {
                let left: Vec<_> = chart.finalizers.iter().filter(|f| *f != FINALIZER).collect();
                self.patch(name, &json!({ "metadata": { "finalizers": left } }), false).await?;
                Ok(far)
            }
            Ok(()) => {
                let without = plan::without(&[Some(&chart.spec), self.configs.get(name)]);
                tracing::info!(chart = %shown(name), "installed");
                self.failures.remove(name);
                self.patch(name, &condition(true, "Installed", &without), true).await?;
                Ok(far)
            }
            Err(why) => {
                let why = format!("{why:#}");
                tracing::warn!("installing chart {}: {why}", shown(name));
                let times = self.failures.get(name).filter(|f| f.digest == digest).map_or(0, |f| f.times) + 1;
                let until = Instant::now() + (AGAIN * 2u32.saturating_pow(times - 1)).min(AGAIN_LATEST);
                self.failures.insert(
                    name.clone(),
                    Failure {
                        digest: digest.to_owned(),
                        times,
                        until,
                    },
                );
                let short: String = why.chars().take(1000).collect();
                self.patch(name, &condition(false, "Failed", &short), true).await?;
                Ok(until)
            }
        }
    }

    async fn patch(&self, name: &Name, body: &Value, status: bool) -> Result<()> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.0, &resource(Kind::Chart));
        let (how, patch) = (PatchParams::default(), Patch::Merge(body));
        let doing = || format!("changing HelmChart {}", shown(name));
        let asking = async {
            if status {
                api.patch_status(&name.1, &how, &patch).await
            } else {
                api.patch(&name.1, &how, &patch).await
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            // It was removed meanwhile.
            Ok(Err(Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(done) => done.map(drop).with_context(doing),
            Err(_) => Err(anyhow::anyhow!("no answer")).with_context(doing),
        }
    }
}

fn shown(name: &Name) -> String {
    format!("{}/{}", name.0, name.1)
}
