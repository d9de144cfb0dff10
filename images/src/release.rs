//! What a release says of itself: `release.json` inside the image, `manifest.json` beside it.

use crate::digest;
use crate::sbom;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The parts of a release, each named in the manifest; `manifest.json` and its signature lie beside them.
pub const FILES: [&str; 8] = [
    "vmlinuz",
    "initrd.img",
    "root.img",
    "boot/mbr.img",
    "boot/core.img",
    "boot/BOOTX64.EFI",
    "boot/grub.cfg",
    sbom::NAME,
];
/// The oldest version from which a machine may come to this one.
pub const FROM: &str = "0.1.0";

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
            "from": FROM,
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

    /// What is written here is what a machine reads.
    #[test]
    fn a_machine_takes_the_manifest() {
        let folder = std::env::temp_dir().join(format!("skerry-manifest-{}", std::process::id()));
        fs::create_dir_all(folder.join("boot")).unwrap();
        for name in FILES {
            let bytes = if name == "root.img" { vec![0; 16384] } else { vec![1] };
            fs::File::create(folder.join(name))
                .and_then(|mut f| std::io::Write::write_all(&mut f, &bytes))
                .unwrap();
        }
        let release = Release {
            version: "0.1.0".into(),
            built: 7,
            kernel: "6.12.117+deb13-cloud-amd64".into(),
            kubernetes: "v1.36.3".into(),
            coredns: "v1.15.0".into(),
        };
        let text = release.manifest(&folder, &"ab".repeat(32), 8192, &[("x".into(), 1)]).unwrap();
        let read = skerry_upgrade::manifest::Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!((read.files.len(), read.from.to_string().as_str()), (FILES.len(), FROM));
        fs::remove_dir_all(&folder).unwrap();
    }
}
