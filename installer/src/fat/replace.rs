//! A file of a FAT file system gets new bytes: all of the old ones, or all of the new, whenever the power goes.
//!
//! The new bytes go into clusters that are free, the tables chain them, and then one sector of the folder names them instead of the old
//! ones: an entry's first cluster and length lie in the same 32 bytes. Only then are the old clusters freed. A cut leaves at worst
//! clusters that belong to nothing, which firmware and GRUB do not see and fsck frees.

use super::add::Volume;
use super::{Kind, dir};
use crate::content::{Content, Extent};
use crate::device::Device;
use anyhow::{Context, Result, ensure};

/// No file that is replaced, and no folder on the way to it, is longer.
const LONGEST: usize = 16 << 20;
const ENTRY: usize = 32;

/// A file system as it will be when all that was planned is done.
#[derive(Debug)]
pub struct Editor {
    volume: Volume,
    info: Option<(u64, Vec<u8>)>,
}

/// A file, and where its folder names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is in it.
    pub bytes: Vec<u8>,
    first: u64,
    /// The sector of the folder with its entry, on the device, and the entry's place in it.
    sector_at: u64,
    sector: Vec<u8>,
    within: usize,
}

/// What is written, group by group, with a flush after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writes {
    /// The bytes, their chain, and the sector that names them.
    pub switch: Vec<Vec<Extent>>,
    /// The old bytes' room becomes free.
    pub free: Vec<Vec<Extent>>,
}

impl Editor {
    /// Reads the tables of the file system that begins at `at` of a device, in bytes.
    pub fn open(device: &dyn Device, at: u64) -> Result<Self> {
        let volume = Volume::read(device, at).context("looking at the file system")?;
        let info = match volume.info_at {
            Some(at) => Some((at, read(device, at, 512)?)),
            None => None,
        };
        Ok(Self { volume, info })
    }

    /// Looks for a file by its whole path.
    pub fn find(&self, device: &dyn Device, path: &str) -> Result<Option<Found>> {
        let mut places = self.volume.root_places()?;
        let mut parts = path.trim_start_matches('/').split('/').peekable();
        while let Some(name) = parts.next() {
            let is_folder = parts.peek().is_some();
            let Some((at, entry)) = entry(device, &places, name, is_folder)? else {
                return Ok(None);
            };
            let first = word(&entry, 26) | word(&entry, 20) << 16;
            let chain = self.volume.chain(first);
            ensure!(
                chain.len() as u64 * self.volume.cluster_bytes <= LONGEST as u64,
                "reading {name}: it is longer than it may be"
            );
            places = chain
                .iter()
                .map(|c| (self.volume.cluster_at(*c), self.volume.cluster_bytes))
                .collect();
            if is_folder {
                continue;
            }
            let length = usize::try_from(word(&entry, 28) | word(&entry, 30) << 16)?;
            let mut bytes = vec![];
            for (at, length) in &places {
                bytes.extend(read(device, *at, usize::try_from(*length)?)?);
            }
            ensure!(bytes.len() >= length, "reading {path}: its chain of clusters is too short");
            bytes.truncate(length);
            let sector_at = at / super::SECTOR * super::SECTOR;
            return Ok(Some(Found {
                bytes,
                first,
                sector_at,
                sector: read(device, sector_at, 512)?,
                within: usize::try_from(at - sector_at)?,
            }));
        }
        Ok(None)
    }

