//! What is done to a disk, as data: each step with every byte that it writes, so that plans can be shown, tested and cut anywhere.

use crate::content::{Content, Digest, Extent};
use crate::layout::{Part, Place};
use serde::Serialize;
use skerry_sys::gpt::{Partition, SECTOR, Table};
use std::fmt;
use std::path::PathBuf;

/// A step. Its writes come in groups; after each group the disk is flushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// What was on the disk can no longer be booted or found.
    Erase {
        /// For whom this is the end.
        what: String,
        /// Zeros.
        ranges: Vec<Extent>,
    },
    /// A whole image, or a part of one.
    CopyImage {
        /// Where to.
        to: Part,
        /// It.
        image: Extent,
    },
    /// A FAT file system with files in it.
    WriteFat {
        /// Where to.
        to: Part,
        /// Its label.
        label: String,
        /// Its length in bytes.
        bytes: u64,
        /// Its files.
        files: Vec<FatFile>,
        /// Its bytes, the boot sector last.
        #[serde(skip)]
        extents: Vec<Extent>,
    },
    /// The boot state: its file system, and both copies.
    WriteBootState {
        /// The slot that is good.
        good: String,
        /// Its bytes.
        #[serde(skip)]
        extents: Vec<Extent>,
    },
    /// The boot state, of an installed disk, says something else: one sector, a flush, the other one.
    SetBootState {
        /// What it says then.
        says: String,
        /// The sectors.
        #[serde(skip)]
        sectors: Vec<Extent>,
    },
    /// GRUB's core image.
    EmbedBios {
        /// It.
        core: Extent,
    },
    /// From now on a BIOS loads the other core image: the code and the pointer in sector 0, which keeps its partitions.
    SwitchBios {
        /// It.
        #[serde(skip)]
        sector: Extent,
    },
    /// A file that is there gets other bytes, which one sector of its folder names.
    ReplaceFile {
        /// Where.
        on: Part,
        /// Its path.
        path: String,
        /// What it holds then.
        bytes: u64,
        /// Its SHA-256 then.
        sha256: Digest,
        /// What is written between two flushes: the bytes, their chain, the folder's sector.
        #[serde(skip)]
        groups: Vec<Vec<Extent>>,
    },
    /// The room of what a file held before becomes free.
    FreeRoom {
        /// Where.
        on: Part,
        /// Whose.
        path: String,
        /// Sectors of the tables.
        #[serde(skip)]
        groups: Vec<Vec<Extent>>,
    },
    /// An ext4 file system, made by mke2fs when the plan is performed.
    MakeExt4 {
        /// Where to.
        to: Part,
        /// Its place.
        place: Place,
        /// How.
        ext4: Ext4,
    },
    /// Both copies of the partition table: the backup, then the primary.
    WriteTable {
        /// Its partitions.
        partitions: Vec<ShownPartition>,
        /// Entries and header of the backup, then those of the primary.
        #[serde(skip)]
        copies: [Vec<Extent>; 2],
    },
    /// Both copies of the table of a disk that boots meanwhile, in the order that keeps it so.
    ChangeTable {
        /// What becomes of it.
        what: String,
        /// Its partitions, as they will be.
        partitions: Vec<ShownPartition>,
        /// What is written between two flushes.
        #[serde(skip)]
        groups: Vec<Vec<Extent>>,
    },
    /// Sector 0, without which no firmware boots the disk. Always the last.
    MakeBootable {
        /// With code for a BIOS.
        bios: bool,
        /// It.
        #[serde(skip)]
        sector: Extent,
    },
}

/// A file, as a plan shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FatFile {
    /// Its path.
    pub path: String,
    /// What is in it.
    #[serde(flatten)]
    pub content: Content,
}

/// A partition, as a plan shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownPartition {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its place.
    #[serde(flatten)]
    pub place: Place,
    /// Its GUID.
    pub guid: String,
}

/// How an ext4 file system is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ext4 {
    /// Its label.
    pub label: String,
    /// Its length, which may be less than its partition's: it grows at the first boot.
    pub bytes: u64,
    /// Its UUID.
    pub uuid: String,
    /// What directories are hashed with.
    pub hash_seed: String,
    /// When it was made, in seconds since 1970; the time of the day where there is none.
    pub time: Option<u64>,
    /// A folder whose content it begins with.
    pub tree: Option<PathBuf>,
}

