//! How much space the tests take on this computer's disk, and what of it they give back.

use crate::machine::release;
use std::path::{Path, PathBuf};

/// Files above this are disks and images; what is read afterwards (consoles, logs) is smaller.
const DISK: u64 = 4 << 20;

/// Removes the disks of machines that did as they should; `SKERRY_KEEP=1` leaves them.
pub fn tidy(folder: &Path) {
    if std::env::var_os("SKERRY_KEEP").is_none() {
        for path in disks(folder) {
            let _ = std::fs::remove_file(path); // it only takes space
        }
    }
}

fn disks(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(data) if data.is_dir() => found.extend(disks(&entry.path())),
            Ok(data) if data.is_file() && data.len() > DISK => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Says so if there is less space left than the tests may take.
pub fn warning(free: u64) -> Option<String> {
    const GIB: u64 = 1 << 30;
    (free < NEEDED).then(|| {
        format!(
            "{} GiB left on the disk; the first run of all tests takes up to {} (`make clean` gives back target/; the cache is ~/.cache/skerry)",
            free / GIB,
            NEEDED / GIB
        )
    })
}

/// What a whole run takes at most, from nothing: caches, compilers' files, machines' disks.
const NEEDED: u64 = 20 << 30;

/// The space left on the file system that holds the build products; none where they are not there yet.
pub fn free() -> Option<u64> {
    skerry_sys::file::space(&release::target()).ok().map(|space| space.available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_stay_and_disks_go() {
        let dir = std::env::temp_dir().join(format!("skerry-space-{}", std::process::id()));
        let inner = dir.join("node-1");
        std::fs::create_dir_all(&inner).unwrap();
        for (name, length) in [("serial.log", 10), ("data.img", DISK + 1)] {
            std::fs::File::create(inner.join(name)).unwrap().set_len(length).unwrap();
        }
        assert_eq!(disks(&dir), [inner.join("data.img")]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn little_space_is_said() {
        assert_eq!(warning(NEEDED), None);
        let said = warning(2 << 30).unwrap();
        assert!(said.starts_with("2 GiB left"), "{said}");
    }
}
