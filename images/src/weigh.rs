//! What weighs how much in a release, against the goal: a table for people.

use crate::erofs::{self, Entry};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Without Kubernetes and without firmware, in bytes.
pub const GOAL: u64 = 60_000_000;

const LEVERS: &str = "fewer modules (images/src/modules.rs), fewer packages (images/src/debian.rs), one program of ours for all names, \
    zstd instead of lz4 (slower to read)";

/// Whether a group counts for the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    Kubernetes,
    Firmware,
}

/// Groups by where their files lie; the first that fits.
const GROUPS: [(&str, Counts, &[&str]); 10] = [
    ("Kubernetes, kine, etcd", Counts::Kubernetes, &["usr/libexec/kubernetes"]),
    (
        "containerd, runc",
        Counts::Kubernetes,
        &[
            "usr/bin/containerd",
            "usr/bin/containerd-shim-runc-v2",
            "usr/sbin/runc",
            "usr/bin/runc",
        ],
    ),
    ("CNI plugins", Counts::Kubernetes, &["usr/libexec/cni"]),
    ("container images", Counts::Kubernetes, &["usr/share/skerry/images"]),
    ("firmware", Counts::Firmware, &["usr/lib/firmware"]),
    ("kernel modules", Counts::Yes, &["usr/lib/modules"]),
    ("our own programs", Counts::Yes, &["usr/lib/skerry", "usr/bin/skerry"]),
    ("time zones", Counts::Yes, &["usr/share/zoneinfo"]),
    ("Debian libraries", Counts::Yes, &["usr/lib", "usr/lib64"]),
    ("Debian programs, the rest", Counts::Yes, &[""]),
];

/// The table of the release in `folder`.
pub fn report(folder: &Path) -> Result<String> {
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}: `make image` makes it", path.display()))?;
    let manifest: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    let files = manifest
        .get("files")
        .and_then(Value::as_object)
        .context("reading the manifest: it names no files")?;
    let files: BTreeMap<&str, u64> = files
        .iter()
        .map(|(name, file)| (name.as_str(), file.get("size").and_then(Value::as_u64).unwrap_or(0)))
        .collect();
    let text = |name: &str| manifest.get(name).and_then(Value::as_str).unwrap_or("?");
    let title = format!(
        "Skerry {}  kernel {}  Kubernetes {}",
        text("version"),
        text("kernel"),
        text("kubernetes")
    );
    let root = erofs::list(&folder.join("root.img"))?;
    let initrd = folder.join("initrd.img");
    let microcode = microcode(&fs::read(&initrd).with_context(|| format!("reading {}", initrd.display()))?);
    Ok(format!(
        "{title}\n\n{}\nroot hash {}",
        table(&files, microcode, &root),
        text("roothash")
    ))
}

/// How much of an initramfs is the processors' microcode: what lies before the compressed rest.
fn microcode(initrd: &[u8]) -> u64 {
    const ZSTD: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    if !initrd.starts_with(b"070701") {
        return 0;
    }
    // An archive is padded to whole sectors, and no text of its own begins one like this.
    let sectors = initrd.chunks(512).position(|sector| sector.starts_with(&ZSTD));
    sectors.map_or(0, |n| n as u64 * 512)
}

