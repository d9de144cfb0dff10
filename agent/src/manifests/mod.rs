//! How do the owner's files become objects of the cluster, and stay so?
//!
//! | file | answers |
//! |---|---|
//! | [`yaml`], [`objects`] | what a file says |
//! | [`folders`] | which files there are, and when that changes |
//! | [`plan`] | what is to be applied, and what to be removed |
//! | [`cluster`] | asking the API |
//!
//! On servers. A file is applied when it changes; all of them every few minutes, so that what somebody changed or removed comes back.
//! What is no longer in the folders is removed, once they were still for a while: an editor may take a file away for a moment, and a
//! copy may be under way. Each server remembers in the cluster what it made, *before* it makes it: after a power cut nothing of ours
//! is forgotten. An object that another server's files ask for stays.

pub mod cluster;
pub mod folders;
pub mod objects;
pub mod plan;
pub mod yaml;

use crate::client;
use crate::files::Agent;
use crate::places::Places;
use anyhow::Result;
use cluster::Cluster;
use folders::{Ear, Look};
use objects::{Id, Object};
use plan::Owned;
use serde_json::json;
use skerry_distribution::kubernetes::paths::RUN;
use skerry_sys::file;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How soon, how late.
#[derive(Debug, Clone)]
pub struct Pace {
    /// All is applied again.
    pub again: Duration,
    /// So long nothing may have changed before something is removed.
    pub still: Duration,
    /// As long as the API server, which runs on this machine, does not answer.
    pub unheard: Duration,
    /// After a failure, then twice as long each time: a new cluster refuses pods for some seconds, until it has made their accounts.
    pub soonest: Duration,
    /// But not longer.
    pub latest: Duration,
    /// Files are often written several at a time.
    pub burst: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            again: Duration::from_secs(300),
            still: Duration::from_secs(10),
            unheard: Duration::from_secs(3),
            soonest: Duration::from_secs(2),
            latest: Duration::from_secs(120),
            burst: Duration::from_millis(500),
        }
    }
}

/// Keeps the folders' objects in the cluster, for ever.
pub async fn run(places: Places, agent: Agent, pace: Pace) {
    let mut manifests = Manifests {
        root: places.at("/"),
        shown: places.at(&format!("{RUN}/manifests.json")),
        agent,
        pace,
        cluster: None,
        applied: HashMap::new(),
        told: BTreeMap::new(),
        written: String::new(),
        still: None,
    };
    let mut wait = manifests.pace.soonest;
    loop {
        let names = manifests.agent.manifests.clone();
        let ear = Ear::open(&manifests.root, &names);
        let done = manifests.pass(&places).await;
        let until = match &done {
            Ok(next) if next.failed => {
                let until = next.at.min(Instant::now() + wait);
                wait = (wait * 2).min(manifests.pace.latest);
                until
            }
            Ok(next) => {
                wait = manifests.pace.soonest;
                next.at
            }
            Err(why) => {
                tracing::debug!("applying manifests: {why:#}");
                manifests.cluster = None;
                wait = manifests.pace.soonest;
                Instant::now() + manifests.pace.unheard
            }
        };
        match ear {
            Ok(ear) => tokio::select! {
                () = ear.changed() => {
                    // Somebody is at it: what failed may be put right by now.
                    wait = manifests.pace.soonest;
                    sleep(manifests.pace.burst).await;
                }
                () = sleep_until(until) => {}
            },
            Err(why) => {
                tracing::warn!("{why:#}: the folders are looked at now and then");
                sleep_until(until).await;
            }
        }
    }
}

/// When to look again.
struct Next {
    at: Instant,
    failed: bool,
}

struct Manifests {
    root: PathBuf,
    shown: PathBuf,
    agent: Agent,
    pace: Pace,
    cluster: Option<(Cluster, BTreeSet<Owned>)>,
    /// What was applied, as which text, and when.
    applied: HashMap<Id, (u64, Instant)>,
    /// Problems that an Event was written for.
    told: BTreeMap<String, String>,
    /// What the file for people says.
    written: String,
    /// The folders' digest, and since when it is the same.
    still: Option<(u64, Instant)>,
}

impl Manifests {
    async fn pass(&mut self, places: &Places) -> Result<Next> {
        let look = folders::look(&self.root, &self.agent.manifests);
        let since = match self.still {
            Some((digest, since)) if digest == look.digest => since,
            _ => Instant::now(),
        };
        self.still = Some((look.digest, since));
        let (mut cluster, mut recorded) = if let Some(known) = self.cluster.take() {
            known
        } else {
            let cluster = Cluster::new(client::server(places)?, &self.agent.node_name);
            let recorded = cluster.inventory().await?.0;
            (cluster, recorded)
        };
        let done = self.apply(&look, since, &mut cluster, &mut recorded).await;
        if done.is_ok() {
            self.cluster = Some((cluster, recorded));
        }
        done
    }

