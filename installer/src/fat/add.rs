//! One more file in the root folder of a FAT file system that is there: a `config.yaml` on the ESP of a flashed disk.
//!
//! Done without mounting, so that it works on image files, for plain users and on every computer. The order is that of a careful
//! driver: the file's bytes, both tables, then the folder; a cut before the last write leaves the file system as it was, but for
//! clusters that belong to nothing. A file by that name is replaced.

use super::dir::{self, Entry};
use super::{Kind, SECTOR};
use crate::device::Device;
use anyhow::{Context, Result, bail, ensure};

/// Clusters of a file system that is there.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) kind: Kind,
    /// Where the partition begins, in bytes.
    pub(super) at: u64,
    pub(super) cluster_bytes: u64,
    /// Where the first table begins, from the partition's beginning, in bytes.
    pub(super) tables_at: u64,
    pub(super) table_bytes: u64,
    pub(super) tables: u64,
    /// Of FAT12 and FAT16: where the root folder is, and its length.
    pub(super) root: (u64, u64),
    pub(super) root_cluster: u64,
    pub(super) data_at: u64,
    pub(super) clusters: u64,
    /// FAT32's sector with the number of free clusters.
    pub(super) info_at: Option<u64>,
    /// The first table, whole.
    pub(super) table: Vec<u8>,
}

/// Puts a file into the root folder of the file system that begins at `at` of a device. `time` in seconds since 1970.
pub fn add(device: &mut dyn Device, at: u64, name: &str, bytes: &[u8], time: u64) -> Result<()> {
    ensure!(dir::is_name(name), "adding {name:?}: FAT does not take this name");
    let mut volume = Volume::read(device, at).context("looking at the file system")?;
    let places = volume.root_places()?;
    let mut folder = vec![];
    for (at, length) in &places {
        let mut piece = vec![0; usize::try_from(*length)?];
        device.read_at(*at, &mut piece).context("reading the root folder")?;
        folder.extend(piece);
    }
    let free_before = volume.free();
    if let Some(cluster) = take_out(&mut folder, name) {
        volume.release(cluster);
    }
    let clusters = volume.take(bytes.len() as u64)?;
    let first = clusters.first().copied().unwrap_or(0);
    let length = u32::try_from(bytes.len()).context("adding a file")?;
    put_in(&mut folder, &dir::encode(&[Entry::file(name, first, length, dir::stamp(time))]))?;

    for (cluster, piece) in clusters.iter().zip(bytes.chunks(usize::try_from(volume.cluster_bytes)?)) {
        let mut whole = piece.to_vec();
        whole.resize(usize::try_from(volume.cluster_bytes)?, 0);
        device.write_at(volume.cluster_at(*cluster), &whole).context("writing the file")?;
    }
    device.flush().context("flushing")?;
    for number in 0..volume.tables {
        let to = at + volume.tables_at + number * volume.table_bytes;
        device.write_at(to, &volume.table).context("writing the tables")?;
    }
    if let Some(info_at) = volume.info_at {
        let mut info = vec![0; 512];
        device.read_at(info_at, &mut info).context("reading the number of free clusters")?;
        // FSInfo: FSI_Free_Count at 488. What was wrong or unknown before stays so.
        let counted = u32::try_from(free_before)?.to_le_bytes();
        if let Some(place) = info.get_mut(488..492).filter(|old| **old == counted) {
            place.copy_from_slice(&u32::try_from(volume.free())?.to_le_bytes());
            device.write_at(info_at, &info).context("writing the number of free clusters")?;
        }
    }
    device.flush().context("flushing")?;
    let mut from = 0;
    for (at, length) in &places {
        let to = from + usize::try_from(*length)?;
        device
            .write_at(*at, folder.get(from..to).unwrap_or_default())
            .context("writing the root folder")?;
        from = to;
    }
    device.flush().context("flushing")?;
    device.forget().context("reading back")?;
    let mut found = vec![];
    for (cluster, piece) in clusters.iter().zip(bytes.chunks(usize::try_from(volume.cluster_bytes)?)) {
        let mut back = vec![0; piece.len()];
        device.read_at(volume.cluster_at(*cluster), &mut back).context("reading back")?;
        found.extend(back);
    }
    ensure!(
        found == bytes,
        "reading back: it is not what was written / try: another disk; this one loses data"
    );
    Ok(())
}

