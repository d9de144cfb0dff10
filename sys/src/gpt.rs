//! The partition table: a [`Table`] to the bytes of its two copies, and back.
//!
//! The crate `gpt` is confined to this file. It parses and checksums; where the bytes go, and in which order, is the caller's (its own
//! `write` packs partitions to the front of the table, which would make our number 15 an 8, and writes the primary copy first).
//! Format: UEFI specification, chapter 5.

use crate::{Doing, Error, Result};
use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, HeaderBuilder, read_header_from_arbitrary_device};
use gpt::partition::{Partition as Entry, file_read_partitions};
use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::str::FromStr;

/// Bytes in a sector. Disks with sectors of 4096 bytes are refused before they get here.
pub const SECTOR: u64 = 512;
/// Sectors of the partition entries: 128 of 128 bytes.
pub const ENTRY_SECTORS: u64 = 32;
/// The first sector that a partition may use: after the protective MBR, the header and the entries.
pub const FIRST_USABLE: u64 = 2 + ENTRY_SECTORS;

const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;
const SIZE: LogicalBlockSize = LogicalBlockSize::Lb512;

/// A GUID, as the number that its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u128);

impl Guid {
    /// A random GUID (version 4, RFC 9562) out of 16 random bytes.
    pub fn random(bytes: [u8; 16]) -> Self {
        let free = u128::from_be_bytes(bytes) & !(0xF << 76) & !(0b11 << 62);
        Self(free | (0x4 << 76) | (0b10 << 62))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| (self.0 >> shift) & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        let wrong = || Error {
            doing: "reading the GUID",
            on: text.to_owned(),
            source: io::ErrorKind::InvalidData.into(),
        };
        if lengths != [8, 4, 4, 4, 12] || text.contains('+') {
            return Err(wrong());
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(Self).map_err(|_| wrong())
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1 to 128; the numbers of a table may have gaps.
    pub number: u32,
    /// At most 36 UTF-16 units.
    pub name: String,
    /// The type.
    pub kind: Guid,
    /// Its own GUID: `PARTUUID`.
    pub guid: Guid,
    /// The first sector.
    pub first: u64,
    /// The last sector, which belongs to it.
    pub last: u64,
    /// The attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// Its length in sectors.
    pub fn sectors(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The disk's GUID.
    pub disk: Guid,
    /// The length of the disk, in sectors, that the table is made for: the backup header is in the last.
    pub sectors: u64,
    /// By number.
    pub partitions: Vec<Partition>,
}

/// A table's bytes. Both copies have the same entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// For sector 1.
    pub primary: Vec<u8>,
    /// For sectors 2 to 33, and once more for those before the last.
    pub entries: Vec<u8>,
    /// For the last sector.
    pub backup: Vec<u8>,
    /// The sector of the backup's entries.
    pub backup_entries_at: u64,
    /// The last sector.
    pub backup_at: u64,
}

fn refused(on: impl fmt::Display, why: impl Into<String>) -> Error {
    Error {
        doing: "making the partition table:",
        on: on.to_string(),
        source: io::Error::new(io::ErrorKind::InvalidInput, why.into()),
    }
}

impl Table {
    /// The partition of a number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.number == number)
    }

    /// The last sector that a partition may use.
    pub fn last_usable(&self) -> u64 {
        self.sectors.saturating_sub(ENTRY_SECTORS + 2)
    }

    /// The table's bytes. Refuses partitions that overlap or leave the disk, numbers that are given twice, and names that do not fit.
    pub fn encode(&self) -> Result<Encoded> {
        self.check()?;
        let mut entries = Cursor::new(vec![0; (ENTRIES * ENTRY_BYTES) as usize]);
        for p in &self.partitions {
            let guid = |g: Guid| g.to_string();
            let entry = Entry {
                part_type_guid: guid(p.kind).parse().map_err(|why: String| refused(&p.name, why))?,
                part_guid: guid(p.guid).parse().map_err(|_| refused(&p.name, "GUID"))?,
                first_lba: p.first,
                last_lba: p.last,
                flags: p.attributes,
                name: p.name.clone(),
            };
            entry
                .write_to_device(&mut entries, u64::from(p.number - 1), 0, SIZE, ENTRY_BYTES)
                .doing("making the partition table:", &p.name)?;
        }
        let entries = entries.into_inner();
        let (primary, _) = self.header(true, &entries)?;
        let (backup, backup_entries_at) = self.header(false, &entries)?;
        Ok(Encoded {
            primary,
            entries,
            backup,
            backup_entries_at,
            backup_at: self.sectors - 1,
        })
    }

    /// A header's sector, and the sector of its entries.
    fn header(&self, is_primary: bool, entries: &[u8]) -> Result<(Vec<u8>, u64)> {
        let wrong = |why: gpt::header::HeaderError| refused("header", why.to_string());
        let mut builder = HeaderBuilder::new();
        builder
            .disk_guid(self.disk.to_string().parse().map_err(|_| refused("header", "GUID"))?)
            .backup_lba(self.sectors - 1)
            .primary(is_primary);
        let mut header = builder.build(SIZE).map_err(wrong)?;
        // The entries are where the header says, so that the checksum can be taken from there.
        let mut window = Window {
            base: header.part_start.min(header.current_lba) * SECTOR,
            bytes: vec![0; entries.len() + 512],
            at: header.part_start * SECTOR,
        };
        window.write_all(entries).doing("making the partition table:", "entries")?;
        let done = if is_primary {
            header.write_primary(&mut window, SIZE)
        } else {
            header.write_backup(&mut window, SIZE)
        };
        done.map_err(wrong)?;
        window.at = header.current_lba * SECTOR;
        let mut sector = vec![0; usize::try_from(SECTOR).unwrap_or(512)];
        window.read_exact(&mut sector).doing("making the partition table:", "header")?;
        Ok((sector, header.part_start))
    }

    fn check(&self) -> Result<()> {
        if self.sectors < 2 * FIRST_USABLE {
            return Err(refused("disk", format!("{} sectors hold no table", self.sectors)));
        }
        for (i, p) in self.partitions.iter().enumerate() {
            if !(1..=ENTRIES).contains(&p.number) {
                return Err(refused(&p.name, format!("number {} is not from 1 to {ENTRIES}", p.number)));
            }
            if p.name.encode_utf16().count() > 36 {
                return Err(refused(&p.name, "the name is longer than 36 letters"));
            }
            if p.first < FIRST_USABLE || p.last < p.first || p.last > self.last_usable() {
                let why = format!(
                    "sectors {} to {} are not within {FIRST_USABLE} to {}",
                    p.first,
                    p.last,
                    self.last_usable()
                );
                return Err(refused(&p.name, why));
            }
            for other in self.partitions.iter().skip(i + 1) {
                if other.number == p.number || (p.first <= other.last && other.first <= p.last) {
                    return Err(refused(&p.name, format!("it shares its number or sectors with {}", other.name)));
                }
            }
        }
        Ok(())
    }
}

/// What a disk's two copies say. An error is why a copy does not count.
#[derive(Debug)]
pub struct Found {
    /// That of sector 1.
    pub primary: Result<Table>,
    /// That of the disk's last sector.
    pub backup: Result<Table>,
}

impl Found {
    /// The table that counts: the primary, else the backup.
    pub fn table(&self) -> Option<&Table> {
        self.primary.as_ref().or(self.backup.as_ref()).ok()
    }
}

/// Reads both copies by `read(offset in bytes, into)`; what stands there may be anything.
pub fn find(sectors: u64, mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> Found {
    Found {
        primary: decode(1, sectors, &mut read),
        backup: decode(sectors.saturating_sub(1), sectors, &mut read),
    }
}

fn decode(at: u64, sectors: u64, read: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> Result<Table> {
    let wrong = |why: String| Error {
        doing: "reading the partition table in sector",
        on: at.to_string(),
        source: io::Error::new(io::ErrorKind::InvalidData, why),
    };
    // The crate looks for a header in sector 1 only.
    let mut sector = vec![0; 2 * 512];
    let into = sector.get_mut(512..).unwrap_or_default();
    read(at * SECTOR, into).doing("reading the partition table in sector", at)?;
    let mut header = read_header_from_arbitrary_device(&mut Cursor::new(sector), SIZE).map_err(|why| wrong(why.to_string()))?;
    bounded(&header, at, sectors).map_err(|why| wrong(why.to_owned()))?;
    let mut entries = vec![0; (header.num_parts * header.part_size) as usize];
    read(header.part_start * SECTOR, &mut entries).doing("reading the partition table in sector", at)?;
    header.part_start = 0;
    let found = file_read_partitions(&mut Cursor::new(entries), &header, SIZE).doing("reading the partition table in sector", at)?;
    let partitions = found
        .into_iter()
        .filter(|(_, e)| e.is_used())
        .map(|(number, e)| Partition {
            number,
            name: e.name,
            kind: Guid(e.part_type_guid.guid.as_u128()),
            guid: Guid(e.part_guid.as_u128()),
            first: e.first_lba,
            last: e.last_lba,
            attributes: e.flags,
        })
        .collect::<Vec<_>>();
    if let Some(p) = partitions.iter().find(|p| p.last < p.first || p.last >= sectors) {
        return Err(wrong(format!("partition {} is not on this disk", p.number)));
    }
    Ok(Table {
        disk: Guid(header.disk_guid.as_u128()),
        sectors: header.current_lba.max(header.backup_lba).saturating_add(1),
        partitions,
    })
}

/// The crate takes these as they come, and would panic or ask for all memory.
fn bounded(header: &Header, at: u64, sectors: u64) -> std::result::Result<(), &'static str> {
    if header.part_size != ENTRY_BYTES || header.num_parts == 0 || header.num_parts > 1024 {
        return Err("entries of an unusual size or number");
    }
    if header.current_lba != at {
        return Err("the header was made for another sector");
    }
    let length = u64::from(header.num_parts * header.part_size).div_ceil(SECTOR);
    match header.part_start.checked_add(length) {
        Some(end) if end <= sectors && header.part_start > 0 => Ok(()),
        _ => Err("the entries are not on this disk"),
    }
}

/// A piece of a disk that begins at `base`.
#[derive(Debug)]
struct Window {
    base: u64,
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    fn here(&mut self, length: usize) -> io::Result<&mut [u8]> {
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let from = self
            .at
            .checked_sub(self.base)
            .and_then(|f| usize::try_from(f).ok())
            .ok_or_else(outside)?;
        let to = from.checked_add(length).ok_or_else(outside)?;
        self.at += length as u64;
        self.bytes.get_mut(from..to).ok_or_else(outside)
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len();
        into.copy_from_slice(self.here(length)?);
        Ok(length)
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.here(bytes.len())?.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at,
            SeekFrom::Current(0) => {}
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let partition = |number: u32, name: &str, first: u64, last: u64| Partition {
            number,
            name: name.into(),
            kind: "0fc63daf-8483-4772-8e79-3d69d8477de4".parse().unwrap(),
            guid: Guid::random([u8::try_from(number).unwrap(); 16]),
            first,
            last,
            attributes: 1 << 63,
        };
        Table {
            disk: Guid::random([9; 16]),
            sectors: 20_000,
            partitions: vec![partition(1, "esp", 2048, 4095), partition(15, "bios", 34, 2047)],
        }
    }

    fn disk(table: &Table) -> Vec<u8> {
        let bytes = table.encode().unwrap();
        let mut disk = vec![0; usize::try_from(table.sectors * SECTOR).unwrap()];
        for (at, what) in [
            (1, &bytes.primary),
            (2, &bytes.entries),
            (bytes.backup_entries_at, &bytes.entries),
            (bytes.backup_at, &bytes.backup),
        ] {
            let at = usize::try_from(at * SECTOR).unwrap();
            disk[at..at + what.len()].copy_from_slice(what);
        }
        disk
    }

    fn look(disk: &[u8]) -> Found {
        find(disk.len() as u64 / SECTOR, |at, into| {
            let at = usize::try_from(at).unwrap();
            into.copy_from_slice(disk.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    #[test]
    fn both_copies_come_back_with_their_numbers() {
        let table = table();
        let found = look(&disk(&table));
        assert_eq!(found.primary.unwrap(), table);
        assert_eq!(found.backup.unwrap(), table);
    }

    #[test]
    fn a_changed_byte_in_a_copy_is_seen_and_the_other_counts() {
        let table = table();
        for at in [512, 512 + 57, 512 + 91, 1024, 1024 + 130, 1024 + 16383] {
            let mut disk = disk(&table);
            disk[at] ^= 1;
            let found = look(&disk);
            assert!(found.primary.is_err(), "{at}");
            assert_eq!(found.table(), Some(&table));
        }
        assert!(look(&vec![0; 40_000]).table().is_none());
    }

    /// Any header that passes its checksum must not make us panic or ask for all memory.
    #[test]
    fn strange_headers_are_refused() {
        let good = disk(&table());
        for (at, value) in [(80, u32::MAX), (80, 0), (84, 256), (84, 0), (72, u32::MAX), (72, 0), (24, 7)] {
            let mut disk = good.clone();
            disk[512 + at..512 + at + 4].copy_from_slice(&value.to_le_bytes());
            disk[512 + 16..512 + 20].fill(0);
            let crc = crc32(&disk[512..512 + 92]);
            disk[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
            assert!(look(&disk).primary.is_err(), "{at} {value}");
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(c & 1)))
        })
    }

    #[test]
    fn tables_that_cannot_be_are_refused() {
        let wrong: [fn(&mut Table); 6] = [
            |t| t.partitions[1].number = 1,
            |t| t.partitions[1].number = 129,
            |t| t.partitions[1].last = 2048,
            |t| t.partitions[0].last = 20_000 - 33,
            |t| t.partitions[1].first = 33,
            |t| t.partitions[0].name = "x".repeat(37),
        ];
        for change in wrong {
            let mut table = table();
            change(&mut table);
            assert!(table.encode().is_err(), "{table:?}");
        }
    }

    #[test]
    fn guids_are_written_as_they_are_read() {
        for text in ["21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
            assert_eq!(text.parse::<Guid>().unwrap().to_string(), text);
        }
        assert_eq!(Guid::random([0xFF; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        for text in [
            "",
            "c12a7328",
            "+12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
        ] {
            assert!(text.parse::<Guid>().is_err());
        }
    }
}
