//! The root of the image: what goes into it, as a tree, and how the tree becomes `root.img`.

use crate::cache::Cache;
use crate::digest::hex;
use crate::elf;
use crate::finish::{self, Facts};
use crate::go;
use crate::kernel::Kernel;
use crate::oci::{self, Image};
use crate::run;
use crate::rust;
use crate::tools::Root;
use crate::tree::{Body, Tree};
use crate::verity::{self, Identity};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fixed, so that the same content is the same image: a release is told from another by its root hash.
const UUID: &str = "5ce44a00-0000-4000-8000-000000000001";
const IDENTITY: Identity = Identity {
    salt: *b"skerry root, dm-verity salt, v1.",
    uuid: [0x5c, 0xe4, 0x4a, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 2],
};

/// Everything a root is made of.
pub struct Parts<'a> {
    /// The checkout, for `overlay/files`.
    pub checkout: &'a Path,
    /// The unpacked Debian packages.
    pub debian: &'a Path,
    /// The kernel's modules.
    pub kernel: &'a Kernel,
    /// Our Go programs.
    pub go: &'a go::Built,
    /// Our Rust programs, by name.
    pub rust: &'a BTreeMap<String, PathBuf>,
    /// This release's version.
    pub version: &'a str,
    /// `/usr/share/skerry/release.json`.
    pub release: &'a str,
    /// All times in the image, in seconds since 1970.
    pub time: u64,
}

/// What came out.
pub struct Made {
    /// Bytes of the file system; its dm-verity tree begins there.
    pub hashoff: u64,
    /// The root hash, in hexadecimal.
    pub roothash: String,
    /// Bytes before compression, by part.
    pub sizes: Vec<(String, u64)>,
}

/// Plans the tree.
pub fn tree(parts: &Parts<'_>) -> Result<Tree> {
    let packages = parts.debian.join("root");
    let facts = Facts {
        version: parts.version,
        certificates: certificates(&packages.join("usr/share/ca-certificates/mozilla"))?,
        files: Tree::scan(&parts.checkout.join("overlay/files"))?,
    };
    let mut tree = finish::finish(Tree::scan(&packages)?, facts);
    for (path, node) in Tree::scan(&parts.kernel.modules)?.0 {
        let mode = if node.body == Body::Folder { 0o755 } else { 0o644 };
        tree.put(&format!("usr/lib/modules/{path}"), mode, node.body);
    }
    tree.put(
        &format!("usr/lib/modules/{}/config", parts.kernel.release),
        0o644,
        Body::Copy(parts.kernel.config.clone()),
    );
    if let Some(firmware) = &parts.kernel.firmware {
        for (to, from) in [("usr/lib/firmware", &firmware.files), ("usr/share/licenses", &firmware.licences)] {
            for (path, node) in Tree::scan(from)?.0 {
                let mode = if node.body == Body::Folder { 0o755 } else { 0o644 };
                tree.put(&format!("{to}/{path}"), mode, node.body);
            }
        }
    }
    for (_, program, path) in rust::PROGRAMS {
        tree.put(path, 0o755, Body::Copy(named(parts.rust, program)?));
    }
    let go = |program: &str| named(&parts.go.programs, program).map(Body::Copy);
    tree.put("usr/libexec/kubernetes/kubernetes", 0o755, go("kubernetes")?);
    for program in ["containerd", "containerd-shim-runc-v2"] {
        tree.put(&format!("usr/bin/{program}"), 0o755, go(program)?);
    }
    if !tree.0.contains_key("usr/bin/runc") {
        tree.link("usr/bin/runc", "../sbin/runc");
    }
    for plugin in ["bridge", "host-local", "loopback", "portmap", "bandwidth"] {
        tree.put(&format!("usr/libexec/cni/{plugin}"), 0o755, go(plugin)?);
    }
    for (file, archive) in containers(parts)? {
        tree.put(&format!("usr/share/skerry/images/{file}"), 0o644, Body::Bytes(archive));
    }
    tree.text("usr/share/skerry/release.json", 0o644, parts.release);
    Ok(tree)
}

/// The container images that lie in the image, by file name.
pub fn containers(parts: &Parts<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let pause = read(&named(parts.rust, "pause")?)?;
    let coredns = read(&named(&parts.go.programs, "coredns")?)?;
    let version = parts.go.versions.get("coredns").context("looking for CoreDNS's version")?;
    let certificates = certificates(&parts.debian.join("root/usr/share/ca-certificates/mozilla"))?;
    let pause = Image {
        name: "skerry.local/pause:1",
        folders: &[],
        files: &[("pause", 0o755, &pause)],
        links: &[],
        entrypoint: &["/pause"],
        command: &[],
    };
    let coredns = Image {
        name: &format!("skerry.local/coredns:{version}"),
        folders: &["etc", "etc/ssl", "etc/ssl/certs"],
        files: &[
            ("coredns", 0o755, &coredns),
            ("etc/ssl/certs/ca-certificates.crt", 0o644, &certificates),
        ],
        links: &[],
        entrypoint: &["/coredns"],
        command: &[],
    };
    Ok(vec![("pause.tar", oci::archive(&pause)?), ("coredns.tar", oci::archive(&coredns)?)])
}

