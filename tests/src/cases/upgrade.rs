//! A release folder into the other slot by `skerry upgrade`, what is refused, and what looks after a machine: support, reset, rescue.

use super::check::Checks;
use super::disk::flashed;
use super::start::{log_in, none_config, none_machine, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::{Seed, run};
use crate::machine::release::images;
use crate::machine::{Firmware, Request, patient};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the release is mounted in the machine.
const AT: &str = "/run/release";
const SECRET: &str = "console-secret-1234";

pub fn upgrade(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let disk = flashed(
        bench,
        "upgrade",
        &none_config(bench, "hostname: moves\n").replace("none}", &format!("none, password: {SECRET}}}")),
    )?;
    let request = Request {
        disk: Some((Firmware::Bios, disk)),
        more_disks: vec![newer(bench, "upgrade")?],
        restarts: true,
        limit: seconds(1500),
        ..none_machine("upgrade", None)
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let mount = format!("mkdir -p {AT} && mount -o ro /dev/vdb {AT}");
        machine.root(&bench.lab, &mount)?;
        let plan = machine.root_within(&bench.lab, &format!("skerry upgrade --from {AT} --plan"), seconds(120))?;
        checks.has(
            "the plan names the version, the slot and who signed",
            &plan,
            "Skerry 0.2.0 (signed by",
        );
        let flipped = format!(
            "mkdir -p /var/tmp/bad && cp -r {AT}/. /var/tmp/bad && printf x | dd of=/var/tmp/bad/root.img bs=1 seek=5000000 conv=notrunc status=none; \
             skerry upgrade --from /var/tmp/bad; echo \"ended with $?\"; rm -rf /var/tmp/bad; skerry slots"
        );
        let said = machine.ssh(&bench.lab)?.root(&flipped, seconds(180))?;
        checks.has("a flipped bit is refused", &said.out, "ended with 3");
        checks.has("and the message says which check", &said.err, "root.img");
        checks.has("before anything is written", &said.out, "b     -             empty");
        let mark = machine.serial.mark();
        let limit = patient(seconds(100)).as_secs();
        let upgrade = format!("skerry upgrade --from {AT} --soak 5 --health-limit {limit} --reboot");
        let said = machine.root_within(&bench.lab, &upgrade, seconds(240))?;
        checks.has("it says what comes", &said, "Skerry 0.2.0 is in slot b");
        let proven = machine
            .serial
            .wait_line("has proven itself and is the good one now", mark, seconds(300));
        checks.that("the new release proves itself", proven).context("upgrading")?;
        log_in(bench, machine, mark)?;
        let slots = machine.root(&bench.lab, "skerry slots")?;
        checks.has("slots names the new version", &slots, "b*    0.2.0         good ");
        checks.has("and the old one", &slots, "a     0.1.0         spare");

        machine.root(&bench.lab, &mount)?;
        let status = machine.root_within(&bench.lab, &format!("skerry bootloader status --from {AT}"), seconds(120))?;
        for part in ["BIOS: core image", "UEFI: /EFI/BOOT/BOOTX64.EFI", "/boot/grub/grub.cfg"] {
            let line = status.lines().find(|l| l.contains(part)).unwrap_or_default();
            checks.has(&format!("{part} is another one"), line, "other than in 0.2.0");
        }
        let said = machine.root_within(&bench.lab, &format!("skerry bootloader update --from {AT}"), seconds(180))?;
        checks.has(
            "a newer boot loader is written",
            &said,
            "boots by the boot loader of 0.2.0 from the next restart on",
        );
        let status = machine.root_within(&bench.lab, &format!("skerry bootloader status --from {AT}"), seconds(120))?;
        let is_there = status.contains("as in 0.2.0") && !status.contains("other than in");
        checks.is("all of it is there then", is_there, &status);

        let packed = machine.root_within(
            &bench.lab,
            "f=$(skerry support 2>/dev/null) && mkdir -p /var/tmp/s && tar -xzf $f -C /var/tmp/s && cd /var/tmp/s/* && ls && \
             grep -c . slots.json && grep -r -l console-secret . | wc -l",
            seconds(200),
        )?;
        checks.has("support gathers states and logs", &packed, "status.json");
        checks.is("and no secret", packed.lines().last() == Some("0"), &packed);

        let mark = machine.serial.mark();
        machine.root(&bench.lab, "echo x > /root/note; sync; skerry reset --yes --reboot")?;
        machine.forget_login();
        machine
            .serial
            .wait_line("the machine is reset", mark, seconds(200))
            .context("resetting")?;
        log_in(bench, machine, mark)?;
        checks.has(
            "the newer boot loader boots the machine",
            &machine.serial.text(mark),
            "Skerry: slot b (good)",
        );
        checks.that("a reset forgets what was kept", machine.root(&bench.lab, "! test -e /root/note"));
        let name = machine.root(&bench.lab, "cat /proc/sys/kernel/hostname; skerry slots")?;
        checks.has("the ESP's config counts as at the first start", &name, "moves");
        checks.has("and the slots stay", &name, "b*    0.2.0         good ");

        let mark = machine.serial.mark();
        machine.root(&bench.lab, "skerry reboot")?;
        machine.forget_login();
        machine.serial.wait_any(&["press Esc for the menu"], mark, seconds(120))?;
        machine.type_bytes(b"\x1b")?;
        machine
            .serial
            .wait_any(&["Rescue shell"], mark, seconds(60))
            .context("waiting for GRUB's menu")?;
        machine.type_bytes(b"r")?;
        machine
            .serial
            .wait_any(&["Rescue: a shell"], mark, seconds(120))
            .context("waiting for the rescue boot")?;
        machine
            .serial
            .wait_any(&["# "], mark, seconds(60))
            .context("waiting for the rescue shell")?;
        machine.type_line("echo res$((40+2))cue; id -u")?;
        let shell = machine.serial.wait_any(&["res42cue"], mark, seconds(60));
        checks.that("GRUB's menu leads to a rescue shell on the serial console", shell);
        machine.cut();
        Ok(())
    })
}

