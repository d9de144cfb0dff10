//! The power goes at random times: during the first boot, and during `skerry upgrade` in a running machine.
//!
//! QEMU is killed, so that what the machine wrote and did not flush may be there or not; then firmware boots what is left. It must come
//! to a login, from the slot that the model of GRUB says, with its data. `SEED=` says which times, `N=` how many cuts.

use super::check::{Checks, Expect};
use super::cuts::{expected, next_release};
use super::disk::flashed;
use super::start::{none_config, none_machine, to_login};
use super::{Bench, seconds};
use crate::machine::disk::{copy, run};
use crate::machine::{Firmware, Machine, Request};
use anyhow::{Context, Result};
use skerry_installer::device::Disk;
use skerry_slots::state::Slot;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CUTS: u64 = 60;
/// Every so many machines one is started by UEFI.
const UEFI_EVERY: u64 = 8;
const MARK: &str = "/var/lib/skerry/outlives-cuts";
const UPGRADE: &str = "mkdir -p /run/next && mount -o ro /dev/vdb /run/next && cd / && \
    exec skerry upgrade --from /run/next --unsigned --health-limit 600 --soak 5";

/// Numbers that come again from the same seed: xorshift64.
struct Chance(u64);

impl Chance {
    fn upto(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        most.mul_f64(f64::from(u32::try_from(self.0 >> 32).unwrap_or(0)) / f64::from(u32::MAX))
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

struct Cutting<'a> {
    bench: &'a Bench,
    disk: PathBuf,
    pristine: PathBuf,
    chance: Chance,
    started: u64,
    /// How many booted slot a and slot b.
    booted: [u64; 2],
}

pub fn random(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let seed = number("SEED").unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_secs()));
    let cuts = number("N").unwrap_or(CUTS).max(2);
    eprintln!("cuts-real: SEED={seed} N={cuts}");
    let folder = bench.lab.folder("cuts-real")?;
    let mut cutting = Cutting {
        bench,
        disk: folder.join("now.img"),
        pristine: flashed(bench, "cuts-real", &none_config(bench, ""))?,
        chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        started: 0,
        booted: [0; 2],
    };
    let next = next_disk(bench, &folder)?;
    cutting.first_boots(checks, cuts / 3)?;
    cutting.upgrades(checks, &next, cuts - cuts / 3)?;
    let [a, b] = cutting.booted;
    eprintln!("cuts-real: {cuts} cuts by SEED={seed}: {a} times slot a booted, {b} times slot b");
    checks.is("every cut was followed by a login", a + b == cuts, &format!("{a} + {b} of {cuts}"));
    for path in [&cutting.pristine, &cutting.disk, &next] {
        std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// A second disk, which holds the next release.
pub(super) fn next_disk(bench: &Bench, folder: &Path) -> Result<PathBuf> {
    let links = next_release(&bench.lab.release.dir, &folder.join("next"))?;
    let (tree, disk) = (folder.join("tree"), folder.join("next.img"));
    for old in [tree.as_path(), &disk] {
        run(Command::new("rm").arg("-rf").arg(old))?;
    }
    run(Command::new("cp").arg("-rL").arg(links).arg(&tree))?;
    let mut make = bench.lab.tools.program("mke2fs")?;
    make.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "NEXT", "-d"]);
    run(make.arg(&tree).arg(&disk).arg("400M"))?;
    run(Command::new("rm").arg("-rf").arg(&tree))?;
    Ok(disk)
}