fn named(programs: &BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    programs
        .get(name)
        .cloned()
        .with_context(|| format!("looking for the program {name} among those that were built"))
}

/// All certificates of a folder in the order of their names.
fn certificates(folder: &Path) -> Result<Vec<u8>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "crt")) {
        all.append(&mut fs::read(path).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(all)
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// LZ4: read the fastest.
    Soon,
    /// Zstandard: a third smaller, and slower to read.
    Small,
}

/// Paths (extended regular expressions; the first that matches counts), and why. All else is [`Packing::Soon`].
const PACKING: &[(&str, Packing, &str)] = &[
    ("^usr/lib/(modules|firmware)/", Packing::Small, "few are loaded, and once"),
    ("^usr/share/", Packing::Small, "container images are read once; the rest seldom"),
    (
        "^usr/bin/(skerry|containerd|containerd-shim-runc-v2|bash|kmod|udevadm|mount|umount)$",
        Packing::Soon,
        "every boot runs them",
    ),
    (
        "^usr/sbin/(runc|sshd|agetty|chronyd|e2fsck|dumpe2fs|nft|xtables-nft-multi)$",
        Packing::Soon,
        "every boot runs them",
    ),
    ("^usr/s?bin/", Packing::Small, "people and scripts run them"),
];

/// What mkfs.erofs reads: bytes that are compressed together, the algorithm's number in `-z`, the expression.
fn hints_text() -> String {
    let row = |(path, packing, _): &(&str, Packing, &str)| format!("65536 {} {path}\n", u8::from(*packing == Packing::Small));
    PACKING.iter().map(row).collect()
}

#[allow(clippy::disallowed_methods, reason = "a folder for work: a killed build throws it away")]
/// Writes `image` from the parts; `stage` is an empty folder for work.
pub fn make(cache: &Cache, tools: &Root, parts: &Parts<'_>, stage: &Path, image: &Path) -> Result<Made> {
    let tree = tree(parts)?;
    let missing = elf::missing(&tree)?;
    ensure!(
        missing.is_empty(),
        "checking the root: libraries are named and not there: {} / try: keep them in images/src/finish/trim.rs",
        missing.join(", ")
    );
    run::say("laying out the root");
    tree.write(stage)?;
    index_libraries(cache, tools, stage)?;
    // Level 12 would be 0.4 % smaller and takes five times as long.
    let hints = image.with_extension("hints");
    fs::write(&hints, hints_text()).with_context(|| format!("writing {}", hints.display()))?;
    let mut mkfs = tools.command("mkfs.erofs")?;
    mkfs.args(["-zlz4hc,9:zstd,9", "-C65536", "--quiet", "--workers=2", "-Lskerry", "-U", UUID])
        .arg(format!("--compress-hints={}", hints.display()))
        .arg(format!("-T{}", parts.time))
        .arg(image)
        .arg(stage);
    run::logged("compressing the root (EROFS)", &mut mkfs, &cache.log("erofs"))?;
    fs::remove_file(&hints).with_context(|| format!("removing {}", hints.display()))?;
    let data = fs::read(image).with_context(|| format!("reading {}", image.display()))?;
    ensure!(
        data.len() % verity::BLOCK == 0,
        "checking {}: its size is not a whole number of blocks",
        image.display()
    );
    let hashes = verity::tree(&data, &IDENTITY)?;
    OpenOptions::new()
        .append(true)
        .open(image)?
        .write_all(&hashes.bytes)
        .with_context(|| format!("appending to {}", image.display()))?;
    Ok(Made {
        hashoff: data.len() as u64,
        roothash: hex(&hashes.root),
        sizes: sizes(&tree),
    })
}

/// Writes `/etc/ld.so.cache`, so that programs find libraries at once.
fn index_libraries(cache: &Cache, tools: &Root, stage: &Path) -> Result<()> {
    let mut ldconfig = Command::new(tools.path().join("usr/sbin/ldconfig"));
    ldconfig.args(["-X", "-i", "-r"]).arg(stage);
    run::logged("indexing libraries", &mut ldconfig, &cache.log("ldconfig"))?;
    crate::cache::remove(&stage.join("var/cache/ldconfig")) // holds inode numbers and times of this machine
}

fn sizes(tree: &Tree) -> Vec<(String, u64)> {
    let parts = [
        ("kubernetes, kine, etcd", &["usr/libexec/kubernetes"][..]),
        ("containerd, shim", &["usr/bin/containerd", "usr/bin/containerd-shim-runc-v2"]),
        ("CNI plugins", &["usr/libexec/cni"]),
        ("container images", &["usr/share/skerry/images"]),
        ("kernel modules", &["usr/lib/modules"]),
        ("firmware", &["usr/lib/firmware"]),
        ("our own programs", &["usr/lib/skerry", "usr/bin/skerry"]),
    ];
    let mut sizes: Vec<(String, u64)> = parts
        .iter()
        .map(|(name, paths)| ((*name).to_owned(), paths.iter().map(|path| tree.size(path)).sum()))
        .collect();
    let known: u64 = sizes.iter().map(|(_, size)| size).sum();
    sizes.push(("Debian userland".to_owned(), tree.size("").saturating_sub(known)));
    sizes
}
