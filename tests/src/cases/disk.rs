//! The disk image to flash, with a `config.yaml` put onto its ESP: firmware, GRUB, kernel, login, and data grown to the disk's end.

use super::check::{Checks, Expect};
use super::start::{node_config, node_machine, none_config, none_machine, switch_off, to_login, to_ready};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::run;
use crate::machine::{Firmware, Request};
use anyhow::{Context, Result};
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As long as a small card, so that data has much to grow.
const CARD: u64 = 4 << 30;
const SECTOR: u64 = 512;
/// So much of a data partition is damaged, in bytes: superblock, group descriptors, journal's head.
const DAMAGE: u32 = 16 << 20;

pub fn bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "disk-bios", Firmware::Bios)
}

pub fn uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "disk-uefi", Firmware::Uefi)
}

/// Bytes that can be swapped out: all of the file but its first page.
const SWAP: &str = "swapon --show=SIZE --bytes --noheadings";
/// The console's password, which is on the ESP until it is sealed.
const SECRET: &str = "hush-hush-hush-42";

/// With Kubernetes: the flashed disk comes to a node that is Ready, twice.
pub fn ready(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let name = "disk-ready-bios";
    let disk = flashed(bench, name, &node_config(bench, "hostname: from-the-esp\n"))?;
    let request = Request {
        disk: Some((Firmware::Bios, disk.clone())),
        ..node_machine(name, None)
    };
    let (machine, _) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "it runs from slot a",
                "cat /proc/cmdline",
                Expect::Has("skerry.slot=a skerry.why=good"),
            ),
            ("the state is on the disk", "cat /run/skerry/storage.json", Expect::Has("/dev/vda7")),
            (
                "the node is Ready",
                "kubectl get node from-the-esp --no-headers",
                Expect::Has(" Ready "),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    let (mut machine, _) = to_ready(bench, &request).context("starting it again")?;
    machine.cut();
    fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
}

fn to_a_login(bench: &Bench, checks: &mut Checks, name: &str, firmware: Firmware) -> Result<()> {
    let config = none_config(bench, "hostname: from-the-esp\n").replace("none}", &format!("none, swap: 64MiB, password: {SECRET}}}"));
    let disk = flashed(bench, name, &config)?;
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
            ("there is swap", SWAP, Expect::Is("67104768")),
            (
                "data has grown by more than a gigabyte",
                "test $(df -k --output=size /skerry | tail -1) -gt 1200000",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        let sealed = machine.root(&bench.lab, "skerry config seal")?;
        checks.has(
            "the ESP's secret is sealed",
            &sealed,
            "esp:/config.yaml: 1 secrets are on data only now",
        );
        switch_off(bench, machine)
    })?;
    let (card, esp) = partition(&disk, 1)?;
    let mut bytes = vec![0; usize::try_from(esp.end - esp.start)?];
    card.read_exact_at(&mut bytes, esp.start).context("reading the ESP")?;
    let is_there = bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
    checks.is("its bytes are nowhere on the ESP", !is_there, SECRET);
    let machine = to_login(bench, &request).context("starting it again")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let console = machine.serial.text(0);
        checks.is("what has grown is left alone", !console.contains("data grew"), &console);
        let probes = [
            ("the swap is used again", SWAP, Expect::Is("67104768")),
            (
                "the sealed password counts",
                "sudo grep -c '^skerry:[$]' /etc/shadow",
                Expect::Is("1"),
            ),
            (
                "and nothing is wrong with the config",
                "skerry status",
                Expect::Lacks("sealed by another"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        machine.cut();
        fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
    })
}

