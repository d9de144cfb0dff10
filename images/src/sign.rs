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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::verity::{self, Identity};
    use skerry_installer::layout::Arch;
    use skerry_upgrade::signature::Key;
    use skerry_upgrade::trust::{Facts, Told, check};

    /// What is made and signed here is what a machine takes, down to the last block of the root.
    #[test]
    fn a_machine_takes_what_was_signed_and_not_what_was_changed_after() {
        let home = std::env::temp_dir().join(format!("skerry-sign-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        let maker = Maker::developer(&Cache::open(&home, None).unwrap()).unwrap();
        let folder = home.join("release");
        fs::create_dir_all(folder.join("boot")).unwrap();
        let data: Vec<u8> = (0..300 * verity::BLOCK).map(|at| u8::try_from(at / 997 % 256).unwrap()).collect();
        let tree = verity::tree(
            &data,
            &Identity {
                salt: [1; 32],
                uuid: [2; 16],
            },
        )
        .unwrap();
        for name in release::FILES.into_iter().filter(|name| *name != sbom::NAME) {
            let bytes = if name == "root.img" {
                [data.as_slice(), &tree.bytes].concat()
            } else {
                name.into()
            };
            replace(folder.join(name), &bytes, 0o644).unwrap();
        }
        let manifest = json!({
            "format": 1, "version": "0.1.0", "arch": "amd64", "built": 7, "kernel": "6.12", "kubernetes": "v1.36.3",
            "roothash": digest::hex(&tree.root), "hashoff": data.len(),
        });
        replace(folder.join("manifest.json"), manifest.to_string().as_bytes(), 0o644).unwrap();
        replace(folder.join("lock.json"), Lock::default().text().as_bytes(), 0o644).unwrap();
        again(&maker, &folder, Some("0.1.1"), None).unwrap();

        let key = Key::parse("developer", maker.public().text.as_bytes()).unwrap();
        let facts = Facts {
            arch: Arch::Amd64,
            running: skerry_upgrade::manifest::Manifest::parse(&fs::read(folder.join("manifest.json")).unwrap())
                .ok()
                .map(|m| m.from),
            slot: None,
            failed: vec![],
        };
        let told = Told {
            whole_tree: true,
            ..Told::default()
        };
        let taken = || check(&folder, std::slice::from_ref(&key), &facts, told, &mut |_, _| {});
        let checked = taken().unwrap();
        assert_eq!(
            (checked.release.version.as_str(), checked.signed_by.as_deref()),
            ("0.1.1", Some("developer"))
        );

        replace(folder.join("boot/grub.cfg"), b"BOOT/grub.cfg", 0o644).unwrap();
        assert!(taken().unwrap_err().to_string().contains("grub.cfg: its SHA-256 is not"));
        again(&maker, &folder, None, None).unwrap();
        assert_eq!(taken().unwrap().release.version, "0.1.1");
        fs::remove_dir_all(&home).unwrap();
    }
}
