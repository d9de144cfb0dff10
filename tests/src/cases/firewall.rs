//! What other machines reach, and a change of the network that undoes itself.

use super::check::{Checks, Expect, Probe};
use super::start::{NONE_DISK, NONE_MEMORY, none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::wire::{Wire, address};
use crate::machine::{Machine, Request, patient};
use anyhow::Result;
use std::time::Duration;

const LIMIT: Duration = seconds(600);

/// Listens on TCP ports and a UDP port as what a login starts, and on TCP 8090 as a pod with the host's network does: in a control group
/// of kubelet's.
const LISTENERS: &str = "
mkdir -p /sys/fs/cgroup/kubepods
for port in 8080 8081; do setsid socat -t 20 TCP4-LISTEN:$port,reuseaddr,fork SYSTEM:'echo here' </dev/null >/dev/null 2>&1 & done
setsid socat -t 20 UDP4-LISTEN:8082,reuseaddr,fork SYSTEM:'echo here' </dev/null >/dev/null 2>&1 &
setsid sh -c \"echo \\$\\$ > /sys/fs/cgroup/kubepods/cgroup.procs; exec socat -t 20 TCP4-LISTEN:8090,reuseaddr,fork SYSTEM:'echo here'\" \\
    </dev/null >/dev/null 2>&1 &
for i in $(seq 240); do test $(ss -Hltun | grep -cE ':(8080|8081|8082|8090) ') = 4 && exit 0; sleep 0.25; done
ss -ltun; exit 1";

/// Two machines on one wire; the second looks at the first from outside.
pub fn ports(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let wire = Wire::new(lab, "firewall", 2, patient(LIMIT))?;
    let start = |n: u8, more: &str| -> Result<Machine> {
        let config = format!(
            "{}network: {{version: 2, ethernets: {{eth0: {{addresses: [{}/24]}}}}}}\n{more}",
            none_config(bench, ""),
            address(n)
        );
        let name = format!("firewall-{n}");
        let data = lab.data_disk(&name, &Seed::config(config), NONE_DISK)?;
        let request = Request {
            memory: NONE_MEMORY,
            plug: Some(wire.plug(n)?.clone()),
            limit: LIMIT,
            ..none_machine(&name, Some(&data))
        };
        to_login(bench, &request)
    };
    let other = start(2, "")?;
    let machine = start(1, "")?;
    with_machine(bench, checks, other, |other, checks| {
        with_machine(bench, checks, machine, |machine, checks| {
            machine.root(lab, LISTENERS)?;
            let until_up =
                "for i in $(seq 240); do skerry network | grep -q 'closes the system' && exit 0; sleep 0.25; done; skerry network; exit 1";
            checks.that("the firewall is up by itself", machine.root(lab, until_up));
            let shown: [Probe<'_>; 4] = [
                (
                    "skerry network says what is open",
                    "skerry network",
                    Expect::Has("tcp/22           SSH"),
                ),
                (
                    "and by which interface others come",
                    "skerry network",
                    Expect::Has("own ports on eth0"),
                ),
                (
                    "as JSON too",
                    "skerry network --json | tr -d ' \\n'",
                    Expect::Has(r#""ports":"tcp/22""#),
                ),
                ("the loopback is free", &ask("127.0.0.1", 8081), Expect::Is("here")),
            ];
            checks.probe(machine.ssh(lab)?, &shown, seconds(60))?;
            let own = address(1);
            let ssh = format!("timeout 20 bash -c 'exec 3<>/dev/tcp/{own}/22 && head -c 4 <&3'");
            let udp = format!("echo x | timeout 40 socat -t 20 - UDP4:{own}:8082");
            let seen: [Probe<'_>; 6] = [
                ("SSH is open", &ssh, Expect::Is("SSH-")),
                (
                    "a port that listens and is not open is refused",
                    &ask(&own, 8081),
                    Expect::Has("refused"),
                ),
                ("as one that does not listen", &ask(&own, 8099), Expect::Has("refused")),
                ("over UDP, too", &udp, Expect::Has("refused")),
                ("what a pod listens on is the pod's business", &ask(&own, 8090), Expect::Is("here")),
                ("it answers to ping", &format!("ping -c 1 -W 20 {own}"), Expect::Success),
            ];
            checks.probe(other.ssh(lab)?, &seen, seconds(120))?;
            opened(bench, machine, other, checks)
        })
    })
}

/// A line from a TCP port, or why not.
fn ask(host: &str, port: u16) -> String {
    format!("timeout 40 socat -t 20 - TCP4:{host}:{port} </dev/null 2>&1")
}

/// A port that is opened in a running machine, and the firewall switched off by one key.
fn opened(bench: &Bench, machine: &mut Machine, other: &mut Machine, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let apply = |file: &str, words: &str| {
        format!(
            "echo '{file}' > /run/new.yaml && skerry config apply /run/new.yaml && \
             for i in $(seq 240); do skerry network | grep -A 9 'the firewall' | grep -v 'being put up' | tr '\\n' ' ' | grep -q '{words}' && exit 0; \
             sleep 0.25; done; skerry network; exit 1"
        )
    };
    let own = address(1);
    let file = "skerry: {open_ports: [tcp/8081]}";
    checks.that(
        "a port is opened at once",
        machine.root(lab, &apply(file, "closes.*tcp/8081  *the configuration")),
    );
    let seen: [Probe<'_>; 2] = [
        ("it answers", &ask(&own, 8081), Expect::Is("here")),
        ("the others do not", &ask(&own, 8080), Expect::Has("refused")),
    ];
    checks.probe(other.ssh(lab)?, &seen, seconds(60))?;
    let file = "skerry: {firewall: false}";
    checks.that("it is off by one key", machine.root(lab, &apply(file, "the firewall is off")));
    let until_gone = format!(
        "for i in $(seq 60); do {} | grep -q here && exit 0; sleep 0.5; done; exit 1",
        ask(&own, 8080)
    );
    checks.that("and then all answer", other.root(lab, &until_gone));
    let left: [Probe<'_>; 2] = [
        ("its table is gone", "nft list tables", Expect::Lacks("inet skerry")),
        ("what was applied is on data", "cat /var/lib/skerry/config.yaml", Expect::Is(file)),
    ];
    checks.probe(machine.ssh(lab)?, &left, seconds(60))
}

/// A change that cuts us off is undone by itself; one that is confirmed stays; one that is cut off by the power is undone.
pub fn trial(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let data = lab.data_disk("network-trial", &Seed::config(none_config(bench, "")), NONE_DISK)?;
    let request = none_machine("network-trial", Some(&data));
    let network = |addresses: &str| format!("network: {{version: 2, ethernets: {{eth0: {{{addresses}}}}}}}");
    let away = network("addresses: [10.0.3.99/24]");
    let more = network("dhcp4: true, addresses: [10.0.2.88/24]");
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        // Nobody is there to hear what it says: the way to the machine is cut.
        let begin =
            format!("echo '{away}' > /run/new.yaml; setsid skerry config apply /run/new.yaml --confirm 20s </dev/null >/run/said 2>&1 &");
        machine.root(lab, &begin)?;
        machine.forget_login();
        let undone =
            "for i in $(seq 240); do skerry logs netd | grep -q 'nobody confirmed' && exit 0; sleep 0.5; done; cat /run/said; exit 1";
        checks.that("it is undone by itself", machine.root_within(lab, undone, seconds(150)));
        machine.forget_login();
        let after: [Probe<'_>; 6] = [
            ("it said for how long", "cat /run/said", Expect::Has("on trial for 20 s")),
            (
                "it was in effect",
                "skerry logs netd",
                Expect::Has("adding address 10.0.3.99/24 to eth0"),
            ),
            ("and is not", "ip -4 -o addr show eth0", Expect::Lacks("10.0.3.99")),
            ("what was before is", "ip -4 -o addr show eth0", Expect::Has("10.0.2.15/24")),
            ("nothing of it is on data", "ls /var/lib/skerry/config.yaml", Expect::Failure),
            ("it cannot be kept any more", "skerry config confirm", Expect::Failure),
        ];
        checks.probe(machine.ssh(lab)?, &after, seconds(60))?;
        let confirmed = format!(
            "echo '{more}' > /run/new.yaml; skerry config apply /run/new.yaml --confirm 10m && \
             for i in $(seq 240); do skerry network | grep -q 'is on trial for' && break; sleep 0.25; done; \
             skerry network && skerry config confirm"
        );
        let said = machine.root(lab, &confirmed);
        let said = checks.that("a change is tried and confirmed", said).unwrap_or_default();
        checks.has("skerry network says that it is on trial", &said, "is on trial for");
        checks.has("and what it gave", &said, "10.0.2.88/24 (the configuration)");
        let kept: [Probe<'_>; 3] = [
            ("it is on data now", "cat /var/lib/skerry/config.yaml", Expect::Is(&more)),
            ("root's alone", "stat -c %a /var/lib/skerry/config.yaml", Expect::Is("600")),
            (
                "nothing is on trial",
                "for i in $(seq 240); do skerry network | grep -q 'on trial' || exit 0; sleep 0.25; done; exit 1",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(lab)?, &kept, seconds(60))?;
        // The next one is on trial when the power goes.
        let third = network("dhcp4: true, addresses: [10.0.2.77/24]");
        let begin = format!(
            "echo '{third}' > /run/new.yaml; skerry config apply /run/new.yaml --confirm 10m && \
             for i in $(seq 240); do ip -4 -o addr show eth0 | grep -q 10.0.2.77 && exit 0; sleep 0.25; done; exit 1"
        );
        checks.that("a third is on trial", machine.root(lab, &begin));
        machine.cut();
        Ok(())
    })?;
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let until = "for i in $(seq 240); do ip -4 -o addr show eth0 | grep -q 10.0.2.88 && exit 0; sleep 0.25; done; exit 1";
        checks.that("after a power cut what was kept counts", machine.root(lab, until));
        let after: [Probe<'_>; 2] = [
            (
                "and what was on trial does not",
                "ip -4 -o addr show eth0",
                Expect::Lacks("10.0.2.77"),
            ),
            ("on data, too", "cat /var/lib/skerry/config.yaml", Expect::Is(&more)),
        ];
        checks.probe(machine.ssh(lab)?, &after, seconds(60))?;
        switch_off(bench, machine)
    })
}
