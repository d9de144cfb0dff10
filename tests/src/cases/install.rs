//! The ISO installs onto a disk, by itself and by questions on the serial console; then the disk boots without it.

use super::check::{Checks, Expect};
use super::start::{log_in, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::release::images;
use crate::machine::{Drive, Firmware, Machine, Request, patient};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Memory of a live machine that installs, in MiB.
const MEMORY: u32 = 1024;
/// The disk that is installed onto, in bytes.
const DISK: u64 = 4 << 30;
/// The longest that writing and reading back takes by translation.
const TO_WRITE: Duration = seconds(240);
const INSTALLED: &str = "read back and whole";

pub fn unattended(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let config = format!(
        "hostname: by-itself\nssh_authorized_keys: [{:?}]\nskerry:\n  distribution: none\n  install: {{device: /dev/vda, silent: true, power_off: true}}\n",
        bench.lab.key.public
    );
    let medium = installer(bench, "install-unattended", Some(&config))?;
    let disk = blank(bench, "install-unattended")?;
    let request = Request {
        memory: MEMORY,
        iso: Some((Firmware::Bios, Drive::Cd, medium.clone())),
        disk: Some((Firmware::Bios, disk.clone())),
        ..none_machine("install-unattended", None)
    };
    let mut machine = bench.lab.start(&request)?;
    let written = machine.wait(INSTALLED, TO_WRITE);
    checks
        .that("the console says that it is installed", written)
        .context("installing")?;
    checks.that("and the machine switches itself off", machine.wait_end(seconds(120)));
    let again = Request {
        iso: None,
        ..request.clone()
    };
    let machine = to_login(bench, &again).context("starting from the disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "it runs from slot a",
                "cat /proc/cmdline",
                Expect::Has("skerry.slot=a skerry.why=good"),
            ),
            (
                "its name is the configured one",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("by-itself"),
            ),
            ("the state is on the disk", "cat /run/skerry/storage.json", Expect::Has("/dev/vda7")),
            (
                "the config is on data, closed to others",
                "stat -c %a /skerry/system/config.yaml",
                Expect::Is("600"),
            ),
            (
                "and no longer asks for an installation",
                "grep -c install /skerry/system/config.yaml; true",
                Expect::Is("0"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    fs::remove_file(&medium).with_context(|| format!("removing {}", medium.display()))?;
    fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
}

pub fn wizard(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let medium = installer(bench, "install-wizard", None)?;
    let disk = blank(bench, "install-wizard")?;
    let request = Request {
        memory: 2048,
        iso: Some((Firmware::Uefi, Drive::Cd, medium.clone())),
        disk: Some((Firmware::Uefi, disk.clone())),
        ..none_machine("install-wizard", None)
    };
    let mut machine = bench.lab.start(&request)?;
    let key = bench.lab.key.public.clone();
    let answers = [
        ("Ctrl-C leaves", "vda", "the disk"),
        ("What is this machine to be?", "1", "the role"),
        ("Who may log in by SSH?", key.trim(), "the key"),
        ("One more key", "", "no more keys"),
        ("A password for the consoles", "", "no password"),
        ("The machine's name", "by-answers", "the name"),
        ("To begin, write", "vda", "the confirmation"),
    ];
    let mut mark = 0;
    for (question, answer, what) in answers {
        mark = asked(&mut machine, question, answer, mark).with_context(|| format!("answering: {what}"))?;
    }
    let written = machine.serial.wait_any(&[INSTALLED], mark, TO_WRITE);
    checks
        .that("the console says that it is installed", written)
        .context("installing")?;
    asked(&mut machine, "switches off:", "off", mark).context("switching off")?;
    checks.that("and the machine switches itself off", machine.wait_end(seconds(120)));
    let again = Request {
        iso: None,
        disk: Some((Firmware::Uefi, disk.clone())),
        ..request.clone()
    };
    let mut machine = bench.lab.start(&again).context("starting from the disk")?;
    log_in(bench, &mut machine, 0).context("starting from the disk")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "it runs from slot a",
                "cat /proc/cmdline",
                Expect::Has("skerry.slot=a skerry.why=good"),
            ),
            (
                "its name is the one that was answered",
                "cat /proc/sys/kernel/hostname",
                Expect::Is("by-answers"),
            ),
            ("it is the first of a new cluster", "skerry services", Expect::Has("kube-apiserver")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        machine.cut();
        Ok(())
    })?;
    fs::remove_file(&medium).with_context(|| format!("removing {}", medium.display()))?;
    fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))
}

/// Waits for a question and gives the answer; what comes next is looked for after it.
fn asked(machine: &mut Machine, question: &str, answer: &str, from: usize) -> Result<usize> {
    machine.serial.wait_any(&[question], from, seconds(150))?;
    // A question ends with a colon, on its own line or on a later one.
    let is_asked = |text: &str| {
        text.find(question)
            .and_then(|at| text.get(at..))
            .is_some_and(|rest| rest.ends_with(": "))
    };
    let until = Instant::now() + patient(seconds(30));
    while !is_asked(&machine.serial.text(from)) && Instant::now() < until {
        machine.serial.wait_more(seconds(1));
    }
    let mark = machine.serial.mark();
    machine.type_line(answer)?;
    Ok(mark)
}

fn blank(bench: &Bench, name: &str) -> Result<PathBuf> {
    let path = bench.lab.folder(name)?.join("disk.img");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.set_len(DISK).with_context(|| format!("making {} long", path.display()))?;
    Ok(path)
}

/// The release as an ISO that installs when it is started.
#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
fn installer(bench: &Bench, name: &str, config: Option<&str>) -> Result<PathBuf> {
    let folder = bench.lab.folder(name)?;
    let (iso, file) = (folder.join("skerry.iso"), folder.join("config.yaml"));
    let text = |path: &Path| path.display().to_string();
    let (release, out, at) = (text(&bench.lab.release.dir), text(&iso), text(&file));
    let words = bench.lab.accel.kernel_words();
    let mut arguments = vec!["iso", "--release", &release, "--out", &out, "--mode", "install", "--words", words];
    if let Some(config) = config {
        fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
        arguments.extend(["--config", &at]);
    }
    images(&arguments)?;
    Ok(iso)
}
