//! `write_files`: each file whole, or not at all.

use super::accounts::{group_id, user_id};
use super::{Failures, Settings};
use crate::root::Root;
use anyhow::{Context, Result, anyhow};
use skerry_config::types::WriteFile;

/// Writes them, in order; one that cannot be written does not hold up the next.
pub fn apply(s: &Settings) -> Failures {
    let write = |f: &WriteFile| write(&s.root, f).with_context(|| format!("writing {} (write_files)", f.path)).err();
    s.config.write_files.iter().filter_map(write).collect()
}

fn write(root: &Root, file: &WriteFile) -> Result<()> {
    let bytes = file.decoded().map_err(|why| anyhow!(why))?;
    let (uid, gid) = owner(root, &file.owner)?;
    let at = root.at(&file.path);
    if let Some(parent) = at.parent() {
        skerry_sys::file::make_dir(parent, 0o755)?;
    }
    let same = skerry_sys::file::read_bounded(&at, bytes.len()).is_ok_and(|old| old == bytes) && is_so(&at, file.mode(), uid, gid);
    if same {
        return Ok(());
    }
    if uid == 0 && gid == 0 {
        skerry_sys::file::replace(&at, &bytes, file.mode())?;
    } else {
        skerry_sys::file::replace_owned(&at, &bytes, file.mode(), uid, gid)?;
    }
    Ok(())
}

/// Whether the file that is there has this mode and owner already: it is written at every boot, and flash wears.
fn is_so(at: &std::path::Path, mode: u32, uid: u32, gid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(at);
    meta.is_ok_and(|m| m.is_file() && m.mode() & 0o7777 == mode && m.uid() == uid && m.gid() == gid)
}

/// `user`, `user:group` or `user:`, by name or number; nothing is root.
fn owner(root: &Root, owner: &str) -> Result<(u32, u32)> {
    let owner = owner.trim();
    let (user, group) = owner.split_once(':').map_or((owner, None), |(u, g)| (u, Some(g)));
    let passwd = root.text("/etc/passwd").unwrap_or_default();
    let (uid, login_group) = match user {
        "" | "root" => (0, 0),
        _ => user_id(&passwd, user).ok_or_else(|| anyhow!("there is no user {user:?}"))?,
    };
    let gid = match group {
        // As chown(1): `user:` is the user's login group, `user` alone leaves the group, which is root's for a new file.
        None | Some("root") => 0,
        Some("") => login_group,
        Some(name) => group_id(&root.text("/etc/group").unwrap_or_default(), name).ok_or_else(|| anyhow!("there is no group {name:?}"))?,
    };
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;
    use skerry_config::types::Config;
    use std::os::unix::fs::MetadataExt;

    fn file(path: &str, content: &str, owner: &str) -> WriteFile {
        WriteFile {
            path: path.into(),
            content: content.into(),
            owner: owner.into(),
            ..WriteFile::default()
        }
    }

    #[test]
    fn each_file_stands_alone() {
        let mut script = file("etc/local.d/a.start", "#!/bin/sh\n", "");
        script.permissions = "0755".into();
        let files = vec![file("/etc/motd", "hello", "nobody-here"), script, file("/a/b/c", "x", "root:root")];
        let s = Settings {
            root: scratch("write-files"),
            config: Config {
                write_files: files,
                ..Config::default()
            },
            facts: Facts::default(),
        };
        let said: Vec<String> = apply(&s).iter().map(|e| format!("{e:#}")).collect();
        assert_eq!(said, ["writing /etc/motd (write_files): there is no user \"nobody-here\""]);
        assert_eq!(std::fs::metadata(s.root.at("/etc/local.d/a.start")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(s.root.text("/a/b/c").unwrap(), "x");
        assert_eq!(apply(&s).len(), 1);
    }

    #[test]
    fn owners() {
        let root = scratch("owners");
        root.write("/etc/passwd", "skerry:x:1000:1000::/home/skerry:/bin/bash\n", 0o644)
            .unwrap();
        root.write("/etc/group", "tty:x:5:\n", 0o644).unwrap();
        for (text, ids) in [
            ("", (0, 0)),
            ("root", (0, 0)),
            ("skerry", (1000, 0)),
            ("skerry:", (1000, 1000)),
            ("skerry:tty", (1000, 5)),
            ("7:8", (7, 8)),
        ] {
            assert_eq!(owner(&root, text).unwrap(), ids, "{text}");
        }
        assert!(owner(&root, "skerry:none").is_err());
    }
}
