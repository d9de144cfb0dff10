//! Disk images: the data disk with its configuration, made without mounting anything; and copies to damage.

use crate::machine::tools::Tools;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a data disk holds before its first boot.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    files: Vec<(PathBuf, Vec<u8>, u32)>,
    copies: Vec<(PathBuf, PathBuf)>,
}

impl Seed {
    /// A disk with this `system/config.yaml`.
    pub fn config(text: impl Into<Vec<u8>>) -> Self {
        Self::default().file("system/config.yaml", text, 0o600)
    }

    /// The same with one more file; its path is relative to the disk's root.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push((path.into(), content.into(), mode));
        self
    }

    /// The same with a copy of a file of this computer.
    #[must_use]
    pub fn copy(mut self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.copies.push((path.into(), from.into()));
        self
    }

    fn lay_out(&self, tree: &Path) -> Result<()> {
        let folder = |path: &Path| match path.parent() {
            Some(d) => fs::create_dir_all(d).with_context(|| format!("creating {}", d.display())),
            None => Ok(()),
        };
        for (path, content, mode) in &self.files {
            let path = tree.join(path);
            folder(&path)?;
            let mut file = OpenOptions::new().create_new(true).write(true).mode(*mode).open(&path);
            file.as_mut()
                .map_err(|e| std::io::Error::from(e.kind()))
                .and_then(|f| f.write_all(content))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        for (path, from) in &self.copies {
            let path = tree.join(path);
            folder(&path)?;
            fs::copy(from, &path).with_context(|| format!("copying {} to {}", from.display(), path.display()))?;
        }
        Ok(())
    }

    /// Makes the disk: ext4, labelled as the system looks for it, `mebibytes` large but sparse.
    pub fn make(&self, tools: &Tools, disk: &Path, mebibytes: u32) -> Result<()> {
        let tree = disk.with_extension("tree");
        let _ = fs::remove_dir_all(&tree); // of an earlier run that was cut off
        let _ = fs::remove_file(disk);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&tree)
            .with_context(|| format!("creating {}", tree.display()))?;
        self.lay_out(&tree)?;
        let mut command = tools.program("mke2fs")?;
        command.args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "SKERRY_STATE",
            "-E",
            "root_owner=0:0,lazy_itable_init=1",
        ]);
        command.arg("-d").arg(&tree).arg(disk).arg(format!("{mebibytes}M"));
        run(&mut command)?;
        fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))
    }
}

/// Copies a disk image, keeping its holes.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

/// Turns over every bit of the 4 KiB block that holds byte `offset`.
pub fn damage(disk: &Path, offset: u64) -> Result<()> {
    const BLOCK: u64 = 4096;
    let doing = || format!("damaging {} at {offset}", disk.display());
    let mut file: File = OpenOptions::new().read(true).write(true).open(disk).with_context(doing)?;
    let mut block = [0; 4096];
    file.seek(SeekFrom::Start(offset / BLOCK * BLOCK)).with_context(doing)?;
    file.read_exact(&mut block).with_context(doing)?;
    file.seek(SeekFrom::Start(offset / BLOCK * BLOCK)).with_context(doing)?;
    file.write_all(&block.map(|b| !b)).with_context(doing)
}

/// Runs a program to its end; what it printed is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("starting {name}"))?;
    if !out.status.success() {
        bail!("running {name}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_turns_over_one_block() {
        let path = std::env::temp_dir().join(format!("skerry-damage-{}", std::process::id()));
        File::create(&path).unwrap().write_all(&[0; 3 * 4096]).unwrap();
        damage(&path, 5000).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.iter().enumerate().all(|(i, b)| (*b == 0xff) == (4096..8192).contains(&i)));
        fs::remove_file(&path).unwrap();
    }
}
