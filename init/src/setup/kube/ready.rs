//! `ready`: waits until the node is Ready, then makes it as configured.

use super::look::{self, Machine};
use super::program::run_kubectl;
use anyhow::{Context, Result, bail};
use serde_json::{Deserializer, Value};
use skerry_distribution::kubernetes::paths::{CONF, CONFLIST, LOCAL_API, PKI, RUN};
use skerry_distribution::kubernetes::{files, kubeconfig, labels};
use skerry_sys::file;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

/// One watch from start to end: an event for each change, and no polling.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let node = wait(&m)?;
    println!("node {} is Ready", m.settings.node_name);
    make_as_configured(&m, node)
}

/// By curl, with the node's own certificate: kubectl would take the processor for seconds on a small machine, just when the node
/// needs it.
fn wait(m: &Machine) -> Result<Value> {
    let boot_id = look::text("/proc/sys/kernel/random/boot_id");
    let identity = format!("{RUN}/node.pem");
    let pem = kubeconfig::identity(&look::text(format!("{CONF}/kubelet.conf"))).context("reading kubelet.conf: no certificate in it")?;
    file::replace(&identity, &pem, 0o600)?;
    let url = format!(
        "{LOCAL_API}/api/v1/nodes?watch=true&fieldSelector=metadata.name={}",
        m.settings.node_name
    );
    let ca = format!("{PKI}/ca.crt");
    let mut child = Command::new("/usr/bin/curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--no-buffer", "--noproxy", "*"])
        .args(["--cacert", &ca, "--cert", &identity, &url])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .context("running curl")?;
    let Some(stdout) = child.stdout.take() else {
        bail!("running curl: no pipe")
    };
    status("kubelet has not registered the node yet");
    let mut last = String::new();
    let mut found = None;
    for event in Deserializer::from_reader(std::io::BufReader::new(stdout)).into_iter::<Value>() {
        let event = event.context("reading what the API server says of the node")?;
        let Some(node) = event.get("object").filter(|o| o["kind"] == "Node") else {
            bail!(
                "watching the node: {}",
                event.pointer("/message").or(event.pointer("/object/message")).unwrap_or(&event)
            );
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
