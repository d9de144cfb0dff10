//! Asking the API: applying, removing, remembering what is ours, telling of problems.

use super::objects::{Id, Object};
use super::plan::Owned;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Fields are owned by this name; ours win over what somebody changed by hand.
const MANAGER: &str = "skerry";
/// On every object of a file: the file's path. What does not carry it is not ours to remove.
pub const ANNOTATION: &str = "skerry.io/manifest";
/// Where the agents of all servers remember what they made: one key each.
const INVENTORY: (&str, &str) = ("kube-system", "skerry-manifests");
const PATIENCE: Duration = Duration::from_secs(60);

/// The API, and what it is known to have.
pub struct Cluster {
    client: Client,
    kinds: HashMap<(String, String), (ApiResource, bool)>,
    recorder: Recorder,
    node: String,
}

/// One server's part of the inventory.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Inventory {
    objects: BTreeSet<Owned>,
}

impl Cluster {
    /// By `client`, on the server `node`.
    pub fn new(client: Client, node: &str) -> Self {
        let reporter = Reporter {
            controller: "skerry-agent".to_owned(),
            instance: Some(node.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            kinds: HashMap::new(),
            node: node.to_owned(),
        }
    }

    /// Makes the object what the file says.
    pub async fn apply(&mut self, file: &str, object: &Object) -> Result<()> {
        let api = self.api(&object.id).await?;
        let body = prepared(&object.body, file);
        let how = PatchParams::apply(MANAGER).force();
        match patient(api.patch(&object.id.name, &how, &Patch::Apply(&body))).await {
            Ok(_) => Ok(()),
            Err(why) => {
                // Perhaps its kind was removed, or moved.
                if is_not_found(&why) {
                    self.kinds.remove(&(object.id.api_version.clone(), object.id.kind.clone()));
                }
                Err(plain(why))
            }
        }
    }

    /// Removes an object, if it is still the one that was made for that file. Whether it was.
    pub async fn remove(&mut self, owned: &Owned) -> Result<bool> {
        let api = match self.api(&owned.id).await {
            Ok(api) => api,
            // With its kind, all objects of it were removed.
            Err(why) if why.downcast_ref::<NoSuchKind>().is_some() => return Ok(false),
            Err(why) => return Err(why),
        };
        let Some(is) = patient(api.get_opt(&owned.id.name)).await.map_err(plain)? else {
            return Ok(false);
        };
        let mark = is.metadata.annotations.as_ref().and_then(|a| a.get(ANNOTATION));
        if mark != Some(&owned.file) {
            return Ok(false);
        }
        let how = DeleteParams::background().preconditions(Preconditions {
            uid: is.metadata.uid.clone(),
            resource_version: None,
        });
        match patient(api.delete(&owned.id.name, &how)).await {
            Ok(_) => Ok(true),
            Err(why) if is_not_found(&why) => Ok(false),
            Err(why) => Err(plain(why)),
        }
    }

    async fn api(&mut self, id: &Id) -> Result<Api<DynamicObject>> {
        let key = (id.api_version.clone(), id.kind.clone());
        let (resource, namespaced) = if let Some(known) = self.kinds.get(&key) {
            known.clone()
        } else {
            let (group, version) = id.api_version.split_once('/').unwrap_or(("", &id.api_version));
            let asked = GroupVersionKind::gvk(group, version, &id.kind);
            let (resource, can) = match patient(pinned_kind(&self.client, &asked)).await {
                Ok(found) => found,
                Err(Asked::Api(why)) if is_no_kind(&why) => bail!(NoSuchKind(id.clone())),
                Err(why) => return Err(plain(why)),
            };
            let found = (resource, can.scope == Scope::Namespaced);
            self.kinds.insert(key, found.clone());
            found
        };
        let namespace = if id.namespace.is_empty() { "default" } else { &id.namespace };
        Ok(if namespaced {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        })
    }

    fn maps(&self) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "ConfigMap"), "configmaps");
        Api::namespaced_with(self.client.clone(), INVENTORY.0, &kind)
    }

    /// What this server made, and what the others did.
    pub async fn inventory(&self) -> Result<(BTreeSet<Owned>, BTreeSet<Owned>)> {
        let map = patient(self.maps().get_opt(INVENTORY.1)).await.map_err(plain)?;
        let data = map
            .and_then(|m| m.data.get("data").and_then(Value::as_object).cloned())
            .unwrap_or_default();
        let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
        for (node, text) in data {
            let text = text.as_str().unwrap_or_default();
            let part: Inventory =
                serde_json::from_str(text).with_context(|| format!("reading key {node} of ConfigMap {}/{}", INVENTORY.0, INVENTORY.1))?;
            if node == self.node {
                ours = part.objects;
            } else {
                others.extend(part.objects);
            }
        }
        Ok((ours, others))
    }

    /// Remembers what is ours. Each server owns its key.
    pub async fn record(&self, objects: &BTreeSet<Owned>) -> Result<()> {
        let text = serde_json::to_string(&Inventory { objects: objects.clone() })?;
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": INVENTORY.1, "labels": { "app.kubernetes.io/managed-by": MANAGER } },
            "data": { self.node.clone(): text },
        });
        let how = PatchParams::apply(&format!("{MANAGER}-manifests-{}", self.node)).force();
        patient(self.maps().patch(INVENTORY.1, &how, &Patch::Apply(&body)))
            .await
            .map_err(plain)
            .with_context(|| format!("writing ConfigMap {}/{}", INVENTORY.0, INVENTORY.1))?;
        Ok(())
    }

    /// An Event on this node: `kubectl describe node` shows it.
    pub async fn tell(&self, file: &str, why: &str) {
        const NOTE: usize = 1000;
        let note: String = format!("{file}: {why}").chars().take(NOTE).collect();
        let event = Event {
            type_: EventType::Warning,
            reason: "ManifestNotApplied".to_owned(),
            note: Some(note),
            action: "Applying".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            kind: Some("Node".to_owned()),
            api_version: Some("v1".to_owned()),
            name: Some(self.node.clone()),
            // As kubelet's own: by it kubectl finds them.
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        };
        let told = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &regarding)).await;
        if let Ok(Err(why)) = told {
            tracing::debug!(%why, "writing an Event");
        }
    }
}

