//! Jobs on files that stand for disks.

use super::super::wish::End;
use super::*;
use skerry_installer::choose::{Transport, Wanted};
use skerry_installer::content::Digest;
use skerry_installer::layout::Part;
use skerry_installer::record::{Memory, Recorder};
use std::io;

#[path = "../../../upgrade/tests/support/mod.rs"]
mod support;

use support::{Maker, Scratch, parts, write};

const DISK: u64 = 2_800_000_000 / MIB * MIB;

struct Bench {
    scratch: Scratch,
    maker: Maker,
    disk: Found,
}

impl Bench {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("job-{name}"));
        let maker = Maker::new();
        let key = maker.public.to_box().unwrap().into_string();
        write(&scratch.0.join("keys/test.pub"), key.as_bytes());
        let path = scratch.0.join("disk");
        File::create(&path).unwrap().set_len(DISK).unwrap();
        let disk = Found {
            name: "disk".into(),
            path,
            links: vec![],
            bytes: DISK,
            sector_bytes: 512,
            model: String::new(),
            serial: String::new(),
            transport: Transport::Sata,
            is_removable: false,
            is_read_only: false,
            holds: Holds::Nothing,
            is_running: false,
            used_by: vec![],
        };
        Self { scratch, maker, disk }
    }

    fn release(&self, seed: u64) -> Release {
        let folder = self.scratch.0.join(format!("r{seed}"));
        parts(seed, &format!("0.1.{seed}"), 1 << 20, 50_000).write(&folder, &self.maker);
        let trust = Trust {
            keys: self.scratch.0.join("keys"),
            unsigned: false,
        };
        release(&folder, &trust, &mut quiet()).unwrap()
    }

    fn wish(&self, purpose: Purpose, settings: Settings) -> Wish {
        Wish {
            onto: Onto::Disk(Wanted::Path(self.disk.path.clone())),
            from: PathBuf::new(),
            settings,
            purpose,
            spares_skerry: false,
            end: End::Stay,
            is_verbose: false,
        }
    }

    fn prepare(&self, wish: &Wish, release: &Release) -> Result<Job> {
        prepare(wish, release, std::slice::from_ref(&self.disk), &Stop::default())
    }

    fn digest(&self, part: Part) -> Digest {
        let disk = Disk::open_to_read(&self.disk.path).unwrap();
        let found = table(&disk).primary.unwrap();
        let place = found.partition(part.number()).unwrap();
        let mut bytes = vec![0; usize::try_from(place.sectors() * 512).unwrap()];
        disk.read_at(place.first * 512, &mut bytes).unwrap();
        Digest::of(&bytes)
    }

    fn good(&self) -> String {
        let disk = Disk::open_to_read(&self.disk.path).unwrap();
        let layout = Layout::of(&table(&disk).primary.unwrap(), skerry_installer::layout::Arch::Amd64).unwrap();
        boot_state(&layout, &disk).unwrap().read().state.good.to_string()
    }
}

fn quiet() -> Progress<'static> {
    Progress::lines(Box::new(|_| {}))
}

const NEW: Purpose = Purpose::New { erase: false };

#[test]
fn a_disk_is_installed_and_installed_again_with_its_data_kept() {
    let mut bench = Bench::new("again");
    let (one, two) = (bench.release(7), bench.release(8));
    let settings = Settings::Text(b"hostname: rock\n".to_vec());
    let job = bench.prepare(&bench.wish(NEW, settings.clone()), &one).unwrap();
    let tree = job.tree.as_ref().unwrap().0.clone();
    assert!(tree.join("system/config.yaml").exists());
    job.perform(&Stop::default(), &mut quiet()).unwrap();
    drop(job);
    assert!(!tree.exists());
    assert_eq!(bench.good(), "a");

    bench.disk.holds = Holds::Skerry;
    let said = bench.prepare(&bench.wish(NEW, settings.clone()), &two).unwrap_err();
    assert!(said.to_string().contains("--keep-data") && said.is::<Refused>(), "{said}");
    // What the configuration of a medium asks for does not take a Skerry away, even if all else may be erased.
    let mut unattended = bench.wish(Purpose::New { erase: true }, settings);
    unattended.spares_skerry = true;
    let said = bench.prepare(&unattended, &two).unwrap_err();
    assert!(
        said.to_string()
            .contains("it has Skerry already, and is left as it is: nothing was written"),
        "{said}"
    );

    let before = [Part::Esp, Part::RootA, Part::Data].map(|part| bench.digest(part));
    let job = bench.prepare(&bench.wish(Purpose::Again, Settings::None), &two).unwrap();
    assert!(job.keeps_data && job.halfway().contains("its data are whole"));
    job.perform(&Stop::default(), &mut quiet()).unwrap();
    assert_eq!(bench.good(), "b");
    assert_eq!([Part::Esp, Part::RootA, Part::Data].map(|part| bench.digest(part)), before);
    // And once more, back into the first.
    let job = bench.prepare(&bench.wish(Purpose::Again, Settings::None), &one).unwrap();
    job.perform(&Stop::default(), &mut quiet()).unwrap();
    assert_eq!(bench.good(), "a");
}

#[test]
fn nothing_to_keep_and_nothing_to_take_over() {
    let bench = Bench::new("none");
    let release = bench.release(7);
    for (wish, why) in [
        (
            bench.wish(Purpose::Again, Settings::None),
            "it holds no Skerry whose data could be kept",
        ),
        (bench.wish(NEW, Settings::K3os), "it holds no k3OS: nothing was written"),
        (bench.wish(NEW, Settings::Address("/nonexistent".into())), "/nonexistent"),
    ] {
        let said = format!("{:#}", bench.prepare(&wish, &release).unwrap_err());
        assert!(said.contains(why), "{said}");
    }
}

/// A disk that fails at its `nth` write.
struct Failing(Recorder, u64);

impl Device for Failing {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
    fn sector_bytes(&self) -> u32 {
        512
    }
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(at, into)
    }
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self.1.checked_sub(1) {
            None => Err(io::Error::from_raw_os_error(5)),
            Some(left) => {
                self.1 = left;
                self.0.write_at(at, bytes)
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_errs_is_named_with_the_state_it_is_in() {
    let bench = Bench::new("errs");
    let release = bench.release(7);
    let job = bench.prepare(&bench.wish(NEW, Settings::None), &release).unwrap();
    for nth in [0, 1, 20] {
        let mut disk = Failing(Recorder::new(Memory::new(DISK)), nth);
        let said = format!("{:#}", job.write(&mut disk, &Stop::default(), &mut quiet()).unwrap_err());
        assert!(
            said.contains("the disk does not boot now; start the installation again") && said.contains("Input/output error"),
            "{said}"
        );
    }
    let mut other = Failing(Recorder::new(Memory::new(DISK - MIB)), 0);
    let said = format!("{:#}", job.write(&mut other, &Stop::default(), &mut quiet()).unwrap_err());
    assert!(said.contains("nothing was written"), "{said}");
    assert!(is_named("quiet skerry.roothash=ab", Some("ab")) == Path::new("/run/skerry").exists());
    assert!(!is_named("skerry.roothash=ab", Some("cd")) && !is_named("", None));
}
