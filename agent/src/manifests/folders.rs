//! Looking into the folders, and waiting until something changes in them.

use super::objects;
use super::plan::{File, Folders};
use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use skerry_sys::file;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::unix::pipe::Receiver;

/// One file, bytes. The largest manifests that people apply (all of an operator's kinds) have some megabytes.
const LARGEST: usize = 8 << 20;
/// All files together, bytes.
const ALL: usize = 64 << 20;
const FILES: usize = 2000;
const DEPTH: usize = 8;

/// What was found, and a number that changes with it.
#[derive(Debug)]
pub struct Look {
    /// The files.
    pub folders: Folders,
    /// The same as long as they are the same.
    pub digest: u64,
}

/// Looks. `root` is put before the folders' names, for tests.
pub fn look(root: &Path, names: &[String]) -> Look {
    let found = list(root, names);
    let mut folders = Folders {
        files: BTreeMap::new(),
        unread: found.unread,
    };
    let mut digest = DefaultHasher::new();
    let mut left = ALL;
    for (path, (relative, on_disk)) in found.files {
        let file = if found.skips.contains(&relative) {
            File::Skipped
        } else {
            match file::read_text(&on_disk, LARGEST.min(left)) {
                Ok(text) => {
                    left = left.saturating_sub(text.len());
                    text.hash(&mut digest);
                    objects::read(&text, on_disk.extension().is_some_and(|e| e == "json")).map_or_else(File::Bad, File::Read)
                }
                Err(why) => File::Bad(why.to_string()),
            }
        };
        (&path, matches!(file, File::Skipped), matches!(file, File::Bad(_))).hash(&mut digest);
        folders.files.insert(path, file);
    }
    folders.unread.hash(&mut digest);
    Look {
        folders,
        digest: digest.finish(),
    }
}

fn list(root: &Path, names: &[String]) -> Found {
    let mut found = Found::default();
    for name in names {
        let dir = root.join(name.trim_start_matches('/'));
        found.list(&dir, name.trim_end_matches('/'), "", 0);
    }
    found
}

#[derive(Default)]
struct Found {
    /// The path as people know it → below its folder, and where it lies.
    files: BTreeMap<String, (String, PathBuf)>,
    /// Below any folder: k3s's habit to switch off what comes with it.
    skips: BTreeSet<String>,
    unread: BTreeMap<String, String>,
    /// What is to be watched.
    dirs: BTreeSet<PathBuf>,
}

impl Found {
    fn list(&mut self, dir: &Path, shown: &str, relative: &str, depth: usize) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                // What it will be made in.
                self.dirs.extend(dir.ancestors().find(|d| d.is_dir()).map(Path::to_owned));
                return;
            }
            Err(why) => {
                self.unread.insert(shown.to_owned(), why.to_string());
                return;
            }
        };
        self.dirs.insert(dir.to_owned());
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(why) => {
                    self.unread.insert(shown.to_owned(), why.to_string());
                    return;
                }
            };
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let lossy = entry.file_name().to_string_lossy().into_owned();
                self.unread.insert(format!("{shown}/{lossy}"), "its name is not UTF-8".to_owned());
                continue;
            };
            let below = if relative.is_empty() {
                name.clone()
            } else {
                format!("{relative}/{name}")
            };
            if path.is_dir() && !path.is_symlink() {
                if depth < DEPTH {
                    self.list(&path, &format!("{shown}/{name}"), &below, depth + 1);
                }
            } else if let Some(of) = below.strip_suffix(".skip") {
                self.skips.insert(of.to_owned());
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") && path.is_file() {
                if self.files.len() >= FILES {
                    self.unread.insert(shown.to_owned(), format!("more than {FILES} files"));
                    return;
                }
                self.files.insert(format!("{shown}/{name}"), (below, path));
            }
        }
    }
}

/// Hears of changes in folders. To the runtime, what is only read is a pipe.
#[derive(Debug)]
pub struct Ear(Receiver);

impl Ear {
    /// Begins to listen: to be opened before one looks.
    pub fn open(root: &Path, names: &[String]) -> Result<Self> {
        let ear = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("listening to changes of folders")?;
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        for dir in &list(root, names).dirs {
            // One that is gone by now is seen by the look that follows.
            let _ = inotify::add_watch(&ear, dir, what);
        }
        Ok(Self(
            Receiver::from_owned_fd_unchecked(ear).context("listening to changes of folders")?,
        ))
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        while !self.drain() {
            if self.0.readable().await.is_err() {
                // The runtime ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Forgets what has come; whether anything has.
    pub fn drain(&self) -> bool {
        let mut any = false;
        let mut scrap = [0u8; 4096];
        while self.0.try_read(&mut scrap).is_ok_and(|n| n > 0) {
            any = true;
        }
        any
    }
}

#[cfg(test)]
#[path = "folders_tests.rs"]
mod tests;
