//! `import`: image archives that are missing from containerd's store.

use super::{look, program};
use anyhow::{Result, bail};
use skerry_distribution::kubernetes::images::{self, Archive, Record};
use skerry_distribution::kubernetes::paths::{IMAGES, OWNER_IMAGES, STATE};
use skerry_sys::file;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

const CTR: [&str; 4] = ["/usr/bin/ctr", "-n", "k8s.io", "images"];

/// Which archives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The sandbox image alone: every pod needs it.
    Pause,
    /// All: the system's and the owner's.
    All,
}

/// The smallest first, so that what is small does not wait for what is large. An archive of the owner's that cannot be read is named, and the rest goes on; the system's
/// own are tried again.
pub fn run(which: Which) -> Result<()> {
    let m = look::machine()?;
    let path = format!("{STATE}/images.json");
    let mut record: Record = serde_json::from_str(&look::text(&path)).unwrap_or_default();
    let before = record.clone();
    let mut archives = archives(IMAGES, &m.facts.release.version);
    archives.extend(self::archives(OWNER_IMAGES, ""));
    archives.sort_by_key(|a| a.0);
    let archives: Vec<Archive> = archives.into_iter().map(|a| a.1).collect();
    let wanted: Vec<Archive> = archives
        .iter()
        .filter(|a| which == Which::All || a.path.ends_with("/pause.tar"))
        .cloned()
        .collect();
    let mut present = present()?;
    let mut failed = vec![];
    for archive in images::missing(&wanted, &record.clone(), &present) {
        // Pinned: garbage collection leaves it. It could not be pulled again. On the disk before containerd's store says that it is
        // there: else a power cut leaves empty files in an image that nobody would unpack again.
        let import = [
            "import",
            "--local",
            "--sync-fs",
            "--label",
            "io.cri-containerd.pinned=pinned",
            archive.path.as_str(),
        ];
        match program::output(&[&CTR[..], &import[..]].concat(), None) {
            Ok(_) => {
                let after = self::present()?;
                images::note(&mut record, archive, &present, &after);
                println!("imported {}", archive.path);
                present = after;
            }
            Err(why) => {
                eprintln!("importing {}: {why:#}", archive.path);
                failed.push(archive.path.as_str());
            }
        }
    }
    record.archives.retain(|path, _| archives.iter().any(|a| a.path == *path));
    if record != before {
        file::replace(path, serde_json::to_string_pretty(&record)?.as_bytes(), 0o600)?;
    }
    match failed.iter().find(|f| f.starts_with(IMAGES)) {
        Some(own) => bail!("importing {own}: see above; is the data partition full?"),
        None => Ok(()),
    }
}

fn present() -> Result<BTreeSet<String>> {
    let list = program::output(&[&CTR[..], &["list", "-q"]].concat(), None)?;
    Ok(list.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect())
}

/// With their sizes.
fn archives(dir: &str, release: &str) -> Vec<(u64, Archive)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    let archive = |e: std::fs::DirEntry| {
        let meta = std::fs::metadata(e.path()).ok().filter(std::fs::Metadata::is_file)?;
        let name = e.file_name().into_string().ok().filter(|n| images::is_archive(n))?;
        let stamp = format!("{} {}.{} {release}", meta.len(), meta.mtime(), meta.mtime_nsec());
        Some((
            meta.len(),
            Archive {
                path: format!("{dir}/{name}"),
                stamp,
            },
        ))
    };
    entries.filter_map(|e| archive(e.ok()?)).collect()
}
