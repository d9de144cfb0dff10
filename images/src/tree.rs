//! A file system as plain data: path → node. The image is planned as a tree and written at the end.

use anyhow::{Context, Result};
use rustix::fs::XattrFlags;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a folder.
    Folder,
    /// A file whose content lies on the host.
    Copy(PathBuf),
    /// A file whose content is here.
    Bytes(Vec<u8>),
    /// A symbolic link.
    Link(String),
}

/// A file, folder or link of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Capabilities in the file (`security.capability`), as a bit mask.
    pub capabilities: u32,
    /// Content.
    pub body: Body,
}

/// Paths without a leading slash, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// Reads a folder with owners and modes; sockets and devices are left out.
    pub fn scan(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.scan_below(root, "")?;
        Ok(tree)
    }

    fn scan_below(&mut self, root: &Path, below: &str) -> Result<()> {
        let folder = root.join(below);
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let metadata = entry.metadata()?;
            let kind = metadata.file_type();
            let body = if kind.is_dir() {
                Body::Folder
            } else if kind.is_file() {
                Body::Copy(entry.path())
            } else if kind.is_symlink() {
                Body::Link(fs::read_link(entry.path())?.to_string_lossy().into_owned())
            } else {
                continue;
            };
            let node = Node {
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
                capabilities: 0,
                body,
            };
            self.0.insert(path.clone(), node);
            if kind.is_dir() {
                self.scan_below(root, &path)?;
            }
        }
        Ok(())
    }

    /// Puts a node of root's; folders on the way are made (0755).
    pub fn put(&mut self, path: &str, mode: u32, body: Body) {
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default();
            if !self.0.contains_key(parent) {
                self.0.insert(
                    parent.to_owned(),
                    Node {
                        mode: 0o755,
                        uid: 0,
                        gid: 0,
                        capabilities: 0,
                        body: Body::Folder,
                    },
                );
            }
        }
        self.0.insert(
            path.to_owned(),
            Node {
                mode,
                uid: 0,
                gid: 0,
                capabilities: 0,
                body,
            },
        );
    }

    /// A folder (kept with what is in it, if it is there).
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.put(path, mode, Body::Folder);
    }

    /// A file with this text.
    pub fn text(&mut self, path: &str, mode: u32, text: &str) {
        self.put(path, mode, Body::Bytes(text.as_bytes().to_vec()));
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.put(path, 0o777, Body::Link(target.to_owned()));
    }

    /// Removes a node and all below it.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|known, _| known != path && !known.starts_with(&below));
    }

    /// Changes owner and group of a node that is there.
    pub fn own(&mut self, path: &str, uid: u32, gid: u32) {
        if let Some(node) = self.0.get_mut(path) {
            (node.uid, node.gid) = (uid, gid);
        }
    }

    /// Bytes of all files at or below a path; for the report of sizes.
    pub fn size(&self, path: &str) -> u64 {
        let below = format!("{path}/");
        let inside = self
            .0
            .iter()
            .filter(|(known, _)| path.is_empty() || *known == path || known.starts_with(&below));
        inside
            .map(|(_, node)| match &node.body {
                Body::Bytes(bytes) => bytes.len() as u64,
                Body::Copy(from) => fs::metadata(from).map_or(0, |metadata| metadata.len()),
                Body::Folder | Body::Link(_) => 0,
            })
            .sum()
    }

    /// Writes everything into an empty folder.
    pub fn write(&self, into: &Path) -> Result<()> {
        for (name, node) in &self.0 {
            let path = into.join(name);
            write_node(&path, node).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "a staging folder: a killed build throws it away")]
fn write_node(path: &Path, node: &Node) -> Result<()> {
    match &node.body {
        Body::Folder => fs::create_dir(path)?,
        Body::Copy(from) => drop(fs::copy(from, path).with_context(|| format!("from {}", from.display()))?),
        Body::Bytes(bytes) => fs::write(path, bytes)?,
        Body::Link(target) => {
            symlink(target, path)?;
            return Ok(lchown(path, Some(node.uid), Some(node.gid))?);
        }
    }
    chown(path, Some(node.uid), Some(node.gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(node.mode))?;
    if node.capabilities != 0 {
        rustix::fs::setxattr(path, "security.capability", &capability(node.capabilities), XattrFlags::empty())?;
    }
    Ok(())
}

/// `VFS_CAP_REVISION_2` with the effective bit: permitted, nothing inheritable.
fn capability(permitted: u32) -> Vec<u8> {
    [0x0200_0001, permitted, 0, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_by_themselves_and_children_go_with_them() {
        let mut tree = Tree::default();
        tree.text("a/b/c", 0o644, "x");
        tree.text("a/bc", 0o600, "xy");
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["a", "a/b", "a/b/c", "a/bc"]);
        assert_eq!(tree.size("a"), 3);
        assert_eq!(tree.size("a/b"), 1);
        tree.remove("a/b");
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["a", "a/bc"]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = std::env::temp_dir().join(format!("skerry-tree-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let mut tree = Tree::default();
        tree.folder("bin", 0o711);
        tree.text("bin/run", 0o750, "#!");
        tree.link("sh", "bin/run");
        let me = fs::metadata(&folder).unwrap();
        for name in ["bin", "bin/run", "sh"] {
            tree.own(name, me.uid(), me.gid());
        }
        tree.write(&folder).unwrap();
        let back = Tree::scan(&folder).unwrap();
        assert_eq!(back.0["bin"], tree.0["bin"]);
        assert_eq!(back.0["bin/run"].mode, 0o750);
        assert_eq!(back.0["sh"].body, Body::Link("bin/run".into()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn capability_of_ping() {
        assert_eq!(capability(1 << 13)[..8], [1, 0, 0, 2, 0, 0x20, 0, 0]);
        assert_eq!(capability(1).len(), 20);
    }
}
