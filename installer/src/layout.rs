//! Where each partition goes: a request and a disk's length to a partition table.
//!
//! Numbers and names are fixed for ever: GRUB's configuration and the node itself find their parts by them.

use crate::content::Digest;
use serde::Serialize;
use skerry_sys::gpt::{ENTRY_SECTORS, Guid, Partition, SECTOR, Table};
use std::fmt;

/// A mebibyte: what partitions are aligned to, as every tool has done since 2009.
pub const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What firmware reads, and the owner's `config.yaml`.
    Esp,
    /// Which slot boots.
    Bootstate,
    /// Kernel and initramfs of slot a.
    BootA,
    /// The system of slot a.
    RootA,
    /// Kernel and initramfs of slot b.
    BootB,
    /// The system of slot b.
    RootB,
    /// All that lasts.
    Data,
    /// GRUB's core image, where a BIOS boots.
    Bios,
}

impl Part {
    /// All, in the order in which they lie on the disk.
    pub const ALL: [Self; 8] = [
        Self::Bios,
        Self::Esp,
        Self::Bootstate,
        Self::BootA,
        Self::RootA,
        Self::BootB,
        Self::RootB,
        Self::Data,
    ];

    /// The number in the table.
    pub const fn number(self) -> u32 {
        match self {
            Self::Esp => 1,
            Self::Bootstate => 2,
            Self::BootA => 3,
            Self::RootA => 4,
            Self::BootB => 5,
            Self::RootB => 6,
            Self::Data => 7,
            Self::Bios => 15,
        }
    }

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Bootstate => "bootstate",
            Self::BootA => "boot-a",
            Self::RootA => "root-a",
            Self::BootB => "boot-b",
            Self::RootB => "root-b",
            Self::Data => "data",
            Self::Bios => "bios",
        }
    }

    /// The type: those of the Discoverable Partitions Specification, GRUB's for `bios`, and one of our own for the boot state.
    fn kind(self, arch: Arch) -> Guid {
        Guid(match (self, arch) {
            (Self::Esp, _) => 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B,
            (Self::Bootstate, _) => 0x5B4A_3CB2_7C0E_4E21_9D3B_534B_4552_5259,
            (Self::BootA | Self::BootB, _) => 0xBC13_C2FF_59E6_4262_A352_B275_FD6F_7172,
            (Self::RootA | Self::RootB, Arch::Amd64) => 0x4F68_BCE3_E8CD_4DB1_96E7_FBCA_F984_B709,
            (Self::RootA | Self::RootB, Arch::Arm64) => 0xB921_B045_1DF0_41C3_AF44_4C6F_280D_3FAE,
            (Self::Data, _) => 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4,
            (Self::Bios, _) => 0x2168_6148_6449_6E6F_744E_6565_6445_4649,
        })
    }

    /// `no-auto` for what systemd's rescue media must not mount by themselves, `read-only` for roots.
    const fn attributes(self) -> u64 {
        match self {
            Self::RootA | Self::RootB => NO_AUTO | READ_ONLY,
            Self::BootA | Self::BootB => NO_AUTO,
            _ => 0,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bit 63 of a partition's attributes.
pub const NO_AUTO: u64 = 1 << 63;
/// Bit 60.
pub const READ_ONLY: u64 = 1 << 60;
/// Bit 59, on the data partition of an image: the first boot still has to grow it and to give the disk its own GUIDs.
pub const GROW: u64 = 1 << 59;

/// What processor it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit PCs.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Of this program.
    pub const fn this() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    /// Reads Debian's name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "amd64" => Some(Self::Amd64),
            "arm64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Debian's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name that firmware looks for when nobody told it what to boot.
    pub const fn efi_name(self) -> &'static str {
        match self {
            Self::Amd64 => "BOOTX64.EFI",
            Self::Arm64 => "BOOTAA64.EFI",
        }
    }
}

/// Where GUIDs and serial numbers come from: random bytes for an installation, a digest of the release for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids(pub [u8; 32]);

