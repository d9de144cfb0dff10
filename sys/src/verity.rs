//! A read-only device whose every read is checked: dm-verity by the device mapper's own calls.
//!
//! The kernel checks a tree lazily, block by block, so a wrong root hash shows only when the first block is read, as an I/O error that
//! names nothing. [`check`] reads the tree's top block first and compares: a wrong hash is refused with both values, before a
//! table is loaded.
#![allow(unsafe_code, reason = "the device mapper's ioctls have no safe wrapper")]

use crate::{Doing, Error, Result};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The root of the hash tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RootHash([u8; 32]);

impl RootHash {
    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().try_fold(0, |sum, d| Some(sum * 16 + char::from(*d).to_digit(16)?))?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootHash({self})")
    }
}

/// What `veritysetup format` writes before the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// In bytes.
    pub data_block_bytes: u32,
    /// In bytes.
    pub hash_block_bytes: u32,
    /// How many blocks are covered.
    pub data_blocks: u64,
    /// Goes before each block into the hash.
    pub salt: Vec<u8>,
}

/// How many bytes a superblock has.
pub const SUPERBLOCK_BYTES: usize = 512;

impl Superblock {
    /// Reads a superblock; the error says why it is not one that we open.
    pub fn parse(block: &[u8]) -> std::result::Result<Self, &'static str> {
        let bytes = |at: usize, length: usize| block.get(at..at + length).ok_or("the superblock is cut short");
        let word = |at: usize| bytes(at, 4).map(|b| b.iter().rev().fold(0u32, |sum, b| sum << 8 | u32::from(*b)));
        if bytes(0, 8)? != b"verity\0\0" {
            return Err("there is no verity superblock");
        }
        if word(8)? != 1 || word(12)? != 1 {
            return Err("the verity superblock is of a version we do not know");
        }
        if bytes(32, 32)?.split(|b| *b == 0).next() != Some(b"sha256") {
            return Err("the tree is not made with sha256");
        }
        let (data_block_bytes, hash_block_bytes) = (word(64)?, word(68)?);
        if [data_block_bytes, hash_block_bytes]
            .iter()
            .any(|b| !b.is_power_of_two() || !(512..=65536).contains(b))
        {
            return Err("the block sizes make no sense");
        }
        let data_blocks = bytes(72, 8)?.iter().rev().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
        if data_blocks < 2 || data_blocks.checked_mul(u64::from(data_block_bytes)).is_none_or(|b| b > 1 << 60) {
            return Err("the number of blocks makes no sense");
        }
        let salt_bytes = bytes(80, 2)?.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
        if salt_bytes > 256 {
            return Err("the salt is too long");
        }
        Ok(Self {
            data_block_bytes,
            hash_block_bytes,
            data_blocks,
            salt: bytes(88, salt_bytes)?.to_vec(),
        })
    }

    /// How many bytes the checked device has.
    pub fn data_bytes(&self) -> u64 {
        self.data_blocks * u64::from(self.data_block_bytes)
    }

    /// The root hash that follows from the tree's top block (`hash_block_bytes` long).
    pub fn root_hash(&self, top_block: &[u8]) -> RootHash {
        RootHash(Sha256::new().chain_update(&self.salt).chain_update(top_block).finalize().into())
    }

    /// The mapping table's parameters; `device` as `MAJOR:MINOR`, `tree` in hash blocks.
    fn parameters(&self, device: &str, tree: u64, root: &RootHash, on_corruption: OnCorruption) -> String {
        let Self {
            data_block_bytes,
            hash_block_bytes,
            data_blocks,
            salt,
        } = self;
        let salt = if salt.is_empty() { "-".to_owned() } else { hex(salt) };
        let mut text = format!("1 {device} {device} {data_block_bytes} {hash_block_bytes} {data_blocks} {tree} sha256 {root} {salt}");
        if on_corruption == OnCorruption::Panic {
            text.push_str(" 1 panic_on_corruption");
        }
        text
    }
}

/// What a read of a damaged block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruption {
    /// It fails; what was already there goes on.
    FailRead,
    /// The kernel panics, so that the boot loader takes the other system.
    Panic,
}

