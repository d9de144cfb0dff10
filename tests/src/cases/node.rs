//! A machine with Kubernetes: from one configuration to Ready, and through what happens to a node.

use super::check::{Checks, Expect, Probe};
use super::start::{KUBERNETES_DISK, TO_READY, node_config, node_machine, switch_off, to_ready, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::{self, Seed};
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const FULL: &str = include_str!("../../fixtures/full.yaml");
/// `gzip -n | base64` of "from gzip in base64\n".
const GZ_B64: &str = "H4sIAAAAAAAAA0srys9VSK/KLFDIzFNISixONTPhAgBlx7hTFAAAAA==";
const SERVICE: &str = include_str!("../../fixtures/service.yaml");

/// What must hold of any node that is Ready.
const READY: [Probe<'static>; 5] = [
    (
        "kubectl works without set-up",
        "su - skerry -c 'kubectl get nodes --no-headers'",
        Expect::Has(" Ready "),
    ),
    (
        "kubectl wait agrees",
        "kubectl wait --for=condition=Ready node --all --timeout=60s",
        Expect::Success,
    ),
    (
        "no service restarts for ever",
        "skerry services | grep -E 'backoff|failed'",
        Expect::Is(""),
    ),
    (
        "PID 1 is well",
        "skerry status --json | grep -E '\"state\": \"(running|starting)\"' | head -1",
        Expect::Success,
    ),
    (
        "pods of the system run",
        "kubectl -n kube-system wait --for=create deployment/coredns --timeout=150s && kubectl -n kube-system rollout status deployment/coredns --timeout=150s",
        Expect::Success,
    ),
];

const HELLO: [Probe<'static>; 2] = [
    (
        "the pod runs",
        "kubectl wait --for=create pod/hello --timeout=120s && kubectl wait --for=condition=Ready pod/hello --timeout=120s",
        Expect::Success,
    ),
    ("its log is read", "kubectl logs hello", Expect::Is("hello from the pod")),
];

const KEPT: &str =
    "sha256sum < /etc/kubernetes/pki/ca.crt; cat /etc/machine-id; kubectl get node -o jsonpath='{.items[0].metadata.uid}'; echo";

fn full_config(bench: &Bench) -> String {
    FULL.replace("@KEY@", &bench.lab.key.public).replace("@GZ_B64@", GZ_B64)
}

pub fn full(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let seed = with_hello(bench, Seed::config(full_config(bench)));
    let data = bench.lab.data_disk("full-config", &seed, KUBERNETES_DISK)?;
    let (machine, _) = to_ready(bench, &node_machine("full-config", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, &KEYS, seconds(120))?;
        checks.probe(machine.ssh(&bench.lab)?, &IN_THE_CLUSTER, seconds(120))?;
        checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
        checks.probe(machine.ssh(&bench.lab)?, &HELLO, seconds(240))?;
        checks.that("the password is good at the console", console_login(machine));
        Ok(())
    })
}

