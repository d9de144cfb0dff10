//! What a volume that somebody plugs in calls itself: FAT, ISO 9660 and ext labels, read from their superblocks.
//!
//! The parsers are pure, over bytes of a stranger: no bytes make them panic or read far. Sources: Microsoft's "FAT32 File System
//! Specification" 1.03; ECMA-119 §8.4; the kernel's `Documentation/filesystems/ext4`.

use crate::block::Ext4;
use crate::{Doing, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// ISO 9660.
    Iso,
    /// ext2, ext3 or ext4.
    Ext,
}

impl Kind {
    /// What mount(2) calls it.
    pub fn fstype(self) -> &'static str {
        match self {
            Self::Fat => "vfat",
            Self::Iso => "iso9660",
            Self::Ext => "ext4",
        }
    }
}

/// A file system that has a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its kind.
    pub kind: Kind,
    /// Its label, without the blanks around it.
    pub label: String,
}

/// Bytes of a boot sector that count.
const BOOT: usize = 512;
/// No more than this of a root directory is looked at: a label is its first entry on all that people use.
const DIRECTORY_MAX: usize = 64 << 10;
/// An entry of a directory.
const ENTRY: usize = 32;
/// The primary volume descriptor, in ISO 9660's sectors of 2048 bytes.
const ISO_AT: u64 = 16 * 2048;
const ISO_BYTES: usize = 72;

/// A FAT's boot sector, as far as its label goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fat {
    /// The label in the boot sector, which programs forget to keep up to date.
    pub label: Option<String>,
    /// Where the root directory begins, in bytes.
    pub root_at: u64,
    /// How many of its bytes lie together there: all of it, or (FAT32) its first cluster.
    pub root_bytes: usize,
}

impl Fat {
    /// Reads a boot sector; `None` when it is not one.
    pub fn parse(sector: &[u8]) -> Option<Self> {
        let byte = |at: usize| sector.get(at).copied().map(u64::from);
        let half = |at: usize| Some(u64::from(u16::from_le_bytes(sector.get(at..at + 2)?.try_into().ok()?)));
        let word = |at: usize| Some(u64::from(u32::from_le_bytes(sector.get(at..at + 4)?.try_into().ok()?)));
        let (bytes, per_cluster, reserved, fats, media) = (half(11)?, byte(13)?, half(14)?, byte(16)?, byte(21)?);
        let is_jump = matches!(sector.first()?, 0xEB | 0xE9);
        let is_fat = half(510)? == 0xAA55
            && is_jump
            && matches!(bytes, 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && matches!(fats, 1 | 2)
            && (media == 0xF0 || media >= 0xF8);
        if !is_fat {
            return None;
        }
        let (entries, short_fat) = (half(17)?, half(22)?);
        let label = |at: usize| {
            (byte(at - 5)? == 0x29)
                .then(|| sector.get(at..at + 11))
                .flatten()
                .and_then(fat_text)
        };
        if entries > 0 && short_fat > 0 {
            let root_at = (reserved + fats * short_fat) * bytes;
            let root_bytes = usize::try_from(entries).ok()?.saturating_mul(ENTRY).min(DIRECTORY_MAX);
            return Some(Self {
                label: label(43),
                root_at,
                root_bytes,
            });
        }
        let (long_fat, cluster) = (word(36)?, word(44)?);
        if entries > 0 || short_fat > 0 || long_fat == 0 || cluster < 2 {
            return None;
        }
        let data = reserved + fats * long_fat;
        let sectors = data.checked_add((cluster - 2).checked_mul(per_cluster)?)?;
        Some(Self {
            label: label(71),
            root_at: sectors.checked_mul(bytes)?,
            root_bytes: usize::try_from(per_cluster * bytes).ok()?.min(DIRECTORY_MAX),
        })
    }
}

/// The label that a FAT's root directory holds: the entry with the attribute of a volume, and no other.
pub fn fat_root_label(directory: &[u8]) -> Option<String> {
    let entries = directory.chunks_exact(ENTRY).take_while(|e| e.first().is_some_and(|b| *b != 0));
    let is_label = |e: &&[u8]| {
        let (first, attributes) = (e.first().copied().unwrap_or(0), e.get(11).copied().unwrap_or(0));
        // 0x0F is a part of a long name; 0xE5 an entry that was deleted.
        first != 0xE5 && attributes & 0x3F != 0x0F && attributes & 0x18 == 0x08
    };
    entries.filter(is_label).find_map(|e| fat_text(e.get(..11)?))
}

/// Eleven bytes padded with blanks; `NO NAME` is none.
fn fat_text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).trim_matches(|c| c == ' ' || c == '\0').to_owned();
    (!text.is_empty() && text != "NO NAME").then_some(text)
}

/// The label of an ISO 9660 volume, from the descriptor in its 16th sector; `None` when it is not one.
pub fn iso_label(descriptor: &[u8]) -> Option<String> {
    if descriptor.get(..6)? != b"\x01CD001" {
        return None;
    }
    let text = String::from_utf8_lossy(descriptor.get(40..72)?)
        .trim_matches(|c| c == ' ' || c == '\0')
        .to_owned();
    Some(text)
}

/// The labelled file system in what `read` gives: bytes from a place on, as many as fit, fewer at its end.
pub fn look(mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>) -> io::Result<Option<Volume>> {
    let mut at = |place: u64, length: usize| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let got = read(place, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    };
    let named = |kind, label: Option<String>| label.filter(|l| !l.is_empty()).map(|label| Volume { kind, label });
    // A hybrid ISO may have the boot sector of a FAT; the other way round does not happen.
    if let Some(found) = named(Kind::Iso, iso_label(&at(ISO_AT, ISO_BYTES)?)) {
        return Ok(Some(found));
    }
    if let Some(fs) = Ext4::parse(&at(1024, 1024)?) {
        return Ok(named(Kind::Ext, Some(fs.label)));
    }
    let Some(fat) = Fat::parse(&at(0, BOOT)?) else {
        return Ok(None);
    };
    let in_root = fat_root_label(&at(fat.root_at, fat.root_bytes)?);
    Ok(named(Kind::Fat, in_root.or(fat.label)))
}

