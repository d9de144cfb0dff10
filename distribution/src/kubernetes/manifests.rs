//! What our one-shots put into the cluster: rights, the bootstrap token, CoreDNS. Two lists, each applied by one process.
//!
//! These are objects that kubeadm's phases would write with super-admin rights at three program starts; its bindings that approve
//! nodes by themselves are left out (whoever knows the token alone must not become any node).

use super::settings::Settings;
use super::token::BootstrapToken;
use super::{add_ons, agent, base64, coredns, files};
use crate::Facts;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// Who may join with the server's token as a further server.
const SERVERS: &str = "system:bootstrappers:skerry:server";
/// Who may join with a bootstrap token.
pub(super) const JOINING: &str = "system:bootstrappers:kubeadm:default-node-token";
pub(super) const NODES: &str = "system:nodes";
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// Rights and what joining needs: applied before anything depends on it.
pub fn system(s: &Settings, facts: &Facts, address: Ipv4Addr, names: &[String], tokens: &Tokens, ca_pem: &str) -> Vec<Value> {
    let mut items = vec![
        cluster_binding("kubeadm:cluster-admins", "cluster-admin", "kubeadm:cluster-admins"),
        cluster_binding("skerry:kube-proxy", "system:node-proxier", NODES),
        kubelet_client(),
    ];
    items.extend(joining(s, facts, address, names, tokens, ca_pem));
    items.extend(agent::rights(s, facts));
    items.extend(tokens.bundle.iter().flat_map(|b| servers(b)));
    ours(items)
}

/// The secrets of the cluster, as bootstrap tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The server's: whoever knows it may join in any part.
    pub server: BootstrapToken,
    /// The one that only makes workers, where the owner has one.
    pub agent: Option<BootstrapToken>,
    /// The cluster's authorities, sealed with the server's: see [`super::bundle`]. None where no further server can join.
    pub bundle: Option<Vec<u8>>,
}

/// What runs in pods, applied once their images are there; and the kinds of charts.
pub fn add_ons(s: &Settings, facts: &Facts) -> Vec<Value> {
    let dns = s.coredns.then(|| coredns::objects(s, &facts.release.coredns));
    let charts = s.helm.then(add_ons::charts);
    ours([dns, charts].into_iter().flatten().flatten().collect())
}

fn ours(mut items: Vec<Value>) -> Vec<Value> {
    for item in &mut items {
        if let Some(metadata) = item.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.entry("labels").or_insert_with(|| json!({}))[MANAGED.0] = json!(MANAGED.1);
        }
    }
    items
}

