//! Writes configuration as YAML, without what says nothing.

use crate::Config;
use serde::Serialize;
use serde_json::Value as Json;

impl Config {
    /// The configuration as a `config.yaml`; secrets included.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        yaml(self)
    }
}

/// Any value of ours as YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    let mut json = serde_json::to_value(value).map_err(<serde_yaml::Error as serde::ser::Error>::custom)?;
    lean("", &mut json);
    serde_yaml::to_string(&json)
}

/// Takes out what is empty or default. Whether something is left.
fn lean(name: &str, json: &mut Json) -> bool {
    match json {
        Json::Null => false,
        // Of these, absent means yes.
        Json::Bool(value) => *value || name == "accept-ra" || name.starts_with("use-"),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => {
            for item in items.iter_mut() {
                lean("", item);
            }
            !items.is_empty()
        }
        Json::Object(keys) => {
            let maps = [
                "labels",
                "environment",
                "sysctls",
                "ethernets",
                "bonds",
                "bridges",
                "vlans",
                "vrfs",
                "wifis",
                "access-points",
            ];
            keys.retain(|key, value| lean(key, value) || maps.contains(&name));
            // Where only its name is said, the short form: older systems read it too.
            if name == "distribution" && keys.len() == 1 {
                if let Some(only) = keys.remove("name") {
                    *json = only;
                    return true;
                }
            }
            !keys.is_empty()
        }
        Json::Number(_) => true,
    }
}
