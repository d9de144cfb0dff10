//! An update is cut at every write and within each: the old system boots, or the new one, and never less.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../../installer/tests/support/reader.rs"]
mod reader;
mod support;

use reader::{Boots, bios, uefi};
use semver::Version;
use skerry_installer::content::Digest;
use skerry_installer::device::Device;
use skerry_installer::layout::{Arch, Data, Ids, MIB, Medium, Part, Request, Sizes};
use skerry_installer::perform::{Options, perform};
use skerry_installer::plan::{Extras, new};
use skerry_installer::record::{Event, Memory, Recorder};
use skerry_slots::pair::Pair;
use skerry_slots::rules;
use skerry_slots::state::{Slot, State, Tries};
use skerry_upgrade::machine::parts as places_of;
use skerry_upgrade::stage::{Facts, plan};
use skerry_upgrade::trust::{self, Checked, Told, check};
use support::{Maker, Parts, Scratch, parts};

const ROOT: usize = 4 << 20;
const KERNEL: usize = 1 << 20;

fn sizes() -> Sizes {
    Sizes {
        esp: 4 * MIB,
        boot: 3 * MIB,
        root: 6 * MIB,
        data: Data::Bytes(32 * MIB),
    }
}

fn medium() -> Medium {
    Medium {
        bytes: sizes().needed(Arch::Amd64),
        sector_bytes: 512,
    }
}

struct Bench {
    scratch: Scratch,
    maker: Maker,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self {
            scratch: Scratch::new(name),
            maker: Maker::new(),
        }
    }

    fn checked(&self, name: &str, parts: &Parts) -> Checked {
        let folder = self.scratch.0.join(name);
        parts.write(&folder, &self.maker);
        let facts = trust::Facts {
            arch: Arch::Amd64,
            running: Some(Version::new(0, 1, 0)),
            slot: None,
            failed: vec![],
        };
        check(&folder, &[self.maker.key("ours")], &facts, Told::default(), &mut |_, _| {}).unwrap()
    }

    fn installed(&self, checked: &Checked) -> Memory {
        let request = Request {
            sizes: sizes(),
            arch: Arch::Amd64,
            ids: Ids([1; 32]),
            is_image: false,
        };
        let plan = new(&checked.release, &request, &medium(), &Extras::default()).unwrap();
        let mut disk = Recorder::new(Memory::new(medium().bytes));
        let options = Options {
            temporary: self.scratch.0.clone(),
            ..Options::default()
        };
        perform(&plan, &mut disk, &options, &mut |_| {}).unwrap();
        disk.now
    }
}

fn both(disk: &Memory, root: usize) -> [Boots; 2] {
    [bios(disk, root), uefi(disk, medium().bytes, root)]
}

fn is(boots: &Boots, parts: &Parts) -> bool {
    match boots {
        Boots::System { parts: found, .. } => ["vmlinuz", "initrd.img", "root.img"]
            .iter()
            .all(|name| found[name] == parts.files[*name]),
        _ => false,
    }
}

fn state(disk: &Memory, facts: &Facts) -> Pair {
    let mut pair = Pair::of(State::settled(Slot::A));
    let at = facts.layout.place(Part::Bootstate).unwrap().at;
    let [zero, one] = skerry_slots::partition::PLACES;
    disk.read(at + zero * 512, &mut pair.zero).unwrap();
    disk.read(at + one * 512, &mut pair.one).unwrap();
    pair
}

fn set_state(disk: &mut Memory, facts: &Facts, pair: &Pair) {
    let at = facts.layout.place(Part::Bootstate).unwrap().at;
    let [zero, one] = skerry_slots::partition::PLACES;
    disk.write(at + zero * 512, &pair.zero).unwrap();
    disk.write(at + one * 512, &pair.one).unwrap();
}

fn look(disk: &Recorder) -> Facts {
    Facts::look(disk, Arch::Amd64, Slot::A).unwrap()
}

const TRIAL: State = State {
    good: Slot::A,
    trial: Some(Tries::ALL),
};

