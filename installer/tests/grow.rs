//! The first boot of a flashed image: the power goes at every sector, twice and a third time.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use skerry_installer::grow::{Facts, plan};
use skerry_installer::layout::{Arch, Ids, Layout, Part};
use skerry_installer::perform::{Options, perform};
use skerry_installer::record::{Memory, Recorder};
use skerry_installer::{image, plan::Extras};
use std::os::unix::fs::FileExt;
use support::reader::{Table, checked, restore, unchecked};
use support::{Scratch, release, sizes, tools};

const LONG: u64 = 200 << 20;

/// A disk onto which an image was copied.
fn flashed(scratch: &Scratch, bytes: u64) -> Memory {
    let made = release(&scratch.0.join("r"), 5, 64 << 10, 32 << 10);
    let plan = image::plan(&made.release, sizes(), &Extras::default()).unwrap();
    let mut disk = Recorder::new(Memory::new(plan.disk_bytes));
    let options = Options {
        temporary: scratch.0.clone(),
        ..Options::default()
    };
    perform(&plan, &mut disk, &options, &mut |_| {}).unwrap();
    disk.now.resized(bytes)
}

/// One boot that grows the disk.
fn boot(disk: &Memory, seed: u8) -> Recorder {
    let mut recorder = Recorder::new(disk.clone());
    if let Some(plan) = plan(&Facts::of(&recorder).unwrap(), &Ids([seed; 32])).unwrap() {
        perform(&plan, &mut recorder, &Options::default(), &mut |_| {}).unwrap();
    }
    recorder
}

/// What Linux takes, told `gpt`: block/partitions/efi.c.
fn linux(disk: &Memory, bytes: u64) -> Option<Table> {
    checked(disk, 1).or_else(|| checked(disk, bytes / 512 - 1))
}

/// Both firmwares come to GRUB, and GRUB and Linux mean the same boot slot at the same place.
fn boots(disk: &Memory, bytes: u64, before: &Table) {
    for is_uefi in [false, true] {
        let mut disk = disk.clone();
        if is_uefi && checked(&disk, 1).is_none() {
            assert!(checked(&disk, bytes / 512 - 1).is_some(), "UEFI finds no table");
            restore(&mut disk, bytes / 512 - 1);
        }
        let grub = unchecked(&disk).expect("GRUB finds no table");
        let linux = linux(&disk, bytes).expect("Linux finds no table");
        assert_eq!(grub.guids[&3], linux.guids[&3], "GRUB and Linux mean different partitions");
        for n in [1, 2, 3, 4, 5, 6, 15] {
            assert_eq!(
                (grub.places.get(&n), linux.places.get(&n)),
                (before.places.get(&n), before.places.get(&n))
            );
        }
        assert_eq!(linux.places[&7].0, before.places[&7].0);
        assert!(linux.places[&7].1 >= before.places[&7].1);
    }
}

fn is_grown(disk: &Memory, bytes: u64, before: &Table) {
    let (primary, backup) = (checked(disk, 1).unwrap(), checked(disk, bytes / 512 - 1).unwrap());
    assert_eq!(primary, backup);
    assert!(primary.guids.iter().all(|(n, guid)| *guid != before.guids[n]) && primary.disk != before.disk);
    let end = primary.places[&7].0 + primary.places[&7].1;
    assert!(bytes - end < (1 << 20) + 34 * 512);
    assert!(boot(disk, 99).events.is_empty(), "the next boot has nothing to do");
}

