//! The power goes while a whole machine works: firmware, boot loader, kernel, file systems and our programs.
//!
//! QEMU keeps every write of one machine's life ([`crate::writelog`]): its first boot, which grows table and data, an upgrade, the trial
//! and its proof, a rollback. Then the disk is made anew, write by write, and looked at as a cut there would leave it: the model of GRUB
//! must find a system to start at every cut, and at some of them other people's programs judge partitions and file systems.

use super::check::Checks;
use super::cuts::{expected, layout_of};
use super::cuts_real::next_disk;
use super::disk::flashed;
use super::start::{log_in, none_config, none_machine, to_login};
use super::{Bench, seconds};
use crate::machine::disk::{copy, run};
use crate::machine::{Firmware, Request};
use crate::tape::{Tape, interesting};
use crate::writelog::{Entry, Log};
use anyhow::{Context, Result, ensure};
use skerry_installer::device::Device;
use skerry_installer::layout::{MIB, Part, Place};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many cuts other people's programs look at.
const JUDGED: usize = 40;
const MARK: &str = "outlives-cuts";

pub fn logged(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let folder = bench.lab.folder("cuts-log")?;
    let disk = flashed(bench, "cuts-log", &none_config(bench, ""))?;
    let (now, log) = (folder.join("now.img"), folder.join("writes.log"));
    copy(&disk, &now)?;
    let next = next_disk(bench, &folder)?;
    let marked = live(bench, checks, &disk, &log, &next)?;
    // What the machine made of it is made again from what it was.
    let mut judge = Judge {
        bench,
        folder: &folder,
        marked,
        points: 0,
        states: 0,
        judged: 0,
    };
    let flushes = Log::open(&log)?.filter(|e| e.as_ref().is_ok_and(|e| e.is_flush)).count();
    let said = judge.walk(checks, &now, &log, flushes);
    eprintln!(
        "cuts-log: {flushes} flushes, {} cuts judged by the model, {} by fsck.fat, e2fsck and sgdisk",
        judge.states, judge.judged
    );
    said?;
    let (states, judged) = (judge.states, judge.judged);
    checks.is(
        "each flush was a cut",
        flushes > 100 && states > flushes,
        &format!("{states} of {flushes}"),
    );
    checks.is("others judged some of them", judged >= JUDGED, &judged.to_string());
    checks.is("the last of them is what the machine left", same(&disk, &now)?, "the copy differs");
    for path in [&disk, &now, &log, &next] {
        std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// A machine's life. Returns how long the log was when a file had been made and synced.
fn live(bench: &Bench, checks: &mut Checks, disk: &Path, log: &Path, next: &Path) -> Result<u64> {
    File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let request = Request {
        disk: Some((Firmware::Bios, disk.to_path_buf())),
        disk_log: Some(log.to_path_buf()),
        more_disks: vec![next.to_path_buf()],
        restarts: true,
        limit: seconds(1200),
        ..none_machine("cuts-log", None)
    };
    let mut machine = to_login(bench, &request)?;
    machine.root(&bench.lab, &format!("echo kept > /skerry/{MARK}; sync"))?;
    let marked = log.metadata().context("looking at the log")?.len();
    let from = machine.serial.mark();
    machine.root_within(
        &bench.lab,
        "mkdir -p /run/next && mount -o ro /dev/vdb /run/next && skerry upgrade --from /run/next --unsigned --health-limit 300 --soak 5 --reboot",
        seconds(240),
    )?;
    let proven = machine
        .serial
        .wait_line("has proven itself and is the good one now", from, seconds(300));
    checks.that("the upgrade proves itself", proven).context("upgrading")?;
    log_in(bench, &mut machine, from)?;
    let from = machine.serial.mark();
    machine.root(&bench.lab, "skerry rollback --soak 5 --reboot")?;
    machine.forget_login();
    log_in(bench, &mut machine, from)?;
    let words = machine.root(&bench.lab, "cat /proc/cmdline")?;
    checks.has("and is rolled back", &words, "skerry.slot=a");
    machine.root(&bench.lab, "poweroff")?;
    machine.wait_end(seconds(120)).context("switching off")?;
    Ok(marked)
}

struct Judge<'a> {
    bench: &'a Bench,
    folder: &'a Path,
    /// From here in the log on, the file is there.
    marked: u64,
    points: usize,
    states: usize,
    judged: usize,
}

impl Judge<'_> {
    /// From flush to flush: every cut between two is tried that could change what boots.
    fn walk(&mut self, checks: &mut Checks, now: &Path, log: &Path, flushes: usize) -> Result<()> {
        let mut tape = Tape::open(now).with_context(|| format!("opening {}", now.display()))?;
        let every = (flushes / JUDGED).max(1);
        let mut counts = false;
        let mut last = 0;
        for entry in Log::open(log)? {
            let entry = entry?;
            last = entry.from;
            if !entry.bytes.is_empty() {
                counts |= counts_for_boot(&tape, &entry)?;
                tape.write_at(entry.at, &entry.bytes).context("writing what the machine wrote")?;
            }
            if entry.is_flush {
                self.flushed(checks, &mut tape, counts, entry.from, every)?;
                counts = false;
            }
        }
        self.flushed(checks, &mut tape, counts, last, 1)
    }

    fn flushed(&mut self, checks: &mut Checks, tape: &mut Tape, counts: bool, at: u64, every: usize) -> Result<()> {
        let all = interesting(&tape.events);
        // The last one is what the flush left.
        let cuts = if counts {
            all
        } else {
            all.into_iter().next_back().into_iter().collect()
        };
        for cut in cuts {
            let seen = tape.show(&cut, |disk| expected(disk).map(drop))?;
            self.states += 1;
            if seen.is_err() {
                checks.that(&format!("a cut at byte {at} of the log, {}", cut.what), seen);
            }
        }
        tape.events.clear();
        self.points += 1;
        if self.points % every == 0 {
            self.judged += 1;
            let seen = self.others(tape, at);
            if seen.is_err() {
                checks.that(&format!("a cut at byte {at} of the log, judged by others"), seen);
            }
        }
        Ok(())
    }

    /// Programs that know nothing of ours, over copies: e2fsck does first what a boot does.
    fn others(&self, disk: &dyn Device, at: u64) -> Result<()> {
        let layout = layout_of(disk)?;
        let tools = &self.bench.lab.tools;
        let path = self.folder.join("now.img");
        run(tools.program("sgdisk")?.arg("-v").arg(&path)).context("the partition table")?;
        let copied = self.folder.join("part.img");
        let take = |part: Part| -> Result<PathBuf> {
            let place = layout.place(part).with_context(|| format!("looking for {part}"))?;
            extract(disk, place, &copied)?;
            Ok(copied.clone())
        };
        let esp = take(Part::Esp)?;
        run(tools.program("fsck.fat")?.arg("-n").arg(&esp)).context("the ESP")?;
        let data = take(Part::Data)?;
        let preened = tools.program("e2fsck")?.arg("-fp").arg(&data).output().context("starting e2fsck")?;
        // e2fsck(8): 1 is a file system that was put in order, as its journal does.
        ensure!(
            preened.status.code().is_some_and(|code| code <= 1),
            "the data partition: {}",
            String::from_utf8_lossy(&preened.stdout)
        );
        run(tools.program("e2fsck")?.arg("-fn").arg(&data)).context("the data partition, after its journal")?;
        if at > self.marked {
            let said = run(tools.program("debugfs")?.arg("-R").arg(format!("cat /{MARK}")).arg(&data))?;
            ensure!(said.trim() == "kept", "what was synced before is not there any more: {said:?}");
        }
        std::fs::remove_file(&copied).with_context(|| format!("removing {}", copied.display()))
    }
}

/// Whether what boots can depend on it: all but the insides of the data partition and of the roots.
fn counts_for_boot(tape: &Tape, entry: &Entry) -> Result<bool> {
    let layout = layout_of(tape)?;
    let inside = |place: Place| entry.at >= place.at && entry.at + entry.bytes.len() as u64 <= place.at + place.bytes;
    let mut parts = [Part::Data, Part::RootA, Part::RootB]
        .into_iter()
        .filter_map(|part| layout.place(part));
    Ok(!parts.any(inside))
}

/// A partition as a file of its own, without its zeros.
fn extract(from: &dyn Device, place: Place, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    file.set_len(place.bytes)?;
    let mut piece = vec![0; usize::try_from(MIB)?];
    let mut at = 0;
    while at < place.bytes {
        let length = usize::try_from(MIB.min(place.bytes - at))?;
        let piece = piece.get_mut(..length).unwrap_or_default();
        from.read_at(place.at + at, piece).context("reading the partition")?;
        if piece.iter().any(|b| *b != 0) {
            file.write_all_at(piece, at)?;
        }
        at += length as u64;
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    let compared = Command::new("cmp").arg("-s").arg(one).arg(other).status().context("starting cmp")?;
    Ok(compared.success())
}
