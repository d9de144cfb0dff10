//! Which block devices are there, and what is on them?

use crate::uevent::{Listener, News};
use crate::verity::hex;
use crate::{Doing, Result, file};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The kernel's name: `vda1`.
    pub name: String,
    /// `/dev/vda1`.
    pub path: PathBuf,
    /// In bytes; 0 for a drive without a medium.
    pub bytes: u64,
    /// It cannot be written: a write-protected card, an optical disc.
    pub is_read_only: bool,
    /// The name in the partition table, if this is a partition that has one.
    pub partition_label: Option<String>,
    /// The number in the partition table, if this is a partition.
    pub partition: Option<u32>,
    /// Its GUID (`PARTUUID`), if this is a partition that has one and somebody said it: newer kernels do, else [`with_guids`].
    pub guid: Option<String>,
    /// The name of the disk it is on, if this is a partition.
    pub disk: Option<String>,
}

/// Partition `number` of the disk `disk`, among `devices`.
pub fn partition_of<'a>(devices: &'a [Device], disk: &str, number: u32) -> Option<&'a Device> {
    devices
        .iter()
        .find(|d| d.partition == Some(number) && d.disk.as_deref() == Some(disk))
}

/// The device whose content is mounted as `/`, below dm-verity: a disk or a partition. `None`: it is not on a block device.
pub fn below_root() -> Result<Option<Device>> {
    let root = crate::mount::mounted()?.into_iter().rev().find(|m| m.target == Path::new("/"));
    let Some((major, minor)) = root.map(|m| m.device) else {
        return Ok(None);
    };
    let at = format!("/sys/dev/block/{major}:{minor}");
    let slaves = std::fs::read_dir(Path::new(&at).join("slaves")).into_iter().flatten().flatten();
    let below = slaves.map(|e| e.file_name()).next();
    let name = below.or_else(|| std::fs::canonicalize(&at).ok()?.file_name().map(ToOwned::to_owned));
    let name = name.map(|n| n.to_string_lossy().into_owned());
    Ok(devices()?.into_iter().find(|d| Some(&d.name) == name.as_ref()))
}

