//! YAML of others that the owner writes for a part of the system (k3s's `registries.yaml`): as JSON, within the bounds of a configuration.

use crate::document;
use crate::tree::{Kind, Node, Value};
use serde_json::{Map, Number};

/// Reads one document; `null` where there is none. The error says where.
pub fn plain(text: &str) -> Result<serde_json::Value, String> {
    let document = document::read(text).map_err(|fault| format!("line {}: {}", fault.mark.line, fault.what))?;
    Ok(document.root.as_ref().map_or(serde_json::Value::Null, json))
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(value) => value.into(),
            Kind::Int(value) => i64::try_from(value).map_or_else(|_| scalar.text.clone().into(), Into::into),
            Kind::Float(value) => Number::from_f64(value).map_or(serde_json::Value::Null, Into::into),
            Kind::Text => scalar.text.clone().into(),
        },
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(fields) => fields.iter().map(|f| (f.key.clone(), json(&f.value))).collect::<Map<_, _>>().into(),
        Value::Bytes(_) | Value::Dropped => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_holds() {
        let text = "mirrors:\n  docker.io:\n    endpoint:\n    - https://a:5000\nconfigs:\n  'a:5000':\n    tls: {insecure_skip_verify: true}\n    auth: {username: u, password: 1234}\n";
        let want = json!({
            "mirrors": { "docker.io": { "endpoint": ["https://a:5000"] } },
            "configs": { "a:5000": { "tls": { "insecure_skip_verify": true }, "auth": { "username": "u", "password": 1234 } } },
        });
        assert_eq!(plain(text), Ok(want));
        assert_eq!(plain(""), Ok(serde_json::Value::Null));
        assert!(plain("a: [").unwrap_err().starts_with("line "));
    }
}
