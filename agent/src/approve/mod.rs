//! On servers: nodes' requests for certificates are decided, and names are freed when their Nodes are deleted.
//!
//! ```text
//!  free ──(first key asks: record, then approve)──► taken, not registered ──(Node seen)──► registered ──(Node gone)──► free
//! ```
//!
//! Every server's agent does this. Nothing breaks when two decide the same request: the record is made by one of them only, and a
//! decision that is made already stays.

pub mod decide;
pub mod nodes;
pub mod record;

use crate::trouble::innermost;
use crate::{csr, x509};
use anyhow::{Context, Result};
use decide::{Asked, Known, Verdict};
use futures_util::StreamExt;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use nodes::Nodes;
use record::Records;
use serde_json::json;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

/// What failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// Decides for ever.
pub async fn approve(client: Client) {
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let nodes: Api<Node> = Api::all(client.clone());
    let ours = watcher::Config::default().fields(&format!("spec.signerName={}", csr::SIGNER));
    let mut asked = pin!(watcher(requests.clone(), ours).default_backoff().applied_objects());
    // Whole Nodes: kube 2.0 takes each line of a refusal for an event when it watches metadata only, and waits after each of them.
    let mut seen = pin!(watcher(nodes.clone(), watcher::Config::default()).default_backoff());
    let desk = Desk {
        requests,
        nodes: nodes.clone(),
        records: Records::of(client),
    };
    let mut names = Nodes::new(desk.records.clone(), nodes);
    let mut later = BTreeSet::new();
    let mut complaint = String::new();
    loop {
        let mut failed = tokio::select! {
            event = asked.next() => match event {
                Some(Ok(request)) => {
                    later.insert(request.name_any());
                    None
                }
                Some(Err(why)) => Some(innermost(&why)),
                None => return,
            },
            event = seen.next() => match event {
                Some(Ok(event)) => names.saw(event).await.err().map(|why| format!("{why:#}")),
                Some(Err(why)) => Some(innermost(&why)),
                None => return,
            },
            () = sleep(AGAIN), if !later.is_empty() || names.is_behind() => names.catch_up().await.err().map(|why| format!("{why:#}")),
        };
        for name in later.clone() {
            match desk.handle(&name).await {
                Ok(()) => _ = later.remove(&name),
                Err(why) => failed = Some(format!("{why:#}")),
            }
        }
        match failed {
            Some(why) if why != complaint => {
                tracing::warn!("approving nodes: {why}; trying again");
                complaint = why;
            }
            None if later.is_empty() => complaint.clear(),
            Some(_) | None => {}
        }
    }
}

struct Desk {
    requests: Api<CertificateSigningRequest>,
    nodes: Api<Node>,
    records: Records,
}

impl Desk {
    async fn handle(&self, name: &str) -> Result<()> {
        // As it is now: the event may be old.
        let Some(object) = self.requests.get_opt(name).await? else {
            return Ok(());
        };
        let asked = facts(&object);
        if decide::decide(&asked, &Known::default()) == Verdict::Leave {
            return Ok(());
        }
        let node = decide::name(&asked).unwrap_or_default();
        let known = self.known(node).await?;
        match decide::decide(&asked, &known) {
            Verdict::Leave => Ok(()),
            Verdict::Deny(why) => {
                tracing::warn!(node, by = asked.user, "a certificate was refused: {why}");
                self.answer(&object, "Denied", &why).await
            }
            Verdict::Approve => {
                let key = asked.request.as_ref().map(|r| r.key.as_str()).unwrap_or_default();
                if known.record.is_none() {
                    // Before the approval: a certificate without a record would leave the name to the next key.
                    if !self.records.claim(node, key).await? {
                        anyhow::bail!("another request for the name {node} came at the same moment");
                    }
                    if known.has_node {
                        self.records.register(node).await?;
                    }
                }
                tracing::info!(node, by = asked.user, "a certificate was approved");
                self.answer(&object, "Approved", "the key is the one that this name is recorded for")
                    .await
            }
        }
    }

    async fn known(&self, node: &str) -> Result<Known> {
        if node.is_empty() {
            return Ok(Known::default());
        }
        // In this order: a Node that comes between is one that the record allowed.
        let record = self.records.get(node).await.context("reading a node's record")?;
        let has_node = self.nodes.get_metadata_opt(node).await.context("looking for a Node")?.is_some();
        if let Some(freed) = record.as_ref().filter(|r| r.is_registered && !has_node) {
            // The Node was deleted, and word of it has not come yet.
            self.records.remove(freed).await.context("freeing a node's name")?;
            return Ok(Known::default());
        }
        Ok(Known {
            record: record.map(|r| r.key),
            has_node,
        })
    }

    async fn answer(&self, object: &CertificateSigningRequest, kind: &str, message: &str) -> Result<()> {
        // With the version that was decided on: whoever was faster wins.
        let patch = json!({
            "metadata": { "resourceVersion": object.resource_version() },
            "status": { "conditions": [{ "type": kind, "status": "True", "reason": "SkerryNodeIdentity", "message": message }] },
        });
        let name = object.name_any();
        match self
            .requests
            .patch_approval(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Err(kube::Error::Api(said)) if said.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

/// What the rule has to know of a request.
fn facts(object: &CertificateSigningRequest) -> Asked {
    let spec = &object.spec;
    let conditions = object.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    Asked {
        signer: spec.signer_name.clone(),
        usages: spec.usages.clone().unwrap_or_default(),
        user: spec.username.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        request: x509::request(&spec.request.0),
        is_decided: !conditions.is_empty(),
    }
}
