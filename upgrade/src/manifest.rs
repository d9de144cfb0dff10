//! `manifest.json`: what a release says it is, read strictly.
//!
//! ```json
//! { "format": 1, "version": "0.2.0", "from": "0.1.0", "arch": "amd64", "built": 1795279914,
//!   "kernel": "6.12.117+deb13-amd64", "kubernetes": "v1.36.3",
//!   "roothash": "ea3f…", "hashoff": 218013696,
//!   "files": { "root.img": { "size": 219742208, "sha256": "72a3…" }, "boot/grub.cfg": … } }
//! ```
//!
//! The parser is total: whatever the bytes, it gives a manifest or a named error, and neither its time nor its memory grow beyond the
//! text's length. Fields that it does not know are left to others; what a reader *must* know to be right comes with a new `format`.

use semver::Version;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use skerry_installer::content::Digest;
use skerry_installer::layout::Arch;
use skerry_installer::release::Named;
use std::collections::BTreeMap;
use std::fmt;

/// Its name in the folder.
pub const NAME: &str = "manifest.json";
/// The signature beside it, in minisign's format.
pub const SIGNATURE: &str = "manifest.json.minisig";
/// The list of all that is in the release: SPDX 2.3, JSON.
pub const SBOM: &str = "sbom.spdx.json";
/// The format that is written and read.
pub const FORMAT: u32 = 1;
/// No manifest is longer, in bytes.
pub const LONGEST: usize = 64 << 10;
/// No manifest names more files.
pub const MOST_FILES: usize = 64;

/// No root is longer, in bytes: a slot of another order of magnitude would need another layout.
const LARGEST_ROOT: u64 = 16 << 30;
/// Nothing else is longer, in bytes.
const LARGEST_PART: u64 = 1 << 30;
/// dm-verity's blocks.
const BLOCK: u64 = 4096;

/// What a release is made of, whatever the processor. The boot loader's files come with [`boot_files`].
pub const PARTS: [&str; 4] = ["vmlinuz", "initrd.img", "root.img", SBOM];

/// What `boot/` has to hold.
pub fn boot_files(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::Amd64 => &["boot/mbr.img", "boot/core.img", "boot/BOOTX64.EFI", "boot/grub.cfg"],
        Arch::Arm64 => &["boot/BOOTAA64.EFI", "boot/grub.cfg"],
    }
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The release's version.
    pub version: Version,
    /// The oldest version that may come here; older ones go by one between.
    pub from: Version,
    /// The processor it is for.
    pub arch: Arch,
    /// When its inputs last changed, in seconds since 1970.
    pub built: u64,
    /// `uname -r`.
    pub kernel: String,
    /// `v1.36.3`.
    pub kubernetes: String,
    /// dm-verity's root hash of `root.img`.
    pub root_hash: Digest,
    /// Where the hash tree begins in `root.img`, in bytes.
    pub hash_offset: u64,
    /// Every part, by its path in the folder.
    #[serde(skip)]
    pub files: BTreeMap<String, Named>,
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Wrong {
    /// It is too long.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// It is no JSON object with these fields.
    #[error("it does not read: {0}")]
    Unreadable(String),
    /// Its format is another one.
    #[error("its format is {0}, and {FORMAT} is known / try: update to a release between the two first")]
    Format(u64),
    /// A field has no meaning.
    #[error("{field} is {value:?}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says, cut short.
        value: String,
        /// What it should be.
        why: &'static str,
    },
    /// A file's name leaves the folder, or is none.
    #[error("the file name {0:?} is not a plain path within the folder")]
    Name(String),
    /// A file is named twice; names that differ by case are one on a FAT stick.
    #[error("the file {0:?} is named twice")]
    Twice(String),
    /// Too many files.
    #[error("it names more than {MOST_FILES} files")]
    TooMany,
    /// A file's length makes no sense.
    #[error("{name} is said to have {bytes} bytes: a release of today has 1 to {most}")]
    Size {
        /// Which file.
        name: String,
        /// Its length.
        bytes: u64,
        /// The largest that is believed.
        most: u64,
    },
    /// A file's digest is none.
    #[error("the SHA-256 of {0} is not 64 hexadecimal digits")]
    Sum(String),
    /// A part is not named.
    #[error("it names no {0}")]
    Missing(&'static str),
    /// The hash tree cannot lie where it is said to.
    #[error("the hash tree is said to begin at byte {hash_offset} of root.img, which has {bytes}")]
    HashOffset {
        /// Where.
        hash_offset: u64,
        /// How long `root.img` is.
        bytes: u64,
    },
}

