//! What a release folder holds: the manifest, and the files that it names.

use crate::content::{Content, Digest};
use crate::layout::Arch;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use skerry_sys::file::read_bounded;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No manifest is longer.
const MANIFEST: usize = 1 << 20;
/// No boot loader's file is longer.
const BOOT_FILE: usize = 8 << 20;

/// A release that is in a folder.
#[derive(Debug, Clone)]
pub struct Release {
    /// The folder.
    pub folder: PathBuf,
    /// `0.1.0`.
    pub version: String,
    /// The processor it is for.
    pub arch: Arch,
    /// dm-verity's root hash, 64 hexadecimal digits.
    pub root_hash: Digest,
    /// Where the hash tree begins in `root.img`, in bytes.
    pub hash_offset: u64,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// Length and digest of each file, by its path in the folder.
    pub files: BTreeMap<String, Named>,
    /// The boot loader's small files, by name.
    pub boot: BTreeMap<String, Vec<u8>>,
}

/// What the manifest says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// What is held in memory, since it is changed before it is written.
const SMALL: usize = 512 << 10;

/// As it is written. What we do not know is for others.
#[derive(Deserialize)]
struct Manifest {
    format: u32,
    version: String,
    arch: String,
    #[serde(default)]
    built: u64,
    roothash: String,
    hashoff: u64,
    files: BTreeMap<String, ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    size: u64,
    sha256: String,
}

/// The boot loader's files, made once for all slots.
const BOOT_FILES: [&str; 5] = ["mbr.img", "core.img", "BOOTX64.EFI", "BOOTAA64.EFI", "grub.cfg"];

impl Release {
    /// Looks at a folder. Of the files that are large only the length is looked at; [`Content`] is checked as it is read.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = read_bounded(folder.join("manifest.json"), MANIFEST)?;
        let mut release = Self::parse(folder, &text).with_context(|| format!("reading {}", folder.join("manifest.json").display()))?;
        for (name, named) in &release.files {
            let path = folder.join(name);
            let found = std::fs::metadata(&path)
                .with_context(|| format!("looking for {}", path.display()))?
                .len();
            ensure!(
                found == named.bytes,
                "looking at {}: it has {found} bytes, and the manifest says {} / try: copy the release again",
                path.display(),
                named.bytes
            );
        }
        for name in BOOT_FILES {
            let path = folder.join("boot").join(name);
            if !path.exists() {
                continue;
            }
            let bytes = read_bounded(&path, BOOT_FILE)?;
            let found = Named {
                bytes: bytes.len() as u64,
                sha256: Digest::of(&bytes),
            };
            let named = *release.files.entry(format!("boot/{name}")).or_insert(found);
            ensure!(
                found == named,
                "checking {}: its SHA-256 is not the manifest's / try: copy the release again",
                path.display()
            );
            if bytes.len() <= SMALL {
                release.boot.insert(name.to_owned(), bytes);
            }
        }
        Ok(release)
    }

    fn parse(folder: &Path, text: &[u8]) -> Result<Self> {
        let manifest: Manifest = serde_json::from_slice(text)?;
        ensure!(
            manifest.format == 1,
            "format {} is not known / try: the installer of a newer release",
            manifest.format
        );
        let arch = Arch::parse(&manifest.arch).with_context(|| format!("the arch {:?} is not known", manifest.arch))?;
        let files = manifest
            .files
            .into_iter()
            .map(|(name, file)| {
                let is_plain = !name.starts_with('/') && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
                ensure!(is_plain, "the file name {name:?} leaves the folder");
                let sha256 = Digest::parse(&file.sha256).with_context(|| format!("the sha256 of {name} is none"))?;
                let bytes = file.size;
                Ok((name, Named { bytes, sha256 }))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            folder: folder.to_owned(),
            version: manifest.version,
            arch,
            root_hash: Digest::parse(&manifest.roothash).context("roothash is not 64 hexadecimal digits")?,
            hash_offset: manifest.hashoff,
            built: manifest.built,
            files,
            boot: BTreeMap::new(),
        })
    }

    /// A file that the manifest names.
    pub fn file(&self, name: &str) -> Result<Content> {
        let named = self.files.get(name).with_context(|| {
            format!(
                "looking into the release in {}: its manifest names no {name}",
                self.folder.display()
            )
        })?;
        Ok(Content::File {
            path: self.folder.join(name),
            bytes: named.bytes,
            sha256: named.sha256,
        })
    }

    /// A file of the boot loader.
    pub fn boot_file(&self, name: &str) -> Result<&[u8]> {
        self.boot.get(name).map(Vec::as_slice).with_context(|| {
            format!(
                "looking for boot/{name} in the release in {}: it is not there / try: a release that was built to the end",
                self.folder.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"format":1,"version":"1","arch":"amd64","roothash":"HASH","hashoff":4096,"more":{},
        "files":{"root.img":{"size":8192,"sha256":"HASH"}}}"#;

    fn parse(change: (&str, &str)) -> Result<Release> {
        let text = GOOD.replace(change.0, change.1).replace("HASH", &"ab".repeat(32));
        Release::parse(Path::new("/r"), text.as_bytes())
    }

    #[test]
    fn a_manifest_is_read() {
        let release = parse(("", "")).unwrap();
        assert_eq!((release.arch, release.hash_offset), (Arch::Amd64, 4096));
        assert!(release.file("root.img").is_ok() && release.file("vmlinuz").is_err() && release.boot_file("mbr.img").is_err());
    }

    #[test]
    fn wrong_manifests_are_refused_with_the_reason() {
        for (change, why) in [
            (("\"format\":1", "\"format\":2"), "format 2 is not known"),
            (("amd64", "sparc"), "the arch \"sparc\" is not known"),
            (("root.img", "../root.img"), "leaves the folder"),
            (("root.img", "/etc/x"), "leaves the folder"),
            (("\"roothash\":\"HASH\"", "\"roothash\":\"12\""), "roothash is not"),
            (("\"sha256\":\"HASH\"", "\"sha256\":\"\""), "the sha256 of root.img is none"),
            (("hashoff", "hashof"), "missing field `hashoff`"),
        ] {
            let said = format!("{:#}", parse(change).unwrap_err());
            assert!(said.contains(why), "{said}");
        }
    }
}
