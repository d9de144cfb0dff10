//! What does the cluster know of the machine under the node?
//!
//! | file | answers |
//! |---|---|
//! | [`facts`] | what the machine knows of itself |
//! | [`decide`] | what the Node object is to say, and what of it is news |
//!
//! Each node says it of itself, with kubelet's own rights: conditions in its Node's status, and an Event when one turns. Nothing is
//! remembered here: what the Node object says already is not said again, also after a restart.

pub mod decide;
pub mod facts;

use crate::client::{self, now};
use crate::places::Places;
use crate::token::date::rfc3339;
use anyhow::{Context, Result};
use decide::{Condition, News};
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often the machine is looked at.
const EVERY: Duration = Duration::from_secs(60);
/// How often the Node object is compared though nothing changed here: it may have been made anew.
const AGAIN: Duration = Duration::from_secs(600);
/// So long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps the Node's conditions, for ever.
pub async fn run(places: Places, node_name: String) {
    let mut said: Option<(Vec<Condition>, Instant)> = None;
    loop {
        let wanted = decide::conditions(&facts::look(&places).await);
        let known = said.take().filter(|(last, at)| *last == wanted && at.elapsed() < AGAIN);
        said = match known {
            Some(known) => Some(known),
            None => match say(&places, &node_name, &wanted).await {
                Ok(()) => Some((wanted, Instant::now())),
                Err(why) => {
                    // There may be no server yet, or no Node object: kubelet makes it.
                    tracing::debug!("saying how the machine is: {why:#}");
                    None
                }
            },
        };
        // Until it was said once, soon again.
        sleep(if said.is_some() { EVERY } else { EVERY / 4 }).await;
    }
}

/// With the credentials as they are now.
async fn say(places: &Places, node_name: &str, wanted: &[Condition]) -> Result<()> {
    let client = client::node(places)?;
    let api: Api<Node> = Api::all(client.clone());
    let get = timeout(PATIENCE, api.get(node_name));
    let node = get.await.context("reading the Node object")?.context("reading the Node object")?;
    let node = serde_json::to_value(node).context("reading the Node object")?;
    let News { patch, events } = decide::news(&node, wanted, &rfc3339(now()));
    if patch.is_empty() {
        return Ok(());
    }
    let body = json!({ "status": { "conditions": patch } });
    // Merged by the conditions' types: kubelet's own are left alone.
    let (how, body) = (PatchParams::default(), Patch::Strategic(body));
    let patched = timeout(PATIENCE, api.patch_status(node_name, &how, &body));
    patched
        .await
        .context("writing the Node's conditions")?
        .context("writing the Node's conditions")?;
    let reporter = Reporter {
        controller: "skerry-agent".to_owned(),
        instance: Some(node_name.to_owned()),
    };
    let recorder = Recorder::new(client, reporter);
    for (is_warning, condition) in &events {
        tell(&recorder, node_name, *is_warning, condition).await;
    }
    Ok(())
}

/// `kubectl describe node` shows it. One that cannot be written is no loss: the condition says the same.
async fn tell(recorder: &Recorder, node_name: &str, is_warning: bool, condition: &Condition) {
    let event = Event {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason: condition.reason.to_owned(),
        note: Some(condition.message.clone()),
        action: condition.kind.to_owned(),
        secondary: None,
    };
    let regarding = ObjectReference {
        kind: Some("Node".to_owned()),
        api_version: Some("v1".to_owned()),
        name: Some(node_name.to_owned()),
        // As kubelet's own: by it kubectl finds them.
        uid: Some(node_name.to_owned()),
        ..ObjectReference::default()
    };
    if let Ok(Err(why)) = timeout(PATIENCE, recorder.publish(&event, &regarding)).await {
        tracing::debug!(%why, "writing an Event");
    }
}
