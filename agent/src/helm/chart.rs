//! What `HelmChart` and `HelmChartConfig` objects say.

use kube::core::DynamicObject;
use serde_json::Value;

/// Namespace and name; the name is the release's.
pub type Name = (String, String);

/// A `HelmChart`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// Which object it is: another of the same name has another.
    pub uid: String,
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

/// What we did for a chart last: events that were on their way meanwhile do not know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// For which object.
    pub uid: String,
    /// What was installed, as a digest; none: it was removed.
    pub done: Option<String>,
}

impl Chart {
    /// Whether nothing is to be done for it, where `digest` is what it asks for now.
    pub fn is_done(&self, digest: &str, known: Option<&Known>) -> bool {
        let known = known.filter(|k| k.uid == self.uid);
        if self.deleted {
            !self.held || known.is_some_and(|k| k.done.is_none())
        } else {
            let done = known.map_or(self.done.as_deref(), |k| k.done.as_deref());
            done == Some(digest)
        }
    }

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
        uid: object.metadata.uid.clone().unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_did_counts_over_what_an_old_event_says() {
        let known = |uid: &str, done: Option<&str>| Known {
            uid: uid.into(),
            done: done.map(str::to_owned),
        };
        let chart = |done: Option<&str>, deleted, held| Chart {
            uid: "1".into(),
            done: done.map(str::to_owned),
            deleted,
            held,
            ..Chart::default()
        };
        for (chart, known, is_done) in [
            (chart(None, false, false), None, false),
            (chart(Some("x"), false, true), None, true),
            (chart(Some("w"), false, true), None, false),
            // The event of the finalizer comes after the release, and says nothing of it.
            (chart(None, false, true), Some(known("1", Some("x"))), true),
            (chart(Some("w"), false, true), Some(known("1", Some("x"))), true),
            // Asked for anew since.
            (chart(Some("x"), false, true), Some(known("1", Some("w"))), false),
            // Another object of that name.
            (chart(None, false, false), Some(known("0", Some("x"))), false),
            (chart(Some("x"), true, true), Some(known("1", Some("x"))), false),
            (chart(Some("x"), true, true), Some(known("1", None)), true),
            (chart(Some("x"), true, false), None, true),
        ] {
            assert_eq!(chart.is_done("x", known.as_ref()), is_done, "{chart:?} {known:?}");
        }
    }
}
