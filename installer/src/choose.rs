//! Which disk? What was asked for and what there is, to one disk, or to the reason why none.
//!
//! Rules for machines without a person: when in doubt, none. A disk that holds anything is taken only when told so, the disk that runs
//! never, and of two that fit equally well neither.

use crate::step::Size;
use serde::Serialize;
use skerry_config::size::bytes;
use std::fmt;
use std::path::{Path, PathBuf};

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A stick, or a disk in an enclosure.
    Usb,
    /// NVM Express.
    Nvme,
    /// SATA, or older.
    Sata,
    /// An SD card, or eMMC.
    Mmc,
    /// A virtual machine's.
    Virtio,
    /// SAS, iSCSI and all others.
    Scsi,
}

impl Transport {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Usb, "usb"),
        (Self::Nvme, "nvme"),
        (Self::Sata, "sata"),
        (Self::Mmc, "mmc"),
        (Self::Virtio, "virtio"),
        (Self::Scsi, "scsi"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(t, _)| *t == self).map_or("", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(t, _)| t)
    }
}

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "what")]
pub enum Holds {
    /// Nothing: no table, no file system; zeros where they would be.
    Nothing,
    /// Skerry.
    Skerry,
    /// k3OS: a file system with the label `K3OS_STATE`.
    K3os,
    /// Something else, in words.
    Other(String),
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The kernel's name: `sda`.
    pub name: String,
    /// `/dev/sda`.
    pub path: PathBuf,
    /// Other names of it: `/dev/disk/by-id/…`.
    pub links: Vec<PathBuf>,
    /// Its length.
    pub bytes: u64,
    /// Its logical sectors' length.
    pub sector_bytes: u32,
    /// What its maker calls it.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// How it is attached.
    pub transport: Transport,
    /// Its medium can be taken out.
    pub is_removable: bool,
    /// It cannot be written.
    pub is_read_only: bool,
    /// What is on it.
    pub holds: Holds,
    /// The running system lies on it.
    pub is_running: bool,
    /// What uses it: mount points, swap, other devices.
    pub used_by: Vec<String>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.path.display(), Size(self.bytes), self.transport.name())?;
        for word in [&self.model, &self.serial].into_iter().filter(|w| !w.is_empty()) {
            write!(f, ", {word}")?;
        }
        f.write_str(")")
    }
}

/// Which disk was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Path(PathBuf),
    /// One that all of these are true of.
    Rule(Rule),
}

/// Words with commas between: `transport=nvme,size>=100G,smallest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What has to be true.
    tests: Vec<Test>,
    /// Which one, of several.
    pick: Option<Pick>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Model(String),
    Serial(String),
    Transport(Transport),
    AtLeast(u64),
    AtMost(u64),
    Empty,
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    Smallest,
    Largest,
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading the disk {text:?}: {word:?} is not known / try: a path such as /dev/sda, or words with commas between: smallest, largest, \
     empty, fixed, transport=usb|nvme|sata|mmc|virtio|scsi, model=…, serial=…, size>=64G, size<=2T"
)]
pub struct Unknown {
    text: String,
    word: String,
}

impl Wanted {
    /// Reads a path or a rule.
    pub fn parse(text: &str) -> Result<Self, Unknown> {
        if text.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let mut rule = Rule::default();
        for word in text.split(',').map(str::trim) {
            let unknown = || Unknown {
                text: text.to_owned(),
                word: word.to_owned(),
            };
            match word {
                "smallest" if rule.pick.is_none() => rule.pick = Some(Pick::Smallest),
                "largest" if rule.pick.is_none() => rule.pick = Some(Pick::Largest),
                "empty" => rule.tests.push(Test::Empty),
                "fixed" => rule.tests.push(Test::Fixed),
                _ => rule.tests.push(Test::parse(word).ok_or_else(unknown)?),
            }
        }
        Ok(Self::Rule(rule))
    }
}