#[test]
fn cut_anywhere_three_times_it_boots_and_grows() {
    let scratch = Scratch::new("grow");
    let image = image::plan(
        &release(&scratch.0.join("r"), 5, 64 << 10, 32 << 10).release,
        sizes(),
        &Extras::default(),
    );
    let same = image.unwrap().disk_bytes;
    let mut states = 0;
    for bytes in [LONG, same] {
        let disk = flashed(&scratch, bytes);
        let before = checked(&disk, 1).unwrap();
        let first = boot(&disk, 1);
        is_grown(&first.now, bytes, &before);
        states += cuts(&first, &mut |disk, number| {
            boots(disk, bytes, &before);
            let second = boot(disk, 2);
            is_grown(&second.now, bytes, &before);
            cuts(&second, &mut |disk, inner| {
                boots(disk, bytes, &before);
                if (number + inner) % 23 == 0 {
                    is_grown(&boot(disk, 3).now, bytes, &before);
                }
                0
            })
        });
    }
    eprintln!("{states} states");
    assert!(states > 10_000);
}

/// After each sector, and with each half of what was not flushed lost.
fn cuts(recorder: &Recorder, check: &mut dyn FnMut(&Memory, usize) -> usize) -> usize {
    let mut inner = 0;
    let mut number = 0;
    let states = recorder
        .cuts(512, |disk, _| {
            number += 1;
            inner += check(disk, number);
            Ok::<(), ()>(())
        })
        .unwrap();
    for event in 0..=recorder.events.len() {
        for parity in [0, 1] {
            let mut n = 0;
            let disk = recorder.reordered(event, || {
                n += 1;
                n % 2 == parity
            });
            number += 1;
            inner += check(&disk, number);
        }
    }
    states + 2 * (recorder.events.len() + 1) + inner
}

#[test]
fn a_disk_that_became_longer_keeps_its_guids() {
    let scratch = Scratch::new("longer");
    let disk = flashed(&scratch, LONG);
    let grown = boot(&disk, 1).now;
    let before = checked(&grown, 1).unwrap();
    let longer = grown.resized(LONG + (77 << 20));
    let again = boot(&longer, 2);
    let after = checked(&again.now, 1).unwrap();
    assert_eq!((&after.guids, &after.disk), (&before.guids, &before.disk));
    assert_eq!(after.places[&7].1, before.places[&7].1 + (77 << 20));
    cuts(&again, &mut |disk, _| {
        boots(disk, LONG + (77 << 20), &before);
        0
    });
}

#[test]
fn readers_of_others_agree_and_the_file_system_grows() {
    let scratch = Scratch::new("others");
    let grown = boot(&flashed(&scratch, LONG), 1);
    let path = scratch.0.join("disk");
    let file = std::fs::File::create_new(&path).unwrap();
    file.set_len(LONG).unwrap();
    for (at, page) in grown.now.pages() {
        file.write_all_at(page, at).unwrap();
    }
    let said = tools::run("sgdisk", &["-v"], &path);
    assert!(said.contains("No problems found"), "{said}");
    let said = tools::run("sfdisk", &["--verify"], &path);
    assert!(said.contains("No errors detected"), "{said}");

    let found = skerry_installer::device::table(&grown);
    let place = Layout::of(found.table().unwrap(), Arch::Amd64).unwrap().place(Part::Data).unwrap();
    let mut superblock = vec![0; 1024];
    grown.now.read(place.at + 1024, &mut superblock).unwrap();
    let length = skerry_installer::grow::ext4_bytes(&superblock).unwrap();
    assert_eq!(length, 32 << 20);
    assert!(skerry_installer::grow::should_grow(length, place.bytes));
    let data = scratch.0.join("data");
    let mut bytes = vec![0; usize::try_from(place.bytes).unwrap()];
    grown.now.read(place.at, &mut bytes).unwrap();
    std::fs::File::create_new(&data).unwrap().write_all_at(&bytes, 0).unwrap();
    tools::run("e2fsck", &["-fn"], &data);
    tools::run("resize2fs", &[], &data);
    tools::run("e2fsck", &["-fn"], &data);
    let file = std::fs::File::open(&data).unwrap();
    file.read_exact_at(&mut superblock, 1024).unwrap();
    assert_eq!(skerry_installer::grow::ext4_bytes(&superblock), Some(place.bytes));
}
