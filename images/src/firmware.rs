//! Firmware that the image's modules ask for, picked out of Debian's packages, and the processors' microcode.
//!
//! A module names its files (`modinfo -F firmware`, the kernel's `MODULE_FIRMWARE()`), some of them with `*`. Nothing else is taken.

use crate::cache::Cache;
use crate::cpio::{Archive, Entry};
use crate::debian::{self, Package, Request, Variant};
use crate::digest::{self, Key};
use crate::host::Mirror;
use crate::run;
use crate::tools::Root;
use crate::tree::{Body, Tree};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Packages to pick from, with their reasons.
pub const PACKAGES: &[(&str, &str)] = &[
    ("amd64-microcode", "repairs of AMD's processors"),
    ("firmware-ath9k-htc", "USB Wi-Fi"),
    ("firmware-atheros", "common Wi-Fi"),
    ("firmware-bnx2", "network cards of older servers"),
    ("firmware-bnx2x", "10 Gbit/s network cards of servers"),
    ("firmware-brcm80211", "the Pi's Wi-Fi, and that of small PCs"),
    ("firmware-cavium", "LiquidIO network cards"),
    ("firmware-intel-misc", "what 100 Gbit/s cards of Intel need to work at full speed"),
    ("firmware-iwlwifi", "the most common Wi-Fi"),
    ("firmware-linux-free", "free firmware of old USB devices"),
    ("firmware-mediatek", "common Wi-Fi"),
    ("firmware-misc-nonfree", "Tigon3, Chelsio, serial adapters, PHYs of boards"),
    ("firmware-myricom", "10 Gbit/s network cards"),
    ("firmware-qlogic", "network cards of servers"),
    ("firmware-realtek", "the most common network chip of small PCs; Wi-Fi"),
    ("intel-microcode", "repairs of Intel's processors"),
    ("wireless-regdb", "on which channels a country lets Wi-Fi speak"),
];

/// What was picked.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// For the image's `/usr/lib/firmware`.
    pub files: PathBuf,
    /// `PACKAGE/copyright`, for the image's `/usr/share/licenses`.
    pub licences: PathBuf,
    /// The processors' microcode, as the kernel reads it at the start of an initramfs.
    pub microcode: PathBuf,
    /// What it was unpacked from.
    pub packages: Vec<Package>,
}

/// Unpacks the packages and picks what the modules below `modules` ask for, unless the cache has it.
pub fn obtain(cache: &Cache, mirror: &Mirror, tools: &Root, modules: &Path, epoch: &str) -> Result<Firmware> {
    let names: Vec<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
    let request = Request {
        kind: "debian-firmware",
        packages: &names,
        variant: Variant::Extract,
        with_firmware: true,
        epoch,
    };
    let unpacked = debian::unpack(cache, mirror, &request)?;
    let key = Key::default()
        .with("form", "2")
        .with("from", unpacked.to_string_lossy().as_bytes())
        .with("for", modules.to_string_lossy().as_bytes())
        .finish();
    let picked = cache.entry("firmware", &key, |fresh| pick(tools, &unpacked.join("root/usr"), modules, fresh))?;
    let packages = debian::packages(&unpacked)?;
    Ok(Firmware {
        files: picked.join("files"),
        licences: picked.join("licences"),
        microcode: picked.join("microcode.cpio"),
        packages: packages
            .into_iter()
            .filter(|package| names.contains(&package.name.as_str()))
            .collect(),
    })
}