impl Test {
    fn parse(word: &str) -> Option<Self> {
        if let Some(size) = word.strip_prefix("size>=") {
            return bytes(size).map(Self::AtLeast);
        }
        if let Some(size) = word.strip_prefix("size<=") {
            return bytes(size).map(Self::AtMost);
        }
        let (key, value) = word.split_once('=').filter(|(_, value)| !value.is_empty())?;
        match key {
            "model" => Some(Self::Model(value.to_lowercase())),
            "serial" => Some(Self::Serial(value.to_lowercase())),
            "transport" => Transport::parse(value).map(Self::Transport),
            _ => None,
        }
    }

    /// Why a disk does not pass.
    fn fails(&self, disk: &Disk) -> Option<String> {
        let (passes, why) = match self {
            Self::Model(part) => (disk.model.to_lowercase().contains(part), format!("its model is {:?}", disk.model)),
            Self::Serial(part) => (
                disk.serial.to_lowercase() == *part,
                format!("its serial number is {:?}", disk.serial),
            ),
            Self::Transport(t) => (disk.transport == *t, format!("its transport is {}", disk.transport.name())),
            Self::AtLeast(least) => (disk.bytes >= *least, format!("it has {}", Size(disk.bytes))),
            Self::AtMost(most) => (disk.bytes <= *most, format!("it has {}", Size(disk.bytes))),
            Self::Empty => (disk.holds == Holds::Nothing, "it is not empty".to_owned()),
            Self::Fixed => (!disk.is_removable && disk.transport != Transport::Usb, "it is removable".to_owned()),
        };
        (!passes).then_some(why)
    }
}

/// What the disk is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new installation. `erase`: also on a disk that holds something, which is lost.
    New {
        /// The owner said that it may be lost.
        erase: bool,
    },
    /// An installation into the other slot of a disk with Skerry, which keeps its data.
    Again,
}

/// Why there is no disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such disk.
    #[error("looking for {}: there is no such disk / try: `lsblk`; a partition is no disk", .0.display())]
    Missing(PathBuf),
    /// It cannot be taken.
    #[error("choosing {disk}: {why}")]
    Not {
        /// The disk.
        disk: String,
        /// Why not.
        why: Not,
    },
    /// None fits.
    #[error("choosing a disk: none fits{}", listed(.0))]
    None(Vec<(String, String)>),
    /// Several fit.
    #[error("choosing a disk: {} fit equally well / try: one of them by its path, or a stricter rule", .0.join(" and "))]
    Several(Vec<String>),
}

fn listed(reasons: &[(String, String)]) -> String {
    let lines: Vec<String> = reasons.iter().map(|(disk, why)| format!("\n  {disk}: {why}")).collect();
    lines.concat()
}

/// Why a disk cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Not {
    /// The system runs from it.
    #[error("this system runs from it / try: start from another medium")]
    Running,
    /// Something uses it.
    #[error("it is used by {} / try: unmount it", .0.join(", "))]
    Used(Vec<String>),
    /// It is write-protected.
    #[error("it is read-only")]
    ReadOnly,
    /// Its sectors are too long.
    #[error("its sectors have {0} bytes; 512 are needed")]
    Sectors(u32),
    /// It is too small.
    #[error("it has {}, and {} are needed", Size(*.bytes), Size(*.needed))]
    Small {
        /// Its length.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
    /// It is not empty.
    #[error("it holds {0}, which would be lost / try: --erase, if it may be")]
    Holds(String),
    /// There is nothing to keep.
    #[error("it holds no Skerry whose data could be kept / try: without keeping data")]
    NoSkerry,
}

/// What a disk holds, in words.
fn words(holds: &Holds) -> String {
    match holds {
        Holds::Nothing => "nothing".to_owned(),
        Holds::Skerry => "Skerry and its data (--keep-data keeps them)".to_owned(),
        Holds::K3os => "k3OS and its data".to_owned(),
        Holds::Other(what) => what.clone(),
    }
}

