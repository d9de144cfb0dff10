//! The disk image to flash, with a `config.yaml` put onto its ESP: firmware, GRUB, kernel, login, and data grown to the disk's end.

use super::check::{Checks, Expect};
use super::start::{none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::run;
use crate::machine::{Firmware, Request};
use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// As long as a small card, so that data has much to grow.
const CARD: u64 = 4 << 30;
const SECTOR: u64 = 512;

pub fn bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "disk-bios", Firmware::Bios)
}

pub fn uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "disk-uefi", Firmware::Uefi)
}

fn to_a_login(bench: &Bench, checks: &mut Checks, name: &str, firmware: Firmware) -> Result<()> {
    let disk = flashed(bench, name, &none_config(bench, "hostname: from-the-esp\n"))?;
    let request = Request {
        disk: Some((firmware, disk.clone())),
        ..none_machine(name, None)
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "GRUB says what it loaded",
                "cat /proc/cmdline",
                Expect::Has("skerry.boot=PARTUUID="),
            ),
            ("slot a is good", "cat /proc/cmdline", Expect::Has("skerry.slot=a skerry.why=good")),
            (
                "the ESP's config counts",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("from-the-esp"),
            ),
            (
                "and is named as the source",
                "cat /run/skerry/explain.json",
                Expect::Has("esp:/config.yaml"),
            ),
            ("the ESP is not left mounted", "grep -c vfat /proc/mounts", Expect::Is("0")),
            ("the state is on the disk", "cat /run/skerry/storage.json", Expect::Has("/dev/vda7")),
            (
                "nothing went wrong with it",
                "cat /run/skerry/storage.json",
                Expect::Has("\"problems\": []"),
            ),
            (
                "data has grown by more than a gigabyte",
                "test $(df -k --output=size /skerry | tail -1) -gt 1200000",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    let machine = to_login(bench, &request).context("starting it again")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let console = machine.serial.text(0);
        checks.is("what has grown is left alone", !console.contains("data grew"), &console);
        machine.cut();
        fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
    })
}

/// A card with the image of the release on it, and this `config.yaml`.
#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
pub(crate) fn flashed(bench: &Bench, name: &str, config: &str) -> Result<PathBuf> {
    let folder = bench.lab.folder(name)?;
    let (disk, file) = (folder.join("disk.img"), folder.join("config.yaml"));
    let text = |path: &Path| path.display().to_string();
    crate::machine::release::images(&["disk", "--release", &text(&bench.lab.release.dir), "--out", &text(&disk), "--raw"])?;
    let card = OpenOptions::new().read(true).write(true).open(&disk);
    let card = card.with_context(|| format!("opening {}", disk.display()))?;
    let read = |at: u64, into: &mut [u8]| std::os::unix::fs::FileExt::read_exact_at(&card, into, at);
    let found = skerry_sys::gpt::find(card.metadata()?.len() / SECTOR, read);
    let table = found.table().context("reading the image's partition table")?;
    let esp = table.partition(1).context("looking for the image's ESP")?.first * SECTOR;
    card.set_len(CARD).with_context(|| format!("making {} longer", disk.display()))?;
    fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
    let mut copy = bench.lab.tools.program("mcopy")?;
    copy.arg("-i")
        .arg(format!("{}@@{esp}", text(&disk)))
        .arg(&file)
        .arg("::/config.yaml");
    run(&mut copy).context("putting config.yaml onto the ESP")?;
    Ok(disk)
}
