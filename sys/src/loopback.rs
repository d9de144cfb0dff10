//! A file as a block device, read only: a root image that lies on a medium.
#![allow(unsafe_code, reason = "LOOP_CTL_GET_FREE and LOOP_CONFIGURE have no safe wrapper")]

use crate::{Doing, Result};
use nix::libc::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// linux/loop.h
mod call {
    #![allow(missing_docs, reason = "made by macros")]
    use super::LoopConfig;
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
}

/// Nothing is written through it. Direct I/O stays off: a medium's sectors may be longer than the image asks for.
const LO_FLAGS_READ_ONLY: u32 = 1;
/// How often another number is asked for, when somebody else took the free one first.
const ATTEMPTS: usize = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Debug)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Debug)]
pub struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// Makes `/dev/loopN` show `file`, until the machine goes down. Needs Linux 5.8 and the driver `loop`.
pub fn attach(file: &Path) -> Result<PathBuf> {
    let shown = File::open(file).doing("opening", file.display())?;
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .doing("opening", "/dev/loop-control")?;
    let config = configuration(&shown).doing("attaching", file.display())?;
    let mut busy = None;
    for _ in 0..ATTEMPTS {
        // SAFETY: the call takes no memory.
        let number = unsafe { call::loop_ctl_get_free(control.as_raw_fd()) }.doing("asking for a free loop device for", file.display())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path).doing("opening", path.display())?;
        // SAFETY: `config` has the layout of linux/loop.h, the kernel only reads it, and it and the file outlive the call.
        match unsafe { call::loop_configure(device.as_raw_fd(), &raw const config) } {
            Ok(_) => return Ok(path),
            Err(nix::errno::Errno::EBUSY) => busy = Some(io::Error::from(nix::errno::Errno::EBUSY)),
            Err(why) => return Err(why).doing("attaching", format!("{} to {}", file.display(), path.display())),
        }
    }
    Err(busy.unwrap_or_else(|| io::ErrorKind::ResourceBusy.into())).doing("attaching", file.display())
}

fn configuration(shown: &File) -> io::Result<LoopConfig> {
    let fd: c_int = shown.as_raw_fd();
    Ok(LoopConfig {
        fd: u32::try_from(fd).map_err(io::Error::other)?,
        block_size: 0, // the kernel's choice: 512
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(std::mem::offset_of!(LoopInfo, flags), 52);
    }

    #[test]
    fn a_missing_file_is_named() {
        let said = attach(Path::new("/nowhere/root.img")).unwrap_err().to_string();
        assert!(said.starts_with("opening /nowhere/root.img: "), "{said}");
    }
}
