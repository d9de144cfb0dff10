//! A configuration as it was read, with the units that came of it: the format of `last-good`.
//!
//! ```text
//! version   1
//! sources   KIND FILE NAME, a line a source, in the order in which they count
//! 00 01 …   the sources' bytes
//! units     the plan
//! ```

use crate::lines::joined;
use crate::root::Root;
use anyhow::{Context, Result, bail};
use skerry_config::{Source, SourceKind};
use skerry_sys::file;
use std::path::{Path, PathBuf};

/// The last configuration that led to a login or a cluster.
pub const LAST_GOOD: &str = "/var/lib/skerry/last-good";
/// What this boot runs with.
pub const THIS_BOOT: &str = "/run/skerry/plan";

const VERSION: &str = "1";

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The sources, in order.
    pub sources: Vec<Source>,
    /// The plan, as `skerry-units`.
    pub units: String,
}

/// Reads a store; none if there is none, or only part of one.
pub fn read(root: &Root, dir: &str) -> Result<Option<Stored>> {
    let dir = root.at(dir);
    if !dir.join("version").exists() {
        return Ok(None);
    }
    read_dir(&dir).with_context(|| format!("reading {}", dir.display())).map(Some)
}

fn read_dir(dir: &Path) -> Result<Stored> {
    let text = |name: &str| file::read_text(dir.join(name), 8 << 20);
    let version = text("version")?;
    if version.trim() != VERSION {
        bail!("it has format {:?}, and this release reads {VERSION}", version.trim());
    }
    let mut sources = vec![];
    for line in text("sources")?.lines() {
        let mut words = line.splitn(3, ' ');
        let (kind, name, shown) = (words.next(), words.next(), words.next());
        let (Some(kind), Some(name), Some(shown)) = (kind.and_then(kind_of), name, shown) else {
            bail!("a line of `sources` is not understood: {line:?}");
        };
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            bail!("a line of `sources` names no file of ours: {line:?}");
        }
        sources.push(Source::new(kind, shown, file::read_bounded(dir.join(name), 2 << 20)?));
    }
    Ok(Stored {
        sources,
        units: text("units")?,
    })
}

/// Writes a store beside `dir`, then puts it in place by one rename: after a power cut the old one is there or the new one, whole.
pub fn write(root: &Root, dir: &str, stored: &Stored) -> Result<()> {
    let dir = root.at(dir);
    let new = beside(&dir, "new");
    if new.exists() {
        std::fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
    }
    file::make_dir(&new, 0o700)?;
    let mut list = vec![];
    for (n, source) in stored.sources.iter().enumerate() {
        let name = format!("{n:02}");
        list.push(format!("{} {name} {}", word(source.kind)?, source.name.replace('\n', " ")));
        file::replace(new.join(name), &source.bytes, 0o600)?;
    }
    file::replace(new.join("sources"), joined(list).as_bytes(), 0o600)?;
    file::replace(new.join("units"), stored.units.as_bytes(), 0o600)?;
    file::replace(new.join("version"), format!("{VERSION}\n").as_bytes(), 0o600)?;
    swap(&new, &dir)
}

/// Puts `new` in the place of `dir`, by one rename, and removes what was there.
pub fn swap(new: &Path, dir: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, rename, renameat_with};
    if dir.exists() {
        renameat_with(CWD, new, CWD, dir, RenameFlags::EXCHANGE).with_context(|| format!("replacing {}", dir.display()))?;
    } else {
        rename(new, dir).with_context(|| format!("writing {}", dir.display()))?;
    }
    if let Some(parent) = dir.parent() {
        file::flush_dir(parent)?;
    }
    if new.exists() {
        std::fs::remove_dir_all(new).with_context(|| format!("removing {}", new.display()))?;
    }
    Ok(())
}

/// The path with something added to its last part.
pub fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    dir.with_file_name(name)
}

