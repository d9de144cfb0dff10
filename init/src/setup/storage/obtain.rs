//! Gets a state to write to: the disk if it can be trusted with it, else memory.

use super::check::{self, Verdict};
use super::find::Found;
use super::report::{Mode, Report};
use anyhow::Result;
use skerry_overlay::table::{FILE, ROWS};
use skerry_overlay::version::{self, Tree};
use skerry_overlay::{MOUNT_OPTIONS, STATE};
use skerry_sys::block::{self, Device};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::{file, tree};
use std::path::Path;

/// Where a disk that must not be written is looked at.
const ASIDE: &str = "/run/skerry/data";

/// Mounts the state. It fails only if not even memory can be mounted.
pub fn obtain(found: Found, say: &impl Fn(&str)) -> Result<Report> {
    let (mode, device, why) = match found {
        Found::Live(why) => (Mode::Live, None, why),
        Found::Missing(why) => (Mode::Degraded, None, why),
        Found::Ambiguous(devices) => (Mode::Degraded, None, ambiguous(&devices)),
        Found::Booted(device) | Found::Data(device) => match disk(&device, say) {
            Ok(why) => (Mode::Disk, Some(device.path), why),
            Err(why) => (Mode::Degraded, Some(device.path), why),
        },
    };
    let mut report = Report {
        mode,
        device: device.as_ref().map(|d| d.display().to_string()),
        why,
        problems: vec![],
    };
    if mode != Mode::Disk {
        mount::mount("state", STATE, "tmpfs", MountFlags::empty(), "mode=0755,size=75%")?;
    }
    if let (Mode::Degraded, Some(device)) = (mode, device) {
        report.problems.extend(take_identity_from(&device));
    }
    Ok(report)
}

fn ambiguous(devices: &[Device]) -> String {
    let names: Vec<_> = devices.iter().map(|d| d.path.display().to_string()).collect();
    format!(
        "{} are all labelled {}, and to choose would be to guess; unplug one, or relabel it: e2label DEVICE OTHER",
        names.join(" and "),
        skerry_overlay::LABEL
    )
}

/// Mounts the disk at the state's place; the error is a sentence for a person.
fn disk(device: &Device, say: &impl Fn(&str)) -> Result<String, String> {
    if device.is_read_only {
        return Err(READ_ONLY.to_owned());
    }
    let device = device.path.as_path();
    let found = block::ext4(device).map_err(|why| why.to_string())?;
    let why = match check::check(device, found.as_ref(), say) {
        Verdict::Sound(why) => why,
        Verdict::Unsound(why) => return Err(why),
    };
    mount::mount(device, STATE, "ext4", MountFlags::NOATIME, MOUNT_OPTIONS).map_err(|why| why.to_string())?;
    let trusted = is_writable().and_then(|()| match version::read(read_version()?.as_deref()) {
        Tree::Fresh | Tree::Known(_) => Ok(why),
        Tree::Foreign(foreign) => Err(foreign.to_string()),
    });
    if trusted.is_err() {
        // Lazily: nothing holds it yet, and it must be out of the way in any case.
        let _ = mount::unmount_lazy(STATE);
    }
    trusted
}

const READ_ONLY: &str = "it can only be read; is it write-protected, or at its end?";

/// A file system with recorded errors may mount read-only without a word.
fn is_writable() -> Result<(), String> {
    let mounted = mount::mounted().map_err(|why| why.to_string())?;
    match mounted.iter().rev().find(|m| m.target == Path::new(STATE)) {
        Some(found) if found.is_read_only() => Err(READ_ONLY.to_owned()),
        _ => Ok(()),
    }
}

fn read_version() -> Result<Option<Vec<u8>>, String> {
    let path = Path::new(STATE).join("version");
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => file::read_bounded(path, 64).map(Some).map_err(|why| why.to_string()),
    }
}

/// Copies what says who the machine is, and who may log in, so that a broken disk does not lock its owner out.
fn take_identity_from(device: &Path) -> Vec<String> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = file::make_dir(ASIDE, 0o700)
        // Without its journal if that is not in order: nothing is written to this disk.
        .and_then(|()| mount::mount(device, ASIDE, "ext4", flags, "").or_else(|_| mount::mount(device, ASIDE, "ext4", flags, "noload")));
    if let Err(why) = mounted {
        return vec![format!("reading the configuration from {}: {why}", device.display())];
    }
    let problems = copy_identity(Path::new(ASIDE), Path::new(STATE));
    // Nothing holds it.
    let _ = mount::unmount_lazy(ASIDE);
    problems
}

fn copy_identity(from: &Path, to: &Path) -> Vec<String> {
    let mut problems = vec![];
    for row in ROWS.iter().filter(|row| row.is_identity && row.source != "version") {
        let source = from.join(row.source);
        if !source.exists() {
            continue;
        }
        let target = to.join(row.source);
        let parent = target.parent().unwrap_or(to);
        let copied = if row.mode == FILE {
            file::make_dir(parent, 0o755)
                .and_then(|()| file::read_bounded(&source, 1 << 20))
                .and_then(|bytes| file::replace(&target, &bytes, 0o600))
        } else {
            file::make_dir(&target, row.mode).and_then(|()| tree::fill(&source, &target).map(drop))
        };
        problems.extend(copied.err().map(|why| format!("taking {} along: {why}", row.source)));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_the_machine_is_goes_along_and_the_rest_stays() {
        let dir = std::env::temp_dir().join(format!("skerry-identity-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (from, to) = (dir.join("from"), dir.join("to"));
        for (path, content) in [
            ("system/config.yaml", "c"),
            ("etc/machine-id", "m"),
            ("etc/kubernetes/pki/ca.key", "k"),
            ("version", "9"),
        ] {
            file::make_dir(from.join(path).parent().unwrap(), 0o755).unwrap();
            file::replace(from.join(path), content.as_bytes(), 0o644).unwrap();
        }
        assert_eq!(copy_identity(&from, &to), Vec::<String>::new());
        assert_eq!(file::read_text(to.join("system/config.yaml"), 9).unwrap(), "c");
        assert_eq!(file::read_text(to.join("etc/machine-id"), 9).unwrap(), "m");
        assert!(!to.join("etc/kubernetes").exists() && !to.join("version").exists());
    }

    #[test]
    fn both_are_named() {
        let device = |name: &str| Device {
            name: name.into(),
            path: Path::new("/dev").join(name),
            bytes: 1,
            partition_label: None,
            partition: None,
            guid: None,
            disk: None,
            is_read_only: false,
        };
        assert!(ambiguous(&[device("sda3"), device("sdb3")]).starts_with("/dev/sda3 and /dev/sdb3 are all labelled SKERRY_STATE"));
    }
}