impl Volume {
    pub(super) fn read(device: &dyn Device, at: u64) -> Result<Self> {
        let mut boot = vec![0; 512];
        device.read_at(at, &mut boot).context("reading its first sector")?;
        let word = |from: usize| word(&boot, from);
        let long = |from: usize| word(from) | word(from + 2) << 16;
        let per_cluster = boot.get(13).copied().map_or(0, u64::from);
        ensure!(
            boot.get(510..) == Some(&[0x55, 0xAA]) && word(11) == SECTOR && per_cluster.is_power_of_two(),
            "it is not FAT with sectors of 512 bytes"
        );
        let (reserved, tables, entries) = (word(14), boot.get(16).copied().map_or(0, u64::from), word(17));
        let sectors = if word(19) == 0 { long(32) } else { word(19) };
        let table = if word(22) == 0 { long(36) } else { word(22) };
        let root = (entries * 32).div_ceil(SECTOR);
        let data = reserved + tables * table + root;
        ensure!(
            sectors > data && table > 0 && (1..=2).contains(&tables) && sectors * SECTOR <= device.bytes().saturating_sub(at),
            "its first sector makes no sense"
        );
        let clusters = (sectors - data) / per_cluster;
        let kind = Kind::of(clusters);
        ensure!(
            kind.table_bytes(clusters) <= table * SECTOR,
            "its tables are too short for its clusters"
        );
        let mut bytes = vec![0; usize::try_from(table * SECTOR)?];
        device.read_at(at + reserved * SECTOR, &mut bytes).context("reading its table")?;
        Ok(Self {
            kind,
            at,
            cluster_bytes: per_cluster * SECTOR,
            tables_at: reserved * SECTOR,
            table_bytes: table * SECTOR,
            tables,
            root: ((reserved + tables * table) * SECTOR, root * SECTOR),
            root_cluster: if kind == Kind::Fat32 { long(44) } else { 0 },
            data_at: data * SECTOR,
            clusters,
            info_at: (kind == Kind::Fat32).then(|| at + word(48) * SECTOR),
            table: bytes,
        })
    }

    /// In bytes, on the device.
    pub(super) fn cluster_at(&self, cluster: u64) -> u64 {
        self.at + self.data_at + (cluster - 2) * self.cluster_bytes
    }

    fn numbers(&self) -> std::ops::Range<u64> {
        2..self.clusters + 2
    }

    /// What the table says of a cluster; of the upper bits of FAT32 nothing.
    fn entry(&self, cluster: u64) -> u64 {
        let byte = |at: u64| {
            usize::try_from(at)
                .ok()
                .and_then(|at| self.table.get(at))
                .copied()
                .map_or(0, u64::from)
        };
        match self.kind {
            Kind::Fat12 => {
                let at = cluster + cluster / 2;
                let pair = byte(at) | byte(at + 1) << 8;
                if cluster % 2 == 0 { pair & 0xFFF } else { pair >> 4 }
            }
            Kind::Fat16 => byte(2 * cluster) | byte(2 * cluster + 1) << 8,
            Kind::Fat32 => (0..4).map(|n| byte(4 * cluster + n) << (8 * n)).sum::<u64>() & 0x0FFF_FFFF,
        }
    }

    fn set(&mut self, cluster: u64, value: u64) {
        let old = |table: &[u8], at: usize| table.get(at).copied().map_or(0, u64::from);
        let (at, width, value) = match self.kind {
            Kind::Fat12 => {
                let at = usize::try_from(cluster + cluster / 2).unwrap_or(usize::MAX);
                let pair = old(&self.table, at) | old(&self.table, at + 1) << 8;
                let mixed = if cluster % 2 == 0 {
                    pair & 0xF000 | value & 0xFFF
                } else {
                    pair & 0x000F | value << 4
                };
                (at, 2, mixed)
            }
            Kind::Fat16 => (usize::try_from(2 * cluster).unwrap_or(usize::MAX), 2, value),
            Kind::Fat32 => {
                let at = usize::try_from(4 * cluster).unwrap_or(usize::MAX);
                (at, 4, value & 0x0FFF_FFFF | (old(&self.table, at + 3) & 0xF0) << 24)
            }
        };
        for (place, byte) in self.table.iter_mut().skip(at).take(width).zip(value.to_le_bytes()) {
            *place = byte;
        }
    }

