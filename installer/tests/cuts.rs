//! The power goes, at every write of an installation and within each: what would the machine boot then?
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use skerry_installer::device::{Device, table};
use skerry_installer::layout::{Layout, Part};
use skerry_installer::perform::perform;
use skerry_installer::plan::{Extras, again, boot_state, new};
use skerry_installer::record::{Event, Memory, Recorder};
use skerry_slots::state::Slot;
use std::os::unix::fs::FileExt;
use std::path::Path;
use support::reader::{Boots, bios, uefi};
use support::{Made, Scratch, medium, options, release, request, tools};

/// For many states: long enough for ten thousand of them.
const ROOT: usize = 4 << 20;
const KERNEL: usize = 1 << 20;
/// Where each state is read whole.
const SMALL: (usize, usize) = (512 << 10, 128 << 10);

fn installed(made: &Made, scratch: &Scratch, on: Memory) -> Recorder {
    let plan = new(&made.release, &request(1), &medium(), &Extras::default()).unwrap();
    let mut recorder = Recorder::new(on);
    perform(&plan, &mut recorder, &options(scratch), &mut |_| {}).unwrap();
    recorder
}

fn is(boots: &Boots, made: &Made) -> bool {
    match boots {
        Boots::System { parts, .. } => ["vmlinuz", "initrd.img", "root.img"]
            .iter()
            .all(|name| parts[name] == made.files[name]),
        _ => false,
    }
}

fn both(disk: &Memory, root: usize) -> [Boots; 2] {
    [bios(disk, root), uefi(disk, medium().bytes, root)]
}

fn dump(disk: &Memory, path: &Path, from: u64, bytes: u64) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    for (at, page) in disk.pages() {
        if (from..from + bytes).contains(&at) {
            file.write_all_at(&page[..page.len().min(usize::try_from(from + bytes - at).unwrap())], at - from)
                .unwrap();
        }
    }
}

/// All that readers of others have to say of a finished disk.
fn look(disk: &Memory, scratch: &Scratch) {
    let path = scratch.0.join("disk");
    dump(disk, &path, 0, medium().bytes);
    let said = tools::run("sgdisk", &["-v"], &path);
    assert!(said.contains("No problems found"), "{said}");
    let said = tools::run("sfdisk", &["--verify"], &path);
    assert!(said.contains("No errors detected"), "{said}");
    look_inside(disk, scratch);
}

fn look_inside(disk: &Memory, scratch: &Scratch) {
    let layout = skerry_installer::layout::lay_out(&request(1), &medium()).unwrap();
    let path = scratch.0.join("part");
    for part in [Part::Esp, Part::Bootstate, Part::Data] {
        let place = layout.place(part).unwrap();
        dump(disk, &path, place.at, place.bytes);
        match part {
            Part::Data => tools::run("e2fsck", &["-fn"], &path),
            _ => tools::run("fsck.fat", &["-n"], &path),
        };
    }
}

#[test]
fn a_new_disk_boots_nothing_until_it_boots_the_new_system() {
    let scratch = Scratch::new("new");
    let made = release(&scratch.0.join("r"), 10, SMALL.0, SMALL.1);
    let recorder = installed(&made, &scratch, Memory::new(medium().bytes));
    look(&recorder.now, &scratch);
    let writes = recorder.events.iter().filter(|e| matches!(e, Event::Write(..))).count();
    let last = recorder.events.iter().rposition(|e| matches!(e, Event::Write(..))).unwrap();
    let states = recorder
        .cuts(4096, |disk, event| {
            for boots in both(disk, SMALL.0) {
                // Sector 0 is the last write, and one sector.
                let right = if event == last {
                    is(&boots, &made)
                } else {
                    boots == Boots::Nothing
                };
                assert!(right, "event {event} of {last}: {boots:?}");
            }
            Ok::<(), ()>(())
        })
        .unwrap();
    assert_eq!(states, writes + 1);
    eprintln!("{states} states");
}

/// What a Skerry disk held must not come back as half a system when another is put over it.
#[test]
fn a_disk_installed_anew_boots_the_old_system_nothing_or_the_new_one() {
    let scratch = Scratch::new("over");
    let old = release(&scratch.0.join("old"), 20, SMALL.0, SMALL.1);
    let made = release(&scratch.0.join("new"), 30, SMALL.0, SMALL.1);
    let before = installed(&old, &scratch, Memory::new(medium().bytes));
    let recorder = installed(&made, &scratch, before.now);
    let last = recorder.events.len();
    let mut rng = 7u64;
    let mut states = 0;
    for event in 0..=last {
        // The first and last steps at each event, with what a disk's cache may keep; those between, which are long, here and there.
        if event > 300 && event + 60 < last && event % 16 != 0 {
            continue;
        }
        for _ in 0..4 {
            let disk = recorder.reordered(event, || {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                rng >> 63 == 1
            });
            states += 1;
            for (firmware, boots) in both(&disk, SMALL.0).into_iter().enumerate() {
                // A BIOS whose sector 0 outlived the sectors behind it gets as far as GRUB, which says so; it is within the first flush.
                let early = firmware == 0 && event <= 300 && matches!(boots, Boots::Stuck(_));
                let right = early || boots == Boots::Nothing || is(&boots, &made) || is(&boots, &old);
                assert!(right, "event {event} of {last}: {boots:?}");
            }
        }
    }
    look(&recorder.now, &scratch);
    assert!(both(&recorder.now, SMALL.0).iter().all(|b| is(b, &made)));
    eprintln!("{states} states");
}

