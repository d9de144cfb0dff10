//! What is written onto: a disk, an image file, or (for tests) a record of every write.

use rustix::fs::{Advice, OFlags, fadvise};
use skerry_sys::gpt::SECTOR;
use skerry_sys::partition;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Something that is written onto. Offsets and lengths in bytes.
pub trait Device {
    /// Its length.
    fn bytes(&self) -> u64;

    /// Its logical sectors' length.
    fn sector_bytes(&self) -> u32;

    /// Fills `into` with what is at `at`.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `at`. What was written counts only after [`Device::flush`].
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until all that was written is on the medium.
    fn flush(&mut self) -> io::Result<()>;

    /// Lets the next reads come from the medium, and not from a cache.
    fn forget(&mut self) -> io::Result<()>;
}

/// A disk, or a file that stands for one.
#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    bytes: u64,
    sector_bytes: u32,
    is_block: bool,
}

impl Disk {
    /// Opens a disk, or an image that is there. A disk that is in use (mounted, or part of something) is refused by the kernel.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_as(path, true, true)
    }

    /// Opens a disk, or an image, only to look at it.
    pub fn open_to_read(path: &Path) -> io::Result<Self> {
        Self::open_as(path, false, false)
    }

    /// Opens the disk that is running. For its partition table and nothing else.
    pub fn open_running(path: &Path) -> io::Result<Self> {
        Self::open_as(path, false, true)
    }

    fn open_as(path: &Path, is_alone: bool, is_written: bool) -> io::Result<Self> {
        let is_block = std::fs::metadata(path)?.file_type().is_block_device();
        // On a block device, and only there, O_EXCL without O_CREAT asks for it alone: open(2).
        let flags = if is_block && is_alone { OFlags::EXCL } else { OFlags::empty() };
        let file = OpenOptions::new()
            .read(true)
            .write(is_written)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)
            .map_err(|why| match why.raw_os_error() {
                Some(code) if code == rustix::io::Errno::BUSY.raw_os_error() => io::Error::new(
                    why.kind(),
                    "it is in use: something on it is mounted, or it is part of another device",
                ),
                _ if why.kind() == io::ErrorKind::PermissionDenied => {
                    io::Error::new(why.kind(), "permission denied / try: as root, by sudo")
                }
                _ => why,
            })?;
        let bytes = (&file).seek(SeekFrom::End(0))?;
        let sector_bytes = if is_block {
            partition::sector_bytes(&file).map_err(|why| why.source)?
        } else {
            512
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
            sector_bytes,
            is_block,
        })
    }

    /// Makes an image of zeros that takes no room. What is there by that name is replaced.
    pub fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(bytes)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
            sector_bytes: 512,
            is_block: false,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Lets the kernel read the partition table anew; of no meaning for a file.
    pub fn read_table_again(&self) -> skerry_sys::Result<()> {
        if self.is_block { partition::read_again(&self.file) } else { Ok(()) }
    }
}

impl Device for Disk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

/// The length and the two copies of a device's partition table.
pub fn table(device: &dyn Device) -> skerry_sys::gpt::Found {
    skerry_sys::gpt::find(device.bytes() / SECTOR, |at, into| device.read_at(at, into))
}
