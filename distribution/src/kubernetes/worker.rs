//! The units of a worker, and what waits for what.
//!
//! ```text
//! apply-boot ── kube-files ── containerd ── kube-pause ──────────────────────────┬─ kube-images
//! boot-cmd           └───── kube-join ── kube-address ── kube-agent ── kubelet ─┬─ kube-ready
//! (run-cmd)   netd ── clock ─┘                                                  └─ kube-proxy
//! ```
//!
//! `kube-address` writes what the cluster has a say in, for agent and kubelet. `kube-agent` comes before kubelet: it is the way to the
//! servers. After the first join none of this needs a server to start.

use super::argv;
use super::settings::Settings;
use super::units::{self, RUNTIME, ReadyAt, step};
use skerry_control::unit::Unit;

/// All units. `run_cmd`: there are commands that must come first.
pub fn units(s: &Settings, run_cmd: bool) -> Vec<Unit> {
    let mut units = vec![
        units::files(run_cmd),
        units::logind(s),
        units::containerd(s),
        units::pause(),
        join(s),
        step("kube-address", "Kubernetes: node's address", &["address"], 30).after(&["kube-join"]),
        units::agent(s).after(&["kube-address"]),
        units::kubelet(s).after(&["kube-agent"]),
        units::ready().after(&["kubelet"]),
        units::images(),
        units::check("Kubernetes: address"),
    ];
    if s.proxy {
        // The pods' range is the cluster's to say: known after the first join.
        let proxy = units::launched("kube-proxy", "Kubernetes: services' network", s, RUNTIME, 5);
        units.push(proxy.ready("http://127.0.0.1:10256/livez").after(&["kubelet"]));
    }
    units
}

/// The first contact. It waits for the server for ever.
pub(super) fn join(s: &Settings) -> Unit {
    let mut join = units::service(
        "kube-join",
        "Kubernetes: join",
        ([super::paths::AGENT, "join"].map(str::to_owned).to_vec(), argv::environment(s)),
        RUNTIME,
        5,
    );
    join.kind = step("", "", &[], 0).kind;
    join.deadline = None;
    // It says what it waits for.
    join.env
        .push(("NOTIFY_SOCKET".to_owned(), skerry_control::NOTIFY_SOCKET.to_owned()));
    join.after(&["kube-files", "netd", "clock"])
}