    fn is_end(&self, value: u64) -> bool {
        !self.numbers().contains(&value)
    }

    pub(super) fn free(&self) -> u64 {
        self.numbers().filter(|n| self.entry(*n) == 0).count() as u64
    }

    /// The clusters of a chain; one that runs in a circle ends.
    pub(super) fn chain(&self, first: u64) -> Vec<u64> {
        let mut found = vec![];
        let mut at = first;
        while !self.is_end(at) && (found.len() as u64) < self.clusters {
            found.push(at);
            at = self.entry(at);
        }
        found
    }

    pub(super) fn release(&mut self, first: u64) {
        for cluster in self.chain(first) {
            self.set(cluster, 0);
        }
    }

    /// Free clusters for so many bytes, chained.
    pub(super) fn take(&mut self, bytes: u64) -> Result<Vec<u64>> {
        let needed = usize::try_from(bytes.div_ceil(self.cluster_bytes))?;
        let taken: Vec<u64> = self.numbers().filter(|n| self.entry(*n) == 0).take(needed).collect();
        if taken.len() < needed {
            bail!("adding a file of {bytes} bytes: the file system has no room for it");
        }
        for (number, cluster) in taken.iter().enumerate() {
            self.set(*cluster, taken.get(number + 1).copied().unwrap_or(0x0FFF_FFFF));
        }
        Ok(taken)
    }

    /// Where the root folder lies: places on the device and lengths.
    pub(super) fn root_places(&self) -> Result<Vec<(u64, u64)>> {
        if self.kind != Kind::Fat32 {
            return Ok(vec![(self.at + self.root.0, self.root.1)]);
        }
        let chain = self.chain(self.root_cluster);
        ensure!(!chain.is_empty(), "looking for the root folder: there is none");
        Ok(chain.iter().map(|c| (self.cluster_at(*c), self.cluster_bytes)).collect())
    }
}

const ENTRY: usize = 32;
pub(super) const DELETED: u8 = 0xE5;

/// Marks a file's entries as gone, by its long or its short name. Gives its first cluster.
fn take_out(folder: &mut [u8], name: &str) -> Option<u64> {
    let entries: Vec<&[u8]> = folder.chunks_exact(ENTRY).collect();
    let mut long: Vec<usize> = vec![];
    let mut letters: Vec<(u8, String)> = vec![];
    let mut found = None;
    for (number, entry) in entries.iter().enumerate() {
        let (first, kind) = (entry.first().copied()?, entry.get(11).copied()?);
        if first == 0 {
            break;
        }
        if first == DELETED || kind == 0x0F {
            if kind == 0x0F && first != DELETED {
                long.push(number);
                letters.push((first & 0x1F, long_letters(entry)));
            }
            continue;
        }
        letters.sort_unstable();
        let whole: String = letters.drain(..).map(|(_, text)| text).collect();
        if kind & 0x18 == 0 && (whole.eq_ignore_ascii_case(name) || short_name(entry).eq_ignore_ascii_case(name)) {
            long.push(number);
            found = Some((std::mem::take(&mut long), word(entry, 26) | word(entry, 20) << 16));
            break;
        }
        long.clear();
    }
    let (numbers, cluster) = found?;
    for number in numbers {
        if let Some(byte) = folder.get_mut(number * ENTRY) {
            *byte = DELETED;
        }
    }
    Some(cluster)
}

/// Two bytes, the lower one first.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    let pair = bytes.get(at..at + 2).and_then(|b| b.try_into().ok());
    pair.map_or(0, |pair| u64::from(u16::from_le_bytes(pair)))
}

/// The part of a long name that an entry holds.
pub(super) fn long_letters(entry: &[u8]) -> String {
    [1..11, 14..26, 28..32]
        .into_iter()
        .flat_map(|part| part.step_by(2))
        .map(|at| word(entry, at))
        .take_while(|letter| *letter != 0)
        .map(|letter| u32::try_from(letter).ok().and_then(char::from_u32).unwrap_or('?'))
        .collect()
}

