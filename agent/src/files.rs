//! What the agent is given and what it keeps: file formats, JSON each.
//!
//! Unknown keys are skipped: after a rollback an older agent reads what a newer one wrote.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub use skerry_distribution::kubernetes::backend::Backend;
/// What all nodes of a cluster must agree on: `ConfigMap` `kube-system/skerry-cluster`, key `cluster.json`; a copy on each worker in
/// `/var/lib/skerry/kube/cluster.json`.
pub use skerry_distribution::kubernetes::cluster::Cluster;
use skerry_sys::file;
use std::path::Path;

/// No file of these is larger.
const LARGEST: usize = 1 << 20;

/// What `agent join` is told, `/run/skerry/kube/join.json`, 0600.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// URLs of servers, tried in this order: `https://10.0.0.1:6443`.
    pub servers: Vec<String>,
    /// The cluster's secret as the owner wrote it.
    pub token: String,
    /// What the node is to be called.
    pub node_name: String,
    /// What it is to become.
    #[serde(default)]
    pub role: Role,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the API server; has the authority's key.
    Server,
    /// Joined by a token.
    #[default]
    Worker,
}

/// What `agent run` is told, `/run/skerry/kube/agent.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Agent {
    /// What this node is for.
    pub role: Role,
    /// What it is called.
    pub node_name: String,
    /// Folders whose manifests are kept applied. Servers only.
    #[serde(default)]
    pub manifests: Vec<String>,
    /// The pods' addresses in the whole cluster, in CIDR notation.
    pub pods: String,
    /// Those of IPv6, in a cluster that has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods6: Option<String>,
    /// How pods of different nodes reach each other.
    pub backend: Backend,
    /// Whether Services of type `LoadBalancer` get this cluster's nodes as addresses.
    #[serde(default)]
    pub service_lb: bool,
    /// Whether this server is a member of an etcd.
    #[serde(default)]
    pub etcd: bool,
    /// Where volumes of the class `local-path` lie on their nodes; none: none are made.
    #[serde(default)]
    pub local_storage: Option<String>,
    /// Whether metrics-server runs on this machine.
    #[serde(default)]
    pub metrics_server: bool,
    /// Whether `HelmChart` objects are installed.
    #[serde(default)]
    pub helm: bool,
}

/// Where the servers are, `/var/lib/skerry/kube/servers.json`, on workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub servers: Vec<String>,
    /// As `servers`, in the owner's words: tried when none of `servers` can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not there, or not to be read.
    #[error(transparent)]
    File(#[from] skerry_sys::Error),
    /// There, with something else in it.
    #[error("reading {path}: {why}")]
    Content {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: serde_json::Error,
    },
}

/// Reads one of these files.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Unreadable> {
    let bytes = file::read_bounded(path, LARGEST)?;
    serde_json::from_slice(&bytes).map_err(|why| Unreadable::Content {
        path: path.display().to_string(),
        why,
    })
}

/// Text of one of these files.
pub fn text<T: Serialize>(content: &T) -> String {
    // These types have text keys only: that cannot fail.
    serde_json::to_string_pretty(content).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// Other programs and older releases write and read these: the texts stay as they are.
    #[test]
    fn golden() {
        fn same<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &str, content: &T) {
            assert_eq!(&serde_json::from_str::<T>(text).unwrap(), content);
            assert_eq!(serde_json::to_string(content).unwrap(), text);
        }
        same(
            r#"{"role":"worker","node_name":"n1","manifests":["/var/lib/skerry/manifests"],"pods":"10.42.0.0/16","backend":"host-gw","service_lb":true,"etcd":false,"local_storage":"/s","metrics_server":true,"helm":true}"#,
            &Agent {
                role: Role::Worker,
                node_name: "n1".into(),
                manifests: vec!["/var/lib/skerry/manifests".into()],
                pods: "10.42.0.0/16".into(),
                pods6: None,
                backend: Backend::HostGw,
                service_lb: true,
                etcd: false,
                local_storage: Some("/s".into()),
                metrics_server: true,
                helm: true,
            },
        );
        same(
            r#"{"pods":"10.42.0.0/16","services":"10.43.0.0/16","dns":"10.43.0.10","domain":"cluster.local","backend":"vxlan","kubernetes":"v1.36.3"}"#,
            &Cluster {
                pods: "10.42.0.0/16".into(),
                pods6: None,
                services: "10.43.0.0/16".into(),
                services6: None,
                dns: [10, 43, 0, 10].into(),
                domain: "cluster.local".into(),
                backend: Backend::Vxlan,
                kubernetes: "v1.36.3".into(),
            },
        );
        same(
            r#"{"servers":["10.0.0.1:6443"]}"#,
            &Servers {
                servers: vec!["10.0.0.1:6443".into()],
                given: vec![],
            },
        );
        let join: Join = serde_json::from_str(r#"{"servers":["https://10.0.0.1:6443"],"token":"x","node_name":"w1","later":1}"#).unwrap();
        assert_eq!(
            (join.servers[0].as_str(), join.token.as_str(), join.node_name.as_str()),
            ("https://10.0.0.1:6443", "x", "w1")
        );
    }

    #[test]
    fn every_backend() {
        for (backend, text) in [
            (Backend::Vxlan, "vxlan"),
            (Backend::HostGw, "host-gw"),
            (Backend::Wireguard, "wireguard"),
            (Backend::None, "none"),
        ] {
            assert_eq!(serde_json::to_value(backend).unwrap(), text);
        }
    }
}
