//! The reference page and the JSON Schema, generated: words from the types, spellings and phases from the table of keys.

use crate::Config;
use crate::schema::{self, Key, Shape};
use serde::Serialize;
use serde_json::Value as Json;
use std::fmt::Write;

/// The JSON Schema of a `config.yaml`, from the types.
pub fn json_schema() -> Json {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(keys) = schema.as_object_mut() {
        keys.insert("title".to_owned(), "Skerry's config.yaml".into());
        // `k3os:` is the section's old name.
        let section = keys.get("properties").and_then(|properties| properties.get("skerry")).cloned();
        if let (Some(section), Some(properties)) = (section, keys.get_mut("properties").and_then(Json::as_object_mut)) {
            properties.insert("k3os".to_owned(), section);
        }
    }
    schema
}

/// One key on the reference page.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its path.
    pub path: String,
    /// What it holds.
    pub holds: &'static str,
    /// What it means.
    pub means: String,
    /// In which phases it takes effect.
    pub phases: Vec<&'static str>,
    /// What becomes of it.
    pub effect: String,
    /// Further spellings that are accepted.
    pub spellings: Vec<&'static str>,
    /// It is a secret.
    pub secret: bool,
}

/// Every key, in the order of the table.
pub fn lines() -> Vec<Line> {
    let schema = json_schema();
    let mut lines = Vec::new();
    below(schema::TOP, "", &schema, &schema, &mut lines);
    lines
}

fn below(keys: &'static [Key], path: &str, node: &Json, root: &Json, lines: &mut Vec<Line>) {
    for key in keys {
        let here = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        let property = node
            .get("properties")
            .and_then(|properties| properties.get(key.name))
            .unwrap_or(&Json::Null);
        lines.push(Line {
            holds: holds(key.shape),
            means: meaning(property),
            phases: key.phases.iter().map(|phase| phase.name()).collect(),
            effect: key.effect.to_owned(),
            spellings: key.all_spellings().skip(1).collect(),
            secret: key.secret,
            path: here.clone(),
        });
        let (inner, suffix, keys) = match key.shape {
            Shape::Section(keys) => (property, "", keys),
            Shape::Sections(keys) => (property.get("items").unwrap_or(&Json::Null), "[]", keys),
            // The other kinds of interface have the same keys as a wired one.
            Shape::Named(_) if ["bonds", "bridges", "vlans", "vrfs", "wifis"].contains(&key.name) => continue,
            Shape::Named(keys) => (property.get("additionalProperties").unwrap_or(&Json::Null), ".NAME", keys),
            _ => continue,
        };
        below(keys, &format!("{here}{suffix}"), resolve(inner, root), root, lines);
    }
}

fn holds(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Bool => "true or false",
        Shape::Number => "number",
        Shape::Texts => "list of texts",
        Shape::TextMap => "map of texts",
        Shape::Section(_) => "section",
        Shape::Sections(_) => "list of sections",
        Shape::Named(_) => "sections by name",
    }
}

