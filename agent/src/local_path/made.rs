//! The objects that are made: helpers and volumes.

use super::plan::{Claim, Class, Name, folder, volume_name};
use super::read::{HOST_NAME, MAKER};
use serde_json::{Value, json};
use skerry_distribution::kubernetes::add_ons::PROVISIONER;
use skerry_distribution::kubernetes::paths::PAUSE_IMAGE;

/// On helpers.
pub const LABEL: &str = "skerry.io/helper=local-path";

/// A pod on `node` that does one thing to one folder below `base`.
pub fn helper(name: &str, node: &str, verb: &str, base: &str, folder: &str) -> Value {
    let (key, value) = LABEL.split_once('=').unwrap_or((LABEL, ""));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": super::NAMESPACE, "labels": { key: value } },
        "spec": {
            "nodeName": node,
            "tolerations": [{ "operator": "Exists" }],
            "priorityClassName": "system-node-critical",
            // kubelet tries again, later each time.
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "helper",
                // It is on every node, and nowhere else.
                "image": PAUSE_IMAGE, "imagePullPolicy": "Never",
                "args": [verb, format!("/volumes/{folder}")],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    // What pods have written is theirs.
                    "capabilities": { "drop": ["ALL"], "add": ["DAC_OVERRIDE", "FOWNER"] },
                },
                "volumeMounts": [{ "name": "volumes", "mountPath": "/volumes" }],
            }],
            "volumes": [{ "name": "volumes", "hostPath": { "path": base, "type": "DirectoryOrCreate" } }],
        },
    })
}

/// The volume of a folder that was made.
pub fn volume(name: &Name, claim: &Claim, class: &Class, node: &str, host: &str, base: &str) -> Value {
    let modes = if claim.modes.is_empty() {
        vec!["ReadWriteOnce".to_owned()]
    } else {
        claim.modes.clone()
    };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(&claim.uid),
            "annotations": { MAKER: PROVISIONER, "local.path.provisioner/selected-node": node },
        },
        "spec": {
            "accessModes": modes,
            "capacity": { "storage": claim.size },
            "claimRef": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": name.0, "name": name.1, "uid": claim.uid },
            "hostPath": { "path": format!("{base}/{}", folder(name, claim)), "type": "DirectoryOrCreate" },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": HOST_NAME, "operator": "In", "values": [host] }] },
            ] } },
            "persistentVolumeReclaimPolicy": if class.reclaim == "Retain" { "Retain" } else { "Delete" },
            "storageClassName": claim.class,
            "volumeMode": "Filesystem",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_path::read;

    #[test]
    fn what_is_made_is_read_as_ours() {
        let claim = Claim {
            uid: "u1".into(),
            class: "local-path".into(),
            size: "1Gi".into(),
            ..Claim::default()
        };
        let name = ("a".to_owned(), "b".to_owned());
        let made = volume(&name, &claim, &Class::default(), "n1", "h1", "/s");
        let read = read::volume(&serde_json::from_value(made).unwrap()).unwrap();
        assert_eq!((read.path.as_str(), read.host.as_str(), read.to_go), ("/s/pvc-u1_a_b", "h1", false));
        let pod = helper("x", "n1", "make", "/s", "pvc-u1_a_b");
        assert_eq!(
            pod.pointer("/spec/containers/0/args"),
            Some(&json!(["make", "/volumes/pvc-u1_a_b"]))
        );
    }

    #[test]
    fn a_claim() {
        let object = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "data", "namespace": "a", "uid": "u", "annotations": { "volume.kubernetes.io/selected-node": "n1" } },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "resources": { "requests": { "storage": "1Gi" } } },
        }))
        .unwrap();
        let wanted = Claim {
            uid: "u".into(),
            class: "local-path".into(),
            node: Some("n1".into()),
            size: "1Gi".into(),
            modes: vec!["ReadWriteOnce".into()],
            ..Claim::default()
        };
        assert_eq!(read::claim(&object), wanted);
    }
}