#[test]
fn every_cut_of_an_update_boots_the_old_system_or_the_new_one() {
    let bench = Bench::new("stage");
    let (old, new) = (parts(10, "0.1.0", ROOT, KERNEL), parts(20, "0.2.0", ROOT, KERNEL));
    let root = old.files["root.img"].len();
    let mut disk = Recorder::new(bench.installed(&bench.checked("old", &old)));
    // As a candidate that waits: the update has to take it off trial first.
    let before = look(&disk);
    let mut waiting = disk.now.clone();
    set_state(&mut waiting, &before, &Pair::of(TRIAL));
    assert!(both(&waiting, root).iter().all(|b| is(b, &old)), "GRUB passes over an empty slot");
    disk = Recorder::new(waiting);
    let facts = look(&disk);
    let checked = bench.checked("new", &new);
    let planned = plan(&checked, &facts).unwrap();
    assert_eq!((planned.begin.len(), planned.write.len(), planned.finish.len()), (2, 3, 2));
    let (mut last, mut total) = (0, 0);
    let report = planned
        .perform(&mut disk, 4096, &mut |p| {
            assert!(p.done >= last && p.done <= p.total);
            (last, total) = (p.done, p.total);
        })
        .unwrap();
    assert_eq!((report.slot, last), ("b", total));
    assert_eq!(report.written * 2, total);

    let slot: Vec<_> = places_of(Slot::B)
        .into_iter()
        .chain([Part::Bootstate])
        .map(|p| facts.layout.place(p).unwrap())
        .collect();
    for event in &disk.events {
        if let Event::Write(at, bytes) = event {
            let end = at + bytes.len() as u64;
            assert!(
                slot.iter().any(|p| *at >= p.at && end <= p.at + p.bytes),
                "{at} is not to be written"
            );
        }
    }
    let decides: Vec<_> = Part::ALL
        .into_iter()
        .filter(|p| *p != Part::Data)
        .map(|p| facts.layout.place(p).unwrap())
        .collect();
    let judge = |cut: &Memory, event: usize| {
        let pair = state(cut, &facts);
        let view = pair.read();
        assert!(view.is_known() && view.state.good == Slot::A, "event {event}: {view:?}");
        let found = both(cut, root);
        let is_new = is(&found[0], &new);
        assert!(found[0] == found[1] && (is_new || is(&found[0], &old)), "event {event}");
        // And whatever was booted then, the update can be begun again.
        rules::begin_write(&pair, Slot::A).unwrap();
        is_new
    };
    // Cuts between which nothing changed but the slot that is written and not on trial are read here and there.
    let (mut states, mut read, mut news, mut seen): (u32, u32, u32, Option<(Memory, Pair)>) = (0, 0, 0, None);
    let counted = disk
        .cuts(512, |cut, event| {
            states += 1;
            let pair = state(cut, &facts);
            assert!(pair.read().is_known() && pair.read().state.good == Slot::A);
            let on_trial = pair.zero != State::settled(Slot::A).encode() || pair.one != State::settled(Slot::A).encode();
            let is_read = seen.as_ref().is_some_and(|(before, p)| {
                *p == pair && (!on_trial && states % 64 != 0 || decides.iter().all(|d| cut.is_same(before, d.at, d.bytes)))
            });
            if !is_read {
                read += 1;
                news += u32::from(judge(cut, event));
                seen = Some((cut.clone(), pair));
            }
            Ok::<(), ()>(())
        })
        .unwrap();
    eprintln!("{counted} states, {read} of them read whole, {news} of them boot the new system");
    assert!(counted > 10_000 && read > 100 && news > 0);
    assert!(both(&disk.now, root).iter().all(|b| is(b, &new)));
    assert_eq!(state(&disk.now, &facts), Pair::of(TRIAL));

    let mut rng = 3u64;
    for event in (0..=disk.events.len()).filter(|n| n % 100 == 0 || *n < 20 || n + 20 > disk.events.len()) {
        let cut = disk.reordered(event, || {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            rng >> 63 == 1
        });
        judge(&cut, event);
    }
}

#[test]
fn who_was_interrupted_starts_over() {
    let bench = Bench::new("again");
    let (old, new) = (parts(10, "0.1.0", 64 << 10, 32 << 10), parts(20, "0.2.0", 64 << 10, 32 << 10));
    let root = old.files["root.img"].len();
    let installed = bench.installed(&bench.checked("old", &old));
    let checked = bench.checked("new", &new);
    let events = {
        let mut disk = Recorder::new(installed.clone());
        let planned = plan(&checked, &look(&disk)).unwrap();
        planned.perform(&mut disk, 4096, &mut |_| {}).unwrap();
        disk.events.len()
    };
    for stop in 0..events {
        let mut disk = Recorder::new(installed.clone());
        disk.faults_after = Some(stop);
        let planned = plan(&checked, &look(&disk)).unwrap();
        let said = format!("{:#}", planned.perform(&mut disk, 4096, &mut |_| {}).unwrap_err());
        assert!(said.contains("writing slot b: the running system is as it was"), "{said}");
        let mut disk = Recorder::new(disk.now);
        assert!(
            both(&disk.now, root).iter().all(|b| is(b, &old) || is(b, &new)),
            "stopped at {stop}"
        );
        let planned = plan(&checked, &look(&disk)).unwrap();
        planned.perform(&mut disk, 4096, &mut |_| {}).unwrap();
        assert!(both(&disk.now, root).iter().all(|b| is(b, &new)), "stopped at {stop}");
    }
}

