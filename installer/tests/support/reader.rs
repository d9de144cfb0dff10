//! What a machine would boot from these bytes: BIOS or UEFI, then GRUB, each reading as the real one does. Written from their sources
//! and specifications, and sharing no code with the installer but the boot state's rules.

use skerry_installer::record::Memory;
use skerry_slots::grub::{Medium, boot};
use skerry_slots::pair::Pair;
use skerry_slots::state::Slot;
use std::collections::BTreeMap;

/// What comes of switching the machine on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boots {
    /// Firmware finds nothing here and goes on to the next medium.
    Nothing,
    /// This kernel, initramfs, command line and root start; by what they are, not by where they lie.
    System {
        slot: Slot,
        parts: BTreeMap<&'static str, Vec<u8>>,
    },
    /// Firmware starts something, and it does not come up.
    Stuck(String),
}

fn read(disk: &Memory, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    disk.read(at, &mut bytes).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// By a table: thousands of tables are checked.
pub fn crc32(bytes: &[u8]) -> u64 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            #[allow(clippy::cast_possible_truncation, reason = "below 256")]
            let mut crc = n as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1));
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let crc = bytes
        .iter()
        .fold(!0u32, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize]);
    u64::from(!crc)
}

/// Start and length in bytes, by number, and the GUIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub places: BTreeMap<u64, (u64, u64)>,
    pub guids: BTreeMap<u64, Vec<u8>>,
    pub disk: Vec<u8>,
}

/// As firmware and Linux do: both checksums, and the header's own place.
pub fn checked(disk: &Memory, at: u64) -> Option<Table> {
    let header = read(disk, at * 512, 512)?;
    let mut zeroed = header[..92].to_vec();
    zeroed[16..20].fill(0);
    let is_valid = header.starts_with(b"EFI PART") && number(&header, 16, 4) == crc32(&zeroed) && number(&header, 24, 8) == at;
    let entries = read(disk, number(&header, 72, 8) * 512, 128 * 128)?;
    (is_valid && crc32(&entries) == number(&header, 88, 4)).then(|| table(&header, &entries))
}

/// As GRUB does (grub-core/partmap/gpt.c): the signature in sector 1, and no checksum.
pub fn unchecked(disk: &Memory) -> Option<Table> {
    let header = read(disk, 512, 512)?;
    let entries = read(disk, number(&header, 72, 8).min(1 << 40) * 512, 128 * 128)?;
    header.starts_with(b"EFI PART").then(|| table(&header, &entries))
}

fn table(header: &[u8], entries: &[u8]) -> Table {
    let used = (1..).zip(entries.chunks(128)).filter(|(_, e)| e[..16] != [0; 16]);
    let mut table = Table {
        disk: header[56..72].to_vec(),
        ..Table::default()
    };
    for (n, entry) in used {
        let (first, last) = (number(entry, 32, 8), number(entry, 40, 8));
        table.places.insert(n, (first * 512, (last + 1 - first) * 512));
        table.guids.insert(n, entry[16..32].to_vec());
    }
    table
}

/// Reads a file of a FAT file system.
pub fn file(disk: &Memory, at: u64, path: &str) -> Option<Vec<u8>> {
    let b = read(disk, at, 512)?;
    if b[510..] != [0x55, 0xAA] || number(&b, 11, 2) != 512 || b[16] != 2 {
        return None;
    }
    let per_cluster = u64::from(b[13]);
    let fat = if number(&b, 22, 2) != 0 {
        number(&b, 22, 2)
    } else {
        number(&b, 36, 4)
    };
    let total = if number(&b, 19, 2) != 0 {
        number(&b, 19, 2)
    } else {
        number(&b, 32, 4)
    };
    let root_sectors = number(&b, 17, 2) / 16;
    let tables = number(&b, 14, 2);
    let root = tables + 2 * fat;
    let data = root + root_sectors;
    let clusters = (total - data) / per_cluster;
    let next = |cluster: u64| -> Option<u64> {
        let at = at + tables * 512;
        let value = match clusters {
            0..4085 => {
                let two = number(&read(disk, at + cluster * 3 / 2, 2)?, 0, 2);
                if cluster % 2 == 0 { two & 0xFFF } else { two >> 4 }
            }
            4085..65525 => number(&read(disk, at + cluster * 2, 2)?, 0, 2),
            _ => number(&read(disk, at + cluster * 4, 4)?, 0, 4) & 0x0FFF_FFFF,
        };
        Some(value)
    };
    let chain = |first: u64| -> Option<Vec<u8>> {
        let (mut bytes, mut cluster) = (vec![], first);
        while (2..clusters + 2).contains(&cluster) {
            let here = at + (data + (cluster - 2) * per_cluster) * 512;
            bytes.extend(read(disk, here, usize::try_from(per_cluster * 512).ok()?)?);
            cluster = next(cluster)?;
        }
        Some(bytes)
    };
    let mut folder = if root_sectors > 0 {
        read(disk, at + root * 512, usize::try_from(root_sectors * 512).ok()?)?
    } else {
        chain(number(&b, 44, 4))?
    };
    for part in path.trim_start_matches('/').split('/') {
        let mut long = BTreeMap::new();
        let mut found = None;
        for entry in folder.chunks(32).take_while(|e| e[0] != 0) {
            if entry[11] == 0x0F {
                let letters = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
                let letters: Vec<u16> = letters.chunks(2).map(|l| u16::from_le_bytes([l[0], l[1]])).collect();
                long.insert(entry[0] & 0x3F, letters);
                continue;
            }
            let letters: Vec<u16> = long.values().flatten().copied().take_while(|l| *l != 0).collect();
            let short = |from: usize, to: usize| String::from_utf8_lossy(&entry[from..to]).trim_end().to_owned();
            let plain = [short(0, 8), short(8, 11)]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(".");
            let name = if letters.is_empty() {
                plain
            } else {
                String::from_utf16_lossy(&letters)
            };
            long.clear();
            if entry[11] & 8 == 0 && name.eq_ignore_ascii_case(part) {
                found = Some(((number(entry, 20, 2) << 16) | number(entry, 26, 2), number(entry, 28, 4)));
            }
        }
        let (cluster, length) = found?;
        folder = chain(cluster)?;
        if length > 0 {
            folder.get(usize::try_from(length).ok()?..)?;
            folder.truncate(usize::try_from(length).ok()?);
        }
    }
    Some(folder)
}

