//! Does the real GRUB do what the model in `slots` says? One machine is started over and over, each time with another boot state.
//!
//! The kernel in the slots is a stub that tells its command line and stays; then the sectors are read and compared.

pub mod disk;
pub mod states;
mod stub;

use super::Bench;
use super::check::Checks;
pub use crate::machine::Firmware;
use crate::machine::qmp::Qmp;
use crate::machine::serial::Serial;
use crate::machine::tools::Tools;
use anyhow::{Context, Result, bail};
use disk::{Content, Disk, END, FROM_ESP};
use serde_json::json;
use skerry_slots::grub::{self, Medium};
use skerry_slots::pair::{Env, Pair};
use skerry_slots::state::Slot;
use skerry_slots::why::Why;
use states::{Keys, Start};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// What was compared.
#[derive(Debug, Default)]
pub struct Report {
    /// How many starts were as the model says.
    pub held: usize,
    /// Those that were not, and how.
    pub failed: Vec<String>,
}

/// What GRUB did.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    started: Option<(Slot, Why)>,
    pair: Pair,
    is_rescue: bool,
}

const CHOICE: Duration = Duration::from_secs(60);
const PROMPT: &str = "press Esc for the menu";
const NEITHER: &str = "neither slot can be read";

/// Makes the boot loader of this checkout below `folder`; gives its folder.
pub fn make_loader(folder: &Path) -> Result<PathBuf> {
    let out = folder.display().to_string();
    crate::machine::release::images(&["grub", "--out", &out])?;
    Ok(folder.join("boot"))
}

/// How many starts were thought of; more are mixes.
const THOUGHT_OF: usize = 52;

/// All starts on BIOS.
pub fn bios(bench: &Bench, checks: &mut Checks) -> Result<()> {
    as_the_model_says(bench, checks, Firmware::Bios, &states::starts(THOUGHT_OF))
}

/// Every second one on UEFI, which is slower.
pub fn uefi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let starts: Vec<Start> = states::starts(THOUGHT_OF).into_iter().step_by(2).collect();
    as_the_model_says(bench, checks, Firmware::Uefi, &starts)
}

/// As many mixes again, on both.
pub fn mixes(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let starts = states::starts(THOUGHT_OF + 200);
    let starts = starts.get(THOUGHT_OF..).unwrap_or_default();
    as_the_model_says(bench, checks, Firmware::Bios, starts)?;
    as_the_model_says(bench, checks, Firmware::Uefi, starts)
}

/// Each start with the release's boot loader is an assertion.
fn as_the_model_says(bench: &Bench, checks: &mut Checks, firmware: Firmware, starts: &[Start]) -> Result<()> {
    let lab = &bench.lab;
    let folder = lab.folder(&format!("grub-{firmware:?}").to_lowercase())?;
    let boot = lab.release.dir.join("boot");
    let report = walk(&lab.tools, firmware, &boot, &folder, starts, &mut |_| ())?;
    checks.held += report.held;
    checks.failed.extend(report.failed);
    Ok(())
}

/// Runs all `starts`, with the boot loader of the folder `boot`; `folder` is for disks and console logs.
pub fn walk(tools: &Tools, firmware: Firmware, boot: &Path, folder: &Path, starts: &[Start], tell: &mut dyn FnMut(&str)) -> Result<Report> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut report = Report::default();
    for is_writable in [[true, true], [false, false], [true, false], [false, true]] {
        let these: Vec<&Start> = starts.iter().filter(|s| s.is_writable == is_writable).collect();
        if these.is_empty() {
            continue;
        }
        let [zero, one] = is_writable.map(|is| if is { "w" } else { "r" });
        let name = format!("{firmware:?}-{zero}{one}").to_lowercase();
        let disk = Disk::make(tools, boot, &folder.join(format!("{name}.img")))?;
        let mut machine: Option<Stand> = None;
        for start in these {
            prepare(&disk, start)?;
            let machine = match &mut machine {
                Some(machine) => {
                    machine.reset()?;
                    machine
                }
                none => none.insert(Stand::start(tools, firmware, &disk, is_writable, &folder.join(&name))?),
            };
            let seen = machine.see(&disk, start);
            match seen.and_then(|seen| compare(start, &seen).map(|()| seen)) {
                Ok(seen) => {
                    report.held += 1;
                    tell(&format!("{name}: {} → {}", start.what, shown(seen.started)));
                }
                Err(e) => {
                    tell(&format!("{name}: {} → DIFFERS: {e:#}", start.what));
                    report.failed.push(format!("{name}: {}: {e:#}", start.what));
                }
            }
        }
    }
    Ok(report)
}

