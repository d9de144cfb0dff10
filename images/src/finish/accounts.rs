//! Who there is in an image: users and groups with fixed numbers, none of whom has a password.

use crate::tree::Tree;

/// Name, uid, gid, home, shell, why.
const USERS: &[(&str, u32, u32, &str, &str, &str)] = &[
    ("root", 0, 0, "/root", "/bin/bash", "services; nobody logs in as root"),
    ("daemon", 1, 1, "/usr/sbin", "/usr/sbin/nologin", "as anywhere"),
    ("bin", 2, 2, "/bin", "/usr/sbin/nologin", "as anywhere"),
    ("sys", 3, 3, "/dev", "/usr/sbin/nologin", "as anywhere"),
    ("mail", 8, 8, "/var/mail", "/usr/sbin/nologin", "as anywhere"),
    ("sshd", 101, 65534, "/run/sshd", "/usr/sbin/nologin", "sshd's unprivileged half"),
    (
        "_chrony",
        102,
        102,
        "/var/lib/chrony",
        "/usr/sbin/nologin",
        "chronyd after its start",
    ),
    ("_rpc", 103, 65534, "/run/rpcbind", "/usr/sbin/nologin", "NFS 3"),
    ("statd", 104, 65534, "/var/lib/nfs", "/usr/sbin/nologin", "NFS 3"),
    (
        "messagebus",
        105,
        105,
        "/run/dbus",
        "/usr/sbin/nologin",
        "D-Bus, where Wi-Fi is configured",
    ),
    ("skerry", 1000, 1000, "/home/skerry", "/bin/bash", "the login user"),
    (
        "rancher",
        1000,
        1000,
        "/home/rancher",
        "/bin/bash",
        "the same user, by the name that k3OS's files use",
    ),
    ("nobody", 65534, 65534, "/nonexistent", "/usr/sbin/nologin", "as anywhere"),
];

/// Name, gid, members. Numbers are Debian's where Debian fixes them; udev's rules name the rest.
const GROUPS: &[(&str, u32, &str)] = &[
    ("root", 0, ""),
    ("daemon", 1, ""),
    ("bin", 2, ""),
    ("sys", 3, ""),
    ("adm", 4, ""),
    ("tty", 5, ""),
    ("disk", 6, ""),
    ("lp", 7, ""),
    ("mail", 8, ""),
    ("kmem", 15, ""),
    ("dialout", 20, ""),
    ("cdrom", 24, ""),
    ("floppy", 25, ""),
    ("tape", 26, ""),
    ("sudo", 27, "skerry,rancher"),
    ("audio", 29, ""),
    ("dip", 30, ""),
    ("shadow", 42, ""),
    ("utmp", 43, ""),
    ("video", 44, ""),
    ("plugdev", 46, ""),
    ("staff", 50, ""),
    ("users", 100, ""),
    ("_ssh", 101, ""),
    ("_chrony", 102, ""),
    ("messagebus", 105, ""),
    ("input", 995, ""),
    ("sgx", 994, ""),
    ("clock", 993, ""),
    ("kvm", 992, ""),
    ("render", 991, ""),
    ("systemd-journal", 990, ""),
    ("skerry", 1000, ""),
    ("nogroup", 65534, ""),
];

/// Writes the four files, and gives the users what is theirs.
pub fn apply(tree: &mut Tree) {
    let passwd = lines(USERS, |(name, uid, gid, home, shell, _)| {
        format!("{name}:x:{uid}:{gid}::{home}:{shell}")
    });
    // `*` and not `!`: no password, but the account is not locked, so a key lets in. No dates: a wrong clock expires nobody.
    let shadow = lines(USERS, |(name, ..)| format!("{name}:*::0:99999:7:::"));
    let group = lines(GROUPS, |(name, gid, members)| format!("{name}:x:{gid}:{members}"));
    let gshadow = lines(GROUPS, |(name, _, members)| format!("{name}:*::{members}"));
    for (path, text) in [
        ("etc/passwd", passwd),
        ("etc/shadow", shadow),
        ("etc/group", group),
        ("etc/gshadow", gshadow),
    ] {
        tree.text(path, 0o644, &text);
    }
    for (path, mode) in [("var/lib/chrony", 0o750), ("var/log/chrony", 0o750)] {
        tree.folder(path, mode);
        tree.own(path, 102, 102);
    }
    for path in ["var/lib/nfs/sm", "var/lib/nfs/sm.bak"] {
        tree.own(path, 104, 65534);
    }
}

fn lines<Row>(rows: &[Row], line: impl Fn(&Row) -> String) -> String {
    rows.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_there_once_but_for_the_second_name() {
        let groups: BTreeSet<u32> = GROUPS.iter().map(|row| row.1).collect();
        assert_eq!(groups.len(), GROUPS.len());
        let names: BTreeSet<&str> = USERS.iter().map(|row| row.0).collect();
        assert_eq!(names.len(), USERS.len());
        assert!(USERS.iter().all(|user| groups.contains(&user.2)), "each user's group exists");
        let first = USERS.iter().find(|user| user.1 == 1000).unwrap();
        assert_eq!(first.0, "skerry", "uid 1000 is shown by its first name");
    }

    #[test]
    fn nobody_has_a_password() {
        let mut tree = Tree::default();
        apply(&mut tree);
        let crate::tree::Body::Bytes(shadow) = &tree.0["etc/shadow"].body else {
            panic!("text")
        };
        assert!(
            String::from_utf8_lossy(shadow)
                .lines()
                .all(|line| line.split(':').nth(1) == Some("*"))
        );
    }
}
