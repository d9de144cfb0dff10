//! A newer GRUB onto an installed disk, with the power cut after every sector: the old one boots or the new one, and a second run does
//! the rest.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use skerry_installer::bootloader::{CONFIG, Found, Refused, Standing};
use skerry_installer::content::{Content, Digest};
use skerry_installer::device::{Device, table};
use skerry_installer::fat::{File, Kind, Volume};
use skerry_installer::layout::{Arch, Layout, MIB, Medium, Part, Request, Sizes};
use skerry_installer::perform::perform;
use skerry_installer::plan::{Extras, Plan, fat_step, new};
use skerry_installer::record::{Event, Memory, Recorder};
use skerry_installer::step::Step;
use skerry_slots::partition::PLACES;
use skerry_slots::state::{Slot, State, Tries};
use std::os::unix::fs::FileExt;
use support::reader::{Boots, bios, file, uefi};
use support::{Made, Scratch, medium, options, release, request, tools};

const SMALL: (usize, usize) = (32 << 10, 16 << 10);
const PROGRAM: &str = "/EFI/BOOT/BOOTX64.EFI";

struct Disk {
    recorder: Recorder,
    layout: Layout,
}

fn installed(made: &Made, scratch: &Scratch, esp: u64) -> Disk {
    let sizes = Sizes { esp, ..request(1).sizes };
    let request = Request { sizes, ..request(1) };
    let medium = Medium {
        bytes: sizes.needed(Arch::Amd64),
        ..medium()
    };
    let extras = Extras {
        config: Some(b"hostname: kept\n".to_vec()),
        ..Extras::default()
    };
    let plan = new(&made.release, &request, &medium, &extras).unwrap();
    let mut recorder = Recorder::new(Memory::new(medium.bytes));
    perform(&plan, &mut recorder, &options(scratch), &mut |_| {}).unwrap();
    let recorder = Recorder::new(recorder.now);
    let layout = Layout::of(table(&recorder).table().unwrap(), Arch::Amd64).unwrap();
    Disk { recorder, layout }
}

fn look(device: &dyn Device, layout: &Layout) -> Found {
    Found::look(device, layout, "BOOTX64.EFI").unwrap()
}

fn plan(device: &dyn Device, layout: &Layout, made: &Made) -> Plan {
    look(device, layout).plan(&made.release).unwrap()
}

/// Which release's GRUB a BIOS loads, by every byte of it: 0, 1, or something else.
fn by_bios(disk: &Memory, releases: [&Made; 2]) -> Option<usize> {
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        disk.read(at, &mut bytes).unwrap();
        bytes
    };
    let sector = read(0, 512);
    let at = u64::from_le_bytes(sector[0x5C..0x64].try_into().unwrap()) * 512;
    releases.iter().position(|made| {
        let (mut core, mbr) = (made.files["boot/core.img"].clone(), &made.files["boot/mbr.img"]);
        core.resize(core.len().next_multiple_of(512), 0);
        core[0x1F4..0x1FC].copy_from_slice(&(at / 512 + 1).to_le_bytes());
        let rest = u16::try_from(core.len() / 512 - 1).unwrap();
        core[0x1FC..0x1FE].copy_from_slice(&rest.to_le_bytes());
        let is_code = (0..0x1B8).all(|n| (0x5C..0x68).contains(&n) || sector[n] == mbr[n]);
        is_code && read(at, core.len()) == core
    })
}

fn in_fat(disk: &Memory, layout: &Layout, path: &str, releases: [&Made; 2], name: &str) -> Option<usize> {
    let found = file(disk, layout.place(Part::Esp).unwrap().at, path)?;
    releases.iter().position(|made| made.files[name] == found)
}

