//! The first boot of a flashed image: GUIDs of its own, a table as long as the disk, and the data partition grown into the rest.
//!
//! The one time that a table is changed under a system that boots from it. A BIOS reads nothing but the primary table, and GRUB reads
//! it without looking at checksums; UEFI and Linux (told `gpt`) take the backup in the last sector when the primary's checksums are
//! wrong. So after a cut GRUB and Linux may read different copies, and GRUB names its boot slot to Linux by the GUID it read. The order:
//!
//! | written, then flushed | GRUB reads | Linux reads | the GUID of boot-a |
//! |---|---|---|---|
//! | the new backup, at the disk's end | old | old | old, old |
//! | sector 2: the entries 1 to 4 | new | backup: new | new, new |
//! | sectors 3 to 33: the other entries | new | backup: new | new, new |
//! | sector 1: the header | new | new | new, new |
//!
//! Sector 2 alone decides, and a disk writes a sector whole. It holds boot-a, and an image has no other slot: so GUIDs are changed only
//! on a fresh image. A disk that becomes longer later keeps them, and then every mixture is right. Whatever a cut left, [`plan`] on the
//! next boot finishes it: a primary that does not check out is made from the backup, a valid primary is the truth.

use crate::content::{Content, Extent};
use crate::device::Disk;
use crate::layout::{GROW, Ids, MIB, Part, Place};
use crate::plan::Plan;
use crate::step::{ShownPartition, Step};
use anyhow::{Context, Result, bail};
use skerry_sys::gpt::{ENTRY_SECTORS, Found, SECTOR, Table};
use skerry_sys::partition;
use std::path::Path;
use std::process::Command;

/// What the disk says.
#[derive(Debug)]
pub struct Facts {
    /// Its length now, in bytes.
    pub bytes: u64,
    /// Both copies of its table.
    pub found: Found,
    /// Sector 0.
    pub sector_0: Vec<u8>,
}

impl Facts {
    /// Looks at a disk.
    pub fn of(device: &dyn crate::device::Device) -> Result<Self> {
        let mut sector_0 = vec![0; 512];
        device.read_at(0, &mut sector_0).context("reading sector 0")?;
        Ok(Self {
            bytes: device.bytes(),
            found: crate::device::table(device),
            sector_0,
        })
    }
}

/// What is to be done to the table, if anything. `ids` are the GUIDs of this disk, should it need some.
pub fn plan(facts: &Facts, ids: &Ids) -> Result<Option<Plan>> {
    let sectors = facts.bytes / SECTOR;
    let (old, what) = match (&facts.found.primary, &facts.found.backup) {
        (Ok(primary), _) => (primary, "grow data to the end of the disk"),
        (Err(_), Ok(backup)) => (backup, "repair the first copy from the second"),
        (Err(first), Err(second)) => bail!("reading the partition table: {first}; and its backup: {second}"),
    };
    let new = grown(old, sectors, ids);
    let is_done = |copy: &skerry_sys::Result<Table>| copy.as_ref().is_ok_and(|t| *t == new);
    let protected = protected(&facts.sector_0, sectors);
    if is_done(&facts.found.primary) && is_done(&facts.found.backup) && protected.is_none() {
        return Ok(None);
    }
    let bytes = new.encode()?;
    let extent = |sector: u64, bytes: &[u8]| Extent {
        at: sector * SECTOR,
        content: Content::Bytes(bytes.to_vec()),
    };
    let (first, others) = bytes.entries.split_at_checked(512).unwrap_or_default();
    let mut groups = vec![];
    if !is_done(&facts.found.backup) {
        groups.push(vec![
            extent(bytes.backup_entries_at, &bytes.entries),
            extent(bytes.backup_at, &bytes.backup),
        ]);
    }
    groups.push(vec![extent(2, first)]);
    groups.push(vec![extent(3, others)]);
    groups.push(vec![extent(1, &bytes.primary)]);
    // Only the length of the protective partition changes in it.
    groups.extend(protected.map(|sector| vec![extent(0, &sector)]));
    Ok(Some(Plan {
        version: String::new(),
        disk_bytes: facts.bytes,
        promise: "At every instant the disk boots; after a cut the next boot goes on.",
        steps: vec![Step::ChangeTable {
            what: what.to_owned(),
            partitions: ShownPartition::of(&new),
            groups,
        }],
    }))
}

/// The table as it is to be.
fn grown(old: &Table, sectors: u64, ids: &Ids) -> Table {
    let mut new = old.clone();
    // A disk that became shorter is beyond help here: its table is left as it is.
    if sectors < old.sectors {
        return new;
    }
    let end = (sectors - ENTRY_SECTORS - 1) * SECTOR / MIB * MIB / SECTOR;
    let data = Part::Data.number();
    let is_last = |table: &Table, first: u64| table.partitions.iter().all(|p| p.first <= first);
    let is_fresh = old.partition(data).is_some_and(|p| p.attributes & GROW != 0);
    new.sectors = sectors;
    if is_fresh {
        new.disk = ids.guid("disk");
    }
    for p in &mut new.partitions {
        if is_fresh {
            p.guid = ids.guid(&p.name);
        }
        if p.number == data && is_last(old, p.first) && p.last + 1 < end {
            p.last = end - 1;
        }
        if p.number == data {
            p.attributes &= !GROW;
        }
    }
    new
}

/// Sector 0 with a protective partition to the disk's end, if it does not have that.
fn protected(sector: &[u8], sectors: u64) -> Option<Vec<u8>> {
    let mut new = sector.to_vec();
    let is_ours = sector.get(0x1C2) == Some(&0xEE) && sector.get(510..) == Some(&[0x55, 0xAA]);
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    new.get_mut(0x1CA..0x1CE)?.copy_from_slice(&length);
    (is_ours && new != sector).then_some(new)
}

/// How long the ext file system is, by its superblock (1024 bytes at offset 1024 of its partition), in bytes; `None` if it is none.
/// Linux, `fs/ext4/ext4.h`, `struct ext4_super_block`.
pub fn ext4_bytes(superblock: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u64::from(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?)));
    if superblock.get(0x38..0x3A)? != [0x53, 0xEF] {
        return None;
    }
    let has_64_bits = word(0x60)? & 0x80 != 0;
    let high = if has_64_bits { word(0x150)? } else { 0 };
    let power = u32::try_from(word(0x18)?).ok().filter(|p| *p <= 6)?;
    ((high << 32) | word(0x4)?).checked_mul(1024 << power)
}

/// Whether a file system should grow into its partition. Less than a block group (128 MiB) too short is long enough: ext4 may refuse to
/// begin a group that would hold little but its own tables.
pub fn should_grow(file_system: u64, partition: u64) -> bool {
    partition >= file_system + 128 * MIB
}

/// After the table: tells the kernel that data is longer, and grows its file system while it is mounted. Both may be done again.
pub fn grow_data(disk: &Disk, data: Place, node: &Path) -> Result<()> {
    partition::resize(disk.file(), Part::Data.number(), data.at, data.bytes)?;
    let out = Command::new("resize2fs")
        .arg(node)
        .env("PATH", crate::ext4::path_with_sbin())
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("growing {}: running resize2fs", node.display()))?;
    if !out.status.success() {
        bail!(
            "growing {}: resize2fs: {}",
            node.display(),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(())
}
