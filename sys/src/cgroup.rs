//! Control groups (version 2): one per unit, so that nothing a unit starts can escape it.
//!
//! Paths are as in `/proc/PID/cgroup`: `/init.scope`, `/system/netd`. Where there is no cgroup file system every call returns an
//! error, and none of them is a reason for PID 1 to stop.

use crate::{Doing, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the tree is mounted.
pub const ROOT: &str = "/sys/fs/cgroup";
/// How many processes of one group are looked at; a fork bomb is ended by [`Cgroup::kill`], which needs no list.
const MAX_LIST: u64 = 256 << 10;

/// Whether a version 2 tree is mounted at [`ROOT`].
pub fn is_mounted() -> bool {
    Path::new(ROOT).join("cgroup.procs").exists()
}

fn directory(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// Passes every controller that a group has on to its children; returns those that were refused.
pub fn enable_controllers(path: &str) -> Result<Vec<String>> {
    let dir = directory(path);
    let have = fs::read_to_string(dir.join("cgroup.controllers")).doing("reading the controllers of", path)?;
    let control = dir.join("cgroup.subtree_control");
    let all: Vec<_> = have.split_ascii_whitespace().map(|c| format!("+{c}")).collect();
    if write(&control, &all.join(" ")).is_ok() {
        return Ok(vec![]);
    }
    Ok(have
        .split_ascii_whitespace()
        .filter(|c| write(&control, &format!("+{c}")).is_err())
        .map(str::to_owned)
        .collect())
}

/// The group of a process: `/system/netd`.
pub fn of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|l| l.strip_prefix("0::")).map(str::to_owned)
}

/// Whether `path` is `group` or lies below it.
pub fn is_within(path: &str, group: &str) -> bool {
    path.strip_prefix(group)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn write(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .doing("writing", path.display())
}

/// One group.
#[derive(Debug)]
pub struct Cgroup {
    dir: PathBuf,
    fd: OwnedFd,
}

impl Cgroup {
    /// Makes it if it is not there, and the ones above it.
    pub fn create(path: &str) -> Result<Self> {
        let dir = directory(path);
        if !is_mounted() {
            return Err(io::Error::from(io::ErrorKind::NotFound)).doing("looking for control groups at", ROOT);
        }
        match fs::create_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&dir),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
        .doing("making the control group", path)?;
        let fd = File::open(&dir).doing("opening the control group", path)?.into();
        Ok(Self { dir, fd })
    }

    /// Sets one of its files: `set("pids.max", "100")`.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        write(&self.dir.join(file), value)
    }

    /// Moves a process here.
    pub fn join(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Kills all in it and below, forks in flight included.
    pub fn kill(&self) -> Result<()> {
        self.set("cgroup.kill", "1").or_else(|_| self.signal(9).map(|_| ()))
    }

    /// Sends a signal to all in it and below; returns how many got it.
    pub fn signal(&self, signal: i32) -> Result<usize> {
        let mut count = 0;
        for pid in self.processes()? {
            count += usize::from(crate::process::kill(pid, signal).is_ok());
        }
        Ok(count)
    }

    /// The processes in it and below.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut out = vec![];
        list(&self.dir, 8, &mut out).doing("listing the processes of", self.dir.display())?;
        Ok(out)
    }

    /// Whether a process is in it or below.
    pub fn is_populated(&self) -> Result<bool> {
        let text = fs::read_to_string(self.dir.join("cgroup.events")).doing("reading the events of", self.dir.display())?;
        Ok(text.lines().any(|l| l == "populated 1"))
    }

    /// Removes it and those below, once nothing runs in them.
    pub fn remove(self) -> Result<()> {
        remove(&self.dir, 8).doing("removing the control group", self.dir.display())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.filter_map(std::result::Result::ok);
    Ok(entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect())
}

fn list(dir: &Path, depth: u8, out: &mut Vec<u32>) -> io::Result<()> {
    let mut text = String::new();
    File::open(dir.join("cgroup.procs"))?.take(MAX_LIST).read_to_string(&mut text)?;
    out.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
    if depth > 0 {
        for child in below(dir)? {
            let _ = list(&child, depth - 1, out); // it may have gone meanwhile
        }
    }
    Ok(())
}

fn remove(dir: &Path, depth: u8) -> io::Result<()> {
    if depth > 0 {
        for child in below(dir)? {
            remove(&child, depth - 1)?;
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        for (path, group, is) in [
            ("/system/netd", "/system/netd", true),
            ("/system/netd/child", "/system/netd", true),
            ("/system/netd2", "/system/netd", false),
            ("/", "/system/netd", false),
        ] {
            assert_eq!(is_within(path, group), is, "{path}");
        }
    }
}
