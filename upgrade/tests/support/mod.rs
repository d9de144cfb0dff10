//! What the tests of this room share: small releases with a real hash tree, signed by a key of the test's own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use minisign::{KeyPair, PublicKey, SecretKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use skerry_installer::content::Digest;
use skerry_upgrade::manifest;
use skerry_upgrade::signature::Key;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// A folder that is gone when it is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skerry-upgrade-{name}-{}", std::process::id()));
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

pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).and_then(|mut f| f.write_all(bytes)).unwrap();
}

/// Bytes that are nowhere the same.
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

const SALT: [u8; 32] = [9; 32];

fn hash(block: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(SALT).chain_update(block).finalize().into()
}

/// Data with its tree behind it, as `veritysetup format` lays it out; and the root hash.
pub fn with_tree(data: &[u8]) -> (Vec<u8>, Digest) {
    let mut superblock = b"verity\0\0".to_vec();
    for word in [1u32, 1] {
        superblock.extend(word.to_le_bytes());
    }
    superblock.extend([7; 16]);
    superblock.extend(b"sha256");
    superblock.resize(64, 0);
    for word in [4096u32, 4096] {
        superblock.extend(word.to_le_bytes());
    }
    superblock.extend((data.len() as u64 / 4096).to_le_bytes());
    superblock.extend(32u16.to_le_bytes());
    superblock.resize(88, 0);
    superblock.extend(SALT);
    superblock.resize(4096, 0);
    let level = |below: &[u8]| {
        let mut digests: Vec<u8> = below.chunks(4096).flat_map(hash).collect();
        digests.resize(digests.len().next_multiple_of(4096), 0);
        digests
    };
    let mut levels = vec![level(data)];
    while levels.last().unwrap().len() > 4096 {
        levels.push(level(levels.last().unwrap()));
    }
    let root = Digest(hash(levels.last().unwrap()));
    let tree = levels.iter().rev().flatten().copied();
    (data.iter().copied().chain(superblock).chain(tree).collect(), root)
}

/// A maker of releases.
pub struct Maker {
    pub secret: SecretKey,
    pub public: PublicKey,
}

impl Maker {
    pub fn new() -> Self {
        let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().unwrap();
        Self { secret: sk, public: pk }
    }

    pub fn key(&self, name: &str) -> Key {
        Key::parse(name, self.public.to_box().unwrap().into_string().as_bytes()).unwrap()
    }

    pub fn sign(&self, manifest: &[u8]) -> String {
        let comment = Some("skerry manifest.json");
        minisign::sign(Some(&self.public), &self.secret, Cursor::new(manifest), comment, comment)
            .unwrap()
            .into_string()
    }
}

/// The parts of a release, and what its manifest says besides of them.
#[derive(Clone)]
pub struct Parts {
    pub files: BTreeMap<String, Vec<u8>>,
    pub says: Value,
}

/// A release whose root has `root` bytes of data, and whose kernel has `kernel`.
pub fn parts(seed: u64, version: &str, root: usize, kernel: usize) -> Parts {
    let (image, root_hash) = with_tree(&noise(seed, root));
    let mut core = noise(seed + 3, 3000);
    core[0x1F4..0x200].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 8]);
    let files = [
        ("root.img", image),
        ("vmlinuz", noise(seed + 1, kernel)),
        ("initrd.img", noise(seed + 2, kernel / 2 + 77)),
        (manifest::SBOM, b"{}\n".to_vec()),
        ("boot/mbr.img", noise(seed + 4, 512)),
        ("boot/core.img", core),
        ("boot/BOOTX64.EFI", noise(seed + 5, 70_000)),
        ("boot/grub.cfg", format!("# {seed}\n").into_bytes()),
    ];
    Parts {
        files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
        says: json!({
            "format": 1, "version": version, "from": "0.1.0", "arch": "amd64", "built": 1_795_264_982u64 + seed,
            "kernel": "6.12", "kubernetes": "v1.36.3", "roothash": root_hash.to_string(), "hashoff": root,
        }),
    }
}

impl Parts {
    /// The manifest of these parts as they are.
    pub fn manifest(&self) -> String {
        let mut says = self.says.clone();
        let named = |bytes: &Vec<u8>| json!({"size": bytes.len(), "sha256": Digest::of(bytes).to_string()});
        says["files"] = self
            .files
            .iter()
            .map(|(name, bytes)| (name.clone(), named(bytes)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        format!("{says:#}\n")
    }

    /// Into a folder, signed.
    pub fn write(&self, folder: &Path, maker: &Maker) {
        for (name, bytes) in &self.files {
            write(&folder.join(name), bytes);
        }
        let manifest = self.manifest();
        write(&folder.join(manifest::NAME), manifest.as_bytes());
        write(&folder.join(manifest::SIGNATURE), maker.sign(manifest.as_bytes()).as_bytes());
    }
}
