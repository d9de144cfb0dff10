//! Which blocks of an image hold anything, with their digests: bmaptool's file format, version 2.0.
//!
//! `bmaptool copy` writes only these, and so do we. Format: the comment in every bmap file, and bmaptool's `BmapCreate.py`.

use crate::content::Digest;
use crate::map::mapped;
use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes in a block.
pub const BLOCK: u64 = 4096;

/// An image's map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmap {
    /// The image's length, in bytes.
    pub bytes: u64,
    /// What is mapped, in order.
    pub ranges: Vec<Blocks>,
}

/// Blocks that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub first: u64,
    /// The last, which belongs to them.
    pub last: u64,
    /// The SHA-256 of their bytes.
    pub sha256: Digest,
}

impl Blocks {
    /// Where they begin in the image, in bytes.
    pub fn at(&self) -> u64 {
        self.first * BLOCK
    }
}

impl Bmap {
    /// Maps an image file.
    pub fn of(file: &File) -> Result<Self> {
        let bytes = file.metadata().context("measuring the image")?.len();
        let mut spans: Vec<(u64, u64)> = vec![];
        for range in mapped(file).context("looking for the holes of the image")? {
            let (first, last) = (range.at / BLOCK, (range.at + range.bytes - 1) / BLOCK);
            match spans.last_mut() {
                Some((_, end)) if first <= *end + 1 => *end = last,
                _ => spans.push((first, last)),
            }
        }
        let mut ranges = vec![];
        let mut buffer = vec![0; 1 << 20];
        for (first, last) in spans {
            let (mut at, end) = (first * BLOCK, ((last + 1) * BLOCK).min(bytes));
            let mut hash = Sha256::new();
            while at < end {
                let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let piece = buffer.get_mut(..length).unwrap_or_default();
                file.read_exact_at(piece, at).context("reading the image")?;
                hash.update(&*piece);
                at += length as u64;
            }
            let sha256 = Digest(hash.finalize().into());
            ranges.push(Blocks { first, last, sha256 });
        }
        Ok(Self { bytes, ranges })
    }

    /// How many bytes are mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges.iter().map(|r| self.length(r)).sum()
    }

    /// A range's length in bytes: the image may end within its last block.
    pub fn length(&self, range: &Blocks) -> u64 {
        ((range.last + 1) * BLOCK).min(self.bytes).saturating_sub(range.at())
    }

    /// The file.
    pub fn to_xml(&self) -> String {
        let without = self.xml(&"0".repeat(64));
        // The file's own digest is that of the file with zeros in the digest's place.
        self.xml(&Digest::of(without.as_bytes()).to_string())
    }

    fn xml(&self, checksum: &str) -> String {
        let blocks: u64 = self.ranges.iter().map(|r| r.last + 1 - r.first).sum();
        let mut xml = format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    <BlockSize> {BLOCK} </BlockSize>\n    \
             <BlocksCount> {} </BlocksCount>\n    <MappedBlocksCount> {blocks} </MappedBlocksCount>\n    \
             <ChecksumType> sha256 </ChecksumType>\n    <BmapFileChecksum> {checksum} </BmapFileChecksum>\n    <BlockMap>\n",
            self.bytes,
            self.bytes.div_ceil(BLOCK),
        );
        for Blocks { first, last, sha256 } in &self.ranges {
            let range = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            // Writing to a string does not fail.
            let _ = writeln!(xml, "        <Range chksum=\"{sha256}\"> {range} </Range>");
        }
        xml + "    </BlockMap>\n</bmap>\n"
    }

    /// Reads a map of version 2.0 with SHA-256 digests, made by us or by bmaptool.
    pub fn parse(text: &str) -> Result<Self> {
        let element = |name: &str| -> Result<&str> {
            let rest = text.split_once(&format!("<{name}>")).map(|(_, r)| r);
            let value = rest.and_then(|r| r.split_once(&format!("</{name}>"))).map(|(v, _)| v.trim());
            value.with_context(|| format!("reading the bmap file: there is no {name}"))
        };
        ensure!(
            text.contains("<bmap version=\"2.0\">"),
            "reading the bmap file: it is not of version 2.0"
        );
        ensure!(
            element("ChecksumType")? == "sha256",
            "reading the bmap file: its digests are not SHA-256"
        );
        ensure!(
            element("BlockSize")? == "4096",
            "reading the bmap file: its blocks are not 4096 bytes long"
        );
        let checksum = element("BmapFileChecksum")?;
        let zeroed = text.replacen(checksum, &"0".repeat(64), 1);
        ensure!(
            Some(Digest::of(zeroed.as_bytes())) == Digest::parse(checksum),
            "reading the bmap file: it is damaged / try: copy it again"
        );
        let bytes: u64 = element("ImageSize")?.parse().context("reading the bmap file's ImageSize")?;
        let mut ranges: Vec<Blocks> = vec![];
        for part in element("BlockMap")?.split("<Range ").skip(1) {
            let range = range(part).with_context(|| format!("reading the bmap file: the range {:?}", part.trim()))?;
            let is_next = ranges.last().is_none_or(|before| before.last < range.first);
            ensure!(
                is_next && range.first <= range.last && range.last < bytes.div_ceil(BLOCK),
                "reading the bmap file: the range {}-{} is out of order",
                range.first,
                range.last
            );
            ranges.push(range);
        }
        Ok(Self { bytes, ranges })
    }
}

/// `chksum="…"> 6-9 </Range>`
fn range(text: &str) -> Option<Blocks> {
    let (digest, rest) = text.strip_prefix("chksum=\"")?.split_once("\">")?;
    let blocks = rest.split_once("</Range>")?.0.trim();
    let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
    Some(Blocks {
        first: first.trim().parse().ok()?,
        last: last.trim().parse().ok()?,
        sha256: Digest::parse(digest)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Bmap {
        let blocks = |first, last| Blocks {
            first,
            last,
            sha256: Digest::of(&[u8::try_from(first).unwrap()]),
        };
        Bmap {
            bytes: 100 * BLOCK - 1,
            ranges: vec![blocks(0, 0), blocks(6, 9), blocks(99, 99)],
        }
    }

    #[test]
    fn maps_survive_their_file() {
        let xml = map().to_xml();
        assert_eq!(Bmap::parse(&xml).unwrap(), map());
        assert!(xml.contains("<BlocksCount> 100 </BlocksCount>") && xml.contains("<MappedBlocksCount> 6 </MappedBlocksCount>"));
        assert!(xml.contains("\"> 0 </Range>") && xml.contains("\"> 6-9 </Range>"));
        assert_eq!(map().mapped_bytes(), 6 * BLOCK - 1);
    }

    #[test]
    fn a_damaged_map_is_refused() {
        let xml = map().to_xml();
        for at in 0..xml.len() {
            let mut bytes = xml.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(found) = Bmap::parse(&String::from_utf8_lossy(&bytes)) {
                panic!("byte {at}: {found:?}");
            }
        }
    }
}
