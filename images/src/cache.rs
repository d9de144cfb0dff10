//! What was made once, kept by the content of its inputs under `~/.cache/skerry`.
//!
//! An entry is a folder `KIND/KEY`. It is made in `tmp/` and renamed when whole, so an entry that exists is good;
//! what a killed build left in `tmp/` is removed by the next one. One build at a time holds the cache.

use crate::run::say;
use anyhow::{Context, Result};
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many entries of a kind are kept; older ones go.
const KEPT: usize = 3;

/// The cache, held by this process until it is dropped.
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache of `home` (or the folder that `SKERRY_CACHE` names), waiting for a build that holds it.
    pub fn open(home: &Path, named: Option<&Path>) -> Result<Self> {
        let root = named.map_or_else(|| home.join(".cache/skerry"), Path::to_path_buf);
        fs::create_dir_all(&root).with_context(|| format!("making the cache {}", root.display()))?;
        let path = root.join("lock");
        let lock = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            say("waiting for another build to end (it holds the cache)");
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
        }
        let cache = Self { root, _lock: lock };
        remove(&cache.root.join("tmp"))?;
        Ok(cache)
    }

    /// Where logs of the steps are written.
    pub fn log(&self, step: &str) -> PathBuf {
        self.root.join("log").join(format!("{step}.log"))
    }

    /// A folder that lives as long as the cache: cargo and Go keep order in theirs by themselves.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// An empty folder for work in progress, gone at the next start.
    pub fn work(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join("tmp").join(name);
        remove(&path)?;
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// The entry, if it is there.
    pub fn find(&self, kind: &str, key: &str) -> Option<PathBuf> {
        let path = self.root.join(kind).join(key);
        path.is_dir().then_some(path)
    }

    /// The entry; `make` fills a fresh folder first if it is not there yet.
    pub fn entry(&self, kind: &str, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.root.join(kind).join(key);
        if !path.is_dir() {
            let fresh = self.work(&format!("{kind}-{key}"))?;
            make(&fresh)?;
            fs::create_dir_all(self.root.join(kind))?;
            fs::rename(&fresh, &path).with_context(|| format!("keeping {}", path.display()))?;
        }
        let now = FileTimes::new().set_modified(SystemTime::now());
        let _ = File::open(&path).and_then(|folder| folder.set_times(now)); // only tells which entry is oldest
        self.prune(kind)?;
        Ok(path)
    }

    fn prune(&self, kind: &str) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.root.join(kind))? {
            let entry = entry?;
            entries.push((entry.metadata()?.modified()?, entry.path()));
        }
        entries.sort();
        entries.reverse();
        entries.iter().skip(KEPT).try_for_each(|(_, path)| remove(path))
    }
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("removing {}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("skerry-cache-{name}-{}", std::process::id()));
        remove(&path).unwrap();
        path
    }

    #[test]
    fn an_entry_is_made_once_and_never_half() {
        let home = scratch("once");
        let cache = Cache::open(&home, None).unwrap();
        let failed = cache.entry("thing", "k", |folder| {
            File::create(folder.join("half"))?;
            bail!("download broke")
        });
        assert!(failed.is_err() && cache.find("thing", "k").is_none());
        let made = cache
            .entry("thing", "k", |folder| Ok(fs::create_dir(folder.join("whole"))?))
            .unwrap();
        assert!(made.join("whole").is_dir() && !made.join("half").exists());
        let again = cache.entry("thing", "k", |_| bail!("must not be made twice")).unwrap();
        assert_eq!(again, made);
        remove(&home).unwrap();
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let home = scratch("killed");
        let left = Cache::open(&home, None).unwrap().work("half").unwrap();
        assert!(left.is_dir());
        let _cache = Cache::open(&home, None).unwrap();
        assert!(!left.exists());
        remove(&home).unwrap();
    }

    #[test]
    fn only_the_newest_entries_stay() {
        let home = scratch("newest");
        let cache = Cache::open(&home, None).unwrap();
        for key in ["a", "b", "c", "d", "e"] {
            cache.entry("thing", key, |_| Ok(())).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        assert!(cache.find("thing", "a").is_none() && cache.find("thing", "e").is_some());
        assert_eq!(fs::read_dir(cache.root.join("thing")).unwrap().count(), KEPT);
        remove(&home).unwrap();
    }
}
