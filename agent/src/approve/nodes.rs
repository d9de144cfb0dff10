//! Names are freed when their Nodes are deleted; also when that happened while no agent was looking.

use super::record::{Record, Records};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::watcher::Event;
use std::collections::BTreeSet;

/// The Nodes as far as they are known.
pub struct Nodes {
    records: Records,
    api: Api<Node>,
    listed: BTreeSet<String>,
    /// Whether `listed` is all there is.
    is_complete: bool,
    /// Names whose records fit what was seen of their Nodes.
    settled: BTreeSet<String>,
    /// All names have to be looked at again.
    is_behind: bool,
}

/// What is to be done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Register,
    Remove,
}

fn change(record: &Record, has_node: bool) -> Change {
    match (record.is_registered, has_node) {
        (false, true) => Change::Register,
        // Approved, and not registered yet: its kubelet is about to.
        (false, false) | (true, true) => Change::None,
        (true, false) => Change::Remove,
    }
}

impl Nodes {
    /// Nothing is known yet.
    pub fn new(records: Records, api: Api<Node>) -> Self {
        Self {
            records,
            api,
            listed: BTreeSet::new(),
            is_complete: false,
            settled: BTreeSet::new(),
            is_behind: false,
        }
    }

    /// Whether [`Self::catch_up`] has something to do.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Takes in what happened. What fails here is done by [`Self::catch_up`].
    pub async fn saw(&mut self, event: Event<Node>) -> Result<()> {
        match event {
            Event::Init => {
                self.is_complete = false;
                self.listed.clear();
            }
            Event::InitApply(node) => _ = self.listed.insert(node.name_any()),
            Event::InitDone => {
                self.is_complete = true;
                self.is_behind = true;
                return self.catch_up().await;
            }
            Event::Apply(node) => {
                let name = node.name_any();
                self.listed.insert(name.clone());
                if !self.settled.contains(&name) {
                    self.is_behind = true;
                    self.settle(&name).await?;
                    self.is_behind = false;
                }
            }
            Event::Delete(node) => {
                let name = node.name_any();
                self.listed.remove(&name);
                self.settled.remove(&name);
                self.is_behind = true;
                self.settle(&name).await?;
                self.is_behind = false;
            }
        }
        Ok(())
    }

    /// Every record against all Nodes.
    pub async fn catch_up(&mut self) -> Result<()> {
        if !(self.is_behind && self.is_complete) {
            return Ok(());
        }
        for record in self.records.all().await.context("reading the nodes' records")? {
            self.apply(&record).await?;
        }
        self.settled.clone_from(&self.listed);
        self.is_behind = false;
        Ok(())
    }

    async fn settle(&mut self, name: &str) -> Result<()> {
        if let Some(record) = self.records.get(name).await.context("reading a node's record")? {
            self.apply(&record).await?;
        }
        if self.listed.contains(name) {
            self.settled.insert(name.to_owned());
        }
        Ok(())
    }

    async fn apply(&self, record: &Record) -> Result<()> {
        match change(record, self.listed.contains(&record.node)) {
            Change::None => Ok(()),
            Change::Register => Ok(self.records.register(&record.node).await?),
            Change::Remove => {
                // It may have registered again since.
                if self.api.get_metadata_opt(&record.node).await?.is_some() {
                    return Ok(());
                }
                tracing::info!(node = record.node, "the Node was deleted: its name is free");
                self.records.remove(record).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_freed_only_after_its_node_was_there() {
        let record = |is_registered| Record {
            node: "w1".into(),
            key: "k".into(),
            is_registered,
            uid: None,
        };
        for (registered, node, wanted) in [
            (false, false, Change::None),
            (false, true, Change::Register),
            (true, true, Change::None),
            (true, false, Change::Remove),
        ] {
            assert_eq!(change(&record(registered), node), wanted, "{registered} {node}");
        }
    }
}
