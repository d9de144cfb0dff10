//! A FAT file system as pure data: the extents that make one, each file in one piece, the boot sector last.
//!
//! Own code and no crate, because of what an installer needs: the same bytes from the same files (serial number, times), known places
//! (the boot state is overwritten in place for ever), files streamed and not held, and an order in which nothing is a file system
//! before all of it is there. Format: Microsoft, "FAT: General Overview of On-Disk Format", 1.03; read back by fsck.fat and mtools.

pub mod add;
mod dir;
pub mod replace;

use crate::content::{Content, Extent};
use dir::Entry;
use std::collections::BTreeMap;

/// Bytes in a sector.
const SECTOR: u64 = 512;
/// Where the data begins is a multiple of this, so that files do not straddle the pages of a flash disk.
const ALIGN: u64 = 8;
/// Entries of the fixed root directory of FAT12 and FAT16.
const ROOT_ENTRIES: u64 = 512;

/// How wide a table's entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up to 4084 clusters.
    Fat12,
    /// Up to 65524 clusters.
    Fat16,
    /// More.
    Fat32,
}

impl Kind {
    /// The specification tells the kinds apart by the number of clusters and nothing else.
    fn of(clusters: u64) -> Self {
        match clusters {
            0..4085 => Self::Fat12,
            4085..65525 => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    fn table_bytes(self, clusters: u64) -> u64 {
        match self {
            Self::Fat12 => ((clusters + 2) * 3).div_ceil(2),
            Self::Fat16 => (clusters + 2) * 2,
            Self::Fat32 => (clusters + 2) * 4,
        }
    }
}

/// What a file system is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its length; the partition may be longer.
    pub bytes: u64,
    /// The kind.
    pub kind: Kind,
    /// At most 11 letters, upper case.
    pub label: String,
    /// The serial number.
    pub serial: u32,
    /// When its files were made, in seconds since 1970 (UTC).
    pub time: u64,
}

/// A file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `/EFI/BOOT/BOOTX64.EFI`; folders are made.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// Why there is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Wrong {
    /// The files do not fit.
    #[error("{bytes} bytes are too few for the files, which need {needed}")]
    TooSmall {
        /// The volume's length.
        bytes: u64,
        /// How many bytes of data there are.
        needed: u64,
    },
    /// No cluster size makes this kind of this length.
    #[error("{0:?} cannot be {1} bytes long")]
    WrongSize(Kind, u64),
    /// A path that cannot be, or is there twice.
    #[error("the path {0:?} cannot be a file's, or is there twice")]
    Path(String),
}

/// Where things are, in sectors and clusters.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Kind,
    sectors: u64,
    per_cluster: u64,
    reserved: u64,
    table: u64,
    root: u64,
    clusters: u64,
}

impl Shape {
    /// The smallest clusters that make the kind.
    fn of(volume: &Volume) -> Result<Self, Wrong> {
        let sectors = volume.bytes / SECTOR;
        (0..8)
            .map(|power| Self::with(volume.kind, sectors, 1 << power))
            .find(|s| s.clusters > 0 && Kind::of(s.clusters) == s.kind)
            .filter(|_| u32::try_from(sectors).is_ok())
            .ok_or(Wrong::WrongSize(volume.kind, volume.bytes))
    }

    fn with(kind: Kind, sectors: u64, per_cluster: u64) -> Self {
        let (least, root) = match kind {
            Kind::Fat32 => (32, 0),
            _ => (1, ROOT_ENTRIES * 32 / SECTOR),
        };
        // A table for all sectors is a little more than needed, which is allowed.
        let table = kind.table_bytes(sectors / per_cluster).div_ceil(SECTOR);
        let reserved = (least + 2 * table + root).next_multiple_of(ALIGN) - 2 * table - root;
        let clusters = sectors.saturating_sub(reserved + 2 * table + root) / per_cluster;
        Self {
            kind,
            sectors,
            per_cluster,
            reserved,
            table,
            root,
            clusters,
        }
    }

    fn cluster_bytes(&self) -> u64 {
        self.per_cluster * SECTOR
    }

    /// In bytes.
    fn root_at(&self) -> u64 {
        (self.reserved + 2 * self.table) * SECTOR
    }

    /// In bytes; the first cluster is number 2.
    fn cluster_at(&self, cluster: u64) -> u64 {
        (self.reserved + 2 * self.table + self.root + (cluster - 2) * self.per_cluster) * SECTOR
    }
}

/// A folder while the tree is walked.
#[derive(Debug, Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Folder<'a>>,
    files: BTreeMap<&'a str, &'a Content>,
}

impl<'a> Folder<'a> {
    fn of(files: &'a [File]) -> Result<Self, Wrong> {
        let mut root = Self::default();
        for file in files {
            let wrong = || Wrong::Path(file.path.clone());
            let mut parts = file.path.strip_prefix('/').ok_or_else(wrong)?.split('/').peekable();
            let mut at = &mut root;
            while let Some(part) = parts.next() {
                if !dir::is_name(part) {
                    return Err(wrong());
                }
                if parts.peek().is_some() {
                    at = at.folders.entry(part).or_default();
                } else if at.files.insert(part, &file.content).is_some() || at.folders.contains_key(part) {
                    return Err(wrong());
                }
            }
        }
        Ok(root)
    }
}