/// All disks and partitions the kernel knows now, by name.
pub fn devices() -> Result<Vec<Device>> {
    let mut found = vec![];
    let class = Path::new("/sys/class/block");
    let entries = match std::fs::read_dir(class) {
        Ok(entries) => entries,
        // No driver has registered a disk yet.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(why) => return Err(why).doing("listing", class.display()),
    };
    for entry in entries {
        let at = entry.doing("listing", class.display())?.path();
        // A device that goes while it is looked at is as good as gone.
        let Ok(uevent) = file::read_text(at.join("uevent"), 4096) else {
            continue;
        };
        let word = |name: &str| file::read_text(at.join(name), 64).unwrap_or_default();
        // A partition's folder lies in its disk's.
        let parent = std::fs::canonicalize(&at)
            .ok()
            .and_then(|real| Some(real.parent()?.file_name()?.to_string_lossy().into_owned()));
        found.extend(describe(&uevent, &word("size"), &word("ro"), parent));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// From sysfs's `uevent`, `size` (in 512-byte sectors, always) and `ro`.
fn describe(uevent: &str, size: &str, read_only: &str, parent: Option<String>) -> Option<Device> {
    let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let name = value("DEVNAME")?;
    let partition = value("PARTN").and_then(|n| n.parse().ok());
    Some(Device {
        name: name.to_owned(),
        path: Path::new("/dev").join(name),
        bytes: size.trim().parse().unwrap_or(0u64).saturating_mul(512),
        is_read_only: read_only.trim() == "1",
        partition_label: value("PARTNAME").map(str::to_owned),
        partition,
        guid: value("PARTUUID").map(str::to_owned),
        disk: parent.filter(|_| partition.is_some()),
    })
}

/// The same devices, each partition with its GUID. Kernels that do not say it in sysfs (6.12) have it read from the disk.
pub fn with_guids(mut devices: Vec<Device>) -> Vec<Device> {
    for device in devices.iter_mut().filter(|d| d.guid.is_none()) {
        if let (Some(disk), Some(number)) = (&device.disk, device.partition) {
            device.guid = guid(disk, &device.name, number);
        }
    }
    devices
}

fn guid(disk: &str, partition: &str, number: u32) -> Option<String> {
    let class = Path::new("/sys/class/block");
    let figure = |name: &str, file: &str| file::read_text(class.join(name).join(file), 64).ok()?.trim().parse::<u64>().ok();
    let sector = figure(disk, "queue/logical_block_size").filter(|bytes| (512..=65536).contains(bytes))?;
    let first = figure(partition, "start")?.checked_mul(512)? / sector;
    let last = (figure(disk, "size")?.checked_mul(512)? / sector).checked_sub(1)?;
    let disk = File::open(Path::new("/dev").join(disk)).ok()?;
    // The copy that the kernel used is the one in which the partition starts where the kernel says.
    [1, last].into_iter().find_map(|header_at| {
        let (mut header, mut entry) = ([0; 92], [0; 128]);
        disk.read_exact_at(&mut header, header_at.checked_mul(sector)?).ok()?;
        disk.read_exact_at(&mut entry, entry_at(&header, number, sector)?).ok()?;
        guid_in(&entry, first)
    })
}

/// Where a GPT header says that the entry of a partition is, in bytes (UEFI specification 2.10, table 5.5).
fn entry_at(header: &[u8; 92], number: u32, sector: u64) -> Option<u64> {
    let long = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let index = number.checked_sub(1).filter(|_| header.starts_with(b"EFI PART"))?;
    let within = u64::from(index).checked_mul(u64::from(word(84)?))?;
    let inside = index < word(80)?;
    long(72)?.checked_mul(sector)?.checked_add(within).filter(|_| inside)
}

/// The GUID of an entry (table 5.6) whose partition starts at this sector: its first three fields are little-endian.
fn guid_in(entry: &[u8; 128], first: u64) -> Option<String> {
    if entry.get(32..40)? != first.to_le_bytes() {
        return None;
    }
    let fields = [(16..20, true), (20..22, true), (22..24, true), (24..26, false), (26..32, false)];
    let texts: Option<Vec<String>> = fields
        .into_iter()
        .map(|(range, is_little)| {
            let mut bytes = entry.get(range)?.to_vec();
            if is_little {
                bytes.reverse();
            }
            Some(hex(&bytes))
        })
        .collect();
    Some(texts?.join("-"))
}

/// What an ext2, ext3 or ext4 file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4 {
    /// `SKERRY_STATE`.
    pub label: String,
    /// As `blkid` writes it.
    pub uuid: String,
    /// Unmounted in order, and nothing found wrong since.
    pub is_clean: bool,
    /// The journal holds writes that are not yet in place.
    pub needs_recovery: bool,
}

/// Where the superblock is, and how much of it is read.
const EXT4_AT: u64 = 1024;
const EXT4_BYTES: usize = 1024;

impl Ext4 {
    /// Reads a superblock (the 1024 bytes at offset 1024); `None` when it is not one.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let bytes = |at: usize, length: usize| block.get(at..at + length);
        let half = |at: usize| Some(u16::from_le_bytes(bytes(at, 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_le_bytes(bytes(at, 4)?.try_into().ok()?));
        if half(0x38)? != 0xEF53 {
            return None;
        }
        let label: Vec<u8> = bytes(0x78, 16)?.iter().copied().take_while(|b| *b != 0).collect();
        let groups: Vec<String> = [(0x68, 4), (0x6C, 2), (0x6E, 2), (0x70, 2), (0x72, 6)]
            .into_iter()
            .map(|(at, length)| bytes(at, length).map(hex))
            .collect::<Option<_>>()?;
        Some(Self {
            label: String::from_utf8_lossy(&label).into_owned(),
            uuid: groups.join("-"),
            is_clean: half(0x3A)? & 0b11 == 0b01,
            needs_recovery: word(0x60)? & 0x4 != 0,
        })
    }
}

/// The ext2, ext3 or ext4 file system on a device, if it holds one.
pub fn ext4(device: &Path) -> Result<Option<Ext4>> {
    let mut block = [0u8; EXT4_BYTES];
    match File::open(device).and_then(|f| f.read_exact_at(&mut block, EXT4_AT)) {
        Ok(()) => Ok(Ext4::parse(&block)),
        // Too short for a file system, or a drive without a medium.
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof || why.raw_os_error() == Some(nix::libc::ENOMEDIUM) => Ok(None),
        Err(why) => Err(why).doing("reading", device.display()),
    }
}

/// Devices whose ext file system has this label. One that cannot be read is left out, with a warning.
pub fn labelled(label: &str) -> Result<Vec<Device>> {
    let mut found = vec![];
    for device in devices()?.into_iter().filter(|d| d.bytes > 0) {
        match ext4(&device.path) {
            Ok(Some(fs)) if fs.label == label => found.push(device),
            Ok(_) => {}
            Err(why) => tracing::warn!(device = %device.path.display(), %why, "left out: it cannot be read"),
        }
    }
    Ok(found)
}

/// Asks `find` again after each device event until it answers or `limit` is over (then `None`). Events are shown to `hear` first,
/// so that drivers can be loaded for them; it is also called with nothing, once, when `patience` is over.
pub fn wait<T>(
    listener: &Listener,
    limit: Duration,
    patience: Duration,
    mut hear: impl FnMut(Option<News>),
    mut find: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let start = Instant::now();
    let mut told = false;
    loop {
        while let Some(news) = listener.next()? {
            hear(Some(news));
        }
        if let Some(found) = find()? {
            return Ok(Some(found));
        }
        let gone = start.elapsed();
        if gone >= limit {
            return Ok(None);
        }
        if !told && gone >= patience {
            told = true;
            hear(None);
        }
        let until = if told { limit } else { limit.min(patience) };
        listener.wait(until.saturating_sub(gone))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sysfs() {
        let partition = describe(
            "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nDEVTYPE=partition\nPARTN=3\nPARTNAME=root a\nPARTUUID=0000-ab\n",
            "8192\n",
            "1\n",
            Some("vda".into()),
        )
        .unwrap();
        assert_eq!(
            (partition.partition, partition.partition_label.as_deref()),
            (Some(3), Some("root a"))
        );
        assert_eq!((partition.path.to_str(), partition.bytes), (Some("/dev/vda3"), 4 << 20));
        assert!(partition.is_read_only);
        assert_eq!(
            (partition.guid.as_deref(), partition.disk.as_deref()),
            (Some("0000-ab"), Some("vda"))
        );
        let disk = describe("DEVNAME=vda\n", "8", "0", Some("block".into())).unwrap();
        assert_eq!(disk.disk, None);
        let both = [disk, partition];
        assert_eq!(partition_of(&both, "vda", 3), both.last());
        assert_eq!((partition_of(&both, "vda", 4), partition_of(&both, "vdb", 3)), (None, None));
        assert_eq!(describe("MAJOR=1\n", "0", "0", None), None);
    }

    #[test]
    fn reads_a_guid_from_the_table() {
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[72..80].copy_from_slice(&2u64.to_le_bytes());
        header[80..84].copy_from_slice(&128u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        assert_eq!(entry_at(&header, 15, 512), Some(1024 + 14 * 128));
        assert_eq!(entry_at(&header, 3, 4096), Some(8192 + 2 * 128));
        assert_eq!((entry_at(&header, 0, 512), entry_at(&header, 129, 512)), (None, None));
        assert_eq!(entry_at(&[0xff; 92], 1, 512), None);
        let mut entry = [0; 128];
        for (n, byte) in entry[16..32].iter_mut().enumerate() {
            *byte = u8::try_from(n).unwrap();
        }
        entry[32..40].copy_from_slice(&2048u64.to_le_bytes());
        assert_eq!(guid_in(&entry, 2048).as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        assert_eq!(guid_in(&entry, 2049), None);
    }

    fn superblock() -> Vec<u8> {
        let mut block = vec![0; 1024];
        block[0x38..0x3A].copy_from_slice(&0xEF53u16.to_le_bytes());
        block[0x3A] = 1;
        block[0x60] = 4;
        block[0x68..0x78].copy_from_slice(&(0..16).collect::<Vec<u8>>());
        block[0x78..0x84].copy_from_slice(b"SKERRY_STATE");
        block
    }

    #[test]
    fn reads_an_ext4_superblock() {
        let found = Ext4::parse(&superblock()).unwrap();
        assert_eq!(found.label, "SKERRY_STATE");
        assert_eq!(found.uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert!(found.is_clean && found.needs_recovery);
        let mut wrong = superblock();
        wrong[0x3A] = 3;
        assert!(!Ext4::parse(&wrong).unwrap().is_clean);
    }

    #[test]
    fn what_is_not_ext4_is_none() {
        assert_eq!(Ext4::parse(&[0; 1024]), None);
        for cut in 0..0x84 {
            let block = superblock();
            assert!(Ext4::parse(&block[..cut]).is_none_or(|_| cut >= 0x84));
        }
    }

    #[test]
    fn short_files_hold_nothing() {
        assert_eq!(ext4(Path::new("/proc/self/comm")).unwrap(), None);
    }
}
