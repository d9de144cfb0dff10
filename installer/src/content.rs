//! Bytes that will be written: those held in memory, or those of a file, or zeros.

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::PathBuf;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut digest = [0; 32];
        for (i, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What will be written somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A whole file. Its digest is checked while it is read.
    File {
        /// Where it is.
        path: PathBuf,
        /// How long it has to be.
        bytes: u64,
        /// What it has to be.
        sha256: Digest,
    },
    /// So many zeros.
    Zeros(u64),
}

impl Content {
    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } | Self::Zeros(bytes) => *bytes,
        }
    }
}

/// Shown as its length and digest, or as the file's name: a plan is for people and programs to read.
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            file: Option<&'a PathBuf>,
            bytes: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            sha256: Option<Digest>,
        }
        let (file, sha256) = match self {
            Self::Bytes(bytes) => (None, Some(Digest::of(bytes))),
            Self::File { path, sha256, .. } => (Some(path), Some(*sha256)),
            Self::Zeros(_) => (None, None),
        };
        Shown {
            file,
            bytes: self.bytes(),
            sha256,
        }
        .serialize(to)
    }
}

/// Content and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// In bytes, from the beginning of the partition, or of the disk.
    pub at: u64,
    /// What comes there.
    pub content: Content,
}

impl Extent {
    /// Bytes at a place, with the long runs of zeros among them told as such: tables of a file system are mostly zeros.
    pub fn sparse(at: u64, bytes: &[u8]) -> Vec<Self> {
        const RUN: usize = 4096;
        let mut extents: Vec<Self> = vec![];
        let mut next = at;
        for piece in bytes.chunks(RUN) {
            let is_zero = piece.iter().all(|b| *b == 0);
            match (extents.last_mut().map(|e| &mut e.content), is_zero) {
                (Some(Content::Zeros(length)), true) => *length += piece.len() as u64,
                (Some(Content::Bytes(before)), false) => before.extend(piece),
                _ => extents.push(Self {
                    at: next,
                    content: if is_zero {
                        Content::Zeros(piece.len() as u64)
                    } else {
                        Content::Bytes(piece.to_vec())
                    },
                }),
            }
            next += piece.len() as u64;
        }
        extents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_told_apart() {
        let mut bytes = vec![0; 5 * 4096 + 100];
        bytes[4095] = 1;
        bytes[4096] = 2;
        bytes[4 * 4096] = 3;
        let found = Extent::sparse(512, &bytes);
        let lengths: Vec<_> = found
            .iter()
            .map(|e| (e.at - 512, e.content.bytes(), matches!(e.content, Content::Zeros(_))))
            .collect();
        assert_eq!(
            lengths,
            [(0, 8192, false), (8192, 8192, true), (16384, 4096, false), (20480, 100, true)]
        );
    }
}
