//! One run of a node with a pod, from power-on to the pod's log: the milestones, and what memory it takes.

use crate::cases::start::{API_IS_UP, NODE_IS_READY, SETTINGS_ARE_DONE, SSH_IS_UP, TO_READY, node_machine};
use crate::machine::disk::Seed;
use crate::machine::{Lab, Machine, Request};
use anyhow::{Context, Result};
use serde_json::Value;
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

/// Follows it until the pod's log was read; `tell` is called at each milestone that the console shows.
pub fn follow(lab: &Lab, machine: &mut Machine, mut tell: impl FnMut(&str, f32)) -> Result<Milestones> {
    let seconds = |words: &[&str]| -> Result<f32> { Ok(machine.serial.wait_any(words, 0, TO_READY)?.at.as_secs_f32()) };
    tell(
        "settings applied",
        seconds(&[SETTINGS_ARE_DONE]).context("waiting for the settings")?,
    );
    tell("login by SSH", seconds(&SSH_IS_UP).context("waiting for a login by SSH")?);
    // Its line may be lost to a getty that starts just then; the time is asked for below.
    let api = seconds(&[API_IS_UP, NODE_IS_READY[0], NODE_IS_READY[1]]);
    tell("API server ready", api.context("waiting for the API server")?);
    tell("node Ready", seconds(&NODE_IS_READY).context("waiting for the node to be Ready")?);
    let wait = "kubectl wait --for=create pod/hello --timeout=180s >/dev/null && kubectl wait --for=condition=Ready pod/hello --timeout=180s >/dev/null && kubectl logs hello";
    let log = machine
        .root_within(lab, wait, Duration::from_secs(300))
        .context("waiting for the pod's log")?;
    anyhow::ensure!(log.trim() == HELLO, "reading the pod's log: it says {log:?}");
    let pod = machine.age().as_secs_f32();
    tell("pod's log read", pod);
    let up = first_up(lab, machine)?;
    let of = |unit: &str| up(unit).with_context(|| format!("asking when {unit} was up"));
    Ok(Milestones {
        settings: of("apply-boot")?,
        ssh: of("sshd")?,
        api: of("kube-apiserver")?,
        ready: of("kube-ready")?,
        pod,
    })
}

/// When each unit was first up, in seconds from power-on: PID 1 knows it by the kernel's clock, which starts a little later.
fn first_up(lab: &Lab, machine: &mut Machine) -> Result<impl Fn(&str) -> Option<f32>> {
    let out = machine.root(lab, "cat /proc/uptime; skerry services --json")?;
    let age = machine.age().as_secs_f32();
    let (uptime, services) = out.split_once('\n').context("reading the services")?;
    let uptime: f32 = uptime
        .split(' ')
        .next()
        .and_then(|u| u.parse().ok())
        .context("reading the machine's uptime")?;
    let services: Value = serde_json::from_str(services).context("reading the services")?;
    Ok(move |name: &str| {
        let unit = services
            .as_array()?
            .iter()
            .find(|u| u.get("name").and_then(Value::as_str) == Some(name))?;
        let millis = u32::try_from(unit.get("first_up_ms")?.as_u64()?).ok()?;
        Some(Duration::from_millis(millis.into()).as_secs_f32() + (age - uptime).max(0.0))
    })
}

/// Memory that the whole machine uses, in MiB: `MemTotal − MemAvailable`.
pub fn memory(lab: &Lab, machine: &mut Machine) -> Result<u64> {
    let script = "awk '/MemTotal/ {t=$2} /MemAvailable/ {a=$2} END {print int((t-a)/1024)}' /proc/meminfo";
    machine.root(lab, script)?.trim().parse().context("reading the memory in use")
}
