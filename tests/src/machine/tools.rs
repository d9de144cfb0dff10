//! Which programs run the machine: this computer's own, or those of a Debian tools root.
//!
//! A tools root is used without `chroot`, so without root: its own dynamic loader starts its programs with its own libraries.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// QEMU's program for the machines that are tested here.
pub const QEMU: &str = "qemu-system-x86_64";
/// The oldest QEMU that runs our kernel well by TCG: 7.2 was seen to crash it.
const OLDEST: (u32, u32) = (8, 2);

/// Where programs come from.
#[derive(Debug, Clone)]
pub struct Tools {
    root: Option<PathBuf>,
    qemu_of_host: bool,
}

impl Tools {
    /// Looks at `SKERRY_TOOLS`, then at this computer, then asks `images tools` for a tools root (which that may first have to make).
    pub fn find() -> Result<Self> {
        if let Some(root) = env::var_os("SKERRY_TOOLS") {
            return Self::of_root(PathBuf::from(root));
        }
        if qemu_version().is_some_and(|v| v >= OLDEST) {
            return Ok(Self {
                root: None,
                qemu_of_host: true,
            });
        }
        let out = crate::machine::release::images(&["tools"])?;
        let root = out.lines().last().unwrap_or_default().trim();
        Self::of_root(PathBuf::from(root))
    }

    fn of_root(root: PathBuf) -> Result<Self> {
        if find_under(&root, QEMU).is_none() {
            bail!(
                "looking for {QEMU} in the tools root {}: it is not there; make it again with `images tools`",
                root.display()
            );
        }
        Ok(Self {
            root: Some(root),
            qemu_of_host: false,
        })
    }

    /// A command that runs `name`: QEMU from where it was found, all else from this computer if it is there, else from the tools root.
    pub fn program(&self, name: &str) -> Result<Command> {
        let host = on_path(name);
        let in_root = self.root.as_deref().and_then(|r| Some((r, find_under(r, name)?)));
        match (host, in_root) {
            (host, Some((root, program))) if host.is_none() || name == QEMU => Ok(through_loader(root, &program)),
            (Some(host), _) => Ok(Command::new(host)),
            _ => bail!("looking for the program {name}: neither this computer nor the tools root has it; install it"),
        }
    }

    /// QEMU, with its firmware's folders.
    pub fn qemu(&self) -> Result<Command> {
        let mut command = self.program(QEMU)?;
        if let (Some(root), false) = (&self.root, self.qemu_of_host) {
            for folder in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(folder));
            }
        }
        Ok(command)
    }

    /// A file that a package brings, in the tools root or on this computer: `usr/share/OVMF/…`.
    pub fn file(&self, path: &str) -> Result<PathBuf> {
        let roots = self.root.iter().map(PathBuf::as_path).chain([Path::new("/")]);
        let mut found = roots.map(|root| root.join(path)).filter(|file| file.exists());
        found
            .next()
            .with_context(|| format!("looking for /{path}: neither the tools root nor this computer has it"))
    }

    /// Gives a machine OVMF's program, and a fresh copy of its variables in the file `variables`.
    pub fn uefi(&self, command: &mut Command, variables: &Path) -> Result<()> {
        let find = |file: &str| self.file(&format!("usr/share/OVMF/{file}"));
        fs::copy(find("OVMF_VARS_4M.fd")?, variables).context("copying OVMF's variables")?;
        let drive = |unit: u8, read_only: &str, path: &Path| {
            let path = path.display().to_string().replace(',', ",,");
            format!("if=pflash,format=raw,unit={unit},readonly={read_only},file={path}")
        };
        command.arg("-drive").arg(drive(0, "on", &find("OVMF_CODE_4M.fd")?));
        command.arg("-drive").arg(drive(1, "off", variables));
        Ok(())
    }

    /// The words that come before a command's own, so that the machine ends when we end, however we end.
    pub fn bound(&self, command: &Command) -> Command {
        let Some(setpriv) = on_path("setpriv") else {
            return again(Command::new(command.get_program()), command);
        };
        let mut bound = Command::new(setpriv);
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        again(bound, command)
    }
}

fn again(mut to: Command, from: &Command) -> Command {
    to.args(from.get_args());
    to
}

fn through_loader(root: &Path, program: &Path) -> Command {
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"].map(|l| root.join(l).display().to_string());
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
        .map(|l| root.join(l))
        .into_iter()
        .find(|l| l.exists());
    let mut command = Command::new(loader.unwrap_or_else(|| root.join("lib64/ld-linux-x86-64.so.2")));
    command.arg("--library-path").arg(libraries.join(":")).arg(program);
    command
}

fn find_under(root: &Path, name: &str) -> Option<PathBuf> {
    ["usr/bin", "usr/sbin", "bin", "sbin"]
        .map(|d| root.join(d).join(name))
        .into_iter()
        .find(|p| p.exists())
}

/// Where this computer has a program; `sbin` folders count though a plain user's `PATH` leaves them out.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .into_iter()
        .map(|f| f.join(name))
        .find(|p| fs::metadata(p).is_ok_and(|m| m.is_file()))
}

fn qemu_version() -> Option<(u32, u32)> {
    let out = Command::new(on_path(QEMU)?)
        .arg("--version")
        .output()
        .context("asking QEMU for its version")
        .ok()?;
    parse_version(&String::from_utf8_lossy(&out.stdout))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_once("version ")?.1.split(['.', ' ', '\n']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            (
                "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright",
                Some((10, 0)),
            ),
            ("QEMU emulator version 8.2.2\n", Some((8, 2))),
            ("no such thing", None),
        ] {
            assert_eq!(parse_version(text), version, "{text:?}");
        }
    }
}
