//! What does each Kubernetes need from the operating system?
//!
//! Pure adapters: ([`Config`], [`Facts`]) → [`Plan`]: units for PID 1, files, problems. No files, sockets, clocks, processes or
//! randomness in this crate; `setup kube …` performs what is decided here.
//!
//! | adapter | what it plans |
//! |---|---|
//! | [`kubernetes`] | the embedded upstream Kubernetes, one supervised unit a component |
//! | [`k3s`], [`k0s`] | the upstream program, which brings everything itself; [`brought`] says where it comes from |
//! | [`kubelet`] | containerd and kubelet as a node of a cluster that kubeadm made |
//! | [`edgecore`] | containerd and `KubeEdge`'s node |
//! | [`none`] | nothing: a machine to log in to |
//! | [`fake`] | services made of the tests' stand-in program, to try supervision in seconds |

pub mod brought;
pub mod edgecore;
pub mod facts;
pub mod fake;
pub mod given;
pub mod k0s;
pub mod k3s;
pub mod kubelet;
pub mod kubernetes;
pub mod none;
pub mod plan;

pub use facts::{Facts, Release};
pub use plan::{File, Plan, Problem, Severity};

use skerry_config::types::{Config, Distribution};

/// Decides what the configured distribution needs.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    match config.skerry.distribution.name {
        Distribution::Kubernetes => kubernetes::plan(config, facts),
        Distribution::K3s => k3s::plan(config, facts),
        Distribution::K0s => k0s::plan(config, facts),
        Distribution::Kubelet => kubelet::plan(config, facts),
        Distribution::Edgecore => edgecore::plan(config, facts),
        Distribution::None => none::plan(config),
        Distribution::Fake => fake::plan(config),
    }
}
