//! The cluster's DNS: one replica, from the image that comes with the system.

use super::settings::Settings;
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";
const LABEL: (&str, &str) = ("k8s-app", "kube-dns");

/// Its account, rights, configuration, deployment and service.
pub fn objects(s: &Settings, image: &str) -> Vec<Value> {
    let labels = json!({ LABEL.0: LABEL.1 });
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "coredns", "namespace": "kube-system" } }),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": { "name": "system:coredns" },
            "rules": [
                { "apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"] },
                { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
            ],
        }),
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": "system:coredns" },
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "system:coredns" },
            "subjects": [{ "kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system" }],
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "coredns", "namespace": "kube-system" },
            "data": { "Corefile": corefile(s) },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "coredns", "namespace": "kube-system", "labels": labels },
            "spec": {
                "replicas": 1,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod(s, image) },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kube-dns", "namespace": "kube-system",
                "labels": { LABEL.0: LABEL.1, "kubernetes.io/name": "CoreDNS" },
            },
            "spec": {
                "clusterIP": s.dns,
                "selector": labels,
                "ports": [
                    { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                    { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
                    { "name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153 },
                ],
            },
        }),
    ]
}

fn corefile(s: &Settings) -> String {
    format!(
        ".:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}}
",
        domain = s.domain
    )
}

fn pod(s: &Settings, image: &str) -> Value {
    // It must run on a node that the owner tainted: there is no other.
    let mut tolerations = vec![
        json!({ "key": "CriticalAddonsOnly", "operator": "Exists" }),
        json!({ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" }),
    ];
    tolerations.extend(
        s.taints
            .iter()
            .map(|t| json!({ "key": t.key, "operator": "Exists", "effect": t.effect })),
    );
    let probe = |path: &str, port: u16| json!({ "httpGet": { "path": path, "port": port, "scheme": "HTTP" } });
    let with = |mut probe: Value, more: Value| {
        if let (Some(p), Value::Object(more)) = (probe.as_object_mut(), more) {
            p.extend(more);
        }
        probe
    };
    json!({
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": tolerations,
        // The node's name servers, not itself.
        "dnsPolicy": "Default",
        "containers": [{
            "name": "coredns",
            "image": image,
            // It is in the system's image, and nowhere else.
            "imagePullPolicy": "Never",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "ports": [
                { "name": "dns", "containerPort": 53, "protocol": "UDP" },
                { "name": "dns-tcp", "containerPort": 53, "protocol": "TCP" },
                { "name": "metrics", "containerPort": 9153, "protocol": "TCP" },
            ],
            "resources": { "requests": { "cpu": "100m", "memory": "70Mi" }, "limits": { "memory": "170Mi" } },
            "readinessProbe": with(probe("/ready", 8181), json!({ "periodSeconds": 2 })),
            "livenessProbe": with(probe("/health", 8080), json!({ "initialDelaySeconds": 60, "timeoutSeconds": 5, "failureThreshold": 5 })),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
            },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/coredns", "readOnly": true }],
        }],
        "volumes": [{ "name": "config", "configMap": { "name": "coredns", "items": [{ "key": "Corefile", "path": "Corefile" }] } }],
    })
}
