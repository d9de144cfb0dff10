//! The partition `bootstate`: a FAT12 file system that never changes but for two sectors.
//!
//! GRUB finds the copies as files (`env0`, `env1`), for `save_env` writes only to files; the running system addresses their sectors
//! directly, at [`PLACES`]. A third file lies between them, so that the copies are half a MiB apart on the flash. The layout is that
//! of `mkfs.vfat -F 12 -s 1` on 1 MiB (Microsoft, *FAT: General Overview of On-Disk Format*, 1.03).

use crate::state::State;
use crate::{SECTOR, Sector};

/// The partition's length, in sectors of 512 bytes.
pub const SECTORS: u64 = 2048;
/// Where `env0` and `env1` lie, in sectors of 512 bytes from the partition's start.
pub const PLACES: [u64; 2] = [DATA, DATA + 1 + PAD];

const FAT_SECTORS: u64 = 6;
const ROOT: u64 = 1 + 2 * FAT_SECTORS;
const ROOT_SECTORS: u64 = 32;
const DATA: u64 = ROOT + ROOT_SECTORS;
/// The length of the file between the copies, in sectors.
const PAD: u64 = 1024;
/// The cluster of the first data sector.
const FIRST: u64 = 2;

/// Any sector of a fresh partition: write all [`SECTORS`] of them.
pub fn sector(number: u64, state: State) -> Sector {
    let fat = |from: u64| fat_sector(number - from);
    match number {
        0 => boot_sector(),
        1..=6 => fat(1),
        7..ROOT => fat(1 + FAT_SECTORS),
        ROOT => root_sector(),
        _ if PLACES.contains(&number) => state.encode(),
        _ => [0; SECTOR],
    }
}

/// Bytes to put at an offset of a sector.
fn put(sector: &mut Sector, at: usize, bytes: &[u8]) {
    for (place, byte) in sector.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

fn boot_sector() -> Sector {
    let mut sector = [0; SECTOR];
    let fields: [(usize, &[u8]); 13] = [
        (0, b"\xeb\x3c\x90SKERRY  "),
        (11, &[0, 2]),        // bytes in a sector
        (13, &[1]),           // sectors in a cluster
        (14, &[1, 0]),        // reserved sectors
        (16, &[2]),           // FATs
        (17, &[0, 2]),        // entries of the root folder
        (19, &[0, 8]),        // sectors
        (21, &[0xf8]),        // fixed disk
        (22, &[6, 0]),        // sectors of a FAT
        (24, &[32, 0, 2, 0]), // sectors in a track, heads: unused, but not zero
        (36, &[0x80, 0, 0x29]),
        (39, b"SKRYBOOTSTATE  FAT12   "), // serial number, label, type
        (510, &[0x55, 0xaa]),
    ];
    for (at, bytes) in fields {
        put(&mut sector, at, bytes);
    }
    sector
}

/// One sector of a FAT: entries of 12 bits, two in three bytes.
fn fat_sector(number: u64) -> Sector {
    let mut sector = [0; SECTOR];
    for (at, place) in (number * SECTOR as u64..).zip(sector.iter_mut()) {
        let pair = at / 3 * 2;
        let (even, odd) = (entry(pair), entry(pair + 1));
        let [low, high] = even.to_le_bytes();
        *place = match at % 3 {
            0 => low,
            1 => high | odd.to_le_bytes()[0] << 4,
            _ => (odd >> 4).to_le_bytes()[0],
        };
    }
    sector
}

/// What the FAT says of a cluster: the next of its file, or its end.
fn entry(cluster: u64) -> u16 {
    const END: u16 = 0xfff;
    let pad = FIRST + 1;
    match cluster {
        0 => 0xff8,
        1 | FIRST => END,
        _ if (pad..pad + PAD - 1).contains(&cluster) => u16::try_from(cluster + 1).unwrap_or(END),
        _ if cluster == pad + PAD - 1 || cluster == pad + PAD => END,
        _ => 0,
    }
}

fn root_sector() -> Sector {
    let mut sector = [0; SECTOR];
    let pad = FIRST + 1;
    let files = [
        (b"BOOTSTATE  ", 0x08, 0, 0),
        (b"ENV0       ", 0x20, FIRST, 1),
        (b"PAD        ", 0x20, pad, PAD),
        (b"ENV1       ", 0x20, pad + PAD, 1),
    ];
    for (index, (name, attribute, cluster, length)) in files.into_iter().enumerate() {
        let at = index * 32;
        put(&mut sector, at, name);
        put(&mut sector, at + 11, &[attribute]);
        put(&mut sector, at + 24, &[0x21, 0x58]); // 2024-01-01: no clock here
        put(&mut sector, at + 26, cluster.to_le_bytes().get(..2).unwrap_or_default());
        put(
            &mut sector,
            at + 28,
            (length * SECTOR as u64).to_le_bytes().get(..4).unwrap_or_default(),
        );
    }
    sector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Slot;
    use std::vec::Vec;

    /// Follows a file through the FAT, as a reader would.
    fn read(disk: &[u8], name: &[u8; 11]) -> Vec<u64> {
        let root = &disk[13 * 512..14 * 512];
        let entry = root.chunks(32).find(|entry| entry.starts_with(name)).unwrap();
        let mut cluster = usize::from(u16::from_le_bytes([entry[26], entry[27]]));
        let mut sectors = Vec::new();
        while cluster < 0xff8 {
            sectors.push(cluster as u64 - 2 + 45);
            let at = 512 + cluster * 3 / 2;
            let two = u16::from_le_bytes([disk[at], disk[at + 1]]);
            cluster = usize::from(if cluster % 2 == 0 { two & 0xfff } else { two >> 4 });
        }
        assert_eq!(u32::from_le_bytes(entry[28..32].try_into().unwrap()) as usize, sectors.len() * 512);
        sectors
    }

    #[test]
    fn files_lie_where_we_write() {
        let state = State::settled(Slot::A);
        let disk: Vec<u8> = (0..SECTORS).flat_map(|number| sector(number, state)).collect();
        assert_eq!(disk.len(), 1 << 20);
        assert_eq!(PLACES, [45, 1070]);
        assert_eq!(read(&disk, b"ENV0       "), [45]);
        assert_eq!(read(&disk, b"ENV1       "), [1070]);
        assert_eq!(read(&disk, b"PAD        "), (46..1070).collect::<Vec<_>>());
        assert_eq!(disk[512..7 * 512], disk[7 * 512..13 * 512], "two equal FATs");
        assert_eq!(disk[45 * 512..46 * 512], state.encode());
    }
}