fn shown(started: Option<(Slot, Why)>) -> String {
    started.map_or_else(|| "nothing".to_owned(), |(slot, why)| format!("{slot} ({why})"))
}

fn prepare(disk: &Disk, start: &Start) -> Result<()> {
    disk.set_pair(&start.pair)?;
    disk.set_config(start.is_config_whole)?;
    Slot::ALL
        .into_iter()
        .zip(start.slots)
        .try_for_each(|(slot, content)| disk.set_slot(slot, content))
}

/// The model's word against the machine's.
fn compare(start: &Start, seen: &Seen) -> Result<()> {
    let medium = Medium {
        is_writable: start.is_writable,
        is_bootable: start.slots.map(|content| content == Content::Whole),
    };
    let (chosen, is_rescue) = match start.keys {
        Keys::Menu { slot, key, .. } => (slot, key == 'r'),
        Keys::None => (None, false),
    };
    let boot = grub::boot(&start.pair, medium, chosen);
    let mut pair = start.pair;
    for write in boot.writes.iter() {
        *pair.get_mut(write.env) = write.sector;
    }
    if boot.started != seen.started {
        bail!("the model starts {}, GRUB {}", shown(boot.started), shown(seen.started));
    }
    for env in Env::ALL {
        if pair.get(env) != seen.pair.get(env) {
            let text = |pair: &Pair| String::from_utf8_lossy(pair.get(env)).trim_end_matches('#').to_owned();
            bail!("{}: the model has {:?}, GRUB {:?}", env.name(), text(&pair), text(&seen.pair));
        }
    }
    if is_rescue != seen.is_rescue {
        bail!("the rescue word: {}", seen.is_rescue);
    }
    Ok(())
}

/// The machine: one processor, one disk, a screen, a serial line.
struct Stand {
    serial: Serial,
    qmp: Qmp,
    keyboard: UnixStream,
    child: Child,
    /// Where the console was when GRUB was last started.
    from: usize,
}

impl Stand {
    fn start(tools: &Tools, firmware: Firmware, disk: &Disk, is_writable: [bool; 2], name: &Path) -> Result<Self> {
        let (console, qemu_console) = UnixStream::pair().context("making a console line")?;
        let (control, qemu_control) = UnixStream::pair().context("making a control line")?;
        let mut command = tools.qemu()?;
        let accel = if std::env::var("SKERRY_ACCEL").as_deref() == Ok("kvm") {
            "kvm"
        } else {
            "tcg"
        };
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,sata=off"]);
        command.args(["-accel", accel, "-smp", "1", "-m", "256", "-device", "VGA"]);
        command.args(["-chardev", "socket,id=control,fd=0", "-mon", "chardev=control,mode=control"]);
        command.args(["-chardev", "socket,id=console,fd=1", "-serial", "chardev:console"]);
        if firmware == Firmware::Uefi {
            tools.uefi(&mut command, &name.with_extension("vars"))?;
        }
        command.arg("-blockdev").arg(block_device(disk, is_writable)?.to_string());
        command.args(["-device", "virtio-blk-pci,drive=disk,bootindex=0,werror=report"]);
        let mut command = tools.bound(&command);
        let log = name.with_extension("qemu.log");
        command.stdin(OwnedFd::from(qemu_control)).stdout(OwnedFd::from(qemu_console));
        command.stderr(File::create(&log).with_context(|| format!("creating {}", log.display()))?);
        let child = command.spawn().context("starting QEMU")?;
        drop(command); // and with it our copies of QEMU's ends
        let keyboard = console.try_clone().context("copying the console line")?;
        let serial = Serial::read(console, &name.with_extension("serial.log"), Instant::now())?;
        let said = || format!("starting QEMU: {}", std::fs::read_to_string(&log).unwrap_or_default().trim());
        let qmp = Qmp::open(control).with_context(said)?;
        Ok(Self {
            serial,
            qmp,
            keyboard,
            child,
            from: 0,
        })
    }