    /// What has to be written so that the file holds these bytes. `time` in seconds since 1970.
    pub fn replace(&mut self, file: &Found, bytes: &[u8], time: u64) -> Result<Writes> {
        let cluster_bytes = usize::try_from(self.volume.cluster_bytes)?;
        let before = self.volume.table.clone();
        let free_before = self.volume.free();
        let clusters = self.volume.take(bytes.len() as u64)?;
        let mut content: Vec<Extent> = vec![];
        for (cluster, piece) in clusters.iter().zip(bytes.chunks(cluster_bytes)) {
            let mut whole = piece.to_vec();
            whole.resize(cluster_bytes, 0);
            let at = self.volume.cluster_at(*cluster);
            // Clusters that follow one another are one write.
            match content.last_mut() {
                Some(Extent {
                    at: from,
                    content: Content::Bytes(held),
                }) if *from + held.len() as u64 == at => held.extend(whole),
                _ => content.push(extent(at, whole)),
            }
        }
        let chained = self.changed(&before);
        let mut sector = file.sector.clone();
        let entry = sector
            .get_mut(file.within..file.within + ENTRY)
            .context("looking at the folder's entry")?;
        name_anew(
            entry,
            clusters.first().copied().unwrap_or(0),
            u32::try_from(bytes.len())?,
            dir::stamp(time),
        );
        let named = extent(file.sector_at, sector);

        let before = self.volume.table.clone();
        self.volume.release(file.first);
        let mut free = self.changed(&before);
        let free_now = self.volume.free();
        if let Some((at, info)) = &mut self.info {
            // FSInfo: FSI_Free_Count at 488. What was wrong or unknown before stays so.
            let counted = u32::try_from(free_before)?.to_le_bytes();
            if let Some(place) = info.get_mut(488..492).filter(|old| **old == counted && free_now != free_before) {
                place.copy_from_slice(&u32::try_from(free_now)?.to_le_bytes());
                free.push(extent(*at, info.clone()));
            }
        }
        Ok(Writes {
            switch: vec![content, chained, vec![named]],
            free: vec![free],
        })
    }

    /// The sectors of all tables that are not as they were.
    fn changed(&self, before: &[u8]) -> Vec<Extent> {
        let volume = &self.volume;
        let sectors = (0u64..).zip(volume.table.chunks(512).zip(before.chunks(512)));
        let changed: Vec<(u64, &[u8])> = sectors.filter(|(_, (now, old))| now != old).map(|(n, (now, _))| (n, now)).collect();
        let tables = (0..volume.tables).map(|number| volume.at + volume.tables_at + number * volume.table_bytes);
        tables
            .flat_map(|at| changed.iter().map(move |(n, now)| extent(at + n * super::SECTOR, now.to_vec())))
            .collect()
    }

    /// FAT12's entries straddle sectors: such a file system is left to others.
    pub fn is_wide(&self) -> bool {
        self.volume.kind != Kind::Fat12
    }
}

fn extent(at: u64, bytes: Vec<u8>) -> Extent {
    Extent {
        at,
        content: Content::Bytes(bytes),
    }
}

fn read(device: &dyn Device, at: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    device.read_at(at, &mut bytes).context("reading the file system")?;
    Ok(bytes)
}

/// Microsoft's specification, "FAT directory structure": time 22, date 24, first cluster 26 and 20, length 28.
fn name_anew(entry: &mut [u8], first: u64, length: u32, (date, time): (u16, u16)) {
    let [c0, c1, c2, c3, ..] = first.to_le_bytes();
    let fields: [(usize, &[u8]); 4] = [
        (20, &[c2, c3]),
        (22, &time.to_le_bytes()),
        (24, &date.to_le_bytes()),
        (26, &[c0, c1]),
    ];
    for (at, bytes) in fields.into_iter().chain([(28, length.to_le_bytes().as_slice())]) {
        if let Some(place) = entry.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// The place on the device and the bytes of the entry that has a name.
fn entry(device: &dyn Device, places: &[(u64, u64)], name: &str, is_folder: bool) -> Result<Option<(u64, Vec<u8>)>> {
    let mut letters: Vec<(u8, String)> = vec![];
    for (at, length) in places {
        let piece = read(device, *at, usize::try_from(*length)?)?;
        for (number, entry) in (0u64..).zip(piece.chunks_exact(ENTRY)) {
            let (Some(first), Some(kind)) = (entry.first().copied(), entry.get(11).copied()) else {
                continue;
            };
            match (first, kind) {
                (0, _) => return Ok(None),
                (super::add::DELETED, _) => letters.clear(),
                (_, 0x0F) => letters.push((first & 0x1F, super::add::long_letters(entry))),
                _ => {
                    letters.sort_unstable();
                    let long: String = letters.drain(..).map(|(_, text)| text).collect();
                    let is_it = long.eq_ignore_ascii_case(name) || super::add::short_name(entry).eq_ignore_ascii_case(name);
                    if is_it && kind & 0x08 == 0 && (kind & 0x10 != 0) == is_folder {
                        return Ok(Some((at + number * ENTRY as u64, entry.to_vec())));
                    }
                }
            }
        }
    }
    Ok(None)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    super::add::word(bytes, at)
}
