//! Files: durable replacement, bounded reading.

use crate::{Doing, Error, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::libc;

/// Replaces (or makes) a file so that after a power cut either the old or the new content is there, whole.
///
/// Written beside it, flushed, renamed over it, and the directory flushed. The mode is exact: the umask does not count.
pub fn replace(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    replace_with(path.as_ref(), bytes, mode, None)
}

/// As [`replace`], with an owner.
pub fn replace_owned(path: impl AsRef<Path>, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> Result<()> {
    replace_with(path.as_ref(), bytes, mode, Some((uid, gid)))
}

/// As [`replace`], without waiting for the disk: a cut before [`flush_file_system`] may leave the old content, but never half of the new.
///
/// ext4 (with `data=ordered`, its default, which data has) writes a file's data before the journal that holds its name, as soon as the
/// data has its place on the disk; that it gets one is ordered before the renaming, as the kernel itself does where a rename replaces.
/// For what many helpers write at a first boot, where each flush costs as much as a process.
pub fn replace_soon(path: impl AsRef<Path>, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    put(path.as_ref(), bytes, mode, owner, Flush::Begun).map(drop)
}

/// How far a new file is on its way to the disk when it gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Done,
    Begun,
}

fn replace_with(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    flush_dir(&put(path, bytes, mode, owner, Flush::Done)?)
}

/// Returns the directory, which is not flushed.
fn put(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>, flush: Flush) -> Result<PathBuf> {
    let shown = path.display();
    let (dir, temporary) = beside(path).doing("writing", &shown)?;
    let done = write_new(&temporary, bytes, mode, owner, flush)
        .and_then(|()| rustix::fs::rename(&temporary, path).map_err(io::Error::from))
        .doing("writing", &shown);
    if done.is_err() {
        // The name may not exist; the error that counts is the one above.
        let _ = std::fs::remove_file(&temporary);
    }
    done.map(|()| dir)
}

/// Flushes a directory, so that the names in it outlive a power cut.
pub fn flush_dir(dir: &Path) -> Result<()> {
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::fsync)
        .doing("flushing", dir.display())
}

/// Flushes all of the file system that a directory is on: syncfs(2).
pub fn flush_file_system(dir: &Path) -> Result<()> {
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::syncfs)
        .doing("flushing the file system of", dir.display())
}

fn beside(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let dir = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = dir.join(temporary);
    Ok((dir, temporary))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>, flush: Flush) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let fd = match create() {
        // Left by a process of the same number that lost its power or its life.
        Err(rustix::io::Errno::EXIST) => {
            std::fs::remove_file(path)?;
            create()?
        }
        other => other?,
    };
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    match flush {
        Flush::Done => file.sync_all(),
        Flush::Begun => begin_flush(&file),
    }
}

/// Gives the data its place on the disk and begins to write it: `sync_file_range(2)`.
#[allow(unsafe_code, reason = "sync_file_range has no safe wrapper")]
fn begin_flush(file: &File) -> io::Result<()> {
    // SAFETY: plain numbers; the descriptor is open as long as the borrow.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads a whole file, and refuses one that is larger than `max` bytes. Works for `/proc` and `/sys`, whose files have no length.
pub fn read_bounded(path: impl AsRef<Path>, max: usize) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let mut bytes = vec![];
    File::open(path)
        .and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes))
        .doing("reading", path.display())?;
    if bytes.len() > max {
        let why = io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes"));
        return Err(Error {
            doing: "reading",
            on: path.display().to_string(),
            source: why,
        });
    }
    Ok(bytes)
}

/// As [`read_bounded`], as text; bytes that are not UTF-8 become U+FFFD.
pub fn read_text(path: impl AsRef<Path>, max: usize) -> Result<String> {
    read_bounded(path, max).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a directory, and its parents (0755), where absent. One that is there keeps its mode.
pub fn make_dir(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dir(parent, 0o755)?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) => rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).doing("making", path.display()),
        Err(rustix::io::Errno::EXIST) if path.is_dir() => Ok(()),
        Err(why) => Err(why).doing("making", path.display()),
    }
}

/// How much room a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that root may still take, those kept back from others included.
    pub free: u64,
    /// Bytes that anybody may use.
    pub available: u64,
}

/// The room on the file system that holds `path`.
pub fn space(path: &Path) -> Result<Space> {
    let found = rustix::fs::statfs(path).doing("measuring", path.display())?;
    let block = u64::try_from(found.f_bsize).unwrap_or(0);
    let own = kept_by_ext4(found.f_type, found.f_blocks);
    Ok(Space {
        free: found.f_bfree.saturating_sub(own).saturating_mul(block),
        available: found.f_bavail.saturating_mul(block),
    })
}

/// Blocks that ext4 needs itself and gives to nobody, though statfs(2) counts them as free: a fiftieth, but not more than 4096
/// (`ext4_calculate_resv_clusters` in the kernel's fs/ext4/super.c).
fn kept_by_ext4(kind: i64, blocks: u64) -> u64 {
    const EXT4_SUPER_MAGIC: i64 = 0xef53;
    if kind == EXT4_SUPER_MAGIC { (blocks / 50).min(4096) } else { 0 }
}

/// Makes a file that takes up `bytes` on the disk, and holds nothing. If there is no room, there is no file.
pub fn preallocate(path: &Path, bytes: u64) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).doing("making", path.display())?;
    rustix::fs::fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .doing("reserving room in", path.display())
        .inspect_err(|_| _ = std::fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("skerry-file-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn replaces_whole_with_an_exact_mode_and_leaves_nothing_beside() {
        let dir = scratch("replace");
        let path = dir.join("config.json");
        for (content, mode) in [("one", 0o600), ("two", 0o666), ("", 0o4755)] {
            replace(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        }
        replace_soon(&path, b"three", 0o640, None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        flush_file_system(&dir).unwrap();
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = scratch("link");
        std::fs::File::create(dir.join("target")).unwrap();
        symlink("target", dir.join("name")).unwrap();
        replace(dir.join("name"), b"x", 0o600).unwrap();
        assert_eq!(std::fs::metadata(dir.join("target")).unwrap().len(), 0);
    }

    #[test]
    fn errors_say_what_was_done_on_what() {
        let dir = scratch("errors");
        let missing = dir.join("no/where");
        let said = replace(&missing, b"", 0o600).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("writing {}: No such file or directory (os error 2)", missing.display())
        );
        std::fs::File::create(dir.join("big")).unwrap().write_all(&[0; 11]).unwrap();
        assert!(
            read_bounded(dir.join("big"), 10)
                .unwrap_err()
                .to_string()
                .ends_with("larger than 10 bytes")
        );
        assert_eq!(read_bounded(dir.join("big"), 11).unwrap().len(), 11);
    }

    #[test]
    fn directories_get_their_mode_once() {
        let dir = scratch("dirs");
        make_dir(dir.join("etc/kubernetes"), 0o700).unwrap();
        make_dir(dir.join("etc/kubernetes"), 0o755).unwrap();
        assert_eq!(std::fs::metadata(dir.join("etc/kubernetes")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(std::fs::metadata(dir.join("etc")).unwrap().mode() & 0o7777, 0o755);
    }

    /// A disk of 6 GB that takes no byte more: 4096 free blocks, says statfs(2).
    #[test]
    fn a_full_ext4_is_full() {
        assert_eq!(kept_by_ext4(0xef53, 1_525_656), 4096);
        assert_eq!(kept_by_ext4(0xef53, 50_000), 1000);
        assert_eq!(kept_by_ext4(0x0102_1994, 1_525_656), 0);
    }
}