/// Each key of `fixtures/full.yaml`, by what it does to the machine.
const KEYS: [Probe<'static>; 31] = [
    (
        "hostname",
        "cat /proc/sys/kernel/hostname /etc/hostname",
        Expect::Is("harbour-one\nharbour-one"),
    ),
    ("hostname in /etc/hosts", "getent hosts harbour-one", Expect::Has("127.0.1.1")),
    (
        "ssh_authorized_keys, and no other",
        "grep -c ^ssh- /home/skerry/.ssh/authorized_keys",
        Expect::Is("1"),
    ),
    (
        "authorized_keys is private",
        "stat -c %a:%U /home/skerry/.ssh/authorized_keys",
        Expect::Is("600:skerry"),
    ),
    ("write_files: plain", "cat /var/lib/written/plain.txt", Expect::Is("as it is")),
    (
        "write_files: owner and permissions",
        "stat -c %a:%u:%g /var/lib/written/plain.txt",
        Expect::Is("640:1000:1000"),
    ),
    ("write_files: base64", "cat /etc/written-b64", Expect::Is("from base64")),
    (
        "write_files: gzip in base64",
        "cat /etc/written-gz-b64",
        Expect::Is("from gzip in base64"),
    ),
    (
        "write_files: relative path",
        "cat /var/lib/written/relative.txt",
        Expect::Is("a path without its slash"),
    ),
    ("/etc/local.d/*.start", "cat /run/local-start-ran", Expect::Is("ran")),
    (
        "init_cmd before boot_cmd before run_cmd",
        "cat /run/init-cmd-ran /run/boot-cmd-ran /run/run-cmd-ran | sort -nc && echo sorted",
        Expect::Is("sorted"),
    ),
    ("boot_cmd: sh knows source", "cat /run/boot-cmd-sourced", Expect::Success),
    (
        "run_cmd: there is a network",
        "cat /run/run-cmd-route",
        Expect::Has("default via 10.0.2.2"),
    ),
    (
        "modules with parameters",
        "ls -d /sys/class/net/dummy0 /sys/class/net/dummy1 /sys/class/net/dummy2",
        Expect::Success,
    ),
    ("modules", "test -d /sys/module/wireguard", Expect::Success),
    ("sysctls", "cat /proc/sys/vm/swappiness", Expect::Is("17")),
    (
        "sysctls: several numbers",
        "cat /proc/sys/kernel/printk | tr -s '\\t' ' '",
        Expect::Is("4 4 1 7"),
    ),
    ("ntp_servers", "chronyc -n sources | grep -c 192.0.2.123", Expect::Is("1")),
    (
        "dns_nameservers: only where DHCP names none",
        "cat /etc/resolv.conf",
        Expect::Has("10.0.2.3"),
    ),
    (
        "environment: file",
        "grep HARBOUR /etc/environment",
        Expect::Is("HARBOUR=\"east side\""),
    ),
    ("environment: logins", "su - skerry -c 'echo $HARBOUR'", Expect::Is("east side")),
    (
        "environment: containerd",
        "tr '\\0' '\\n' < /proc/$(pidof containerd)/environ",
        Expect::Has("HTTP_PROXY=http://192.0.2.80:3128"),
    ),
    (
        "environment: NO_PROXY is filled in",
        "tr '\\0' '\\n' < /proc/$(pidof containerd)/environ | grep -i ^no_proxy | head -1",
        Expect::Has("10.43.0.0/16"),
    ),
    (
        "password is a hash",
        "grep '^skerry:' /etc/shadow | cut -d: -f2 | cut -c1",
        Expect::Is("$"),
    ),
    (
        "data_sources: answered",
        "skerry config explain 2>&1 | grep -i -A3 data_sources",
        Expect::Has("asked for metadata"),
    ),
    (
        "wifi: answered",
        "skerry config explain 2>&1 | grep -i -A3 wifi",
        Expect::Has("joined, the first one of those in range"),
    ),
    (
        "server_url: answered",
        "echo 'skerry: {server_url: https://192.0.2.1:6443, token: a-long-and-secret-token}' > /run/w.yaml; skerry config explain /run/w.yaml 2>&1 | grep -i -A3 server_url",
        Expect::Has("the server whose cluster is joined"),
    ),
    (
        "install: answered",
        "skerry config explain 2>&1 | grep -i -A3 install",
        Expect::Has("for the installer"),
    ),
    (
        "secrets are hidden",
        "skerry config explain; skerry config dump; skerry status --json",
        Expect::Lacks("a-token-of-more"),
    ),
    (
        "secrets are nobody's to read",
        "stat -c %a /run/skerry/config.json",
        Expect::Is("600"),
    ),
    (
        "cgroup controllers for all",
        "cat /sys/fs/cgroup/cgroup.subtree_control",
        Expect::Has("cpuset cpu io memory"),
    ),
];

const IN_THE_CLUSTER: [Probe<'static>; 9] = [
    (
        "labels",
        "kubectl get node harbour-one -o jsonpath='{.metadata.labels.region}/{.metadata.labels.example\\.com/berth}'",
        Expect::Is("north/7"),
    ),
    (
        "k3OS's own labels",
        "kubectl get node -o jsonpath='{.items[0].metadata.labels}'",
        Expect::Has("\"k3os.io/mode\""),
    ),
    (
        "k3s_args: --node-label",
        "kubectl get node -o jsonpath='{.items[0].metadata.labels.from-args}'",
        Expect::Is("yes"),
    ),
    (
        "taints",
        "kubectl get node -o jsonpath='{.items[0].spec.taints}'",
        Expect::Has("\"effect\":\"PreferNoSchedule\",\"key\":\"berth\",\"value\":\"taken\""),
    ),
    (
        "token",
        "kubectl -n kube-system get secret --field-selector type=bootstrap.kubernetes.io/token -o name",
        Expect::Has("secret/bootstrap-token-"),
    ),
    (
        "k3s_args: --write-kubeconfig-mode",
        "stat -Lc %a /etc/rancher/k3s/k3s.yaml",
        Expect::Is("640"),
    ),
    (
        "manifests are applied",
        "kubectl wait --for=create pod/hello --timeout=120s",
        Expect::Success,
    ),
    (
        "kubeconfig is the owner's group's",
        "stat -Lc %U:%G /etc/rancher/k3s/k3s.yaml",
        Expect::Is("root:skerry"),
    ),
    (
        "the datastore listens nowhere",
        "ss -Hltn | grep -E ':(2379|2380) '",
        Expect::Is(""),
    ),
];

