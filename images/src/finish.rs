//! What Debian's maintainer scripts would have done, and what an image does without: a pure step from tree to tree.

pub mod accounts;
pub mod links;
pub mod trim;

use crate::tree::{Body, Tree};

/// What the step needs to know.
pub struct Facts<'a> {
    /// The version of this release, for os-release.
    pub version: &'a str,
    /// All trusted certificates, one after the other.
    pub certificates: Vec<u8>,
    /// The static files of `overlay/files`.
    pub files: Tree,
}

/// Files that are not 0644: path, mode, group, why.
const MODES: &[(&str, u32, u32, &str)] = &[
    ("etc/sudoers", 0o440, 0, "sudo refuses anything wider"),
    ("etc/sudoers.d", 0o750, 0, "as Debian"),
    ("etc/sudoers.d/skerry", 0o440, 0, "sudo refuses anything wider"),
    ("etc/shadow", 0o640, 42, "hashes; group shadow reads them for unix_chkpwd"),
    ("etc/gshadow", 0o640, 42, "hashes"),
    ("usr/sbin/unix_chkpwd", 0o2755, 42, "checks a user's own password"),
];

/// Folders that must be there, with their modes: mount points, and what services expect in `/var`.
const FOLDERS: &[(&str, u32, &str)] = &[
    ("dev", 0o755, "mount point"),
    ("etc/cni/net.d", 0o755, "mount point: where containerd reads conflists"),
    ("etc/iscsi", 0o755, "mount point"),
    ("etc/k0s", 0o755, "mount point"),
    ("etc/kubeedge", 0o755, "mount point"),
    ("etc/kubernetes", 0o700, "mount point: the cluster's CA lives there"),
    ("etc/local.d", 0o755, "the owner's *.start, as on k3OS"),
    ("etc/rancher", 0o755, "mount point"),
    ("etc/ssh-keys", 0o700, "mount point: host keys"),
    ("etc/ssh/authorized_keys", 0o755, "one file a user"),
    ("home", 0o755, "mount point"),
    ("k3os", 0o755, "mount point: the name that k3OS users know"),
    ("media", 0o755, "mount point"),
    ("mnt", 0o755, "mount point"),
    ("opt", 0o755, "mount point: foreign CNIs live in /opt/cni"),
    ("proc", 0o555, "mount point"),
    ("root", 0o700, "mount point"),
    ("run", 0o755, "mount point"),
    ("skerry", 0o755, "mount point of the data partition"),
    ("srv", 0o755, "mount point"),
    ("sys", 0o555, "mount point"),
    ("tmp", 0o1777, "mount point"),
    ("usr/libexec/cni", 0o755, "our CNI plugins"),
    ("usr/share/skerry/manifests", 0o755, "add-ons that are applied from the image"),
    ("var/cache", 0o755, "copied to data where absent"),
    ("var/empty", 0o755, "a home for users without one"),
    ("var/lib/nfs/sm", 0o755, "locks of NFS 3"),
    ("var/lib/nfs/sm.bak", 0o755, "locks of NFS 3"),
    ("var/local", 0o755, "/usr/local leads here"),
    ("var/local/bin", 0o755, "the owner's programs"),
    ("var/local/sbin", 0o755, "the owner's programs"),
    ("var/log", 0o755, "logs"),
    ("var/spool", 0o755, "as anywhere"),
    ("var/tmp", 0o1777, "as anywhere"),
];

/// Finishes the tree that the packages gave.
pub fn finish(mut tree: Tree, facts: Facts<'_>) -> Tree {
    trim::apply(&mut tree);
    for (path, node) in facts.files.0 {
        if node.body == Body::Folder {
            tree.folder(&path, 0o755);
        } else {
            let mode = if node.mode & 0o111 == 0 { 0o644 } else { 0o755 };
            tree.put(&path, mode, node.body);
        }
    }
    links::apply(&mut tree);
    for (path, mode, _) in FOLDERS {
        tree.folder(path, *mode);
    }
    accounts::apply(&mut tree);
    tree.put("etc/ssl/certs/ca-certificates.crt", 0o644, Body::Bytes(facts.certificates));
    tree.text("usr/lib/os-release", 0o644, &os_release(facts.version));
    for (path, mode, group, _) in MODES {
        if let Some(node) = tree.0.get_mut(*path) {
            (node.mode, node.gid) = (*mode, *group);
        }
    }
    if let Some(ping) = tree.0.get_mut("usr/bin/ping") {
        ping.capabilities = 1 << 13; // CAP_NET_RAW, which its maintainer script sets
    }
    tree
}

fn os_release(version: &str) -> String {
    format!(
        "NAME=\"Skerry\"\nPRETTY_NAME=\"Skerry {version}\"\nID=skerry\nID_LIKE=debian\nVERSION=\"{version}\"\nVERSION_ID=\"{version}\"\n\
         HOME_URL=\"https://skerry.io\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished() -> Tree {
        let mut packages = Tree::default();
        packages.link("bin", "usr/bin");
        packages.text("usr/bin/ping", 0o755, "elf");
        packages.text("usr/bin/perl", 0o755, "elf");
        packages.text("usr/sbin/xtables-nft-multi", 0o755, "elf");
        packages.text("usr/sbin/unix_chkpwd", 0o2755, "elf");
        packages.text("usr/share/doc/bash/README", 0o644, "long");
        packages.text("usr/lib/systemd/systemd-udevd", 0o755, "elf");
        packages.text("usr/lib/systemd/systemd-logind", 0o755, "elf");
        packages.text("etc/sudoers", 0o440, "root ALL");
        packages.text("etc/init.d/ssh", 0o755, "#!");
        let mut files = Tree::default();
        files.text("etc/sudoers.d/skerry", 0o640, "x");
        finish(
            packages,
            Facts {
                version: "1.2.3",
                certificates: b"PEM".to_vec(),
                files,
            },
        )
    }

    #[test]
    fn owners_modes_and_capabilities_are_those_of_the_tables() {
        let tree = finished();
        assert_eq!((tree.0["etc/shadow"].mode, tree.0["etc/shadow"].gid), (0o640, 42));
        assert_eq!(tree.0["etc/sudoers.d/skerry"].mode, 0o440);
        assert_eq!(tree.0["usr/sbin/unix_chkpwd"].gid, 42);
        assert_eq!(tree.0["usr/bin/ping"].capabilities, 0x2000);
        assert_eq!(tree.0["etc/kubernetes"].mode, 0o700);
        assert_eq!(tree.0["tmp"].mode, 0o1777);
    }

    #[test]
    fn what_an_image_does_without_is_gone() {
        let tree = finished();
        for gone in ["usr/share/doc", "usr/bin/perl", "usr/lib/systemd/systemd-logind", "etc/init.d"] {
            assert!(!tree.0.contains_key(gone), "{gone}");
        }
        assert!(tree.0.contains_key("usr/lib/systemd/systemd-udevd"));
    }

    #[test]
    fn it_says_who_it_is() {
        let Body::Bytes(text) = &finished().0["usr/lib/os-release"].body else {
            panic!("text")
        };
        assert!(String::from_utf8_lossy(text).contains("PRETTY_NAME=\"Skerry 1.2.3\"\n"));
    }
}
