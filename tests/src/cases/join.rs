//! Machines that join: a worker by two lines, what its pods reach, what it does without its server, and whom the server refuses.

use super::check::{Checks, Expect, Probe};
use super::start::{NODE_IS_READY, TO_READY, log_in};
use super::{Bench, seconds};
use crate::cluster::{Cluster, Node, Part};
use crate::machine::Machine;
use anyhow::{Context, Result};
use std::time::Duration;

pub const PODS: &str = include_str!("../../fixtures/two-pods.yaml");
/// How long a cluster of a row may live.
pub const LIMIT: Duration = seconds(1500);

/// Words of kubectl that wait for a node.
pub fn is_ready(name: &str) -> String {
    format!("kubectl wait --for=create node/{name} --timeout=240s && kubectl wait --for=condition=Ready node/{name} --timeout=240s")
}

/// Waits until its console says that the node is Ready.
pub fn ready(machine: &Machine) -> Result<()> {
    machine
        .serial
        .wait_any(&NODE_IS_READY, 0, TO_READY)
        .map(drop)
        .context("waiting for the node to be Ready")
}

fn exec(pod: &str, command: &str) -> String {
    format!("kubectl exec {pod} -- /bin/busybox sh -c {command:?}")
}

/// Runs `work`; if it fails, every machine's logs are kept.
pub fn with_all<const N: usize>(
    bench: &Bench,
    mut machines: [Machine; N],
    work: impl FnOnce(&mut [Machine; N]) -> Result<()>,
) -> Result<()> {
    let done = work(&mut machines);
    if done.is_err() {
        for machine in &mut machines {
            machine.keep_logs(&bench.lab);
        }
    }
    done
}

/// One server and one worker.
pub fn join(bench: &Bench, checks: &mut Checks) -> Result<()> {
    joined(bench, checks, "join", |_, server, worker, checks| {
        as_a_worker(bench, worker, checks)?;
        checks.probe(server.ssh(&bench.lab)?, &NOTHING_RESTARTS, seconds(60))
    })
}

/// The same two, when the power of both is cut.
pub fn without_each_other(bench: &Bench, checks: &mut Checks) -> Result<()> {
    joined(bench, checks, "join-cut", |cluster, server, worker, checks| {
        away(bench, cluster, &Node::new(1, Part::First), server, worker, checks)
    })
}

