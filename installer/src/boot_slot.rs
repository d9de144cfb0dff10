//! A slot's boot image: kernel, initramfs, and the command line with the root hash.

use crate::content::Content;
use crate::device::Disk;
use crate::fat::{self, File, Volume};
use crate::layout::{Ids, Part, Place};
use crate::perform::{Options, perform};
use crate::plan::{Plan, fat_step};
use crate::release::Release;
use anyhow::{Context, Result};
use std::path::Path;

/// What GRUB sources in a boot slot: a release says how it is started. `$sd` is the slot's partition, `$skerry_args` what GRUB adds
/// (`skerry.boot=`, `skerry.slot=`, `skerry.why=`). `ready` is set only when kernel and initramfs were loaded: `source` itself always
/// succeeds, and `boot` would start a kernel whose initramfs was not.
pub fn slot_cfg(release: &Release) -> String {
    let words = [
        "console=ttyS0,115200".to_owned(),
        "console=tty0".to_owned(),
        "net.ifnames=0".to_owned(),
        // Linux looks at the backup table only then.
        "gpt".to_owned(),
        // A panic must end in a restart, which GRUB counts.
        "panic=5".to_owned(),
        format!("skerry.roothash={}", release.root_hash),
        format!("skerry.hashoff={}", release.hash_offset),
    ];
    format!(
        "# Skerry {}\nif linux $sd/vmlinuz {} $skerry_args; then\n  if initrd $sd/initrd.img; then set ready=1; fi\nfi\n",
        release.version,
        words.join(" ")
    )
}

/// The files of a boot slot.
pub fn files(release: &Release) -> Result<Vec<File>> {
    let file = |path: &str, content| File {
        path: path.to_owned(),
        content,
    };
    Ok(vec![
        file("/vmlinuz", release.file("vmlinuz")?),
        file("/initrd.img", release.file("initrd.img")?),
        file("/slot.cfg", Content::Bytes(slot_cfg(release).into_bytes())),
    ])
}

/// The file system of a boot slot: as long as its files need, whatever the partition's length, so that it is the same on every disk.
pub fn volume(release: &Release, files: &[File]) -> Volume {
    let (bytes, kind) = fat::smallest(files);
    Volume {
        bytes,
        kind,
        label: "BOOT".to_owned(),
        serial: Ids(release.root_hash.0).serial("boot"),
        time: release.built,
    }
}

/// Makes a boot slot's image in a file: what a release can hold as `boot.img`. It is then written as it is.
pub fn image(release: &Release, out: &Path) -> Result<()> {
    let files = files(release)?;
    let volume = volume(release, &files);
    let mut file = Disk::create(out, volume.bytes).with_context(|| format!("making {}", out.display()))?;
    let plan = Plan {
        version: release.version.clone(),
        disk_bytes: volume.bytes,
        promise: "",
        steps: vec![fat_step(
            Part::BootA,
            Place {
                at: 0,
                bytes: volume.bytes,
            },
            &volume,
            files,
        )?],
    };
    perform(&plan, &mut file, &Options::default(), &mut |_| {})?;
    Ok(())
}