/// The cluster has no such kind (yet).
#[derive(Debug, thiserror::Error)]
#[error("the cluster has no kind {} in {} (yet); it comes with a CustomResourceDefinition", .0.kind, .0.api_version)]
pub struct NoSuchKind(Id);

enum Asked {
    Api(Error),
    Late,
}

async fn patient<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Asked> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(done) => done.map_err(Asked::Api),
        Err(_) => Err(Asked::Late),
    }
}

fn is_not_found(why: &Asked) -> bool {
    matches!(why, Asked::Api(Error::Api(status)) if status.code == 404)
}

fn is_no_kind(why: &Error) -> bool {
    matches!(why, Error::Api(status) if status.code == 404) || matches!(why, Error::Discovery(_))
}

/// What the server said, without what surrounds it.
fn plain(why: Asked) -> anyhow::Error {
    match why {
        Asked::Api(Error::Api(status)) if !status.message.is_empty() => anyhow::anyhow!("{}", status.message),
        Asked::Api(why) => anyhow::Error::new(why).context("asking the API server"),
        Asked::Late => anyhow::anyhow!("asking the API server: no answer after {} s", PATIENCE.as_secs()),
    }
}

/// With our mark, and without what only a server may say (a file that somebody made with `kubectl get -o yaml`).
fn prepared(body: &Value, file: &str) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for servers in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "selfLink",
        ] {
            metadata.remove(servers);
        }
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION.to_owned(), json!(file));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_and_without_what_is_the_servers() {
        let body = json!({"metadata": {"name": "a", "uid": "1", "managedFields": [], "annotations": null}});
        let wanted = json!({"metadata": {"name": "a", "annotations": {"skerry.io/manifest": "/m/a.yaml"}}});
        assert_eq!(prepared(&body, "/m/a.yaml"), wanted);
        let body = json!({"metadata": {"name": "a", "annotations": {"x": "y"}}});
        assert_eq!(
            prepared(&body, "/m")["metadata"]["annotations"],
            json!({"x": "y", "skerry.io/manifest": "/m"})
        );
    }

    #[test]
    fn the_inventory_is_read_by_older_and_newer_agents() {
        let text = r#"{"objects":[{"file":"/m/a.yaml","api_version":"apps/v1","kind":"Deployment","namespace":"","name":"d","later":1}],"later":{}}"#;
        let part: Inventory = serde_json::from_str(text).unwrap();
        let owned = part.objects.first().unwrap();
        assert_eq!((owned.file.as_str(), owned.id.to_string().as_str()), ("/m/a.yaml", "Deployment d"));
        let again: Inventory = serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap();
        assert_eq!(again.objects, part.objects);
    }
}
