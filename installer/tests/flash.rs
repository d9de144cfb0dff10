//! Images, made and flashed: the same bytes each time, and never half an image that boots.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use skerry_installer::bmap::Bmap;
use skerry_installer::flash::{Image, flash};
use skerry_installer::perform::Options;
use skerry_installer::plan::Extras;
use skerry_installer::record::{Event, Memory, Recorder};
use skerry_installer::{device::Disk, image};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use support::reader::{Boots, bios, uefi};
use support::{Scratch, noise, release, sizes, tools};

fn made(scratch: &Scratch, name: &str) -> PathBuf {
    let folder = scratch.0.join("r");
    release(&folder, 70, 300_000, 50_000);
    let out = scratch.0.join(name);
    let options = Options {
        temporary: scratch.0.clone(),
        ..Options::default()
    };
    image::image(&folder, &out, sizes(), &Extras::default(), &options, &mut |_| {}).unwrap();
    out
}

#[test]
fn the_same_release_gives_the_same_image() {
    let scratch = Scratch::new("same");
    let (one, two) = (made(&scratch, "one.img"), made(&scratch, "two.img"));
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    let maps = [one, two].map(|path| Bmap::of(&File::open(path).unwrap()).unwrap());
    assert_eq!(maps[0], maps[1]);
    let [map, _] = maps;
    assert!(map.mapped_bytes() < map.bytes * 2 / 3, "{} of {}", map.mapped_bytes(), map.bytes);
}

/// The image is flashed onto a larger disk that is full of something else.
#[test]
fn flashing_writes_what_is_mapped_and_sector_0_last() {
    let scratch = Scratch::new("flash");
    let path = made(&scratch, "x.img");
    let map = image::write_map(&path).unwrap();
    let length = map.bytes + (3 << 20);
    let mut disk = Memory::new(length);
    let old = noise(1, 1 << 20);
    for at in (0..length).step_by(1 << 20) {
        disk.write(at, &old[..usize::try_from((length - at).min(1 << 20)).unwrap()])
            .unwrap();
    }
    let mut disk = Recorder::new(disk);
    let image = Image::open(&path).unwrap();
    assert_eq!(image.map, map);
    let mut last = (0, 1);
    flash(&image, &mut disk, &mut |p| last = (p.done, p.total)).unwrap();
    assert_eq!(last.0, last.1);

    // By the image's own metadata a reader finds all of it, though what was not mapped is still noise.
    for boots in [
        bios(&disk.now, 300_000),
        uefi(&disk.now.clone().resized(map.bytes), map.bytes, 300_000),
    ] {
        assert!(matches!(boots, Boots::System { .. }), "{boots:?}");
    }
    let file = File::create_new(scratch.0.join("after")).unwrap();
    file.set_len(map.bytes).unwrap();
    for (at, page) in disk.now.pages().filter(|(at, _)| *at < map.bytes) {
        file.write_all_at(page, at).unwrap();
    }
    let said = tools::run("sgdisk", &["-v"], &scratch.0.join("after"));
    assert!(said.contains("No problems found"), "{said}");
    let layout = skerry_installer::device::table(&disk.now_as(map.bytes)).primary.unwrap();
    for (number, tool, arguments) in [
        (1, "fsck.fat", "-n"),
        (2, "fsck.fat", "-n"),
        (3, "fsck.fat", "-n"),
        (7, "e2fsck", "-fn"),
    ] {
        let p = layout.partition(number).unwrap();
        let mut bytes = vec![0; usize::try_from(p.sectors() * 512).unwrap()];
        disk.now.read(p.first * 512, &mut bytes).unwrap();
        let part = scratch.0.join(format!("part{number}"));
        File::create_new(&part).unwrap().write_all_at(&bytes, 0).unwrap();
        tools::run(tool, &[arguments], &part);
    }

    let writes: Vec<_> = disk
        .events
        .iter()
        .filter_map(|e| if let Event::Write(at, b) = e { Some((*at, b.len())) } else { None })
        .collect();
    assert_eq!(writes.last(), Some(&(0, 512)));
    disk.cuts(65536, |cut, event| {
        if event + 2 < disk.events.len() && event > 0 {
            assert_eq!(bios(cut, 300_000), Boots::Nothing, "event {event}");
        }
        Ok::<(), ()>(())
    })
    .unwrap();
}

