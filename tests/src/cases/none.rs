//! A machine without Kubernetes: logins, power, the watchdog, the last good configuration.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, log_in, none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::Seed;
use anyhow::{Context, Result};

pub fn first_login(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let config = none_config(bench, "hostname: first\nusers: [{name: ops, sudo: false}]\n");
    let data = bench.lab.data_disk("first-login", &Seed::config(config), NONE_DISK)?;
    let machine = to_login(bench, &none_machine("first-login", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        for (what, line, words) in [
            ("status names the machine", "skerry status", "first"),
            ("status is JSON when asked", "skerry status --json", "\"units\""),
            ("services lists what runs", "skerry services", "sshd"),
            ("logs shows a service's last lines", "skerry logs sshd", "Server listening"),
            ("the old name of the command works", "k3os --version", "0.1.0"),
            ("sudo asks nothing", "sudo -n id -un", "root"),
            ("explain says where a value came from", "sudo skerry config explain", "hostname"),
            ("who am I", "id", "uid=1000(skerry)"),
        ] {
            let out = machine.typed(&bench.lab, line)?;
            checks.has(what, &format!("{}\n{}", out.out, out.err), words);
        }
        let rancher = machine
            .login(&bench.lab, "rancher", seconds(30))
            .and_then(|s| s.run("id -u; pwd", seconds(20))?.ok());
        checks.that(
            "rancher is the same user",
            rancher.and_then(|o| if o.starts_with("1000") { Ok(()) } else { anyhow::bail!("{o}") }),
        );
        let probes = [
            (
                "PID 1 is in a cgroup of its own",
                "cat /proc/1/cgroup",
                Expect::Is("0::/init.scope"),
            ),
            ("/ is read-only", "touch /usr/x", Expect::Failure),
            (
                "/ is the verified device",
                "findmnt -no SOURCE /; cat /sys/block/dm-0/dm/name",
                Expect::Has("/dev/"),
            ),
            (
                "/etc can be written, for this boot",
                "touch /etc/x && findmnt -no FSTYPE /etc",
                Expect::Is("overlay"),
            ),
            (
                "root cannot log in by SSH",
                "sshd -T | grep -i '^permitrootlogin'",
                Expect::Is("permitrootlogin no"),
            ),
            (
                "passwords do not count over SSH",
                "sshd -T | grep -i '^passwordauthentication'",
                Expect::Is("passwordauthentication no"),
            ),
            ("machine-id is there", "grep -cE '^[0-9a-f]{32}$' /etc/machine-id", Expect::Is("1")),
            (
                "data is mounted with long commits",
                "findmnt -no OPTIONS /skerry",
                Expect::Has("noatime"),
            ),
            ("the data tree has its version", "cat /skerry/version", Expect::Is("1")),
            (
                "the owner's file is there",
                "head -1 /skerry/system/config.yaml",
                Expect::Has("ssh_authorized_keys"),
            ),
            ("k3OS's folder is there", "test -d /k3os && ls -d /k3os", Expect::Is("/k3os")),
            (
                "a shell's process substitution",
                "bash -c 'cat <(echo there) > /dev/stdout'",
                Expect::Is("there"),
            ),
            ("an unknown service is refused", "skerry stop no-such-thing", Expect::Failure),
            (
                "a service is stopped",
                "skerry stop chronyd && skerry services | grep chronyd",
                Expect::Has("stopped"),
            ),
            (
                "and started again",
                "skerry start chronyd && skerry services --json | tr -d '\\n' | grep -c chronyd",
                Expect::Is("1"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(90))?;
        let socket = machine.login(&bench.lab, "ops", seconds(3));
        checks.is("a user without a key does not get in", socket.is_err(), "ops logged in");
        let console = machine.serial.text(0);
        for words in ["SHA256:", "10.0.2.15", "first"] {
            checks.has("the console says how to log in", &console, words);
        }
        switch_off(bench, machine)
    })
}

pub fn power(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk("power", &Seed::config(none_config(bench, "")), NONE_DISK)?;
    let mut machine = to_login(
        bench,
        &Request {
            restarts: true,
            ..none_machine("power", Some(&data))
        },
    )?;
    let keys = "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f3; cat /etc/machine-id";
    let first = machine.root(&bench.lab, &format!("echo kept > /root/note; {keys}"))?;
    let mark = machine.serial.mark();
    let ordered = machine.ssh(&bench.lab)?.run("skerry reboot", seconds(20))?;
    checks.is("group skerry may restart the machine", ordered.code != Some(3), &ordered.err);
    checks
        .that("skerry reboot comes up again", log_in(bench, &mut machine, mark))
        .context("restarting the machine")?;
    let second = machine.root(&bench.lab, keys)?;
    checks.is(
        "host key and machine-id are kept",
        first == second,
        &format!("{first} then {second}"),
    );
    checks.that("what root wrote is kept", machine.root(&bench.lab, "grep kept /root/note"));
    let clean = machine.root(&bench.lab, "dmesg | grep -ciE 'recovery complete|orphan cleanup' || true")?;
    checks.is("the data disk was unmounted", clean == "0", &clean);
    checks.that("poweroff ends the machine", switch_off(bench, &mut machine));
    drop(machine);
    let machine = to_login(bench, &none_machine("power", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        machine
            .root(
                &bench.lab,
                "for i in $(seq 60); do ls /proc/1/fd -l | grep -q /dev/input/event && exit 0; sleep 0.5; done; exit 1",
            )
            .context("waiting for PID 1 to find the power button")?;
        machine.power_button()?;
        checks.that("the power button ends the machine", machine.wait_end(seconds(60)));
        Ok(())
    })
}

pub fn watchdog(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk("watchdog", &Seed::config(none_config(bench, "")), NONE_DISK)?;
    let mut machine = to_login(bench, &none_machine("watchdog", Some(&data)))?;
    let path = "/sys/fs/cgroup/init.scope/cgroup.freeze";
    machine.root(
        &bench.lab,
        &format!("test -e {path} || exit 1; (sleep 1; echo 1 > {path}) >/dev/null 2>&1 & exit 0"),
    )?;
    checks.that("the watchdog resets the machine", machine.qmp.wait_event("WATCHDOG", seconds(150)));
    checks.that("and it ends", machine.wait_end(seconds(20)));
    Ok(())
}

pub fn last_good(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("last-good", &Seed::config(none_config(bench, "hostname: was-good\n")), NONE_DISK)?;
    let mut machine = to_login(
        bench,
        &Request {
            restarts: true,
            ..none_machine("last-good", Some(&data))
        },
    )?;
    machine
        .root(
            &bench.lab,
            "for i in $(seq 100); do test -e /var/lib/skerry/last-good/version && exit 0; sleep 0.5; done; exit 1",
        )
        .context("waiting for the configuration to be saved as good")?;
    // No key, no password, no cluster: nobody could ever log in.
    machine.root(
        &bench.lab,
        "printf 'hostname: locked-out\\nskerry: {distribution: none}\\n' > /skerry/system/config.yaml; sync",
    )?;
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("reboot", seconds(20)); // the connection may end before its answer
    log_in(bench, &mut machine, mark).context("booting the last good configuration")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the last good host name", "cat /proc/sys/kernel/hostname", Expect::Is("was-good")),
            ("status says which plan runs", "skerry status", Expect::Has("last-good")),
            (
                "the owner's file is as he left it",
                "cat /skerry/system/config.yaml",
                Expect::Has("locked-out"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        checks.has("the console says so", &machine.serial.text(mark), "last good");
        Ok(())
    })
}

pub fn pipe_as_config(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let config = none_config(bench, "hostname: patient\n");
    let data = bench.lab.data_disk("pipe-as-config", &Seed::config(config), NONE_DISK)?;
    let mut machine = to_login(
        bench,
        &Request {
            restarts: true,
            ..none_machine("pipe-as-config", Some(&data))
        },
    )?;
    machine.root(&bench.lab, "for i in $(seq 100); do test -e /var/lib/skerry/last-good/version && break; sleep 0.5; done; mkfifo /var/lib/skerry/config.d/00-pipe || { mkdir -p /var/lib/skerry/config.d; mkfifo /var/lib/skerry/config.d/00-pipe; }; sync")?;
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("reboot", seconds(20)); // the connection may end before its answer
    checks
        .that("a login all the same", log_in(bench, &mut machine, mark))
        .context("booting past a pipe among the sources")?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(
            machine.ssh(&bench.lab)?,
            &[(
                "the rest of the configuration applies",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("patient"),
            )],
            seconds(30),
        )?;
        let status = machine
            .typed(&bench.lab, "skerry status; skerry logs plan; sudo cat /run/skerry/problems.json")?
            .out;
        checks.is("it is named", status.contains("00-pipe"), &status);
        Ok(())
    })
}