/// Where an object of ours lies in the API; none for a kind that is not in the table.
pub fn path(object: &Value) -> Option<String> {
    const KINDS: &[(&str, &str, &str)] = &[
        ("v1", "ConfigMap", "configmaps"),
        ("v1", "Secret", "secrets"),
        ("v1", "Service", "services"),
        ("v1", "ServiceAccount", "serviceaccounts"),
        ("apps/v1", "Deployment", "deployments"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"),
        ("rbac.authorization.k8s.io/v1", "Role", "roles"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    ];
    let (version, _, plural) = KINDS.iter().find(|(v, k, _)| object["apiVersion"] == *v && object["kind"] == *k)?;
    let root = if version.contains('/') { "apis" } else { "api" };
    let name = object.pointer("/metadata/name")?.as_str()?;
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .map(|n| format!("/namespaces/{n}"))
        .unwrap_or_default();
    Some(format!("/{root}/{version}{namespace}/{plural}/{name}"))
}

/// The label of all that is ours.
pub const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "skerry");

fn joining(s: &Settings, facts: &Facts, address: Ipv4Addr, names: &[String], tokens: &Tokens, ca_pem: &str) -> Vec<Value> {
    let server = format!("https://{address}:6443");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": { "certificate-authority-data": base64::encode(ca_pem.as_bytes()), "server": server } }],
        "contexts": null,
        "current-context": "",
        "users": null,
    });
    let cluster = files::pretty(&files::cluster(s, facts, &address.to_string(), names));
    let mut items = vec![bootstrap(
        &tokens.server,
        "derived from the cluster's token",
        &format!("{JOINING},{SERVERS}"),
    )];
    items.extend(
        tokens
            .agent
            .iter()
            .filter(|t| t.id != tokens.server.id)
            .map(|t| bootstrap(t, "derived from the workers' token", JOINING)),
    );
    items.extend([
        config_map("kube-public", "cluster-info", &json!({ "kubeconfig": files::pretty(&kubeconfig) })),
        role("kube-public", "kubeadm:bootstrap-signer-clusterinfo", "cluster-info"),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
            "metadata": { "name": "kubeadm:bootstrap-signer-clusterinfo", "namespace": "kube-public" },
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": "kubeadm:bootstrap-signer-clusterinfo" },
            "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": "system:anonymous" }],
        }),
        cluster_binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", JOINING),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": { "name": "kubeadm:get-nodes" },
            "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
        }),
        cluster_binding("kubeadm:get-nodes", "kubeadm:get-nodes", JOINING),
        config_map("kube-system", "kubeadm-config", &json!({ "ClusterConfiguration": cluster })),
        role("kube-system", "kubeadm:nodes-kubeadm-config", "kubeadm-config"),
        binding("kube-system", "kubeadm:nodes-kubeadm-config", &[JOINING, NODES]),
        config_map("kube-system", "kubelet-config", &json!({ "kubelet": files::kubelet_text(s) })),
        role("kube-system", "kubeadm:kubelet-config", "kubelet-config"),
        binding("kube-system", "kubeadm:kubelet-config", &[JOINING, NODES]),
    ]);
    items
}

/// The secret that holds the sealed authorities, and its one key.
pub const BUNDLE: (&str, &str) = ("skerry-servers", "bundle");

/// What a further server needs, and nobody else may read.
fn servers(bundle: &[u8]) -> [Value; 3] {
    let rule = json!({ "apiGroups": [""], "resources": ["secrets"], "resourceNames": [BUNDLE.0], "verbs": ["get"] });
    [
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": BUNDLE.0, "namespace": "kube-system" },
            "data": { BUNDLE.1: base64::encode(bundle) },
        }),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "Role",
            "metadata": { "name": "skerry:servers", "namespace": "kube-system" },
            "rules": [rule],
        }),
        binding("kube-system", "skerry:servers", &[SERVERS]),
    ]
}

fn bootstrap(token: &BootstrapToken, description: &str, groups: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{}", token.id), "namespace": "kube-system" },
        "stringData": {
            "token-id": token.id, "token-secret": token.secret, "description": description,
            "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true", "auth-extra-groups": groups,
        },
    })
}

pub(super) fn config_map(namespace: &str, name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": namespace }, "data": data })
}

/// A role that may read one config map.
pub(super) fn role(namespace: &str, name: &str, map: &str) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "Role",
        "metadata": { "name": name, "namespace": namespace },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [map], "verbs": ["get"] }],
    })
}

pub(super) fn binding(namespace: &str, name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<_> = groups
        .iter()
        .map(|g| json!({ "apiGroup": RBAC, "kind": "Group", "name": g }))
        .collect();
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
        "metadata": { "name": name, "namespace": namespace },
        "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
        "subjects": subjects,
    })
}

/// The API server's own rights at kubelets (logs, exec): without them `kubectl logs` is refused.
fn kubelet_client() -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
        "metadata": { "name": "skerry:kubelet-client" },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "system:kubelet-api-admin" },
        "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": "kube-apiserver-kubelet-client" }],
    })
}

pub(super) fn cluster_binding(name: &str, role: &str, group: &str) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": RBAC, "kind": "Group", "name": group }],
    })
}
