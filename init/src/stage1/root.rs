//! Where the root is, and whether it is the one that was asked for.

use super::medium::{self, Medium};
use skerry_sys::block::{self, Device};
use skerry_sys::iso9660::Volume;
use skerry_sys::module::{self, Index};
use skerry_sys::uevent::{Listener, News};
use skerry_sys::verity::{self, OnCorruption, RootHash};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From here on the console says what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A disk that has not come by then does not come.
const LIMIT: Duration = Duration::from_secs(30);

/// The root that the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Which device.
    pub place: Place,
    /// What its tree must end in.
    pub hash: RootHash,
    /// Where the tree is, in bytes.
    pub hash_offset: u64,
    /// What a damaged block does later on.
    pub on_corruption: OnCorruption,
}

/// How a device is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `/dev/vda`
    Path(PathBuf),
    /// `PARTLABEL=root-a`
    PartitionLabel(String),
    /// The root of a slot, on the disk whose boot partition has this GUID: another disk with Skerry on it does not matter.
    Slot {
        /// The boot partition's.
        boot: String,
        /// Which.
        slot: Slot,
    },
    /// The medium with a file that holds the root.
    Medium(Medium),
}

/// One of the two systems on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `a`
    A,
    /// `b`
    B,
}

impl Slot {
    /// The number of its root's partition.
    const fn root(self) -> u32 {
        match self {
            Self::A => 4,
            Self::B => 6,
        }
    }
}

impl Place {
    /// Reads the value of `skerry.root=`.
    pub fn parse(text: &str) -> Result<Self, Trouble> {
        match text.strip_prefix("PARTLABEL=") {
            Some(label) if !label.is_empty() => Ok(Self::PartitionLabel(label.to_owned())),
            None if text.starts_with("/dev/") => Ok(Self::Path(text.into())),
            _ => Err(Trouble::new(format!(
                "reading skerry.root={text}: expected /dev/NAME or PARTLABEL=NAME"
            ))),
        }
    }

    /// Reads the values of `skerry.boot=` and `skerry.slot=`.
    pub fn of_slot(boot: &str, slot: Option<&str>) -> Result<Self, Trouble> {
        let guid = boot.strip_prefix("PARTUUID=").filter(|guid| !guid.is_empty()).ok_or_else(|| {
            Trouble::new(format!("reading skerry.boot={boot}: expected PARTUUID=GUID"))
                .and("GRUB says by it which disk it loaded this kernel from; or name the root: skerry.root=/dev/NAME")
        })?;
        let slot = match slot {
            Some("a") => Slot::A,
            Some("b") => Slot::B,
            _ => {
                return Err(Trouble::new(format!(
                    "reading skerry.slot={}: expected a or b",
                    slot.unwrap_or_default()
                )));
            }
        };
        Ok(Self::Slot {
            boot: guid.to_owned(),
            slot,
        })
    }

    /// The device that is meant, among those there are. Where two are meant: neither.
    fn choose(&self, devices: &[Device], volume_of: impl Fn(&Path) -> Option<Volume>) -> Result<Option<PathBuf>, Trouble> {
        match self {
            Self::Medium(medium) => medium.choose(devices, volume_of),
            // A device without a medium has no size, and one may come yet.
            Self::Path(path) => Ok(devices.iter().find(|d| d.path == *path && d.bytes > 0).map(|d| d.path.clone())),
            Self::PartitionLabel(label) => {
                let found = one(
                    devices,
                    |d| d.partition_label.as_ref() == Some(label),
                    || format!("are both labelled {label}"),
                )?;
                Ok(found.map(|d| d.path.clone()))
            }
            Self::Slot { boot, slot } => {
                let is_boot = |d: &Device| d.guid.as_ref().is_some_and(|guid| guid.eq_ignore_ascii_case(boot));
                let said = || format!("have both the GUID {boot}: one disk is a copy of the other");
                let disk = one(devices, is_boot, said)?.and_then(|d| d.disk.as_deref());
                Ok(disk
                    .and_then(|disk| block::partition_of(devices, disk, slot.root()))
                    .map(|d| d.path.clone()))
            }
        }
    }
}

