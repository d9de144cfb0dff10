//! Readers that others wrote: sgdisk, sfdisk, fsck.fat, e2fsck; from this computer, or from the Debian root in `SKERRY_TOOLS`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A command for a program. Without it the test fails: a judge that is not there has not agreed.
pub fn tool(name: &str) -> Command {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Some(path) = folders.iter().map(|f| f.join(name)).find(|p| p.is_file()) {
        return Command::new(path);
    }
    let root = PathBuf::from(std::env::var_os("SKERRY_TOOLS").unwrap_or_default());
    let program = ["usr/sbin", "usr/bin"]
        .map(|d| root.join(d).join(name))
        .into_iter()
        .find(|p| p.is_file());
    let Some(program) = program else {
        panic!("there is no {name}: install Debian's gdisk, fdisk, dosfstools, e2fsprogs and zstd, or set SKERRY_TOOLS");
    };
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(root.join("usr/lib/x86_64-linux-gnu"))
        .arg(program);
    command
}

/// Runs a tool, which must end with 0. Gives what it printed.
pub fn run(name: &str, arguments: &[&str], on: &Path) -> String {
    let out = tool(name).args(arguments).arg(on).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{name} {arguments:?}: {said}");
    said
}
