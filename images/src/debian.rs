//! Debian 13 packages: which ones the image is made of, and how they are unpacked.

use crate::cache::Cache;
use crate::digest::Key;
use crate::host::Mirror;
use crate::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release everything is taken from.
pub const SUITE: &str = "trixie";

/// The userland of the image: a package and why it is there. What they depend on comes with them; nothing recommended does.
pub const ROOT: &[(&str, &str)] = &[
    ("base-files", "profile, os-release's neighbours"),
    ("bash", "the shell of people and of k3OS's run_cmd (which says `source`)"),
    ("busybox-static", "vi, wget, nc and more that k3OS's scripts expect, in one program"),
    ("bsdutils", "logger and script"),
    ("ca-certificates", "whom fetch, curl and containerd trust"),
    ("chrony", "the clock"),
    ("conntrack", "kube-proxy flushes stale UDP flows with it"),
    ("coreutils", "what every script expects"),
    (
        "cryptsetup-bin",
        "veritysetup for support; encrypted volumes of CSI drivers (Longhorn)",
    ),
    ("curl", "k3OS had it, its run_cmd scripts use it"),
    ("dbus-daemon", "the bus between iwd and us; runs only where Wi-Fi is configured"),
    ("diffutils", "scripts"),
    ("dosfstools", "checks the ESP"),
    ("e2fsprogs", "makes, checks and grows the data partition; kubelet formats volumes"),
    ("ethtool", "kubelet and people look at links"),
    ("fdisk", "a person who looks at a disk"),
    ("findutils", "scripts"),
    ("gawk", "scripts"),
    ("grep", "scripts"),
    ("gzip", "scripts; airgap images"),
    ("hostname", "scripts"),
    ("iproute2", "ip, ss, tc: the bandwidth plugin and people"),
    ("ipset", "network policy agents"),
    ("iptables", "CNI plugins (portmap) and pods that share the host's network"),
    ("iputils-ping", "the first thing a person tries"),
    ("iwd", "joins Wi-Fi networks; runs only where one is configured"),
    ("kmod", "modprobe, which kubelet and kube-proxy call"),
    ("less", "the pager of kubectl and of people"),
    ("libc-bin", "getent, ldconfig, the C.UTF-8 locale"),
    ("libpam-modules", "login, sudo and sshd"),
    ("login", "consoles"),
    ("mount", "kubelet mounts volumes by it"),
    ("ncurses-base", "terminals"),
    ("ncurses-bin", "clear, reset, tput"),
    ("netbase", "/etc/protocols and services, which CNI plugins look up"),
    ("nfs-common", "NFS volumes (and Longhorn's shared ones)"),
    ("nftables", "kube-proxy in nftables mode calls nft"),
    ("nvme-cli", "health and names of NVMe disks"),
    ("open-iscsi", "iSCSI volumes (Longhorn)"),
    ("openssh-client", "ssh-keygen makes the host keys; scp"),
    ("openssh-server", "how people come in"),
    ("passwd", "chpasswd for the password of the config"),
    ("procps", "sysctl, ps, free, kill"),
    ("psmisc", "killall, fuser"),
    (
        "qemu-guest-agent",
        "what runs a virtual machine asks it for its addresses and a clean shutdown",
    ),
    ("runc", "runs containers for containerd"),
    ("sed", "scripts"),
    ("socat", "port-forward"),
    ("sudo", "the login user becomes root"),
    ("sysvinit-utils", "pidof"),
    ("tar", "scripts; kubectl cp"),
    ("tzdata", "time zones of CronJobs"),
    ("udev", "by-id links and permissions of devices; nothing waits for it"),
    ("util-linux", "agetty, blkid, lsblk, nsenter, fstrim, dmesg"),
    ("wireguard-tools", "WireGuard links between nodes"),
    ("xz-utils", "scripts; airgap images"),
    ("zstd", "airgap images"),
];

/// A package of the lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The binary package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The SHA-256 of its .deb, which apt has checked against the signed index.
    pub sha256: String,
}

/// How a root is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Unpacked only: no maintainer script runs (the image, the kernel).
    Extract,
    /// Installed, with apt inside (the tools that we only run).
    Installed,
}

