//! Several machines: a worker from power-on to Ready, what it weighs, what its way to the servers costs, three servers, tunnels.

use super::systemd::{self, Debian};
use super::{Row, median};
use crate::cases::Bench;
use crate::cases::start::{NODE_IS_READY, TO_READY, log_in};
use crate::cluster::{Cluster, Node, Part, parts};
use crate::machine::wire::address;
use crate::machine::{Machine, release};
use crate::node;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(3000);
/// Requests through the load balancer, and as many without it.
const REQUESTS: usize = 200;

/// Seconds from power-on until its console says that the node is Ready.
fn ready(machine: &Machine) -> Result<f64> {
    let found = machine.serial.wait_any(&NODE_IS_READY, 0, TO_READY.saturating_mul(2));
    Ok(found.context("waiting for the node to be Ready")?.at.as_secs_f64())
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("reading a number in {text:?}"))
}

/// A worker beside a server that is up: it joins, and starts `rounds` times more.
pub fn worker(bench: &Bench, rounds: usize, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "bench-worker", 2, &bench.hello, LIMIT)?;
    let server = cluster.install(&Node::new(1, Part::First))?;
    tell(&format!("a server, Ready after {:.1} s", ready(&server)?));
    let node = Node::new(2, Part::Worker);
    let mut worker = cluster.install(&node)?;
    let joined = ready(&worker)?;
    tell(&format!("a worker that joins, Ready after {joined:.1} s"));
    let mut later = vec![];
    for round in 1..=rounds {
        log_in(bench, &mut worker, 0)?;
        worker.root(lab, "poweroff")?;
        worker.wait_end(Duration::from_secs(120)).context("switching the worker off")?;
        worker = cluster.again(&node)?;
        let at = ready(&worker)?;
        tell(&format!("  {round}: switched on again, Ready after {at:.1} s"));
        later.push(at);
    }
    log_in(bench, &mut worker, 0)?;
    let since = worker.age().as_secs_f64() - later.last().copied().unwrap_or(joined);
    // The figure is defined by the time that has gone by.
    worker.serial.wait_end(Duration::from_secs_f64((180.0 - since).max(0.0)));
    let memory = f64::from(u32::try_from(node::memory(lab, &mut worker)?).unwrap_or(u32::MAX));
    let agent = number(&worker.root(
        lab,
        "awk '/^Rss:/ {print $2}' /proc/$(pgrep -f '^/usr/lib/skerry/agent run' | head -1)/smaps_rollup",
    )?)?;
    let (through, without) = (milliseconds(lab, &mut worker, LOCAL)?, milliseconds(lab, &mut worker, DIRECT)?);
    tell(&format!(
        "a request: {through:.2} ms through the load balancer, {without:.2} ms without"
    ));
    worker.root(lab, systemd::CAPTURE).context("keeping what it is for systemd")?;
    worker.root(lab, "poweroff")?;
    worker.wait_end(Duration::from_secs(120)).context("switching the worker off")?;
    let (other, other_memory) = under_systemd(bench, &cluster, &node, rounds, tell)?;
    Ok(vec![
        Row::shown("a worker's power-on → Ready, server up", format!("{:.1} s", median(&later)), ""),
        Row::shown(
            "  the same worker under systemd",
            format!("{:.1} s", median(&other)),
            &format!(
                "Debian 13, the same kernel and programs: ours is {:.2} ×",
                median(&later) / median(&other)
            ),
        ),
        Row::shown("  when it joins", format!("{joined:.1} s"), ""),
        Row::shown(
            "memory of the whole worker, 3 minutes after Ready",
            format!("{memory:.0} MiB"),
            "prototype 133 MB",
        ),
        Row::shown(
            "  the same worker under systemd",
            format!("{other_memory:.0} MiB"),
            &format!("ours is {:.2} ×", memory / other_memory),
        ),
        Row::limited("resident: agent on a worker", agent / 1024.0, "MiB", 20.0),
        Row::shown(
            "a request through the load balancer",
            format!("{through:.2} ms"),
            &format!("{without:.2} ms without it: {:+.2} ms", through - without),
        ),
    ])
}

/// Its starts under systemd, in seconds, and the memory it takes there.
fn under_systemd(bench: &Bench, cluster: &Cluster<'_>, node: &Node, rounds: usize, tell: &mut dyn FnMut(&str)) -> Result<(Vec<f64>, f64)> {
    let debian = Debian::new(bench)?;
    let mut times = vec![];
    let mut memory = f64::NAN;
    for round in 1..=rounds.max(1) {
        let mut machine = debian.start(bench, cluster, node)?;
        let at = systemd::ready(&machine)?;
        tell(&format!("  {round}: under systemd, Ready after {at:.1} s"));
        times.push(at);
        if round == rounds.max(1) {
            memory = systemd::memory(&machine)?;
        }
        systemd::switch_off(&mut machine)?;
    }
    Ok((times, memory))
}

const LOCAL: &str = "$(sed -n 's/^ *server: *//p' /etc/kubernetes/kubelet.conf | tr -d '\"')";
const DIRECT: &str = "https://10.0.2.21:6443";

/// The middle time of a request of an open connection.
fn milliseconds(lab: &crate::machine::Lab, worker: &mut Machine, to: &str) -> Result<f64> {
    let ask = format!("curl -sk --noproxy '*' -o /dev/null -w '%{{time_total}}\\n' {to}/livez?n=[1-{REQUESTS}] | tail -n +2");
    let said = worker.root_within(lab, &ask, Duration::from_secs(120))?;
    let times = said.split_whitespace().map(number).collect::<Result<Vec<f64>>>()?;
    Ok(median(&times) * 1000.0)
}

