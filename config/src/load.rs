//! Facts in, plain data out: sources become one typed configuration, where each value came from, and what is wrong.

use crate::explain::{Entry, entries};
use crate::merge::{Item, Tree};
use crate::report::Report;
use crate::tree::Mark;
use crate::{Config, Interface, Match, Problem, Severity, Source, SourceKind, connman, normal, read};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

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

/// Reads sources, in the order given: a later one wins. [`crate::order`] gives the order of the running machine.
pub fn load(sources: &[Source]) -> Loaded {
    let mut report = Report::new(sources.iter().map(|source| source.name.clone()).collect());
    let mut merged: Option<Item> = None;
    let mut readable = 0;
    let mut refused = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        report.enter(number);
        match one(source, &mut report) {
            Some(item) => {
                readable += 1;
                match &mut merged {
                    Some(merged) => merged.lay(item),
                    None => merged = Some(item),
                }
            }
            None => refused.push(source.name.clone()),
        }
    }
    let merged = merged.unwrap_or_else(|| Item::new(report.spot(Mark::default()), Tree::Section(BTreeMap::new())));
    let mut config = typed(&merged, &mut report);
    let mut explain = entries(&merged, &report);
    settle_network(&mut config, &merged, &mut report);
    connman::translate(&mut config, &merged, &mut explain, &mut report);
    Loaded {
        config,
        explain,
        problems: report.finish(),
        readable,
        refused,
    }
}

fn one(source: &Source, report: &mut Report) -> Option<Item> {
    let node = read::read(source, report)?;
    let (mark, what) = (node.mark, node.what());
    let item = normal::read(node, source.kind, report);
    if item.is_none() {
        let write = if source.kind == SourceKind::UserData {
            "YAML, or a script that begins with #!"
        } else {
            "hostname: my-node"
        };
        report.error(mark, "", format!("this is {what}, where a map of keys is expected"), write);
    }
    item
}

/// A network in which no wired interface is left is as good as none: the wired ones ask for addresses by DHCP.
fn settle_network(config: &mut Config, merged: &Item, report: &mut Report) {
    let Some(network) = &mut config.network else { return };
    network.version = 2;
    let made = network.bonds.len() + network.bridges.len() + network.vlans.len() + network.vrfs.len();
    // What is made of wired interfaces names them.
    if network.ethernets.len() + made > 0 {
        return;
    }
    if !network.wifis.is_empty() {
        // A radio beside which nothing is said of cables: one that is plugged in is used, and none is waited for.
        let every = Match {
            name: Some("e*".to_owned()),
            ..Match::default()
        };
        let wired = Interface {
            matches: Some(every),
            dhcp4: true,
            optional: true,
            ..Interface::default()
        };
        network.ethernets.insert("wired".to_owned(), wired);
        return;
    }
    let spot = merged.get("network").map_or(merged.spot, |item| item.spot);
    report.enter(spot.source);
    let done = "every wired interface asks for an address by DHCP";
    report.warn(
        Mark {
            line: spot.line,
            column: spot.column,
        },
        "network",
        "no wired interface is set up here",
        done,
        "ethernets:",
    );
    config.network = None;
}

/// The typed configuration. The shapes were checked key by key, so the conversion holds; if one ever should not, only its key is lost.
fn typed(merged: &Item, report: &mut Report) -> Config {
    let whole = merged.json().unwrap_or_default();
    if let Ok(config) = serde_json::from_value(whole.clone()) {
        return config;
    }
    let mut kept = serde_json::Map::new();
    if let Json::Object(keys) = whole {
        for (key, value) in keys {
            kept.insert(key.clone(), value);
            if let Err(error) = serde_json::from_value::<Config>(Json::Object(kept.clone())) {
                kept.remove(&key);
                let words = [error.to_string(), "left out".to_owned(), String::new()];
                report.push(Mark::default(), Severity::Error, true, &key, words);
            }
        }
    }
    serde_json::from_value(Json::Object(kept)).unwrap_or_default()
}