/// Logs in at the console as `rancher` with the configured password.
fn console_login(machine: &mut Machine) -> Result<()> {
    let from = machine.serial.mark();
    machine.type_line("")?;
    let prompt = machine.serial.wait_any(&["login:"], from, seconds(30))?;
    machine.type_line("rancher")?;
    let prompt = machine.serial.wait_any(&["assword:"], prompt.end, seconds(30))?;
    machine.type_line("rock-and-salt")?;
    machine.serial.wait_any(&["$ ", "# "], prompt.end, seconds(30))?;
    machine.type_line("echo sum=$((40+2))")?;
    machine.serial.wait_any(&["sum=42"], prompt.end, seconds(30)).map(drop)
}

/// The folder of the machine whose disk the others copy.
const READY_DISK: &str = "ready-disk";

/// A copy of the data disk of a node that was Ready, ran a pod, and then lost its power.
pub fn ready_disk(bench: &Bench, name: &str) -> Result<PathBuf> {
    let made = match bench.made.ready.get() {
        Some(disk) => disk.clone(),
        None => make_ready_disk(&bench.within(READY_DISK))?,
    };
    let copy = bench.lab.folder(name)?.join("data.img");
    disk::copy(&made, &copy)?;
    Ok(copy)
}

fn make_ready_disk(bench: &Bench) -> Result<PathBuf> {
    let pod = hello().context("finding the pod in the full configuration")?;
    let config = node_config(
        bench,
        &format!(
            "hostname: node-one\nskerry: {{swap: 64MiB}}\nwrite_files:\n- path: /var/lib/rancher/k3s/server/manifests/hello.yaml\n  content: |\n{pod}"
        ),
    );
    let disk = bench
        .lab
        .data_disk(READY_DISK, &with_hello(bench, Seed::config(config)), KUBERNETES_DISK)?;
    let (mut machine, _) = to_ready(bench, &node_machine(READY_DISK, Some(&disk)))?;
    let wait = "kubectl wait --for=create pod/hello --timeout=120s && kubectl wait --for=condition=Ready pod/hello --timeout=150s && kubectl logs hello";
    if let Err(e) = machine.root_within(&bench.lab, wait, seconds(300)) {
        machine.keep_logs(&bench.lab);
        return Err(e.context("waiting for the first pod"));
    }
    cut_when_ready(bench, &mut machine)?;
    drop(machine);
    Ok(bench.made.ready.get_or_init(|| disk).clone())
}

/// Writes down what must be kept, and cuts the power of a node that is Ready.
fn cut_when_ready(bench: &Bench, machine: &mut Machine) -> Result<()> {
    machine.root(&bench.lab, "kubectl create configmap kept --from-literal=word=kept")?;
    let kept = machine.root(&bench.lab, KEPT)?;
    #[allow(clippy::disallowed_methods, reason = "a note between two boots of one test run")]
    std::fs::write(bench.within(READY_DISK).lab.folder("")?.join("kept"), kept).context("writing down what must be kept")?;
    machine.cut();
    Ok(())
}

/// The manifest of pod `hello`, indented.
pub fn hello() -> Option<String> {
    manifest(FULL)
}

/// The pod's manifest, as it stands under `content: |` in the fixture.
fn manifest(fixture: &str) -> Option<String> {
    let from = fixture.find("    apiVersion: v1\n    kind: Pod")?;
    let rest = fixture.get(from..)?;
    let lines = rest.lines().take_while(|l| l.starts_with("    "));
    Some(lines.flat_map(|l| [l, "\n"]).collect())
}

