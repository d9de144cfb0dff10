//! The one table of what persists, with a reason a row.

/// How a row gets from the state to where programs look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The state's directory is shown at the target.
    Bind,
    /// As [`Kind::Bind`]; what the image has at the target is copied in first, where absent.
    BindFilled,
    /// Read where it lies in the state; nothing is mounted.
    InPlace,
}

/// One thing that persists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Where programs look for it.
    pub target: &'static str,
    /// Where it lies, below the state's root.
    pub source: &'static str,
    /// How it gets there.
    pub kind: Kind,
    /// The mode of its directory in the state. Where it is 0700, wider rights that are found are taken away.
    pub mode: u32,
    /// Small, and needed to know who the machine is and who may log in: taken along when the disk cannot be written.
    pub is_identity: bool,
    /// Why it must outlive a boot.
    pub reason: &'static str,
}

/// A row that is no identity.
const fn row(target: &'static str, source: &'static str, kind: Kind, mode: u32, reason: &'static str) -> Row {
    Row {
        target,
        source,
        kind,
        mode,
        is_identity: false,
        reason,
    }
}

/// A row that is.
const fn identity(target: &'static str, source: &'static str, kind: Kind, mode: u32, reason: &'static str) -> Row {
    Row {
        target,
        source,
        kind,
        mode,
        is_identity: true,
        reason,
    }
}

/// All of it. A directory stands before what lies in it.
pub const ROWS: [Row; 23] = [
    identity(
        "/skerry/system",
        "system",
        Kind::InPlace,
        0o700,
        "the owner's config.yaml, which may hold tokens and passwords",
    ),
    row(
        "/k3os",
        "k3os",
        Kind::Bind,
        0o755,
        "k3OS users have /k3os/system in their files and fingers",
    ),
    identity("/k3os/system", "k3os/system", Kind::InPlace, 0o700, "the k3OS place of config.yaml"),
    row(
        "/var",
        "var",
        Kind::BindFilled,
        0o755,
        "the cluster's state, images, volumes, logs; also /usr/local, which leads to /var/local",
    ),
    identity(
        "/var/lib/skerry",
        "var/lib/skerry",
        Kind::InPlace,
        0o755,
        "our own: local config, last good config, node name, saved time",
    ),
    identity(
        "/var/lib/rancher/k3os",
        "var/lib/rancher/k3os",
        Kind::InPlace,
        0o755,
        "the k3OS place of local config, config.d and node identity",
    ),
    row("/home", "home", Kind::Bind, 0o755, "what people keep when they log in"),
    row("/root", "root", Kind::BindFilled, 0o700, "the same for root"),
    row(
        "/opt",
        "opt",
        Kind::Bind,
        0o755,
        "foreign CNI plugins (/opt/cni/bin) and vendors' agents install themselves there",
    ),
    row("/srv", "srv", Kind::Bind, 0o755, "host-path volumes by custom"),
    row("/mnt", "mnt", Kind::Bind, 0o755, "mount points people made for local volumes"),
    row("/media", "media", Kind::Bind, 0o755, "mount points people made for media"),
    row(
        "/etc/kubernetes",
        "etc/kubernetes",
        Kind::Bind,
        0o700,
        "the cluster's CA and kubeadm's files: without them it is another cluster",
    ),
    row(
        "/etc/cni",
        "etc/cni",
        Kind::BindFilled,
        0o755,
        "conflists that foreign CNIs write once, at their installation",
    ),
    row(
        "/etc/cni/net.d",
        "etc/cni/net.d",
        Kind::InPlace,
        0o755,
        "the folder containerd reads",
    ),
    row(
        "/etc/rancher",
        "etc/rancher",
        Kind::Bind,
        0o755,
        "k3s's node password: without it the server refuses the node; registries.yaml, kubeconfig",
    ),
    row("/etc/k0s", "etc/k0s", Kind::Bind, 0o755, "k0s's configuration and its token"),
    row(
        "/etc/kubeedge",
        "etc/kubeedge",
        Kind::Bind,
        0o755,
        "KubeEdge's configuration and certificates",
    ),
    row(
        "/etc/iscsi",
        "etc/iscsi",
        Kind::BindFilled,
        0o755,
        "the initiator's name, which storage servers grant access to",
    ),
    identity(
        "/etc/ssh-keys",
        "etc/ssh-keys",
        Kind::Bind,
        0o700,
        "the SSH host keys: who logs in must meet the same machine again",
    ),
    identity(
        "/etc/machine-id",
        "etc/machine-id",
        Kind::InPlace,
        FILE,
        "the machine's name for logs, DHCP and Kubernetes",
    ),
    identity(
        "/skerry/version",
        "version",
        Kind::InPlace,
        FILE,
        "the format of this tree, so that an older release does not misread it",
    ),
    row(
        "/skerry/reserve",
        "reserve",
        Kind::InPlace,
        FILE,
        "room to come up in when the disk is full",
    ),
];

/// In place of a mode: it is a file, and whoever writes it sets its mode.
pub const FILE: u32 = 0;

/// The path at the top of which nothing is the image's own: made by the storage step even where the image has no such directory.
pub fn is_in_etc(target: &str) -> bool {
    target.starts_with("/etc/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_target_and_each_source_is_there_once() {
        for get in [|r: &Row| r.target, |r: &Row| r.source] {
            assert_eq!(ROWS.iter().map(get).collect::<BTreeSet<_>>().len(), ROWS.len());
        }
    }

    #[test]
    fn a_directory_stands_before_what_lies_in_it() {
        for (at, row) in ROWS.iter().enumerate() {
            let later = ROWS
                .iter()
                .skip(at + 1)
                .find(|l| row.source.strip_prefix(l.source).is_some_and(|rest| rest.starts_with('/')));
            assert_eq!(later, None, "{}", row.source);
        }
    }

    #[test]
    fn paths_are_plain_and_each_row_has_its_reason() {
        for row in ROWS {
            assert!(row.target.starts_with('/') && !row.source.starts_with('/'), "{}", row.target);
            assert!(!row.source.split('/').any(|part| part.is_empty() || part == ".."), "{}", row.source);
            assert!(row.reason.len() > 15, "{}", row.target);
            assert!(
                row.mode != FILE || row.kind == Kind::InPlace,
                "{}: a file cannot be bound from a state that lacks it",
                row.target
            );
        }
    }

    #[test]
    fn what_holds_secrets_is_closed() {
        for source in ["system", "k3os/system", "etc/kubernetes", "etc/ssh-keys", "root"] {
            assert_eq!(ROWS.iter().find(|r| r.source == source).unwrap().mode, 0o700, "{source}");
        }
    }
}