/// Three servers, switched on at once, until all are Ready.
pub fn servers(bench: &Bench, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let cluster = Cluster::new(&bench.lab, "bench-servers", 3, &bench.hello, LIMIT)?;
    let begin = std::time::Instant::now();
    let mut machines = vec![];
    for (number, part) in (1..).zip(parts(3, 3)) {
        machines.push((begin.elapsed(), cluster.install(&Node::new(number, part))?));
    }
    let mut last = 0.0;
    for (started, machine) in &machines {
        let at = started.as_secs_f64() + ready(machine)?;
        tell(&format!("a server, Ready {at:.1} s after the first one's disk was begun"));
        last = f64::max(last, at);
    }
    Ok(vec![Row::shown(
        "three servers with etcd, from nothing → all Ready",
        format!("{last:.1} s"),
        "on this computer's two processors, all at once",
    )])
}

/// What a tunnel leaves of the throughput between two machines: iperf3, from node to node by the pods' addresses.
pub fn tunnels(bench: &Bench, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let root = release::images(&["servers", "iperf3"])?;
    let iperf = Iperf(PathBuf::from(root.trim()));
    let mut rows = vec![];
    for (name, flags, apart) in [
        ("VXLAN", vec![], true),
        ("WireGuard", vec!["--flannel-backend=wireguard-native"], false),
    ] {
        let (plain, tunnel) = tunnel(bench, &iperf, &name.to_lowercase(), flags, apart)?;
        tell(&format!("{name}: plain {plain:.0} Mbit/s, through it {tunnel:.0} Mbit/s"));
        rows.push(Row::shown(
            &format!("throughput of {name}, beside the plain route"),
            format!("{:.2} ×", tunnel / plain),
            &format!("{tunnel:.0} of {plain:.0} Mbit/s, TCP, emulated processors"),
        ));
    }
    Ok(rows)
}

/// iperf3 of a Debian root, for machines that have none.
struct Iperf(PathBuf);

const THERE: &str = "var/lib/skerry/iperf";

/// What it is linked with, in Debian 13.
const LIBRARIES: [&str; 8] = [
    "libiperf.so.0",
    "libsctp.so.1",
    "libcrypto.so.3",
    "libssl.so.3",
    "libc.so.6",
    "libm.so.6",
    "libz.so.1",
    "libzstd.so.1",
];

impl Iperf {
    fn files(&self) -> Vec<(String, PathBuf)> {
        let mut files = vec![
            (format!("{THERE}/iperf3"), self.0.join("usr/bin/iperf3")),
            (format!("{THERE}/ld.so"), self.0.join("usr/lib64/ld-linux-x86-64.so.2")),
        ];
        let libraries = self.0.join("usr/lib/x86_64-linux-gnu");
        files.extend(LIBRARIES.map(|name| (format!("{THERE}/{name}"), libraries.join(name))));
        files.retain(|(_, path)| path.exists());
        files
    }
}

fn tunnel(bench: &Bench, iperf: &Iperf, name: &str, flags: Vec<&'static str>, apart: bool) -> Result<(f64, f64)> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, &format!("bench-{name}"), 2, &bench.hello, LIMIT)?;
    let files = iperf.files();
    let node = |number, part, flags| Node {
        flags,
        prefix: if apart { 32 } else { 24 },
        more: "  firewall: false\n".into(),
        files: files.clone(),
        ..Node::new(number, part)
    };
    let mut server = cluster.install(&node(1, Part::First, flags))?;
    let mut worker = cluster.install(&node(2, Part::Worker, vec![]))?;
    ready(&server)?;
    ready(&worker)?;
    log_in(bench, &mut server, 0)?;
    log_in(bench, &mut worker, 0)?;
    let run = format!("/{THERE}/ld.so --library-path /{THERE} /{THERE}/iperf3");
    worker.root(lab, &format!("{run} --server --daemon --logfile /run/iperf.log"))?;
    // The first address of the other's pods is on its bridge or its tunnel, and the way to it is the pods' way.
    let there = "kubectl get node node-2 -o jsonpath='{.spec.podCIDR}' | sed 's,/.*,,'";
    let there = server.root_within(
        lab,
        &format!("for i in $(seq 60); do timeout 2 bash -c \": < /dev/tcp/$({there})/22\" && break; sleep 1; done; {there}"),
        Duration::from_secs(120),
    )?;
    let mut measure = |to: &str| -> Result<f64> {
        let ask = format!("{run} --client {to} --time 10 --json");
        let said: serde_json::Value =
            serde_json::from_str(&server.root_within(lab, &ask, Duration::from_secs(90))?).context("reading iperf3's report")?;
        let bits = said
            .pointer("/end/sum_received/bits_per_second")
            .and_then(serde_json::Value::as_f64);
        Ok(bits.with_context(|| format!("measuring to {to}: {said}"))? / 1e6)
    };
    let rounds: Vec<(f64, f64)> = (0..3)
        .map(|_| Ok((measure(&address(2))?, measure(there.trim())?)))
        .collect::<Result<_>>()?;
    let of = |which: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(which).collect::<Vec<_>>());
    Ok((of(|r| r.0), of(|r| r.1)))
}