fn meaning(property: &Json) -> String {
    property
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Follows `$ref`, also inside `anyOf` (which is how an optional section looks).
fn resolve<'a>(node: &'a Json, root: &'a Json) -> &'a Json {
    if let Some(options) = node.get("anyOf").and_then(Json::as_array) {
        return options
            .iter()
            .map(|option| resolve(option, root))
            .find(|option| option.get("properties").is_some())
            .unwrap_or(node);
    }
    let pointer = node.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(node)
}

const HEAD: &str = "\
<!-- Generated from config/src: run `UPDATE=1 cargo test -p skerry-config` after a change there. -->

# Every key of `config.yaml`

A key that cannot be used is left out and named; the rest applies. `skerry config check FILE` lists what is wrong and ends with 1 if
anything would be left out, `skerry config explain FILE` says of each value where it came from and what becomes of it. Both work on any
computer.

## Rules

- `k3os:` is another name for `skerry:`. One document holds one of them.
- Keys are written as below. The other spellings are those that k3OS took; and each key in camelCase is compared without case.
  Where two spellings of one key stand in one document, the last one in the order of their bytes counts.
- Sources, a later one wins:
";

const AFTER_SOURCES: &str = "\
- Sections merge key by key. Lists and maps of texts (`labels`, `environment`, `sysctls`) are replaced as a whole.
  An explicit `[]`, `{}`, `\"\"` or `null` clears what an earlier source said.
- YAML 1.1, as k3OS read it: without quotes `yes`, `no`, `on`, `off`, `y` and `n` are true or false, and `0644` is a number.
  Where text is expected, the text as written counts; in `labels`, `environment` and `sysctls` the value does (`0644` is `420`).
- One text where a list is expected is a list of one; one map where a list of sections is expected, too.
- On the kernel's command line: `hostname=h`, `k3os.token=…`, `run_cmd=\"echo hi\"`, `k3os.labels.region=eu`,
  `k3os.sysctl[kernel.printk]=\"4 4 1 7\"`. A word that is repeated makes a list; where one value is expected, the last one counts.
- A stick or a seed counts before the first configuration (none of the owner's is on the data partition, and no boot was good yet), or
  with `skerry.trust_media: true`. What was taken from it is copied to `/var/lib/skerry/media/`, and counts from there when it is gone.
  Two volumes with one label are none. `skerry config sources` says what was found, and what counts.
- The ESP and a stick may hold `config.d/by-mac/52-54-00-12-34-56.yaml`, `by-serial/` and `by-uuid/` too: they count beside those of the
  data partition, the ESP's first. FAT has no colons: write `-`, or nothing.
- `${mac}`, `${serial}`, `${uuid}` and `${hostname}` in URLs (`ssh_authorized_keys`, `data_sources`, `server_url`, `install.config_url`,
  `install.iso_url`) stand for this machine's, percent-encoded.
- User data that begins with `#!` or holds a NUL byte is a script; else it is YAML.
- At most 1 MiB a source, 64 levels deep; a packed file of `write_files` unpacks to at most 8 MiB.
";

/// Whole files for a start: title, and text whose first lines say what it is.
pub const WHOLE: [(&str, &str); 7] = [
    ("A single node", include_str!("../whole/single-node.yaml")),
    ("A worker", include_str!("../whole/worker.yaml")),
    ("The first of three servers", include_str!("../whole/first-server.yaml")),
    ("Further servers", include_str!("../whole/further-server.yaml")),
    ("Wi-Fi", include_str!("../whole/wi-fi.yaml")),
    ("A VLAN", include_str!("../whole/vlan.yaml")),
    ("Airgap", include_str!("../whole/airgap.yaml")),
];

const KEYS: &str = "
## Keys

| key | holds | meaning | takes effect | also spelled |
|---|---|---|---|---|
";

/// The reference page, in Markdown.
pub fn page() -> String {
    // Writing to a `String` cannot fail.
    let mut page = HEAD.to_owned();
    for kind in crate::SourceKind::ALL {
        let _ = writeln!(page, "  {}. {}", kind as usize + 1, place(kind));
    }
    page += AFTER_SOURCES;
    page += "\n## Whole files\n";
    for (title, text) in WHOLE {
        let _ = write!(page, "\n### {title}\n\n```yaml\n{text}```\n");
    }
    page += KEYS;
    for line in lines() {
        let effect = match (line.phases.as_slice(), line.effect.as_str()) {
            (_, "") => String::new(),
            ([], effect) => effect.to_owned(),
            (phases, effect) => format!("{}: {effect}", phases.join(", ")),
        };
        let spellings = line
            .spellings
            .iter()
            .map(|spelling| format!("`{spelling}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let secret = if line.secret { " (secret)" } else { "" };
        let (path, holds, means) = (line.path, line.holds, line.means.replace('|', "\\|"));
        let _ = writeln!(page, "| `{path}` | {holds}{secret} | {means} | {effect} | {spellings} |");
    }
    page
}

fn place(kind: crate::SourceKind) -> String {
    use crate::SourceKind as Kind;
    let what = match kind {
        Kind::Esp => return "`config.yaml`, then every file of `config.d/`, on the EFI system partition".to_owned(),
        Kind::SeedMetaData => return "`meta-data` of a cloud-init seed, a volume labelled `cidata` (see below)".to_owned(),
        Kind::SeedNetwork => return "`network-config` of such a seed".to_owned(),
        Kind::SeedUserData => return "`user-data` of such a seed, in cloud-init's words".to_owned(),
        Kind::Medium => return "`config.yaml`, then every file of `config.d/`, on a stick labelled `SKERRYCFG`".to_owned(),
        Kind::MetadataHostname => "the host name from a cloud's metadata, ",
        Kind::MetadataKeys => "the SSH keys from a cloud's metadata, ",
        Kind::UserData => "user data, ",
        Kind::ByMac => "the entry for one of this machine's hardware addresses in ",
        Kind::BySerial => "the entry for this machine's serial number in ",
        Kind::ByUuid => "the entry for this machine's UUID in ",
        Kind::Cmdline => "the kernel's command line, ",
        Kind::K3osConfigD | Kind::ConfigD => "every file, in the order of the names, in ",
        Kind::K3osSystem | Kind::System | Kind::K3osLocal | Kind::Local => "",
    };
    format!("{what}`{}`", kind.path().unwrap_or_default())
}