fn joined(
    bench: &Bench,
    checks: &mut Checks,
    name: &str,
    then: impl FnOnce(&Cluster<'_>, &mut Machine, &mut Machine, &mut Checks) -> Result<()>,
) -> Result<()> {
    let cluster = Cluster::new(&bench.lab, name, 2, &bench.hello, LIMIT)?;
    let (first, second) = (Node::new(1, Part::First), Node::new(2, Part::Worker));
    let machines = [cluster.install(&first)?, cluster.install(&second)?];
    with_all(bench, machines, |[server, worker]| {
        pair(bench, server, checks)?;
        log_in(bench, worker, 0)?;
        then(&cluster, server, worker, checks)
    })
}

/// The worker joins, and there is a pod on each, which reach each other.
pub fn pair(bench: &Bench, server: &mut Machine, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    ready(server)?;
    log_in(bench, server, 0)?;
    checks.that(
        "the worker joins by server_url and token",
        server.root_within(lab, &is_ready("node-2"), seconds(500)).map(drop),
    );
    server
        .root_within(
            lab,
            &format!("kubectl apply -f - <<'EOF'\n{PODS}\nEOF\nkubectl wait --for=condition=Ready pod/on-1 pod/on-2 --timeout=240s"),
            seconds(300),
        )
        .context("starting a pod on each node")?;
    across(bench, server, checks)
}

/// Pods of three nodes: two share a link, and the third shares none with them, so that its pods are behind VXLAN.
pub fn vxlan(bench: &Bench, checks: &mut Checks) -> Result<()> {
    // 10.0.2.20 to .23 are a network, and 10.0.2.24 is not in it.
    let near = |number, part| Node {
        prefix: 30,
        ..Node::new(number, part)
    };
    let third = Node {
        name: "node-3".into(),
        prefix: 32,
        ..Node::new(4, Part::Worker)
    };
    let to = |node: &str| format!("ip -4 route show \"$(kubectl get node {node} -o jsonpath='{{.spec.podCIDR}}')\"");
    let (direct, far) = (to("node-2"), to("node-3"));
    let tunnel = [
        (
            "pods of a node on the same link are behind a plain route",
            direct.as_str(),
            Expect::Has("via 10.0.2.22 dev eth0"),
        ),
        ("those of the other one behind the tunnel", &far, Expect::Has("dev skerry-vxlan")),
        ("which carried them", &carried("skerry-vxlan"), Expect::Success),
        ("and pods know its largest packet", &exec("on-2", MTU), Expect::Is("1450")),
    ];
    through(
        bench,
        checks,
        "vxlan",
        &[near(1, Part::First), near(2, Part::Worker), third],
        &tunnel,
    )
}

/// Pods of three nodes reach each other encrypted, though their nodes share a link.
pub fn wireguard(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let first = Node {
        flags: vec!["--flannel-backend=wireguard-native"],
        ..Node::new(1, Part::First)
    };
    let tunnel = [
        (
            "each node's key is made on it, and only its public half is told",
            "wg show skerry-wg peers | grep -cF \"$(kubectl get node node-2 -o jsonpath='{.metadata.annotations.skerry\\.io/wireguard-key}')\"",
            Expect::Is("1"),
        ),
        (
            "the others answered",
            "wg show skerry-wg latest-handshakes | awk '$2 > 0' | wc -l",
            Expect::Is("2"),
        ),
        (
            "pods are behind the tunnel",
            "ip -4 route show dev skerry-wg",
            Expect::Has("10.42."),
        ),
        ("which carried them", &carried("skerry-wg"), Expect::Success),
        ("and pods know its largest packet", &exec("on-2", MTU), Expect::Is("1420")),
    ];
    through(
        bench,
        checks,
        "wireguard",
        &[first, Node::new(2, Part::Worker), Node::new(3, Part::Worker)],
        &tunnel,
    )
}

/// Pods with an address of each family, on nodes that share no link and have no IPv6 among themselves.
pub fn both(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let first = Node {
        flags: vec![
            "\"--cluster-cidr=10.42.0.0/16,fd42::/56\"",
            "\"--service-cidr=10.43.0.0/16,fd43::/112\"",
        ],
        prefix: 32,
        ..Node::new(1, Part::First)
    };
    let second = Node {
        prefix: 32,
        six: Some("fd99::2/128"),
        ..Node::new(2, Part::Worker)
    };
    let six = |pod: &str| format!("$(kubectl get pod {pod} -o jsonpath='{{.status.podIPs[1].ip}}')");
    let fetch = |from: &str, to: &str| {
        format!(
            "IP={}; kubectl exec {from} -- /bin/busybox wget -T 20 -qO- \"http://[$IP]/body\" | wc -c",
            six(to)
        )
    };
    let (there, back) = (fetch("on-1", "on-2"), fetch("on-2", "on-1"));
    let own = format!(
        "IP={}; kubectl exec on-1 -- /bin/busybox wget -T 20 -qO- \"http://[$IP]/name\" >/dev/null; kubectl logs on-2 | grep -c -F \"{}\"",
        six("on-2"),
        six("on-1")
    );
    let service = "kubectl patch service pair -p '{\"spec\":{\"ipFamilyPolicy\":\"RequireDualStack\"}}' >/dev/null; IP=$(kubectl get service pair -o jsonpath='{.spec.clusterIPs[1]}'); \
                   for i in 1 2 3 4 5 6 7 8 9 10; do kubectl exec on-2 -- /bin/busybox wget -T 10 -qO- \"http://[$IP]/name\"; done | sort -u | wc -l";
    let probes = [
        (
            "each node has a range of each family",
            "kubectl get nodes -o jsonpath='{.items[*].spec.podCIDRs[1]}' | tr ' ' '\\n' | sort -u | grep -c '^fd42:'",
            Expect::Is("2"),
        ),
        (
            "the worker's pods are behind the tunnel",
            "ip -6 route show dev skerry-vxlan | grep -cF \"$(kubectl get node node-2 -o jsonpath='{.spec.podCIDRs[1]}') via \"",
            Expect::Is("1"),
        ),
        ("64 KiB from a worker's pod by IPv6", &there, Expect::Is("65536")),
        ("64 KiB from a server's pod by IPv6", &back, Expect::Is("65536")),
        ("pods see each other's own IPv6 address", &own, Expect::Success),
        (
            "a Service of both families answers from both nodes by IPv6",
            service,
            Expect::Is("2"),
        ),
        (
            "the worker's own IPv6 address is the cluster's to see",
            "kubectl get node node-2 -o jsonpath='{.status.addresses[1].type} {.status.addresses[1].address}'",
            Expect::Is("InternalIP fd99::2"),
        ),
        (
            "one that the server gets while it runs is told, too",
            "ip -6 address add fd99::1/128 dev eth0 && kubectl wait --for=jsonpath='{.status.addresses[1].address}'=fd99::1 node/node-1 --timeout=100s",
            Expect::Success,
        ),
        (
            "a LoadBalancer has the addresses of both families",
            "kubectl patch service pair -p '{\"spec\":{\"type\":\"LoadBalancer\"}}' >/dev/null; \
             kubectl wait --for=jsonpath='{.status.loadBalancer.ingress[3].ip}'=fd99::2 service/pair --timeout=60s >/dev/null; \
             kubectl get service pair -o jsonpath='{.status.loadBalancer.ingress[*].ip}'",
            Expect::Is("10.0.2.21 10.0.2.22 fd99::1 fd99::2"),
        ),
        (
            "and answers at the server's IPv6 address",
            "for i in 1 2 3 4 5 6 7 8 9 10; do busybox wget -T 10 -qO- 'http://[fd99::1]/name'; done | sort -u | wc -l",
            Expect::Is("2"),
        ),
        (
            "nothing is wrong with the pods' network",
            "skerry network | grep -A9 '^pods of'",
            Expect::Is("pods of other nodes: vxlan, mtu 1450\nnothing is waited for"),
        ),
    ];
    through(bench, checks, "both", &[first, second], &probes)
}

const MTU: &str = "cat /sys/class/net/eth0/mtu";

/// More than one body went each way.
fn carried(link: &str) -> String {
    let bytes = |way: &str| format!("[ $(cat /sys/class/net/{link}/statistics/{way}_bytes) -gt 65536 ]");
    format!("{} && {}", bytes("rx"), bytes("tx"))
}

/// A server and one or two workers whose pods reach each other as `tunnel` says.
fn through(bench: &Bench, checks: &mut Checks, name: &str, nodes: &[Node], tunnel: &[Probe<'_>]) -> Result<()> {
    let cluster = Cluster::new(&bench.lab, name, 4, &bench.hello, LIMIT)?;
    let mut machines = nodes.iter().map(|node| cluster.install(node)).collect::<Result<Vec<_>>>()?;
    let done = match machines.as_mut_slice() {
        [server, _] => pair(bench, server, checks),
        [server, ..] => pair(bench, server, checks).and_then(|()| third(bench, server, checks)),
        [] => Ok(()),
    };
    let done = done.and_then(|()| match machines.first_mut() {
        Some(server) => checks.probe(server.ssh(&bench.lab)?, tunnel, seconds(120)),
        None => Ok(()),
    });
    if done.is_err() {
        for machine in &mut machines {
            machine.keep_logs(&bench.lab);
        }
    }
    done
}

/// What a pod on the third node is to those on the first two: TCP both ways, and UDP, which is how names are asked for.
fn third(bench: &Bench, server: &mut Machine, checks: &mut Checks) -> Result<()> {
    checks.that(
        "a third node joins",
        server.root_within(&bench.lab, &is_ready("node-3"), seconds(500)).map(drop),
    );
    let pod = PODS
        .split("---")
        .next()
        .unwrap_or_default()
        .replace("on-1", "on-3")
        .replace("node-1", "node-3");
    server
        .root_within(
            &bench.lab,
            &format!("kubectl apply -f - <<'EOF'\n{pod}\nEOF\nkubectl wait --for=condition=Ready pod/on-3 --timeout=240s"),
            seconds(300),
        )
        .context("starting a pod on the third node")?;
    let fetch = |from: &str, to: &str| {
        format!(
            "IP=$(kubectl get pod {to} -o jsonpath={{.status.podIP}}); kubectl exec {from} -- /bin/busybox wget -T 20 -qO- http://$IP/body | wc -c"
        )
    };
    let ways = [("on-1", "on-3"), ("on-3", "on-1"), ("on-2", "on-3"), ("on-3", "on-2")].map(|(from, to)| fetch(from, to));
    let names = |from: &str| {
        format!(
            "IP=$(kubectl -n kube-system get pod -l k8s-app=kube-dns -o jsonpath='{{.items[0].status.podIP}}'); \
             kubectl exec {from} -- /bin/busybox nslookup kubernetes.default.svc.cluster.local $IP"
        )
    };
    let (second, third) = (names("on-2"), names("on-3"));
    let [a, b, c, d] = &ways;
    let probes: [Probe<'_>; 6] = [
        ("64 KiB from the third node to the first", a, Expect::Is("65536")),
        ("64 KiB from the first to the third", b, Expect::Is("65536")),
        ("64 KiB from the third to the second", c, Expect::Is("65536")),
        ("64 KiB from the second to the third", d, Expect::Is("65536")),
        (
            "UDP from the second to the first node's pod, and back",
            &second,
            Expect::Has("10.43.0.1"),
        ),
        (
            "UDP from the third to the first node's pod, and back",
            &third,
            Expect::Has("10.43.0.1"),
        ),
    ];
    checks.probe(server.ssh(&bench.lab)?, &probes, seconds(200))
}

/// What pods on two nodes are to each other.
fn across(bench: &Bench, server: &mut Machine, checks: &mut Checks) -> Result<()> {
    let ip = |pod: &str| format!("$(kubectl get pod {pod} -o jsonpath={{.status.podIP}})");
    let fetch = |from: &str, to: &str| {
        format!(
            "IP={}; kubectl exec {from} -- /bin/busybox wget -T 20 -qO- http://$IP/body | wc -c",
            ip(to)
        )
    };
    let source = format!(
        "IP={}; kubectl exec on-1 -- /bin/busybox wget -T 20 -qO- http://$IP/body >/dev/null; kubectl logs on-2 | grep -c -F \"$(kubectl get pod on-1 -o jsonpath={{.status.podIP}})\"",
        ip("on-2")
    );
    let (there, back) = (fetch("on-1", "on-2"), fetch("on-2", "on-1"));
    let by_name = exec(
        "on-2",
        "for i in 1 2 3 4 5 6 7 8 9 10; do busybox wget -T 10 -qO- http://pair.default.svc.cluster.local/name; done | sort -u | busybox wc -l",
    );
    let out = exec("on-2", "busybox nc -w 10 10.0.2.21 22 </dev/null | busybox head -c 3");
    let probes: [Probe<'_>; 8] = [
        ("64 KiB from a worker's pod", &there, Expect::Is("65536")),
        ("64 KiB from a server's pod", &back, Expect::Is("65536")),
        ("pods see each other's own address", &source, Expect::Success),
        ("a Service answers from both nodes", &by_name, Expect::Is("2")),
        ("a worker's pod reaches the machines' network", &out, Expect::Is("SSH")),
        ("the log of a worker's pod", "kubectl logs on-2 | head -1", Expect::Is("on-2")),
        (
            "each node has its range of addresses",
            "test $(kubectl get nodes -o jsonpath='{.items[*].spec.podCIDR}' | tr ' ' '\\n' | sort -u | wc -l) = $(kubectl get nodes --no-headers | wc -l)",
            Expect::Success,
        ),
        (
            "the worker is no control plane",
            "kubectl get node node-2 -o jsonpath='{.metadata.labels}'",
            Expect::Lacks("node-role.kubernetes.io/control-plane"),
        ),
    ];
    checks.probe(server.ssh(&bench.lab)?, &probes, seconds(300))
}

fn as_a_worker(bench: &Bench, worker: &mut Machine, checks: &mut Checks) -> Result<()> {
    let probes: [Probe<'_>; 4] = [
        (
            "no control plane runs on it",
            "pgrep -f 'kube-apiserver|kine|kube-scheduler'",
            Expect::Failure,
        ),
        ("it holds no key of the cluster", "ls /etc/kubernetes/pki", Expect::Is("ca.crt")),
        (
            "its certificate is its own",
            "stat -c %a /etc/kubernetes/kubelet.conf /var/lib/skerry/kube/identity.key",
            Expect::Is("600\n600"),
        ),
        (
            "its token is in no file on data",
            "grep -rl 'a token of a cluster' /var/lib/skerry/kube /etc/kubernetes",
            Expect::Failure,
        ),
    ];
    checks.probe(worker.ssh(&bench.lab)?, &probes, seconds(60))?;
    checks.probe(worker.ssh(&bench.lab)?, &NOTHING_RESTARTS, seconds(60))
}

const NOTHING_RESTARTS: [Probe<'static>; 1] = [(
    "no service restarts for ever",
    "skerry services | grep -E 'backoff|failed'",
    Expect::Is(""),
)];

/// The power of both is cut; the worker is back first.
fn away(bench: &Bench, cluster: &Cluster<'_>, first: &Node, server: &mut Machine, worker: &mut Machine, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    server.cut();
    let from = worker.serial.mark();
    worker.qmp.run("system_reset", &serde_json::json!({}))?;
    log_in(bench, worker, from)?;
    let probes: [Probe<'_>; 2] = [
        (
            "without its server it starts, and says what it waits for",
            "for i in $(seq 120); do skerry status | grep -q 'node Ready' && skerry services | grep -E 'kubelet +running' && exit 0; sleep 1; done; skerry status; exit 1",
            Expect::Success,
        ),
        (
            "and does not join again",
            "skerry logs kube-join | tail -5",
            Expect::Lacks("joined"),
        ),
    ];
    checks.probe(worker.ssh(lab)?, &probes, seconds(200))?;
    *server = cluster.again(first)?;
    ready(server)?;
    log_in(bench, server, 0)?;
    // Both were Ready before the cut: what counts is that the worker's kubelet of this boot says so.
    let again = "BOOT=$(kubectl get node node-2 -o jsonpath='{.status.nodeInfo.bootID}'); kubectl wait --for=condition=Ready node/node-2 --timeout=240s && echo $BOOT";
    let said = server.root_within(lab, again, seconds(300));
    if let Some(said) = checks.that("the server is back, and the worker Ready", said) {
        let boot = worker.root(lab, "cat /proc/sys/kernel/random/boot_id")?;
        checks.has("by the kubelet that runs now", &said, boot.trim());
    }
    let works = exec("on-2", "busybox wget -T 20 -qO- http://pair.default.svc.cluster.local/name");
    let probes: [Probe<'_>; 1] = [(
        "pods reach each other again",
        &format!("for i in $(seq 60); do {works} && break; sleep 1; done"),
        Expect::Has("on-"),
    )];
    checks.probe(server.ssh(lab)?, &probes, seconds(200))
}