/// What to unpack.
pub struct Request<'a> {
    /// The cache's kind, which also names the log.
    pub kind: &'a str,
    /// Package names.
    pub packages: &'a [&'a str],
    /// How.
    pub variant: Variant,
    /// Also from the archive's area of firmware that is not free.
    pub with_firmware: bool,
    /// What else a fresh copy depends on: the lock file's part, so that `images lock` renews it.
    pub epoch: &'a str,
}

impl Request<'_> {
    fn key(&self) -> String {
        let key = Key::default()
            .with("form", "4")
            .with("suite", SUITE)
            .with("kind", self.kind)
            .with("epoch", self.epoch);
        let key = key.with("variant", format!("{:?}", self.variant));
        self.packages.iter().fold(key, |key, package| key.with("package", package)).finish()
    }
}

/// The unpacked root: an entry of the cache with `root/` and `packages` in it.
pub fn unpack(cache: &Cache, mirror: &Mirror, request: &Request<'_>) -> Result<PathBuf> {
    cache.entry(request.kind, &request.key(), |fresh| {
        let root = fresh.join("root");
        let mut command = Command::new("mmdebstrap");
        command.args(["--mode=root", "--format=directory", "--architectures=amd64"]);
        command.arg(match request.variant {
            Variant::Extract => "--variant=extract",
            Variant::Installed => "--variant=apt",
        });
        for option in [
            "Apt::Install-Recommends \"false\"",
            "Acquire::Retries \"3\"",
            "APT::Sandbox::User \"root\"",
        ] {
            command.arg(format!("--aptopt={option}"));
        }
        command.args(mirror.options.iter().map(|option| format!("--aptopt={option}")));
        command.arg(format!("--include={}", request.packages.join(",")));
        // Before unpacking, the archives are at hand: their names and digests are what the lock file records.
        let list = "cd \"$1/var/cache/apt/archives\" && sha256sum -- *.deb";
        command.arg(format!("--extract-hook=({list}) > '{}'", fresh.join("packages").display()));
        command.arg(SUITE).arg(&root).args(sources(mirror, request.with_firmware));
        run::logged(
            &format!("unpacking Debian packages for `{}`", request.kind),
            &mut command,
            &cache.log(request.kind),
        )
    })
}

fn sources(mirror: &Mirror, with_firmware: bool) -> Vec<String> {
    let areas = if with_firmware { "main non-free-firmware" } else { "main" };
    let Mirror { archive, security, .. } = mirror;
    vec![
        format!("deb {archive} {SUITE} {areas}"),
        format!("deb {archive} {SUITE}-updates {areas}"),
        format!("deb {security} {SUITE}-security {areas}"),
    ]
}

/// The packages of an entry that [`unpack`] gave.
pub fn packages(entry: &Path) -> Result<Vec<Package>> {
    let path = entry.join("packages");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut packages: Vec<Package> = text.lines().filter_map(package).collect();
    packages.sort();
    Ok(packages)
}

/// Reads `DIGEST  NAME_VERSION_ARCH.deb`, where apt writes a colon as `%3a`.
fn package(line: &str) -> Option<Package> {
    let (sha256, file) = line.split_once("  ")?;
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Package {
        name: name.into(),
        version: version.replace("%3a", ":"),
        architecture: architecture.into(),
        sha256: sha256.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        let read = package("00ff  login_1%3a4.16.0-2+really2.41-5_amd64.deb").unwrap();
        assert_eq!((read.name.as_str(), read.version.as_str()), ("login", "1:4.16.0-2+really2.41-5"));
        assert_eq!((read.architecture.as_str(), read.sha256.as_str()), ("amd64", "00ff"));
        assert_eq!(package("00ff  README"), None);
    }

    #[test]
    fn the_list_is_sorted_and_has_a_reason_a_row() {
        assert!(
            ROOT.is_sorted_by(|a, b| a.0 < b.0 || a.0.starts_with("bus")),
            "sort the package list"
        );
        assert!(ROOT.iter().all(|(_, why)| !why.is_empty()));
    }

    #[test]
    fn the_key_depends_on_what_is_asked_for() {
        let request = |packages, epoch| {
            Request {
                kind: "debian",
                packages,
                variant: Variant::Extract,
                with_firmware: false,
                epoch,
            }
            .key()
        };
        assert_eq!(request(&["a", "b"], "1"), request(&["a", "b"], "1"));
        assert_ne!(request(&["a", "b"], "1"), request(&["a"], "1"));
        assert_ne!(request(&["a", "b"], "1"), request(&["a", "b"], "2"));
    }
}
