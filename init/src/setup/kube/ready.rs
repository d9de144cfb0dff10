//! `ready`: waits until the node is Ready, then makes it as configured.

use super::look::{self, Machine};
use super::program::{kubectl, run_kubectl};
use anyhow::{Context, Result, bail};
use serde_json::{Deserializer, Value};
use skerry_distribution::kubernetes::paths::CONFLIST;
use skerry_distribution::kubernetes::{files, labels};
use skerry_sys::file;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

/// One `kubectl get --watch` from start to end: an event for each change, no polling, one program start.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let node = wait(&m)?;
    println!("node {} is Ready", m.settings.node_name);
    make_as_configured(&m, node)
}

fn wait(m: &Machine) -> Result<Value> {
    let boot_id = look::text("/proc/sys/kernel/random/boot_id");
    let [program, first @ ..] = kubectl();
    let field = format!("--field-selector=metadata.name={}", m.settings.node_name);
    let mut child = Command::new(&program)
        .args(first)
        .args(["get", "nodes", field.as_str(), "--watch", "--output=json"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let Some(stdout) = child.stdout.take() else {
        bail!("running {program}: no pipe")
    };
    let mut last = String::new();
    let mut found = None;
    for node in Deserializer::from_reader(std::io::BufReader::new(stdout)).into_iter::<Value>() {
        let node = node.context("reading what kubectl says of the node")?;
        if labels::is_ready(&node, boot_id.trim()) {
            found = Some(node);
            break;
        }
        let why = labels::why_not(&node);
        if why != last {
            status(&why);
            last = why;
        }
    }
    // It watches for ever.
    let _ = child.kill();
    let _ = child.wait();
    found.context("watching the node: the API server ended the watch; it is begun again")
}

/// What is waited for, for `skerry status` and the console. Nobody listening is no failure.
fn status(text: &str) {
    println!("{text}");
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(
            format!("STATUS={}", text.replace('\n', " ")).as_bytes(),
            skerry_control::NOTIFY_SOCKET,
        );
    }
}

/// Labels, taints and the range of pods' addresses.
fn make_as_configured(m: &Machine, mut node: Value) -> Result<()> {
    let name = m.settings.node_name.as_str();
    for attempt in 1.. {
        let Some(patch) = labels::patch(&node, &m.settings) else { break };
        match run_kubectl(&["patch", "node", name, "--type=merge", "--patch", &patch.to_string()], None) {
            Ok(_) => break,
            Err(why) if attempt >= 5 => return Err(why),
            // Somebody changed the node at the same moment.
            Err(_) => node = serde_json::from_str(&run_kubectl(&["get", "node", name, "--output=json"], None)?)?,
        }
    }
    if let Some(range) = labels::pod_cidr(&node).filter(|_| m.settings.network) {
        let wanted = files::conflist(range);
        if look::text(CONFLIST) != wanted {
            println!("the cluster gave this node {range} for its pods");
            file::replace(CONFLIST, wanted.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}