impl Ids {
    /// Sixteen bytes for a name.
    pub fn bytes(&self, name: &str) -> [u8; 16] {
        let Digest(digest) = Digest::of(&[self.0.as_slice(), name.as_bytes()].concat());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// The GUID for a name.
    pub fn guid(&self, name: &str) -> Guid {
        Guid::random(self.bytes(name))
    }

    /// The serial number for a name.
    pub fn serial(&self, name: &str) -> u32 {
        let [a, b, c, d, ..] = self.bytes(name);
        u32::from_le_bytes([a, b, c, d])
    }
}

/// How large the parts are to be.
///
/// The slots can't grow later without moving the data, so they are made for the releases of ten years: today's root of 210 MiB has
/// room to become five times as large, a boot slot of 15 to 40 MiB three times. All of it, with a data partition of its smallest size,
/// still fits on a 4 GB card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of `esp`, in bytes.
    pub esp: u64,
    /// Of `boot-a` and `boot-b` each.
    pub boot: u64,
    /// Of `root-a` and `root-b` each.
    pub root: u64,
    /// Of `data`.
    pub data: Data,
}

/// How large the data partition is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// What the disk has left.
    Rest,
    /// So many bytes.
    Bytes(u64),
}

/// The smallest data partition, and the length of its file system when it is made; both grow at the first boot.
pub const SMALLEST_DATA: u64 = 256 * MIB;

impl Default for Sizes {
    fn default() -> Self {
        Self {
            esp: 128 * MIB,
            boot: 96 * MIB,
            root: GIB,
            data: Data::Rest,
        }
    }
}

impl Sizes {
    fn of(&self, part: Part) -> u64 {
        match part {
            Part::Esp => self.esp,
            Part::BootA | Part::BootB => self.boot,
            Part::RootA | Part::RootB => self.root,
            Part::Bootstate | Part::Bios => MIB,
            Part::Data => match self.data {
                Data::Rest => SMALLEST_DATA,
                Data::Bytes(bytes) => bytes,
            },
        }
    }

    /// How long a disk has to be, in bytes: also the length of an image.
    pub fn needed(&self, arch: Arch) -> u64 {
        let parts: u64 = parts(arch).map(|p| self.of(p).next_multiple_of(MIB)).sum();
        // One before for the table, one behind for its backup.
        parts + 2 * MIB
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// How large the parts are to be.
    pub sizes: Sizes,
    /// What processor it is for.
    pub arch: Arch,
    /// Where GUIDs come from.
    pub ids: Ids,
    /// It will be copied to disks of any length: the first boot grows it.
    pub is_image: bool,
}

/// What a disk is, as far as the layout goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Medium {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its logical sectors' length in bytes.
    pub sector_bytes: u32,
}

/// Why there is no layout.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Its sectors are not 512 bytes long.
    #[error(
        "the disk has sectors of {0} bytes: the boot state is one sector of 512 bytes, which such a disk cannot write alone / \
         try: `nvme format --lbaf` (or the vendor's tool) with 512 bytes a sector, which erases the disk; or take another disk"
    )]
    Sectors(u32),
    /// It is too small.
    #[error("the disk has {} MiB, and {} MiB are needed / try: a larger disk, or smaller slots", .bytes / MIB, .needed.div_ceil(MIB))]
    TooSmall {
        /// Its length.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
    /// A part of the release does not fit.
    #[error("{part} has {} MiB, and the release needs {} MiB / try: a larger slot size", .bytes / MIB, .needed.div_ceil(MIB))]
    PartTooSmall {
        /// Where it would go.
        part: Part,
        /// That part's length.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
}

/// A place on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A disk's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The table.
    pub table: Table,
}

impl Layout {
    /// A partition's place, if there is such a partition.
    pub fn place(&self, part: Part) -> Option<Place> {
        let found = self.table.partition(part.number())?;
        Some(Place {
            at: found.first * SECTOR,
            bytes: found.sectors() * SECTOR,
        })
    }

    /// The layout that a table is, if each of our partitions is in it under its number and name.
    pub fn of(table: &Table, arch: Arch) -> Option<Self> {
        let is_ours = parts(arch).all(|part| {
            table
                .partition(part.number())
                .is_some_and(|p| p.name == part.name() && p.kind == part.kind(arch))
        });
        is_ours.then(|| Self { table: table.clone() })
    }
}

fn parts(arch: Arch) -> impl Iterator<Item = Part> {
    Part::ALL.into_iter().filter(move |p| *p != Part::Bios || arch == Arch::Amd64)
}

