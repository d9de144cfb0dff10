//! What `HelmChart` and `HelmChartConfig` objects say.

use kube::core::DynamicObject;
use serde_json::Value;

/// Namespace and name; the name is the release's.
pub type Name = (String, String);

/// A `HelmChart`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// All of its `spec`.
    pub spec: Value,
    /// It is about to go.
    pub deleted: bool,
    /// It waits for us before it goes.
    pub held: bool,
    /// All that it waits for.
    pub finalizers: Vec<String>,
    /// What was installed, as a digest.
    pub done: Option<String>,
}

impl Chart {
    /// Where the release goes.
    pub fn target<'a>(&'a self, name: &'a Name) -> &'a str {
        text(&self.spec, "targetNamespace").unwrap_or(&name.0)
    }
}

/// A text of a `spec`, if it is there and not empty.
pub fn text<'a>(spec: &'a Value, key: &str) -> Option<&'a str> {
    spec.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// Whether a `spec` says yes.
pub fn yes(spec: &Value, key: &str) -> bool {
    spec.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// Namespace and name.
pub fn name(object: &DynamicObject) -> Name {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// An object's `spec`.
pub fn spec(object: &DynamicObject) -> Value {
    object.data.get("spec").cloned().unwrap_or_default()
}

/// A `HelmChart`.
pub fn read(object: &DynamicObject, finalizer: &str) -> Chart {
    let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    Chart {
        spec: spec(object),
        deleted: object.metadata.deletion_timestamp.is_some(),
        held: finalizers.iter().any(|f| f == finalizer),
        finalizers,
        done: object
            .data
            .pointer("/status/skerryDigest")
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}