/// The installation that keeps the data: at each of more than ten thousand cuts the old system or the new one, and never less.
#[test]
fn an_installed_disk_always_boots_while_it_is_installed_again() {
    let scratch = Scratch::new("again");
    let old = release(&scratch.0.join("old"), 40, ROOT, KERNEL);
    let made = release(&scratch.0.join("new"), 50, ROOT, KERNEL);
    let mut disk = Recorder::new(installed(&old, &scratch, Memory::new(medium().bytes)).now);
    let found = table(&disk);
    let layout = Layout::of(found.table().unwrap(), made.release.arch).unwrap();
    let plan = again(
        &made.release,
        found.table().unwrap(),
        disk.bytes(),
        &boot_state(&layout, &disk).unwrap(),
    )
    .unwrap();
    perform(&plan, &mut disk, &options(&scratch), &mut |_| {}).unwrap();

    let kept: Vec<_> = [Part::Esp, Part::Data, Part::BootA, Part::RootA, Part::Bios]
        .map(|p| layout.place(p).unwrap())
        .into();
    for event in &disk.events {
        if let Event::Write(at, bytes) = event {
            let end = at + bytes.len() as u64;
            assert!(
                kept.iter().all(|p| end <= p.at || *at >= p.at + p.bytes),
                "{at} is not to be written"
            );
            assert!(
                *at >= 1 << 20 && end <= layout.place(Part::Data).unwrap().at,
                "{at} is not in a partition"
            );
        }
    }
    // Reading whole slots takes a hundredth of a second: what no write came near since it was read is not read again.
    let decides = |slot: Slot| {
        let slot = if slot == Slot::A {
            [Part::BootA, Part::RootA]
        } else {
            [Part::BootB, Part::RootB]
        };
        let parts = [Part::Bios, Part::Esp, Part::Bootstate].into_iter().chain(slot);
        let places = parts.map(|p| layout.place(p).unwrap()).map(|p| (p.at, p.bytes));
        [(0, 1 << 20)].into_iter().chain(places).collect::<Vec<_>>()
    };
    let mut seen: Option<(Memory, Slot)> = None;
    let (mut number, mut read, mut news) = (0, 0, 0);
    let states = disk
        .cuts(512, |cut, event| {
            number += 1;
            let is_read = seen
                .as_ref()
                .is_some_and(|(before, slot)| decides(*slot).iter().all(|(at, bytes)| cut.is_same(before, *at, *bytes)));
            if !is_read {
                read += 1;
                let found = both(cut, ROOT);
                for boots in &found {
                    assert!(is(boots, &old) || is(boots, &made), "event {event}: {boots:?}");
                }
                assert!(found[0] == found[1] && !(news > 0 && is(&found[0], &old)), "event {event}");
                news += usize::from(is(&found[0], &made));
                let Boots::System { slot, .. } = found[0] else { unreachable!() };
                seen = Some((cut.clone(), slot));
            }
            if number % 1000 == 1 {
                look(cut, &scratch);
            }
            Ok::<(), ()>(())
        })
        .unwrap();
    eprintln!("{states} states, {read} of them read whole");
    assert!(states > 10_000 && news > 0, "{states} states");
    assert!(both(&disk.now, ROOT).iter().all(|b| is(b, &made)));

    let mut rng = 3u64;
    for event in (0..=disk.events.len()).filter(|n| n % 40 == 0 || n + 30 > disk.events.len()) {
        let cut = disk.reordered(event, || {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            rng >> 63 == 1
        });
        for boots in both(&cut, ROOT) {
            assert!(is(&boots, &old) || is(&boots, &made), "event {event}, reordered: {boots:?}");
        }
    }
}

#[test]
fn a_disk_that_fails_or_lies_is_told_and_a_bad_release_touches_nothing() {
    let scratch = Scratch::new("faults");
    let made = release(&scratch.0.join("r"), 60, 64 << 10, 32 << 10);
    let plan = new(&made.release, &request(1), &medium(), &Extras::default()).unwrap();
    let all = {
        let mut disk = Recorder::new(Memory::new(medium().bytes));
        perform(&plan, &mut disk, &options(&scratch), &mut |_| {}).unwrap();
        disk.events
    };
    for n in (0..all.len()).step_by(all.len() / 12) {
        let mut disk = Recorder::new(Memory::new(medium().bytes));
        disk.faults_after = Some(n);
        let said = format!("{:#}", perform(&plan, &mut disk, &options(&scratch), &mut |_| {}).unwrap_err());
        assert!(said.starts_with("step ") && said.contains("the disk has failed"), "{said}");
    }
    // A write of something that is not zeros is lost.
    let lost = all
        .iter()
        .rposition(|e| matches!(e, Event::Write(_, b) if b.iter().any(|b| *b != 0)))
        .unwrap();
    let mut disk = Recorder::new(Memory::new(medium().bytes));
    disk.loses = Some(lost);
    let said = format!("{:#}", perform(&plan, &mut disk, &options(&scratch), &mut |_| {}).unwrap_err());
    assert!(said.contains("read back, it is not what was written"), "{said}");

    let path = scratch.0.join("r/root.img");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", 1000).unwrap();
    let mut disk = Recorder::new(Memory::new(medium().bytes));
    let said = format!("{:#}", perform(&plan, &mut disk, &options(&scratch), &mut |_| {}).unwrap_err());
    assert!(
        said.starts_with("nothing was written: checking ") && disk.events.is_empty(),
        "{said}"
    );
}