#[test]
fn what_must_not_be_written_is_refused() {
    let bench = Bench::new("refused");
    let (old, new) = (parts(10, "0.1.0", 64 << 10, 32 << 10), parts(20, "0.2.0", 64 << 10, 32 << 10));
    let installed = bench.installed(&bench.checked("old", &old));
    let checked = bench.checked("new", &new);
    let clean = Recorder::new(installed.clone());
    let facts = look(&clean);

    // The candidate runs and has not proven itself: its good slot is not to be written.
    let trial = Facts {
        running: Slot::B,
        pair: Pair::of(TRIAL),
        ..facts.clone()
    };
    let said = format!("{:#}", plan(&checked, &trial).unwrap_err());
    assert!(
        said.contains("has not proven itself yet") && said.contains("slot a is the good one"),
        "{said}"
    );
    let lost = Facts {
        pair: Pair {
            zero: [0; 512],
            one: [0; 512],
        },
        ..facts.clone()
    };
    let said = format!("{:#}", plan(&checked, &lost).unwrap_err());
    assert!(said.contains("both copies of the boot state are damaged"), "{said}");

    // Somebody changes the boot state after the plan was made, and while it is written.
    let planned = plan(&checked, &facts).unwrap();
    let mut disk = clean.clone();
    set_state(&mut disk.now, &facts, &Pair::of(TRIAL));
    let said = format!("{:#}", planned.perform(&mut disk, 4096, &mut |_| {}).unwrap_err());
    assert!(said.contains("the boot state has changed") && disk.events.is_empty(), "{said}");
    let mut meddled = Meddled {
        disk: clean.clone(),
        after: 12,
        with: Pair::of(State::settled(Slot::B)),
        at: facts.layout.place(Part::Bootstate).unwrap().at,
    };
    let said = format!("{:#}", planned.perform(&mut meddled, 4096, &mut |_| {}).unwrap_err());
    assert!(
        said.contains("asking before writing on") && said.contains("slot b is the good one"),
        "{said}"
    );

    // The medium with the release is swapped after it was checked.
    let path = bench.scratch.0.join("new/root.img");
    let mut bytes = new.files["root.img"].clone();
    bytes[5000] ^= 1;
    support::write(&path, &bytes);
    let mut disk = clean.clone();
    let said = format!("{:#}", planned.perform(&mut disk, 4096, &mut |_| {}).unwrap_err());
    assert!(said.contains("its SHA-256 is not the manifest's"), "{said}");
    let root = old.files["root.img"].len();
    assert!(both(&disk.now, root).iter().all(|b| is(b, &old)));
    assert_eq!(state(&disk.now, &facts), Pair::of(State::settled(Slot::A)));

    support::write(&path, &new.files["root.img"]);

    // The same of a file in the boot slot, which would count as soon as it is whole: the slot's first sector, written last, is not there.
    let path = bench.scratch.0.join("new/initrd.img");
    let mut bytes = new.files["initrd.img"].clone();
    bytes[5000] ^= 1;
    support::write(&path, &bytes);
    let mut disk = clean.clone();
    let said = format!("{:#}", planned.perform(&mut disk, 4096, &mut |_| {}).unwrap_err());
    assert!(said.contains("its SHA-256 is not the manifest's"), "{said}");
    let mut sector = [0; 512];
    disk.now.read(facts.layout.place(Part::BootB).unwrap().at, &mut sector).unwrap();
    assert!(!sector.ends_with(&[0x55, 0xAA]), "a file that was never checked can be booted");
    support::write(&path, &new.files["initrd.img"]);

    // A disk that lies.
    let mut disk = clean.clone();
    disk.loses = Some(5);
    let said = format!("{:#}", planned.perform(&mut disk, 4096, &mut |_| {}).unwrap_err());
    assert!(said.contains("read back, it is not what was written"), "{said}");
}

/// Another program changes the boot state after some events.
struct Meddled {
    disk: Recorder,
    after: usize,
    with: Pair,
    at: u64,
}

impl Device for Meddled {
    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }
    fn sector_bytes(&self) -> u32 {
        512
    }
    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(at, into)
    }
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.disk.write_at(at, bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        if self.disk.events.len() >= self.after {
            let [zero, one] = skerry_slots::partition::PLACES;
            self.disk.now.write(self.at + zero * 512, &self.with.zero)?;
            self.disk.now.write(self.at + one * 512, &self.with.one)?;
        }
        self.disk.flush()
    }
    fn forget(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_plan_is_shown_in_words_and_as_json() {
    let bench = Bench::new("shown");
    let (old, new) = (parts(10, "0.1.0", 64 << 10, 32 << 10), parts(20, "0.2.0", 64 << 10, 32 << 10));
    let disk = Recorder::new(bench.installed(&bench.checked("old", &old)));
    let planned = plan(&bench.checked("new", &new), &look(&disk)).unwrap();
    let text = planned.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Skerry 0.2.0 (signed by ours) into slot b; slot a runs");
    assert!(
        lines[1].contains("1. erase the old kernel of the slot that is not good: boot-b"),
        "{text}"
    );
    assert!(lines[2].contains("2. write root.img ("), "{text}");
    assert!(
        text.contains("change the boot state: slot b is on trial, with three tries (env1)\n"),
        "{text}"
    );
    let json = serde_json::to_value(&planned).unwrap();
    assert_eq!(
        (&json["slot"], &json["running"], &json["version"]),
        (&"b".into(), &"a".into(), &"0.2.0".into())
    );
    assert_eq!(
        json["root_hash"],
        Digest::parse(json["root_hash"].as_str().unwrap()).unwrap().to_string()
    );
    assert_eq!(json["write"].as_array().unwrap().len(), 3);
}
