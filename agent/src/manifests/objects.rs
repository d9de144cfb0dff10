//! From the text of a file to objects, and who they are.

use super::yaml;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Objects in one file.
const MOST: usize = 5000;

/// Which object: enough to find it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Id {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// As written; empty: the default one, or none for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Id {
    /// What counts when two are compared: the same object may be written with another version of its kind.
    pub fn object(&self) -> (&str, &str, &str, &str) {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        (group, &self.kind, namespace, &self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = if self.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", self.namespace)
        };
        write!(f, "{} {namespace}{}", self.kind, self.name)
    }
}

/// An object as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Which.
    pub id: Id,
    /// All of it.
    pub body: Value,
}

/// Reads a file's text. A file is taken as a whole, or not at all.
pub fn read(text: &str, is_json: bool) -> Result<Vec<Object>, String> {
    let documents = if is_json {
        serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|e| e.to_string())?
    } else {
        yaml::documents(text)?
    };
    let mut objects = vec![];
    for document in documents {
        flatten(document, &mut objects)?;
    }
    Ok(objects)
}

/// A `List`, of any kind, stands for its items.
fn flatten(document: Value, into: &mut Vec<Object>) -> Result<(), String> {
    let word = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = word("kind");
    if kind.ends_with("List") {
        if let Some(Value::Array(items)) = document.get("items") {
            for item in items.clone() {
                flatten(item, into)?;
            }
            return Ok(());
        }
    }
    let part = |name: &str| {
        let text = document.pointer("/metadata").and_then(|m| m.get(name)).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let id = Id {
        api_version: word("apiVersion"),
        kind,
        namespace: part("namespace"),
        name: part("name"),
    };
    for (what, value) in [("apiVersion", &id.api_version), ("kind", &id.kind), ("metadata.name", &id.name)] {
        if value.is_empty() {
            return Err(format!(
                "a document has no {what}{}",
                if id.kind.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", id.kind)
                }
            ));
        }
    }
    if into.len() >= MOST {
        return Err(format!("more than {MOST} objects in one file"));
    }
    into.push(Object { id, body: document });
    Ok(())
}

/// What has to be there before others: the lower, the sooner.
pub fn rank(id: &Id) -> u8 {
    match id.kind.as_str() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: a}}\n- {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleList, items: [{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}}]}\n";
        let shown: Vec<String> = read(text, false).unwrap().iter().map(|o| o.id.to_string()).collect();
        assert_eq!(shown, ["Namespace a", "Deployment a/d", "Role r"]);
        let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}} {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}"#;
        assert_eq!(read(json, true).unwrap().len(), 2);
        assert_eq!(read("# nothing\n", false).unwrap(), []);
    }

    #[test]
    fn taken_whole_or_not_at_all() {
        let good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n";
        for (bad, says) in [
            ("kind: A\n", "no apiVersion (A)"),
            ("apiVersion: v1\nmetadata: {name: x}\n", "no kind"),
            ("apiVersion: v1\nkind: A\nmetadata: {generateName: x-}\n", "no metadata.name (A)"),
            ("just text\n", "no apiVersion"),
            ("- 1\n", "no apiVersion"),
            ("a: [\n", "line"),
        ] {
            let why = read(&format!("{good}{bad}"), false).unwrap_err();
            assert!(why.contains(says), "{bad}: {why}");
        }
        assert!(read("{", true).is_err());
    }

    #[test]
    fn the_same_object() {
        let id = |api: &str, namespace: &str| Id {
            api_version: api.into(),
            kind: "K".into(),
            namespace: namespace.into(),
            name: "n".into(),
        };
        assert_eq!(id("g/v1", "").object(), id("g/v2", "default").object());
        assert_ne!(id("g/v1", "").object(), id("h/v1", "").object());
        assert_ne!(id("v1", "").object(), id("g/v1", "").object());
        assert_ne!(id("g/v1", "a").object(), id("g/v1", "").object());
    }
}
