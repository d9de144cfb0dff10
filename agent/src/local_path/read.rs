//! What claims, classes, volumes, helpers and nodes say.

use super::plan::{Claim, Class, Helper, Name, Volume};
use kube::core::DynamicObject;
use serde_json::Value;
use skerry_distribution::kubernetes::add_ons::PROVISIONER;

/// On a claim: the node that the scheduler chose.
const CHOSEN: &str = "volume.kubernetes.io/selected-node";
/// On a volume: who made it.
pub const MAKER: &str = "pv.kubernetes.io/provisioned-by";
/// On a node.
pub const HOST_NAME: &str = "kubernetes.io/hostname";

/// Namespace and name.
pub fn name(object: &DynamicObject) -> Name {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn text<'a>(object: &'a DynamicObject, path: &str) -> &'a str {
    object.data.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn annotation(object: &DynamicObject, key: &str) -> Option<String> {
    object.metadata.annotations.as_ref()?.get(key).cloned()
}

/// A claim.
pub fn claim(object: &DynamicObject) -> Claim {
    let modes = object.data.pointer("/spec/accessModes").and_then(Value::as_array);
    Claim {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        class: text(object, "/spec/storageClassName").to_owned(),
        node: annotation(object, CHOSEN).filter(|n| !n.is_empty()),
        size: text(object, "/spec/resources/requests/storage").to_owned(),
        modes: modes.into_iter().flatten().filter_map(|m| m.as_str().map(str::to_owned)).collect(),
        block: text(object, "/spec/volumeMode") == "Block",
        bound: !text(object, "/spec/volumeName").is_empty(),
        deleted: object.metadata.deletion_timestamp.is_some(),
    }
}

/// A class, if it is ours.
pub fn class(object: &DynamicObject) -> Option<Class> {
    (text(object, "/provisioner") == PROVISIONER).then(|| Class {
        reclaim: text(object, "/reclaimPolicy").to_owned(),
        immediate: text(object, "/volumeBindingMode") == "Immediate",
    })
}

/// A volume, if it is ours.
pub fn volume(object: &DynamicObject) -> Option<Volume> {
    (annotation(object, MAKER).as_deref() == Some(PROVISIONER)).then(|| Volume {
        path: text(object, "/spec/hostPath/path").to_owned(),
        host: text(
            object,
            "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0",
        )
        .to_owned(),
        to_go: text(object, "/spec/persistentVolumeReclaimPolicy") == "Delete" && text(object, "/status/phase") == "Released",
        deleted: object.metadata.deletion_timestamp.is_some(),
    })
}

/// A helper.
pub fn helper(object: &DynamicObject) -> Helper {
    match text(object, "/status/phase") {
        "Succeeded" => Helper::Done,
        "Failed" => Helper::Failed,
        _ => Helper::Busy,
    }
}

/// A node's host name, by which volumes are bound to it.
pub fn host_name(object: &DynamicObject) -> String {
    let label = object.metadata.labels.as_ref().and_then(|l| l.get(HOST_NAME)).cloned();
    label.unwrap_or_else(|| name(object).1)
}
