//! Add-ons that k3s's users are used to: local-path storage, metrics-server, Helm charts. Their objects; the agent keeps them applied.
//!
//! None of them is a pod. Storage and charts are the servers' agent's business; metrics-server is one more name of the program that
//! is Kubernetes here, so that its text is in memory already. Each API server asks the one on its own machine: the Service is a
//! name for `127.0.0.1`, and needs no pod network.

use super::files::pretty;
use super::manifests::RBAC;
use super::paths::{ADD_ONS, LOCAL_API, METRICS_CRT, METRICS_KEY, PKI};
use super::settings::Settings;
use super::{base64, manifests};
use crate::{File, Problem};
use serde_json::{Value, json};

/// Who makes volumes of the class, in the words of k3s: claims and volumes of a k3s cluster mean the same here.
pub const PROVISIONER: &str = "rancher.io/local-path";
/// The class.
pub const CLASS: &str = "local-path";
/// The common name of metrics-server's certificate.
pub const METRICS_USER: &str = "skerry:metrics-server";
/// What the API server calls it.
pub const METRICS_NAME: &str = "metrics-server.kube-system.svc";
/// Where it listens, on the loopback interface.
pub const METRICS_PORT: u16 = 10_265;

/// What does not come with the system, where nobody said that it is not wanted.
pub fn without(s: &Settings) -> Vec<Problem> {
    const KEY: &str = "skerry.distribution";
    let ingress = Problem::note(
        KEY,
        "no ingress controller comes with the system: Ingress objects have no effect",
        "install one, for instance by a HelmChart with repo https://traefik.github.io/charts and chart traefik; --disable=traefik if none is wanted",
    );
    let policies = Problem::note(
        KEY,
        "NetworkPolicy objects are not enforced by the pod network",
        "where they are needed say --flannel-backend=none and install a CNI that enforces them (Calico, Cilium); --disable-network-policy if not",
    );
    [(s.no_ingress, ingress), (s.no_policies || !s.network, policies)]
        .into_iter()
        .filter_map(|(known, note)| (s.role.is_server() && !known).then_some(note))
        .collect()
}

/// The manifests, named as k3s names its own: an empty `NAME.skip` in the owner's folder leaves one out there as well as here.
pub fn files(s: &Settings, ca_pem: &str) -> Vec<File> {
    let storage = s.local_storage.as_ref().map(|_| ("local-storage.yaml", vec![class()]));
    let metrics = s.metrics_server.then(|| ("metrics-server.yaml", metrics(ca_pem)));
    let file = |(name, objects): (&str, Vec<Value>)| {
        let text: Vec<String> = objects.into_iter().map(|o| pretty(&ours(o))).collect();
        File::new(format!("{ADD_ONS}/{name}"), 0o644, text.join("---\n"))
    };
    [storage, metrics].into_iter().flatten().map(file).collect()
}

fn ours(mut object: Value) -> Value {
    if let Some(labels) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        labels.entry("labels").or_insert_with(|| json!({}))[manifests::MANAGED.0] = json!(manifests::MANAGED.1);
    }
    object
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": { "name": CLASS, "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    })
}

fn metrics(ca_pem: &str) -> Vec<Value> {
    let user = json!([{ "apiGroup": RBAC, "kind": "User", "name": METRICS_USER }]);
    let bound = |name: &str, role: &str| {
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
            "subjects": user,
        })
    };
    vec![
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": { "name": METRICS_USER },
            "rules": [
                { "apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] },
            ],
        }),
        bound(METRICS_USER, METRICS_USER),
        bound("skerry:metrics-server:auth-delegator", "system:auth-delegator"),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
            "metadata": { "name": "skerry:metrics-server:auth-reader", "namespace": "kube-system" },
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": "extension-apiserver-authentication-reader" },
            "subjects": user,
        }),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": {
                "name": "system:aggregated-metrics-reader",
                "labels": {
                    "rbac.authorization.k8s.io/aggregate-to-admin": "true",
                    "rbac.authorization.k8s.io/aggregate-to-edit": "true",
                    "rbac.authorization.k8s.io/aggregate-to-view": "true",
                },
            },
            "rules": [{ "apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] }],
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "metrics-server", "namespace": "kube-system" },
            // The API server takes the name for an address, which it is: its own machine's.
            "spec": { "type": "ExternalName", "externalName": "127.0.0.1" },
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": "v1beta1.metrics.k8s.io" },
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": { "name": "metrics-server", "namespace": "kube-system", "port": METRICS_PORT },
                "caBundle": base64::encode(ca_pem.as_bytes()),
            },
        }),
    ]
}

