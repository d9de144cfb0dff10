//! Reads what QEMU's block driver `blklogwrites` kept: every write of a machine, in the format of the kernel's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst; QEMU, block/blklogwrites.c).
//!
//! ```text
//! sector 0: magic, version, number of entries, bytes of a sector │ then of each entry: one sector with its head, and its data
//! ```

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// No single write of a machine is longer: virtio-blk and SATA take a few MiB at once.
const LONGEST: u64 = 256 << 20;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, in bytes.
    pub at: u64,
    /// What was written; of what was discarded, zeros.
    pub bytes: Vec<u8>,
    /// All before it, and it too, is on the medium.
    pub is_flush: bool,
    /// Where in the log it begins, in bytes.
    pub from: u64,
}

/// The entries of a log, one after the other.
#[derive(Debug)]
pub struct Log {
    file: BufReader<File>,
    sector: u64,
    left: u64,
    at: u64,
}

impl Log {
    /// Opens a log whose machine has ended.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Self::read(file).with_context(|| format!("reading {}", path.display()))
    }

    fn read(file: File) -> Result<Self> {
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut head = [0; 512];
        file.read_exact(&mut head)?;
        let [magic, version, left] = [0, 8, 16].map(|at| long(&head, at));
        ensure!(magic == MAGIC && version == 1, "it begins as no log of writes does");
        let sector = long(&head, 24) & u64::from(u32::MAX);
        ensure!([512, 4096].contains(&sector), "its sectors have {sector} bytes");
        skip(&mut file, sector - 512)?;
        Ok(Self {
            file,
            sector,
            left,
            at: sector,
        })
    }

    fn next_entry(&mut self) -> Result<Entry> {
        let mut head = [0; 32];
        self.file.read_exact(&mut head)?;
        skip(&mut self.file, self.sector - 32)?;
        let [sector, sectors, flags, more] = [0, 8, 16, 24].map(|at| long(&head, at));
        let from = self.at;
        let length = sectors.saturating_mul(self.sector);
        ensure!(
            length <= LONGEST || flags & DISCARD != 0,
            "an entry of {length} bytes: that is none"
        );
        ensure!(more == 0, "an entry with a mark: nobody made one");
        let mut bytes = vec![0; usize::try_from(length.min(LONGEST))?];
        self.at += self.sector;
        if flags & DISCARD == 0 {
            self.file.read_exact(&mut bytes)?;
            self.at += length;
        }
        Ok(Entry {
            at: sector.saturating_mul(self.sector),
            bytes,
            is_flush: flags & (FLUSH | FUA) != 0,
            from,
        })
    }
}

impl Iterator for Log {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        Some(self.next_entry().with_context(|| format!("reading the entry at byte {at}")))
    }
}

fn skip(file: &mut impl Read, bytes: u64) -> Result<()> {
    let skipped = std::io::copy(&mut file.take(bytes), &mut std::io::sink())?;
    ensure!(skipped == bytes, "it ends in its middle");
    Ok(())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|b| b.first_chunk());
    u64::from_le_bytes(eight.copied().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn temporary(name: &str, bytes: &[u8]) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("skerry-writelog-{name}-{}", std::process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        (path, file)
    }

    fn entry(sector: u64, sectors: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = [sector, sectors, flags, 0].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn entries_are_read() {
        let mut bytes = [MAGIC, 1, 4, 512].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes.extend(entry(3, 1, 0, &[7; 512]));
        bytes.extend(entry(0, 0, FLUSH, &[]));
        bytes.extend(entry(8, 2, DISCARD, &[]));
        bytes.extend(entry(9, 2, FUA, &[9; 1024]));
        let path = std::env::temp_dir().join(format!("skerry-writelog-{}", std::process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(&bytes).unwrap();
        file.rewind().unwrap();
        let found: Vec<Entry> = Log::read(file).unwrap().map(Result::unwrap).collect();
        let seen: Vec<_> = found.iter().map(|e| (e.at, e.bytes.len(), e.is_flush, e.from)).collect();
        assert_eq!(
            seen,
            [
                (1536, 512, false, 512),
                (0, 0, true, 1536),
                (4096, 1024, false, 2048),
                (4608, 1024, true, 2560)
            ]
        );
        assert!(found[0].bytes.iter().all(|b| *b == 7) && found[2].bytes.iter().all(|b| *b == 0));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn damage_is_an_error() {
        let (path, _) = temporary("bad", &[1; 512]);
        assert!(Log::open(&path).is_err());
        let mut bytes = [MAGIC, 1, 2, 512].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes.extend(entry(0, u64::MAX, 0, &[]));
        let (path, _) = temporary("bad", &bytes);
        assert!(Log::open(&path).unwrap().next().unwrap().is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
