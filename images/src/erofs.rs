//! What each file of a root image takes up: an EROFS image read just far enough to weigh it.
//!
//! The format: <https://docs.kernel.org/filesystems/erofs.html> and `fs/erofs/erofs_fs.h` of Linux. Inodes are 32 or 64 bytes long; of a
//! compressed file the inode names the number of blocks; folders are never compressed. Total: whatever the bytes, it ends.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file or folder of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without a slash before it; empty for the root.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// What it takes up: its blocks, or what lies beside its inode.
    pub stored: u64,
}

const MAGIC: u64 = 0xE0F5_E1E2;
/// An image of ours has some thousands.
const MOST: usize = 1 << 20;
const DEEPEST: usize = 64;

struct Image<'a> {
    file: &'a File,
    block: u64,
    meta: u64,
}

struct Inode {
    kind: u64,
    layout: u64,
    bytes: u64,
    /// The first block, or the number of compressed blocks.
    number: u64,
    /// Where what is stored beside the inode begins.
    beside: u64,
}

/// Lists an image, the root first.
pub fn list(path: &Path) -> Result<Vec<Entry>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    read(&file).with_context(|| format!("reading the file system in {}", path.display()))
}

fn read(file: &File) -> Result<Vec<Entry>> {
    let mut head = [0; 128];
    file.read_exact_at(&mut head, 1024)?;
    ensure!(number(&head, 0, 4) == MAGIC, "it is not EROFS");
    let bits = number(&head, 12, 1);
    ensure!((9..=16).contains(&bits), "its blocks have a size that makes no sense");
    let block = 1 << bits;
    let image = Image {
        file,
        block,
        meta: number(&head, 40, 4) * block,
    };
    let mut entries = vec![];
    image.walk(number(&head, 14, 2), "", 0, &mut entries)?;
    Ok(entries)
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes
        .get(at..at + length)
        .unwrap_or_default()
        .iter()
        .rev()
        .fold(0, |n, b| n << 8 | u64::from(*b))
}

impl Image<'_> {
    fn inode(&self, nid: u64) -> Result<Inode> {
        let at = nid
            .checked_mul(32)
            .and_then(|n| n.checked_add(self.meta))
            .context("an inode has no place")?;
        let mut bytes = [0; 64];
        // A short one may be the file's last bytes.
        self.file.read_exact_at(bytes.get_mut(..32).unwrap_or_default(), at)?;
        let format = number(&bytes, 0, 2);
        let is_long = format & 1 == 1;
        if is_long {
            self.file.read_exact_at(&mut bytes, at)?;
        }
        let attributes = number(&bytes, 2, 2);
        let attributes = if attributes == 0 { 0 } else { 12 + (attributes - 1) * 4 };
        Ok(Inode {
            kind: number(&bytes, 4, 2) & 0o170_000,
            layout: format >> 1 & 7,
            bytes: number(&bytes, 8, if is_long { 8 } else { 4 }),
            number: number(&bytes, 16, 4),
            beside: at + if is_long { 64 } else { 32 } + attributes,
        })
    }

    fn walk(&self, nid: u64, path: &str, depth: usize, into: &mut Vec<Entry>) -> Result<()> {
        ensure!(into.len() < MOST && depth < DEEPEST, "it has no end");
        let inode = self.inode(nid)?;
        let whole = inode.bytes / self.block * self.block;
        let stored = match (inode.kind, inode.layout) {
            (0o020_000 | 0o060_000, _) => 0,
            (_, 1 | 3) => inode.number * self.block,
            (_, 2) => inode.bytes,
            _ => inode.bytes.next_multiple_of(self.block),
        };
        into.push(Entry {
            path: path.to_owned(),
            bytes: inode.bytes,
            stored,
        });
        if inode.kind != 0o040_000 {
            return Ok(());
        }
        ensure!(inode.bytes <= 16 << 20, "the folder {path} is too long");
        let mut at = 0;
        while at < inode.bytes {
            let mut block = vec![0; usize::try_from(self.block.min(inode.bytes - at))?];
            let from = if inode.layout == 2 && at >= whole {
                inode.beside
            } else {
                inode.number * self.block + at
            };
            self.file.read_exact_at(&mut block, from)?;
            at += self.block;
            for (name, nid) in names(&block) {
                if name != "." && name != ".." {
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    self.walk(nid, &below, depth + 1, into)?;
                }
            }
        }
        Ok(())
    }
}

/// The entries of a folder's block: twelve bytes each, then the names; the first entry's offset tells how many there are.
fn names(block: &[u8]) -> Vec<(String, u64)> {
    let count = usize::try_from(number(block, 8, 2) / 12).unwrap_or(0);
    let offset = |n: usize| usize::try_from(number(block, n * 12 + 8, 2)).unwrap_or(0);
    (0..count)
        .filter_map(|n| {
            let end = if n + 1 < count { offset(n + 1) } else { block.len() };
            let name = block.get(offset(n)..end)?.split(|b| *b == 0).next()?;
            Some((String::from_utf8_lossy(name).into_owned(), number(block, n * 12, 8)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// One block: a superblock, a root folder whose names lie beside its inode, a short file, and one of three compressed blocks.
    fn image() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[1024..1028].copy_from_slice(&0xE0F5_E1E2u32.to_le_bytes());
        bytes[1036] = 12;
        bytes[1038] = 40; // root: at 1280
        let mut inode = |nid: usize, format: u16, mode: u16, size: u32, number: u32| {
            let at = nid * 32;
            bytes[at..at + 2].copy_from_slice(&format.to_le_bytes());
            bytes[at + 4..at + 6].copy_from_slice(&mode.to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&size.to_le_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&number.to_le_bytes());
        };
        inode(40, 2 << 1, 0o040_755, 12 * 4 + 12, 0);
        inode(50, 2 << 1, 0o100_644, 5, 0);
        inode(52, 3 << 1, 0o100_644, 40_000, 3);
        let names = [(40u64, "."), (40, ".."), (50, "short"), (52, "big")];
        let (mut at, mut offset) = (1280 + 32, 48);
        for (nid, name) in names {
            bytes[at..at + 8].copy_from_slice(&nid.to_le_bytes());
            bytes[at + 8..at + 10].copy_from_slice(&u16::try_from(offset).unwrap().to_le_bytes());
            bytes[1312 + offset..1312 + offset + name.len()].copy_from_slice(name.as_bytes());
            (at, offset) = (at + 12, offset + name.len());
        }
        bytes
    }

    fn read_bytes(bytes: &[u8], name: &str) -> Result<Vec<Entry>> {
        let path = std::env::temp_dir().join(format!("skerry-erofs-{name}-{}", std::process::id()));
        File::create(&path)?.write_all(bytes)?;
        let read = list(&path);
        std::fs::remove_file(path)?;
        read
    }

    #[test]
    fn files_are_weighed() {
        let found: Vec<_> = read_bytes(&image(), "good")
            .unwrap()
            .into_iter()
            .map(|e| (e.path, e.bytes, e.stored))
            .collect();
        assert_eq!(found[1..], [("short".into(), 5, 5), ("big".into(), 40_000, 12_288)]);
        assert_eq!(found[0].0, "");
    }

    #[test]
    fn whatever_the_bytes_it_ends() {
        let good = image();
        for at in 1024..1400 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = read_bytes(&bytes, "bad");
            }
        }
        assert!(read_bytes(&good[..1100], "short").is_err());
    }
}