/// Why this disk cannot be taken. `needed` in bytes.
fn obstacle(disk: &Disk, needed: u64, purpose: Purpose) -> Result<(), Not> {
    if disk.is_running {
        return Err(Not::Running);
    }
    if !disk.used_by.is_empty() {
        return Err(Not::Used(disk.used_by.clone()));
    }
    if disk.is_read_only {
        return Err(Not::ReadOnly);
    }
    if disk.sector_bytes != 512 {
        return Err(Not::Sectors(disk.sector_bytes));
    }
    match purpose {
        Purpose::Again if disk.holds != Holds::Skerry => Err(Not::NoSkerry),
        Purpose::New { .. } if disk.bytes < needed => Err(Not::Small { bytes: disk.bytes, needed }),
        Purpose::New { erase: false } if disk.holds != Holds::Nothing => Err(Not::Holds(words(&disk.holds))),
        _ => Ok(()),
    }
}

/// Chooses.
pub fn choose<'a>(wanted: &Wanted, disks: &'a [Disk], needed: u64, purpose: Purpose) -> Result<&'a Disk, Refused> {
    match wanted {
        Wanted::Path(path) => {
            let is_it = |d: &&Disk| d.path == *path || d.links.iter().any(|l| l == Path::new(path));
            let disk = disks.iter().find(is_it).ok_or_else(|| Refused::Missing(path.clone()))?;
            obstacle(disk, needed, purpose).map_err(|why| Refused::Not {
                disk: disk.to_string(),
                why,
            })?;
            Ok(disk)
        }
        Wanted::Rule(rule) => by_rule(rule, disks, needed, purpose),
    }
}