/// The release once more, as version 0.2.0 and signed, on a disk.
fn newer(bench: &Bench, name: &str) -> Result<PathBuf> {
    let folder = bench.lab.folder(name)?;
    let release = folder.join("release");
    let text = |path: &Path| path.display().to_string();
    let _ = std::fs::remove_dir_all(&release); // of a run before
    run(Command::new("cp")
        .arg("-r")
        .arg("--reflink=auto")
        .arg(&bench.lab.release.dir)
        .arg(&release))
    .context("copying the release")?;
    // A boot loader that differs, and boots all the same: what follows on GRUB's images is not looked at.
    for (file, more) in [("core.img", &[0; 512][..]), ("BOOTX64.EFI", &[0; 512]), ("grub.cfg", b"# newer\n")] {
        let path = release.join("boot").join(file);
        let mut whole = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        whole.extend(more);
        #[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
        std::fs::write(&path, whole).with_context(|| format!("writing {}", path.display()))?;
    }
    images(&["sign", &text(&release), "--version", "0.2.0"])?;
    let mut seed = Seed::default();
    for file in [
        "manifest.json",
        "manifest.json.minisig",
        "vmlinuz",
        "initrd.img",
        "root.img",
        "sbom.spdx.json",
        "boot/mbr.img",
        "boot/core.img",
        "boot/BOOTX64.EFI",
        "boot/grub.cfg",
    ] {
        seed = seed.copy(file, release.join(file));
    }
    let disk = folder.join("release.img");
    seed.make(&bench.lab.tools, &disk, 400)?;
    std::fs::remove_dir_all(&release).with_context(|| format!("removing {}", release.display()))?;
    Ok(disk)
}
