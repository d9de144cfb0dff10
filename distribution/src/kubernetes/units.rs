//! The units of a server, and what waits for what.
//!
//! ```text
//! apply-boot ── kube-files ─┬─ containerd ─┬─ kube-pause
//! boot-cmd                  ├─ kube-datastore ── kine ───┐
//!                           │              └─────────────┼───────┐
//! (run-cmd)  netd ── clock ─┴─ kube-certs ─┬─ kube-agent, kubelet ─┐
//!                                          └─ kube-apiserver ──┼─ kube-controller-manager, kube-scheduler
//!                                                              ├─ kube-setup ── kube-proxy
//!                                                              └─ kube-ready ─┬─ kube-images ── kube-manifests ── metrics-server
//!                                                                             └─ kube-snapshot
//! ```
//!
//! With etcd it is `kube-certs ── kube-datastore ── etcd ── kube-member ── kube-apiserver`.
//!
//! `logind` (after `kube-files`, before kubelet) is the first to be stopped when the machine goes down: everything else waits until kubelet
//! has ended the pods.
//!
//! What needs no network does not wait for it. What the node does not need to become Ready (large images, add-ons) waits until it
//! is: on a small machine they would only take the processor from each other. `run_cmd` comes before all of it, as in k3OS, where there is one.

use super::argv;
use super::datastore::Datastore;
use super::farewell::Grace;
use super::paths::{AGENT, FETCH, LOGIND, SETUP};
use super::role::Role;
use super::settings::Settings;
use super::worker;
use skerry_control::unit::{Farewell, Kind, Ready, Scope, Stop, Unit};
use std::time::Duration;

/// Control plane: before pods, after PID 1 and the runtime.
const CONTROL_PLANE: i32 = -997;
/// The runtime and kubelet.
pub(crate) const RUNTIME: i32 = -999;
/// What the node can do without for a while.
const ADD_ON: i32 = 300;
const TITLE: &str = "Kubernetes: datastore";
const SIGUSR1: i32 = 10;
const FILES: Option<u64> = Some(1 << 20);

/// All units. `run_cmd`: there are commands that must come first.
pub fn units(s: &Settings, run_cmd: bool) -> Vec<Unit> {
    let mut units = vec![
        files(run_cmd),
        logind(s),
        containerd(s),
        pause(),
        step("kube-certs", "Kubernetes: certificates", &["certs"], 180).after(&["kube-files", "netd", "clock"]),
        api_server(s),
        kubelet(s).after(&["kube-certs"]),
        service(
            "kube-controller-manager",
            "Kubernetes: controllers",
            argv::controller_manager(s),
            CONTROL_PLANE,
            10,
        )
        .ready("https://127.0.0.1:10257/healthz")
        .after(&["kube-apiserver"]),
        service("kube-scheduler", "Kubernetes: scheduler", argv::scheduler(s), CONTROL_PLANE, 10)
            .ready("https://127.0.0.1:10259/healthz")
            .after(&["kube-apiserver"]),
        step("kube-setup", "Kubernetes: rights", &["setup"], 180).after(&["kube-apiserver"]),
    ];
    units.extend(datastore(s));
    if s.snapshots.schedule.is_some() && super::change::place(&s.datastore).is_some() {
        units.push(snapshot());
    }
    if let Role::Server(_) = s.role {
        units.push(worker::join(s));
        if let Some(certs) = units.iter_mut().find(|u| u.name == "kube-certs") {
            certs.after.push("kube-join".to_owned());
        }
    }
    units.push(agent(s).after(&["kube-certs"]));
    if s.proxy {
        let proxy = service("kube-proxy", "Kubernetes: services' network", argv::proxy(s), RUNTIME, 5);
        units.push(proxy.ready("http://127.0.0.1:10256/livez").after(&["kube-setup", "kubelet"]));
    }
    units.push(ready().after(&["kube-apiserver"]));
    if s.metrics_server {
        // After the add-ons, which have its rights; before that it could only end.
        let metrics = service("metrics-server", "Kubernetes: metrics", argv::metrics_server(s), ADD_ON, 5);
        let url = format!("https://127.0.0.1:{}/livez", super::add_ons::METRICS_PORT);
        units.push(metrics.ready(&url).after(&["kube-agent", "kube-manifests"]));
    }
    units.push(images());
    units.push(step("kube-manifests", "Kubernetes: add-ons", &["manifests"], 900).after(&["kube-images"]));
    units.push(check("Kubernetes: certificates and address"));
    units
}

