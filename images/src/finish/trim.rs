//! What the packages bring and the image does without.

use crate::tree::Tree;

/// Paths that go, with all below them; `*` at the end of one stands for any ending. Each with its reason.
const GONE: &[(&str, &str)] = &[
    ("boot", "the kernel does not lie in the root"),
    ("dev", "devtmpfs"),
    ("etc/adduser.conf", "no adduser"),
    ("etc/apparmor.d", "no AppArmor tools"),
    ("etc/apt", "no package manager"),
    ("etc/bash_completion.d", "no package for it"),
    ("etc/binfmt.d", "systemd's"),
    ("etc/ca-certificates", "update-ca-certificates' hooks"),
    ("etc/ca-certificates.conf", "update-ca-certificates'"),
    ("etc/credstore*", "systemd's"),
    ("etc/cron.d", "no cron"),
    ("etc/cron.daily", "no cron"),
    ("etc/cron.weekly", "no cron"),
    ("etc/cron.monthly", "no cron"),
    ("etc/debconf.conf", "no package manager"),
    ("etc/default", "of init scripts"),
    ("etc/deluser.conf", "no adduser"),
    ("etc/dhcp", "netd"),
    ("etc/dpkg", "no package manager"),
    ("etc/init.d", "PID 1 is ours"),
    ("etc/insserv.conf.d", "PID 1 is ours"),
    ("etc/kernel", "hooks of package installs"),
    ("etc/logrotate.d", "logd rotates"),
    ("etc/modules-load.d", "PID 1 is ours"),
    ("etc/network", "netd"),
    ("etc/nftables.conf", "rules belong to kube-proxy"),
    ("etc/ppp", "no PPP"),
    ("etc/rc*", "PID 1 is ours"),
    ("etc/runit", "PID 1 is ours"),
    ("etc/selinux", "no policy"),
    ("etc/profile.d/70-systemd-shell-extra.sh", "systemd's"),
    ("etc/ssh/ssh_config.d/20-systemd-ssh-proxy.conf", "systemd's"),
    ("etc/sv", "PID 1 is ours"),
    ("etc/systemd", "PID 1 is ours"),
    ("etc/sysctl.d", "the boot writes its own"),
    ("etc/tmpfiles.d", "systemd's"),
    ("etc/ucf.conf", "no package manager"),
    ("etc/ufw", "no ufw"),
    ("etc/update-motd.d", "our motd"),
    ("etc/xdg", "no desktop"),
    ("run", "tmpfs"),
    ("tmp", "tmpfs"),
    ("usr/bin/apt*", "no package manager"),
    ("usr/bin/corelist", "perl"),
    ("usr/bin/cpan*", "perl"),
    ("usr/bin/cvtsudoers", "policies of other makers of sudo"),
    ("usr/bin/deb*", "no package manager"),
    ("usr/bin/dpkg*", "no package manager"),
    ("usr/bin/perl*", "nothing of ours is written in it"),
    ("usr/bin/pzstd", "the one program in C++; zstd -T does the same"),
    ("usr/bin/run0", "systemd's"),
    ("usr/bin/systemctl", "PID 1 is ours"),
    ("usr/bin/systemd-*", "PID 1 is ours"),
    ("usr/bin/journalctl", "logd"),
    ("usr/bin/loginctl", "systemd's"),
    ("usr/bin/networkctl", "systemd's"),
    ("usr/bin/hostnamectl", "systemd's"),
    ("usr/bin/localectl", "systemd's"),
    ("usr/bin/timedatectl", "systemd's"),
    ("usr/bin/bootctl", "systemd's"),
    ("usr/bin/busctl", "systemd's"),
    ("usr/bin/varlinkctl", "systemd's"),
    ("usr/bin/kernel-install", "systemd's"),
    ("usr/bin/ucf*", "no package manager"),
    ("usr/games", "none"),
    ("usr/include", "no compiler"),
    ("usr/lib/NetworkManager", "netd"),
    ("usr/lib/apt", "no package manager"),
    ("usr/lib/bfd-plugins", "no compiler"),
    ("usr/lib/compat-ld", "no compiler"),
    ("usr/lib/dpkg", "no package manager"),
    ("usr/lib/environment.d", "systemd's"),
    ("usr/lib/gold-ld", "no compiler"),
    ("usr/lib/init", "init scripts"),
    ("usr/lib/kernel", "hooks of package installs"),
    ("usr/lib/lsb", "init scripts"),
    ("usr/lib/networkd-dispatcher", "netd"),
    ("usr/lib/openssh/ssh-keysign", "no login by a host's key"),
    ("usr/lib/openssh/ssh-pkcs11-helper", "no smart cards in a node"),
    (
        "usr/lib/openssh/ssh-sk-helper",
        "no tokens in a node; those of its users stay with them",
    ),
    ("usr/lib/pcrlock.d", "systemd's"),
    ("usr/lib/runit-helper", "PID 1 is ours"),
    ("usr/lib/sysctl.d", "the boot writes its own"),
    ("usr/lib/systemd/*", "PID 1 is ours"),
    ("usr/lib/sysusers.d", "users are in a table"),
    ("usr/lib/tmpfiles.d", "folders are in a table"),
    (
        "usr/lib/udev/rules.d/80-net-setup-link.rules",
        "network interfaces keep the kernel's names",
    ),
    ("usr/lib/udev/hwdb.d", "10 MB of names for people; no rule of ours reads them"),
    ("usr/lib/valgrind", "no debugger"),
    ("usr/lib/x86_64-linux-gnu/gio", "the guest agent needs GLib and no more"),
    ("usr/lib/x86_64-linux-gnu/glib-2.0", "the guest agent needs GLib and no more"),
    ("usr/lib/x86_64-linux-gnu/libBrokenLocale*", "programs of the last century"),
    ("usr/lib/x86_64-linux-gnu/libapt*", "no package manager"),
    ("usr/lib/x86_64-linux-gnu/libbrotlienc*", "curl only unpacks"),
    ("usr/lib/x86_64-linux-gnu/libcbor*", "tokens"),
    ("usr/lib/x86_64-linux-gnu/libdb-*", "accounts in Berkeley databases"),
    ("usr/lib/x86_64-linux-gnu/libfido2*", "tokens"),
    ("usr/lib/x86_64-linux-gnu/libmemusage*", "no debugger"),
    ("usr/lib/x86_64-linux-gnu/libmvec*", "no compiler"),
    ("usr/lib/x86_64-linux-gnu/libpcprofile*", "no debugger"),
    ("usr/lib/x86_64-linux-gnu/libperl*", "nothing of ours is written in it"),
    ("usr/lib/x86_64-linux-gnu/libstdc++*", "no program in C++"),
    ("usr/lib/x86_64-linux-gnu/libthread_db*", "no debugger"),
    ("usr/lib/x86_64-linux-gnu/perl*", "nothing of ours is written in it"),
    ("usr/lib/x86_64-linux-gnu/sasl2/libsasldb*", "accounts in Berkeley databases"),
    ("usr/lib/x86_64-linux-gnu/security/pam_userdb*", "accounts in Berkeley databases"),
    ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-core*", "PID 1 is ours"),
    ("usr/lib/x86_64-linux-gnu/security/pam_systemd*", "PID 1 is ours"),
    ("usr/lib/x86_64-linux-gnu/libgio-*", "the guest agent needs GLib and no more"),
    ("usr/lib/x86_64-linux-gnu/libgobject-*", "the guest agent needs GLib and no more"),
    ("usr/lib/x86_64-linux-gnu/libgthread-*", "the guest agent needs GLib and no more"),
    ("usr/lib/x86_64-linux-gnu/libc_malloc_debug*", "no debugger"),
    ("usr/libexec/dpkg", "no package manager"),
    ("usr/sbin/addgroup", "no package manager"),
    ("usr/sbin/adduser", "no package manager"),
    ("usr/sbin/arpd", "it keeps the kernel's neighbours in a Berkeley database"),
    ("usr/sbin/dpkg*", "no package manager"),
    ("usr/sbin/halt", "ours"),
    ("usr/sbin/invoke-rc.d", "PID 1 is ours"),
    ("usr/sbin/iscsistart", "a root by iSCSI is not ours"),
    ("usr/sbin/policy-rc.d", "PID 1 is ours"),
    ("usr/sbin/service", "PID 1 is ours"),
    ("usr/sbin/sudo_logsrvd", "sudo's log server"),
    ("usr/sbin/sudo_sendlog", "sudo's log server"),
    ("usr/sbin/telinit", "PID 1 is ours"),
    ("usr/sbin/runlevel", "PID 1 is ours"),
    ("usr/sbin/update-*", "no package manager"),
    ("usr/share/adduser", "no package manager"),
    ("usr/share/apport", "no crash reports to others"),
    ("usr/share/bash-completion", "its package is not there"),
    ("usr/share/bug", "no package manager"),
    ("usr/share/common-licenses", "the SBOM names sources"),
    ("usr/share/dbus-1", "the bus of Wi-Fi has rules of its own, in /etc/dbus-1"),
    ("usr/share/debconf", "no package manager"),
    ("usr/share/debianutils", "no package manager"),
    ("usr/share/dict", "none"),
    ("usr/share/doc*", "documentation is elsewhere"),
    ("usr/share/dpkg", "no package manager"),
    ("usr/share/finalrd", "systemd's"),
    ("usr/share/fish", "no such shell"),
    ("usr/share/gcc", "no compiler"),
    ("usr/share/gdb", "no debugger"),
    ("usr/share/gitweb", "no git"),
    ("usr/share/info", "documentation is elsewhere"),
    ("usr/share/glib-2.0", "the guest agent needs GLib and no more"),
    ("usr/share/initramfs-tools", "our initramfs"),
    ("usr/share/keyrings", "no package manager"),
    ("usr/share/lintian", "no package manager"),
    ("usr/share/locale", "English and C.UTF-8"),
    ("usr/share/man", "documentation is elsewhere"),
    ("usr/share/menu", "no desktop"),
    ("usr/share/metainfo", "no desktop"),
    ("usr/share/perl*", "nothing of ours is written in it"),
    ("usr/share/pixmaps", "no desktop"),
    ("usr/share/polkit-1", "no D-Bus on a wired node"),
    ("usr/share/runit", "PID 1 is ours"),
    ("usr/share/systemd", "systemd's"),
    ("usr/share/ucf", "no package manager"),
    ("usr/share/zsh", "no such shell"),
    ("usr/src", "no compiler"),
    ("var", "starts empty: what is in the image's /var is copied to data"),
];