/// The one that fits, if there is one.
fn one(devices: &[Device], fits: impl Fn(&Device) -> bool, both: impl Fn() -> String) -> Result<Option<&Device>, Trouble> {
    let mut fitting = devices.iter().filter(|d| fits(d));
    match (fitting.next(), fitting.next()) {
        (Some(first), Some(second)) => Err(Trouble::new(format!(
            "choosing the root: {} and {} {}",
            first.path.display(),
            second.path.display(),
            both()
        ))
        .and("unplug one of the two disks, or name the device: skerry.root=/dev/NAME")),
        (first, _) => Ok(first),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::PartitionLabel(label) => write!(f, "a partition labelled {label}"),
            Self::Slot { boot, slot } => write!(f, "partition {} of the disk with partition {boot}", slot.root()),
            Self::Medium(medium) => write!(f, "{medium}"),
        }
    }
}

/// Why there is no root: what a person reads, line by line.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble(Vec<String>);

impl Trouble {
    /// One line: what was being done, on what, what came of it.
    pub fn new(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }
    /// What to do next.
    pub fn and(mut self, line: impl Into<String>) -> Self {
        self.0.push(line.into());
        self
    }
    /// All of it.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }
}

impl From<skerry_sys::Error> for Trouble {
    fn from(why: skerry_sys::Error) -> Self {
        Self::new(why.to_string())
    }
}

/// Waits for the device by the kernel's events, loading drivers for what appears meanwhile.
pub fn wait_for(request: &Request, listener: &Listener, drivers: &Index, say: impl Fn(&str)) -> Result<PathBuf, Trouble> {
    let mut tried = BTreeSet::new();
    let mut chosen = Ok(None);
    let hear = |news: Option<News>| match news {
        Some(News::Event(event)) => {
            if let Some(alias) = event.modalias.filter(|_| event.action == "add") {
                load_for(drivers, &alias, &mut tried, &say);
            }
        }
        Some(News::Lost) => _ = module::coldplug(drivers),
        None => say(&format!("waiting for {}, {} s at most", request.place, LIMIT.as_secs())),
    };
    let found = block::wait(listener, LIMIT, PATIENCE, hear, || {
        chosen = request.place.choose(&block::with_guids(block::devices()?), medium::volume_of);
        Ok(match &chosen {
            Ok(None) => None,
            _ => Some(()),
        })
    })?;
    match (found, chosen?) {
        (Some(()), Some(path)) => Ok(path),
        _ => Err(not_found(&request.place, &block::devices()?, medium::volume_of)),
    }
}

fn load_for(drivers: &Index, alias: &str, tried: &mut BTreeSet<String>, say: &impl Fn(&str)) {
    for name in drivers.lookup(alias) {
        if tried.insert(name.to_owned()) {
            if let Err(why) = module::load(drivers, name, "") {
                say(&why.to_string());
            }
        }
    }
}

fn not_found(place: &Place, there: &[Device], volume_of: impl Fn(&Path) -> Option<Volume>) -> Trouble {
    let label = |d: &Device| match place {
        Place::Medium(_) => Some(medium::described(volume_of(&d.path).as_ref())),
        _ => d.partition_label.clone(),
    };
    let describe = |d: &Device| match label(d) {
        Some(label) => format!("{} ({label})", d.path.display()),
        None => d.path.display().to_string(),
    };
    let names: Vec<_> = there.iter().filter(|d| d.bytes > 0).map(describe).collect();
    let there = if names.is_empty() {
        "no disk at all; its driver may be missing".to_owned()
    } else {
        names.join(", ")
    };
    Trouble::new(format!("waiting for {place}: it did not come within {} s", LIMIT.as_secs())).and(format!("there is {there}"))
}