#[allow(clippy::disallowed_methods, reason = "a fresh folder of the cache: a killed build throws it away")]
fn pick(tools: &Root, usr: &Path, modules: &Path, fresh: &Path) -> Result<()> {
    let asked = asked_for(tools, modules)?;
    let all = Tree::scan(&usr.join("lib/firmware"))?;
    let chosen = choose(&asked, &all);
    let folder = fresh.join("files");
    fs::create_dir_all(&folder)?;
    chosen.write(&folder)?;
    for (package, _) in PACKAGES {
        let from = usr.join("share/doc").join(package).join("copyright");
        let to = fresh.join("licences").join(package);
        fs::create_dir_all(&to)?;
        fs::copy(&from, to.join("copyright")).with_context(|| format!("keeping the licence {}", from.display()))?;
    }
    fs::write(fresh.join("microcode.cpio"), microcode(&all)?)?;
    let files = chosen.0.values().filter(|node| node.body != Body::Folder).count();
    run::say(&format!(
        "  firmware: {files} files of {} MB; modules ask for {} names",
        chosen.size("") / 1_000_000,
        asked.len()
    ));
    Ok(())
}

fn has_ending(path: &str, ending: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, last)| last == ending)
}

/// The names that the modules ask for.
fn asked_for(tools: &Root, modules: &Path) -> Result<BTreeSet<String>> {
    let paths: Vec<PathBuf> = Tree::scan(modules)?
        .0
        .into_iter()
        .filter(|(path, node)| has_ending(path, "ko") && matches!(node.body, Body::Copy(_)))
        .map(|(path, _)| modules.join(path))
        .collect();
    let mut asked = BTreeSet::new();
    for some in paths.chunks(500) {
        let mut modinfo = tools.command("modinfo")?;
        modinfo.args(["-F", "firmware"]).args(some);
        let said = run::output("asking modules for their firmware", &mut modinfo)?;
        asked.extend(said.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    Ok(asked)
}

/// The part of `all` that is asked for: each file, the links on the way to it, and the folders around it.
fn choose(asked: &BTreeSet<String>, all: &Tree) -> Tree {
    let mut chosen = Tree::default();
    // iwlwifi names of some chips only what lies beside the file that it reads.
    let newest = asked.iter().filter_map(|name| versioned(name)).map(|(_, number)| number).max();
    let beside = asked.iter().filter_map(|name| name.strip_suffix(".pnvm").zip(newest));
    let unnamed: Vec<String> = beside.map(|(stem, newest)| format!("{stem}-{newest}.ucode")).collect();
    let is_named = |name: &&String| {
        !asked
            .iter()
            .filter_map(|a| versioned(a))
            .any(|(stem, _)| versioned(name).is_some_and(|v| v.0 == stem))
    };
    for name in asked.iter().chain(unnamed.iter().filter(is_named)) {
        for found in named(name, all) {
            take(&found, &found, all, &mut chosen);
        }
        // The regulatory database is signed by Debian; its package leaves the choice between it and another to a maintainer script.
        let signed = format!("{name}-debian");
        if all.0.contains_key(&signed) {
            take(&signed, name, all, &mut chosen);
        }
    }
    chosen
}

/// Copies a file, or a link and what it leads to.
fn take(from: &str, to: &str, all: &Tree, chosen: &mut Tree) {
    let mut next = Some((from.to_owned(), to.to_owned()));
    while let Some((from, to)) = next.take() {
        match all.0.get(&from).map(|node| &node.body) {
            Some(Body::Link(target)) => {
                chosen.link(&to, target);
                next = resolved(&from, target).map(|path| (path.clone(), path));
            }
            Some(Body::Folder) | None => {}
            Some(body) => chosen.put(&to, 0o644, body.clone()),
        }
        if next.as_ref().is_some_and(|(path, _)| chosen.0.contains_key(path)) {
            return;
        }
    }
}

/// Where a link leads, as a path below the folder of firmware.
fn resolved(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => _ = parts.pop()?,
            "." | "" => {}
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The files that a module's word stands for.
fn named(name: &str, all: &Tree) -> Vec<String> {
    if all.0.contains_key(name) {
        let mut found = vec![name.to_owned()];
        found.extend(beside(name, all));
        return found;
    }
    if name.contains('*') {
        let is_meant = |path: &&String| matches(name.as_bytes(), path.as_bytes());
        return all.0.keys().filter(is_meant).cloned().collect();
    }
    // iwlwifi names the newest interface it knows, and takes the newest file up to it.
    let Some((stem, newest)) = versioned(name) else { return vec![] };
    let older = all.0.keys().filter_map(|path| {
        let (of, number) = versioned(path)?;
        (of == stem && number <= newest).then_some((number, path.clone()))
    });
    let Some((_, path)) = older.max() else { return vec![] };
    let mut found = vec![path];
    found.extend(beside(name, all));
    found
}

/// What iwlwifi reads beside its file without naming it.
fn beside(name: &str, all: &Tree) -> Option<String> {
    let pnvm = format!("{}.pnvm", versioned(name)?.0);
    all.0.contains_key(&pnvm).then_some(pnvm)
}

/// `iwlwifi-cc-a0-77.ucode` → `iwlwifi-cc-a0`, 77.
fn versioned(name: &str) -> Option<(&str, u32)> {
    let file = name.rsplit('/').next().filter(|file| file.starts_with("iwlwifi-"));
    file?;
    let (stem, number) = name.strip_suffix(".ucode")?.rsplit_once('-')?;
    Some((stem, number.parse().ok()?))
}

/// Whether a path fits a pattern in which `*` stands for anything.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => matches(rest, path) || path.split_first().is_some_and(|(_, shorter)| matches(pattern, shorter)),
        (Some((a, pattern)), Some((b, path))) => a == b && matches(pattern, path),
        _ => false,
    }
}

/// An archive that the kernel reads before all else, uncompressed: one file a maker
/// (<https://docs.kernel.org/arch/x86/microcode.html>).
fn microcode(all: &Tree) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["kernel", "kernel/x86", "kernel/x86/microcode"] {
        archive.add(folder, &Entry::Folder);
    }
    for (maker, folder) in [("AuthenticAMD", "amd-ucode/"), ("GenuineIntel", "intel-ucode/")] {
        let mut parts: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
        for (path, node) in &all.0 {
            let is_code = path.starts_with(folder) && (maker == "GenuineIntel" || has_ending(path, "bin"));
            if let (true, Body::Copy(from)) = (is_code, &node.body) {
                let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
                // One update serves several processors, and is there once for each.
                parts.entry(digest::of(&bytes)).or_insert((path.clone(), bytes));
            }
        }
        let mut parts: Vec<(String, Vec<u8>)> = parts.into_values().collect();
        parts.sort();
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        archive.add(&format!("kernel/x86/microcode/{maker}.bin"), &Entry::File(0o644, &bytes));
    }
    let mut bytes = archive.finish();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> Tree {
        let mut tree = Tree::default();
        for name in [
            "iwlwifi-cc-a0-59.ucode",
            "iwlwifi-cc-a0-72.ucode",
            "iwlwifi-cc-a0-77.ucode",
            "iwlwifi-ty-a0-gf-a0-89.ucode",
            "iwlwifi-ty-a0-gf-a0.pnvm",
            "rtl_nic/rtl8168h-2.fw",
            "ath11k/A/hw2.0/board.bin",
            "ath11k/A/hw2.0/amss.bin",
            "ath11k/B/amss.bin",
            "regulatory.db-debian",
            "regulatory.db-upstream",
            "brcm/x-sdio.bin",
            "brcm/x-sdio.txt",
        ] {
            tree.text(name, 0o644, name);
        }
        tree.link("intel/ice/ice.pkg", "ice-1.3.pkg");
        tree.text("intel/ice/ice-1.3.pkg", 0o644, "x");
        tree.link("a/b/one", "../c/two");
        tree.link("a/c/two", "./three");
        tree.text("a/c/three", 0o644, "3");
        tree.link("a/round", "round");
        tree.link("a/out", "../../etc/shadow");
        tree
    }

    fn chosen(names: &[&str]) -> Vec<String> {
        let asked = names.iter().map(|&name| name.to_owned()).collect();
        let files = choose(&asked, &there()).0.into_iter();
        files.filter(|(_, node)| node.body != Body::Folder).map(|(path, _)| path).collect()
    }

    #[test]
    fn what_is_asked_for_comes_and_nothing_else() {
        for (asked, comes) in [
            (&["rtl_nic/rtl8168h-2.fw"][..], &["rtl_nic/rtl8168h-2.fw"][..]),
            (&["rtl_nic/none.fw"], &[]),
            (&["rtl_nic"], &[]),
            (&["ath11k/A/hw2.0/*"], &["ath11k/A/hw2.0/amss.bin", "ath11k/A/hw2.0/board.bin"]),
            (&["brcm/*-sdio.*.bin", "brcm/*-sdio.bin"], &["brcm/x-sdio.bin"]),
            (&["regulatory.db"], &["regulatory.db"]),
            (&["intel/ice/ice.pkg"], &["intel/ice/ice-1.3.pkg", "intel/ice/ice.pkg"]),
            (&["a/b/one"], &["a/b/one", "a/c/three", "a/c/two"]),
            (&["a/round"], &["a/round"]),
            (&["a/out"], &["a/out"]),
        ] {
            assert_eq!(chosen(asked), comes, "{asked:?}");
        }
    }

    #[test]
    fn of_wifi_the_newest_that_the_driver_knows() {
        for (asked, comes) in [
            ("iwlwifi-cc-a0-77.ucode", &["iwlwifi-cc-a0-77.ucode"][..]),
            ("iwlwifi-cc-a0-76.ucode", &["iwlwifi-cc-a0-72.ucode"]),
            ("iwlwifi-cc-a0-58.ucode", &[]),
            (
                "iwlwifi-ty-a0-gf-a0-92.ucode",
                &["iwlwifi-ty-a0-gf-a0-89.ucode", "iwlwifi-ty-a0-gf-a0.pnvm"],
            ),
            (
                "iwlwifi-ty-a0-gf-a0-89.ucode",
                &["iwlwifi-ty-a0-gf-a0-89.ucode", "iwlwifi-ty-a0-gf-a0.pnvm"],
            ),
        ] {
            assert_eq!(chosen(&[asked]), comes, "{asked}");
        }
    }

    #[test]
    fn of_wifi_whose_file_is_not_named_the_newest_of_all() {
        let both = ["iwlwifi-ty-a0-gf-a0-89.ucode", "iwlwifi-ty-a0-gf-a0.pnvm"];
        assert_eq!(chosen(&["iwlwifi-ty-a0-gf-a0.pnvm"]), both[1..]);
        assert_eq!(chosen(&["iwlwifi-ty-a0-gf-a0.pnvm", "iwlwifi-xy-90.ucode"]), both);
        assert_eq!(chosen(&["iwlwifi-ty-a0-gf-a0.pnvm", "iwlwifi-xy-88.ucode"]), both[1..]);
    }

    #[test]
    fn stars() {
        for (pattern, path, fits) in [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("*", "", true),
            ("", "a", false),
            ("a/*/b*.bin", "a/x/y/b1.bin", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_has_a_reason_a_row() {
        assert!(PACKAGES.is_sorted_by(|a, b| a.0 < b.0) && PACKAGES.iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn microcode_is_an_archive_of_two_files() {
        let folder = std::env::temp_dir().join(format!("skerry-microcode-{}", std::process::id()));
        let mut tree = Tree::default();
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in [
            ("amd-ucode/b.bin", "AMD"),
            ("amd-ucode/b.bin.asc", "signature"),
            ("intel-ucode/06-01", "INTEL1"),
            ("intel-ucode/06-02", "INTEL1"),
            ("intel-ucode/06-03", "INTEL2"),
        ] {
            let from = folder.join(path.replace('/', "-"));
            fs::File::create(&from)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .unwrap();
            tree.put(path, 0o644, Body::Copy(from));
        }
        let made = microcode(&tree).unwrap();
        assert_eq!(made.len() % 512, 0);
        let text = String::from_utf8_lossy(&made);
        assert!(text.contains("kernel/x86/microcode/GenuineIntel.bin\0"), "{text}");
        assert!(text.contains("INTEL1INTEL2") && text.contains("AMD") && !text.contains("signature"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