/// Whom the server does not let in, and what both sides say.
pub fn refused(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "refused", 2, &bench.hello, LIMIT)?;
    let first = Node::new(1, Part::First);
    let second = Node::new(2, Part::Worker);
    let mut wrong = second.clone();
    wrong.token = Some("another token of another cluster".into());
    let machines = [cluster.install(&first)?, cluster.install(&wrong)?];
    with_all(bench, machines, |[server, worker]| {
        ready(server)?;
        log_in(bench, server, 0)?;
        log_in(bench, worker, 0)?;
        let says = |words: &str| {
            format!(
                "for i in $(seq 180); do skerry logs kube-join | grep -m1 -i '{words}' && exit 0; sleep 1; done; skerry logs kube-join; exit 1"
            )
        };
        let probes: [Probe<'_>; 2] = [
            ("a wrong token is named", &says("token"), Expect::Success),
            (
                "and nothing of the cluster is on it",
                "ls /etc/kubernetes/kubelet.conf",
                Expect::Failure,
            ),
        ];
        checks.probe(worker.ssh(lab)?, &probes, seconds(240))?;
        worker.cut();

        *worker = cluster.install(&second)?;
        checks.that(
            "with the right one it joins",
            server.root_within(lab, &is_ready("node-2"), seconds(500)).map(drop),
        );
        worker.cut();

        // Installed anew under the same name: another identity.
        *worker = cluster.install(&second)?;
        log_in(bench, worker, 0)?;
        let probes: [Probe<'_>; 1] = [(
            "a name that is taken is refused, with what to do",
            &says("kubectl delete node node-2"),
            Expect::Success,
        )];
        checks.probe(worker.ssh(lab)?, &probes, seconds(240))?;
        let freed = format!("kubectl delete node node-2 && {}", is_ready("node-2"));
        checks.that(
            "and let in once the name is free",
            server.root_within(lab, &freed, seconds(500)).map(drop),
        );
        worker.cut();

        // Who knows the token is not the server.
        let mut thief = second.clone();
        thief.name = "node-1".into();
        *worker = cluster.install(&thief)?;
        log_in(bench, worker, 0)?;
        let probes: [Probe<'_>; 2] = [
            ("the server's name is taken", &says("kubectl delete node node-1"), Expect::Success),
            (
                "and no certificate was given out for it",
                "ls /etc/kubernetes/kubelet.conf",
                Expect::Failure,
            ),
        ];
        checks.probe(worker.ssh(lab)?, &probes, seconds(240))
    })
}

