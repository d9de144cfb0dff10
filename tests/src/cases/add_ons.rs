//! What k3s brings besides Kubernetes: storage, metrics, addresses for Services, charts.

use super::check::{Checks, Expect};
use super::start::{KUBERNETES_DISK, node_config, node_machine, to_ready, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::{Machine, Request, patient};
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

const OBJECTS: &str = include_str!("../../fixtures/add-ons.yaml");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chart");
const PACKED: &str = "hello-0.1.0.tgz";

pub fn add_ons(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let packed = packed()?;
    let port = chart_server(packed.clone())?;
    let config = node_config(bench, &manifests(&base64(&packed)?, port));
    let seed = with_hello(bench, Seed::config(config)).file(&format!("var/lib/rancher/k3s/server/static/charts/{PACKED}"), packed, 0o644);
    let data = bench.lab.data_disk("add-ons", &seed, KUBERNETES_DISK)?;
    let request = Request {
        limit: seconds(1500),
        ..node_machine("add-ons", Some(&data))
    };
    let (machine, _) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        storage(bench, machine, checks)?;
        metrics(bench, machine, checks)?;
        balanced(bench, machine, checks)?;
        charts(bench, machine, checks)
    })
}

/// The configuration's manifests: the objects, and a chart three times, from three places.
fn manifests(content: &str, port: u16) -> String {
    let chart = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {{name: {name}, namespace: kube-system}}\n\
             spec:\n  targetNamespace: charts\n  createNamespace: true\n{spec}"
        )
    };
    let text = [
        OBJECTS.to_owned(),
        chart("packed", &format!("  chartContent: {content}\n  valuesContent: 'word: packed'\n")),
        chart("lying", &format!("  chart: https://%{{KUBERNETES_API}}%/static/charts/{PACKED}\n  set: {{word: lying}}\n")),
        chart("served", &format!("  repo: http://10.0.2.2:{port}\n  chart: hello\n  version: 0.1.0\n")),
        "---\napiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata: {name: served, namespace: kube-system}\nspec: {valuesContent: 'word: configured'}\n"
            .to_owned(),
    ]
    .concat();
    let mut out = "write_files:\n- path: /var/lib/rancher/k3s/server/manifests/add-ons.yaml\n  content: |\n".to_owned();
    for line in text.lines() {
        let _ = writeln!(out, "    {line}");
    }
    out
}

fn storage(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let probes = [
        (
            "the pod with a claim runs",
            "kubectl wait --for=create pod/keeper --timeout=200s && kubectl wait --for=condition=Ready pod/keeper --timeout=300s || kubectl describe pvc,pod",
            Expect::Has("condition met"),
        ),
        (
            "the class is the default one",
            "kubectl get storageclass local-path -o jsonpath='{.metadata.annotations.storageclass\\.kubernetes\\.io/is-default-class}'",
            Expect::Is("true"),
        ),
        (
            "the claim is bound",
            "kubectl get pvc data -o jsonpath='{.status.phase}'",
            Expect::Is("Bound"),
        ),
        (
            "what a pod of another user wrote lies on the data partition",
            "cat /var/lib/rancher/k3s/storage/pvc-*_default_data/word; stat -c %u /var/lib/rancher/k3s/storage/pvc-*_default_data/word",
            Expect::Is("kept\n1234"),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(600))?;
    // Left out from now on, as in k3s: neither applied nor removed. The charts come last, when their kind is known.
    let applied = "for i in $(seq 200); do kubectl -n kube-system get helmchart packed lying served > /dev/null 2>&1 && exit 0; sleep 1; done; exit 1";
    machine
        .root_within(&bench.lab, applied, seconds(300))
        .context("waiting until all manifests are applied")?;
    machine.root(&bench.lab, "touch /var/lib/rancher/k3s/server/manifests/add-ons.yaml.skip")?;
    let removed = [
        (
            "with its claim goes the volume, and the folder",
            "V=$(kubectl get pvc data -o jsonpath='{.spec.volumeName}'); kubectl delete pod/keeper pvc/data --wait=false >/dev/null && \
             kubectl wait --for=delete pv/$V --timeout=240s >/dev/null && ls /var/lib/rancher/k3s/storage",
            Expect::Lacks("pvc-"),
        ),
        (
            "helpers are gone",
            "kubectl -n kube-system wait --for=delete pod -l skerry.io/helper --timeout=60s >/dev/null; kubectl -n kube-system get pods -l skerry.io/helper --no-headers 2>/dev/null",
            Expect::Is(""),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &removed, seconds(400))
}

fn metrics(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let probes = [
        (
            "the API has metrics",
            "kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=200s || kubectl describe apiservice v1beta1.metrics.k8s.io",
            Expect::Has("condition met"),
        ),
        (
            "kubectl top node gives numbers",
            "for i in $(seq 60); do kubectl top node --no-headers 2>/dev/null | grep -E '[0-9]+m .*[0-9]+Mi' && exit 0; sleep 3; done; kubectl top node",
            Expect::Has("Mi"),
        ),
        ("kubectl top pod does", "kubectl top pod -A --no-headers", Expect::Has("coredns")),
        (
            "nobody outside reaches it",
            "ss -Hltn | grep ':10265 ' | grep -v 127.0.0.1",
            Expect::Is(""),
        ),
        (
            "who asks it without the API server is refused",
            "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:10265/apis/metrics.k8s.io/v1beta1/nodes",
            Expect::Is("403"),
        ),
        (
            "its memory",
            "awk '/^Rss(Anon|File):/ {print $1, $2}' /proc/$(pidof metrics-server)/status",
            Expect::Has("RssAnon"),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(500))?;
    let weighs = machine.root(
        &bench.lab,
        "grep -E '^Rss(Anon|File)|^VmRSS' /proc/$(pidof metrics-server)/status; skerry status | grep -A1 without",
    )?;
    eprintln!("add-ons: {weighs}");
    Ok(())
}

/// Asked for by this computer, through the machine's network card.
fn balanced(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let ready = "kubectl wait --for=condition=Ready pod/web --timeout=200s && kubectl wait --for=jsonpath='{.status.loadBalancer.ingress[0].ip}'=10.0.2.15 service/web --timeout=120s";
    checks.that(
        "the Service has the node's address",
        machine.root_within(&bench.lab, ready, seconds(330)),
    );
    let port = machine.forward(8088)?;
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patient(seconds(30))))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains("from the pod"), "it says {answer:?}");
        Ok(answer)
    };
    checks.that("it is reached from outside", ask());
    Ok(())
}