    fn reset(&mut self) -> Result<()> {
        self.from = self.serial.mark();
        self.qmp.run("system_reset", &json!({})).map(drop)
    }

    fn see(&mut self, disk: &Disk, start: &Start) -> Result<Seen> {
        // What is before this is of the start before: a console that shows everything twice may be late.
        self.from = self.serial.wait_any(&[PROMPT], self.from, CHOICE)?.end;
        if let Keys::Menu { key, on_screen, .. } = start.keys {
            self.press(None, on_screen)?;
            self.serial.wait_any(&["Power off"], self.from, CHOICE)?;
            self.press(Some(key), on_screen)?;
        }
        let found = self.serial.wait_any(&[END, NEITHER], self.from, CHOICE)?;
        let pair = disk.pair()?;
        if found.which == 1 {
            return Ok(Seen {
                started: None,
                pair,
                is_rescue: false,
            });
        }
        let said = self.serial.text(self.from);
        let words = words(&said);
        let word = |name: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(name))
                .with_context(|| format!("looking for {name} in {words:?}"))
        };
        let slot = Slot::parse(word("skerry.slot=")?).context("reading the slot")?;
        let why = Why::parse(word("skerry.why=")?).context("reading the reason")?;
        let uuid = word("skerry.boot=PARTUUID=")?;
        if said.contains(FROM_ESP) != start.is_config_whole {
            bail!("grub.cfg of the ESP was used: {}", !start.is_config_whole);
        }
        if uuid != disk.uuid(slot) {
            bail!("the boot slot's PARTUUID is {}, GRUB says {uuid}", disk.uuid(slot));
        }
        Ok(Seen {
            started: Some((slot, why)),
            pair,
            is_rescue: words.contains(&"skerry.rescue"),
        })
    }

    /// Presses a key, or Esc.
    fn press(&mut self, key: Option<char>, on_screen: bool) -> Result<()> {
        if on_screen {
            let name = key.map_or_else(|| "esc".to_owned(), String::from);
            let keys = json!({ "keys": [{ "type": "qcode", "data": name }] });
            return self.qmp.run("send-key", &keys).map(drop);
        }
        let byte = key.map_or(0x1b, |key| u8::try_from(key).unwrap_or(b'?'));
        // Firmware that shares the line takes a single Esc for the beginning of a longer key, for two seconds.
        let bytes = if byte == 0x1b { vec![byte; 2] } else { vec![byte] };
        self.keyboard.write_all(&bytes).context("typing at the console")
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// The words of the command line that the stub printed.
fn words(said: &str) -> Vec<&str> {
    let line = said.rsplit_once("BOOT_IMAGE=").map_or("", |(_, line)| line);
    line.split_once(END).map_or("", |(line, _)| line).split_whitespace().collect()
}

fn block_device(disk: &Disk, is_writable: [bool; 2]) -> Result<serde_json::Value> {
    let file = json!({ "driver": "file", "filename": disk.path, "locking": "off" });
    if let [true, true] | [false, false] = is_writable {
        let read_only = is_writable == [false, false];
        return Ok(json!({ "driver": "raw", "node-name": "disk", "read-only": read_only, "file": file }));
    }
    let mut errors = vec![];
    for (env, _) in Env::ALL.into_iter().zip(is_writable).filter(|(_, takes)| !takes) {
        errors.push(json!({ "event": "none", "iotype": "write", "errno": 5, "sector": disk.place(env)?, "once": false }));
    }
    Ok(json!({ "driver": "raw", "node-name": "disk", "file": { "driver": "blkdebug", "image": file, "inject-error": errors } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let said = "x\x1b[0mSkerry: slot b\r\nBOOT_IMAGE=(hd0,gpt3)/vmlinuz skerry.slot=b skerry.why=good <<end>>";
        assert_eq!(words(said), ["(hd0,gpt3)/vmlinuz", "skerry.slot=b", "skerry.why=good"]);
    }

    #[test]
    fn starts_are_as_many_as_asked_for() {
        assert_eq!(states::starts(24).len(), 24);
        let mixes = states::starts(THOUGHT_OF + 1).into_iter().filter(|s| s.what == "a mix").count();
        assert_eq!(mixes, 1, "THOUGHT_OF is out of date");
        assert_eq!(states::starts(200).len(), 200);
    }
}