impl ShownPartition {
    /// All partitions of a table.
    pub fn of(table: &Table) -> Vec<Self> {
        let shown = |p: &Partition| Self {
            number: p.number,
            name: p.name.clone(),
            place: Place {
                at: p.first * SECTOR,
                bytes: p.sectors() * SECTOR,
            },
            guid: p.guid.to_string(),
        };
        table.partitions.iter().map(shown).collect()
    }
}

impl Step {
    /// What is written, flush by flush; for [`Step::MakeExt4`] that is known only once it was made.
    pub fn groups(&self) -> Vec<Vec<&Extent>> {
        match self {
            Self::Erase { ranges, .. } => vec![ranges.iter().collect()],
            Self::CopyImage { image, .. } => vec![vec![image]],
            Self::WriteFat { extents, .. } => {
                // Nothing is a file system before all of it is there.
                let (last, before) = extents
                    .split_last()
                    .map_or((vec![], vec![]), |(l, b)| (vec![l], b.iter().collect()));
                vec![before, last]
            }
            Self::WriteBootState { extents, .. } => vec![extents.iter().collect()],
            Self::SetBootState { sectors, .. } => sectors.iter().map(|s| vec![s]).collect(),
            Self::EmbedBios { core } => vec![vec![core]],
            Self::MakeExt4 { .. } => vec![],
            Self::WriteTable { copies, .. } => copies.iter().map(|copy| copy.iter().collect()).collect(),
            Self::ChangeTable { groups, .. } | Self::ReplaceFile { groups, .. } | Self::FreeRoom { groups, .. } => {
                groups.iter().map(|group| group.iter().collect()).collect()
            }
            Self::MakeBootable { sector, .. } | Self::SwitchBios { sector } => vec![vec![sector]],
        }
    }

    /// Whether it writes a root: of no use until a boot slot names its hash, by which the kernel checks every read of it.
    pub fn is_root(&self) -> bool {
        matches!(
            self,
            Self::CopyImage {
                to: Part::RootA | Part::RootB,
                ..
            }
        )
    }

    /// How many bytes it writes, as far as that is known.
    pub fn bytes(&self) -> u64 {
        self.groups().iter().flatten().map(|e| e.content.bytes()).sum()
    }
}

/// Bytes for people.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..1_048_576 => write!(f, "{:.0} KiB", bytes / 1024.0),
            1_048_576..1_073_741_824 => write!(f, "{:.0} MiB", bytes / 1_048_576.0),
            _ => write!(f, "{:.1} GiB", bytes / 1_073_741_824.0),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Erase { what, .. } => write!(f, "erase {what}"),
            Self::CopyImage { to, image } => match &image.content {
                Content::File { path, bytes, .. } => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    write!(f, "write {name} ({}) to {to}", Size(*bytes))
                }
                other => write!(f, "write {} to {to}", Size(other.bytes())),
            },
            Self::WriteFat { to, files, bytes, .. } => {
                let names: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
                write!(f, "make a FAT file system of {} on {to}, with {}", Size(*bytes), names.join(" "))
            }
            Self::WriteBootState { good, .. } => write!(f, "write the boot state: slot {good} is good"),
            Self::SetBootState { says, .. } => write!(f, "change the boot state: {says}"),
            Self::EmbedBios { core } => write!(f, "write GRUB's core image ({}) to bios", Size(core.content.bytes())),
            Self::SwitchBios { .. } => f.write_str("let sector 0 load that core image: one sector"),
            Self::ReplaceFile { on, path, bytes, .. } => write!(
                f,
                "write {path} ({}) beside the old one on {on}, then name it: one sector",
                Size(*bytes)
            ),
            Self::FreeRoom { on, path, .. } => write!(f, "free the room of the old {path} on {on}"),
            Self::MakeExt4 { to, ext4, .. } => write!(f, "make an ext4 file system {} of {} on {to}", ext4.label, Size(ext4.bytes)),
            Self::WriteTable { partitions, .. } => {
                write!(f, "write the partition table, its backup first:")?;
                let mut sorted: Vec<_> = partitions.iter().collect();
                sorted.sort_by_key(|p| p.place.at);
                for p in sorted {
                    write!(f, "\n       {:>2} {:<10} {:>9}", p.number, p.name, Size(p.place.bytes).to_string())?;
                }
                Ok(())
            }
            Self::ChangeTable { what, .. } => write!(f, "change the partition table: {what}"),
            Self::MakeBootable { bios: true, .. } => f.write_str("make it bootable, by BIOS and by UEFI: sector 0"),
            Self::MakeBootable { bios: false, .. } => f.write_str("make it bootable by UEFI: sector 0"),
        }
    }
}