fn charts(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let wait = "for name in packed lying served; do kubectl -n charts wait --for=create configmap/$name --timeout=200s || { kubectl -n kube-system get helmcharts -o yaml | grep -A9 conditions; exit 1; }; done";
    checks.that("three charts are installed", machine.root_within(&bench.lab, wait, seconds(620)));
    let deployed = "kubectl -n kube-system wait --for=condition=Deployed helmchart/packed helmchart/lying helmchart/served --timeout=120s";
    checks.that("their objects say so", machine.root_within(&bench.lab, deployed, seconds(150)));
    let word = |name: &str| format!("kubectl -n charts get configmap {name} -o jsonpath='{{.data.word}}'");
    let words = ["packed", "lying", "served"].map(word);
    let probes = [
        ("a packed chart, by valuesContent", words[0].as_str(), Expect::Is("packed")),
        ("one that lies on the server, by set", words[1].as_str(), Expect::Is("lying")),
        (
            "one of a repository, by HelmChartConfig",
            words[2].as_str(),
            Expect::Is("configured"),
        ),
        (
            "helm is there",
            "KUBECONFIG=/etc/rancher/k3s/k3s.yaml helm -n charts list -q",
            Expect::Is("lying\npacked\nserved"),
        ),
        (
            "a change is an upgrade",
            "kubectl -n kube-system patch helmchart packed --type=merge -p '{\"spec\":{\"valuesContent\":\"word: again\"}}' && \
             kubectl -n charts wait --for=jsonpath='{.data.word}'=again configmap/packed --timeout=120s",
            Expect::Has("condition met"),
        ),
        (
            "with its chart goes the release",
            "kubectl -n kube-system delete helmchart lying --timeout=120s && kubectl -n charts get configmap lying --ignore-not-found -o name",
            Expect::Lacks("configmap/lying"),
        ),
        (
            "credentials are gone, once helm has ended",
            "for i in $(seq 60); do test -z \"$(ls /run/skerry/kube/helm)\" && break; sleep 1; done; ls /run/skerry/kube/helm",
            Expect::Is(""),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(400))
}

/// The fixture as a packed chart.
fn packed() -> Result<Vec<u8>> {
    let made = Command::new("tar")
        .args(["-C", CHART, "--sort=name", "--owner=0", "--group=0", "-czf", "-", "hello"])
        .output()
        .context("running tar")?;
    ensure!(made.status.success(), "packing {CHART}: {}", String::from_utf8_lossy(&made.stderr));
    Ok(made.stdout)
}

fn base64(bytes: &[u8]) -> Result<String> {
    let path = std::env::temp_dir().join(format!("skerry-chart-{}", std::process::id()));
    skerry_sys::file::replace(&path, bytes, 0o600)?;
    let done = Command::new("base64").arg("-w0").arg(&path).output().context("running base64");
    remove(&path);
    Ok(String::from_utf8(done?.stdout)?.trim().to_owned())
}

fn remove(path: &Path) {
    // It lies among temporary files.
    let _ = std::fs::remove_file(path);
}

/// A chart server: an index, and one chart.
fn chart_server(packed: Vec<u8>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening for the machine")?;
    let port = listener.local_addr().context("reading a port")?.port();
    let index = format!("apiVersion: v1\nentries:\n  hello:\n  - {{apiVersion: v2, name: hello, version: 0.1.0, urls: [{PACKED}]}}\n");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_err() {
                continue;
            }
            let body: &[u8] = if line.contains("/index.yaml ") { index.as_bytes() } else { &packed };
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // Who goes away before the end is not our concern.
            let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body));
        }
    });
    Ok(port)
}