/// What keeps the objects, and what of it must be up before the API server.
fn datastore(s: &Settings) -> Vec<Unit> {
    match &s.datastore {
        Datastore::Sqlite => vec![
            change().after(&["kube-files"]),
            service("kine", TITLE, argv::kine(s), CONTROL_PLANE, 20).after(&["kube-datastore"]),
        ],
        Datastore::External(_) if s.kine() => {
            // Its address holds a password: only the helper reads it.
            vec![launched("kine", TITLE, s, CONTROL_PLANE, 20).after(&["kube-files", "netd"])]
        }
        Datastore::External(_) => vec![],
        Datastore::Etcd => {
            let mut etcd = launched("etcd", TITLE, s, CONTROL_PLANE, 20).after(&["kube-datastore"]);
            etcd.ready = Ready::Notify;
            vec![
                change().after(&["kube-certs"]),
                etcd,
                step("kube-member", "Kubernetes: vote among the servers", &["member"], 300).after(&["etcd"]),
            ]
        }
    }
}

/// What was ordered, or follows from the configuration, before anything uses the datastore. A large one takes its time.
fn change() -> Unit {
    let mut change = step("kube-datastore", "Kubernetes: datastore as ordered", &["datastore"], 3600);
    change.quiet = true;
    change
}

/// Looks each minute whether a snapshot is due.
fn snapshot() -> Unit {
    let mut snapshot = step("kube-snapshot", "Kubernetes: snapshots", &["datastore", "due"], 900).after(&["kube-ready"]);
    snapshot.kind = Kind::OneShot {
        retry: true,
        every: Some(Duration::from_secs(60)),
    };
    snapshot.quiet = true;
    snapshot
}

/// The first step. Everything else comes after it.
pub(super) fn files(run_cmd: bool) -> Unit {
    let first: &[&str] = if run_cmd {
        &["apply-boot", "boot-cmd", "apply-runtime", "run-cmd"]
    } else {
        &["apply-boot", "boot-cmd"]
    };
    step("kube-files", "Kubernetes: configuration files", &["prepare"], 30).after(first)
}

pub(crate) fn pause() -> Unit {
    step("kube-pause", "Kubernetes: sandbox image", &["import", "pause"], 120).after(&["containerd"])
}

/// Waits for ever: the node may need hours for its network or its server.
pub(super) fn ready() -> Unit {
    let mut ready = step("kube-ready", "Kubernetes: node Ready", &["ready"], 0);
    ready.deadline = None;
    ready
}

pub(crate) fn images() -> Unit {
    step("kube-images", "Kubernetes: images", &["import"], 900).after(&["kube-ready", "kube-pause"])
}

pub(super) fn check(title: &str) -> Unit {
    let mut check = step("kube-check", title, &["check"], 180).after(&["kube-ready"]);
    check.kind = Kind::OneShot {
        retry: true,
        every: Some(Duration::from_secs(60)),
    };
    check.quiet = true;
    check
}

/// What node and cluster tell each other.
pub(super) fn agent(s: &Settings) -> Unit {
    let argv = [AGENT, "run"].map(str::to_owned).to_vec();
    let mut agent = service("kube-agent", "Kubernetes: agent", (argv, argv::environment(s)), RUNTIME, 5);
    agent.ready = Ready::Notify;
    agent
}

