//! The power goes while the disk is changed: what a real machine boots then, beside what the model of it says.
//!
//! A disk goes through its life by the system's own code: growth at first boot, an upgrade, GRUB's count of its tries, its proof, a
//! rollback, an installation that keeps the data. Each write is remembered ([`crate::tape`]); the disk is made again as cuts at chosen
//! writes leave it, firmware boots it, and what the machine writes then is forgotten. It boots until its verified root is mounted, or,
//! where that was seen before and neither the table nor the slot has changed since, until the kernel says which slot it came from.

use super::check::Checks;
use super::disk::{flashed, steady};
use super::start::{none_config, none_machine};
use super::{Bench, seconds};
use crate::machine::{Firmware, Request};
use crate::tape::{Tape, interesting, thin};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use skerry_installer::content::Digest;
use skerry_installer::device::{Device, table};
use skerry_installer::layout::{Arch, Ids, Layout, MIB, Part};
use skerry_installer::perform::{Options, perform};
use skerry_installer::plan::{again, boot_state};
use skerry_installer::release::Release;
use skerry_installer::{device::Disk, grow};
use skerry_slots::grub::{self, Medium};
use skerry_slots::pair::{Env, Pair, Writes};
use skerry_slots::partition::PLACES;
use skerry_slots::rules;
use skerry_slots::state::{Slot, State, Tries};
use skerry_slots::why::Why;
use skerry_upgrade::stage;
use skerry_upgrade::trust::{self, Told};
use std::path::{Path, PathBuf};

/// The kernel's words once the root's device, which checks every read, was mounted.
const ROOT_IS_MOUNTED: &str = "erofs: (device dm-0): mounted with root inode";
/// The kernel's words once it runs.
const KERNEL_RUNS: &str = "Kernel command line:";
const WITHIN: std::time::Duration = seconds(90);
/// Every so many cuts one is booted by BIOS, the others by UEFI: translated, GRUB reads a kernel through a BIOS four times as long.
const BIOS_EVERY: usize = 5;

const GROWTH: &str = "growth";
/// How many cuts of each path: growth, upgrade, GRUB's count, mark-good, rollback, installation.
const FEW: [usize; 6] = [8, 12, 4, 4, 4, 8];

pub fn few(bench: &Bench, checks: &mut Checks) -> Result<()> {
    // `N=2`: the first and the last of each.
    let most = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    Life::begin(bench, "cuts")?.walk(bench, checks, FEW.map(|few| few.min(most)))
}

pub fn many(bench: &Bench, checks: &mut Checks) -> Result<()> {
    Life::begin(bench, "cuts-many")?.walk(bench, checks, [40; 6])
}

/// A flashed disk, and the next release for it.
struct Life {
    name: &'static str,
    disk: PathBuf,
    release: PathBuf,
    booted: usize,
    to_root: usize,
}

/// What the machine is to say: by the model of GRUB, over the sectors that are on the disk.
pub(super) fn expected(disk: &dyn Device) -> Result<(Slot, Why)> {
    let layout = layout_of(disk)?;
    let pair = boot_state(&layout, disk)?;
    // A boot partition's first sector is wiped first and comes back last: without it there is no file system.
    let is_bootable = Slot::ALL.map(|slot| {
        let [boot, _] = skerry_upgrade::machine::parts(slot);
        let mut sector = [0; 512];
        let read = layout.place(boot).map(|place| disk.read_at(place.at, &mut sector));
        matches!(read, Some(Ok(()))) && sector.ends_with(&[0x55, 0xAA])
    });
    let medium = Medium {
        is_writable: [true; 2],
        is_bootable,
    };
    grub::boot(&pair, medium, None).started.context("asking the model: nothing boots")
}

pub(super) fn layout_of(disk: &dyn Device) -> Result<Layout> {
    let found = table(disk);
    let table = found.table().context("reading the partition table: neither copy is valid")?;
    Layout::of(table, Arch::this()).context("reading the partition table: it is not Skerry's")
}

impl Life {
    fn begin(bench: &Bench, name: &'static str) -> Result<Self> {
        let disk = flashed(bench, name, &none_config(bench, ""))?;
        let release = next_release(&bench.lab.release.dir, &bench.lab.folder(name)?.join("next"))?;
        Ok(Self {
            name,
            disk,
            release,
            booted: 0,
            to_root: 0,
        })
    }