/// Every part is whole, and either release's. How many of them are the newer one's.
fn newer(disk: &Memory, layout: &Layout, releases: [&Made; 2]) -> usize {
    let parts = [
        by_bios(disk, releases),
        in_fat(disk, layout, PROGRAM, releases, "boot/BOOTX64.EFI"),
        in_fat(disk, layout, CONFIG, releases, "boot/grub.cfg"),
    ];
    let kept = file(disk, layout.place(Part::Esp).unwrap().at, "/config.yaml");
    assert_eq!(kept.as_deref(), Some(b"hostname: kept\n".as_slice()));
    parts.map(|part| part.expect("a boot loader that is neither")).iter().sum()
}

fn fsck(disk: &Memory, layout: &Layout, scratch: &Scratch) {
    let place = layout.place(Part::Esp).unwrap();
    let path = scratch.0.join("esp");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(place.bytes).unwrap();
    for (at, page) in disk.pages().filter(|(at, _)| (place.at..place.at + place.bytes).contains(at)) {
        file.write_all_at(page, at - place.at).unwrap();
    }
    tools::run("fsck.fat", &["-n"], &path);
}

#[test]
fn every_cut_leaves_the_old_grub_or_the_new_one_and_can_be_gone_on_from() {
    for (name, esp) in [("grub16", 4 * MIB), ("grub32", 40 * MIB)] {
        let scratch = Scratch::new(name);
        let old = release(&scratch.0.join("old"), 20, SMALL.0, SMALL.1);
        let new = release(&scratch.0.join("new"), 30, SMALL.0, SMALL.1);
        let Disk { mut recorder, layout } = installed(&old, &scratch, esp);
        let made = plan(&recorder, &layout, &new);
        assert_eq!(made.steps.len(), 6, "{made}");
        perform(&made, &mut recorder, &options(&scratch), &mut |_| {}).unwrap();

        // Nothing else is written to.
        let allowed = [Part::Bios, Part::Esp].map(|p| layout.place(p).unwrap());
        for event in &recorder.events {
            let Event::Write(at, bytes) = event else { continue };
            let end = at + bytes.len() as u64;
            let is_inside = allowed.iter().any(|p| *at >= p.at && end <= p.at + p.bytes);
            assert!(is_inside || (*at == 0 && bytes.len() == 512), "{at}");
        }
        let mut before = 0;
        let mut number = 0;
        let states = recorder
            .cuts(512, |disk, event| {
                let now = newer(disk, &layout, [&old, &new]);
                assert!(now >= before && now <= before + 1, "event {event}: {now} after {before}");
                let is_step = now != before;
                before = now;
                number += 1;
                if is_step || number % 41 == 1 {
                    for boots in [bios(disk, SMALL.0), uefi(disk, recorder.bytes(), SMALL.0)] {
                        assert!(matches!(boots, Boots::System { .. }), "event {event}: {boots:?}");
                    }
                    let mut again = Recorder::new(disk.clone());
                    let rest = plan(&again, &layout, &new);
                    assert!(rest.steps.len() <= 6 - now, "event {event}: {rest}");
                    perform(&rest, &mut again, &options(&scratch), &mut |_| {}).unwrap();
                    assert_eq!(newer(&again.now, &layout, [&old, &new]), 3, "event {event}");
                }
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(before, 3);
        fsck(&recorder.now, &layout, &scratch);

        // A disk's cache may lose any of the writes since the last flush.
        let mut rng = 5u64;
        let mut lost = 0;
        for event in 0..=recorder.events.len() {
            for _ in 0..2 {
                let disk = recorder.reordered(event, || {
                    rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    rng >> 63 == 1
                });
                newer(&disk, &layout, [&old, &new]);
                lost += 1;
            }
        }
        eprintln!("{name}: {states} cuts, {lost} with lost writes");

        // It is there now, and goes back the same way: into the first half again.
        assert_eq!(plan(&recorder, &layout, &new).steps, vec![]);
        let seen = look(&recorder, &layout).compare(Some(&new.release)).unwrap();
        assert!(seen.iter().all(|s| s.is == Standing::Same), "{seen:?}");
        let back = plan(&recorder, &layout, &old);
        perform(&back, &mut recorder, &options(&scratch), &mut |_| {}).unwrap();
        assert_eq!(newer(&recorder.now, &layout, [&old, &new]), 0);
        fsck(&recorder.now, &layout, &scratch);
        let first = recorder.before.clone();
        for part in [Part::Bootstate, Part::BootA, Part::RootA, Part::Data] {
            let place = layout.place(part).unwrap();
            assert!(recorder.now.is_same(&first, place.at, place.bytes), "{part}");
        }
    }
}

#[test]
fn what_is_on_the_disk_is_compared() {
    let scratch = Scratch::new("compare");
    let old = release(&scratch.0.join("old"), 20, SMALL.0, SMALL.1);
    let new = release(&scratch.0.join("new"), 30, SMALL.0, SMALL.1);
    let disk = installed(&old, &scratch, 4 * MIB);
    let is = |against: Option<&Made>| -> Vec<Standing> {
        let seen = look(&disk.recorder, &disk.layout).compare(against.map(|m| &m.release)).unwrap();
        seen.iter().map(|s| s.is).collect()
    };
    assert_eq!(is(Some(&old)), [Standing::Same; 4]);
    assert_eq!(is(Some(&new)), [Standing::Differs; 4]);
    assert_eq!(is(None), [Standing::Unknown; 4]);
    let seen = look(&disk.recorder, &disk.layout).compare(None).unwrap();
    assert_eq!(seen[2].sha256, Some(Digest::of(&old.files["boot/BOOTX64.EFI"])));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let scratch = Scratch::new("foreign");
    let old = release(&scratch.0.join("old"), 20, SMALL.0, SMALL.1);
    let new = release(&scratch.0.join("new"), 30, SMALL.0, SMALL.1);
    let refused = |disk: &Disk| {
        let why = look(&disk.recorder, &disk.layout).plan(&new.release).unwrap_err();
        why.downcast::<Refused>().unwrap()
    };
    let fresh = || installed(&old, &scratch, 4 * MIB);

    let mut disk = fresh();
    disk.recorder.now.write(0, &[0; 440]).unwrap();
    assert_eq!(refused(&disk), Refused::Foreign);
    let seen = look(&disk.recorder, &disk.layout).compare(Some(&new.release)).unwrap();
    assert_eq!(seen[0].is, Standing::Missing);

    let mut disk = fresh();
    let state = disk.layout.place(Part::Bootstate).unwrap().at;
    let trial = State {
        good: Slot::A,
        trial: Tries::new(3),
    };
    for number in PLACES {
        disk.recorder.now.write(state + number * 512, &trial.encode()).unwrap();
    }
    assert_eq!(refused(&disk), Refused::Trial);

    // The owner's grub.cfg, which counts by its checksum, stays.
    let mut disk = fresh();
    let place = disk.layout.place(Part::Esp).unwrap();
    let volume = Volume {
        bytes: place.bytes,
        kind: Kind::Fat16,
        label: "SKERRY".to_owned(),
        serial: 1,
        time: 0,
    };
    let files = [PROGRAM, CONFIG, "/boot/grub/grub.cfg.sha256"].map(|path| File {
        path: path.to_owned(),
        content: Content::Bytes(b"the owner's".to_vec()),
    });
    let made = fat_step(Part::Esp, place, &volume, files.into()).unwrap();
    let plan_of_it = Plan {
        version: String::new(),
        disk_bytes: disk.recorder.bytes(),
        promise: "",
        steps: vec![made],
    };
    perform(&plan_of_it, &mut disk.recorder, &options(&scratch), &mut |_| {}).unwrap();
    let seen = look(&disk.recorder, &disk.layout).compare(Some(&new.release)).unwrap();
    assert_eq!((seen[2].is, seen[3].is), (Standing::Differs, Standing::Owners));
    let steps = plan(&disk.recorder, &disk.layout, &new).steps;
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert!(!steps.iter().any(|s| matches!(s, Step::ReplaceFile { path, .. } if path == CONFIG)));
}
