//! `ready`: waits until the node is Ready, then makes it as configured.

use super::api::{self, Patch, Who};
use super::look::{self, Machine};
use anyhow::{Context, Result, bail};
use serde_json::{Deserializer, Value};
use skerry_distribution::kubernetes::labels;
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::time::Duration;

/// What is waited for before the API server has said anything.
pub const NOT_REGISTERED: &str = "kubelet has not registered the node yet";
/// How soon a server that does not answer is asked again.
const SOONEST: Duration = Duration::from_secs(1);
/// Twice as long each time, but not longer.
const LATEST: Duration = Duration::from_secs(15);

/// One watch from start to end: an event for each change, and no polling.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let node = wait(&m)?;
    println!("node {} is Ready", m.settings.node_name);
    make_as_configured(&m, node)
}

/// Again and again: a worker's servers may be away for hours, which is one line that says so, not a failure each time.
fn wait(m: &Machine) -> Result<Value> {
    status(NOT_REGISTERED);
    let mut pause = SOONEST;
    loop {
        if let Some(node) = until_ready(api::watch(Who::Node, &watch_of(&m.settings.node_name))?)? {
            return Ok(node);
        }
        status(if m.settings.role.is_server() {
            "the API server does not answer"
        } else {
            "no server of the cluster answers; it is tried again and again"
        });
        std::thread::sleep(pause);
        pause = (pause * 2).min(LATEST);
    }
}

/// The question that is answered by every change of a node.
pub fn watch_of(node: &str) -> String {
    format!("/api/v1/nodes?watch=true&fieldSelector=metadata.name={node}")
}

/// Reads what a program that watches the node prints, until the node, of this boot, is Ready; none where the watch ends before.
pub fn until_ready(mut child: Child) -> Result<Option<Value>> {
    let boot_id = look::text("/proc/sys/kernel/random/boot_id");
    let Some(stdout) = child.stdout.take() else {
        bail!("watching the node: no pipe")
    };
    let mut last = String::new();
    let mut found = None;
    for event in Deserializer::from_reader(std::io::BufReader::new(stdout)).into_iter::<Value>() {
        let event = match event {
            Ok(event) => event,
            // The connection broke off in the middle of a word.
            Err(why) if why.is_eof() => break,
            Err(why) => return Err(why).context("reading what the API server says of the node"),
        };
        let Some(node) = event.get("object").filter(|o| o["kind"] == "Node") else {
            bail!("watching the node: {}", api::message(event.get("object").unwrap_or(&event)));
        };
        if labels::is_ready(node, boot_id.trim()) {
            found = Some(node.clone());
            break;
        }
        let why = labels::why_not(node);
        if why != last {
            status(&why);
            last = why;
        }
    }
    // It watches for ever.
    let _ = child.kill();
    let _ = child.wait();
    Ok(found)
}

/// What is waited for, for `skerry status` and the console. Nobody listening is no failure.
pub fn status(text: &str) {
    println!("{text}");
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(
            format!("STATUS={}", text.replace('\n', " ")).as_bytes(),
            skerry_control::NOTIFY_SOCKET,
        );
    }
}

/// Labels and taints.
fn make_as_configured(m: &Machine, mut node: Value) -> Result<()> {
    let who = if m.settings.role.is_server() { Who::Admin } else { Who::Node };
    let path = format!("/api/v1/nodes/{}", m.settings.node_name);
    for attempt in 1.. {
        let Some(body) = labels::patch(&node, &m.settings) else { break };
        let change = Patch {
            path: path.clone(),
            kind: "merge-patch+json",
            body,
        };
        match api::send(who, &[change]) {
            Ok(()) => break,
            Err(why) if attempt >= 5 => return Err(why),
            // Somebody changed the node at the same moment.
            Err(_) => node = api::get(who, &path)?,
        }
    }
    Ok(())
}
