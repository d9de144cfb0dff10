//! The kernel's own idea of a disk's partitions: read anew, or one of them grown while it is in use.
#![allow(unsafe_code, reason = "BLKRRPART, BLKPG and BLKSSZGET have no safe wrapper")]

use crate::{Doing, Result};
use nix::libc::{c_char, c_int, c_longlong, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;

/// linux/fs.h and linux/blkpg.h
mod call {
    #![allow(missing_docs, reason = "made by macros")]
    use super::{BlkpgIoctlArg, c_int};
    nix::ioctl_none!(blkrrpart, 0x12, 95);
    nix::ioctl_read_bad!(blksszget, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), BlkpgIoctlArg);
}

const BLKPG_RESIZE_PARTITION: c_int = 3;

#[repr(C)]
/// `struct blkpg_ioctl_arg`.
#[derive(Debug)]
pub struct BlkpgIoctlArg {
    op: c_int,
    flags: c_int,
    datalen: c_int,
    data: *mut c_void,
}

#[repr(C)]
struct BlkpgPartition {
    start: c_longlong,
    length: c_longlong,
    pno: c_int,
    devname: [c_char; 64],
    volname: [c_char; 64],
}

/// Bytes in a logical sector of a disk.
pub fn sector_bytes(disk: &File) -> Result<u32> {
    let mut bytes: c_int = 0;
    // SAFETY: the kernel writes one int to the place that is borrowed for this call.
    unsafe { call::blksszget(disk.as_raw_fd(), &raw mut bytes) }.doing("asking for the sector size of", "the disk")?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// Lets the kernel forget a disk's partitions and read the table anew. Fails while one of them is in use.
pub fn read_again(disk: &File) -> Result<()> {
    // SAFETY: the call takes no memory.
    unsafe { call::blkrrpart(disk.as_raw_fd()) }.doing("reading again the partition table of", "the disk")?;
    Ok(())
}

/// Tells the kernel that a partition, which may be in use, is now `bytes` long. `start` is where it begins, in bytes.
pub fn resize(disk: &File, number: u32, start: u64, bytes: u64) -> Result<()> {
    let on = format!("partition {number}");
    let too_large = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: start.try_into().map_err(|_| too_large()).doing("resizing", &on)?,
        length: bytes.try_into().map_err(|_| too_large()).doing("resizing", &on)?,
        pno: number.try_into().map_err(|_| too_large()).doing("resizing", &on)?,
        devname: [0; 64],
        volname: [0; 64],
    };
    let argument = BlkpgIoctlArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        datalen: c_int::try_from(size_of::<BlkpgPartition>()).unwrap_or(0),
        data: (&raw mut partition).cast(),
    };
    // SAFETY: `argument` and the `partition` it points to live until the call returns, and have the layout of linux/blkpg.h.
    unsafe { call::blkpg(disk.as_raw_fd(), &raw const argument) }.doing("resizing", &on)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_disk() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(sector_bytes(&file).is_err());
        assert!(read_again(&file).is_err());
        let said = resize(&file, 7, 0, u64::MAX).unwrap_err().to_string();
        assert!(said.starts_with("resizing partition 7: "), "{said}");
    }
}
