//! The disk image with the full kernel, on the buses and with the network cards of real machines; and the agent of a virtual one.

use super::check::{Checks, Expect};
use super::disk::flashed_with;
use super::start::{none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::{Bus, Firmware, Request};
use anyhow::{Context, Result};
use std::fs;

pub fn virtio_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-virtio-bios", Firmware::Bios, Bus::Virtio)
}

pub fn virtio_uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-virtio-uefi", Firmware::Uefi, Bus::Virtio)
}

pub fn sata_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-sata-bios", Firmware::Bios, Bus::Sata)
}

pub fn sata_uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-sata-uefi", Firmware::Uefi, Bus::Sata)
}

pub fn nvme_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-nvme-bios", Firmware::Bios, Bus::Nvme)
}

pub fn nvme_uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-nvme-uefi", Firmware::Uefi, Bus::Nvme)
}

pub fn usb_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-usb-bios", Firmware::Bios, Bus::Usb)
}

pub fn usb_uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-usb-uefi", Firmware::Uefi, Bus::Usb)
}

pub fn uas_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-uas-bios", Firmware::Bios, Bus::Uas)
}

pub fn sd_bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    to_a_login(bench, checks, "full-sd-bios", Firmware::Bios, Bus::Sd)
}

/// What a bus is to give: the disk's name, a part of its path below `/sys`, and the network card that is tried with it.
fn expected(bus: Bus) -> (&'static str, &'static str, &'static str) {
    match bus {
        Bus::Virtio => ("vda", "/virtio", "virtio-net-pci"),
        Bus::Sata => ("sda", "/ata", "e1000e"),
        Bus::Nvme => ("nvme0n1", "/nvme/", "igb"),
        Bus::Usb => ("sda", "/usb", "vmxnet3"),
        Bus::Uas => ("sda", "/usb", "e1000"),
        Bus::Sd => ("mmcblk0", "/mmc_host/", "rtl8139"),
    }
}

fn to_a_login(bench: &Bench, checks: &mut Checks, name: &str, firmware: Firmware, bus: Bus) -> Result<()> {
    let release = match bench.full() {
        Ok(release) => release,
        Err(why) => {
            checks.skipped = Some(why);
            return Ok(());
        }
    };
    let disk = flashed_with(bench, release, name, &none_config(bench, "hostname: from-the-esp\n"))?;
    let (device, path, nic) = expected(bus);
    let data = if device.ends_with(|c: char| c.is_ascii_digit()) {
        "p7"
    } else {
        "7"
    };
    let data = format!("/dev/{device}{data}");
    let request = Request {
        disk: Some((firmware, disk.clone())),
        bus,
        nic,
        ..none_machine(name, None)
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let place = format!("readlink -f /sys/block/{device}");
        let mut probes = vec![
            ("the kernel is the full one", "uname -r", Expect::Lacks("cloud")),
            ("slot a is good", "cat /proc/cmdline", Expect::Has("skerry.slot=a skerry.why=good")),
            ("the disk hangs on its bus", place.as_str(), Expect::Has(path)),
            ("the state is on it", "cat /run/skerry/storage.json", Expect::Has(&data)),
            (
                "nothing went wrong with it",
                "cat /run/skerry/storage.json",
                Expect::Has("\"problems\": []"),
            ),
            (
                "data has grown by more than a gigabyte",
                "test $(df -k --output=size /skerry | tail -1) -gt 1000000",
                Expect::Success,
            ),
            (
                "the ESP's config counts",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("from-the-esp"),
            ),
            (
                "the most common network chip of small PCs finds its firmware",
                "modinfo -F firmware r8169 | while read f; do test -e /usr/lib/firmware/$f && echo $f; done | wc -l | \
                 awk '{print ($1 > 10) ? \"many\" : $1}'",
                Expect::Is("many"),
            ),
            (
                "no driver looked for firmware that is not there",
                "dmesg | grep -i 'direct firmware load' | grep -v regulatory",
                Expect::Is(""),
            ),
        ];
        if bus == Bus::Usb {
            probes.push((
                "a keyboard on USB has its driver",
                "ls /sys/bus/hid/drivers/hid-generic",
                Expect::Has("0003:"),
            ));
        }
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)?;
        fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
    })
}

/// The agent answers, knows the addresses, and ends the machine. Without a port there is none.
pub fn guest_agent(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let name = "guest-agent";
    let data = bench.lab.data_disk(
        name,
        &crate::machine::disk::Seed::config(none_config(bench, "")),
        super::start::NONE_DISK,
    )?;
    let request = Request {
        agent: true,
        ..none_machine(name, Some(&data))
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        // What is said before the agent has opened its port is lost.
        let _ = machine.qmp.wait_event("VSERPORT_CHANGE", crate::machine::patient(seconds(60)))?;
        let answer = machine.agent("guest-ping", seconds(60))?;
        checks.has("the agent answers", &answer, "\"return\"");
        let answer = machine.agent("guest-network-get-interfaces", seconds(30))?;
        checks.has("it knows the addresses", &answer, &format!("{}.15", request.network));
        let probes = [
            (
                "it runs in its own group",
                "cat /proc/$(pidof qemu-ga)/cgroup",
                Expect::Has("/system/guest-agent"),
            ),
            ("nothing is wrong", "skerry status", Expect::Lacks("failed")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        let _ = machine.agent("guest-shutdown", seconds(5)); // it ends before it answers
        machine.wait_end(seconds(120)).context("switching off by the agent")
    })
}
