//! The machine that is to be updated: its disk, the slot that runs, and the version in it.

use crate::trust;
use anyhow::{Context, Result, bail, ensure};
use semver::Version;
use serde::Deserialize;
use skerry_installer::content::Digest;
use skerry_installer::layout::{Arch, Part};
use skerry_slots::state::Slot;
use skerry_sys::block::{self, Device};
use skerry_sys::file::{make_dir, read_text};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Where a system says what it is.
const RELEASE: &str = "/usr/share/skerry/release.json";
/// Held while a slot is written.
const LOCK: &str = "/run/skerry/upgrade.lock";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The disk that was booted: `/dev/vda`.
    pub disk: PathBuf,
    /// The slot that runs.
    pub running: Slot,
    /// The version in it.
    pub version: Version,
    /// The processor.
    pub arch: Arch,
}

#[derive(Deserialize)]
struct Inside {
    version: String,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Result<Self> {
        let cmdline = read_text("/proc/cmdline", 1 << 16)?;
        let (disk, running) = slot(block::below_root()?, &cmdline)?;
        let text = read_text(RELEASE, 1 << 16).context("looking at the system that runs: it is no release of Skerry")?;
        let inside: Inside = serde_json::from_str(&text).with_context(|| format!("reading {RELEASE}"))?;
        Ok(Self {
            disk,
            running,
            version: Version::parse(&inside.version).with_context(|| format!("reading the version in {RELEASE}"))?,
            arch: arch(std::env::consts::ARCH)?,
        })
    }

    /// What [`trust::check`] wants to know. `failed`: root hashes of releases that did not prove themselves here.
    pub fn facts(&self, layout: &skerry_installer::layout::Layout, failed: Vec<Digest>) -> trust::Facts {
        let [boot, root] = parts(self.running.other()).map(|part| layout.place(part));
        trust::Facts {
            arch: self.arch,
            running: Some(self.version.clone()),
            slot: boot.zip(root).map(|(boot, root)| [boot, root]),
            failed,
        }
    }
}

/// The partitions of a slot: boot, root.
pub fn parts(slot: Slot) -> [Part; 2] {
    match slot {
        Slot::A => [Part::BootA, Part::RootA],
        Slot::B => [Part::BootB, Part::RootB],
    }
}

/// The disk and the slot, by what lies below `/`; GRUB's word for the slot has to agree.
fn slot(root: Option<Device>, cmdline: &str) -> Result<(PathBuf, Slot)> {
    const ELSEWHERE: &str = "this system does not run from a slot of a disk, so there is no other slot to write / try: `skerry install`";
    let root = root.context(ELSEWHERE)?;
    let named = root.partition_label.as_deref().and_then(|label| label.strip_prefix("root-"));
    let (Some(running), Some(disk)) = (named.and_then(Slot::parse), root.disk) else {
        bail!(ELSEWHERE);
    };
    let said = cmdline.split_whitespace().rev().find_map(|word| word.strip_prefix("skerry.slot="));
    ensure!(
        said == Some(running.name()),
        "finding the slot that runs: the root is on {}, and the boot loader says skerry.slot={} / try: restart the machine",
        root.partition_label.unwrap_or_default(),
        said.unwrap_or("(nothing)")
    );
    Ok((Path::new("/dev").join(disk), running))
}

fn arch(word: &str) -> Result<Arch> {
    match word {
        "x86_64" => Ok(Arch::Amd64),
        "aarch64" => Ok(Arch::Arm64),
        other => bail!("looking at the processor: {other} is not known"),
    }
}

/// Held by whoever writes slots or the boot state for long; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "it is held by being there")] File);

/// Makes sure that no other update is going on.
pub fn hold() -> Result<Held> {
    hold_at(Path::new(LOCK))
}

fn hold_at(path: &Path) -> Result<Held> {
    if let Some(folder) = path.parent() {
        make_dir(folder, 0o755)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Held(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("starting the update: another one is going on / try: wait for it"),
        Err(why) => Err(why).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(label: &str) -> Device {
        Device {
            name: "vda4".into(),
            path: "/dev/vda4".into(),
            bytes: 1,
            is_read_only: false,
            partition_label: Some(label.into()),
            partition: Some(4),
            guid: None,
            disk: Some("vda".into()),
        }
    }

    #[test]
    fn disk_and_boot_loader_must_agree() {
        let found = slot(Some(device("root-a")), "gpt skerry.slot=a skerry.why=good").unwrap();
        assert_eq!(found, (PathBuf::from("/dev/vda"), Slot::A));
        for (root, cmdline, why) in [
            (Some(device("root-a")), "skerry.slot=b", "says skerry.slot=b"),
            (Some(device("root-a")), "", "says skerry.slot=(nothing)"),
            (Some(device("rootfs")), "skerry.slot=a", "does not run from a slot"),
            (None, "skerry.slot=a", "does not run from a slot"),
        ] {
            let said = slot(root, cmdline).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn one_at_a_time() {
        let path = std::env::temp_dir().join(format!("skerry-hold-{}/lock", std::process::id()));
        let held = hold_at(&path).unwrap();
        assert!(hold_at(&path).unwrap_err().to_string().contains("another one is going on"));
        drop(held);
        assert!(hold_at(&path).is_ok());
    }
}
