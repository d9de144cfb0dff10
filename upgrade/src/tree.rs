//! dm-verity's hash tree, read without the kernel: does an image hang together, from the root hash down to the last block?
//!
//! ```text
//!  data │ superblock │ top level (one block) │ … │ leaf level          each level holds the digests of the one below it
//! ```
//!
//! The format is that of `veritysetup format` with one digest area behind the data:
//! <https://docs.kernel.org/admin-guide/device-mapper/verity.html>. A device whose image was checked here opens in the kernel.

use sha2::{Digest as _, Sha256};
use skerry_installer::content::Digest;
use skerry_sys::verity::{SUPERBLOCK_BYTES, Superblock};
use std::io;

/// Of data and of hashes, in bytes; other sizes would be a release of another kind.
const BLOCK: u32 = 4096;
/// Digests in a hash block.
const FAN_OUT: u64 = BLOCK as u64 / 32;

/// Reads bytes at an offset of the image.
pub type Read<'a> = dyn Fn(u64, &mut [u8]) -> io::Result<()> + 'a;
type Fill<'a> = dyn Fn(u64, &mut [u8]) -> Result<(), Wrong> + 'a;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The superblock and the tree's top block, against the root hash.
    Top,
    /// Every block of the tree and of the data.
    Whole,
}

/// Why an image does not hang together.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("reading byte {at}: {why}")]
    Unreadable {
        /// Where.
        at: u64,
        /// Why.
        why: io::Error,
    },
    /// The superblock is none of ours.
    #[error("{0}")]
    Superblock(&'static str),
    /// The tree is not where the superblock's numbers put it.
    #[error("the tree's numbers do not agree with the image: {0}")]
    Shape(String),
    /// The top block has another hash.
    #[error("the root hash is wrong: expected {expected}, found {found}")]
    Root {
        /// What the manifest says.
        expected: Digest,
        /// What follows from the image.
        found: Digest,
    },
    /// A block has another hash than the tree says.
    #[error("the block at byte {at} is not what the hash tree says")]
    Block {
        /// Where it is.
        at: u64,
    },
}

/// Where the levels of a tree lie.
struct Shape {
    superblock: Superblock,
    /// Offset in bytes and number of hash blocks, from the top down.
    levels: Vec<(u64, u64)>,
    /// Where the tree ends, in bytes.
    end: u64,
}

impl Shape {
    fn of(superblock: Superblock, hash_offset: u64) -> Result<Self, Wrong> {
        let block = u64::from(BLOCK);
        if (superblock.data_block_bytes, superblock.hash_block_bytes) != (BLOCK, BLOCK) {
            return Err(Wrong::Superblock("its blocks are not 4096 bytes long"));
        }
        if superblock.data_bytes() != hash_offset {
            let data = superblock.data_bytes();
            return Err(Wrong::Shape(format!("{data} bytes of data, and the tree begins at {hash_offset}")));
        }
        let mut counts = vec![superblock.data_blocks.div_ceil(FAN_OUT)];
        while let Some(below) = counts.last().filter(|n| **n > 1) {
            counts.push(below.div_ceil(FAN_OUT));
        }
        let mut end = hash_offset + block;
        let mut levels = vec![];
        for count in counts.into_iter().rev() {
            levels.push((end, count));
            end += count * block;
        }
        Ok(Self { superblock, levels, end })
    }

    fn hash(&self, block: &[u8]) -> Digest {
        Digest(
            Sha256::new()
                .chain_update(&self.superblock.salt)
                .chain_update(block)
                .finalize()
                .into(),
        )
    }
}

/// Checks the image that `read` reads; `bytes` is its length, where it has one of its own. `tell` hears how many bytes were read.
pub fn check(
    read: &Read<'_>,
    bytes: Option<u64>,
    hash_offset: u64,
    root: Digest,
    depth: Depth,
    tell: &mut dyn FnMut(u64),
) -> Result<(), Wrong> {
    let fill = |at: u64, into: &mut [u8]| read(at, into).map_err(|why| Wrong::Unreadable { at, why });
    let mut head = [0; SUPERBLOCK_BYTES];
    fill(hash_offset, &mut head)?;
    let shape = Shape::of(Superblock::parse(&head).map_err(Wrong::Superblock)?, hash_offset)?;
    if let Some(bytes) = bytes.filter(|b| *b != shape.end) {
        return Err(Wrong::Shape(format!(
            "the tree ends at byte {}, and the image at {bytes}",
            shape.end
        )));
    }
    // The digests of the level that comes next, as its parent says.
    let mut above = vec![0; BLOCK as usize];
    fill(shape.levels.first().map_or(0, |l| l.0), &mut above)?;
    let found = shape.hash(&above);
    if found != root {
        return Err(Wrong::Root { expected: root, found });
    }
    if depth == Depth::Top {
        return Ok(());
    }
    // The first level is that block.
    for (at, count) in shape.levels.iter().skip(1) {
        above = level(&shape, &fill, *at, *count, &above)?;
    }
    let mut block = vec![0; BLOCK as usize];
    for (number, digest) in (0..shape.superblock.data_blocks).zip(above.chunks_exact(32)) {
        let at = number * u64::from(BLOCK);
        fill(at, &mut block)?;
        compare(&shape, &block, digest, at)?;
        tell(u64::from(BLOCK));
    }
    Ok(())
}

/// Reads a level and compares each of its blocks to what `above` says of it.
fn level(shape: &Shape, fill: &Fill<'_>, at: u64, count: u64, above: &[u8]) -> Result<Vec<u8>, Wrong> {
    let mut all = vec![];
    let mut block = vec![0; BLOCK as usize];
    for (number, digest) in (0..count).zip(above.chunks_exact(32)) {
        let at = at + number * u64::from(BLOCK);
        fill(at, &mut block)?;
        compare(shape, &block, digest, at)?;
        all.extend_from_slice(&block);
    }
    Ok(all)
}

fn compare(shape: &Shape, block: &[u8], digest: &[u8], at: u64) -> Result<(), Wrong> {
    if shape.hash(block).0 == digest {
        Ok(())
    } else {
        Err(Wrong::Block { at })
    }
}
