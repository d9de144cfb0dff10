//! Roots of other programs: the tools that make and boot images, and a builder for hosts whose cargo or Go is too old.

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
    ("kmod", "depmod"),
    ("libc-bin", "ldconfig"),
    ("mtools", "files in FAT images"),
    ("openssh-client", "tests log in"),
    ("ovmf", "UEFI firmware for machines"),
    ("qemu-system-x86", "machines: QEMU 10 (7.2 crashes a 6.12 kernel with -cpu max)"),
    ("qemu-utils", "disk images"),
    ("xz-utils", "kernel modules come compressed"),
    ("zstd", "the initramfs"),
];

/// The builder root: compilers of Debian 13, Go from backports.
const BUILDER: &[(&str, &str)] = &[
    ("ca-certificates", "crates and modules come by HTTPS"),
    ("cargo", "our Rust programs"),
    ("gcc", "links them"),
    ("git", "modules without a proxy"),
    ("golang-1.26-go", "our Go programs"),
    ("libc6-dev", "static linking"),
    ("rustc", "our Rust programs"),
    ("rust-clippy", "make test's lints"),
    ("rustfmt", "make test's format"),
];

/// A Debian root whose programs can be run from the host.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The tools root, made if need be.
    pub fn tools(cache: &Cache, mirror: &Mirror) -> Result<Self> {
        Self::make(cache, mirror, "tools", TOOLS, false)
    }

    /// The builder root, made if need be.
    pub fn builder(cache: &Cache, mirror: &Mirror) -> Result<Self> {
        Self::make(cache, mirror, "builder", BUILDER, true)
    }

    fn make(cache: &Cache, mirror: &Mirror, kind: &str, list: &[(&str, &str)], backports: bool) -> Result<Self> {
        let packages: Vec<&str> = list.iter().map(|(package, _)| *package).collect();
        let request = Request {
            kind,
            packages: &packages,
            variant: Variant::Installed,
            backports,
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

    /// A command inside the root, with the given folders of the host seen under their own names.
    ///
    /// `words` are `NAME=VALUE` pairs, then the program and its arguments. The mounts belong to a mount namespace of
    /// their own and vanish with the command.
    pub fn inside(&self, shared: &[&Path], work: &Path, words: &[String]) -> Command {
        let root = self.0.display();
        let mut lines = vec!["set -e; mount --make-rprivate /".to_owned()];
        for folder in shared {
            let folder = folder.display();
            lines.push(format!("mkdir -p '{root}{folder}'; mount --bind '{folder}' '{root}{folder}'"));
        }
        lines.push(format!("mount -t proc proc '{root}/proc'; mount --rbind /dev '{root}/dev'"));
        lines.push(format!("cp -L /etc/resolv.conf '{root}/etc/resolv.conf' 2>/dev/null || true"));
        lines.push(format!("exec chroot '{root}' /usr/bin/env -C '{}' \"$@\"", work.display()));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", &lines.join("\n"), "sh"]).args(words);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_reason_a_row() {
        for list in [TOOLS, BUILDER] {
            assert!(list.iter().all(|(package, why)| !package.is_empty() && !why.is_empty()));
        }
    }
}
