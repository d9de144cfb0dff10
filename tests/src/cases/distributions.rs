//! Distributions whose program is brought, by a stand-in that looks whether the system keeps its part of their contract
//! (`src/bin/fake/stand_in.rs`); and kubelet for real, as a node of a cluster that kubeadm made.

use super::check::{Checks, Expect, Probe};
use super::start::{NODE_IS_READY, NONE_DISK, NONE_MEMORY, TO_READY, log_in, switch_off};
use super::{Bench, seconds, with_machine};
use crate::cluster::{Cluster, Node, Part};
use crate::machine::disk::Seed;
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A server on this computer that has one program, and bad days.
struct Release {
    port: u16,
    /// First lines of what was asked for, with the range.
    asked: Arc<Mutex<Vec<String>>>,
    answered: Arc<AtomicUsize>,
}

impl Release {
    /// The first answer is another program, the second one breaks off half-way, the third goes on; then there is no answer any more.
    fn open(program: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening for the machine")?;
        let port = listener.local_addr().context("listening for the machine")?.port();
        let (asked, answered) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicUsize::new(0)));
        let (seen, count) = (asked.clone(), answered.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::Relaxed);
                if let Ok(line) = answer(&stream, number, &program) {
                    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
                }
            }
        });
        Ok(Self { port, asked, answered })
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n")
    }
}

fn answer(stream: &TcpStream, number: usize, program: &[u8]) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut from) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let range = line.to_ascii_lowercase();
        if let Some(start) = range.trim().strip_prefix("range: bytes=").and_then(|r| r.strip_suffix('-')) {
            from = start.parse().unwrap_or(0);
        }
    }
    let mut stream = stream;
    let rest = program.get(from..).unwrap_or_default();
    let length = rest.len();
    let head = if from == 0 {
        format!("HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nContent-Length: {length}\r\n\r\n", number.min(1))
    } else {
        let whole = program.len();
        format!(
            "HTTP/1.1 206 Partial\r\nETag: \"1\"\r\nContent-Range: bytes {from}-{}/{whole}\r\nContent-Length: {length}\r\n\r\n",
            whole - 1
        )
    };
    let body: Vec<u8> = match number {
        0 => rest.iter().map(|b| b ^ 1).collect(),
        1 => rest.get(..length / 2).unwrap_or_default().to_vec(),
        2 => rest.to_vec(),
        _ => return Ok(format!("{} (no answer)", first.trim())),
    };
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    Ok(format!("{} from {from}", first.trim()))
}

fn sha256(path: &std::path::Path) -> Result<String> {
    let out = std::process::Command::new("sha256sum")
        .arg(path)
        .output()
        .context("running sha256sum")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace()
        .next()
        .map(str::to_owned)
        .context("reading what sha256sum says")
}

/// A configuration with one distribution, and what all of them get.
fn config(bench: &Bench, distribution: &str, more: &str) -> String {
    format!(
        "ssh_authorized_keys: [{:?}]\nhostname: edge-1\nskerry:\n  distribution: {distribution}\n  token: a token for stand-ins\n  \
         labels: {{region: eu}}\n  environment: {{INVOCATION_ID: other, WATCHDOG_USEC: '1'}}\n{more}",
        bench.lab.key.public
    )
}

const K3S: &str = "  k3s_args: [server, --disable=traefik, --log, /var/log/k3s.log]\n";
const K3S_JOINS: &str = "  server_url: https://10.0.2.99:6443\n";
const EDGECORE: &str = "  server_url: https://cloud.example.org\n";

