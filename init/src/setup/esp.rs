//! What the owner put onto the EFI system partition, which every laptop can open: `config.yaml` and `config.d/`, the weakest source.

use crate::booted::{Booted, ESP};
use crate::folder::{Folder, Place};
use anyhow::{Context, Result};
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::{block::Device, file};
use std::sync::OnceLock;

/// What messages put before a file's path.
pub const NAME: &str = "esp:/";
/// Mounted there while it is read.
const AT: &str = "/run/skerry/esp";
/// `vfat` and the tables it needs for names (mount(8)).
pub const DRIVERS: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];
/// It holds secrets, and FAT has no owners.
pub const OPTIONS: &str = "umask=077,codepage=437,iocharset=ascii";
/// For what a stranger may have written.
pub const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The partition, on the disk that was booted, if that has one.
pub fn device() -> Result<Option<Device>> {
    let booted = Booted::look().context("looking for the ESP")?;
    Ok(booted.and_then(|b| b.partition(ESP).cloned()))
}

/// Reads it; none if this machine was not booted from a disk of ours.
pub fn read() -> Result<Option<Folder>> {
    let Some(esp) = device()? else { return Ok(None) };
    load_drivers(&DRIVERS);
    file::make_dir(AT, 0o700)?;
    mount::mount(&esp.path, AT, "vfat", FLAGS | MountFlags::RDONLY, OPTIONS)?;
    let folder = Folder::read(AT.as_ref(), Place::Esp);
    // Lazily: the bytes are here, whatever else looks at it.
    mount::unmount_lazy(AT)?;
    Ok(Some(folder))
}

/// Loads drivers that may be built in; if they are not there at all, the mount says what is missing.
pub fn load_drivers(names: &[&str]) {
    // Read once: it is some megabytes of text.
    static INDEX: OnceLock<Option<Index>> = OnceLock::new();
    if let Some(index) = INDEX.get_or_init(|| Index::of_running_kernel().ok()) {
        for driver in names {
            let _ = module::load(index, driver, "");
        }
    }
}