pub(super) fn short_name(entry: &[u8]) -> String {
    let part = |range| String::from_utf8_lossy(entry.get(range).unwrap_or_default()).trim_end().to_owned();
    let (base, extension): (String, String) = (part(0..8), part(8..11));
    if extension.is_empty() {
        base
    } else {
        format!("{base}.{extension}")
    }
}

/// Into the first run of unused entries that is long enough.
fn put_in(folder: &mut [u8], entries: &[u8]) -> Result<()> {
    let needed = entries.len() / ENTRY;
    let unused: Vec<bool> = folder
        .chunks_exact(ENTRY)
        .map(|entry| matches!(entry.first(), Some(0 | &DELETED)))
        .collect();
    let at = unused.windows(needed.max(1)).position(|run| run.iter().all(|is_unused| *is_unused));
    let at = at.context("adding a file: the root folder is full")? * ENTRY;
    // Entries behind the first one that was never used count as unused: no gap may arise.
    let place = folder
        .get_mut(at..at + entries.len())
        .context("adding a file: the root folder is full")?;
    place.copy_from_slice(entries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::fat::{File, lay_out};
    use crate::record::{Memory, Recorder};

    const AT: u64 = 1 << 20;

    fn volume(kind: Kind, bytes: u64) -> Recorder {
        let files = ["/config.yaml.example", "/EFI/BOOT/BOOTX64.EFI"].map(|path| File {
            path: path.to_owned(),
            content: Content::Bytes(vec![7; 70_000]),
        });
        let volume = crate::fat::Volume {
            bytes,
            kind,
            label: "SKERRY".into(),
            serial: 1,
            time: 1_795_264_982,
        };
        let mut memory = Memory::new(AT + bytes);
        for extent in lay_out(&volume, &files).unwrap() {
            if let Content::Bytes(bytes) = &extent.content {
                memory.write(AT + extent.at, bytes).unwrap();
            }
        }
        Recorder::new(memory)
    }

    fn read(device: &dyn Device, name: &str) -> Option<Vec<u8>> {
        let volume = Volume::read(device, AT).unwrap();
        let mut folder = vec![];
        for (at, length) in volume.root_places().unwrap() {
            let mut piece = vec![0; usize::try_from(length).unwrap()];
            device.read_at(at, &mut piece).unwrap();
            folder.extend(piece);
        }
        let first = take_out(&mut folder, name)?;
        let mut bytes = vec![];
        for cluster in volume.chain(first) {
            let mut piece = vec![0; usize::try_from(volume.cluster_bytes).unwrap()];
            device.read_at(volume.cluster_at(cluster), &mut piece).unwrap();
            bytes.extend(piece);
        }
        Some(bytes)
    }

    #[test]
    fn a_file_comes_in_and_is_replaced() {
        for (kind, bytes) in [(Kind::Fat12, 2 << 20), (Kind::Fat16, 8 << 20), (Kind::Fat32, 40 << 20)] {
            let mut device = volume(kind, bytes);
            let free = Volume::read(&device, AT).unwrap().free();
            assert_eq!(read(&device, "config.yaml"), None);
            for length in [3000, 0, 9000, 512] {
                let text = vec![b'x'; length];
                add(&mut device, AT, "config.yaml", &text, 1_795_264_982).unwrap();
                let found = read(&device, "config.yaml").unwrap();
                assert_eq!(found.get(..length), Some(text.as_slice()), "{kind:?} {length}");
                let now = Volume::read(&device, AT).unwrap();
                assert_eq!(free - now.free(), (length as u64).div_ceil(now.cluster_bytes), "{kind:?} {length}");
            }
            assert!(read(&device, "config.yaml.example").unwrap().starts_with(&vec![7; 70_000]));
        }
    }

    #[test]
    fn a_file_system_that_is_full_or_none_is_left_alone() {
        let mut device = volume(Kind::Fat16, 8 << 20);
        device.events.clear();
        let said = add(&mut device, AT, "config.yaml", &vec![1; 9 << 20], 0).unwrap_err().to_string();
        assert!(said.contains("has no room"), "{said}");
        assert!(add(&mut device, 0, "config.yaml", b"x", 0).is_err());
        assert!(add(&mut device, AT, "a/b", b"x", 0).is_err());
        assert!(device.events.is_empty());
    }
}