/// Lays a disk out.
pub fn lay_out(request: &Request, medium: &Medium) -> Result<Layout, Refused> {
    if u64::from(medium.sector_bytes) != SECTOR {
        return Err(Refused::Sectors(medium.sector_bytes));
    }
    let needed = request.sizes.needed(request.arch);
    if medium.bytes < needed {
        return Err(Refused::TooSmall {
            bytes: medium.bytes,
            needed,
        });
    }
    let sectors = medium.bytes / SECTOR;
    let end = (sectors - ENTRY_SECTORS - 1) * SECTOR / MIB * MIB;
    let mut at = MIB;
    let mut partitions = vec![];
    for part in parts(request.arch) {
        let bytes = match (part, request.sizes.data) {
            (Part::Data, Data::Rest) => end - at,
            _ => request.sizes.of(part).next_multiple_of(MIB),
        };
        let grow = if part == Part::Data && request.is_image { GROW } else { 0 };
        partitions.push(Partition {
            number: part.number(),
            name: part.name().to_owned(),
            kind: part.kind(request.arch),
            guid: request.ids.guid(part.name()),
            first: at / SECTOR,
            last: (at + bytes) / SECTOR - 1,
            attributes: part.attributes() | grow,
        });
        at += bytes;
    }
    partitions.sort_by_key(|p| p.number);
    Ok(Layout {
        table: Table {
            disk: request.ids.guid("disk"),
            sectors,
            partitions,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(data: Data) -> Request {
        Request {
            sizes: Sizes { data, ..Sizes::default() },
            arch: Arch::Amd64,
            ids: Ids([7; 32]),
            is_image: false,
        }
    }

    fn disk(bytes: u64) -> Medium {
        Medium { bytes, sector_bytes: 512 }
    }

    #[test]
    fn every_length_gives_a_table_that_can_be_written() {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let request = Request {
                arch,
                ..request(Data::Rest)
            };
            let least = request.sizes.needed(arch);
            for more in [0, 512, 33 * 512, MIB - 512, MIB, MIB + 512, 30 * GIB, 40_000 * GIB] {
                let layout = lay_out(&request, &disk(least + more)).unwrap();
                layout.table.encode().unwrap();
                assert_eq!(Layout::of(&layout.table, arch).as_ref(), Some(&layout));
                for part in parts(arch) {
                    let place = layout.place(part).unwrap();
                    assert_eq!((place.at % MIB, place.bytes % MIB), (0, 0), "{part}");
                }
                let data = layout.place(Part::Data).unwrap();
                let rest = least + more - data.at - data.bytes;
                assert!(data.bytes >= SMALLEST_DATA && (33 * 512..MIB + 34 * 512).contains(&rest), "{rest}");
            }
        }
    }

    #[test]
    fn fixed_numbers() {
        let table = lay_out(&request(Data::Rest), &disk(8 * GIB)).unwrap().table;
        let numbers: Vec<_> = table.partitions.iter().map(|p| (p.number, p.name.as_str())).collect();
        let expected = [
            (1, "esp"),
            (2, "bootstate"),
            (3, "boot-a"),
            (4, "root-a"),
            (5, "boot-b"),
            (6, "root-b"),
            (7, "data"),
            (15, "bios"),
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn an_image_fits_on_a_card_of_4_gb() {
        let image = request(Data::Bytes(SMALLEST_DATA)).sizes.needed(Arch::Amd64);
        assert!(image < 3_900_000_000, "{image}");
    }

    #[test]
    fn refusals_name_the_numbers() {
        let needed = Sizes::default().needed(Arch::Amd64);
        let small = lay_out(&request(Data::Rest), &disk(needed - 1)).unwrap_err();
        assert_eq!(
            small.to_string(),
            format!(
                "the disk has {} MiB, and {} MiB are needed / try: a larger disk, or smaller slots",
                needed / MIB - 1,
                needed / MIB
            )
        );
        let large = Medium {
            bytes: 64 * GIB,
            sector_bytes: 4096,
        };
        assert_eq!(lay_out(&request(Data::Rest), &large), Err(Refused::Sectors(4096)));
    }

    #[test]
    fn the_same_seed_gives_the_same_guids_and_another_gives_others() {
        let layout = |seed: u8| {
            let ids = Ids([seed; 32]);
            lay_out(
                &Request {
                    ids,
                    ..request(Data::Rest)
                },
                &disk(8 * GIB),
            )
            .unwrap()
            .table
        };
        assert_eq!(layout(1), layout(1));
        assert!(
            layout(1)
                .partitions
                .iter()
                .zip(&layout(2).partitions)
                .all(|(a, b)| a.guid != b.guid)
        );
    }
}