/// Compares the tree to the hash, and makes the mapped device whose every read is checked.
pub fn verified(request: &Request, device: &Path) -> Result<PathBuf, Trouble> {
    let image = verity::check(device, request.hash_offset, request.hash).map_err(|why| {
        Trouble::from(why).and("the root is refused; kernel and root must come from one release, and the disk may be damaged")
    })?;
    Ok(verity::open("root", &image, request.on_corruption)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, bytes: u64, label: Option<&str>) -> Device {
        let path = Path::new("/dev").join(name);
        Device {
            name: name.into(),
            path,
            bytes,
            partition_label: label.map(str::to_owned),
            partition: None,
            is_read_only: false,
            guid: None,
            disk: None,
        }
    }

    /// Partition `number` of a disk, with a GUID that ends in `guid`.
    fn partition(disk: &str, number: u32, guid: &str) -> Device {
        Device {
            partition: Some(number),
            guid: Some(format!("3F0A-{guid}")),
            disk: Some(disk.to_owned()),
            ..device(&format!("{disk}{number}"), 9, Some("root-a"))
        }
    }

    #[test]
    fn a_slot_is_on_the_disk_that_was_booted() {
        let there = [
            partition("sda", 3, "1"),
            partition("sda", 4, "2"),
            partition("sdb", 3, "3"),
            partition("sdb", 4, "4"),
        ];
        let choose = |guid: &str, slot: &str, there: &[Device]| {
            Place::of_slot(&format!("PARTUUID={guid}"), Some(slot))
                .unwrap()
                .choose(there, |_| None)
        };
        assert_eq!(choose("3f0a-1", "a", &there), Ok(Some("/dev/sda4".into())));
        assert_eq!(choose("3f0a-3", "a", &there), Ok(Some("/dev/sdb4".into())));
        assert_eq!(choose("3f0a-3", "b", &there), Ok(None), "its partition 6 has not come yet");
        assert_eq!(choose("3f0a-5", "a", &there), Ok(None));
        let copied = [
            partition("sda", 3, "1"),
            partition("sda", 4, "2"),
            partition("sdb", 3, "1"),
            partition("sdb", 4, "2"),
        ];
        let said = choose("3f0a-1", "a", &copied).unwrap_err();
        let first = said.lines().next().unwrap();
        assert_eq!(
            first,
            "choosing the root: /dev/sda3 and /dev/sdb3 have both the GUID 3f0a-1: one disk is a copy of the other"
        );
        for (boot, slot) in [
            ("3f0a-1", Some("a")),
            ("PARTUUID=", Some("a")),
            ("PARTUUID=1", Some("c")),
            ("PARTUUID=1", None),
        ] {
            assert!(Place::of_slot(boot, slot).is_err(), "{boot} {slot:?}");
        }
    }

    #[test]
    fn one_device_is_chosen() {
        let there = [
            device("sr0", 0, None),
            device("vda", 9, None),
            device("vda4", 9, Some("root-a")),
            device("vda6", 9, Some("root-b")),
        ];
        let choose = |text: &str| Place::parse(text).unwrap().choose(&there, |_| None).unwrap();
        assert_eq!(choose("/dev/vda"), Some("/dev/vda".into()));
        assert_eq!(choose("PARTLABEL=root-b"), Some("/dev/vda6".into()));
        assert_eq!(choose("/dev/sr0"), None, "no medium yet");
        assert_eq!(choose("/dev/vdb"), None);
        assert_eq!(choose("PARTLABEL=root"), None);
    }

    #[test]
    fn of_two_neither_is_chosen_and_both_are_named() {
        let there = [device("sda4", 9, Some("root-a")), device("sdb4", 9, Some("root-a"))];
        let trouble = Place::PartitionLabel("root-a".into()).choose(&there, |_| None).unwrap_err();
        let first = trouble.lines().next().unwrap();
        assert_eq!(first, "choosing the root: /dev/sda4 and /dev/sdb4 are both labelled root-a");
    }

    #[test]
    fn what_is_there_is_said() {
        let place = Place::Path("/dev/vdb".into());
        let lines = |there: &[Device]| not_found(&place, there, |_| None).lines().cloned().collect::<Vec<_>>();
        assert_eq!(
            lines(&[]),
            [
                "waiting for /dev/vdb: it did not come within 30 s",
                "there is no disk at all; its driver may be missing"
            ]
        );
        let there = [device("vda", 9, None), device("vda1", 9, Some("esp"))];
        assert_eq!(lines(&there)[1], "there is /dev/vda, /dev/vda1 (esp)");
        let medium = Place::Medium(Medium::Label("SKERRY".into()));
        let volume = |path: &Path| {
            path.ends_with("sr0").then(|| Volume {
                label: "OTHER".into(),
                uuid: Some("2026-11-21-16-52-00-00".into()),
            })
        };
        let there = [device("sr0", 9, None), device("sr1", 0, None), device("vda1", 9, Some("esp"))];
        let lines: Vec<_> = not_found(&medium, &there, volume).lines().cloned().collect();
        assert_eq!(
            lines,
            [
                "waiting for a medium labelled SKERRY: it did not come within 30 s",
                "there is /dev/sr0 (OTHER, made 2026-11-21-16-52-00-00), /dev/vda1 (no ISO 9660 file system)"
            ]
        );
    }
}
