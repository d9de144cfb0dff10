//! What Node, Service and `EndpointSlice` objects say.

use super::plan::{CLASS, ENABLE, EXCLUDE, Name, Node, POOL, Service};
use crate::pods::nodes;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Who writes status here.
pub const MANAGER: &str = "skerry-service-lb";

/// Namespace and name.
pub fn name(object: &DynamicObject) -> Name {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn label(object: &DynamicObject, key: &str) -> Option<String> {
    object.metadata.labels.as_ref()?.get(key).cloned()
}

/// A Node.
pub fn node(object: &DynamicObject) -> Node {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    let parts = json!({ "spec": object.data.get("spec"), "status": object.data.get("status") });
    Node {
        name: name(object).1,
        takes: ready && label(object, EXCLUDE).is_none() && object.metadata.deletion_timestamp.is_none(),
        address: nodes::read(&parts).address,
        address6: nodes::address6(&parts),
        enabled: label(object, ENABLE).as_deref() == Some("true"),
        pool: label(object, POOL),
    }
}

/// A Service.
pub fn service(object: &DynamicObject) -> Service {
    let text = |path: &str| object.data.pointer(path).and_then(Value::as_str);
    let list = |path: &str| object.data.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let port = |p: &Value| {
        let number = u16::try_from(p["port"].as_u64()?).ok()?;
        Some((p["protocol"].as_str().unwrap_or("TCP").to_owned(), number))
    };
    let class = text("/spec/loadBalancerClass");
    let families = list("/spec/ipFamilies");
    let managers = object.metadata.managed_fields.iter().flatten();
    Service {
        ours: text("/spec/type") == Some("LoadBalancer")
            && class.is_none_or(|c| c == CLASS)
            && object.metadata.deletion_timestamp.is_none(),
        written: managers.filter_map(|m| m.manager.as_deref()).any(|m| m == MANAGER),
        made: object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|t| t.0.to_rfc3339())
            .unwrap_or_default(),
        ports: list("/spec/ports").iter().filter_map(port).collect(),
        four: families.is_empty() || families.iter().any(|f| f == "IPv4"),
        six: families.iter().any(|f| f == "IPv6"),
        local: text("/spec/externalTrafficPolicy") == Some("Local"),
        pool: label(object, POOL),
        now: list("/status/loadBalancer/ingress")
            .iter()
            .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()).map(str::to_owned))
            .collect(),
    }
}

/// An `EndpointSlice`: its Service, and the nodes on which it has a ready pod.
pub fn slice(object: &DynamicObject) -> (String, BTreeSet<String>) {
    let ends = object.data.get("endpoints").and_then(Value::as_array);
    let ready = ends
        .into_iter()
        .flatten()
        .filter(|e| e.pointer("/conditions/ready") == Some(&Value::Bool(true)));
    let nodes = ready.filter_map(|e| e["nodeName"].as_str().map(str::to_owned)).collect();
    (label(object, "kubernetes.io/service-name").unwrap_or_default(), nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_service() {
        let read = service(&object(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "web", "namespace": "a", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": { POOL: "p" },
                "managedFields": [{ "manager": MANAGER, "operation": "Apply", "subresource": "status" }] },
            "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilies": ["IPv6", "IPv4"], "ports": [{ "port": 80 }, { "port": 53, "protocol": "UDP" }, { "port": 70000 }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }, { "hostname": "h" }] } },
        })));
        let wanted = Service {
            ours: true,
            written: true,
            made: "2026-01-02T03:04:05+00:00".into(),
            ports: vec![("TCP".into(), 80), ("UDP".into(), 53)],
            four: true,
            six: true,
            local: true,
            pool: Some("p".into()),
            now: vec!["10.0.0.1".into(), "h".into()],
        };
        assert_eq!(read, wanted);
        for spec in [
            json!({ "type": "ClusterIP" }),
            json!({ "type": "LoadBalancer", "loadBalancerClass": "metallb" }),
            json!({}),
        ] {
            assert!(!service(&object(json!({ "metadata": {}, "spec": spec }))).ours);
        }
        let class = json!({ "metadata": {}, "spec": { "type": "LoadBalancer", "loadBalancerClass": CLASS } });
        assert!(service(&object(class)).ours);
    }

    #[test]
    fn nodes_and_slices() {
        let of = |labels: Value, ready: &str| {
            node(&object(json!({
                "metadata": { "name": "n1", "labels": labels },
                "status": { "conditions": [{ "type": "Ready", "status": ready }], "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] },
            })))
        };
        let plain = of(json!({}), "True");
        assert!(plain.takes && !plain.enabled && plain.address.is_some());
        assert!(!of(json!({}), "Unknown").takes && !of(json!({ EXCLUDE: "" }), "True").takes);
        assert!(of(json!({ ENABLE: "true" }), "True").enabled && !of(json!({ ENABLE: "false" }), "True").enabled);
        let read = slice(&object(json!({
            "metadata": { "name": "web-x", "namespace": "a", "labels": { "kubernetes.io/service-name": "web" } },
            "endpoints": [
                { "conditions": { "ready": true }, "nodeName": "n1" }, { "conditions": { "ready": false }, "nodeName": "n2" },
                { "conditions": {}, "nodeName": "n3" }, { "conditions": { "ready": true } },
            ],
        })));
        assert_eq!(read, ("web".to_owned(), BTreeSet::from(["n1".to_owned()])));
    }
}
