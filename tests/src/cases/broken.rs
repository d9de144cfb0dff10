//! Broken configurations: a bad key drops only itself, and nobody is locked out.

use super::check::{Checks, Expect, Probe};
use super::start::{KUBERNETES_DISK, NONE_DISK, node_config, node_machine, none_machine, switch_off, to_login, to_ready};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};

/// One broken file, and what must hold all the same.
struct Broken {
    name: &'static str,
    text: &'static [u8],
    probes: &'static [Probe<'static>],
}

const KEPT_NAME: Probe<'static> = ("the good part applies", "cat /proc/sys/kernel/hostname", Expect::Is("still-here"));
const NAMED: Probe<'static> = (
    "the problem is written down",
    "grep -c . /run/skerry/problems.json",
    Expect::Success,
);

/// `hostname=still-here`, the key and `none` come by the command line, as a person would help himself.
const TO_LOGIN: [Broken; 7] = [
    Broken { name: "tabs", text: b"hostname: a\n\trun_cmd:\n\t- true\n", probes: &[KEPT_NAME, NAMED] },
    Broken { name: "two-sections", text: b"k3os: {token: abc}\nskerry: {token: def}\n", probes: &[KEPT_NAME, NAMED] },
    Broken { name: "not-text", text: b"\x00\xff\xfe\x80garbage\x00\x01\x02", probes: &[KEPT_NAME, NAMED] },
    Broken {
        name: "bomb",
        text: b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nrun_cmd: [*g,*g,*g,*g,*g,*g]\n",
        probes: &[KEPT_NAME, NAMED],
    },
    Broken {
        name: "wrong-kinds",
        text: b"hostname: {a: b}\nwrite_files: 7\nrun_cmd: {a: [b]}\nskerry:\n  modules: {x: [y]}\n  sysctls: [1, 2]\n  labels: text\n  environment: {GOOD: kept}\n  install: 5\n",
        probes: &[KEPT_NAME, NAMED, ("the good key applies", "grep GOOD /etc/environment", Expect::Is("GOOD=\"kept\""))],
    },
    Broken {
        name: "bad-network",
        text: b"network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true, addresses: [nonsense, 10.0.2.300/24], gateway4: 5, mtu: minus, nameservers: {addresses: [x]}}\n    eth7: {match: {macaddress: zz}, dhcp4: true}\n",
        probes: &[KEPT_NAME, NAMED, ("DHCP works", "ip -4 addr show eth0", Expect::Has("10.0.2.15"))],
    },
    Broken {
        name: "bad-steps",
        text: b"init_cmd: ['exit 3']\nboot_cmd: ['false', 'touch /run/never']\nrun_cmd: [[a, b], 'touch /run/run-cmd-went-on', 'kill -9 $$']\nwrite_files:\n- {path: /usr/bin/bash, content: x}\n\
                - {path: /etc/bad, encoding: rot13, content: x}\n- {path: /etc/owner, owner: nobody-knows, content: x}\n- {path: /etc/good, content: good}\n- {content: no path}\n\
                skerry:\n  modules: [no_such_module, dummy]\n  sysctls: {no.such.thing: 1, vm.swappiness: 23}\n  password: ''\n  ntp_servers: ['not a host name']\nca_certs: [not a certificate]\n\
                ssh_authorised_keys: [x]\n",
        probes: &[
            KEPT_NAME,
            NAMED,
            ("write_files goes on after a bad one", "cat /etc/good", Expect::Is("good")),
            ("bash is bash", "bash -c 'echo it is'", Expect::Is("it is")),
            ("modules go on after a bad one", "test -d /sys/module/dummy", Expect::Success),
            ("sysctls go on after a bad one", "cat /proc/sys/vm/swappiness", Expect::Is("23")),
            ("a failing command ends its list", "test -e /run/never", Expect::Failure),
            ("a list in run_cmd drops only itself", "test -e /run/run-cmd-went-on", Expect::Success),
            ("a failed step is shown as such", "skerry services | grep boot-cmd", Expect::Has("failed")),
            ("a slip of the pen is understood", "cat /run/skerry/problems.json", Expect::Has("ssh_authorized_keys")),
        ],
    },
];

fn one_to_login(bench: &Bench, checks: &mut Checks, broken: &Broken) -> Result<()> {
    let name = format!("broken-{}", broken.name);
    let data = bench.lab.data_disk(&name, &Seed::config(broken.text), NONE_DISK)?;
    let key = format!("ssh_authorized_key=\"{}\"", bench.lab.key.public);
    let words = vec!["skerry.distribution=none".to_owned(), "hostname=still-here".to_owned(), key];
    let machine = to_login(
        bench,
        &Request {
            words,
            ..none_machine(&name, Some(&data))
        },
    )?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, broken.probes, seconds(60))
    })
}