/// Three servers; each may go, and one comes back with nothing.
pub fn servers(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "servers", 3, &bench.hello, LIMIT)?;
    let parts = [Part::FirstOfServers, Part::Server, Part::Server];
    // What this is not about is left out: three control planes share this computer.
    let [first, second, third] = [1u8, 2, 3].map(|n| Node {
        flags: vec!["--disable=metrics-server", "--disable=local-storage", "--disable-helm-controller"],
        ..Node::new(n, parts[usize::from(n) - 1])
    });
    let machines = [cluster.install(&first)?, cluster.install(&second)?, cluster.install(&third)?];
    with_all(bench, machines, |[one, two, three]| {
        ready(one)?;
        log_in(bench, one, 0)?;
        for name in ["node-2", "node-3"] {
            checks.that(
                "a further server joins, and is Ready",
                one.root_within(lab, &is_ready(name), seconds(600)).map(drop),
            );
        }
        log_in(bench, two, 0)?;
        log_in(bench, three, 0)?;
        let members = "curl -s --noproxy '*' --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/apiserver-etcd-client.crt --key /etc/kubernetes/pki/apiserver-etcd-client.key --data '{}' https://127.0.0.1:2379/v3/cluster/member/list";
        let voting = format!(
            "for i in $(seq 120); do {members} | grep -q isLearner || break; sleep 1; done; {members} | grep -o '\"name\"' | wc -l"
        );
        let probes: [Probe<'_>; 4] = [
            ("three members with a vote", &voting, Expect::Is("3")),
            (
                "each server has its own API server",
                "for i in $(seq 120); do IS=$(curl -sk https://10.0.2.22:6443/readyz https://10.0.2.23:6443/readyz); [ \"$IS\" = okok ] && break; sleep 1; done; echo \"$IS\"",
                Expect::Is("okok"),
            ),
            ("one authority", "cat /etc/kubernetes/pki/ca.crt | sha256sum", Expect::Success),
            (
                "what is sealed is not readable",
                "kubectl -n kube-system get secret skerry-servers -o jsonpath='{.data.bundle}' | base64 -d | grep -c 'PRIVATE KEY'",
                Expect::Is("0"),
            ),
        ];
        checks.probe(one.ssh(lab)?, &probes, seconds(240))?;

        // The one that made the cluster goes: the others answer.
        one.root(lab, "kubectl create configmap before --from-literal=x=1")?;
        let cut = std::time::Instant::now();
        one.cut();
        let answers = "for i in $(seq 120); do kubectl --request-timeout=5s create configmap after --from-literal=x=1 >/dev/null 2>&1 && break; sleep 1; done; kubectl get configmap before after -o name | wc -l";
        checks.probe(
            two.ssh(lab)?,
            &[("the API answers, and writes", answers, Expect::Is("2"))],
            seconds(240),
        )?;
        println_seconds(cut.elapsed());
        *one = cluster.again(&first)?;
        log_in(bench, one, 0)?;
        let back = "for i in $(seq 200); do kubectl --request-timeout=5s get configmap after -o name 2>/dev/null && break; sleep 1; done";
        checks.probe(
            one.ssh(lab)?,
            &[("it is back, with what was written meanwhile", back, Expect::Has("configmap/after"))],
            seconds(300),
        )?;

        // One loses its disk.
        three.cut();
        *three = cluster.install(&third)?;
        log_in(bench, three, 0)?;
        let probes: [Probe<'_>; 2] = [
            (
                "a server that lost its disk joins again by the same lines",
                "for i in $(seq 300); do kubectl --request-timeout=5s get configmap after -o name 2>/dev/null && break; sleep 1; done",
                Expect::Has("configmap/after"),
            ),
            ("three members with a vote again", &voting, Expect::Is("3")),
        ];
        checks.probe(three.ssh(lab)?, &probes, seconds(600))
    })
}

/// How long the API was away, for the note of a person: no limit is asserted, the computer may be slow.
fn println_seconds(away: Duration) {
    eprintln!(
        "servers: the API took writes again {:.0} s after the first server was cut",
        away.as_secs_f32()
    );
}