pub fn second_boot(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = ready_disk(bench, "second-boot")?;
    let kept = std::fs::read_to_string(bench.within(READY_DISK).lab.artifacts.join("kept")).context("reading what must be kept")?;
    let (machine, _) = to_ready(bench, &node_machine("second-boot", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
        checks.probe(machine.ssh(&bench.lab)?, &HELLO, seconds(240))?;
        let probes = [
            ("same CA, machine-id and node", KEPT, Expect::Is(kept.trim())),
            (
                "objects are kept",
                "kubectl get configmap kept -o jsonpath='{.data.word}'",
                Expect::Is("kept"),
            ),
            (
                "the swap of the first boot is used again",
                "swapon --show=SIZE --bytes --noheadings",
                Expect::Is("67104768"), // but for its first page
            ),
            (
                "kubelet lets pods use it",
                "kubectl get --raw /api/v1/nodes/node-one/proxy/configz",
                Expect::Has("\"memorySwap\":{\"swapBehavior\":\"LimitedSwap\"}"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        service(bench, machine, checks)?;
        containerd_restarted(bench, machine, checks)?;
        switch_off(bench, machine)
    })
}

/// A Service with three endpoints, found by name from a pod.
fn service(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let apply = format!("kubectl apply -f - <<'EOF'\n{SERVICE}\nEOF\nkubectl wait --for=condition=Available deployment/web --timeout=240s");
    machine
        .root_within(&bench.lab, &apply, seconds(300))
        .context("starting three servers")?;
    let exec = |command: &str| format!("kubectl exec hello -- /bin/busybox sh -c '{command}'");
    let resolve = exec("busybox nslookup web.default.svc.cluster.local 10.43.0.10");
    let short = exec("busybox wget -T 10 -qO- http://web/ >/dev/null && echo answered");
    let many = exec(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do busybox wget -T 10 -qO- http://web.default.svc.cluster.local/; done | sort -u | wc -l",
    );
    let probes = [
        (
            "three endpoints",
            "kubectl get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints[*].addresses[0]}' | wc -w",
            Expect::Is("3"),
        ),
        ("a pod resolves a Service name", resolve.as_str(), Expect::Has("10.43.")),
        ("a pod resolves the short name too", short.as_str(), Expect::Is("answered")),
        ("all three answer", many.as_str(), Expect::Is("3")),
        (
            "the host reaches the Service too",
            "curl -sf -m 10 http://$(kubectl get service web -o jsonpath='{.spec.clusterIP}')/ || busybox wget -qO- http://$(kubectl get service web -o jsonpath='{.spec.clusterIP}')/",
            Expect::Has("web-"),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(180))
}

/// containerd ends and comes again; the pods do not notice.
fn containerd_restarted(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let pods = "pgrep -f 'busybox (sleep 100000|httpd)' | sort -n | tr '\\n' ' '";
    let before = machine.root(&bench.lab, &format!("pidof containerd; {pods}"))?;
    let (old, running) = before.split_once('\n').context("reading process ids")?;
    machine.root_within(
        &bench.lab,
        "skerry restart containerd; for i in $(seq 120); do ctr version >/dev/null 2>&1 && break; sleep 0.5; done; ctr version",
        seconds(120),
    )?;
    let killed = "kill -9 $(pidof containerd); for i in $(seq 240); do ctr version >/dev/null 2>&1 && break; sleep 0.5; done; ctr version >/dev/null && pidof containerd";
    let probes = [
        ("containerd was restarted", "pidof containerd", Expect::Lacks(old)),
        ("pods keep their processes", pods, Expect::Is(running.trim())),
        ("killed, it comes again", killed, Expect::Success),
        ("pods keep their processes even so", pods, Expect::Is(running.trim())),
        (
            "kubectl exec works again",
            "for i in $(seq 60); do kubectl exec hello -- /bin/busybox true 2>/dev/null && echo works && break; sleep 1; done",
            Expect::Is("works"),
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(300))
}

pub fn address_changed(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = ready_disk(bench, "address-changed")?;
    let (machine, _) = to_ready(
        bench,
        &Request {
            network: "10.9.8".into(),
            ..node_machine("address-changed", Some(&data))
        },
    )?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
        let probes = [
            (
                "the node's address is the new one",
                "kubectl get node -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'",
                Expect::Is("10.9.8.15"),
            ),
            (
                "the certificate names the new address",
                "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -ext subjectAltName",
                Expect::Has("10.9.8.15"),
            ),
            (
                "the server shows that certificate",
                "kubectl --server https://10.9.8.15:6443 get --raw /readyz",
                Expect::Is("ok"),
            ),
            (
                "kubelet answers at the new address",
                "kubectl logs hello",
                Expect::Is("hello from the pod"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &HELLO, seconds(240))?;
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(90))?;
        switch_off(bench, machine)
    })
}

pub fn clock_later(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = ready_disk(bench, "clock-later")?;
    for days in [300, 400] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs() + days * 86400;
        let clock = disk::run(std::process::Command::new("date").args(["-u", "-d", &format!("@{now}"), "+%Y-%m-%dT%H:%M:%S"]))?;
        let request = Request {
            clock: Some(clock.trim().to_owned()),
            ..node_machine("clock-later", Some(&data))
        };
        let (machine, _) = to_ready(bench, &request).with_context(|| format!("{days} days later"))?;
        with_machine(bench, checks, machine, |machine, checks| {
            let fresh =
                |name: &str, path: &str| format!("openssl x509 -in {path} -noout -checkend $((180*86400)) >/dev/null && echo {name}");
            let api = fresh("renewed", "/etc/kubernetes/pki/apiserver.crt");
            let client = fresh("renewed", "/etc/kubernetes/pki/apiserver-kubelet-client.crt");
            let admin = "grep client-certificate-data /etc/kubernetes/admin.conf | cut -d: -f2 | tr -d ' ' | base64 -d | openssl x509 -noout -checkend $((180*86400)) && echo renewed";
            let era: String = now.to_string().chars().take(5).collect();
            let probes = [
                ("the machine believes its clock", "date -u +%s", Expect::Has(&era)),
                ("the API server's certificate is renewed", api.as_str(), Expect::Is("renewed")),
                ("the client's to kubelets is renewed", client.as_str(), Expect::Is("renewed")),
                ("the owner's kubeconfig is renewed", admin, Expect::Has("renewed")),
            ];
            checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
            checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
            checks.probe(machine.ssh(&bench.lab)?, &HELLO, seconds(240))?;
            switch_off(bench, machine)
        })?;
    }
    Ok(())
}

pub fn live(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let words = vec![
        "hostname=adrift".to_owned(),
        format!("ssh_authorized_key=\"{}\"", bench.lab.key.public),
        "k3os.labels.mood=live".to_owned(),
    ];
    let (machine, _) = to_ready(
        bench,
        &Request {
            words,
            ..node_machine("live", None)
        },
    )?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
        let probes = [
            ("state is in memory", "findmnt -no FSTYPE /skerry", Expect::Is("tmpfs")),
            ("status says so", "skerry status", Expect::Has("live")),
            ("the command line counts", "cat /proc/sys/kernel/hostname", Expect::Is("adrift")),
            (
                "labels by the command line",
                "kubectl get node -o jsonpath='{.items[0].metadata.labels.mood}'",
                Expect::Is("live"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })
}

pub fn cut_while_starting(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk(
        "cut-while-starting",
        &Seed::config(node_config(bench, "hostname: unlucky\n")),
        KUBERNETES_DISK,
    )?;
    for after in [2, 4, 6, 9, 13, 18, 25] {
        let mut machine = bench.lab.start(&node_machine("cut-while-starting", Some(&data)))?;
        machine.wait(super::start::SETTINGS_ARE_DONE, seconds(120))?;
        // Not a wait for something: the point is to cut at any moment.
        machine.serial.wait_end(seconds(after));
        machine.cut();
    }
    let (machine, ready) = to_ready(bench, &node_machine("cut-while-starting", Some(&data)))?;
    checks.is("Ready after seven cuts", ready.at < TO_READY, &ready.line);
    with_machine(bench, checks, machine, |machine, checks| {
        checks.probe(machine.ssh(&bench.lab)?, &READY, seconds(240))?;
        switch_off(bench, machine)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_fixtures_are_what_the_checks_expect() {
        let pod = manifest(FULL).unwrap();
        assert!(pod.contains("skerry.local/hello:1") && !pod.contains("hostname"), "{pod}");
        let mut sh = std::process::Command::new("sh")
            .args(["-c", "base64 -d | gzip -d"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        sh.stdin.take().unwrap().write_all(GZ_B64.as_bytes()).unwrap();
        assert_eq!(sh.wait_with_output().unwrap().stdout, b"from gzip in base64\n");
    }
}