/// An image whose hash tree's top agrees with its root hash.
#[derive(Debug)]
pub struct Checked {
    device: PathBuf,
    superblock: Superblock,
    /// Where the tree begins, in hash blocks.
    tree: u64,
    root: RootHash,
}

/// Reads the superblock at `hash_offset` (in bytes) and compares the tree's top block to `root`.
pub fn check(device: &Path, hash_offset: u64, root: RootHash) -> Result<Checked> {
    let refuse = |why: String| Error {
        doing: "checking the verity tree of",
        on: format!("{} at byte {hash_offset}", device.display()),
        source: io::Error::new(io::ErrorKind::InvalidData, why),
    };
    let file = File::open(device).doing("opening", device.display())?;
    let mut block = [0; SUPERBLOCK_BYTES];
    file.read_exact_at(&mut block, hash_offset).map_err(|why| refuse(why.to_string()))?;
    let superblock = Superblock::parse(&block).map_err(|why| refuse(why.to_owned()))?;
    let hash_bytes = u64::from(superblock.hash_block_bytes);
    if hash_offset % hash_bytes != 0 || hash_offset < superblock.data_bytes() {
        return Err(refuse(format!(
            "the tree cannot lie there: {} bytes of data come before it",
            superblock.data_bytes()
        )));
    }
    let tree = hash_offset / hash_bytes + 1;
    let mut top = vec![0; superblock.hash_block_bytes as usize];
    file.read_exact_at(&mut top, tree * hash_bytes)
        .map_err(|why| refuse(why.to_string()))?;
    let found = superblock.root_hash(&top);
    if found != root {
        return Err(refuse(format!("the root hash is wrong: expected {root}, found {found}")));
    }
    Ok(Checked {
        device: device.to_owned(),
        superblock,
        tree,
        root,
    })
}

/// Makes the checked device, `/dev/dm-N`, and returns its path.
pub fn open(name: &str, image: &Checked, on_corruption: OnCorruption) -> Result<PathBuf> {
    let control =
        rustix::fs::open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing("opening", "/dev/mapper/control")?;
    let number = std::fs::metadata(&image.device).doing("looking at", image.device.display())?.rdev();
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let parameters = image.superblock.parameters(&number, image.tree, &image.root, on_corruption);
    let target = Target {
        sectors: image.superblock.data_bytes() / 512,
        kind: "verity",
        parameters: &parameters,
    };
    call(&control, DM_DEV_CREATE, name, 0, None).doing("making the mapped device", name)?;
    let loaded = call(&control, DM_TABLE_LOAD, name, DM_READONLY, Some(&target))
        .doing("loading the verity table", &parameters)
        .and_then(|_| call(&control, DM_DEV_SUSPEND, name, 0, None).doing("starting the mapped device", name));
    match loaded {
        Ok(number) => Ok(PathBuf::from(format!("/dev/dm-{}", rustix::fs::minor(number)))),
        Err(why) => {
            // The error that counts is `why`; an empty mapped device harms nobody.
            let _ = call(&control, DM_DEV_REMOVE, name, 0, None);
            Err(why)
        }
    }
}

/// Whether a block under this mapped device was found not to be what it was built as, since it was made.
pub fn is_damaged(name: &str) -> Result<bool> {
    let doing = "asking for the state of the mapped device";
    let control =
        rustix::fs::open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing("opening", "/dev/mapper/control")?;
    let mut bytes = request(name, 0, None).doing(doing, name)?;
    bytes.resize(STATUS, 0);
    put(&mut bytes, 12, &STATUS_BYTES.to_ne_bytes()).doing(doing, name)?;
    exchange(&control, DM_TABLE_STATUS, &mut bytes).doing(doing, name)?;
    Ok(said_of_root(&bytes) == Some(b'C'))
}

