//! What nodes are told of their cluster, and what our agent is told of its node: the files between programs.

use super::backend::Backend;
use super::cidr;
use super::datastore::Datastore;
use super::paths::{ADD_ONS, MANIFESTS};
use super::settings::Settings;
use crate::Facts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The config map of `kube-system` that holds it, under [`KEY`].
pub const CONFIG_MAP: &str = "skerry-cluster";
/// Its one key, and the file's name on the node.
pub const KEY: &str = "cluster.json";

/// What is one for all nodes. A node keeps it, to start without a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The pods' network.
    pub pods: String,
    /// The pods' network of IPv6, in a cluster that has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods6: Option<String>,
    /// The services' network.
    pub services: String,
    /// The services' network of IPv6, in a cluster that has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services6: Option<String>,
    /// Address of the cluster's DNS.
    pub dns: Ipv4Addr,
    /// The cluster's domain.
    pub domain: String,
    /// How pods of different nodes reach each other.
    #[serde(default)]
    pub backend: Backend,
    /// Version of the server's Kubernetes, `v1.36.3`.
    #[serde(default)]
    pub kubernetes: String,
}

impl Cluster {
    /// What a server tells.
    pub fn of(s: &Settings, facts: &Facts) -> Self {
        Self {
            pods: s.pods.to_string(),
            pods6: s.pods6.map(|six| six.to_string()),
            services: s.services.to_string(),
            services6: s.services6.map(|six| six.to_string()),
            dns: s.dns,
            domain: s.domain.clone(),
            backend: s.backend,
            kubernetes: facts.release.kubernetes.clone(),
        }
    }
}

impl Settings {
    /// The settings of a node that joined: what is the cluster's to say counts over its own configuration. Values that cannot be read
    /// leave the node's own.
    #[must_use]
    pub fn adopting(mut self, cluster: &Cluster) -> Self {
        self.pods = cidr::four(&cluster.pods).unwrap_or(self.pods);
        self.services = cidr::four(&cluster.services).unwrap_or(self.services);
        self.pods6 = cluster.pods6.as_deref().and_then(cidr::six);
        self.services6 = cluster.services6.as_deref().and_then(cidr::six);
        self.dns = cluster.dns;
        if super::node::is_subdomain(&cluster.domain) {
            self.domain.clone_from(&cluster.domain);
        }
        // Each node may switch its own off.
        if self.network {
            self.backend = cluster.backend;
            self.network = cluster.backend != Backend::None;
        }
        self
    }
}

/// For `agent run`.
pub fn agent(s: &Settings) -> Value {
    let manifests = [&[ADD_ONS], &MANIFESTS[..]].concat();
    let mut agent = json!({
        "role": if s.role.is_server() { "server" } else { "worker" },
        "node_name": s.node_name,
        "manifests": manifests,
        "pods": s.pods.to_string(),
        "backend": s.backend,
        "service_lb": s.service_lb,
        "etcd": s.datastore == Datastore::Etcd,
        "local_storage": s.local_storage,
        "metrics_server": s.metrics_server,
        "helm": s.helm,
    });
    if let Some(six) = s.pods6 {
        agent["pods6"] = json!(six.to_string());
    }
    agent
}

/// For `agent join`.
pub fn join(s: &Settings, token: &str) -> Value {
    let servers: Vec<String> = s.role.servers().iter().map(|e| format!("https://{e}")).collect();
    json!({ "servers": servers, "token": token, "node_name": s.node_name, "role": if s.role.is_server() { "server" } else { "worker" } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::types::Config;

    fn settings(args: &str) -> Settings {
        let mut config = Config::default();
        config.skerry.k3s_args = args.split_whitespace().map(str::to_owned).collect();
        super::super::settings(&config, &Facts::default()).0
    }

    #[test]
    fn a_worker_takes_what_its_cluster_says() {
        let server = settings(
            "server --cluster-cidr=10.1.0.0/16,fd42::/56 --service-cidr=fd43::/112,10.43.0.0/16 --cluster-domain=edge.local --flannel-backend=wireguard-native",
        );
        let told = Cluster::of(&server, &Facts::default());
        let worker = settings("agent --server https://a").adopting(&told);
        assert_eq!(Cluster::of(&worker, &Facts::default()), told);
        assert_eq!(worker.backend, Backend::Wireguard);
        let own = settings("agent --server https://a --flannel-backend=none").adopting(&told);
        assert!(!own.network && own.backend == Backend::None);
    }

    #[test]
    fn nonsense_from_the_cluster_leaves_what_was_there() {
        let told = Cluster {
            pods: "x".into(),
            pods6: Some("10.0.0.0/8".into()),
            services: "10.0.0.0/99".into(),
            services6: None,
            dns: Ipv4Addr::new(1, 2, 3, 4),
            domain: "-".into(),
            backend: Backend::Vxlan,
            kubernetes: String::new(),
        };
        let s = settings("agent --server https://a").adopting(&told);
        assert_eq!((s.pods.to_string().as_str(), s.domain.as_str()), ("10.42.0.0/16", "cluster.local"));
    }
}