/// Lays a file system out. The extents come in the order in which they have to be written: until the last one, the boot sector, is on
/// the disk, there is no file system (or the old one's remains are not, if its boot sector was wiped before).
pub fn lay_out(volume: &Volume, files: &[File]) -> Result<Vec<Extent>, Wrong> {
    let shape = Shape::of(volume)?;
    let tree = Folder::of(files)?;
    let mut layout = Layout {
        shape,
        time: dir::stamp(volume.time),
        next: 2,
        chains: vec![],
        extents: vec![],
    };
    let mut entries = vec![Entry::label(&volume.label, layout.time)];
    if shape.kind == Kind::Fat32 {
        // The root of FAT32 is a chain like any other, and the first one.
        let cluster = layout.chain(dir::length(&tree_names(&tree), 1));
        entries.extend(layout.fill(&tree, None)?);
        layout.directory(shape.cluster_at(cluster), dir::encode(&entries), true);
    } else {
        entries.extend(layout.fill(&tree, None)?);
        let bytes = dir::encode(&entries);
        if bytes.len() as u64 > ROOT_ENTRIES * 32 {
            return Err(Wrong::Path("/".into()));
        }
        layout.directory(shape.root_at(), bytes, false);
    }
    let used = layout.next - 2;
    if used > shape.clusters {
        return Err(Wrong::TooSmall {
            bytes: volume.bytes,
            needed: used * shape.cluster_bytes(),
        });
    }
    layout.finish(volume, used)
}

fn tree_names<'a>(folder: &Folder<'a>) -> Vec<&'a str> {
    folder.folders.keys().chain(folder.files.keys()).copied().collect()
}

struct Layout {
    shape: Shape,
    time: (u16, u16),
    next: u64,
    /// First cluster and length of each chain, in order and without gaps.
    chains: Vec<(u64, u64)>,
    extents: Vec<Extent>,
}

impl Layout {
    /// Takes as many clusters as `bytes` need; nothing for nothing.
    fn chain(&mut self, bytes: u64) -> u64 {
        let clusters = bytes.div_ceil(self.shape.cluster_bytes());
        if clusters == 0 {
            return 0;
        }
        let first = self.next;
        self.chains.push((first, clusters));
        self.next += clusters;
        first
    }

    /// Places what is in a folder, and gives its entries. `parent` is none for what is in the root.
    fn fill(&mut self, folder: &Folder<'_>, own: Option<u64>) -> Result<Vec<Entry>, Wrong> {
        let mut entries = vec![];
        for (name, inner) in &folder.folders {
            let cluster = self.chain(dir::length(&tree_names(inner), 2));
            let mut within = vec![
                Entry::folder(".", cluster, self.time),
                Entry::folder("..", own.unwrap_or(0), self.time),
            ];
            within.extend(self.fill(inner, Some(cluster))?);
            self.directory(self.shape.cluster_at(cluster), dir::encode(&within), true);
            entries.push(Entry::folder(name, cluster, self.time));
        }
        for (name, content) in &folder.files {
            let bytes = u32::try_from(content.bytes()).map_err(|_| Wrong::Path((*name).to_owned()))?;
            let cluster = self.chain(content.bytes());
            if cluster != 0 {
                self.extents.push(Extent {
                    at: self.shape.cluster_at(cluster),
                    content: (*content).clone(),
                });
            }
            entries.push(Entry::file(name, cluster, bytes, self.time));
        }
        Ok(entries)
    }

    /// A directory is zeros to its end: the rest of its last cluster, or of the fixed root.
    fn directory(&mut self, at: u64, mut bytes: Vec<u8>, is_chain: bool) {
        let unit = if is_chain { self.shape.cluster_bytes() } else { ROOT_ENTRIES * 32 };
        let full = (bytes.len() as u64).next_multiple_of(unit);
        bytes.resize(usize::try_from(full).unwrap_or(usize::MAX), 0);
        self.extents.push(Extent {
            at,
            content: Content::Bytes(bytes),
        });
    }

    fn finish(mut self, volume: &Volume, used: u64) -> Result<Vec<Extent>, Wrong> {
        self.extents.sort_by_key(|e| e.at);
        let table = self.table();
        let shape = self.shape;
        let tables = [0, 1].map(|copy| Extent::sparse((shape.reserved + copy * shape.table) * SECTOR, &table));
        self.extents.splice(0..0, tables.into_iter().flatten());
        drop(table);
        let boot = boot_sector(volume, &shape);
        if shape.kind == Kind::Fat32 {
            let mut rest =
                vec![0; usize::try_from((shape.reserved - 1) * SECTOR).map_err(|_| Wrong::WrongSize(volume.kind, volume.bytes))?];
            let info = info_sector(shape.clusters - used, self.next);
            for (sector, bytes) in [(0, &info), (5, &boot), (6, &info)] {
                if let Some(place) = rest.get_mut(sector * 512..(sector + 1) * 512) {
                    place.copy_from_slice(bytes);
                }
            }
            self.extents.push(Extent {
                at: SECTOR,
                content: Content::Bytes(rest),
            });
        } else if shape.reserved > 1 {
            self.extents.push(Extent {
                at: SECTOR,
                content: Content::Zeros((shape.reserved - 1) * SECTOR),
            });
        }
        self.extents.push(Extent {
            at: 0,
            content: Content::Bytes(boot),
        });
        Ok(self.extents)
    }