    fn walk(&mut self, bench: &Bench, checks: &mut Checks, most: [usize; 6]) -> Result<()> {
        let [growth, upgrade, count, proof, back, installation] = most;
        self.path(bench, checks, GROWTH, growth, &|tape, _| grow_table(tape))?;
        self.path(bench, checks, "upgrade", upgrade, &upgrade_to)?;
        let layout = layout_of(&Disk::open_to_read(&self.disk).with_context(|| format!("opening {}", self.disk.display()))?)?;
        steady(bench, &self.disk, layout.place(Part::BootB).context("looking for slot b")?.at)?;
        self.path(bench, checks, "GRUB's count", count, &|tape, _| count_a_try(tape))?;
        self.path(bench, checks, "mark-good", proof, &|tape, _| {
            act(tape, |pair| Ok(rules::mark_good(pair, Slot::B)))
        })?;
        self.path(bench, checks, "rollback", back, &|tape, _| {
            act(tape, |pair| Ok(rules::roll_back(pair, Slot::B, true)?))
        })?;
        // Nothing of what is written next may be there already: slot b is good, and a is lost.
        lose_slot_a(&self.disk)?;
        self.path(bench, checks, "installation", installation, &install_again)?;
        eprintln!(
            "{}: {} cuts booted, {} of them to the verified root",
            self.name, self.booted, self.to_root
        );
        std::fs::remove_file(&self.disk).with_context(|| format!("removing {}", self.disk.display()))
    }

    /// Records what `change` does, and boots the disk as cuts of it leave it.
    fn path(
        &mut self,
        bench: &Bench,
        checks: &mut Checks,
        title: &str,
        most: usize,
        change: &dyn Fn(&mut Tape, &Path) -> Result<()>,
    ) -> Result<()> {
        let mut tape = Tape::open(&self.disk).with_context(|| format!("opening {}", self.disk.display()))?;
        change(&mut tape, &self.release).with_context(|| title.to_owned())?;
        let all = interesting(&tape.events);
        let (found, cuts) = (all.len(), thin(all, most));
        eprintln!(
            "{}: {title}: {} events, {} of {found} cuts",
            self.name,
            tape.events.len(),
            cuts.len()
        );
        let mut seen = vec![];
        for cut in cuts {
            let firmware = if self.booted % BIOS_EVERY == BIOS_EVERY - 1 {
                Firmware::Bios
            } else {
                Firmware::Uefi
            };
            self.booted += 1;
            let what = format!("{title}: {}: {firmware:?}", cut.what);
            let booted = tape.show(&cut, |disk| {
                let (slot, why) = expected(disk)?;
                let is_deep = title == GROWTH || !seen.contains(&slot);
                seen.push(slot);
                self.to_root += usize::from(is_deep);
                self.boot(bench, firmware, &what, &format!("skerry.slot={slot} skerry.why={why}"), is_deep)
            })?;
            checks.that(&what, booted);
        }
        Ok(())
    }

    fn boot(&self, bench: &Bench, firmware: Firmware, what: &str, words: &str, is_deep: bool) -> Result<()> {
        let request = Request {
            disk: Some((firmware, self.disk.clone())),
            disk_is_kept: false,
            // Firmware, GRUB and an early kernel have use for one only.
            processors: 1,
            ..none_machine(self.name, None)
        };
        let mut machine = bench.lab.start(&request)?;
        let until = if is_deep { ROOT_IS_MOUNTED } else { KERNEL_RUNS };
        let found = machine
            .serial
            .wait_line(until, 0, WITHIN)
            .with_context(|| format!("expecting {words}"))?;
        let console = machine.serial.text(0);
        machine.cut();
        eprintln!("{}: {what}: {words}, {:.1} s to {until}", self.name, found.at.as_secs_f32());
        let mut lines = console.lines().filter(|l| l.contains("ommand line:"));
        if !console.contains(words) {
            bail!("expected {words}, and it booted {}", lines.next().unwrap_or_default().trim());
        }
        Ok(())
    }
}

