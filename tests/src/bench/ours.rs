//! Ours: the same measure of the real system, what its programs weigh, and a node up to its first pod.

use crate::cases::Bench;
use crate::cases::start::{NONE_DISK, log_in, none_machine, switch_off};
use crate::machine::disk::Seed;
use crate::machine::{Lab, Machine};
use crate::node::{self, Milestones};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Two boots to a login and a first service.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Seconds from PID 1's start to lease, sshd and the service after them, with the keys and the state of an earlier boot.
    pub later: f64,
    /// The same of the first boot, which makes them.
    pub first: f64,
    /// Seconds until each unit was up first in the later boot, the first one first.
    pub units: Vec<(String, f64)>,
    /// Resident memory of PID 1, in KiB.
    pub pid1_kib: f64,
    /// Resident memory of all our programs that stay, PID 1 included, in KiB.
    pub all_kib: f64,
}

/// Boots it twice; the stand-in program is the first service, started after the lease and sshd.
pub fn boot(bench: &Bench) -> Result<Boot> {
    let lab = &bench.lab;
    let config = format!(
        "ssh_authorized_keys: [{:?}]\nskerry:\n  distribution: fake\n  k3s_args: ['svc after=netd after=sshd']\n",
        lab.key.public
    );
    let data = lab.data_disk(
        "bench-ours",
        &Seed::config(config).copy("var/lib/skerry/fake", &bench.fake),
        NONE_DISK,
    )?;
    let mut machine = lab.start(&none_machine("bench-ours", Some(&data)))?;
    let (first, ..) = once(bench, &mut machine)?;
    switch_off(bench, &mut machine)?;
    let mut machine = lab.start(&none_machine("bench-ours", Some(&data)))?;
    let (later, units) = once(bench, &mut machine)?;
    let sums = machine.root(lab, RESIDENT)?;
    let mut numbers = sums.split_whitespace().map(|n| n.parse::<f64>().ok());
    let mut next = || numbers.next().flatten().context("reading resident memory");
    let boot = Boot {
        first,
        later,
        units,
        pid1_kib: next()?,
        all_kib: next()?,
    };
    machine.cut();
    Ok(boot)
}

/// Seconds from PID 1's start to the first service, and to each unit.
fn once(bench: &Bench, machine: &mut Machine) -> Result<(f64, Vec<(String, f64)>)> {
    let lab = &bench.lab;
    log_in(bench, machine, 0)?;
    // Idle: what the boot still has to do is done.
    machine.serial.wait_end(Duration::from_secs(20));
    let services: Value = serde_json::from_str(&machine.root(lab, "skerry services --json")?).context("reading the services")?;
    let exec = exec_ms(lab, machine)?;
    let units = ups(&services, exec);
    let service = units.iter().find(|(name, _)| name == "svc").context("finding the first service")?.1;
    Ok((service, units))
}

/// When each unit was up first, in seconds after `exec`.
fn ups(services: &Value, exec: f64) -> Vec<(String, f64)> {
    let up = |unit: &Value| {
        let name = unit.get("name")?.as_str()?.to_owned();
        Some((name, (unit.get("first_up_ms")?.as_f64()? - exec) / 1000.0))
    };
    let mut units: Vec<_> = services.as_array().into_iter().flatten().filter_map(up).collect();
    units.sort_by(|a, b| a.1.total_cmp(&b.1));
    units
}

/// PID 1's and our other programs' `Rss`, in KiB.
const RESIDENT: &str = r#"
one=0; all=0
for p in /proc/[0-9]*; do
    case "$(readlink $p/exe)" in /usr/lib/skerry/*) ;; *) continue ;; esac
    rss=$(awk '/^Rss:/ {print $2}' $p/smaps_rollup 2>/dev/null); rss=${rss:-0}
    [ $p = /proc/1 ] && one=$rss
    all=$((all + rss))
done
echo $one $all"#;

/// When the root was mounted, in milliseconds of the kernel's clock: the last thing that is known before PID 1's program begins, a
/// little early, so never in our favour.
pub(super) fn exec_ms(lab: &Lab, machine: &mut Machine) -> Result<f64> {
    let line = machine.root(lab, "dmesg | grep -m1 'erofs.*mounted'")?;
    let seconds = line
        .trim_start_matches(['[', ' '])
        .split(']')
        .next()
        .and_then(|s| s.trim().parse::<f64>().ok());
    Ok(seconds.with_context(|| format!("reading the time in {line:?}"))? * 1000.0)
}

/// A node from power-on to its first pod's log, and the memory it takes three minutes after Ready, in MiB.
pub fn node(lab: &Lab, hello: &Path, tell: impl FnMut(&str, f32)) -> Result<(Milestones, u64)> {
    let mut machine = node::start(lab, "bench-node", hello, Duration::from_secs(900))?;
    let milestones = node::follow(lab, &mut machine, tell)?;
    let since = machine.age().as_secs_f32() - milestones.ready;
    // The figure is defined by the time that has gone by.
    machine.serial.wait_end(Duration::from_secs_f32((180.0 - since).max(0.0)));
    let memory = node::memory(lab, &mut machine)?;
    machine.root(lab, "poweroff")?;
    machine.wait_end(Duration::from_secs(120))?;
    Ok((milestones, memory))
}