fn by_rule<'a>(rule: &Rule, disks: &'a [Disk], needed: u64, purpose: Purpose) -> Result<&'a Disk, Refused> {
    let mut reasons = vec![];
    let mut fit = vec![];
    for disk in disks {
        let not = rule.tests.iter().find_map(|t| t.fails(disk));
        match not.or_else(|| obstacle(disk, needed, purpose).err().map(|why| why.to_string())) {
            Some(why) => reasons.push((disk.to_string(), why)),
            None => fit.push(disk),
        }
    }
    let best = match rule.pick {
        Some(Pick::Smallest) => fit.iter().map(|d| d.bytes).min(),
        Some(Pick::Largest) => fit.iter().map(|d| d.bytes).max(),
        None => None,
    };
    fit.retain(|d| best.is_none_or(|b| d.bytes == b));
    match fit.as_slice() {
        [] => Err(Refused::None(reasons)),
        [one] => Ok(one),
        several => Err(Refused::Several(several.iter().map(ToString::to_string).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, gigabytes: u64, transport: Transport, holds: Holds) -> Disk {
        Disk {
            name: name.into(),
            path: Path::new("/dev").join(name),
            links: vec![Path::new("/dev/disk/by-id").join(format!("id-{name}"))],
            bytes: gigabytes * 1_000_000_000,
            sector_bytes: 512,
            model: format!("Model {name}"),
            serial: format!("S{name}"),
            transport,
            is_removable: transport == Transport::Usb,
            is_read_only: false,
            holds,
            is_running: false,
            used_by: vec![],
        }
    }

    fn all() -> Vec<Disk> {
        let mut all = vec![
            disk("sda", 500, Transport::Sata, Holds::Nothing),
            disk("sdb", 64, Transport::Usb, Holds::Other("an ext4 file system".into())),
            disk("nvme0n1", 250, Transport::Nvme, Holds::K3os),
            disk("nvme1n1", 250, Transport::Nvme, Holds::Nothing),
            disk("vda", 2, Transport::Virtio, Holds::Nothing),
            disk("sdc", 4000, Transport::Sata, Holds::Skerry),
            disk("sdd", 500, Transport::Sata, Holds::Nothing),
        ];
        all[6].is_running = true;
        all[6].used_by = vec!["/".into()];
        all
    }

    fn chosen(wanted: &str, purpose: Purpose) -> Result<String, String> {
        let disks = all();
        let found = choose(&Wanted::parse(wanted).unwrap(), &disks, 4_000_000_000, purpose);
        found.map(|d| d.name.clone()).map_err(|why| why.to_string())
    }

    const NEW: Purpose = Purpose::New { erase: false };
    const ERASE: Purpose = Purpose::New { erase: true };

    #[test]
    fn rules() {
        for (rule, purpose, name) in [
            ("/dev/sda", NEW, "sda"),
            ("/dev/disk/by-id/id-sda", NEW, "sda"),
            ("smallest", NEW, "nvme1n1"),
            ("largest", NEW, "sda"),
            ("smallest", ERASE, "sdb"),
            ("smallest,fixed,transport=sata", ERASE, "sda"),
            ("serial=snvme0n1", ERASE, "nvme0n1"),
            ("model=NVME1", NEW, "nvme1n1"),
            ("size>=300G,size<=1TB", NEW, "sda"),
            ("empty,transport=nvme", ERASE, "nvme1n1"),
            ("largest", ERASE, "sdc"),
            ("transport=sata", Purpose::Again, "sdc"),
        ] {
            assert_eq!(chosen(rule, purpose), Ok(name.to_owned()), "{rule}");
        }
    }

    #[test]
    fn refusals_say_why() {
        for (rule, purpose, why) in [
            ("/dev/sdz", NEW, "looking for /dev/sdz: there is no such disk"),
            ("/dev/sdd", ERASE, "this system runs from it"),
            ("/dev/sdb", NEW, "it holds an ext4 file system, which would be lost / try: --erase"),
            ("/dev/nvme0n1", NEW, "it holds k3OS and its data"),
            ("/dev/sdc", NEW, "it holds Skerry and its data (--keep-data keeps them)"),
            ("/dev/sda", Purpose::Again, "it holds no Skerry"),
            ("/dev/vda", NEW, "it has 1.9 GiB, and 3.7 GiB are needed"),
            (
                "transport=nvme",
                ERASE,
                "nvme0n1 (232.8 GiB, nvme, Model nvme0n1, Snvme0n1) and /dev/nvme1n1",
            ),
            (
                "transport=mmc",
                NEW,
                "none fits\n  /dev/sda (465.7 GiB, sata, Model sda, Ssda): its transport is sata",
            ),
        ] {
            let said = chosen(rule, purpose).unwrap_err();
            assert!(said.contains(why), "{rule}: {said}");
        }
        for text in ["", "huge", "size>=", "size>=4X", "transport=floppy", "smallest,largest", "model="] {
            assert!(Wanted::parse(text).is_err(), "{text}");
        }
    }

    /// Whatever is asked for, the running disk is never the answer, nor one in use, nor one with data unless told.
    #[test]
    fn no_rule_gives_what_must_not_be_written() {
        let words = [
            "smallest",
            "largest",
            "fixed",
            "empty",
            "transport=sata",
            "size>=1G",
            "size<=9T",
            "serial=ssdd",
        ];
        for set in 1u32..1 << words.len() {
            let rule: Vec<&str> = words
                .iter()
                .enumerate()
                .filter(|(n, _)| set >> n & 1 == 1)
                .map(|(_, w)| *w)
                .collect();
            let Ok(wanted) = Wanted::parse(&rule.join(",")) else { continue };
            for purpose in [NEW, ERASE, Purpose::Again] {
                let disks = all();
                if let Ok(found) = choose(&wanted, &disks, 4_000_000_000, purpose) {
                    assert!(!found.is_running && found.used_by.is_empty());
                    assert!(purpose != NEW || found.holds == Holds::Nothing);
                    assert!(purpose != Purpose::Again || found.holds == Holds::Skerry);
                }
            }
        }
    }
}
