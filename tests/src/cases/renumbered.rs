//! A DHCP server gives a node that runs another address: the rest of the cluster finds it there.
//!
//! The DHCP server is another machine's (busybox), in VLAN 50: QEMU's router, which answers in the untagged network, does not hear of it.

use super::check::{Checks, Expect, Probe};
use super::join::{LIMIT, pair, ready, with_all};
use super::start::log_in;
use super::{Bench, seconds};
use crate::cluster::{Cluster, Node, Part};
use crate::machine::Machine;
use anyhow::{Context, Result};
use std::time::Instant;

/// It serves DHCP.
const OPEN: &str = "  firewall: false\n";

/// Gives 10.50.0.`last` and nothing else to whom asks, for half a minute.
fn serve(last: u8) -> String {
    format!(
        "kill $(cat /run/udhcpd.pid 2>/dev/null) 2>/dev/null; : > /run/udhcpd.leases; \
         printf 'start 10.50.0.{last}\\nend 10.50.0.{last}\\ninterface lan\\nmin_lease 20\\nlease_file /run/udhcpd.leases\\npidfile /run/udhcpd.pid\\n\
         option subnet 255.255.255.0\\noption router 10.50.0.1\\noption lease 30\\n' > /run/udhcpd.conf; busybox udhcpd /run/udhcpd.conf"
    )
}

/// From now on another address is given; returns when `machine` has it, which is when the time of its absence begins.
fn renumber(bench: &Bench, giver: &mut Machine, machine: &mut Machine) -> Result<Instant> {
    giver.root(&bench.lab, &serve(77)).context("serving another address")?;
    let has_it =
        "for i in $(seq 120); do ip -4 address show dev lan | grep -q 10.50.0.77/ && exit 0; sleep 1; done; skerry network; exit 1";
    machine
        .root_within(&bench.lab, has_it, seconds(150))
        .context("waiting for the machine to have the other address")?;
    Ok(Instant::now())
}

/// A worker: the cluster is told, and its pods are reached.
pub fn worker(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "renumbered", 2, &bench.hello, LIMIT)?;
    let first = Node {
        lan: Some("addresses: [10.50.0.1/24]"),
        flags: vec!["--node-ip=10.50.0.1"],
        more: OPEN.into(),
        ..Node::new(1, Part::First)
    };
    let second = Node {
        lan: Some("dhcp4: true"),
        ..Node::new(2, Part::Worker)
    };
    let machines = [cluster.install(&first)?, cluster.install(&second)?];
    with_all(bench, machines, |[server, worker]| {
        log_in(bench, server, 0)?;
        server.root(lab, &serve(60)).context("serving DHCP")?;
        pair(bench, server, checks)?;
        log_in(bench, worker, 0)?;
        let addresses = "kubectl get node node-2 -o jsonpath='{.status.addresses[*].address}'";
        let before: [Probe<'_>; 1] = [("its address is the one that DHCP gave", addresses, Expect::Has("10.50.0.60"))];
        checks.probe(server.ssh(lab)?, &before, seconds(60))?;
        let since = renumber(bench, server, worker)?;
        let told = format!("for i in $(seq 180); do {addresses} | grep -q 10.50.0.77 && break; sleep 1; done; {addresses}");
        let probes: [Probe<'_>; 3] = [
            ("the cluster hears of the address", &told, Expect::Has("10.50.0.77")),
            (
                "the worker's pod is reached there",
                "IP=$(kubectl get pod on-2 -o jsonpath={.status.podIP}); for i in $(seq 120); do kubectl exec on-1 -- /bin/busybox wget -T 5 -qO- http://$IP/name && break; sleep 1; done",
                Expect::Is("on-2"),
            ),
            (
                "and its log is read there",
                "for i in $(seq 60); do kubectl logs on-2 2>/dev/null | head -1 | grep on- && break; sleep 1; done",
                Expect::Is("on-2"),
            ),
        ];
        let done = checks.probe(server.ssh(lab)?, &probes, seconds(400));
        tell("renumbered", since);
        done
    })
}

