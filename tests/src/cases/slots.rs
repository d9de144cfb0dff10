//! Life with two slots, on a disk that firmware boots: trials that end well and trials that do not, by many restarts of one machine.

use super::check::{Checks, Expect};
use super::disk::flashed;
use super::start::{NODE_IS_READY, TO_READY, log_in, node_config, node_machine, none_config, none_machine, to_login, to_ready};
use super::{Bench, seconds, with_machine};
use crate::machine::{Firmware, Machine, Request, patient};
use anyhow::{Context, Result};
use std::time::Duration;

/// Fills the data partition to its last byte.
const FILL: &str = "cd /var/lib; fallocate -l $(df --output=avail -B1 . | tail -1) fill; dd if=/dev/zero of=fill.more bs=64k 2>/dev/null; \
                    dd if=/dev/zero of=fill.rest bs=512 2>/dev/null; sync";
/// kubelet is ended as soon as it is there.
const NO_KUBELET: &str = "setsid sh -c 'while sleep 1; do pkill -9 -f ^/usr/bin/kubelet; done' > /dev/null 2>&1 < /dev/null &";
/// The driver is taken away again whenever udev brings it back.
const NO_NETWORK: &str = "setsid sh -c 'while rmmod virtio_net; sleep 0.5; do :; done' > /dev/null 2>&1 < /dev/null &";
/// The owner's command that makes a candidate fail, once a test has put it there.
const FAULT: &str =
    "run_cmd: [\"if test -x /var/lib/skerry/fault && grep -q skerry.slot=b /proc/cmdline; then /var/lib/skerry/fault; fi\"]\n";
/// The running system into the other slot, as it is.
const COPY: &str = "dd if=/dev/vda4 of=/dev/vda6 bs=1M conv=fsync status=none && dd if=/dev/vda3 of=/dev/vda5 bs=1M conv=fsync status=none";
const PROVEN: &str = "has proven itself and is the good one now";
/// The longest that three boots that fail may take.
const THREE_BOOTS: Duration = seconds(400);

/// A machine on a flashed disk, with both slots filled.
fn machine(bench: &Bench, name: &str) -> Result<Machine> {
    let disk = flashed(bench, name, &none_config(bench, FAULT))?;
    let request = Request {
        disk: Some((Firmware::Bios, disk)),
        restarts: true,
        limit: seconds(1800),
        ..none_machine(name, None)
    };
    let mut machine = to_login(bench, &request)?;
    machine
        .root_within(&bench.lab, COPY, seconds(120))
        .context("copying the system into the other slot")?;
    Ok(machine)
}

/// Puts b on trial, restarts, and waits for these words on the console, `fault` being what its first boot does.
fn try_b(bench: &Bench, machine: &mut Machine, terms: Terms, before: &str, fault: &str, until: &str) -> Result<String> {
    let (limit, within) = (terms.limit.as_secs(), terms.within);
    let script = format!(
        "set -e; mkdir -p /var/lib/skerry; cat > /var/lib/skerry/fault <<'END'\n#!/bin/sh\n{fault}\nEND\nchmod +x /var/lib/skerry/fault\n\
         skerry slots try b --health-limit {limit} --soak 5\n{before}\nsync; skerry reboot"
    );
    let mark = machine.serial.mark();
    machine.root(&bench.lab, &script).context("putting slot b on trial")?;
    machine.forget_login();
    machine
        .serial
        .wait_line(until, mark, within)
        .with_context(|| format!("waiting for {until:?}"))?;
    let text = machine.serial.text(mark);
    log_in(bench, machine, mark)?;
    Ok(text)
}

/// How long a candidate has, and how long the console is watched for its end.
#[derive(Clone, Copy)]
struct Terms {
    limit: Duration,
    within: Duration,
}

impl Terms {
    /// For one that is good: time enough on any computer.
    fn generous() -> Self {
        Self {
            limit: patient(seconds(60)),
            within: seconds(300),
        }
    }

    /// For one that fails: this computer's own pace, since all of it is waited for.
    fn tight(machine: &Machine) -> Self {
        let usual = machine.serial.text(0).lines().find_map(ready_after).unwrap_or(20.0);
        Self {
            limit: Duration::from_secs_f64(3.0 * usual + 10.0),
            within: THREE_BOOTS,
        }
    }
}

/// The kernel's seconds in PID 1's line that says that SSH is ready.
fn ready_after(line: &str) -> Option<f64> {
    let (before, _) = line.split_once("] Login by SSH")?;
    before.rsplit('[').next()?.trim().parse().ok()
}