/// A BIOS: the code in sector 0 loads the core image, whose own list loads the rest.
pub fn bios(disk: &Memory, root_bytes: usize) -> Boots {
    let sector = read(disk, 0, 512).unwrap();
    if sector[510..] != [0x55, 0xAA] || sector[..440] == [0; 440] {
        return Boots::Nothing;
    }
    let first = number(&sector, 0x5C, 8);
    let Some(core) = read(disk, first * 512, 512) else {
        return Boots::Stuck("no core image".into());
    };
    if number(&core, 0x1F4, 8) != first + 1 || number(&core, 0x1FE, 2) != 0x820 {
        return Boots::Stuck("the core image is not there".into());
    }
    grub(disk, root_bytes)
}

/// UEFI: a protective MBR, a table that checks out (else its backup, from which the primary is restored), a loader on the ESP.
pub fn uefi(disk: &Memory, bytes: u64, root_bytes: usize) -> Boots {
    let sector = read(disk, 0, 512).unwrap();
    if sector[510..] != [0x55, 0xAA] || !(0..4).any(|n| sector[0x1BE + 16 * n + 4] == 0xEE) {
        return Boots::Nothing;
    }
    let mut disk = disk.clone();
    let table = match (checked(&disk, 1), checked(&disk, bytes / 512 - 1)) {
        (Some(table), _) => table,
        (None, Some(table)) => {
            restore(&mut disk, bytes / 512 - 1);
            table
        }
        (None, None) => return Boots::Nothing,
    };
    let esp = table.places[&1].0;
    match file(&disk, esp, "/EFI/BOOT/BOOTX64.EFI") {
        Some(loader) if loader.len() == 70_000 => grub(&disk, root_bytes),
        _ => Boots::Nothing,
    }
}

/// `PartitionRestoreGptTable` of EDK II.
pub fn restore(disk: &mut Memory, backup: u64) {
    let mut header = read(disk, backup * 512, 512).unwrap();
    let entries = read(disk, number(&header, 72, 8) * 512, 128 * 128).unwrap();
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    header[32..40].copy_from_slice(&backup.to_le_bytes());
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32(&header[..92]).to_le_bytes();
    header[16..20].copy_from_slice(&crc[..4]);
    disk.write(1024, &entries).unwrap();
    disk.write(512, &header).unwrap();
}

fn grub(disk: &Memory, root_bytes: usize) -> Boots {
    let Some(table) = unchecked(disk) else {
        return Boots::Stuck("GRUB: no partitions".into());
    };
    let place = |n: u64| table.places.get(&n).map(|p| p.0);
    let found = place(1).and_then(|esp| file(disk, esp, "/boot/grub/grub.cfg"));
    let Some(grub_cfg) = found else {
        return Boots::Stuck("GRUB: no grub.cfg".into());
    };
    let env = |name: &str| -> [u8; 512] {
        let bytes = place(2).and_then(|at| file(disk, at, name)).unwrap_or_default();
        bytes.try_into().unwrap_or([0; 512])
    };
    let pair = Pair {
        zero: env("env0"),
        one: env("env1"),
    };
    let slot_files = |slot: Slot| -> Option<BTreeMap<&'static str, Vec<u8>>> {
        let at = place(if slot == Slot::A { 3 } else { 5 })?;
        ["vmlinuz", "initrd.img", "slot.cfg"]
            .into_iter()
            .map(|name| Some((name, file(disk, at, name)?)))
            .collect()
    };
    let medium = Medium {
        is_writable: [true; 2],
        is_bootable: Slot::ALL.map(|s| slot_files(s).is_some()),
    };
    let Some((slot, _)) = boot(&pair, medium, None).started else {
        return Boots::Stuck("GRUB: nothing bootable".into());
    };
    let mut parts = slot_files(slot).unwrap();
    parts.insert("boot/grub.cfg", grub_cfg);
    // The kernel looks for its root by the table that checks out, and dm-verity reads it.
    let root = place(if slot == Slot::A { 4 } else { 6 }).and_then(|at| read(disk, at, root_bytes));
    parts.insert("root.img", root.unwrap_or_default());
    Boots::System { slot, parts }
}