/// The release under test under the next version, with an initramfs that is longer.
#[allow(clippy::disallowed_methods, reason = "temporary files of a test")]
pub(super) fn next_release(from: &Path, to: &Path) -> Result<PathBuf> {
    let _ = std::fs::remove_dir_all(to); // it may not be there
    std::fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let text = std::fs::read(from.join("manifest.json")).context("reading the release")?;
    let mut manifest: Value = serde_json::from_slice(&text).context("reading the release")?;
    for name in ["vmlinuz", "root.img", "sbom.spdx.json", "boot"] {
        if from.join(name).exists() {
            let from = from.canonicalize()?.join(name);
            std::os::unix::fs::symlink(from, to.join(name)).with_context(|| format!("linking {name}"))?;
        }
    }
    let mut initrd = std::fs::read(from.join("initrd.img")).context("reading initrd.img")?;
    // Zeros may follow on an archive: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    initrd.resize(initrd.len().next_multiple_of(512) + 4096, 0);
    std::fs::write(to.join("initrd.img"), &initrd).context("writing initrd.img")?;
    let said = json!({"size": initrd.len(), "sha256": Digest::of(&initrd).to_string()});
    for (name, value) in [("/version", json!("0.1.1")), ("/files/initrd.img", said)] {
        *manifest
            .pointer_mut(name)
            .with_context(|| format!("looking for {name} in the manifest"))? = value;
    }
    std::fs::write(to.join("manifest.json"), manifest.to_string()).context("writing manifest.json")?;
    Ok(to.to_owned())
}

fn grow_table(tape: &mut Tape) -> Result<()> {
    let plan = grow::plan(&grow::Facts::of(tape)?, &Ids([7; 32]))?.context("there is nothing to grow")?;
    perform(&plan, tape, &Options::default(), &mut |_| {}).map(drop)
}

fn upgrade_to(tape: &mut Tape, release: &Path) -> Result<()> {
    let facts = stage::Facts::look(tape, Arch::this(), Slot::A)?;
    let slot = [facts.layout.place(Part::BootB), facts.layout.place(Part::RootB)];
    let [Some(boot), Some(root)] = slot else {
        bail!("looking for slot b: it is not there")
    };
    let machine = trust::Facts {
        arch: Arch::this(),
        running: None,
        slot: Some([boot, root]),
        failed: vec![],
    };
    let told = Told {
        unsigned: true,
        ..Told::default()
    };
    let checked = trust::check(release, &[], &machine, told, &mut |_, _| {})?;
    stage::plan(&checked, &facts)?
        .perform(tape, usize::try_from(MIB)?, &mut |_| {})
        .map(drop)
}

fn install_again(tape: &mut Tape, release: &Path) -> Result<()> {
    let found = table(tape);
    let table = found.table().context("reading the partition table")?;
    let pair = boot_state(&layout_of(tape)?, tape)?;
    let plan = again(&Release::read(release)?, table, tape.bytes(), &pair)?;
    perform(&plan, tape, &Options::default(), &mut |_| {}).map(drop)
}

/// Sectors of the boot state, each flushed before the next.
fn write_state(tape: &mut Tape, writes: &Writes) -> Result<()> {
    let place = layout_of(tape)?.place(Part::Bootstate).context("looking for the boot state")?;
    let [zero, one] = PLACES;
    for write in writes.iter() {
        let sector = if write.env == Env::Zero { zero } else { one };
        tape.write_at(place.at + sector * 512, &write.sector)?;
        tape.flush()?;
    }
    Ok(())
}

fn act(tape: &mut Tape, action: impl FnOnce(&Pair) -> Result<Writes>) -> Result<()> {
    let pair = boot_state(&layout_of(tape)?, tape)?;
    write_state(tape, &action(&pair)?)
}

/// What GRUB writes before it starts a candidate.
fn count_a_try(tape: &mut Tape) -> Result<()> {
    act(tape, |pair| Ok(grub::boot(pair, Medium::HEALTHY, None).writes))
}

fn lose_slot_a(path: &Path) -> Result<()> {
    let mut disk = Disk::open(path).with_context(|| format!("opening {}", path.display()))?;
    let layout = layout_of(&disk)?;
    let zeros = vec![0; usize::try_from(MIB)?];
    for part in [Part::BootA, Part::RootA] {
        let place = layout.place(part).with_context(|| format!("looking for {part}"))?;
        for at in (place.at..place.at + place.bytes).step_by(zeros.len()) {
            disk.write_at(at, &zeros)?;
        }
    }
    let mut tape = Tape::open(path)?;
    let state = State {
        good: Slot::B,
        trial: Some(Tries::ALL),
    };
    write_state(&mut tape, &Pair::of(State::settled(Slot::A)).writes(state))
}
