//! One run of a node with a pod, from power-on to the pod's log: the milestones, and what memory it takes.

use crate::cases::start::{API_IS_UP, NODE_IS_READY, SETTINGS_ARE_DONE, SSH_IS_UP, TO_READY, node_machine};
use crate::machine::disk::Seed;
use crate::machine::{Lab, Machine, Request};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

const CONFIG: &str = include_str!("../fixtures/run-node.yaml");
/// The words of the pod.
pub const HELLO: &str = "hello from the pod";

/// Seconds from power-on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Milestones {
    /// The configuration was applied.
    pub settings: f32,
    /// SSH answers.
    pub ssh: f32,
    /// The API server is ready.
    pub api: f32,
    /// The node is Ready.
    pub ready: f32,
    /// The pod's log was read.
    pub pod: f32,
}

/// Makes the data disk of such a node.
pub fn seed(lab: &Lab, hello: &Path) -> Seed {
    let config = CONFIG.replace("@KEY@", &lab.key.public);
    Seed::config(config).copy("var/lib/rancher/k3s/agent/images/hello.tar", hello)
}

/// Starts the node on its data disk.
pub fn start(lab: &Lab, name: &str, hello: &Path, limit: Duration) -> Result<Machine> {
    let data = lab.data_disk(name, &seed(lab, hello), 6144)?;
    lab.start(&Request {
        limit,
        ..node_machine(name, Some(&data))
    })
}

/// Follows it until the pod's log was read; `tell` is called at each milestone.
pub fn follow(lab: &Lab, machine: &mut Machine, mut tell: impl FnMut(&str, f32)) -> Result<Milestones> {
    let seconds = |words: &[&str]| -> Result<f32> { Ok(machine.serial.wait_any(words, 0, TO_READY)?.at.as_secs_f32()) };
    let settings = seconds(&[SETTINGS_ARE_DONE]).context("waiting for the settings")?;
    tell("settings applied", settings);
    let ssh = seconds(&[SSH_IS_UP]).context("waiting for a login by SSH")?;
    tell("login by SSH", ssh);
    let api = seconds(&[API_IS_UP]).context("waiting for the API server")?;
    tell("API server ready", api);
    let ready = seconds(&[NODE_IS_READY]).context("waiting for the node to be Ready")?;
    tell("node Ready", ready);
    let wait = "kubectl wait --for=create pod/hello --timeout=180s >/dev/null && kubectl wait --for=condition=Ready pod/hello --timeout=180s >/dev/null && kubectl logs hello";
    let log = machine
        .root_within(lab, wait, Duration::from_secs(300))
        .context("waiting for the pod's log")?;
    anyhow::ensure!(log.trim() == HELLO, "reading the pod's log: it says {log:?}");
    let pod = machine.age().as_secs_f32();
    tell("pod's log read", pod);
    Ok(Milestones {
        settings,
        ssh,
        api,
        ready,
        pod,
    })
}

/// Memory that the whole machine uses, in MiB: `MemTotal − MemAvailable`.
pub fn memory(lab: &Lab, machine: &mut Machine) -> Result<u64> {
    let script = "awk '/MemTotal/ {t=$2} /MemAvailable/ {a=$2} END {print int((t-a)/1024)}' /proc/meminfo";
    machine.root(lab, script)?.trim().parse().context("reading the memory in use")
}
