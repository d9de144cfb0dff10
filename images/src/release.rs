//! What a release says of itself: `release.json` inside the image, `manifest.json` beside it.

use crate::digest;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The files of a release.
pub const FILES: [&str; 3] = ["vmlinuz", "initrd.img", "root.img"];

/// What is known of a release before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Our version.
    pub version: String,
    /// When its inputs last changed, in seconds since 1970: the floor of the machine's clock.
    pub built: u64,
    /// `uname -r`.
    pub kernel: String,
    /// As `v1.36.3`.
    pub kubernetes: String,
    /// CoreDNS's, as `v1.15.0`.
    pub coredns: String,
}

impl Release {
    /// `/usr/share/skerry/release.json`.
    pub fn inside(&self) -> String {
        let value = json!({
            "version": self.version,
            "built": self.built,
            "kernel": self.kernel,
            "kubernetes": self.kubernetes,
            "pause": "skerry.local/pause:1",
            "coredns": format!("skerry.local/coredns:{}", self.coredns),
        });
        format!("{value:#}\n")
    }

    /// `manifest.json`, from the finished files in `folder`.
    pub fn manifest(&self, folder: &Path, roothash: &str, hashoff: u64, sizes: &[(String, u64)]) -> Result<String> {
        let mut files = Map::new();
        for name in FILES {
            let path = folder.join(name);
            let size = fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?.len();
            files.insert(name.to_owned(), json!({ "size": size, "sha256": digest::of_file(&path)? }));
        }
        let unpacked: Map<String, Value> = sizes.iter().map(|(name, size)| (name.clone(), json!(size))).collect();
        let value = json!({
            "format": 1,
            "version": self.version,
            "built": self.built,
            "arch": "amd64",
            "kernel": self.kernel,
            "kubernetes": self.kubernetes,
            "roothash": roothash,
            "hashoff": hashoff,
            "files": files,
            "unpacked": unpacked,
        });
        Ok(format!("{value:#}\n"))
    }
}

/// A manifest's report of sizes, for people.
pub fn sizes(manifest: &str) -> Result<String> {
    let value: Value = serde_json::from_str(manifest).context("reading manifest.json")?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let mut lines = vec![format!(
        "Skerry {}  kernel {}  Kubernetes {}",
        text("version"),
        text("kernel"),
        text("kubernetes")
    )];
    for (title, field, inner) in [("file", "files", Some("size")), ("in the root, uncompressed", "unpacked", None)] {
        lines.push(format!("{title}:"));
        for (name, entry) in value.get(field).and_then(Value::as_object).into_iter().flatten() {
            let bytes = inner
                .map_or(Some(entry), |inner| entry.get(inner))
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let tenths = bytes.saturating_mul(10) / (1 << 20);
            lines.push(format!("  {name:<26} {:>5}.{} MiB", tenths / 10, tenths % 10));
        }
    }
    lines.push(format!("root hash {}", text("roothash")));
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_says_of_itself() {
        let release = Release {
            version: "0.1.0".into(),
            built: 1_790_000_000,
            kernel: "6.12".into(),
            kubernetes: "v1.36.3".into(),
            coredns: "v1.15.0".into(),
        };
        let value: Value = serde_json::from_str(&release.inside()).unwrap();
        assert_eq!(value["coredns"], "skerry.local/coredns:v1.15.0");
        assert_eq!(value["built"], 1_790_000_000);
    }

    #[test]
    fn sizes_for_people() {
        let manifest = r#"{"version":"1","kernel":"6","kubernetes":"v1","roothash":"ab","files":{"root.img":{"size":157286400}},"unpacked":{"x":1572864}}"#;
        let shown = sizes(manifest).unwrap();
        assert!(
            shown.contains("150.0 MiB") && shown.contains("1.5 MiB") && shown.ends_with("root hash ab"),
            "{shown}"
        );
    }
}
