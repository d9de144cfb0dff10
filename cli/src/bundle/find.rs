//! Which images manifests ask for. Pure: texts in, names out.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What was found in all manifests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Image, by its full name → where it is asked for.
    pub images: BTreeMap<String, BTreeSet<String>>,
    /// What cannot be looked into, in words.
    pub unseen: Vec<String>,
}

/// The documents of a YAML file (or a JSON one, which is YAML too), each as a text.
pub fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all.retain(|document| !document.trim().is_empty());
    all
}

impl Found {
    /// Looks through one file.
    pub fn look(&mut self, file: &str, text: &str) {
        for document in documents(text) {
            match skerry_config::plain(&document) {
                Ok(value) => self.walk(file, &value),
                Err(why) => self.unseen.push(format!("{file}: {why}")),
            }
        }
    }

    fn walk(&mut self, file: &str, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(file, item)),
            Value::Object(fields) => {
                if fields.get("kind").and_then(Value::as_str) == Some("HelmChart") {
                    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
                    self.unseen.push(format!(
                        "{file}: HelmChart {name}: its chart makes the manifests; name its images by --wants"
                    ));
                }
                for (key, inner) in fields {
                    // As in a pod's spec, wherever that stands.
                    if matches!(key.as_str(), "containers" | "initContainers" | "ephemeralContainers") {
                        let images = inner.as_array().into_iter().flatten().filter_map(|c| c.get("image")?.as_str());
                        for image in images.filter(|i| !i.trim().is_empty()) {
                            self.want(image, file);
                        }
                    }
                    self.walk(file, inner);
                }
            }
            _ => {}
        }
    }

    /// An image that is asked for.
    pub fn want(&mut self, image: &str, by: &str) {
        self.images.entry(full(image)).or_default().insert(by.to_owned());
    }
}

/// A name as containerd keeps it: with its registry, and a tag where there is neither tag nor digest.
pub fn full(image: &str) -> String {
    let image = image.trim();
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let first = name.split('/').next().unwrap_or_default();
    let has_host = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let name = match (has_host, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match digest {
        Some(digest) => format!("{name}@{digest}"),
        None if has_tag => name,
        None => format!("{name}:latest"),
    }
}

/// Images that come with the system.
pub fn comes_with_the_system(image: &str) -> bool {
    ["skerry.local/pause:", "skerry.local/coredns:"]
        .iter()
        .any(|own| image.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_containerd_keeps_them() {
        for (given, kept) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("rancher/klipper-lb:v0.4", "docker.io/rancher/klipper-lb:v0.4"),
            ("quay.io/a/b", "quay.io/a/b:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("registry:5000/a:1", "registry:5000/a:1"),
            ("nginx@sha256:00", "docker.io/library/nginx@sha256:00"),
            ("quay.io/a:1@sha256:00", "quay.io/a:1@sha256:00"),
            (" skerry.local/hello:1 ", "skerry.local/hello:1"),
        ] {
            assert_eq!(full(given), kept);
        }
    }

    #[test]
    fn wherever_a_pod_is_described() {
        let text = "kind: Pod\nspec: {containers: [{name: a, image: a.io/one:1}]}\n---\n# nothing\n---\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: \
                    {initContainers: [{image: a.io/two:1}], containers: [{image: a.io/three:1}, {name: x}]}}}}}\n--- \nkind: List\nitems:\n- kind: Deployment\n  spec:\n    template:\n      spec:\n        containers:\n        - image: a.io/one:1\n---\nkind: ConfigMap\ndata: {image: no.io/such:1}\n";
        let mut found = Found::default();
        found.look("m.yaml", text);
        let images: Vec<_> = found.images.keys().map(String::as_str).collect();
        assert_eq!(images, ["a.io/one:1", "a.io/three:1", "a.io/two:1"]);
        assert_eq!(found.unseen, Vec::<String>::new());
        found.look("j.json", r#"{"kind":"Pod","spec":{"containers":[{"image":"a.io/four:1"}]}}"#);
        assert!(found.images.contains_key("a.io/four:1"));
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let mut found = Found::default();
        found.look("c.yaml", "kind: HelmChart\nmetadata: {name: web}\nspec: {chartContent: aGVsbG8=}\n");
        found.look("bad.yaml", "a: [\n");
        assert_eq!(found.unseen.len(), 2);
        assert!(found.unseen[0].contains("HelmChart web") && found.unseen[1].starts_with("bad.yaml: line"));
    }
}
