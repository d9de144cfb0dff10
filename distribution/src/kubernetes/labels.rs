//! What of the Node object is to be changed: labels and taints of the configuration, at each boot.
//!
//! kubelet gives a node its labels and taints only when it registers, and may not give it Kubernetes' own. What we set is noted in
//! an annotation, so that what is removed from the configuration is removed from the node, and what others set stays.

use super::settings::Settings;
use serde_json::{Map, Value, json};

/// The annotation that remembers.
pub const APPLIED: &str = "skerry.io/applied";
/// The role that `kubectl get nodes` shows, with k3s's value.
const ROLE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "true");

/// Whether this boot's kubelet has said that the node is Ready. What is left of an earlier boot does not count.
pub fn is_ready(node: &Value, boot_id: &str) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && node.pointer("/status/nodeInfo/bootID").and_then(Value::as_str) == Some(boot_id)
}

/// Why the node is not Ready, in kubelet's words.
pub fn why_not(node: &Value) -> String {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|c| c["type"] == "Ready");
    ready
        .and_then(|c| c["message"].as_str())
        .unwrap_or("its kubelet has not said anything yet")
        .to_owned()
}

/// A merge patch that makes the node as configured; none if it is so. Refused by the API server if the node changed meanwhile.
///
/// A worker patches itself, and may set neither taints nor Kubernetes' own labels (admission plugin NodeRestriction): it keeps those
/// that kubelet registered it with.
pub fn patch(node: &Value, settings: &Settings) -> Option<Value> {
    let mut wanted = settings.labels.clone();
    let server = settings.role.is_server();
    wanted.retain(|key, _| server || super::node::kubelet_may_set(key));
    if server {
        wanted.entry(ROLE.0.to_owned()).or_insert_with(|| ROLE.1.to_owned());
    }
    let current = node.pointer("/metadata/labels").and_then(Value::as_object);
    let before: Value = node
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(APPLIED))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);

    let mut labels = Map::new();
    for (key, value) in &wanted {
        if current.and_then(|c| c.get(key)).and_then(Value::as_str) != Some(value) {
            labels.insert(key.clone(), json!(value));
        }
    }
    for key in before["labels"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !wanted.contains_key(key) && current.is_some_and(|c| c.contains_key(key)) {
            labels.insert(key.to_owned(), Value::Null);
        }
    }

    let there: Vec<Value> = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    let ours: Vec<Value> = settings.taints.iter().filter(|_| server).map(|t| json!(t)).collect();
    let same = |a: &Value, b: &Value| a["key"] == b["key"] && a["effect"] == b["effect"];
    let earlier: Vec<Value> = before["taints"].as_array().cloned().unwrap_or_default();
    let mut taints: Vec<Value> = there
        .iter()
        .filter(|t| !earlier.iter().chain(&ours).any(|o| same(o, t)))
        .cloned()
        .collect();
    // A taint that is there already keeps all that it has (the time it was added, for instance).
    taints.extend(
        ours.iter()
            .map(|o| there.iter().find(|t| same(o, t) && value_of(o) == value_of(t)).unwrap_or(o).clone()),
    );
    let taints_differ = taints.len() != there.len() || !taints.iter().all(|t| there.contains(t));

    let applied = json!({ "labels": wanted.keys().collect::<Vec<_>>(), "taints": ours });
    if labels.is_empty() && !taints_differ && applied == before {
        return None;
    }
    let mut patch = json!({ "metadata": {
        "resourceVersion": node.pointer("/metadata/resourceVersion"),
        "labels": labels,
        "annotations": { APPLIED: applied.to_string() },
    } });
    if taints_differ {
        patch["spec"] = json!({ "taints": taints });
    }
    Some(patch)
}

fn value_of(taint: &Value) -> &str {
    taint["value"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use skerry_config::types::Config;

    fn settings(labels: &[(&str, &str)], taints: &[&str]) -> Settings {
        let mut config = Config::default();
        config.skerry.labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        config.skerry.taints = taints.iter().map(|&t| t.to_owned()).collect();
        crate::kubernetes::settings::settings(
            &config,
            &Facts {
                mode: "disk".into(),
                ..Facts::default()
            },
        )
        .0
    }

    /// As the API server does (RFC 7386).
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            return patch.clone_into(target);
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(key);
            } else {
                merge(&mut target[key], value);
            }
        }
    }

    #[test]
    fn what_is_configured_is_set_and_what_is_removed_goes() {
        let other = json!({ "key": "other", "effect": "NoSchedule", "timeAdded": "x" });
        let mut node = json!({ "metadata": { "labels": { "theirs": "1" }, "resourceVersion": "5" }, "spec": { "taints": [other] } });
        let first = settings(&[("region", "a")], &["k=v:NoSchedule"]);
        let change = patch(&node, &first).unwrap();
        assert_eq!(change["metadata"]["resourceVersion"], "5");
        merge(&mut node, &change);
        assert_eq!(node["metadata"]["labels"]["region"], "a");
        assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"], "true");
        assert_eq!(
            node["spec"]["taints"],
            json!([other, { "key": "k", "value": "v", "effect": "NoSchedule" }])
        );
        assert_eq!(patch(&node, &first), None);

        let second = settings(&[], &["k=w:NoSchedule"]);
        let change = patch(&node, &second).unwrap();
        merge(&mut node, &change);
        assert_eq!(node["metadata"]["labels"].get("region"), None);
        assert_eq!(node["metadata"]["labels"]["theirs"], "1");
        assert_eq!(
            node["spec"]["taints"],
            json!([other, { "key": "k", "value": "w", "effect": "NoSchedule" }])
        );

        let third = settings(&[], &[]);
        let change = patch(&node, &third).unwrap();
        merge(&mut node, &change);
        assert_eq!(node["spec"]["taints"], json!([other]));
        assert_eq!(patch(&node, &third), None);
    }

    #[test]
    fn a_worker_sets_what_it_may() {
        let mut s = settings(&[("region", "a"), ("node-role.kubernetes.io/edge", "x")], &["k=v:NoSchedule"]);
        s.role = crate::kubernetes::role::Role::Worker(vec![]);
        let node = json!({ "metadata": { "resourceVersion": "5" }, "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
        let change = patch(&node, &s).unwrap();
        let labels: Vec<_> = change["metadata"]["labels"].as_object().unwrap().keys().collect();
        assert_eq!(labels, ["k3os.io/mode", "k3os.io/version", "region"]);
        assert_eq!(change.get("spec"), None);
    }

    #[test]
    fn ready_is_of_this_boot() {
        let node = |status: &str| json!({ "status": { "conditions": [{ "type": "Ready", "status": status, "message": "cni" }], "nodeInfo": { "bootID": "b" } } });
        assert!(is_ready(&node("True"), "b"));
        assert!(!is_ready(&node("True"), "c"));
        assert!(!is_ready(&node("False"), "b"));
        assert_eq!(why_not(&node("False")), "cni");
        assert!(!is_ready(&json!({}), ""));
    }
}
