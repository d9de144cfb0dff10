//! The tools root: a Debian 13 with the programs that make and boot images, whatever the host is.

use crate::cache::Cache;
use crate::debian::{self, Request, Variant};
use crate::host::Mirror;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tools root: a package and what it is for.
const TOOLS: &[(&str, &str)] = &[
    ("busybox-static", "the workload of the test image"),
    ("cryptsetup-bin", "checks our dm-verity trees against veritysetup"),
    ("dosfstools", "file systems of ESP and boot slots"),
    ("e2fsprogs", "data disks made from a folder"),
    ("erofs-utils", "mkfs.erofs, newer than Debian 12's"),
    ("fdisk", "partition tables of test disks"),
    ("gdisk", "sgdisk checks our partition tables"),
    ("grub-common", "grub-mkimage"),
    ("grub-efi-amd64-bin", "the boot loader's modules for UEFI"),
    ("grub-pc-bin", "the boot loader's modules for BIOS"),
    ("hostapd", "the access point that Wi-Fi is tested with"),
    ("iw", "takes its radio out of the machine's sight"),
    ("kmod", "depmod"),
    ("libc-bin", "ldconfig"),
    ("mtools", "files in FAT images"),
    ("openssh-client", "tests log in"),
    ("ovmf", "UEFI firmware for machines"),
    ("qemu-system-x86", "machines: QEMU 10 (7.2 crashes a 6.12 kernel with -cpu max)"),
    ("qemu-utils", "disk images"),
    ("xorriso", "the ISO"),
    ("xz-utils", "kernel modules come compressed"),
    ("zstd", "the initramfs"),
];

/// A Debian root whose programs can be run from the host.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The tools root, made if need be.
    pub fn tools(cache: &Cache, mirror: &Mirror) -> Result<Self> {
        let packages: Vec<&str> = TOOLS.iter().map(|(package, _)| *package).collect();
        Self::installed(cache, mirror, "tools", &packages)
    }

    /// A root with other people's servers, made if need be.
    pub fn servers(cache: &Cache, mirror: &Mirror, packages: &[&str]) -> Result<Self> {
        Self::installed(cache, mirror, "servers", packages)
    }

    fn installed(cache: &Cache, mirror: &Mirror, kind: &'static str, packages: &[&str]) -> Result<Self> {
        let request = Request {
            kind,
            packages,
            variant: Variant::Installed,
            with_firmware: false,
            epoch: "",
        };
        Ok(Self(debian::unpack(cache, mirror, &request)?.join("root")))
    }

    /// A root that is there already.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A program of the root, run in place by the root's own loader and libraries: no chroot, no mounts, any working folder.
    pub fn command(&self, program: &str) -> Result<Command> {
        let path = ["usr/sbin", "usr/bin"]
            .map(|folder| self.0.join(folder).join(program))
            .into_iter()
            .find(|path| path.exists());
        let path = path.with_context(|| format!("looking for {program} in {}", self.0.display()))?;
        let path = fs::canonicalize(&path).with_context(|| format!("following {}", path.display()))?;
        let mut command = Command::new(self.0.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--argv0")
            .arg(program)
            .arg("--library-path")
            .arg(self.0.join("usr/lib/x86_64-linux-gnu"))
            .arg(path);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_reason_a_row() {
        assert!(TOOLS.iter().all(|(package, why)| !package.is_empty() && !why.is_empty()));
    }
}
