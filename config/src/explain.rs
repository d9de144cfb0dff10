//! Every value of the merged configuration: where it came from, in which phase it takes effect, and what becomes of it.

use crate::Origin;
use crate::merge::{Item, Tree};
use crate::normal::join;
use crate::report::Report;
use crate::schema::{self, Key, Shape};
use crate::show;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its canonical path: `skerry.labels.region`, `write_files[0].path`.
    pub path: String,
    /// Its value. Show it only through [`Entry::shown`] where `secret` is set.
    pub value: Json,
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

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Boot => "boot",
            Self::Network => "network",
            Self::Runtime => "runtime",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl Entry {
    /// The value with secrets blanked.
    pub fn shown(&self) -> Json {
        if self.secret { show::HIDDEN.into() } else { self.value.clone() }
    }
}

/// What a key hands down to those below it that say nothing themselves.
#[derive(Clone, Copy)]
struct Fate {
    phases: &'static [Phase],
    effect: &'static str,
    secret: bool,
}

impl Fate {
    fn of(self, key: &Key) -> Self {
        let (phases, effect) = if key.effect.is_empty() {
            (self.phases, self.effect)
        } else {
            (key.phases, key.effect)
        };
        Self {
            phases,
            effect,
            secret: key.secret,
        }
    }
}

/// Every leaf of the merged tree.
pub(crate) fn entries(merged: &Item, report: &Report) -> Vec<Entry> {
    let mut entries = Vec::new();
    let fate = Fate {
        phases: &[],
        effect: "",
        secret: false,
    };
    section(merged, schema::TOP, "", fate, report, &mut entries);
    entries
}

fn section(item: &Item, keys: &'static [Key], path: &str, fate: Fate, report: &Report, entries: &mut Vec<Entry>) {
    let Tree::Section(values) = &item.value else { return };
    for key in keys {
        if let Some(value) = values.get(key.name) {
            // A name alone clears the rest: worth a line only where there was something.
            if std::ptr::eq(keys, schema::DISTRIBUTION) && value.value == Tree::Empty && value.lost.is_empty() {
                continue;
            }
            let path = if path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{path}.{}", key.name)
            };
            walk(value, key.shape, &path, fate.of(key), report, entries);
        }
    }
}

fn walk(item: &Item, shape: Shape, path: &str, fate: Fate, report: &Report, entries: &mut Vec<Entry>) {
    match (&item.value, shape) {
        (Tree::Section(_), Shape::Section(keys) | Shape::Sections(keys) | Shape::Named(keys)) => {
            section(item, keys, path, fate, report, entries);
        }
        (Tree::Named(names), _) => {
            for (name, item) in names {
                walk(item, shape, &join(path, name), fate, report, entries);
            }
        }
        (Tree::TextMap(pairs), _) => {
            for (name, value) in pairs {
                let lost = item.lost.iter().map(|&spot| report.origin(spot)).collect();
                let secret = fate.secret || show::is_secret_name(name);
                entries.push(entry(value, &join(path, name), Fate { secret, ..fate }, report, lost));
            }
        }
        (Tree::List(items), _) => {
            let secrets = show::secret_words(items.iter().map(|item| match &item.value {
                Tree::Text(text) => text.as_str(),
                _ => "",
            }));
            for (index, (value, secret)) in items.iter().zip(secrets).enumerate() {
                let path = format!("{path}[{index}]");
                if matches!(value.value, Tree::Section(_)) {
                    walk(value, shape, &path, fate, report, entries);
                } else {
                    let lost = item.lost.iter().map(|&spot| report.origin(spot)).collect();
                    let secret = fate.secret || (secret && path.starts_with("skerry.k3s_args"));
                    entries.push(entry(value, &path, Fate { secret, ..fate }, report, lost));
                }
            }
        }
        _ => {
            let lost = item.lost.iter().map(|&spot| report.origin(spot)).collect();
            entries.push(entry(item, path, fate, report, lost));
        }
    }
}

fn entry(item: &Item, path: &str, fate: Fate, report: &Report, mut overrides: Vec<Origin>) -> Entry {
    overrides.extend(item.lost.iter().map(|&spot| report.origin(spot)));
    overrides.dedup();
    let effect = match &item.value {
        Tree::Empty => "cleared: says that there is none",
        _ => fate.effect,
    };
    Entry {
        path: path.to_owned(),
        value: item.json().unwrap_or(Json::Null),
        secret: fate.secret,
        origin: report.origin(item.spot),
        overrides,
        phases: fate.phases.to_vec(),
        effect: effect.to_owned(),
    }
}
