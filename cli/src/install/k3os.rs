//! The configuration of a k3OS that is on a disk, read and nothing else.

use anyhow::{Context, Result, bail, ensure};
use skerry_config::{Source, SourceKind, load};
use skerry_sys::block::labelled;
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{MountFlags, mount, unmount};
use std::path::{Path, PathBuf};

/// Where k3OS keeps it on its partition; the second is `/var/lib/rancher/k3os/config.yaml` of the running system, whose `/` is
/// `k3os/data`, but on boards where it lives beside another system.
const PLACES: [(SourceKind, &str); 3] = [
    (SourceKind::K3osSystem, "k3os/system/config.yaml"),
    (SourceKind::K3osLocal, "k3os/data/var/lib/rancher/k3os/config.yaml"),
    (SourceKind::K3osLocal, "var/lib/rancher/k3os/config.yaml"),
];

/// Reads it from the partition of a disk, which is mounted for so long, without so much as its journal being replayed.
pub fn config(disk: &str) -> Result<Vec<u8>> {
    let doing = || format!("reading the configuration of the k3OS on /dev/{disk}");
    let device = labelled("K3OS_STATE")?
        .into_iter()
        .find(|d| d.name == disk || d.disk.as_deref() == Some(disk))
        .with_context(|| format!("{}: it has no partition K3OS_STATE", doing()))?;
    let at = Mounted::new(&device.path).with_context(doing)?;
    merged(&at.0).with_context(doing)
}

struct Mounted(PathBuf);

impl Mounted {
    fn new(device: &Path) -> Result<Self> {
        let at = std::env::temp_dir().join(format!("skerry-k3os-{}", std::process::id()));
        if let Ok(index) = Index::of_running_kernel() {
            // It may be built in, or loaded; if not, the mount says what is missing.
            let _ = module::load(&index, "ext4", "");
        }
        skerry_sys::file::make_dir(&at, 0o700)?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if let Err(why) = mount(device, &at, "ext4", flags, "noload") {
            // It is empty.
            let _ = std::fs::remove_dir(&at);
            return Err(why.into());
        }
        Ok(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(why) = unmount(&self.0) {
            eprintln!("note: {why}");
        }
        // Never all of it: it may still be mounted.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// One text, if there is one; else what they come to together, as k3OS merged them.
fn merged(root: &Path) -> Result<Vec<u8>> {
    let mut sources = vec![];
    for (kind, place) in PLACES {
        let path = root.join(place);
        // A link could lead out of the partition.
        if path.symlink_metadata().is_ok_and(|m| m.is_file()) {
            let bytes = skerry_sys::file::read_bounded(&path, crate::settings::LONGEST)?;
            sources.push(Source::new(kind, format!("/{place}"), bytes));
        }
    }
    match sources.as_slice() {
        [] => bail!("there is none / try: without --take-over"),
        [one] => Ok(crate::settings::checked(&one.name, &one.bytes)?.0),
        several => {
            let loaded = load(several);
            ensure!(loaded.refused.is_empty(), "{} cannot be read", loaded.refused.join(", "));
            crate::settings::text(&loaded.config)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_taken_as_it_is_and_two_are_merged() {
        let root = std::env::temp_dir().join(format!("skerry-cli-k3os-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        assert!(merged(&root).is_err());
        let put = |place: &str, text: &str| {
            let path = root.join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            skerry_sys::file::replace(path, text.as_bytes(), 0o600).unwrap();
        };
        put(PLACES[0].1, "# mine\nhostname: one\nk3os: {token: abc}\n");
        assert_eq!(merged(&root).unwrap(), b"# mine\nhostname: one\nk3os: {token: abc}\n");
        put(PLACES[1].1, "hostname: two\n");
        let text = String::from_utf8(merged(&root).unwrap()).unwrap();
        assert!(text.contains("hostname: two") && text.contains("token: abc"), "{text}");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
