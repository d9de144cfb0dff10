//! `ready`: waits until the cluster says that the node is Ready, or has taken it in.

use crate::kube::{NOT_REGISTERED, look, status, until_ready, watch_of};
use anyhow::{Context, Result, bail};
use skerry_distribution::kubelet::{BOOTSTRAP, KUBECONFIG};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// For one answer of a server on this machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node, of this boot: one watch from start to end, with the kubelet's own credentials.
pub fn node(kubeconfig: &str, name: &str) -> Result<()> {
    if !Path::new(kubeconfig).exists() {
        status("the node has no credentials yet");
        bail!("looking for {kubeconfig}: the node has no credentials yet");
    }
    let child = Command::new("/usr/bin/kubectl")
        .args([&format!("--kubeconfig={kubeconfig}"), "get", "--raw", &watch_of(name)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running kubectl")?;
    status(NOT_REGISTERED);
    if until_ready(child)?.is_none() {
        bail!("watching the node: the API server ended the watch, or did not answer; it is begun again");
    }
    println!("node {name} is Ready");
    if kubeconfig == KUBECONFIG && Path::new(BOOTSTRAP).exists() {
        // The token has done its work.
        std::fs::remove_file(BOOTSTRAP).with_context(|| format!("removing {BOOTSTRAP}"))?;
    }
    Ok(())
}

/// A file that comes into being when the cluster has taken the node in.
pub fn file(path: &str) -> Result<()> {
    if look::text(path).is_empty() {
        status("the cluster has not taken this node in yet");
        bail!("looking for {path}: the cluster has not taken this node in yet");
    }
    Ok(())
}

/// Asks once, in plain HTTP.
pub fn socket(socket: &str, path: &str) -> Result<()> {
    let doing = || format!("asking {socket} for {path}");
    let mut stream = UnixStream::connect(socket).with_context(doing)?;
    stream.set_read_timeout(Some(PATIENCE)).with_context(doing)?;
    let question = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(question.as_bytes()).with_context(doing)?;
    let mut start = Vec::new();
    stream.take(12).read_to_end(&mut start).with_context(doing)?;
    if start.starts_with(b"HTTP/1.") && start.get(9) == Some(&b'2') {
        return Ok(());
    }
    bail!("{}: {}", doing(), String::from_utf8_lossy(&start));
}
