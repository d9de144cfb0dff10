//! A release folder that was changed by hand gets its manifest and signature anew: for tests, and for who makes variants.
//!
//! What the manifest says of lengths and digests follows the folder; what it says of the root (its hash) stays, so a changed root is
//! found out by whoever checks it.

use crate::digest;
use crate::keys::Maker;
use crate::lock::Lock;
use crate::release::{self, Release};
use crate::sbom;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use skerry_sys::file::replace;
use std::fs;
use std::path::Path;

/// Writes `manifest.json` and its signature in `folder`; `version` and `from` replace what they say.
pub fn again(maker: &Maker, folder: &Path, version: Option<&str>, from: Option<&str>) -> Result<()> {
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut manifest: Map<String, Value> = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    for (field, told, default) in [("version", version, None), ("from", from, Some(release::FROM))] {
        if let Some(value) = told.or(default.filter(|_| !manifest.contains_key(field))) {
            manifest.insert(field.to_owned(), json!(value));
        }
    }
    let word = |name: &str| manifest.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = word("version");
    if !folder.join(sbom::NAME).exists() {
        let release = Release {
            version: version.clone(),
            built: manifest.get("built").and_then(Value::as_u64).unwrap_or_default(),
            kernel: word("kernel"),
            kubernetes: word("kubernetes"),
            coredns: String::new(),
        };
        let lock = Lock::read_from(&folder.join("lock.json"))?;
        replace(folder.join(sbom::NAME), sbom::text(&release, &lock, &[]).as_bytes(), 0o644)?;
    }
    let mut files = Map::new();
    for name in release::FILES {
        let path = folder.join(name);
        let size = fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?.len();
        files.insert(name.to_owned(), json!({ "size": size, "sha256": digest::of_file(&path)? }));
    }
    manifest.insert("files".to_owned(), files.into());
    let text = format!("{:#}\n", Value::from(manifest));
    replace(folder.join("manifest.json.minisig"), maker.sign(&text, &version)?.as_bytes(), 0o644)?;
    replace(&path, text.as_bytes(), 0o644)?;
    Ok(())
}
