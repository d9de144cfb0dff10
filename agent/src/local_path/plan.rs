//! What is to be done next for claims and volumes.
//!
//! ```text
//! claim, its node chosen ── helper makes the folder ── volume ── bound by Kubernetes
//! claim gone: volume Released ── helper removes the folder ── volume gone
//! ```

use std::collections::BTreeMap;

/// A helper's verb.
pub const MAKE: &str = "make";
/// The other one.
pub const REMOVE: &str = "remove";
const PREFIX: &str = "pvc-";

/// Namespace and name.
pub type Name = (String, String);

/// A claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// It is named after this for ever.
    pub uid: String,
    /// Its class.
    pub class: String,
    /// The node that the scheduler chose for its first pod.
    pub node: Option<String>,
    /// How much it asks for.
    pub size: String,
    /// `ReadWriteOnce`, …
    pub modes: Vec<String>,
    /// It wants a device, not a file system.
    pub block: bool,
    /// It has a volume, or names one.
    pub bound: bool,
    /// It is about to go.
    pub deleted: bool,
}

/// A class of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Class {
    /// `Delete` or `Retain`.
    pub reclaim: String,
    /// Volumes are wanted before there is a pod, and so a node.
    pub immediate: bool,
}

/// A volume of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// The folder.
    pub path: String,
    /// The host name of its node.
    pub host: String,
    /// Its claim is gone, and it is to go with it.
    pub to_go: bool,
    /// It is about to go.
    pub deleted: bool,
}

/// What became of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helper {
    /// It waits, or runs.
    Busy,
    /// It did it.
    Done,
    /// It was ended (its node was full, …): another one tries.
    Failed,
}

/// The cluster, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// All claims.
    pub claims: BTreeMap<Name, Claim>,
    /// Classes of ours, by name.
    pub classes: BTreeMap<String, Class>,
    /// Volumes of ours, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// Helpers, by name.
    pub helpers: BTreeMap<String, Helper>,
    /// Nodes: name → host name.
    pub nodes: BTreeMap<String, String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the folder.
    Make {
        /// For which claim.
        claim: Name,
        /// Where.
        node: String,
    },
    /// Make the volume of a folder.
    Volume {
        /// For which claim.
        claim: Name,
        /// Where.
        node: String,
    },
    /// Remove the folder.
    Remove {
        /// Of which volume.
        volume: String,
        /// Where.
        node: String,
    },
    /// Remove the volume.
    Forget {
        /// Which.
        volume: String,
    },
    /// Remove a helper.
    Dismiss {
        /// Which.
        helper: String,
    },
    /// Say why there will be no volume.
    Refuse {
        /// For which claim.
        claim: Name,
        /// Why.
        why: String,
    },
}

/// A volume's name, by its claim's uid.
pub fn volume_name(uid: &str) -> String {
    format!("{PREFIX}{uid}")
}

/// The uid in a volume's name.
pub fn uid(volume: &str) -> &str {
    volume.strip_prefix(PREFIX).unwrap_or(volume)
}

/// A helper's name.
pub fn helper_name(verb: &str, uid: &str) -> String {
    format!("local-path-{verb}-{uid}")
}

/// A folder's name, as local-path-provisioner has it.
pub fn folder(name: &Name, claim: &Claim) -> String {
    format!("{}_{}_{}", volume_name(&claim.uid), name.0, name.1)
}

/// A volume's path as what lies around it, and its folder's name: nothing else is ever removed.
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (base, folder) = path.rsplit_once('/')?;
    let plain = base.starts_with('/') && !base.split('/').any(|part| part == "..") && folder.starts_with(PREFIX);
    plain.then_some((base, folder))
}

/// Decides.
pub fn plan(cluster: &Cluster) -> Vec<Step> {
    let mut steps = vec![];
    let mut needed = vec![];
    for (name, claim) in &cluster.claims {
        let volume = volume_name(&claim.uid);
        let Some(class) = cluster.classes.get(&claim.class) else { continue };
        if claim.bound || claim.deleted || cluster.volumes.contains_key(&volume) {
            continue;
        }
        if let Some(why) = refusal(claim, class) {
            steps.push(Step::Refuse { claim: name.clone(), why });
            continue;
        }
        let Some(node) = claim.node.as_ref().filter(|n| cluster.nodes.contains_key(*n)) else {
            continue;
        };
        let helper = helper_name(MAKE, &claim.uid);
        let (claim, node) = (name.clone(), node.clone());
        match cluster.helpers.get(&helper) {
            None => steps.push(Step::Make { claim, node }),
            Some(Helper::Done) => steps.push(Step::Volume { claim, node }),
            Some(Helper::Busy | Helper::Failed) => {}
        }
        needed.push(helper);
    }
    for (name, volume) in cluster.volumes.iter().filter(|(_, v)| v.to_go && !v.deleted) {
        let helper = helper_name(REMOVE, uid(name));
        let node = cluster.nodes.iter().find(|(_, host)| **host == volume.host).map(|(node, _)| node);
        match (node, split(&volume.path), cluster.helpers.get(&helper)) {
            // Its node is gone for good, and the folder with it; or it is no folder that we would have made.
            (None, ..) | (_, None, _) | (.., Some(Helper::Done)) => steps.push(Step::Forget { volume: name.clone() }),
            (Some(node), Some(_), None) => steps.push(Step::Remove {
                volume: name.clone(),
                node: node.clone(),
            }),
            (.., Some(Helper::Busy | Helper::Failed)) => {}
        }
        needed.push(helper);
    }
    for (name, helper) in &cluster.helpers {
        // What has done its work stays until what follows from it was heard of.
        if *helper == Helper::Failed || !needed.contains(name) {
            steps.push(Step::Dismiss { helper: name.clone() });
        }
    }
    steps
}

fn refusal(claim: &Claim, class: &Class) -> Option<String> {
    if class.immediate {
        return Some("its class wants volumes before there is a pod: write volumeBindingMode: WaitForFirstConsumer".to_owned());
    }
    if claim.block {
        return Some("a folder is no block device: write volumeMode: Filesystem".to_owned());
    }
    let one = ["ReadWriteOnce", "ReadWriteOncePod"];
    let other = claim.modes.iter().find(|m| !one.contains(&m.as_str()))?;
    Some(format!(
        "{other}: a folder of one node is for pods of that node only: write ReadWriteOnce, or use shared storage"
    ))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
