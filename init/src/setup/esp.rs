//! `config.yaml` on the EFI system partition, which every laptop can open: the weakest source.

use crate::booted::{Booted, ESP};
use crate::sources;
use anyhow::{Context, Result};
use skerry_config::{Source, SourceKind};
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::{block::Device, file};
use std::io;
use std::path::Path;

/// What messages call it.
const NAME: &str = "esp:/config.yaml";
/// Mounted there while it is read.
const AT: &str = "/run/skerry/esp";
/// `vfat` and the tables it needs for names (mount(8)).
const DRIVERS: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];
/// It holds secrets, and FAT has no owners.
const OPTIONS: &str = "umask=077,codepage=437,iocharset=ascii";

/// Reads it from the disk that was booted, if that has one and the owner put a file there.
pub fn config() -> Result<Option<Source>> {
    let Some(booted) = Booted::look().context("looking for the ESP")? else {
        return Ok(None);
    };
    booted.partition(ESP).map_or(Ok(None), read)
}

fn read(esp: &Device) -> Result<Option<Source>> {
    if let Ok(index) = Index::of_running_kernel() {
        for driver in DRIVERS {
            // It may be built in; if not, the mount says what is missing.
            let _ = module::load(&index, driver, "");
        }
    }
    file::make_dir(AT, 0o700)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount::mount(&esp.path, AT, "vfat", flags, OPTIONS)?;
    let bytes = sources::read(&Path::new(AT).join("config.yaml"));
    // Lazily: the bytes are here, whatever else looks at it.
    mount::unmount_lazy(AT)?;
    match bytes {
        Ok(bytes) => Ok(Some(Source::new(SourceKind::Esp, NAME, bytes))),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why).with_context(|| format!("reading {NAME} ({})", esp.path.display())),
    }
}
