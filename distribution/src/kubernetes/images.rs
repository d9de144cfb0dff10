//! Which image archives are to be imported.
//!
//! Names cannot be told from a compressed archive without reading all of it, so what an import brought is recorded, and the
//! archive is imported again only when it changed or when something that it brought is gone.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What earlier imports brought, by archive. Lies on data, beside containerd's store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// By path.
    pub archives: BTreeMap<String, Imported>,
}

/// One archive, as it was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// What told one state of the file from another.
    pub stamp: String,
    /// Names of the images that came from it.
    pub images: BTreeSet<String>,
}

/// An archive that lies there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where.
    pub path: String,
    /// Size and time; for the system's own also the release, whose files all have one time.
    pub stamp: String,
}

/// Whether a file is an image archive, by its name.
pub fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.starts_with('.')
        && [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// The archives to import, in order.
pub fn missing<'a>(archives: &'a [Archive], record: &Record, present: &BTreeSet<String>) -> Vec<&'a Archive> {
    let done = |a: &&Archive| {
        record
            .archives
            .get(&a.path)
            .is_some_and(|i| i.stamp == a.stamp && i.images.is_subset(present))
    };
    archives.iter().filter(|a| !done(a)).collect()
}

/// Notes what an import brought: what is new in the store, and what was known of the same file before.
pub fn note(record: &mut Record, archive: &Archive, before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let entry = record.archives.entry(archive.path.clone()).or_default();
    archive.stamp.clone_into(&mut entry.stamp);
    entry.images.retain(|i| after.contains(i));
    entry.images.extend(after.difference(before).cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn imported_once_and_again_when_changed_or_gone() {
        let mut archive = [Archive {
            path: "/a.tar".into(),
            stamp: "1".into(),
        }];
        let mut record = Record::default();
        assert_eq!(missing(&archive, &record, &set(&[])).len(), 1);
        note(&mut record, &archive[0], &set(&["old"]), &set(&["old", "new"]));
        assert_eq!(record.archives["/a.tar"].images, set(&["new"]));
        assert_eq!(missing(&archive, &record, &set(&["new"])).len(), 0);
        assert_eq!(missing(&archive, &record, &set(&["old"])).len(), 1);
        archive[0].stamp = "2".into();
        assert_eq!(missing(&archive, &record, &set(&["new"])).len(), 1);
        note(&mut record, &archive[0], &set(&["new"]), &set(&["new"]));
        assert_eq!(
            record.archives["/a.tar"],
            Imported {
                stamp: "2".into(),
                images: set(&["new"])
            }
        );
    }

    #[test]
    fn archives_by_name() {
        for (name, is) in [
            ("a.tar", true),
            ("a.TAR.GZ", true),
            ("a.tar.zst", true),
            ("a.txt", false),
            (".a.tar", false),
            ("tar", false),
        ] {
            assert_eq!(is_archive(name), is, "{name}");
        }
    }
}
