//! Which key a node's name belongs to: a Secret of `kube-system`, because only few may write those.

use anyhow::Result;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use std::collections::BTreeMap;

/// A record's name is the node's with this.
pub const SUFFIX: &str = ".node-identity.skerry.io";
/// The type of such a Secret, and the label by which they are found.
const TYPE: &str = "skerry.io/node-identity";
const KEY: &str = "spki-sha256";
/// Set once the Node was seen. A record without it belongs to a node that was approved and has not registered yet.
const REGISTERED: &str = "skerry.io/registered";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The node's name.
    pub node: String,
    /// Its key: [`crate::x509::fingerprint`].
    pub key: String,
    /// Whether the Node was seen.
    pub is_registered: bool,
    /// Of the object.
    pub uid: Option<String>,
}

/// The records of a cluster.
#[derive(Clone)]
pub struct Records(Api<Secret>);

impl Records {
    /// Those that `client` may see.
    pub fn of(client: kube::Client) -> Self {
        Self(Api::namespaced(client, "kube-system"))
    }

    /// The record of one name.
    pub async fn get(&self, node: &str) -> kube::Result<Option<Record>> {
        Ok(self.0.get_opt(&format!("{node}{SUFFIX}")).await?.as_ref().and_then(read))
    }

    /// All.
    pub async fn all(&self) -> kube::Result<Vec<Record>> {
        let list = self.0.list(&ListParams::default().fields(&format!("type={TYPE}"))).await?;
        Ok(list.items.iter().filter_map(read).collect())
    }

    /// Records a key for a free name. False if the name is not free: of two who ask at the same moment, one gets it.
    pub async fn claim(&self, node: &str, key: &str) -> kube::Result<bool> {
        match self.0.create(&PostParams::default(), &object(node, key)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(said)) if said.code == 409 => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Notes that the Node was seen.
    pub async fn register(&self, node: &str) -> kube::Result<()> {
        let patch = serde_json::json!({ "metadata": { "annotations": { REGISTERED: "true" } } });
        let name = format!("{node}{SUFFIX}");
        self.0.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    /// Frees a name; that record only, not one that was made meanwhile.
    pub async fn remove(&self, record: &Record) -> Result<()> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: record.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.0.delete(&format!("{}{SUFFIX}", record.node), &parameters).await {
            Err(kube::Error::Api(said)) if matches!(said.code, 404 | 409) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

fn object(node: &str, key: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(format!("{node}{SUFFIX}")),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "skerry".to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key.as_bytes().to_vec()))])),
        ..Secret::default()
    }
}

fn read(object: &Secret) -> Option<Record> {
    let node = object.metadata.name.as_deref()?.strip_suffix(SUFFIX)?.to_owned();
    // One that cannot be read fits no key: the name is not free.
    let key = object
        .data
        .as_ref()
        .and_then(|d| d.get(KEY))
        .map(|k| String::from_utf8_lossy(&k.0).into_owned());
    let annotations = object.metadata.annotations.as_ref();
    Some(Record {
        node,
        key: key.unwrap_or_default(),
        is_registered: annotations.is_some_and(|a| a.contains_key(REGISTERED)),
        uid: object.metadata.uid.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Older releases wrote these: the form stays as it is.
    #[test]
    fn golden() {
        let written = serde_json::to_value(object("w1", "00ff")).unwrap();
        assert_eq!(
            written,
            serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "type": "skerry.io/node-identity",
                "metadata": { "name": "w1.node-identity.skerry.io", "labels": { "app.kubernetes.io/managed-by": "skerry" } },
                "data": { "spki-sha256": "MDBmZg==" },
            })
        );
        let mut read_back: Secret = serde_json::from_value(written).unwrap();
        let record = read(&read_back).unwrap();
        assert_eq!(
            (record.node.as_str(), record.key.as_str(), record.is_registered),
            ("w1", "00ff", false)
        );
        read_back.metadata.annotations = Some(BTreeMap::from([(REGISTERED.to_owned(), "true".to_owned())]));
        assert!(read(&read_back).unwrap().is_registered);
        read_back.data = None;
        assert_eq!(read(&read_back).unwrap().key, "");
        read_back.metadata.name = Some("other".into());
        assert_eq!(read(&read_back), None);
    }
}
