//! What the cluster lets our agent do, and what it tells nodes that join.
//!
//! On every node the agent has kubelet's own rights and, besides, may read all nodes: it makes the routes between their pods. On
//! servers it has a certificate of its own ([`SERVER_USER`]) and may do everything: the manifests that it applies are the owner's.

use super::cluster::{CONFIG_MAP, Cluster, KEY};
use super::manifests::{JOINING, NODES, RBAC, binding, cluster_binding, config_map, role};
use super::settings::Settings;
use crate::Facts;
use serde_json::{Value, json};

/// The common name of the servers' agent.
pub const SERVER_USER: &str = "skerry:server-agent";

/// Rights and the config map.
pub fn rights(s: &Settings, facts: &Facts) -> Vec<Value> {
    let cluster = serde_json::to_string(&Cluster::of(s, facts)).unwrap_or_default();
    vec![
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": { "name": "skerry:node" },
            "rules": [
                // The node authorizer lets a node read itself only.
                { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
                // Where the API servers are.
                { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"] },
            ],
        }),
        cluster_binding("skerry:node", "skerry:node", NODES),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": { "name": SERVER_USER },
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": SERVER_USER }],
        }),
        config_map("kube-system", CONFIG_MAP, &json!({ KEY: cluster })),
        role("kube-system", "skerry:cluster", CONFIG_MAP),
        binding("kube-system", "skerry:cluster", &[JOINING, NODES]),
    ]
}
