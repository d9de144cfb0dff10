//! The dm-verity tree behind the root file system: what `veritysetup format` would write, with fixed salt and UUID.
//!
//! ```text
//!  data (n × 4096) │ superblock (4096) │ top level … leaf level
//!                  └ hashoff
//! ```

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::thread;

/// Size of data and hash blocks.
pub const BLOCK: usize = 4096;
/// Digests in a hash block.
const FANOUT: usize = BLOCK / 32;

/// What makes a tree unlike others of the same data; fixed, so that equal data has equal trees.
pub struct Identity {
    /// Hashed before each block.
    pub salt: [u8; 32],
    /// In the superblock only.
    pub uuid: [u8; 16],
}

/// A finished tree.
pub struct Tree {
    /// Superblock and levels, to be appended to the data.
    pub bytes: Vec<u8>,
    /// What the kernel is told to trust.
    pub root: [u8; 32],
}

/// Hashes data whose length is a multiple of the block.
pub fn tree(data: &[u8], identity: &Identity) -> Result<Tree> {
    // A single block has no tree: there the root hash is its own.
    ensure!(
        data.len() > BLOCK && data.len() % BLOCK == 0,
        "hashing {} bytes: not a whole number of blocks, two at least",
        data.len()
    );
    let mut levels = vec![level(data, identity)];
    while let Some(below) = levels.last().filter(|level| level.len() > BLOCK) {
        let above = level(below, identity);
        levels.push(above);
    }
    let top = levels.last().context("finding the top of the tree")?;
    let root = hash(top, identity);
    let mut bytes = superblock(u64::try_from(data.len() / BLOCK)?, identity);
    levels.iter().rev().for_each(|level| bytes.extend_from_slice(level));
    Ok(Tree { bytes, root })
}

/// The digests of all blocks, padded to whole hash blocks.
fn level(data: &[u8], identity: &Identity) -> Vec<u8> {
    let blocks = data.len() / BLOCK;
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = blocks.div_ceil(workers).max(1) * BLOCK;
    let mut digests: Vec<u8> = thread::scope(|scope| {
        let parts: Vec<_> = data
            .chunks(share)
            .map(|part| scope.spawn(move || part.chunks(BLOCK).flat_map(|block| hash(block, identity)).collect::<Vec<u8>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("hashing does not panic"))
            .collect()
    });
    digests.resize(blocks.div_ceil(FANOUT) * BLOCK, 0);
    digests
}

fn hash(block: &[u8], identity: &Identity) -> [u8; 32] {
    Sha256::new().chain_update(identity.salt).chain_update(block).finalize().into()
}

/// Version 1 of the on-disk header, padded to a block.
fn superblock(blocks: u64, identity: &Identity) -> Vec<u8> {
    let mut bytes = b"verity\0\0".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes()); // version of the header
    bytes.extend_from_slice(&1u32.to_le_bytes()); // salt before data
    bytes.extend_from_slice(&identity.uuid);
    bytes.extend_from_slice(b"sha256");
    bytes.resize(64, 0);
    for size in [BLOCK, BLOCK] {
        bytes.extend_from_slice(&u32::try_from(size).unwrap_or_default().to_le_bytes());
    }
    bytes.extend_from_slice(&blocks.to_le_bytes());
    bytes.extend_from_slice(&32u16.to_le_bytes());
    bytes.resize(88, 0);
    bytes.extend_from_slice(&identity.salt);
    bytes.resize(BLOCK, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        salt: [7; 32],
        uuid: [9; 16],
    };

    #[test]
    fn two_blocks_hang_on_one_hash_block() {
        let data = vec![1; 2 * BLOCK];
        let tree = tree(&data, &IDENTITY).unwrap();
        assert_eq!(tree.bytes.len(), 2 * BLOCK);
        assert_eq!(tree.bytes[BLOCK + 32..BLOCK + 64], hash(&data[BLOCK..], &IDENTITY));
        assert_eq!(tree.root, hash(&tree.bytes[BLOCK..], &IDENTITY));
    }

    #[test]
    fn levels_go_from_the_top_down() {
        let data: Vec<u8> = (0..(FANOUT + 1) * BLOCK)
            .map(|at| u8::try_from(at / BLOCK % 251).unwrap())
            .collect();
        let tree = tree(&data, &IDENTITY).unwrap();
        assert_eq!(tree.bytes.len(), 4 * BLOCK, "superblock, top, two leaves");
        let (top, leaves) = (&tree.bytes[BLOCK..2 * BLOCK], &tree.bytes[2 * BLOCK..]);
        assert_eq!(top[..32], hash(&leaves[..BLOCK], &IDENTITY));
        assert_eq!(top[32..64], hash(&leaves[BLOCK..], &IDENTITY));
        assert!(top[64..].iter().all(|byte| *byte == 0));
        assert_eq!(leaves[BLOCK..BLOCK + 32], hash(&data[FANOUT * BLOCK..], &IDENTITY));
    }

    #[test]
    fn odd_lengths_are_refused() {
        for length in [0, 100, BLOCK, 2 * BLOCK + 1] {
            assert!(tree(&vec![0; length], &IDENTITY).is_err(), "{length}");
        }
    }
}
