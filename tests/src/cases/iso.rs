//! The ISO, remastered with a `config.yaml`: firmware, GRUB, kernel, the medium found, a login with the state in memory.

use super::check::{Checks, Expect};
use super::start::{none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::release::images;
use crate::machine::{Drive, Firmware, Request};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Memory for a live machine without Kubernetes, in MiB: its state is in there too.
const MEMORY: u32 = 1024;

pub fn bios_cd(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "iso-bios-cd", Firmware::Bios, Drive::Cd)
}

pub fn uefi_cd(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "iso-uefi-cd", Firmware::Uefi, Drive::Cd)
}

pub fn bios_usb(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "iso-bios-usb", Firmware::Bios, Drive::Stick)
}

pub fn uefi_usb(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "iso-uefi-usb", Firmware::Uefi, Drive::Stick)
}

pub fn full_bios_usb(bench: &Bench, checks: &mut Checks) -> Result<()> {
    full(bench, checks, "full-iso-bios-usb", Firmware::Bios, Drive::Usb)
}

pub fn full_uefi_usb(bench: &Bench, checks: &mut Checks) -> Result<()> {
    full(bench, checks, "full-iso-uefi-usb", Firmware::Uefi, Drive::Usb)
}

pub fn full_bios_sata(bench: &Bench, checks: &mut Checks) -> Result<()> {
    full(bench, checks, "full-iso-bios-sata", Firmware::Bios, Drive::Sata)
}

pub fn full_uefi_sata(bench: &Bench, checks: &mut Checks) -> Result<()> {
    full(bench, checks, "full-iso-uefi-sata", Firmware::Uefi, Drive::Sata)
}

fn full(bench: &Bench, checks: &mut Checks, name: &str, firmware: Firmware, drive: Drive) -> Result<()> {
    match bench.full() {
        Ok(release) => of_release(bench, checks, release, name, firmware, drive),
        Err(why) => {
            checks.skipped = Some(why);
            Ok(())
        }
    }
}

fn to_a_login(bench: &Bench, checks: &mut Checks, name: &str, firmware: Firmware, drive: Drive) -> Result<()> {
    of_release(bench, checks, &bench.lab.release.dir, name, firmware, drive)
}

fn of_release(bench: &Bench, checks: &mut Checks, release: &Path, name: &str, firmware: Firmware, drive: Drive) -> Result<()> {
    let config = none_config(bench, "hostname: from-the-iso\n");
    let iso = remastered(bench, release, name, &config)?;
    let request = Request {
        memory: MEMORY,
        iso: Some((firmware, drive, iso.clone())),
        ..none_machine(name, None)
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let device = match drive {
            Drive::Cd | Drive::Sata => "/dev/sr0",
            Drive::Stick | Drive::Usb => "/dev/sda",
        };
        let probes = [
            (
                "GRUB says which medium it was read from",
                "cat /proc/cmdline",
                Expect::Has("skerry.medium=UUID=2"),
            ),
            (
                "live is what starts by itself",
                "cat /proc/cmdline",
                Expect::Has("skerry.mode=live"),
            ),
            (
                "the whole medium is mounted, read-only",
                "findmnt -no SOURCE,FSTYPE,OPTIONS /run/skerry/medium | tr -s ' '",
                Expect::Has(&format!("{device} iso9660 ro,nosuid,nodev,noexec")),
            ),
            (
                "the root is verified, and lies in a file of the medium",
                "ls /sys/block/dm-0/slaves; cat /sys/block/loop0/loop/backing_file",
                Expect::Has("/skerry/root.img"),
            ),
            (
                "nothing can be written through it",
                "cat /sys/block/loop0/ro /sys/block/dm-0/ro",
                Expect::Is("1\n1"),
            ),
            (
                "the release on it is whole",
                "cd /run/skerry/medium/skerry && test -f manifest.json -a -f boot/core.img -a -f vmlinuz && sha256sum vmlinuz | cut -c1-64 | \
                 xargs -I{} grep -c {} manifest.json",
                Expect::Is("1"),
            ),
            (
                "the config on it counts",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("from-the-iso"),
            ),
            (
                "and is named as the source",
                "cat /run/skerry/explain.json",
                Expect::Has("medium:/config.yaml"),
            ),
            ("the state is in memory", "findmnt -no FSTYPE /skerry", Expect::Is("tmpfs")),
            ("the mode is live", "cat /run/skerry/facts.json", Expect::Has("\"mode\":\"live\"")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)?;
        fs::remove_file(&iso).with_context(|| format!("removing {}", iso.display()))
    })
}

/// The release as an ISO with this `config.yaml` on it.
#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
fn remastered(bench: &Bench, release: &Path, name: &str, config: &str) -> Result<PathBuf> {
    let folder = bench.lab.folder(name)?;
    let (iso, file) = (folder.join("skerry.iso"), folder.join("config.yaml"));
    let text = |path: &Path| path.display().to_string();
    fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
    let (release, out, config) = (text(release), text(&iso), text(&file));
    let words = bench.lab.accel.kernel_words();
    images(&["iso", "--release", &release, "--out", &out, "--config", &config, "--words", words])?;
    Ok(iso)
}