/// A step of our own, tried until it succeeds. `deadline` in seconds.
pub(super) fn step(name: &str, title: &str, words: &[&str], deadline: u64) -> Unit {
    let mut argv = vec![SETUP, "kube"];
    argv.extend(words);
    let mut unit = Unit::one_shot(name, title, &argv);
    unit.kind = Kind::OneShot { retry: true, every: None };
    unit.deadline = Some(Duration::from_secs(deadline));
    unit
}

pub(crate) fn service(name: &str, title: &str, (argv, env): super::Command, oom_score: i32, grace: u64) -> Unit {
    let mut unit = Unit::service(name, title, &[]);
    unit.argv = argv;
    unit.env = env;
    unit.env_file = Some("/etc/environment".to_owned());
    unit.oom_score = oom_score;
    unit.nofile = FILES;
    unit.deadline = Some(Duration::from_secs(120));
    unit.stop.grace = Duration::from_secs(grace);
    unit
}

/// A service whose command line needs the node's address: started by our helper, which becomes it.
pub(super) fn launched(name: &str, title: &str, s: &Settings, oom_score: i32, grace: u64) -> Unit {
    let argv = [SETUP, "kube", "run", name].map(str::to_owned).to_vec();
    service(name, title, (argv, argv::environment(s)), oom_score, grace)
}

pub(crate) trait ReadyAt {
    fn ready(self, url: &str) -> Self;
}

impl ReadyAt for Unit {
    /// Ready once `url` answers.
    fn ready(mut self, url: &str) -> Self {
        let mut probe = vec![FETCH.to_owned(), "wait".to_owned(), url.to_owned()];
        if url.starts_with("https:") {
            // The certificate is not looked at: it is the loopback interface, and nothing is sent.
            probe.push("--insecure".to_owned());
        }
        self.ready = Ready::Probe(probe);
        self
    }
}

pub(crate) fn containerd(s: &Settings) -> Unit {
    let mut unit = service("containerd", "Container runtime", argv::containerd(s), RUNTIME, 20).after(&["kube-files"]);
    unit.ready = Ready::Notify;
    // Its children hold the pods: they stay when it is stopped.
    unit.stop = Stop {
        scope: Scope::MainOnly,
        signal: 15,
        grace: Duration::from_secs(20),
    };
    unit
}

fn api_server(s: &Settings) -> Unit {
    // 60 s is what open requests get when it is stopped; its own grace is short on a machine of one node.
    launched("kube-apiserver", "Kubernetes: API server", s, CONTROL_PLANE, 20)
        .ready("https://127.0.0.1:6443/readyz")
        .after(match s.datastore {
            Datastore::Etcd => &["kube-member", "kube-certs"],
            _ if s.kine() => &["kine", "kube-certs"],
            _ => &["kube-certs"],
        })
}

pub(super) fn kubelet(s: &Settings) -> Unit {
    launched("kubelet", "Kubernetes: kubelet", s, RUNTIME, 15)
        .ready("http://127.0.0.1:10248/healthz")
        // It looks for logind once, when it starts.
        .after(&["containerd", "logind"])
}

/// Tells kubelet that the machine goes down, while all else still runs, and waits until the pods have ended.
pub(super) fn logind(s: &Settings) -> Unit {
    farewell(s.grace, s.has_bus, "kube-files")
}

/// The same for a kubelet of any kind, which must start after it: it asks for its word only once.
pub(crate) fn farewell(grace: Grace, has_bus: bool, after: &str) -> Unit {
    let limit = grace.limit();
    let mut argv = vec![LOGIND.to_owned(), "--limit".to_owned(), limit.as_secs().to_string()];
    if has_bus {
        argv.push("--bus".to_owned());
    }
    let mut logind = service("logind", "Kubernetes: pods' farewell", (argv, vec![]), RUNTIME, 5);
    logind.env_file = None;
    logind.ready = Ready::Notify;
    logind.farewell = grace.is_wanted().then_some(Farewell {
        signal: SIGUSR1,
        // It ends by itself in time.
        grace: limit + Duration::from_secs(5),
    });
    if has_bus {
        logind.after(&[after, "dbus"])
    } else {
        logind.after(&[after])
    }
}