/// As it is written.
#[derive(Deserialize)]
struct Written {
    version: String,
    from: String,
    arch: String,
    built: u64,
    #[serde(default)]
    kernel: String,
    kubernetes: String,
    roothash: String,
    hashoff: u64,
    files: Files,
}

#[derive(Deserialize)]
struct WrittenFormat {
    format: u64,
}

#[derive(Deserialize)]
struct WrittenFile {
    size: u64,
    sha256: String,
}

/// In their order and with all that is there twice: a map would keep the last, and another reader the first.
struct Files(Vec<(String, WrittenFile)>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut rows = vec![];
                while let Some(row) = map.next_entry()? {
                    rows.push(row);
                }
                Ok(Files(rows))
            }
        }
        from.deserialize_map(Rows)
    }
}

impl Manifest {
    /// Reads a manifest's bytes.
    pub fn parse(text: &[u8]) -> Result<Self, Wrong> {
        if text.len() > LONGEST {
            return Err(Wrong::TooLong);
        }
        let unreadable = |why: serde_json::Error| Wrong::Unreadable(why.to_string());
        // First, for a later format may name its fields otherwise.
        let WrittenFormat { format } = serde_json::from_slice(text).map_err(unreadable)?;
        if format != u64::from(FORMAT) {
            return Err(Wrong::Format(format));
        }
        let written: Written = serde_json::from_slice(text).map_err(unreadable)?;
        let manifest = Self {
            version: version("version", &written.version)?,
            from: version("from", &written.from)?,
            arch: Arch::parse(&written.arch).ok_or_else(|| field("arch", &written.arch, "amd64 and arm64 are known"))?,
            built: written.built,
            kernel: word("kernel", written.kernel)?,
            kubernetes: word("kubernetes", written.kubernetes)?,
            root_hash: Digest::parse(&written.roothash)
                .ok_or_else(|| field("roothash", &written.roothash, "it has to be 64 hexadecimal digits"))?,
            hash_offset: written.hashoff,
            files: files(written.files)?,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Wrong> {
        let needed = PARTS.iter().chain(boot_files(self.arch));
        if let Some(missing) = needed.into_iter().find(|name| !self.files.contains_key(**name)) {
            return Err(Wrong::Missing(missing));
        }
        if self.from.cmp_precedence(&self.version).is_gt() {
            return Err(field("from", &self.from.to_string(), "it cannot be newer than the version itself"));
        }
        let bytes = self.files.get("root.img").map_or(0, |f| f.bytes);
        let is_within = self.hash_offset >= 2 * BLOCK && self.hash_offset < bytes;
        if !is_within || self.hash_offset % BLOCK != 0 || bytes % BLOCK != 0 {
            return Err(Wrong::HashOffset {
                hash_offset: self.hash_offset,
                bytes,
            });
        }
        Ok(())
    }
}

fn files(written: Files) -> Result<BTreeMap<String, Named>, Wrong> {
    if written.0.len() > MOST_FILES {
        return Err(Wrong::TooMany);
    }
    let mut files = BTreeMap::new();
    let mut folded = std::collections::BTreeSet::new();
    for (name, file) in written.0 {
        if !is_plain(&name) {
            return Err(Wrong::Name(cut(&name)));
        }
        if !folded.insert(name.to_ascii_lowercase()) {
            return Err(Wrong::Twice(name));
        }
        let most = if name == "root.img" { LARGEST_ROOT } else { LARGEST_PART };
        if file.size == 0 || file.size > most {
            return Err(Wrong::Size {
                name,
                bytes: file.size,
                most,
            });
        }
        let sha256 = Digest::parse(&file.sha256).ok_or_else(|| Wrong::Sum(name.clone()))?;
        files.insert(name, Named { bytes: file.size, sha256 });
    }
    Ok(files)
}

/// A path that means the same on every file system, and lies in the folder.
fn is_plain(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    name.len() <= 100 && name != NAME && name != SIGNATURE && name.split('/').all(is_part)
}

fn version(name: &'static str, text: &str) -> Result<Version, Wrong> {
    let why = "it has to be a version, as 1.2.3";
    if text.len() > 64 {
        return Err(field(name, text, why));
    }
    Version::parse(text).map_err(|_| field(name, text, why))
}

/// Printed on consoles: no control characters.
fn word(name: &'static str, text: String) -> Result<String, Wrong> {
    if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(field(name, &text, "it has to be one short word"))
}

fn field(field: &'static str, value: &str, why: &'static str) -> Wrong {
    Wrong::Field {
        field,
        value: cut(value),
        why,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"format":1,"version":"0.2.0","from":"0.1.0","arch":"amd64","built":7,"kernel":"6.12","kubernetes":"v1.36.3",
        "roothash":"SUM","hashoff":8192,"unpacked":{"x":1},"files":{
        "vmlinuz":{"size":1,"sha256":"SUM"},"initrd.img":{"size":2,"sha256":"SUM"},"root.img":{"size":16384,"sha256":"SUM"},
        "sbom.spdx.json":{"size":3,"sha256":"SUM"},"boot/mbr.img":{"size":512,"sha256":"SUM"},"boot/core.img":{"size":5,"sha256":"SUM"},
        "boot/BOOTX64.EFI":{"size":6,"sha256":"SUM"},"boot/grub.cfg":{"size":7,"sha256":"SUM"}}}"#;

    fn parse(from: &str, to: &str) -> Result<Manifest, Wrong> {
        assert!(GOOD.contains(from), "{from} is nowhere");
        Manifest::parse(GOOD.replacen(from, to, 1).replace("SUM", &"ab".repeat(32)).as_bytes())
    }

    #[test]
    fn a_manifest_is_read() {
        let read = parse("", "").unwrap();
        assert_eq!(
            (read.version.to_string().as_str(), read.arch, read.files.len()),
            ("0.2.0", Arch::Amd64, 8)
        );
        assert!(parse("\"vmlinuz\"", "\"boot.img\":{\"size\":9,\"sha256\":\"SUM\"},\"vmlinuz\"").is_ok());
    }

    #[test]
    fn each_wrong_one_is_refused_by_name() {
        let rows: Vec<String> = (0..60).map(|n| format!("\"f{n}\":{{\"size\":1,\"sha256\":\"SUM\"}},")).collect();
        let many = rows.concat();
        let table: &[(&str, &str, &str)] = &[
            ("\"format\":1", "\"format\":2", "its format is 2, and 1 is known"),
            ("\"format\":1,", "", "it does not read: missing field `format`"),
            ("{\"format\"", "[{\"format\"", "it does not read"),
            ("\"from\":\"0.1.0\",", "", "missing field `from`"),
            ("0.1.0", "0.3.0", "it cannot be newer"),
            ("0.2.0", "two", "version is \"two\": it has to be a version"),
            ("amd64", "sparc", "arch is \"sparc\""),
            ("\"kubernetes\":\"v1", "\"kubernetes\":\"\\u001b[2Jv1", "one short word"),
            ("\"roothash\":\"SUM\"", "\"roothash\":\"12\"", "roothash is \"12\""),
            ("\"roothash\"", "\"roothash\":\"SUM\",\"roothash\"", "duplicate field `roothash`"),
            ("\"vmlinuz\"", "\"../vmlinuz\"", "\"../vmlinuz\" is not a plain path"),
            ("\"vmlinuz\"", "\"/etc/passwd\"", "is not a plain path"),
            ("\"vmlinuz\"", "\"boot//x\"", "is not a plain path"),
            ("\"vmlinuz\"", "\"boot\\\\x\"", "is not a plain path"),
            ("\"vmlinuz\"", "\"manifest.json\"", "is not a plain path"),
            ("\"vmlinuz\"", "\"vmlinuz.old\"", "it names no vmlinuz"),
            ("\"sbom.spdx.json\"", "\"sbom.json\"", "it names no sbom.spdx.json"),
            ("\"boot/mbr.img\"", "\"boot/mbr\"", "it names no boot/mbr.img"),
            ("\"initrd.img\"", "\"vmlinuz\"", "\"vmlinuz\" is named twice"),
            ("\"initrd.img\"", "\"VMLINUZ\"", "\"VMLINUZ\" is named twice"),
            ("\"size\":1,", "\"size\":0,", "vmlinuz is said to have 0 bytes"),
            ("\"size\":1,", "\"size\":1073741825,", "vmlinuz is said to have 1073741825 bytes"),
            ("\"size\":16384", "\"size\":18446744073709551615", "root.img is said to have"),
            ("\"size\":1,", "\"size\":-1,", "it does not read"),
            ("\"size\":1,", "\"size\":1e3,", "it does not read"),
            ("\"size\":16384", "\"size\":16385", "the hash tree is said to begin"),
            ("\"hashoff\":8192", "\"hashoff\":8193", "the hash tree is said to begin"),
            ("\"hashoff\":8192", "\"hashoff\":16384", "the hash tree is said to begin"),
            (
                "\"size\":1,\"sha256\":\"SUM\"",
                "\"size\":1,\"sha256\":\"SUMa\"",
                "the SHA-256 of vmlinuz is not",
            ),
            ("\"vmlinuz\"", &format!("{many}\"vmlinuz\""), "more than 64 files"),
        ];
        for (from, to, why) in table {
            let said = parse(from, to).expect_err(to).to_string();
            assert!(said.contains(why), "{to}: {said}");
        }
        assert_eq!(Manifest::parse(&vec![b' '; LONGEST + 1]), Err(Wrong::TooLong));
        let deep = [b"{\"format\":".to_vec(), vec![b'['; 60_000]].concat();
        assert!(matches!(Manifest::parse(&deep), Err(Wrong::Unreadable(_))));
    }

    /// Without a signature before it, the parser stands alone: it must end, and what counts must not change unseen.
    #[test]
    fn whatever_the_bytes_there_is_an_answer() {
        let text = GOOD.replace("SUM", &"ab".repeat(32)).into_bytes();
        let good = Manifest::parse(&text).unwrap();
        let (mut refused, mut other) = (0, 0);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone();
                bytes[at] ^= 1 << bit;
                match Manifest::parse(&bytes) {
                    Err(_) => refused += 1,
                    // A letter's case in a digest, or a field that is not ours.
                    Ok(read) if read == good => {}
                    Ok(_) => other += 1,
                }
            }
            assert!(Manifest::parse(&text[..at]).is_err());
        }
        assert!(refused > text.len() && other > 0, "{refused} refused, {other} say something else");
        let mut x = 1u64;
        let mut random = |most: usize| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(x >> 33).unwrap() % most
        };
        for _ in 0..2000 {
            let mut bytes = text.clone();
            let (from, to, length) = (random(text.len()), random(text.len()), random(80));
            let piece: Vec<u8> = text.iter().skip(from).take(length).copied().collect();
            bytes.splice(to..to, piece);
            if let Ok(read) = Manifest::parse(&bytes) {
                assert!(read.files.len() >= good.files.len());
            }
        }
    }
}