/// The only server: it goes on under the address, and nobody has to come.
pub fn server(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "renumbered-server", 2, &bench.hello, LIMIT)?;
    let router = Node {
        name: "router".into(),
        lan: Some("addresses: [10.50.0.1/24]"),
        more: format!("{OPEN}  distribution: none\n"),
        ..Node::new(1, Part::First)
    };
    let only = Node {
        name: "node-1".into(),
        lan: Some("dhcp4: true"),
        ..Node::new(2, Part::First)
    };
    let machines = [cluster.install(&router)?, cluster.install(&only)?];
    with_all(bench, machines, |[router, server]| {
        log_in(bench, router, 0)?;
        router.root(lab, &serve(60)).context("serving DHCP")?;
        ready(server)?;
        log_in(bench, server, 0)?;
        let pod = super::join::PODS.split("---").next().unwrap_or_default();
        let start = format!(
            "kubectl wait --for=create serviceaccount/default --timeout=60s && kubectl apply -f - <<'EOF'\n{pod}\nEOF\nkubectl wait --for=condition=Ready pod/on-1 --timeout=240s"
        );
        server.root_within(lab, &start, seconds(300)).context("starting a pod")?;
        let addresses = "kubectl get node node-1 -o jsonpath='{.status.addresses[*].address}'";
        let before: [Probe<'_>; 1] = [("its address is the one that DHCP gave", addresses, Expect::Has("10.50.0.60"))];
        checks.probe(server.ssh(lab)?, &before, seconds(60))?;
        let since = renumber(bench, router, server)?;
        let told = format!(
            "for i in $(seq 180); do {addresses} 2>/dev/null | grep -q 10.50.0.77 && break; sleep 1; done; \
             kubectl wait --for=condition=Ready node --all --timeout=120s && {addresses}"
        );
        let probes: [Probe<'_>; 2] = [
            ("the node has the new address, and is Ready", &told, Expect::Has("10.50.0.77")),
            (
                "kubelet answers there",
                "for i in $(seq 60); do kubectl logs on-1 2>/dev/null | head -1 | grep on- && break; sleep 1; done",
                Expect::Is("on-1"),
            ),
        ];
        checks.probe(server.ssh(lab)?, &probes, seconds(400))?;
        tell("renumbered-server", since);
        checks.probe(server.ssh(lab)?, &UNDER_IT, seconds(400))
    })
}

/// What is right in the end.
const UNDER_IT: [Probe<'static>; 6] = [
    (
        "the server shows a certificate for it",
        "for i in $(seq 150); do kubectl --server https://10.50.0.77:6443 get --raw /readyz 2>/dev/null && break; sleep 1; done",
        Expect::Is("ok"),
    ),
    (
        "pods are led to it",
        "for i in $(seq 60); do kubectl get endpointslices kubernetes -o jsonpath='{.endpoints[*].addresses[*]}' | grep -x 10.50.0.77 && break; sleep 1; done",
        Expect::Is("10.50.0.77"),
    ),
    (
        "a pod reaches the API server by its name",
        "for i in $(seq 60); do kubectl exec on-1 -- /bin/busybox nc -w 5 kubernetes.default.svc.cluster.local 443 < /dev/null && break; sleep 1; done",
        Expect::Success,
    ),
    (
        "the certificate names it",
        "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -ext subjectAltName",
        Expect::Has("10.50.0.77"),
    ),
    (
        "the network says so too",
        "skerry network | grep -A6 '^lan'",
        Expect::Has("10.50.0.77/24"),
    ),
    (
        "no service restarts for ever",
        "skerry services | grep -E 'backoff|failed'",
        Expect::Is(""),
    ),
];

/// For the note of a person: no limit is asserted, the computer may be slow.
fn tell(name: &str, since: Instant) {
    eprintln!(
        "{name}: reached again {:.0} s after it got another address",
        since.elapsed().as_secs_f32()
    );
}
