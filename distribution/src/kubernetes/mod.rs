//! The embedded upstream Kubernetes: a server or a worker, each component a unit of its own.
//!
//! | file | decides |
//! |---|---|
//! | [`settings`] | what the configuration asks for, from [`arguments`] (k3s's words), [`node`] and [`cidr`] |
//! | [`role`], [`backend`] | what the node is to its cluster, and how pods reach other nodes |
//! | [`units`], [`worker`] | what runs, and what waits for what |
//! | [`cluster`] | what a node that joins must know, and what the agent reads |
//! | [`argv`] | command lines |
//! | [`files`] | configuration files |
//! | [`certs`] | which certificates are to be reissued |
//! | [`manifests`], [`agent`], [`coredns`], [`add_ons`] | what is put into the cluster |
//! | [`address`] | which address is the node's |
//! | [`ports`] | which of its ports others must reach |
//! | [`datastore`], [`member`] | where the objects are kept, and how a server's etcd joins its peers' |
//! | [`farewell`] | how long pods have to end when the machine goes down |
//! | [`held`], [`change`] | what must not be begun anew; how the datastore becomes another one |
//! | [`snapshots`], [`schedule`] | copies of the objects, and when they are made |
//! | [`token`], [`bundle`] | the bootstrap token, and what servers give each other |
//! | [`registries`] | k3s's `registries.yaml` for containerd |
//! | [`images`] | which image archives are to be imported |
//! | [`kubeconfig`], [`base64`] | what is read from kubeconfigs and changed in them |
//! | [`labels`] | what of the Node object is to be changed |

pub mod add_ons;
pub mod address;
mod agent;
pub mod arguments;
pub mod argv;
pub mod backend;
pub mod base64;
pub mod bundle;
pub mod certs;
pub mod change;
pub mod cidr;
pub mod cluster;
mod coredns;
pub mod datastore;
pub(crate) mod farewell;
pub mod files;
pub mod held;
pub mod images;
pub mod kubeconfig;
pub mod labels;
pub mod manifests;
pub mod member;
pub mod node;
pub mod paths;
pub mod ports;
pub mod registries;
pub mod role;
pub mod schedule;
pub mod settings;
pub mod snapshots;
pub mod token;
pub(crate) mod units;
mod worker;

pub use settings::{Settings, settings};

use crate::{Facts, Plan};
use role::Role;
use skerry_config::types::Config;

/// A command line: arguments (program first) and environment.
pub type Command = (Vec<String>, Vec<(String, String)>);

/// Plans one node. A configuration that wants to join another cluster never makes a second one.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    let (settings, mut problems) = settings(config, facts);
    problems.extend(foreign_files(config));
    problems.extend(add_ons::without(&settings));
    if settings.role != Role::First && settings.role.servers().is_empty() {
        return Plan {
            problems,
            ..Plan::default()
        };
    }
    let run_cmd = !config.run_cmd.is_empty();
    let units = if settings.role.is_server() {
        units::units(&settings, run_cmd)
    } else {
        worker::units(&settings, run_cmd)
    };
    Plan {
        units,
        files: files::fixed(&settings, facts),
        problems,
        ready: Some("kube-ready".to_owned()),
        open: ports::open(&settings),
        pods: if settings.network {
            [Some(settings.pods.to_string()), settings.pods6.map(|six| six.to_string())]
                .into_iter()
                .flatten()
                .collect()
        } else {
            vec![]
        },
    }
}

/// Files that k3s would read, and nothing here does.
fn foreign_files(config: &Config) -> Vec<crate::Problem> {
    let foreign = [
        ("/etc/rancher/k3s/config.yaml", "say it in skerry.k3s_args"),
        (
            "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl",
            "write /etc/containerd/conf.d/NAME.toml instead",
        ),
    ];
    let mut problems = vec![];
    for (path, hint) in foreign {
        if config
            .write_files
            .iter()
            .any(|f| f.path.trim_start_matches('/') == path.trim_start_matches('/'))
        {
            problems.push(crate::Problem::ignored(
                "write_files",
                format!("{path} is written, but not read in this version"),
                hint,
            ));
        }
    }
    problems
}