impl Cutting<'_> {
    fn request(&mut self, next: Option<&Path>) -> Request {
        self.started += 1;
        let firmware = if self.started % UEFI_EVERY == 0 {
            Firmware::Uefi
        } else {
            Firmware::Bios
        };
        Request {
            disk: Some((firmware, self.disk.clone())),
            more_disks: next.map(Path::to_path_buf).into_iter().collect(),
            restarts: true,
            limit: seconds(900),
            ..none_machine("cuts-real", None)
        }
    }

    /// Boots what a cut left, to a login from the slot that the model says, which is given too.
    fn after(&mut self, checks: &mut Checks, what: &str, next: Option<&Path>, probe: (&str, &str)) -> Result<(Machine, Slot)> {
        let disk = Disk::open_to_read(&self.disk).with_context(|| format!("opening {}", self.disk.display()))?;
        let (slot, why) = expected(&disk).with_context(|| what.to_owned())?;
        let request = self.request(next);
        let mut machine = to_login(self.bench, &request).with_context(|| format!("{what}: expecting slot {slot} ({why})"))?;
        let [a, b] = &mut self.booted;
        *if slot == Slot::A { a } else { b } += 1;
        eprintln!(
            "cuts-real: {what}: slot {slot} ({why}), a login after {:.0} s",
            machine.age().as_secs_f32()
        );
        let words = format!("skerry.slot={slot} skerry.why={why}");
        let probes = [
            (what, "cat /proc/cmdline", Expect::Has(&words)),
            (what, "cat /run/skerry/storage.json", Expect::Has("\"problems\": []")),
            (what, probe.0, Expect::Is(probe.1)),
        ];
        let before = checks.failed.len();
        let asked = machine.ssh(&self.bench.lab).and_then(|ssh| checks.probe(ssh, &probes, seconds(60)));
        if asked.is_err() || checks.failed.len() > before {
            machine.keep_logs(&self.bench.lab);
        }
        asked.with_context(|| what.to_owned())?;
        Ok((machine, slot))
    }

    fn first_boots(&mut self, checks: &mut Checks, cuts: u64) -> Result<()> {
        copy(&self.pristine, &self.disk)?;
        let request = self.request(None);
        let mut machine = to_login(self.bench, &request)?;
        let whole = machine.age();
        machine.cut();
        for n in 1..=cuts {
            copy(&self.pristine, &self.disk)?;
            let request = self.request(None);
            let mut machine = self.bench.lab.start(&request)?;
            let at = self.chance.upto(whole);
            machine.serial.wait_end(at);
            machine.cut();
            let what = format!(
                "first boot, cut {n} of {cuts} at {:.2} s of {:.0} s",
                at.as_secs_f32(),
                whole.as_secs_f32()
            );
            let grown = "test $(df -k --output=size /skerry | tail -1) -gt 1200000 && echo grown";
            self.after(checks, &what, None, (grown, "grown"))?;
        }
        Ok(())
    }

    fn upgrades(&mut self, checks: &mut Checks, next: &Path, cuts: u64) -> Result<()> {
        copy(&self.pristine, &self.disk)?;
        let request = self.request(Some(next));
        let mut machine = to_login(self.bench, &request)?;
        let mark = format!("mkdir -p /var/lib/skerry; echo kept > {MARK}; sync");
        machine.root(&self.bench.lab, &mark)?;
        let ready = self.disk.with_extension("ready");
        machine.cut();
        copy(&self.disk, &ready)?;
        // A whole one says how long it takes.
        let request = self.request(Some(next));
        let mut machine = to_login(self.bench, &request)?;
        let begun = Instant::now();
        machine
            .root_within(&self.bench.lab, UPGRADE, seconds(200))
            .context("upgrading without a cut")?;
        let whole = begun.elapsed();
        machine.cut();
        let read = format!("cat {MARK}");
        let mut running: Option<Machine> = None;
        for n in 1..=cuts {
            let mut machine = if let Some(machine) = running.take() {
                machine
            } else {
                copy(&ready, &self.disk)?;
                let request = self.request(Some(next));
                to_login(self.bench, &request)?
            };
            let script =
                format!("cat > /run/upgrade <<'END'\n{UPGRADE}\nEND\nsetsid nohup sh /run/upgrade < /dev/null > /run/upgrade.log 2>&1 &");
            machine.root(&self.bench.lab, &script)?;
            // A little longer than it takes, so that its last writes are hit too.
            let at = self.chance.upto(whole.mul_f32(1.15));
            machine.serial.wait_end(at);
            machine.cut();
            drop(machine);
            let what = format!(
                "upgrade, cut {n} of {cuts} at {:.2} s of {:.1} s",
                at.as_secs_f32(),
                whole.as_secs_f32()
            );
            let (machine, slot) = self.after(checks, &what, Some(next), (&read, "kept"))?;
            // The old one is upgraded once more, over what the cut left.
            running = (slot == Slot::A).then_some(machine);
        }
        std::fs::remove_file(&ready).with_context(|| format!("removing {}", ready.display()))
    }
}