    /// One copy of the table, to its end.
    fn table(&self) -> Vec<u8> {
        let length = usize::try_from(self.shape.table * SECTOR).unwrap_or(0);
        let mut table = vec![0u8; length];
        let kind = self.shape.kind;
        put(&mut table, kind, 0, 0x0FFF_FFF8);
        put(&mut table, kind, 1, 0x0FFF_FFFF);
        for (first, clusters) in &self.chains {
            for cluster in *first..first + clusters {
                let is_last = cluster == first + clusters - 1;
                put(&mut table, kind, cluster, if is_last { 0x0FFF_FFFF } else { cluster + 1 });
            }
        }
        table
    }
}

fn put(table: &mut [u8], kind: Kind, cluster: u64, value: u64) {
    let Ok(cluster) = usize::try_from(cluster) else { return };
    let bytes = value.to_le_bytes();
    let mut set = |at: usize, mask: u8, byte: u8| {
        if let Some(place) = table.get_mut(at) {
            *place = (*place & !mask) | (byte & mask);
        }
    };
    match kind {
        Kind::Fat32 => (0..4).zip(bytes).for_each(|(i, byte)| set(4 * cluster + i, 0xFF, byte)),
        Kind::Fat16 => (0..2).zip(bytes).for_each(|(i, byte)| set(2 * cluster + i, 0xFF, byte)),
        Kind::Fat12 => {
            let at = cluster * 3 / 2;
            let [low, high, ..] = (if cluster % 2 == 0 { value & 0xFFF } else { (value & 0xFFF) << 4 }).to_le_bytes();
            let (first, second) = if cluster % 2 == 0 { (0xFF, 0x0F) } else { (0xF0, 0xFF) };
            set(at, first, low);
            set(at + 1, second, high);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "each field's range was checked when the shape was made"
)]
fn boot_sector(volume: &Volume, shape: &Shape) -> Vec<u8> {
    let mut b = vec![0xEB, 0x58, 0x90];
    b.extend(b"SKERRY  ");
    b.extend((SECTOR as u16).to_le_bytes());
    b.push(shape.per_cluster as u8);
    b.extend((shape.reserved as u16).to_le_bytes());
    b.push(2);
    let is_32 = shape.kind == Kind::Fat32;
    b.extend((if is_32 { 0 } else { ROOT_ENTRIES as u16 }).to_le_bytes());
    let short = if is_32 { None } else { u16::try_from(shape.sectors).ok() };
    b.extend(short.unwrap_or(0).to_le_bytes());
    b.push(0xF8);
    b.extend((if is_32 { 0 } else { shape.table as u16 }).to_le_bytes());
    // Tracks and heads are of no use today; these are what mkfs.fat writes for disks.
    b.extend(32u16.to_le_bytes());
    b.extend(8u16.to_le_bytes());
    b.extend(0u32.to_le_bytes());
    b.extend((if short.is_some() { 0 } else { shape.sectors as u32 }).to_le_bytes());
    if is_32 {
        b.extend((shape.table as u32).to_le_bytes());
        b.extend([0; 4]);
        b.extend(2u32.to_le_bytes());
        b.extend(1u16.to_le_bytes());
        b.extend(6u16.to_le_bytes());
        b.extend([0; 12]);
    }
    b.extend([0x80, 0, 0x29]);
    b.extend(volume.serial.to_le_bytes());
    b.extend(dir::label(&volume.label));
    b.extend(match shape.kind {
        Kind::Fat12 => b"FAT12   ",
        Kind::Fat16 => b"FAT16   ",
        Kind::Fat32 => b"FAT32   ",
    });
    b.resize(510, 0);
    b.extend([0x55, 0xAA]);
    b
}

fn info_sector(free: u64, next: u64) -> Vec<u8> {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut b = b"RRaA".to_vec();
    b.resize(484, 0);
    b.extend(b"rrAa");
    b.extend(number(free));
    b.extend(number(next));
    b.resize(510, 0);
    b.extend([0x55, 0xAA]);
    b
}

/// The length of the smallest volume that holds the files, a whole number of MiB, and the kind it then is.
pub fn smallest(files: &[File]) -> (u64, Kind) {
    let data: u64 = files.iter().map(|f| f.content.bytes().next_multiple_of(16384) + 16384).sum();
    // Tables, directories and rounding: an eighth of a percent would do.
    let bytes = (data + data / 64 + (1 << 20)).next_multiple_of(1 << 20);
    let kind = if bytes < 3 << 20 { Kind::Fat12 } else { Kind::Fat16 };
    (bytes.max(1 << 20), kind)
}
