//! `setup kube …`: the steps of the embedded Kubernetes. Each looks, lets room `distribution` decide, and does it.
//!
//! | step | unit | what |
//! |---|---|---|
//! | `prepare` | kube-files | directories, configuration files, the cluster's secret |
//! | `certs` | kube-certs | keys, certificates, kubeconfigs: made, kept, reissued |
//! | `address` | kube-address | a worker's address and configuration, once it joined |
//! | `datastore` | kube-datastore | the datastore becomes what was ordered, or what the configuration says now |
//! | `datastore due` | kube-snapshot | a snapshot, when it is time |
//! | `datastore save\|list\|…` | `skerry datastore` | snapshots and orders, by hand |
//! | `member` | kube-member | a further server's etcd gets its vote |
//! | `run NAME` | kube-apiserver, etcd, kine, kubelet, a worker's kube-proxy | becomes that component, with the node's address in its command line |
//! | `import pause` | kube-pause | the sandbox image, if it is missing from containerd |
//! | `import` | kube-images | image archives that are missing from containerd |
//! | `setup` | kube-setup | rights, bootstrap token |
//! | `ready` | kube-ready | waits until the node is Ready; labels and taints |
//! | `manifests` | kube-manifests | CoreDNS, and our own objects once more |
//! | `check` | kube-check | address, certificates and name servers, while the machine runs |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a step says is its log")]

mod api;
mod apply;
mod certs;
mod change;
mod check;
mod import;
pub(crate) mod look;
mod member;
mod prepare;
pub(crate) mod program;
mod ready;
mod restarts;
mod run;
mod snapshots;
pub(crate) mod x509;

pub(crate) use prepare::registries;
pub(crate) use ready::{NOT_REGISTERED, status, until_ready, watch_of};

use anyhow::{Result, bail};

/// Performs one step.
pub fn run(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare"] => prepare::run(),
        ["certs"] => certs::run(),
        ["address"] => certs::address(),
        ["datastore"] => change::run(),
        ["datastore", "due"] => snapshots::due(),
        ["datastore", "save"] => snapshots::on_demand(None),
        ["datastore", "save", name] => snapshots::on_demand(Some(name)),
        ["datastore", "list"] => snapshots::list(false),
        ["datastore", "list", "--json"] => snapshots::list(true),
        ["datastore", "delete", names @ ..] => snapshots::delete(names),
        ["datastore", "restore", path] => change::restore(path),
        ["datastore", "alone"] => change::alone(),
        ["datastore", "cancel"] => change::cancel(),
        ["member"] => member::run(),
        ["run", name] => run::run(name),
        ["import", "pause"] => import::run(import::Which::Pause),
        ["import"] => import::run(import::Which::All),
        ["setup"] => apply::system(),
        ["ready"] => ready::run(),
        ["manifests"] => apply::add_ons(),
        ["check"] => check::run(),
        _ => bail!(
            "reading the arguments: expected setup kube prepare|certs|address|datastore …|member|run NAME|import [pause]|setup|ready|manifests|check"
        ),
    }
}