const WENT_BACK: &str = "went back from";

/// A candidate that must be left: what the console says of it at the end.
fn left(bench: &Bench, machine: &mut Machine, checks: &mut Checks, what: &str, before: &str, fault: &str, says: &str) -> Result<()> {
    let mut terms = Terms::tight(machine);
    if fault.contains("cgroup.freeze") {
        // The watchdog is to be sooner than the verdict.
        terms.limit = patient(seconds(120));
    }
    let console = try_b(bench, machine, terms, before, fault, WENT_BACK).with_context(|| what.to_owned())?;
    let line = console.lines().rev().find(|l| l.contains(WENT_BACK)).unwrap_or_default().to_owned();
    checks.has(&format!("{what}: the machine goes back and says why"), &line, says);
    let slots = machine.root(&bench.lab, "grep -o 'skerry.slot=.' /proc/cmdline; skerry slots")?;
    checks.has(&format!("{what}: slot a runs"), &slots, "skerry.slot=a");
    checks.has(&format!("{what}: it is remembered"), &slots, says);
    Ok(())
}

pub fn life(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let machine = machine(bench, "slots")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let slots = machine.root(&bench.lab, "skerry slots")?;
        checks.has("slot a is good and runs", &slots, "a*    ");
        checks.has("slot b is spare", &slots, "  spare ");
        let text = try_b(bench, machine, Terms::generous(), "", "true", PROVEN)?;
        checks.has("GRUB spends a try", &text, "Skerry: slot b (try-left-2)");
        let slots = machine.root(&bench.lab, "skerry slots; cat /proc/cmdline")?;
        checks.has("slot b runs", &slots, "skerry.slot=b skerry.why=try-left-2");
        checks.has("and is good", &slots, "b*    0.1.0         good ");
        let mark = machine.serial.mark();
        machine.root(&bench.lab, "rm /var/lib/skerry/fault; skerry rollback --soak 5 --reboot")?;
        machine
            .serial
            .wait_line(PROVEN, mark, seconds(300))
            .context("rolling back by hand")?;
        log_in(bench, machine, mark)?;
        checks.that(
            "a rollback by hand leads to slot a",
            machine.root(&bench.lab, "grep skerry.slot=a /proc/cmdline"),
        );

        let probe = "mkdir -p /var/lib/skerry/health.d; printf '#!/bin/sh\\necho the till is silent\\n! grep -q skerry.slot=b /proc/cmdline\\n' \
                     > /var/lib/skerry/health.d/till; chmod +x /var/lib/skerry/health.d/till";
        left(bench, machine, checks, "an owner's probe fails", probe, "true", "probe till")?;
        let status = machine.ssh(&bench.lab)?.run("skerry status", seconds(30))?;
        checks.has("skerry status tells of it", &status.out, "the till is silent");
        let left_words = "mount /dev/vda5 /mnt && sed -i 's/ gpt / gpt k3os.no_such_key=1 /' /mnt/slot.cfg && umount /mnt";
        left(
            bench,
            machine,
            checks,
            "it does not understand the configuration",
            left_words,
            "true",
            "configuration: it does not",
        )?;
        left(
            bench,
            machine,
            checks,
            "its boot partition is wiped",
            "dd if=/dev/zero of=/dev/vda5 bs=1M count=1 conv=fsync status=none",
            "true",
            "went back from",
        )?;

        let mark = machine.serial.mark();
        machine.root(
            &bench.lab,
            "dd if=/dev/zero of=/dev/vda2 bs=1M conv=fsync status=none || true; sync; skerry reboot",
        )?;
        machine.forget_login();
        let said = machine.serial.wait_line("the boot state is repaired", mark, seconds(200));
        checks.that("a boot state of zeros is repaired", said);
        log_in(bench, machine, mark)?;
        let slots = machine.root(&bench.lab, "skerry slots")?;
        checks.has("and the machine runs as before", &slots, "a*    0.1.0 ");
        let probes = [(
            "the disk is whole",
            "sgdisk -v /dev/vda 2>/dev/null || true; ls /dev/vda7",
            Expect::Has("vda7"),
        )];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))
    })
}