/// By files, which it reads again when they change.
pub fn metrics_kubeconfig() -> String {
    pretty(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "local",
        "clusters": [{ "name": "local", "cluster": { "server": LOCAL_API, "certificate-authority": format!("{PKI}/ca.crt") } }],
        "users": [{ "name": "metrics-server", "user": { "client-certificate": METRICS_CRT, "client-key": METRICS_KEY } }],
        "contexts": [{ "name": "local", "context": { "cluster": "local", "user": "metrics-server" } }],
    }))
}

/// k3s's kinds. Not by a file: with a file that goes away (an older release, after a rollback) all charts would be removed. Their fields are k3s's to define: what is written there is kept, and what has no meaning here is named in the status.
pub fn charts() -> Vec<Value> {
    let column = |name: &str, path: &str| json!({ "name": name, "type": "string", "jsonPath": path });
    let free = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let kind = |name: &str, plural: &str, columns: &[Value]| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.helm.cattle.io") },
            "spec": {
                "group": "helm.cattle.io", "scope": "Namespaced",
                "names": { "kind": name, "listKind": format!("{name}List"), "plural": plural, "singular": name.to_lowercase() },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": free, "status": free } } },
                    "subresources": { "status": {} },
                    "additionalPrinterColumns": columns,
                }],
            },
        })
    };
    let columns = [
        column("Repo", ".spec.repo"),
        column("Chart", ".spec.chart"),
        column("Version", ".spec.version"),
        column("TargetNamespace", ".spec.targetNamespace"),
        column("Deployed", ".status.conditions[?(@.type==\"Deployed\")].status"),
        column("Why", ".status.conditions[?(@.type==\"Deployed\")].message"),
    ];
    vec![
        kind("HelmChart", "helmcharts", &columns),
        kind("HelmChartConfig", "helmchartconfigs", &[]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use skerry_config::types::Config;

    fn settings(args: &str) -> (Settings, Vec<Problem>) {
        let mut config = Config::default();
        config.skerry.k3s_args = args.split_whitespace().map(str::to_owned).collect();
        super::super::settings(&config, &Facts::default())
    }

    #[test]
    fn each_is_left_out_by_its_name_in_k3s() {
        for (args, files_left, helm) in [
            ("server", "local-storage metrics-server", true),
            ("server --disable=local-storage", "metrics-server", true),
            ("server --disable local-storage,metrics-server", "", true),
            ("server --disable=metrics-server --disable-helm-controller", "local-storage", false),
            (
                "server --disable=local-storage --default-local-storage-path=/data",
                "metrics-server",
                true,
            ),
            ("server --disable=helm-controller", "local-storage metrics-server", false),
            (
                "server --disable=traefik,ccm,coredns,servicelb",
                "local-storage metrics-server",
                true,
            ),
        ] {
            let (s, problems) = settings(args);
            let names: Vec<String> = files(&s, "CA")
                .iter()
                .map(|f| f.path.replace(".yaml", "").rsplit('/').next().unwrap_or_default().to_owned())
                .collect();
            assert_eq!((names.join(" ").as_str(), s.helm, problems), (files_left, helm, vec![]), "{args}");
        }
        let (_, problems) = settings("server --disable=metrics");
        assert!(problems[0].what.contains("\"metrics\" is no add-on"), "{problems:?}");
        let (s, problems) = settings("server --default-local-storage-path=relative");
        assert_eq!(
            (s.local_storage.as_deref(), problems.len()),
            (Some(super::super::paths::STORAGE), 1)
        );
    }

    #[test]
    fn what_is_not_there_is_said_until_it_is_not_wanted() {
        for (args, notes) in [
            ("server", 2),
            ("server --disable=traefik", 1),
            ("server --disable-network-policy", 1),
            ("server --flannel-backend=none", 1),
            ("server --disable=traefik --disable-network-policy", 0),
            ("agent --server https://a --token=aaaaaaaaaaaaaaaaaaaa", 0),
        ] {
            assert_eq!(without(&settings(args).0).len(), notes, "{args}");
        }
    }
}
