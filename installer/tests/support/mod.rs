//! What the tests of this room share: a small release, a reader of disks that knows nothing of how they were written, and tools that
//! others wrote.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod reader;
pub mod tools;

use skerry_installer::content::Digest;
use skerry_installer::layout::{Arch, Data, Ids, MIB, Medium, Request, Sizes};
use skerry_installer::perform::Options;
use skerry_installer::release::Release;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is gone when it is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skerry-installer-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that are nowhere the same: `seed` in each sector.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend(x.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A release whose parts are `root` and `kernel` bytes long.
pub struct Made {
    pub release: Release,
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

pub fn release(folder: &Path, seed: u64, root: usize, kernel: usize) -> Made {
    fs::create_dir_all(folder.join("boot")).unwrap();
    let mut core = noise(seed + 3, 3000);
    core[0x1F4..0x200].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 8]);
    let files = BTreeMap::from([
        ("root.img", noise(seed, root)),
        ("vmlinuz", noise(seed + 1, kernel)),
        ("initrd.img", noise(seed + 2, kernel / 2 + 77)),
        ("boot/mbr.img", noise(seed + 4, 512)),
        ("boot/core.img", core),
        ("boot/BOOTX64.EFI", noise(seed + 5, 70_000)),
        ("boot/grub.cfg", format!("# {seed}\n").into_bytes()),
    ]);
    let named: serde_json::Map<_, _> = files
        .iter()
        .map(|(name, bytes)| {
            let sha256 = Digest::of(bytes).to_string();
            ((*name).to_owned(), serde_json::json!({"size": bytes.len(), "sha256": sha256}))
        })
        .collect();
    let root_hash = Digest::of(&files["root.img"]).to_string();
    let manifest = serde_json::json!({
        "format": 1, "version": format!("0.0.{seed}"), "arch": "amd64", "built": 1_795_264_982u64 + seed,
        "roothash": root_hash, "hashoff": 4096, "files": named,
    });
    for (name, bytes) in files
        .iter()
        .map(|(n, b)| (*n, b.clone()))
        .chain([("manifest.json", manifest.to_string().into_bytes())])
    {
        fs::File::create(folder.join(name))
            .and_then(|mut f| std::io::Write::write_all(&mut f, &bytes))
            .unwrap();
    }
    Made {
        release: Release::read(folder).unwrap(),
        files,
    }
}

/// Parts as small as they can be.
pub fn sizes() -> Sizes {
    Sizes {
        esp: 4 * MIB,
        boot: 3 * MIB,
        root: 6 * MIB,
        data: Data::Bytes(32 * MIB),
    }
}

pub fn request(seed: u8) -> Request {
    Request {
        sizes: sizes(),
        arch: Arch::Amd64,
        ids: Ids([seed; 32]),
        is_image: false,
    }
}

pub fn medium() -> Medium {
    Medium {
        bytes: sizes().needed(Arch::Amd64),
        sector_bytes: 512,
    }
}

/// Written a page at a time, so that there are many places to cut.
pub fn options(scratch: &Scratch) -> Options {
    Options {
        read_back: true,
        temporary: scratch.0.clone(),
        chunk: 4096,
        ..Options::default()
    }
}