/// Two disks that both carry Skerry: everything comes from the one that was booted; of two that are the same, neither.
pub fn two_disks(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let disk = flashed(bench, "two-disks", &none_config(bench, "hostname: the-booted-one\n"))?;
    let other = disk.with_extension("other");
    run(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&other)).context("copying the disk")?;
    let request = Request {
        disk: Some((Firmware::Bios, disk.clone())),
        ..none_machine("two-disks", None)
    };
    // Its first start makes its GUIDs its own.
    let mut machine = to_login(bench, &request)?;
    switch_off(bench, &mut machine)?;
    drop(machine);
    let beside = |more: &Path| Request {
        more_disks: vec![more.to_owned()],
        ..request.clone()
    };
    let machine = to_login(bench, &beside(&other)).context("starting beside a flashed disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the other disk is there", "ls /dev/vdb4", Expect::Success),
            ("the root is on the booted disk", "ls /sys/block/dm-0/slaves", Expect::Is("vda4")),
            ("and so is the state", "cat /run/skerry/storage.json", Expect::Has("/dev/vda7")),
            ("nothing of the other is mounted", "grep -c vdb /proc/mounts; true", Expect::Is("0")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    run(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&other)).context("copying the disk")?;
    let mut machine = bench.lab.start(&beside(&other)).context("starting beside a copy of itself")?;
    let said = machine.wait("one disk is a copy of the other", seconds(120));
    checks.that("of two disks that are the same neither is taken, and both are named", said);
    machine.cut();
    for path in [&disk, &other] {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// A data partition that is no file system any more: a login by the key on the ESP, and nothing is formatted.
pub fn data_damaged(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let disk = flashed(bench, "data-damaged", &none_config(bench, "hostname: still-here\n"))?;
    let (card, data) = partition(&disk, 7)?;
    let noise: Vec<u8> = (0..DAMAGE).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    card.write_all_at(&noise, data.start).context("damaging the data partition")?;
    let request = Request {
        disk: Some((Firmware::Bios, disk.clone())),
        ..none_machine("data-damaged", None)
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the ESP's config counts", "cat /proc/sys/kernel/hostname", Expect::Is("still-here")),
            (
                "the report says what is wrong",
                "cat /run/skerry/storage.json",
                Expect::Has("degraded"),
            ),
            ("skerry status says it", "skerry status", Expect::Has("degraded")),
            ("the state is in memory", "findmnt -no FSTYPE /skerry", Expect::Is("tmpfs")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    let mut after = vec![0; noise.len()];
    card.read_exact_at(&mut after, data.start).context("reading the data partition")?;
    checks.is("nothing was written to it", after == noise, "its first bytes are others");
    fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
}

/// A disk's file, and which of its bytes a partition has.
pub(super) fn partition(disk: &Path, number: u32) -> Result<(File, Range<u64>)> {
    let card = OpenOptions::new().read(true).write(true).open(disk);
    let card = card.with_context(|| format!("opening {}", disk.display()))?;
    let read = |at: u64, into: &mut [u8]| card.read_exact_at(into, at);
    let found = skerry_sys::gpt::find(card.metadata()?.len() / SECTOR, read);
    let table = found.table().context("reading the disk's partition table")?;
    let place = table.partition(number).with_context(|| format!("looking for partition {number}"))?;
    let bytes = place.first * SECTOR..(place.first + place.sectors()) * SECTOR;
    Ok((card, bytes))
}

/// A card with the image of the release on it, and this `config.yaml`.
pub(crate) fn flashed(bench: &Bench, name: &str, config: &str) -> Result<PathBuf> {
    flashed_with(bench, &bench.lab.release.dir, name, config)
}

/// The same with another release.
#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
pub(super) fn flashed_with(bench: &Bench, release: &Path, name: &str, config: &str) -> Result<PathBuf> {
    let folder = bench.lab.folder(name)?;
    let (disk, file) = (folder.join("disk.img"), folder.join("config.yaml"));
    let text = |path: &Path| path.display().to_string();
    crate::machine::release::images(&["disk", "--release", &text(release), "--out", &text(&disk), "--raw"])?;
    let (card, esp) = partition(&disk, 1)?;
    let (_, boot) = partition(&disk, 3)?;
    card.set_len(CARD).with_context(|| format!("making {} longer", disk.display()))?;
    fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
    let mcopy = |arguments: &[&str]| -> Result<()> {
        let mut copy = bench.lab.tools.program("mcopy")?;
        run(copy.args(arguments)).map(drop)
    };
    mcopy(&["-i", &format!("{}@@{}", text(&disk), esp.start), &text(&file), "::/config.yaml"])
        .context("putting config.yaml onto the ESP")?;
    steady(bench, &disk, boot.start)?;
    Ok(disk)
}

/// What a machine by translation needs to be quick and steady, into the boot slot at byte `at`: a release's own words are for real ones.
#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
pub(super) fn steady(bench: &Bench, disk: &Path, at: u64) -> Result<()> {
    let (slot_cfg, boot) = (disk.with_file_name("slot.cfg"), format!("{}@@{at}", disk.display()));
    let mcopy = |arguments: &[&str]| -> Result<()> {
        let mut copy = bench.lab.tools.program("mcopy")?;
        run(copy.args(arguments)).map(drop)
    };
    let file = slot_cfg.display().to_string();
    mcopy(&["-n", "-o", "-i", &boot, "::/slot.cfg", &file]).context("taking slot.cfg from the image")?;
    let words = fs::read_to_string(&slot_cfg).with_context(|| format!("reading {file}"))?;
    let words = words.replacen(" $skerry_args", &format!("{} $skerry_args", bench.lab.accel.kernel_words()), 1);
    fs::write(&slot_cfg, words).with_context(|| format!("writing {file}"))?;
    mcopy(&["-o", "-i", &boot, &file, "::/slot.cfg"]).context("putting slot.cfg back")
}