/// The first letter of the first target's state; `V` (verified) or `C` (corrupted) of a verity target.
fn said_of_root(answer: &[u8]) -> Option<u8> {
    let start = answer.get(16..20).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)?;
    let start = usize::try_from(start).ok()?;
    let kind = answer.get(start.checked_add(24)?..)?;
    kind.starts_with(b"verity\0").then_some(())?;
    answer.get(start.checked_add(SPEC)?).copied()
}

// From linux/dm-ioctl.h.
const DM_DEV_CREATE: u8 = 3;
const DM_DEV_REMOVE: u8 = 4;
const DM_DEV_SUSPEND: u8 = 6;
const DM_TABLE_LOAD: u8 = 9;
const DM_TABLE_STATUS: u8 = 12;
const DM_READONLY: u32 = 1;
const HEADER: usize = 312;
const SPEC: usize = 40;
/// Room for the state of a few targets.
const STATUS: usize = 1024;
const STATUS_BYTES: u32 = 1024;

struct Target<'a> {
    sectors: u64,
    kind: &'a str,
    parameters: &'a str,
}

/// `struct dm_ioctl`, and after it `struct dm_target_spec` with its parameters.
fn request(name: &str, flags: u32, target: Option<&Target>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0u8; HEADER];
    put(&mut bytes, 0, &4u32.to_ne_bytes())?; // version 4.0.0
    put(&mut bytes, 16, &u32::try_from(HEADER).map_err(io::Error::other)?.to_ne_bytes())?; // where the data begins
    put(&mut bytes, 28, &flags.to_ne_bytes())?;
    if name.len() > 127 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    put(&mut bytes, 48, name.as_bytes())?;
    if let Some(target) = target {
        put(&mut bytes, 20, &1u32.to_ne_bytes())?; // one target
        let mut spec = vec![0u8; SPEC];
        put(&mut spec, 8, &target.sectors.to_ne_bytes())?;
        put(&mut spec, 24, target.kind.as_bytes())?;
        bytes.extend_from_slice(&spec);
        bytes.extend_from_slice(target.parameters.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    put(&mut bytes, 12, &length.to_ne_bytes())?;
    Ok(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> io::Result<()> {
    bytes
        .get_mut(at..at + value.len())
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(value);
    Ok(())
}

/// One call; the answer is the mapped device's number.
fn call(control: &OwnedFd, command: u8, name: &str, flags: u32, target: Option<&Target>) -> io::Result<u64> {
    let mut bytes = request(name, flags, target)?;
    exchange(control, command, &mut bytes)?;
    let device = bytes
        .get(40..48)
        .and_then(|b| b.try_into().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(u64::from_ne_bytes(device))
}

/// Sends a request; the answer takes its place.
fn exchange(control: &OwnedFd, command: u8, bytes: &mut [u8]) -> io::Result<()> {
    let length = bytes.get(12..16).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    if length.and_then(|l| usize::try_from(l).ok()).is_none_or(|l| l > bytes.len()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let number = nix::request_code_readwrite!(0xfd, command, HEADER);
    // SAFETY: the kernel reads and writes at most the number of bytes that the request's size field names, which was just seen to be
    // no more than the buffer's length; the buffer outlives the call and nothing else refers to it.
    let answer = unsafe { nix::libc::ioctl(control.as_raw_fd(), number, bytes.as_mut_ptr()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn superblock() -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..6].copy_from_slice(b"verity");
        block[8] = 1;
        block[12] = 1;
        block[32..38].copy_from_slice(b"sha256");
        block[64..68].copy_from_slice(&4096u32.to_le_bytes());
        block[68..72].copy_from_slice(&4096u32.to_le_bytes());
        block[72..80].copy_from_slice(&2u64.to_le_bytes());
        block[80] = 2;
        block[88..90].copy_from_slice(&[0xab, 0xcd]);
        block
    }

    #[test]
    fn reads_a_superblock() {
        let read = Superblock::parse(&superblock()).unwrap();
        assert_eq!(
            read,
            Superblock {
                data_block_bytes: 4096,
                hash_block_bytes: 4096,
                data_blocks: 2,
                salt: vec![0xab, 0xcd]
            }
        );
        let root = RootHash([7; 32]);
        let seven = "07".repeat(32);
        assert_eq!(
            read.parameters("254:0", 3, &root, OnCorruption::FailRead),
            format!("1 254:0 254:0 4096 4096 2 3 sha256 {seven} abcd")
        );
        assert!(
            read.parameters("254:0", 3, &root, OnCorruption::Panic)
                .ends_with("abcd 1 panic_on_corruption")
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_superblock() {
        let table: [(usize, u8, &str); 6] = [
            (0, b'V', "there is no verity superblock"),
            (8, 2, "the verity superblock is of a version we do not know"),
            (35, b'5', "the tree is not made with sha256"),
            (65, 0x11, "the block sizes make no sense"),
            (72, 1, "the number of blocks makes no sense"),
            (81, 9, "the salt is too long"),
        ];
        for (at, value, why) in table {
            let mut block = superblock();
            block[at] = value;
            assert_eq!(Superblock::parse(&block), Err(why));
        }
        assert_eq!(Superblock::parse(&superblock()[..40]), Err("the superblock is cut short"));
    }

    #[test]
    fn a_hash_is_64_digits() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(RootHash::parse(&text).unwrap().to_string(), text);
        assert_eq!(RootHash::parse(&text.to_uppercase()).unwrap().to_string(), text);
        for wrong in ["", "0", &text[1..], &text.replace('0', "g"), &format!("{text}0")] {
            assert_eq!(RootHash::parse(wrong), None);
        }
    }

    /// Data, superblock, top block: what `check` reads.
    fn image(name: &str) -> (PathBuf, RootHash) {
        let top = vec![5; 4096];
        let root = Superblock::parse(&superblock()).unwrap().root_hash(&top);
        let path = std::env::temp_dir().join(format!("skerry-verity-{name}-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        for part in [vec![1; 8192], superblock(), vec![0; 4096 - 512], top] {
            file.write_all(&part).unwrap();
        }
        (path, root)
    }

    #[test]
    fn a_wrong_root_hash_is_refused_and_both_are_named() {
        let (path, root) = image("wrong");
        assert!(check(&path, 8192, root).is_ok());
        let other = RootHash([1; 32]);
        let said = check(&path, 8192, other).unwrap_err().to_string();
        assert!(said.contains(&format!("expected {other}, found {root}")), "{said}");
        assert!(said.contains("at byte 8192"), "{said}");
    }

    #[test]
    fn a_tree_in_a_wrong_place_is_refused() {
        let (path, root) = image("place");
        for at in [0, 4096, 8191, 16384, u64::MAX >> 1] {
            assert!(check(&path, at, root).is_err(), "at {at}");
        }
    }

    #[test]
    fn a_request_has_the_shape_of_the_header_file() {
        let target = Target {
            sectors: 16,
            kind: "verity",
            parameters: "1 a",
        };
        let bytes = request("root", DM_READONLY, Some(&target)).unwrap();
        assert_eq!(bytes.len(), HEADER + SPEC + 8);
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(&bytes[HEADER + 24..HEADER + 31], b"verity\0");
        assert_eq!(&bytes[HEADER + SPEC..HEADER + SPEC + 4], b"1 a\0");
        assert!(request(&"n".repeat(128), 0, None).is_err());
    }

    #[test]
    fn the_state_of_a_target() {
        let mut answer = vec![0; HEADER + SPEC + 8];
        answer[16..20].copy_from_slice(&312u32.to_ne_bytes());
        answer[HEADER + 24..HEADER + 31].copy_from_slice(b"verity\0");
        for letter in *b"VC" {
            answer[HEADER + SPEC] = letter;
            assert_eq!(said_of_root(&answer), Some(letter));
        }
        answer[HEADER + 24..HEADER + 31].copy_from_slice(b"linear\0");
        assert_eq!(said_of_root(&answer), None);
        answer[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(said_of_root(&answer), None);
        assert_eq!(said_of_root(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), start in any::<bool>()) {
            let head = if start { superblock()[..64].to_vec() } else { vec![] };
            let _ = Superblock::parse(&[head, bytes].concat());
        }
    }
}