#[test]
fn a_compressed_image_is_flashed_too_and_a_damaged_one_touches_nothing() {
    let scratch = Scratch::new("zst");
    let path = made(&scratch, "x.img");
    let map = image::write_map(&path).unwrap();
    tools::run("zstd", &["-q", "-1"], &path);
    let image = Image::open(&scratch.0.join("x.img.zst")).unwrap();
    let mut disk = Disk::create(&scratch.0.join("disk"), map.bytes).unwrap();
    flash(&image, &mut disk, &mut |_| {}).unwrap();
    assert!(fs::read(scratch.0.join("disk")).unwrap() == fs::read(&path).unwrap());
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let at = map.ranges.last().unwrap().at() + 1;
    file.write_all_at(b"\xFF\x00\xFF", at).unwrap();
    let mut disk = Recorder::new(Memory::new(map.bytes));
    let said = format!("{:#}", flash(&Image::open(&path).unwrap(), &mut disk, &mut |_| {}).unwrap_err());
    assert!(
        said.starts_with("nothing was written: checking ") && disk.events.is_empty(),
        "{said}"
    );
    let mut small = Recorder::new(Memory::new(map.bytes - 512));
    let said = format!("{:#}", flash(&Image::open(&path).unwrap(), &mut small, &mut |_| {}).unwrap_err());
    assert!(said.contains("nothing was written / try: a larger disk"), "{said}");
}

/// What is on the ESP after flashing is what people edit: fsck.fat finds nothing to complain of, and mtools' view is ours.
#[test]
fn a_config_is_put_onto_the_esp() {
    let scratch = Scratch::new("config");
    let path = made(&scratch, "x.img");
    for text in [vec![b'#'; 5000], b"hostname: rock\n".to_vec()] {
        let mut disk = Disk::open(&path).unwrap();
        let esp = skerry_installer::device::table(&disk)
            .primary
            .unwrap()
            .partition(1)
            .unwrap()
            .clone();
        skerry_installer::fat::add::add(&mut disk, esp.first * 512, "config.yaml", &text, 1_795_264_982).unwrap();
        let mut bytes = vec![0; usize::try_from(esp.sectors() * 512).unwrap()];
        disk.file().read_exact_at(&mut bytes, esp.first * 512).unwrap();
        let part = scratch.0.join("esp");
        let _ = fs::remove_file(&part);
        File::create_new(&part).unwrap().write_all_at(&bytes, 0).unwrap();
        let said = tools::run("fsck.fat", &["-n", "-v"], &part);
        assert!(!said.contains("Free cluster summary wrong"), "{said}");
    }
}

/// A release that brings its boot slot as an image is installed to the same bytes as one that does not.
#[test]
fn a_boot_image_is_what_the_installer_makes_of_its_files() {
    let scratch = Scratch::new("boot");
    let made = release(&scratch.0.join("r"), 70, 300_000, 50_000).release;
    let out = scratch.0.join("boot.img");
    skerry_installer::boot_slot::image(&made, &out).unwrap();
    tools::run("fsck.fat", &["-n"], &out);
    let plan = image::plan(&made, sizes(), &Extras::default()).unwrap();
    let mut disk = Recorder::new(Memory::new(plan.disk_bytes));
    let options = Options {
        temporary: scratch.0.clone(),
        ..Options::default()
    };
    skerry_installer::perform::perform(&plan, &mut disk, &options, &mut |_| {}).unwrap();
    let place = skerry_installer::device::table(&disk).primary.unwrap().partition(3).unwrap().first * 512;
    let expected = fs::read(&out).unwrap();
    let mut found = vec![0; expected.len()];
    disk.now.read(place, &mut found).unwrap();
    assert!(found == expected);
}

trait As {
    fn now_as(&self, bytes: u64) -> Recorder;
}

impl As for Recorder {
    fn now_as(&self, bytes: u64) -> Recorder {
        Recorder::new(self.now.clone().resized(bytes))
    }
}