/// One machine, one boot for each of them.
pub fn stand_ins(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let program = std::fs::read(&bench.fake).with_context(|| format!("reading {}", bench.fake.display()))?;
    let release = Release::open(program)?;
    let fetched = format!(
        "{{name: k3s, version: v1.33.4+k3s1, url: 'http://10.0.2.2:{}/v1.33.4%2Bk3s1/k3s', sha256: {}}}",
        release.port,
        sha256(&bench.fake)?
    );
    let first = config(bench, &fetched, K3S);
    let seed = Seed::config(first)
        .copy("var/local/bin/k0s", &bench.fake)
        .copy("var/lib/skerry/distributions/edgecore/v1.20.0/edgecore", &bench.fake);
    let data = bench.lab.data_disk("distributions", &seed, NONE_DISK)?;
    let machine = bench.lab.start(&Request {
        memory: NONE_MEMORY,
        data: Some(data),
        restarts: true,
        limit: seconds(900),
        ..Request::new("distributions")
    })?;
    with_machine(bench, checks, machine, |machine, checks| {
        ready(bench, machine, 0)?;
        k3s_for_the_first_time(bench, &release, machine, checks)?;
        let before = release.answered.load(Ordering::Relaxed);
        again(bench, machine, &config(bench, &fetched, K3S_JOINS))?;
        let probes: [Probe<'_>; 3] = [
            (
                "k3s agent runs by server_url",
                "tr '\\0' ' ' < /proc/$(pgrep -xo k3s)/cmdline",
                Expect::Has("k3s agent"),
            ),
            (
                "its password is kept",
                "skerry logs -n 9999 k3s",
                Expect::Has("/etc/rancher/node/password is kept"),
            ),
            ("its contract holds", "skerry logs -n 9999 k3s", Expect::Has("the contract holds")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        checks.is(
            "a program that is there is not fetched again",
            release.answered.load(Ordering::Relaxed) == before,
            &release.asked(),
        );
        again(bench, machine, &config(bench, "k0s", ""))?;
        checks.probe(machine.ssh(&bench.lab)?, &K0S, seconds(60))?;
        let packed = "{name: edgecore, path: /var/lib/skerry/distributions/edgecore/v1.20.0/edgecore}";
        again(bench, machine, &config(bench, packed, EDGECORE))?;
        checks.probe(machine.ssh(&bench.lab)?, &EDGE, seconds(60))?;
        again(bench, machine, &config(bench, packed, EDGECORE))?;
        let probes: [Probe<'_>; 2] = [
            (
                "what edgecore rewrote is left to it",
                "skerry logs edgecore",
                Expect::Has("gone from the configuration"),
            ),
            (
                "and its contract holds again",
                "skerry logs edgecore | tail -1",
                Expect::Has("the contract holds"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        checks.that("it switches itself off", switch_off(bench, machine));
        Ok(())
    })
}

fn k3s_for_the_first_time(bench: &Bench, release: &Release, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let probes: [Probe<'_>; 12] = [
        ("k3s's contract holds", "skerry logs -n 9999 k3s", Expect::Has("the contract holds")),
        (
            "it gets the owner's arguments, without --log",
            "skerry logs -n 9999 k3s",
            Expect::Has("stand-in k3s: server --disable=traefik\n"),
        ),
        (
            "another program was refused",
            "skerry logs distribution-fetch",
            Expect::Has("not the one expected"),
        ),
        (
            "it is in its own group",
            "cat /proc/$(pgrep -xo k3s)/cgroup",
            Expect::Is("0::/system/k3s"),
        ),
        (
            "no token is on its command line",
            "tr '\\0' ' ' < /proc/$(pgrep -xo k3s)/cmdline",
            Expect::Lacks("token"),
        ),
        (
            "the program is where its release says",
            "ls /var/lib/skerry/distributions/k3s/*/",
            Expect::Is("k3s"),
        ),
        (
            "its settings are for root",
            "stat -c %a /etc/rancher/k3s/config.yaml.d/00-os.yaml",
            Expect::Is("600"),
        ),
        (
            "--log and INVOCATION_ID are named",
            "skerry logs plan",
            Expect::Has("INVOCATION_ID belongs to another supervisor"),
        ),
        (
            "stopped, it ends well and its pods stay",
            "A=$(pgrep -f ^containerd-shim-stand-in); skerry stop k3s && ! pgrep -f '^[^ ]*/k3s server' && test \"$A\" = \"$(pgrep -f ^containerd-shim-stand-in)\"",
            Expect::Success,
        ),
        (
            "it said so",
            "skerry logs -n 9999 k3s | grep -c 'SIGTERM: ending well'",
            Expect::Is("1"),
        ),
        (
            "started again, it finds them",
            "skerry start k3s; for i in $(seq 60); do skerry logs -n 9999 k3s | grep 'of an earlier start' && break; sleep 0.5; done",
            Expect::Has("still there"),
        ),
        (
            "killed, it is started again",
            "kill -9 $(pgrep -f '^[^ ]*/k3s server'); for i in $(seq 60); do test $(skerry logs -n 9999 k3s | grep -c 'of an earlier start') = 2 && exit 0; sleep 0.5; done; exit 1",
            Expect::Success,
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(120))?;
    let asked = release.asked();
    checks.is(
        "what broke off was gone on with",
        asked.lines().nth(2).is_some_and(|l| !l.ends_with("from 0")),
        &asked,
    );
    Ok(())
}

const K0S: [Probe<'_>; 4] = [
    ("k0s's contract holds", "skerry logs k0s", Expect::Has("the contract holds")),
    (
        "a token makes it a worker",
        "tr '\\0' ' ' < /proc/$(pgrep -xo k0s)/cmdline",
        Expect::Has("/usr/local/bin/k0s worker "),
    ),
    ("it is ready by its socket", "skerry services | grep -w k0s", Expect::Has("running")),
    ("no k3s runs", "pgrep -x k3s", Expect::Failure),
];

const EDGE: [Probe<'_>; 4] = [
    (
        "edgecore's contract holds",
        "skerry logs edgecore",
        Expect::Has("the contract holds"),
    ),
    (
        "its token was in its file",
        "skerry logs edgecore",
        Expect::Has("the token is in the configuration"),
    ),
    (
        "and is not any more",
        "grep -c 'a token for stand-ins' /etc/kubeedge/config/edgecore.yaml",
        Expect::Is("0"),
    ),
    ("no kubelet runs", "pgrep -x kubelet", Expect::Failure),
];

/// Until the banner says that the node is one of its cluster.
fn ready(bench: &Bench, machine: &mut Machine, from: usize) -> Result<()> {
    let words = [
        NODE_IS_READY[0],
        NODE_IS_READY[1],
        "KubeEdge node joined",
        "Kubernetes: node is known    done",
    ];
    let up = machine.serial.wait_any(&words, from, TO_READY).map(drop);
    log_in(bench, machine, from)?;
    if up.is_err() {
        let said = machine
            .root(&bench.lab, "skerry services; skerry logs k3s; skerry logs distribution-fetch")
            .unwrap_or_default();
        return up.with_context(|| format!("waiting for the node; {said}"));
    }
    Ok(())
}

/// The next boot, with another configuration.
fn again(bench: &Bench, machine: &mut Machine, config: &str) -> Result<()> {
    machine.root(
        &bench.lab,
        &format!("cat > /skerry/system/config.yaml <<'EOF'\n{config}\nEOF\nsync"),
    )?;
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("reboot", seconds(20)); // the connection may end before its answer
    ready(bench, machine, mark)
}

/// What turns the first server into the control plane of a cluster that knows nothing of us: kubeadm's own settings of a kubelet (it
/// means systemd's control groups), its rule by which a token makes a node, and no agent of ours. Ours would be written over it, if it
/// were there before our add-ons.
const VANILLA: &str = r"set -e
for i in $(seq 300); do skerry services | grep -E '^kube-manifests +done' >&2 && break; sleep 1; done
skerry stop kube-agent
cat > /run/vanilla.yaml <<EOF
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {criSocket: 'unix:///run/containerd/containerd.sock', name: node-1}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $(kubeadm version -o short)
controlPlaneEndpoint: 10.0.2.21:6443
networking: {podSubnet: 10.42.0.0/16, serviceSubnet: 10.43.0.0/16}
EOF
kubeadm init phase upload-config all --config /run/vanilla.yaml >&2
kubectl --kubeconfig /etc/kubernetes/super-admin.conf create clusterrolebinding kubeadm:node-autoapprove-bootstrap --clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient --group=system:bootstrappers:kubeadm:default-node-token >&2
kubeadm token create --print-join-command
";

const NETWORK: &str = r#"{"cniVersion": "1.0.0", "name": "plain", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.99.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}"#;

const POD: &str = r"apiVersion: v1
kind: Pod
metadata: {name: on-2}
spec:
  nodeName: node-2
  containers:
  - {name: c, image: 'skerry.local/hello:1', imagePullPolicy: Never, command: [/bin/busybox, sleep, '3600']}
";

/// A node of a cluster that kubeadm made, by the command that kubeadm prints.
pub fn kubelet(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "kubelet", 2, &bench.hello, seconds(1500))?;
    let server = cluster.install(&Node::new(1, Part::First))?;
    with_machine(bench, checks, server, |server, checks| {
        server
            .serial
            .wait_any(&NODE_IS_READY, 0, TO_READY)
            .context("waiting for the server")?;
        log_in(bench, server, 0)?;
        let printed = server
            .root_within(lab, VANILLA, seconds(180))
            .context("making the server kubeadm's")?;
        let command = printed
            .lines()
            .rev()
            .find(|l| l.starts_with("kubeadm join"))
            .context("looking for the join command")?;
        // The server's own kubeconfig says 127.0.0.1.
        let words: Vec<String> = command
            .split_whitespace()
            .map(|w| format!("{:?}", w.replace("127.0.0.1", "10.0.2.21")))
            .collect();
        let worker = Node {
            token: Some("not used".into()),
            more: format!(
                "  distribution: kubelet\n  labels: {{region: eu}}\n  k3s_args: [{}]\nwrite_files: [{{path: /etc/cni/net.d/10-plain.conflist, content: '{NETWORK}'}}]\n",
                words.join(", ")
            ),
            ..Node::new(2, Part::Worker)
        };
        let worker = cluster.install(&worker)?;
        with_machine(bench, checks, worker, |worker, checks| {
            let is_ready =
                "kubectl wait --for=create node/node-2 --timeout=300s && kubectl wait --for=condition=Ready node/node-2 --timeout=240s";
            let joined = server.root_within(lab, is_ready, seconds(600)).map(drop);
            let well = joined.is_ok();
            checks.that("the node joins by kubeadm's command and is Ready", joined);
            log_in(bench, worker, 0)?;
            if !well {
                return Ok(());
            }
            as_kubeadms(bench, server, worker, checks)
        })
    })
}

fn as_kubeadms(bench: &Bench, server: &mut Machine, worker: &mut Machine, checks: &mut Checks) -> Result<()> {
    let pod = format!("kubectl apply -f - <<'EOF'\n{POD}EOF\nkubectl wait --for=condition=Ready pod/on-2 --timeout=240s");
    let pod = server.root_within(&bench.lab, &pod, seconds(300)).map(drop);
    checks.that("a pod runs on it", pod);
    let probes: [Probe<'_>; 3] = [
        (
            "with its label",
            "kubectl get node node-2 -o jsonpath='{.metadata.labels.region}'",
            Expect::Is("eu"),
        ),
        (
            "its kubelet answers the API server",
            "kubectl exec on-2 -- /bin/busybox hostname",
            Expect::Is("on-2"),
        ),
        (
            "kubeadm's rule approved it",
            "kubectl get csr -o jsonpath='{.items[*].status.conditions[*].message}'",
            Expect::Has("Auto approving kubelet client certificate"),
        ),
    ];
    checks.probe(server.ssh(&bench.lab)?, &probes, seconds(120))?;
    worker
        .serial
        .wait_any(&NODE_IS_READY, 0, TO_READY)
        .context("waiting for the node's own word")?;
    let probes: [Probe<'_>; 5] = [
        (
            "the cluster's settings came with the join",
            "cat /var/lib/kubelet/config.yaml",
            Expect::Has("cgroupDriver: systemd"),
        ),
        (
            "the machine's count more",
            "ls -d /sys/fs/cgroup/kubepods",
            Expect::Is("/sys/fs/cgroup/kubepods"),
        ),
        (
            "the token is gone from it",
            "ls /etc/kubernetes",
            Expect::Lacks("bootstrap-kubelet.conf"),
        ),
        (
            "nothing restarts for ever",
            "skerry services | grep -E 'backoff|failed'",
            Expect::Is(""),
        ),
        (
            "nothing of the embedded control plane runs",
            "pgrep -f 'kube-apiserver|kine|kube-agent'",
            Expect::Failure,
        ),
    ];
    checks.probe(worker.ssh(&bench.lab)?, &probes, seconds(60))?;
    let mark = worker.serial.mark();
    worker.qmp.run("system_reset", &serde_json::json!({}))?;
    worker
        .serial
        .wait_any(&NODE_IS_READY, mark, TO_READY)
        .context("waiting for the node after a cut")?;
    log_in(bench, worker, mark)?;
    let probes: [Probe<'_>; 1] = [(
        "after a cut it is a member without a token",
        "skerry logs kubelet-join",
        Expect::Has("member already"),
    )];
    checks.probe(worker.ssh(&bench.lab)?, &probes, seconds(60))
}