/// `k3os-config-d`, as serde writes it.
fn word(kind: SourceKind) -> Result<String> {
    Ok(serde_json::to_value(kind)?.as_str().unwrap_or_default().to_owned())
}

fn kind_of(word: &str) -> Option<SourceKind> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::{golden, scratch};

    fn stored(host: &str) -> Stored {
        let sources = vec![
            Source::new(SourceKind::K3osSystem, "/k3os/system/config.yaml", format!("hostname: {host}\n")),
            Source::new(SourceKind::Cmdline, "/proc/cmdline", b"console=ttyS0 \xff".to_vec()),
            Source::new(SourceKind::ConfigD, "/var/lib/skerry/config.d/a b", ""),
        ];
        Stored {
            sources,
            units: "skerry-units 1\n".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let root = scratch("store");
        assert_eq!(read(&root, LAST_GOOD).unwrap(), None);
        for host in ["a", "b"] {
            write(&root, LAST_GOOD, &stored(host)).unwrap();
            assert_eq!(read(&root, LAST_GOOD).unwrap().unwrap(), stored(host));
        }
        assert_eq!(std::fs::read_dir(root.at("/var/lib/skerry")).unwrap().count(), 1);
        // The format of version 1, for ever.
        golden("last-good/sources", &root.text("/var/lib/skerry/last-good/sources").unwrap());
    }

    /// What a power cut leaves at each of its steps: the old one is read, or the new one; and the next is written over it.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "files as a cut leaves them")]
    fn cut_anywhere_there_is_one_whole_store() {
        let root = scratch("store-cut");
        let (at, new) = (root.at(LAST_GOOD), beside(&root.at(LAST_GOOD), "new"));
        let files = ["00", "01", "02", "sources", "units", "version"];
        let (mut now, mut seen) = (None, 0usize);
        let mut next_is_written = |now: &mut Option<Stored>| {
            assert_eq!(read(&root, LAST_GOOD).unwrap(), *now);
            seen += 1;
            *now = Some(stored(&format!("h{seen}")));
            write(&root, LAST_GOOD, now.as_ref().unwrap()).unwrap();
            assert_eq!(read(&root, LAST_GOOD).unwrap(), *now);
            assert!(!new.exists());
        };
        for has_old in [false, true] {
            for written in 0..=files.len() {
                if !has_old && at.exists() {
                    std::fs::remove_dir_all(&at).unwrap();
                    now = None;
                }
                // Beside it, in the order in which they are written; the last of them may be half there.
                for half in [false, true] {
                    std::fs::create_dir_all(&new).unwrap();
                    for (n, file) in files[..written].iter().enumerate() {
                        let text = if half && n + 1 == written { "" } else { "something else" };
                        std::fs::write(new.join(file), text).unwrap();
                    }
                    next_is_written(&mut now);
                }
            }
        }
        // The two have changed places, and the removal of the old one came this far.
        for left in 0..=files.len() {
            let later = stored("later");
            write(&root, "/later", &later).unwrap();
            std::fs::rename(&at, &new).unwrap();
            std::fs::rename(root.at("/later"), &at).unwrap();
            for file in &files[left..] {
                std::fs::remove_file(new.join(file)).unwrap();
            }
            now = Some(later);
            next_is_written(&mut now);
        }
        assert_eq!(seen, 4 * (files.len() + 1) + files.len() + 1);
    }

    #[test]
    fn half_a_store_is_none_and_a_broken_one_is_named() {
        let root = scratch("store-broken");
        write(&root, LAST_GOOD, &stored("a")).unwrap();
        root.write("/var/lib/skerry/last-good/version", "2\n", 0o600).unwrap();
        assert!(format!("{:#}", read(&root, LAST_GOOD).unwrap_err()).contains("format \"2\""));
        std::fs::remove_file(root.at("/var/lib/skerry/last-good/version")).unwrap();
        assert_eq!(read(&root, LAST_GOOD).unwrap(), None);
    }
}
