//! Data disks that cannot take a byte more.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, log_in, none_config, none_machine, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::Seed;
use anyhow::{Context, Result};

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
    let fill = "rm -f /var/lib/written; dd if=/dev/zero of=/srv/fill bs=1M 2>/dev/null; dd if=/dev/zero bs=512 of=/srv/rest 2>/dev/null; dd if=/dev/zero bs=1 of=/srv/last 2>/dev/null; sync; df --output=avail /srv | tail -1";
    let left = machine
        .root_within(&bench.lab, fill, seconds(240))
        .context("filling the data disk")?;
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("reboot", seconds(20)); // the connection may end before its answer
    checks
        .that("a login all the same", log_in(bench, &mut machine, mark))
        .context("booting with a full data disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the disk is full", "df --output=avail /srv | tail -1", Expect::Is(left.as_str())),
            ("the configuration applies", "cat /proc/sys/kernel/hostname", Expect::Is("brimful")),
            ("PID 1 answers", "skerry status", Expect::Has("brimful")),
            (
                "what is wrong is said",
                "skerry status; skerry logs apply-boot; cat /run/skerry/*.json",
                Expect::Has("No space left"),
            ),
            (
                "making room needs no restart",
                "rm /srv/fill && echo x > /var/lib/written",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))
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
            ("status says so", "skerry status", Expect::Has("read-only")),
            ("/var can be written all the same", "touch /var/lib/x", Expect::Success),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        checks.has("the console says so", &machine.serial.text(0), "read-only");
        Ok(())
    })
}
