//! Where the root is, and whether it is the one that was asked for.

use skerry_sys::block::{self, Device};
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

    /// The device that is meant, among those there are. Two of one label: neither.
    fn choose(&self, devices: &[Device]) -> Result<Option<PathBuf>, Trouble> {
        let label = match self {
            // A device without a medium has no size, and one may come yet.
            Self::Path(path) => return Ok(devices.iter().find(|d| d.path == *path && d.bytes > 0).map(|d| d.path.clone())),
            Self::PartitionLabel(label) => label,
        };
        let mut fitting = devices
            .iter()
            .filter(|d| d.partition_label.as_ref() == Some(label))
            .map(|d| &d.path);
        match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => Err(Trouble::new(format!(
                "choosing the root: {} and {} are both labelled {label}",
                first.display(),
                second.display()
            ))
            .and("unplug one of the two disks, or name the device: skerry.root=/dev/NAME")),
            (first, _) => Ok(first.cloned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::PartitionLabel(label) => write!(f, "a partition labelled {label}"),
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
        chosen = request.place.choose(&block::devices()?);
        Ok(match &chosen {
            Ok(None) => None,
            _ => Some(()),
        })
    })?;
    match (found, chosen?) {
        (Some(()), Some(path)) => Ok(path),
        _ => Err(not_found(&request.place, &block::devices()?)),
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

fn not_found(place: &Place, there: &[Device]) -> Trouble {
    let describe = |d: &Device| match &d.partition_label {
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
        let choose = |text: &str| Place::parse(text).unwrap().choose(&there).unwrap();
        assert_eq!(choose("/dev/vda"), Some("/dev/vda".into()));
        assert_eq!(choose("PARTLABEL=root-b"), Some("/dev/vda6".into()));
        assert_eq!(choose("/dev/sr0"), None, "no medium yet");
        assert_eq!(choose("/dev/vdb"), None);
        assert_eq!(choose("PARTLABEL=root"), None);
    }

    #[test]
    fn of_two_neither_is_chosen_and_both_are_named() {
        let there = [device("sda4", 9, Some("root-a")), device("sdb4", 9, Some("root-a"))];
        let trouble = Place::PartitionLabel("root-a".into()).choose(&there).unwrap_err();
        let first = trouble.lines().next().unwrap();
        assert_eq!(first, "choosing the root: /dev/sda4 and /dev/sdb4 are both labelled root-a");
    }

    #[test]
    fn what_is_there_is_said() {
        let place = Place::Path("/dev/vdb".into());
        let lines = |there: &[Device]| not_found(&place, there).lines().cloned().collect::<Vec<_>>();
        assert_eq!(
            lines(&[]),
            [
                "waiting for /dev/vdb: it did not come within 30 s",
                "there is no disk at all; its driver may be missing"
            ]
        );
        let there = [device("vda", 9, None), device("vda1", 9, Some("esp"))];
        assert_eq!(lines(&there)[1], "there is /dev/vda, /dev/vda1 (esp)");
    }
}
