//! Facts in, plain data out: sources become one typed configuration, where each value came from, and what is wrong.

use crate::{Config, Origin, Problem, Source};
use serde::{Deserialize, Serialize};

/// What came of the sources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// What the owner asked for, as far as it could be understood.
    pub config: Config,
    /// Every value: where it came from and what becomes of it.
    pub explain: Vec<Entry>,
    /// What is wrong, in order of the sources.
    pub problems: Vec<Problem>,
    /// How many sources could be read (a source that is empty counts).
    pub readable: usize,
    /// Names of the sources that had to be refused as a whole.
    pub refused: Vec<String>,
}

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its canonical path: `skerry.labels.region`, `write_files[0].path`.
    pub path: String,
    /// Its value. Show it only through [`Entry::shown`] where `secret` is set.
    pub value: serde_json::Value,
    /// It is a password, a token or the like.
    pub secret: bool,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Where else it was set, and lost to this one.
    pub overrides: Vec<Origin>,
    /// In which phases it takes effect.
    pub phases: Vec<Phase>,
    /// What becomes of it, in one sentence.
    pub effect: String,
}

/// When a value takes effect, in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before anything else is set up.
    Init,
    /// Before the network.
    Boot,
    /// While the network comes up, and as long as it is up.
    Network,
    /// With the network up, before Kubernetes.
    Runtime,
    /// By Kubernetes.
    Kubernetes,
}

/// Reads sources, in the order given: a later one wins. [`crate::order`] gives the order of the running machine.
pub fn load(sources: &[Source]) -> Loaded {
    let _ = sources;
    Loaded::default()
}