pub fn logins(bench: &Bench, checks: &mut Checks) -> Result<()> {
    for broken in &TO_LOGIN {
        let mut own = Checks::default();
        let done = one_to_login(bench, &mut own, broken);
        own.that("comes up to a login", done);
        checks.held += own.held;
        checks
            .failed
            .extend(own.failed.into_iter().map(|f| format!("{}: {f}", broken.name)));
    }
    nobody_may_log_in(bench, checks).context("without a key or a password")
}

/// Neither key nor password nor last good configuration: the console shows a password for this boot.
fn nobody_may_log_in(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("broken-nobody", &Seed::config("skerry: {distribution: none}\n"), NONE_DISK)?;
    let machine = bench.lab.start(&none_machine("broken-nobody", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, _| {
        let shown = machine.serial.wait_line("user skerry, password ", 0, seconds(120))?;
        let password = shown
            .line
            .split_whitespace()
            .last()
            .context("reading the password shown")?
            .to_owned();
        console_login(machine, "skerry", &password, shown.end)
    })
}

fn console_login(machine: &mut Machine, user: &str, password: &str, from: usize) -> Result<()> {
    machine.type_line("")?;
    let prompt = machine.serial.wait_any(&["login:"], from, seconds(60))?;
    machine.type_line(user)?;
    let prompt = machine.serial.wait_any(&["assword:"], prompt.end, seconds(30))?;
    machine.type_line(password)?;
    machine.serial.wait_any(&["$ "], prompt.end, seconds(30))?;
    machine.type_line("echo sum=$((40+2))")?;
    machine.serial.wait_any(&["sum=42"], prompt.end, seconds(30)).map(drop)
}

const BAD_CLUSTER: &str = "hostname: Still_Here.\nskerry:\n  token: short\n  labels: {'not a label!': x, good: 'yes', kubernetes.io/role: forbidden}\n  taints: [nonsense, 'a=b:NoSuchEffect', 'ok=1:PreferNoSchedule']\n  \
                           k3s_args: [server, --no-such-flag, --cluster-cidr=nonsense, --disable=traefik, '--flannel-backend=host-gw', stray]\n";
const BAD_SURROUNDINGS: &str = "run_cmd: ['exit 9']\nwrite_files:\n- {path: /var/lib/rancher/k3s/server/manifests/bad.yaml, content: '{{ not a manifest'}\n\
                                - {path: /var/lib/rancher/k3s/server/manifests/good.yaml, content: '{apiVersion: v1, kind: Namespace, metadata: {name: good}}'}\n\
                                - {path: /etc/rancher/k3s/registries.yaml, content: '][ not yaml'}\n- {path: /var/lib/rancher/k3s/agent/images/bad.tar, content: 'not an archive'}\n\
                                skerry:\n  environment: {HTTP_PROXY: 'http://192.0.2.1:9', HTTPS_PROXY: 'http://192.0.2.1:9', GOMAXPROCS: many}\n  ntp_servers: [192.0.2.9]\n  dns_nameservers: [300.1.1.1]\n";

fn one_to_ready(bench: &Bench, checks: &mut Checks, name: &str, more: &str, probes: &[Probe<'_>]) -> Result<()> {
    let data = bench
        .lab
        .data_disk(name, &Seed::config(node_config(bench, more)), KUBERNETES_DISK)?;
    let (machine, _) = to_ready(bench, &node_machine(name, Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, probes, seconds(120))?;
        switch_off(bench, machine)
    })
}

pub fn clusters(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let cluster = [
        ("the node is Ready", "kubectl get nodes --no-headers", Expect::Has(" Ready ")),
        (
            "the good label is there",
            "kubectl get node -o jsonpath='{.items[0].metadata.labels.good}'",
            Expect::Is("yes"),
        ),
        (
            "the good taint is there",
            "kubectl get node -o jsonpath='{.items[0].spec.taints[*].key}'",
            Expect::Has("ok"),
        ),
        (
            "the unknown flag is named",
            "cat /run/skerry/problems.json",
            Expect::Has("no-such-flag"),
        ),
        (
            "the short token is a warning",
            "cat /run/skerry/problems.json",
            Expect::Has("token"),
        ),
    ];
    let surroundings = [
        ("the node is Ready", "kubectl get nodes --no-headers", Expect::Has(" Ready ")),
        (
            "the good manifest is applied",
            "kubectl wait --for=create namespace/good --timeout=60s",
            Expect::Success,
        ),
        (
            "the bad manifest is named",
            "for i in $(seq 60); do skerry status | grep 'manifest .*bad.yaml' && break; sleep 1; done",
            Expect::Has("bad.yaml"),
        ),
        ("the bad archive is named", "skerry logs kube-images", Expect::Has("bad.tar")),
    ];
    let first = one_to_ready(bench, checks, "broken-cluster", BAD_CLUSTER, &cluster);
    checks.that("nonsense about the cluster comes up to Ready", first);
    one_to_ready(bench, checks, "broken-surroundings", BAD_SURROUNDINGS, &surroundings).context("nonsense around the cluster")
}