/// What stays although a row above takes it.
const STAYS: &[&str] = &["usr/lib/systemd/systemd-udevd"];

/// gconv: character sets beyond these are for desktops.
const GCONV: &[&str] = &["gconv-modules", "UTF-", "ISO8859-1.", "ISO8859-15.", "CP437", "CP850"];

/// Drops them.
pub fn apply(tree: &mut Tree) {
    tree.0.retain(|path, _| stays(path));
}

fn stays(path: &str) -> bool {
    if let Some((_, file)) = path.split_once("/gconv/") {
        return GCONV.iter().any(|start| file.starts_with(start));
    }
    STAYS.iter().any(|row| matches(row, path)) || !GONE.iter().any(|(row, _)| matches(row, path))
}

fn matches(row: &str, path: &str) -> bool {
    match row.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_match_whole_names_unless_starred() {
        for (path, stay) in [
            ("boot", false),
            ("boot/vmlinuz", false),
            ("bootx", true),
            ("usr/bin/perl5.40", false),
            ("usr/bin/systemd-run", false),
            ("usr/bin/udevadm", true),
            ("usr/lib/systemd", true),
            ("usr/lib/systemd/systemd", false),
            ("usr/lib/systemd/systemd-udevd", true),
            ("usr/lib/systemd/system/ssh.service", false),
            ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", true),
            ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", true),
            ("usr/lib/x86_64-linux-gnu/gconv/IBM1047.so", false),
            ("var/lib/dpkg/status", false),
            ("usr/share/zoneinfo/Europe/Berlin", true),
            ("etc/ssl/openssl.cnf", true),
        ] {
            assert_eq!(stays(path), stay, "{path}");
        }
    }

    #[test]
    fn reasons() {
        assert!(GONE.iter().all(|(_, why)| !why.is_empty()));
    }
}