/// The labelled file system on a device, or in a file; none on a drive without a medium.
pub fn on(device: &Path) -> Result<Option<Volume>> {
    let file = match File::open(device) {
        Err(why) if why.raw_os_error() == Some(nix::libc::ENOMEDIUM) => return Ok(None),
        opened => opened.doing("reading", device.display())?,
    };
    let read = |place: u64, bytes: &mut [u8]| {
        let mut got = 0;
        while let Some(rest) = bytes.get_mut(got..).filter(|r| !r.is_empty()) {
            match file.read_at(rest, place + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(got)
    };
    look(read).doing("reading", device.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sector(fat32: bool) -> Vec<u8> {
        let mut s = vec![0; BOOT];
        s[0] = 0xEB;
        s[11..13].copy_from_slice(&512u16.to_le_bytes());
        s[13] = 4;
        s[14] = 8;
        s[16] = 2;
        s[21] = 0xF8;
        s[510..].copy_from_slice(&[0x55, 0xAA]);
        let label_at = if fat32 { 71 } else { 43 };
        s[label_at - 5] = 0x29;
        s[label_at..label_at + 11].copy_from_slice(b"SKERRYCFG  ");
        if fat32 {
            s[36..40].copy_from_slice(&100u32.to_le_bytes());
            s[44] = 5;
        } else {
            s[17..19].copy_from_slice(&512u16.to_le_bytes());
            s[22] = 20;
        }
        s
    }

    #[test]
    fn where_the_root_directory_lies() {
        let fat = Fat::parse(&sector(false)).unwrap();
        assert_eq!(
            (fat.root_at, fat.root_bytes, fat.label.as_deref()),
            (48 * 512, 16384, Some("SKERRYCFG"))
        );
        let fat = Fat::parse(&sector(true)).unwrap();
        assert_eq!(
            (fat.root_at, fat.root_bytes, fat.label.as_deref()),
            ((208 + 3 * 4) * 512, 2048, Some("SKERRYCFG"))
        );
    }

    #[test]
    fn what_is_not_fat_is_none() {
        for (at, value) in [(0, 0), (510, 0), (11, 1), (13, 3), (14, 0), (16, 3), (21, 1)] {
            let mut s = sector(true);
            s[at] = value;
            assert_eq!(Fat::parse(&s), None, "{at}");
        }
        let mut small = sector(true);
        small[44] = 1;
        assert_eq!(Fat::parse(&small), None);
        for cut in 0..BOOT {
            assert_eq!(Fat::parse(&sector(true)[..cut]), None);
        }
    }

    fn entry(name: &[u8; 11], attributes: u8) -> Vec<u8> {
        let mut e = name.to_vec();
        e.push(attributes);
        e.resize(ENTRY, 0);
        e
    }

    #[test]
    fn the_label_is_the_entry_of_a_volume() {
        let (long, gone) = (entry(b"AAAAAAAAAAA", 0x0F), entry(b"\xe5LD        ", 0x08));
        let (file, folder) = (entry(b"CONFIG  YML", 0x20), entry(b"CONFIG  D  ", 0x10));
        let (label, end) = (entry(b"cidata     ", 0x28), entry(&[0; 11], 0));
        let all = |parts: &[&Vec<u8>]| parts.iter().flat_map(|p| (*p).clone()).collect::<Vec<u8>>();
        assert_eq!(
            fat_root_label(&all(&[&long, &gone, &file, &folder, &label])).as_deref(),
            Some("cidata")
        );
        assert_eq!(fat_root_label(&all(&[&file, &end, &label])), None);
        assert_eq!(fat_root_label(&entry(b"NO NAME    ", 0x08)), None);
    }

    #[test]
    fn a_hybrid_is_an_iso() {
        let mut image = vec![0; 40 << 10];
        image[..BOOT].copy_from_slice(&sector(false));
        let seen = |image: &[u8]| {
            look(|at, to| {
                let from = usize::try_from(at).unwrap().min(image.len());
                let got = to.len().min(image.len() - from);
                to[..got].copy_from_slice(&image[from..from + got]);
                Ok(got)
            })
            .unwrap()
        };
        assert_eq!(seen(&image).unwrap().kind, Kind::Fat);
        image[32768..32774].copy_from_slice(b"\x01CD001");
        image[32808..32840].copy_from_slice(b"cidata                          ");
        assert_eq!(
            seen(&image),
            Some(Volume {
                kind: Kind::Iso,
                label: "cidata".into()
            })
        );
        assert_eq!(seen(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = (Fat::parse(&bytes), fat_root_label(&bytes), iso_label(&bytes));
        }

        /// A boot sector with a few wild fields, and a read that gives whatever it is asked for.
        #[test]
        fn any_fields_are_read(fields in proptest::collection::vec((0usize..90, any::<u8>()), 0..12), fat32 in any::<bool>()) {
            let mut s = sector(fat32);
            for (at, value) in fields {
                s[at] = value;
            }
            let asked = std::cell::Cell::new(0usize);
            let _ = look(|at, to| {
                asked.set(asked.get() + to.len());
                to.fill(0x08);
                if at == 0 {
                    to.copy_from_slice(&s);
                }
                Ok(to.len())
            });
            prop_assert!(asked.get() <= DIRECTORY_MAX + 4096);
        }
    }
}