    async fn apply(&mut self, look: &Look, since: Instant, cluster: &mut Cluster, recorded: &mut BTreeSet<Owned>) -> Result<Next> {
        let mut plan = plan::plan(&look.folders, recorded, &BTreeSet::new());
        // Before any of it is made.
        let both: BTreeSet<Owned> = recorded.union(&plan.after).cloned().collect();
        if both != *recorded {
            cluster.record(&both).await?;
            *recorded = both;
        }
        let now = Instant::now();
        let mut next = now + self.pace.again;
        for (path, object) in &plan.apply {
            let digest = digest(path, object);
            if let Some((is, when)) = self.applied.get(&object.id) {
                if *is == digest && now.duration_since(*when) < self.pace.again {
                    next = next.min(*when + self.pace.again);
                    continue;
                }
            }
            match cluster.apply(path, object).await {
                Ok(()) => {
                    let first = self.applied.insert(object.id.clone(), (digest, now));
                    if first.is_none_or(|(was, _)| was != digest) {
                        tracing::info!(object = %object.id, file = path, "applied");
                    }
                }
                Err(why) => {
                    self.applied.remove(&object.id);
                    let said = plan.problems.entry(path.clone()).or_default();
                    let more = if said.is_empty() { "" } else { "; " };
                    *said = format!("{said}{more}{}: {why:#}", object.id);
                }
            }
        }
        let failed = !plan.problems.is_empty();
        if plan.prune.is_empty() {
            // Files were renamed; all of their objects carry the new name by now.
            if !failed && *recorded != plan.after {
                cluster.record(&plan.after).await?;
                recorded.clone_from(&plan.after);
            }
        } else {
            let ripe = since + self.pace.still;
            if now < ripe {
                next = next.min(ripe);
            } else {
                self.prune(&plan.after, look, cluster, recorded, &mut plan.problems).await?;
            }
        }
        self.applied.retain(|id, _| plan.after.iter().any(|o| o.id == *id));
        self.say(look, &plan.problems, cluster).await;
        Ok(Next { at: next, failed })
    }

    /// Removes what nothing asks for; what another server's files ask for is only forgotten here.
    async fn prune(
        &mut self,
        after: &BTreeSet<Owned>,
        look: &Look,
        cluster: &mut Cluster,
        recorded: &mut BTreeSet<Owned>,
        problems: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let (_, others) = cluster.inventory().await?;
        let mut left = after.clone();
        for owned in plan::plan(&look.folders, recorded, &others).prune {
            match cluster.remove(&owned).await {
                Ok(true) => tracing::info!(object = %owned.id, file = owned.file, "removed: no file asks for it any more"),
                Ok(false) => tracing::info!(object = %owned.id, file = owned.file, "no longer ours, or gone already"),
                Err(why) => {
                    problems.insert(owned.file.clone(), format!("removing {}: {why:#}", owned.id));
                    left.insert(owned);
                }
            }
        }
        if left != *recorded {
            cluster.record(&left).await?;
            *recorded = left;
        }
        Ok(())
    }

    /// What is wrong: a log line and an Event each time it is something else, and the file that `skerry status` reads.
    async fn say(&mut self, look: &Look, problems: &BTreeMap<String, String>, cluster: &Cluster) {
        const EVENTS: usize = 10;
        let mut events = 0;
        for (path, why) in problems {
            if self.told.get(path) != Some(why) {
                tracing::warn!("applying {path}: {why}");
                if events < EVENTS {
                    cluster.tell(path, why).await;
                    events += 1;
                }
            }
        }
        self.told.clone_from(problems);
        let state = |path: &String, file: &plan::File| match (problems.get(path), file) {
            (Some(why), _) | (None, plan::File::Bad(why)) => json!({ "file": path, "state": "failed", "problem": why }),
            (None, plan::File::Skipped) => json!({ "file": path, "state": "skipped" }),
            (None, plan::File::Read(objects)) => json!({ "file": path, "state": "applied", "objects": objects.len() }),
        };
        let mut files: Vec<_> = look.folders.files.iter().map(|(path, file)| state(path, file)).collect();
        for (path, why) in problems.iter().filter(|(path, _)| !look.folders.files.contains_key(*path)) {
            files.push(json!({ "file": path, "state": "failed", "problem": why }));
        }
        let text = format!("{:#}\n", json!({ "files": files }));
        if text != self.written {
            match file::replace(&self.shown, text.as_bytes(), 0o644) {
                Ok(()) => self.written = text,
                Err(why) => tracing::warn!("{why}"),
            }
        }
    }
}

/// The file counts, too: it is written on the object.
fn digest(path: &str, object: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    object.body.to_string().hash(&mut hasher);
    hasher.finish()
}
