//! Data disks that cannot take a byte more.

use super::check::{Checks, Expect};
use super::node::ready_disk;
use super::start::{NONE_DISK, log_in, node_machine, none_config, none_machine, switch_off, to_login, to_ready};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::Seed;
use anyhow::{Context, Result};

/// Takes every byte that root can take, and says how many KiB are left.
const FILL: &str = "cd /srv; fallocate -l $(df --output=avail -B1 . | tail -1) fill; dd if=/dev/zero of=more bs=64k 2>/dev/null; \
                    dd if=/dev/zero of=rest bs=512 2>/dev/null; dd if=/dev/zero of=last bs=1 2>/dev/null; sync; df --output=avail . | tail -1 | tr -d ' '";

pub fn full(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let config = none_config(bench, "hostname: brimful\nwrite_files: [{path: /var/lib/written, content: text}]\n");
    let data = bench.lab.data_disk("disk-full", &Seed::config(config), NONE_DISK)?;
    let mut machine = to_login(
        bench,
        &Request {
            restarts: true,
            ..none_machine("disk-full", Some(&data))
        },
    )?;
    let left = machine
        .root_within(&bench.lab, FILL, seconds(120))
        .context("filling the data disk")?;
    checks.is("the disk is full", left == "0", &left);
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("rm -f /var/lib/written; reboot", seconds(20)); // the connection may end before its answer
    checks
        .that("a login all the same", log_in(bench, &mut machine, mark))
        .context("booting with a full data disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let again = format!("{FILL}; skerry status | head -1");
        let probes = [
            ("what is wrong is said", "skerry logs storage; skerry status", Expect::Has("full")),
            ("the reserve made room to come up", "test ! -e /skerry/reserve", Expect::Success),
            (
                "the configuration applies",
                "cat /proc/sys/kernel/hostname /var/lib/written",
                Expect::Is("brimful\ntext"),
            ),
            ("filled again while it runs, PID 1 answers", again.as_str(), Expect::Has("brimful")),
            (
                "services are restarted on a full disk",
                "skerry restart chronyd; for i in $(seq 40); do skerry services | grep -w chronyd | grep running && break; sleep 0.5; done",
                Expect::Has("running"),
            ),
            (
                "making room needs no restart",
                "rm /srv/fill && echo x > /var/lib/written",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(120))
    })
}

pub fn full_node(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = ready_disk(bench, "disk-full-node")?;
    let mut machine = to_login(bench, &node_machine("disk-full-node", Some(&data)))?;
    machine
        .root_within(&bench.lab, FILL, seconds(120))
        .context("filling the data disk")?;
    machine.cut();
    drop(machine);
    let (machine, _) = to_ready(bench, &node_machine("disk-full-node", Some(&data))).context("booting with a full data disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "the datastore can be written",
                "kubectl create configmap full --from-literal=a=b",
                Expect::Success,
            ),
            ("status says so", "skerry logs storage; skerry status", Expect::Has("full")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })
}

pub fn read_only(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("disk-read-only", &Seed::config(none_config(bench, "hostname: frozen\n")), NONE_DISK)?;
    let machine = to_login(
        bench,
        &Request {
            data_is_read_only: true,
            ..none_machine("disk-read-only", Some(&data))
        },
    )?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the configuration applies", "cat /proc/sys/kernel/hostname", Expect::Is("frozen")),
            ("status says so", "skerry status", Expect::Has("can only be read")),
            ("/var can be written all the same", "touch /var/lib/x", Expect::Success),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        checks.has("the console says so", &machine.serial.text(0), "can only be read");
        Ok(())
    })
}