/// The good slot's root is damaged where every read begins: the other one is tried, and stays.
pub fn good_is_damaged(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let machine = machine(bench, "good-damaged")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let damage = "set -e; OFF=$(sed 's/.*skerry.hashoff=\\([0-9]*\\).*/\\1/' /proc/cmdline); \
                      dd if=/dev/zero of=/dev/vda4 bs=4096 seek=$((OFF / 4096)) count=512 conv=fsync,notrunc status=none; skerry reboot";
        let mark = machine.serial.mark();
        machine.root(&bench.lab, damage).context("damaging the good slot")?;
        machine.forget_login();
        checks.that(
            "it says that it tries the other slot",
            machine.serial.wait_line("slot b is tried instead", mark, seconds(120)).map(drop),
        );
        checks.that(
            "which proves itself",
            machine.serial.wait_line(PROVEN, mark, seconds(300)).map(drop),
        );
        log_in(bench, machine, mark)?;
        let probes = [
            ("slot b runs", "cat /proc/cmdline", Expect::Has("skerry.slot=b")),
            ("and is the good one", "skerry slots | grep '^b[*]' | grep -c good", Expect::Is("1")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))
    })
}

/// With Kubernetes, by UEFI: a candidate whose kubelet is never healthy is left, and the node is Ready again.
pub fn kubelet(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let name = "slots-kubelet";
    let request = Request {
        disk: Some((Firmware::Uefi, flashed(bench, name, &node_config(bench, FAULT))?)),
        restarts: true,
        limit: seconds(1500),
        ..node_machine(name, None)
    };
    let (machine, ready) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.has(
            "the node is Ready, from slot a of the disk",
            &machine.serial.text(0),
            "Skerry: slot a (good)",
        );
        let copied = machine.root_within(&bench.lab, COPY, seconds(240));
        copied.context("copying the system into the other slot")?;
        let terms = Terms {
            // It would be Ready again sooner than it was for the first time.
            limit: ready.at + seconds(20),
            within: TO_READY * 2,
        };
        let mark = machine.serial.mark();
        let console = try_b(bench, machine, terms, "", NO_KUBELET, WENT_BACK)?;
        let line = console.lines().rev().find(|l| l.contains(WENT_BACK)).unwrap_or_default().to_owned();
        checks.has("kubelet is never healthy: the machine goes back and says why", &line, "kubelet");
        let slots = machine.root(&bench.lab, "grep -o 'skerry.slot=.' /proc/cmdline; skerry slots")?;
        checks.has("slot a runs", &slots, "skerry.slot=a");
        checks.has("it is remembered", &slots, "kubelet");
        // Said after it went back: the system before the restart had said so, too.
        let back = machine.serial.wait_any(&[WENT_BACK], mark, seconds(1))?.end;
        let again = machine.serial.wait_any(&NODE_IS_READY, back, TO_READY).map(drop);
        checks.that("and the node is Ready again", again);
        Ok(())
    })
}

pub fn faults(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let machine = machine(bench, "slots-faults")?;
    with_machine(bench, checks, machine, |machine, checks| {
        left(
            bench,
            machine,
            checks,
            "it has no driver for the network",
            "",
            NO_NETWORK,
            "default-route",
        )?;
        left(bench, machine, checks, "it fills the disk", "", FILL, "data-room")?;
        machine.root(&bench.lab, "rm -f /var/lib/fill*; sync")?;
        // Three boots, three deaths: a panic, a restart, a frozen PID 1 that the watchdog ends.
        let deaths = "n=$(cat /var/lib/skerry/deaths 2>/dev/null || echo 0); echo $((n+1)) > /var/lib/skerry/deaths; sync\n\
                      case $n in 0) echo c > /proc/sysrq-trigger;; 1) echo b > /proc/sysrq-trigger;; \
                      *) echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze; sleep 600;; esac";
        left(
            bench,
            machine,
            checks,
            "it panics, restarts and hangs",
            "",
            deaths,
            "restarted by itself",
        )?;
        let deaths = machine.root(&bench.lab, "cat /var/lib/skerry/deaths")?;
        checks.is("it had three boots", deaths.trim() == "3", &deaths);
        let damage = "dd if=/dev/urandom of=/dev/vda6 bs=1M seek=2 count=100 conv=fsync,notrunc status=none";
        left(bench, machine, checks, "its root is damaged", damage, "true", "went back from")?;
        let wipe = "dd if=/dev/zero of=/dev/vda6 bs=1M count=220 conv=fsync,notrunc status=none";
        machine.root_within(&bench.lab, COPY, seconds(120))?;
        left(bench, machine, checks, "its root is wiped", wipe, "true", "never came as far")
    })
}
