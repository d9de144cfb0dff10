//! An ext4 file system, made by mke2fs in a sparse file, from which only what was written is copied.
//!
//! A new file system needs few of its blocks, wherever it will be; made aside, it goes through the same writing, flushing and reading
//! back as all else, and a missing or failing mke2fs is noticed before the disk is touched.

use crate::map::{Range, mapped};
use crate::step::Ext4;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every e2fsprogs since 1.43 makes and every kernel since 4.4 mounts, said here and not left to a host's mke2fs.conf.
/// `metadata_csum_seed`: the first boot may change the UUID while it is mounted.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
    huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed";
/// How far it can grow before its group descriptors have to move, in blocks of 4 KiB: 2 TiB.
const GROWS_TO: u64 = 1 << 29;
/// In MiB. It does not grow with the file system, so it is made for what that becomes.
const JOURNAL: u64 = 32;

/// A file system in a file that is gone when this is dropped.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    /// The file.
    pub file: File,
    /// Where something was written, in order.
    pub ranges: Vec<Range>,
}

impl Drop for Made {
    fn drop(&mut self) {
        // In the folder for what is temporary.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `PATH`, with the folders that a plain user's leaves out.
pub(crate) fn path_with_sbin() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Makes it, in a new file in `folder`. `mke2fs`: the words that run it.
pub fn make(ext4: &Ext4, folder: &Path, mke2fs: &[OsString]) -> Result<Made> {
    let path = folder.join(format!("skerry-data-{}-{}.ext4", std::process::id(), ext4.uuid));
    let _ = std::fs::remove_file(&path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("making {}", path.display()))?;
    let mut made = Made {
        path,
        file,
        ranges: vec![],
    };
    made.file
        .set_len(ext4.bytes)
        .with_context(|| format!("making {}", made.path.display()))?;
    run(ext4, &made.path, mke2fs)?;
    made.ranges = mapped(&made.file).with_context(|| format!("looking at {}", made.path.display()))?;
    Ok(made)
}

fn run(ext4: &Ext4, path: &Path, words: &[OsString]) -> Result<()> {
    let journal = if ext4.bytes >> 20 < 8 * JOURNAL { 4 } else { JOURNAL };
    let (program, first) = words
        .split_first()
        .context("making the data file system: no words to run mke2fs with")?;
    let mut mke2fs = Command::new(program);
    mke2fs
        .args(first)
        .env("PATH", path_with_sbin())
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1"])
        .args(["-O", FEATURES, "-L", &ext4.label, "-U", &ext4.uuid])
        .arg("-J")
        .arg(format!("size={journal}"))
        .arg("-E")
        .arg(format!(
            "hash_seed={},lazy_itable_init=1,lazy_journal_init=0,nodiscard,resize={GROWS_TO}",
            ext4.hash_seed
        ))
        // Zeros that mke2fs wants on the disk have to be written, not left out: the journal must not be an old one's.
        .env("UNIX_IO_NOZEROOUT", "1")
        // So that a host's settings change nothing.
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("LC_ALL", "C");
    if let Some(time) = ext4.time {
        mke2fs.env("SOURCE_DATE_EPOCH", time.to_string());
        mke2fs.env("E2FSPROGS_FAKE_TIME", time.to_string());
    }
    if let Some(tree) = &ext4.tree {
        mke2fs.arg("-d").arg(tree);
    }
    let out = mke2fs
        .arg(path)
        .output()
        .context("making the data file system: running mke2fs / try: install e2fsprogs")?;
    if !out.status.success() {
        bail!(
            "making the data file system: mke2fs: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_same_bytes_each_time_and_the_journal_is_written() {
        let ext4 = Ext4 {
            label: "SKERRY_STATE".into(),
            bytes: 256 << 20,
            uuid: "6b1bd3f5-6f6c-4ab3-9d3b-534b45525259".into(),
            hash_seed: "6b1bd3f5-6f6c-4ab3-9d3b-534b45525250".into(),
            time: Some(1_795_264_982),
            tree: None,
        };
        let read = || {
            let made = make(&ext4, &std::env::temp_dir(), &["mke2fs".into()]).unwrap();
            let bytes: Vec<Vec<u8>> = made
                .ranges
                .iter()
                .map(|r| {
                    let mut bytes = vec![0; usize::try_from(r.bytes).unwrap()];
                    made.file.read_exact_at(&mut bytes, r.at).unwrap();
                    bytes
                })
                .collect();
            (made.ranges.clone(), bytes)
        };
        let (ranges, bytes) = read();
        let written: u64 = ranges.iter().map(|r| r.bytes).sum();
        assert!((JOURNAL << 20..(JOURNAL + 16) << 20).contains(&written), "{written} bytes");
        assert!(read() == (ranges, bytes));
    }
}