fn table(files: &BTreeMap<&str, u64>, microcode: u64, root: &[Entry]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{:<34}{:>9}", "part", "MB");
    for (name, bytes) in files {
        let _ = writeln!(out, "  {name:<32}{:>9}", mb(*bytes));
        if *name == "initrd.img" && microcode > 0 {
            let _ = writeln!(out, "*   of it microcode (firmware)    {:>9}", mb(microcode));
        }
    }
    let total: u64 = files.values().sum();
    let _ = writeln!(out, "  {:<32}{:>9}\n", "all", mb(total));
    let _ = writeln!(out, "{:<34}{:>9}{:>14}{:>8}", "in root.img", "MB", "unpacked MB", "files");
    let mut left_out = microcode;
    let mut known = 0;
    let groups = grouped(root);
    for ((name, counts, _), group) in GROUPS.iter().zip(&groups) {
        let mark = if *counts == Counts::Yes { " " } else { "*" };
        let _ = writeln!(
            out,
            "{mark} {name:<32}{:>9}{:>14}{:>8}",
            mb(group.stored),
            mb(group.bytes),
            group.files
        );
        known += group.stored;
        if *counts != Counts::Yes {
            left_out += group.stored;
        }
    }
    let rest = files.get("root.img").copied().unwrap_or(0).saturating_sub(known);
    let _ = writeln!(out, "  {:<32}{:>9}\n", "inodes, the hash tree", mb(rest));
    let counted = total.saturating_sub(left_out);
    let verdict = if counted < GOAL {
        "reached".to_owned()
    } else {
        format!("{} MB above it", mb(counted - GOAL))
    };
    let _ = writeln!(
        out,
        "without Kubernetes and firmware (*) {} MB; the goal is {} MB: {verdict}",
        mb(counted),
        mb(GOAL)
    );
    let _ = writeln!(out, "what would bring it down: {LEVERS}. The largest of what counts:");
    for (name, bytes) in largest(root) {
        let _ = writeln!(out, "  {name:<48}{:>9}", mb(bytes));
    }
    out
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    stored: u64,
    bytes: u64,
    files: usize,
}

fn group_of(path: &str) -> usize {
    let lies_in = |folder: &&str| {
        folder.is_empty()
            || path
                .strip_prefix(*folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    GROUPS
        .iter()
        .position(|(_, _, folders)| folders.iter().any(&lies_in))
        .unwrap_or(GROUPS.len() - 1)
}

fn grouped(root: &[Entry]) -> Vec<Group> {
    let mut groups = vec![Group::default(); GROUPS.len()];
    for entry in root {
        if let Some(group) = groups.get_mut(group_of(&entry.path)) {
            group.stored += entry.stored;
            group.bytes += entry.bytes;
            group.files += 1;
        }
    }
    groups
}

/// What counts, by the fifth folder of modules and the file of all else.
fn largest(root: &[Entry]) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for entry in root {
        if GROUPS.get(group_of(&entry.path)).is_some_and(|g| g.1 != Counts::Yes) {
            continue;
        }
        let parts: Vec<&str> = entry.path.split('/').collect();
        let name = match parts.as_slice() {
            ["usr", "lib", "modules", _, "kernel", a, b, ..] => format!("modules: {a}/{b}"),
            ["usr", "share", "zoneinfo", ..] => "usr/share/zoneinfo".to_owned(),
            _ => entry.path.clone(),
        };
        *sums.entry(name).or_default() += entry.stored;
    }
    let mut sums: Vec<(String, u64)> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sums.truncate(14);
    sums
}

/// Millions of bytes, with one digit behind the point.
fn mb(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_told_from_what_does_not() {
        let entry = |path: &str, stored: u64| Entry {
            path: path.to_owned(),
            bytes: stored * 2,
            stored,
        };
        let root = [
            entry("", 100),
            entry("usr/libexec/kubernetes/kubernetes", 50_000_000),
            entry("usr/bin/containerd", 10_000_000),
            entry("usr/bin/containerdx", 1_000_000),
            entry("usr/lib/firmware/x.bin", 7_000_000),
            entry("usr/lib/modules/6/kernel/net/a/x.ko", 20_000_000),
            entry("usr/lib/modules/6/kernel/net/a/y.ko", 5_000_000),
            entry("usr/lib/x86_64-linux-gnu/libc.so.6", 900_000),
        ];
        let files = BTreeMap::from([("root.img", 95_000_000), ("vmlinuz", 12_000_000)]);
        let said = table(&files, 1_000_000, &root);
        assert!(
            said.contains("without Kubernetes and firmware (*) 39.0 MB; the goal is 60.0 MB: reached"),
            "{said}"
        );
        assert!(said.contains("modules: net/a") && said.contains("25.0"), "{said}");
        assert_eq!(grouped(&root)[1].files, 1);
    }

    #[test]
    fn microcode_is_told_from_the_rest_of_an_initramfs() {
        let rest = [0x28, 0xB5, 0x2F, 0xFD, 1, 2, 3];
        let mut early = b"070701".to_vec();
        early.resize(1024, 7);
        assert_eq!(microcode(&rest), 0);
        assert_eq!(microcode(&early), 0);
        assert_eq!(microcode(&[&early[..], &rest[..]].concat()), 1024);
    }
}
