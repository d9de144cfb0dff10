//! Copying one tree into another, where the other lacks it.

use crate::{Doing, Result, file};
use rustix::fs::{Gid, Uid};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

/// The largest file that is copied: what an image ships to be filled in is small.
const MAX_FILE: usize = 64 << 20;

/// Copies what is in `from` and not in `to`: directories, files and links, with mode and owner. What is there stays as it is, also
/// where its kind differs. Each file comes whole or not at all, so that a copy cut short by the power goes on at the next boot.
/// Returns how many things were copied.
pub fn fill(from: &Path, to: &Path) -> Result<usize> {
    let mut copied = 0;
    for entry in fs::read_dir(from).doing("listing", from.display())? {
        let entry = entry.doing("listing", from.display())?;
        copied += one(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(copied)
}

fn one(from: &Path, to: &Path) -> Result<usize> {
    let found = fs::symlink_metadata(from).doing("looking at", from.display())?;
    let there = match fs::symlink_metadata(to) {
        Ok(there) => Some(there),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return Err(why).doing("looking at", to.display()),
    };
    match there {
        Some(there) if there.is_dir() && found.is_dir() => fill(from, to),
        None if found.is_dir() => {
            file::make_dir(to, found.mode() & 0o7777)?;
            own(to, &found)?;
            Ok(1 + fill(from, to)?)
        }
        None if found.is_symlink() => {
            let target = fs::read_link(from).doing("reading", from.display())?;
            symlink(target, to).doing("linking", to.display())?;
            lchown(to, Some(found.uid()), Some(found.gid())).doing("giving away", to.display())?;
            Ok(1)
        }
        None if found.is_file() => {
            file::replace_owned(
                to,
                &file::read_bounded(from, MAX_FILE)?,
                found.mode() & 0o7777,
                found.uid(),
                found.gid(),
            )?;
            Ok(1)
        }
        // It is there; or it is a socket, a pipe or a device node, which mean nothing in another place.
        _ => Ok(0),
    }
}

/// A directory's owner; changing it may drop bits of the mode, so the mode is set again.
fn own(path: &Path, like: &fs::Metadata) -> Result<()> {
    rustix::fs::chown(path, Some(Uid::from_raw(like.uid())), Some(Gid::from_raw(like.gid()))).doing("giving away", path.display())?;
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(like.mode() & 0o7777)).doing("setting the mode of", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_is_absent_is_copied() {
        let dir = std::env::temp_dir().join(format!("skerry-tree-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let (from, to) = (dir.join("from"), dir.join("to"));
        for path in ["from/lib/a", "from/log", "from/kind", "to/lib"] {
            fs::create_dir_all(dir.join(path)).unwrap();
        }
        fs::set_permissions(from.join("log"), fs::Permissions::from_mode(0o1777)).unwrap();
        for (path, content) in [
            ("from/lib/new", "new"),
            ("from/lib/old", "image"),
            ("to/lib/old", "owner"),
            ("to/kind", "a file"),
        ] {
            file::replace(dir.join(path), content.as_bytes(), 0o640).unwrap();
        }
        symlink("/run", from.join("run")).unwrap();
        assert_eq!(fill(&from, &to).unwrap(), 4);
        assert_eq!(fs::read_to_string(to.join("lib/new")).unwrap(), "new");
        assert_eq!(fs::read_to_string(to.join("lib/old")).unwrap(), "owner");
        assert_eq!(fs::read_to_string(to.join("kind")).unwrap(), "a file");
        assert_eq!(fs::read_link(to.join("run")).unwrap(), Path::new("/run"));
        assert_eq!(fs::metadata(to.join("log")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::metadata(to.join("lib/new")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fill(&from, &to).unwrap(), 0, "twice is as good as once");
    }
}
