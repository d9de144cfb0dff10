//! How the cases start a machine and know that it is up: the words of its console, in one place.

use super::{Bench, seconds};
use crate::machine::disk::Seed;
use crate::machine::serial::Found;
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// On the console once the configuration was applied. PID 1 pads a unit's title to 28 characters and says what became of it.
pub const SETTINGS_ARE_DONE: &str = "Settings                     done";
/// On the console once the API server is ready.
pub const API_IS_UP: &str = "Kubernetes: API server       ready";
/// On the console once the node is Ready: PID 1's line or the banner's. A getty that starts flushes its terminal, and with it lines
/// of others, so no single line can be relied on.
pub const NODE_IS_READY: [&str; 2] = ["Kubernetes: node Ready       done", "Kubernetes node Ready"];
/// On the console once SSH answers, or is about to.
pub const SSH_IS_UP: [&str; 3] = ["Login by SSH                 ready", "ssh skerry@", " login: "];

/// How long a boot to a login may take by TCG on a busy computer.
pub const TO_LOGIN: Duration = seconds(120);
/// How long a boot to Ready may take there.
pub const TO_READY: Duration = seconds(300);
/// Memory of a machine that runs Kubernetes, in MiB.
pub const KUBERNETES_MEMORY: u32 = 3072;
/// Memory of a machine that runs none, in MiB.
pub const NONE_MEMORY: u32 = 768;
/// Size of a data disk for Kubernetes, in MiB.
pub const KUBERNETES_DISK: u32 = 6144;
/// Size of a data disk for a machine that runs none, in MiB.
pub const NONE_DISK: u32 = 512;

/// A configuration without Kubernetes that lets us in, with more lines.
pub fn none_config(bench: &Bench, more: &str) -> String {
    format!(
        "ssh_authorized_keys: [{:?}]\nskerry: {{distribution: none}}\n{more}",
        bench.lab.key.public
    )
}

/// A configuration with Kubernetes that lets us in, with more lines.
pub fn node_config(bench: &Bench, more: &str) -> String {
    format!("ssh_authorized_keys: [{:?}]\n{more}", bench.lab.key.public)
}

/// Puts the test image where a node imports images from.
pub fn with_hello(bench: &Bench, seed: Seed) -> Seed {
    seed.copy("var/lib/rancher/k3s/agent/images/hello.tar", &bench.hello)
}

/// A request for a machine without Kubernetes on this data disk.
pub fn none_machine(name: &str, data: Option<&Path>) -> Request {
    Request {
        memory: NONE_MEMORY,
        data: data.map(Path::to_path_buf),
        ..Request::new(name)
    }
}

/// A request for a machine with Kubernetes on this data disk.
pub fn node_machine(name: &str, data: Option<&Path>) -> Request {
    Request {
        memory: KUBERNETES_MEMORY,
        data: data.map(Path::to_path_buf),
        ..Request::new(name)
    }
}

/// Starts a machine and logs in.
pub fn to_login(bench: &Bench, request: &Request) -> Result<Machine> {
    let mut machine = bench.lab.start(request)?;
    log_in(bench, &mut machine, 0)?;
    Ok(machine)
}

/// Waits until SSH is up in what the console shows after `from`, and logs in.
pub fn log_in(bench: &Bench, machine: &mut Machine, from: usize) -> Result<()> {
    machine
        .serial
        .wait_any(&SSH_IS_UP, from, TO_LOGIN)
        .context("waiting for a login by SSH")?;
    machine.forget_login();
    machine.ssh(&bench.lab).map(drop)
}

/// Starts a machine and waits until the console says that the node is Ready; then logs in.
pub fn to_ready(bench: &Bench, request: &Request) -> Result<(Machine, Found)> {
    let mut machine = bench.lab.start(request)?;
    let ready = machine.serial.wait_any(&NODE_IS_READY, 0, TO_READY);
    if ready.is_err() {
        machine.keep_logs(&bench.lab);
    }
    let ready = ready.context("waiting for the node to be Ready")?;
    machine.ssh(&bench.lab)?;
    Ok((machine, ready))
}

/// Switches a machine off from inside and waits for it.
pub fn switch_off(bench: &Bench, machine: &mut Machine) -> Result<()> {
    machine.root(&bench.lab, "poweroff")?;
    machine.wait_end(seconds(120)).context("switching off")
}
