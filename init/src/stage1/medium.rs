//! A root in a file on a medium: the ISO, as a disc or on a stick. Found by what its file system says of itself.

use super::root::Trouble;
use skerry_sys::block::Device;
use skerry_sys::iso9660::{self, Volume};
use skerry_sys::kmsg::kmsg;
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::{file, loopback};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where it stays mounted: it goes along with `/run`, and later steps find the release and the owner's files there.
pub const AT: &str = "/run/skerry/medium";
/// The root, on the medium.
const ROOT: &str = "skerry/root.img";
/// What a medium needs and no hardware asks for.
const BY_NEED: [&str; 2] = ["fs-iso9660", "loop"];
/// How often the kernel looks into drives that cannot say by themselves that a disc was put in; 0 is never, which is its default.
const POLL: &str = "/sys/module/block/parameters/events_dfl_poll_msecs";
const POLL_MILLISECONDS: &str = "1000";

/// How a medium is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// `LABEL=SKERRY`
    Label(String),
    /// `UUID=2026-11-21-16-52-00-00`: the one that GRUB was read from, whatever others there are.
    Uuid(String),
    /// `/dev/sr0`
    Path(PathBuf),
}

impl Medium {
    /// Reads the value of `skerry.medium=`.
    pub fn parse(text: &str) -> Result<Self, Trouble> {
        match text.split_once('=') {
            Some(("LABEL", label)) if !label.is_empty() => Ok(Self::Label(label.to_owned())),
            Some(("UUID", uuid)) if !uuid.is_empty() => Ok(Self::Uuid(uuid.to_owned())),
            None if text.starts_with("/dev/") => Ok(Self::Path(text.into())),
            _ => Err(Trouble::new(format!(
                "reading skerry.medium={text}: expected LABEL=NAME, UUID=DATE or /dev/NAME"
            ))),
        }
    }

    fn fits(&self, device: &Device, volume: &Volume) -> bool {
        match self {
            Self::Label(label) => volume.label == *label,
            Self::Uuid(uuid) => volume.uuid.as_ref() == Some(uuid),
            Self::Path(path) => device.path == *path,
        }
    }

    /// The device that is meant, among those there are. Where two are meant: neither.
    pub fn choose(&self, devices: &[Device], volume_of: impl Fn(&Path) -> Option<Volume>) -> Result<Option<PathBuf>, Trouble> {
        let fitting: Vec<&Device> = devices
            .iter()
            // A drive without a disc has no size, and one may come yet.
            .filter(|d| d.bytes > 0 && volume_of(&d.path).is_some_and(|v| self.fits(d, &v)))
            .collect();
        // A stick shows its file system as a whole, and often again in its first partition: the whole is taken.
        let is_of_another = |d: &&&Device| fitting.iter().any(|whole| d.disk.as_ref() == Some(&whole.name));
        let whole: Vec<&&Device> = fitting.iter().filter(|d| !is_of_another(d)).collect();
        match whole[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.path.clone())),
            [first, second, ..] => Err(Trouble::new(format!(
                "choosing the medium: {} and {} are both {self}",
                first.path.display(),
                second.path.display()
            ))
            .and(format!(
                "take one of the two out, or name the device: skerry.medium={}",
                first.path.display()
            ))),
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "a medium labelled {label}"),
            Self::Uuid(uuid) => write!(f, "the medium made {uuid}"),
            Self::Path(path) => write!(f, "a medium in {}", path.display()),
        }
    }
}

/// What there is instead, for a person.
pub fn described(volume: Option<&Volume>) -> String {
    match volume {
        Some(Volume { label, uuid: Some(uuid) }) => format!("{label}, made {uuid}"),
        Some(Volume { label, uuid: None }) => format!("{label}, made at no known time"),
        None => "no ISO 9660 file system".to_owned(),
    }
}

/// The volume on a device, for [`Medium::choose`]. One that cannot be read is none, and the kernel's log says why.
pub fn volume_of(device: &Path) -> Option<Volume> {
    iso9660::volume(device).unwrap_or_else(|why| {
        kmsg(&why.to_string());
        None
    })
}

/// Before it is waited for: drivers, and news of discs that are put in, or spin up, later on.
pub fn prepare(drivers: &Index) {
    for name in BY_NEED {
        if let Err(why) = module::load(drivers, name, "") {
            // It may be built in; if not, the step that needs it says what is missing.
            kmsg(&why.to_string());
        }
    }
    let polling = std::fs::OpenOptions::new()
        .write(true)
        .open(POLL)
        .and_then(|mut f| f.write_all(POLL_MILLISECONDS.as_bytes()));
    if let Err(why) = polling {
        kmsg(&format!("{POLL}: {why}; a disc that is put in later will not be noticed"));
    }
}

/// Mounts the medium and gives the block device that shows the root in it.
pub fn root_on(device: &Path) -> Result<PathBuf, Trouble> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    file::make_dir(AT, 0o755)?;
    mount::mount(device, AT, "iso9660", flags, "").map_err(|why| {
        Trouble::from(why).and(format!(
            "the medium in {} cannot be read; was it written to the end?",
            device.display()
        ))
    })?;
    loopback::attach(&Path::new(AT).join(ROOT))
        .map_err(|why| Trouble::from(why).and(format!("the medium in {} holds no system of ours, or is damaged", device.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, bytes: u64, disk: Option<&str>) -> Device {
        Device {
            name: name.into(),
            path: Path::new("/dev").join(name),
            bytes,
            is_read_only: false,
            partition_label: None,
            partition: disk.map(|_| 1),
            guid: None,
            disk: disk.map(str::to_owned),
        }
    }

    /// `sdb` holds an older release, `sdc` somebody else's.
    fn volumes(path: &Path) -> Option<Volume> {
        let name = path.file_name()?.to_str()?;
        let (label, uuid) = match name {
            "sr0" | "sr1" | "sda" | "sda1" | "sdd1" => ("SKERRY", "2026"),
            "sdb" | "sdb1" => ("SKERRY", "2025"),
            "sdc" => ("OTHER", "2024"),
            _ => return None,
        };
        Some(Volume {
            label: label.into(),
            uuid: Some(uuid.into()),
        })
    }

    fn choose(text: &str, there: &[Device]) -> Result<Option<PathBuf>, Trouble> {
        Medium::parse(text).unwrap().choose(there, volumes)
    }

    #[test]
    fn a_disc_and_a_stick_are_found() {
        let disc = [device("sr0", 9, None), device("vda", 9, None), device("vda1", 9, Some("vda"))];
        let stick = [
            device("sda", 9, None),
            device("sda1", 9, Some("sda")),
            device("sda2", 9, Some("sda")),
        ];
        let partition = [device("sdd", 9, None), device("sdd1", 9, Some("sdd"))];
        for name in ["LABEL=SKERRY", "UUID=2026"] {
            assert_eq!(choose(name, &disc), Ok(Some("/dev/sr0".into())));
            assert_eq!(
                choose(name, &stick),
                Ok(Some("/dev/sda".into())),
                "the whole stick before its partition"
            );
            assert_eq!(choose(name, &partition), Ok(Some("/dev/sdd1".into())));
        }
        assert_eq!(
            choose("/dev/sda1", &stick),
            Ok(Some("/dev/sda1".into())),
            "what a person names is taken"
        );
        assert_eq!(choose("/dev/sda2", &stick), Ok(None), "it holds no file system of the kind");
        assert_eq!(choose("LABEL=SKERRY", &[device("sr0", 0, None)]), Ok(None), "no disc yet");
        assert_eq!(choose("LABEL=SKERRY", &[device("sdc", 9, None)]), Ok(None));
        assert_eq!(choose("LABEL=SKERRY", &[]), Ok(None));
    }

    #[test]
    fn of_two_neither_is_chosen_and_both_are_named() {
        let there = [
            device("sda", 9, None),
            device("sda1", 9, Some("sda")),
            device("sdb", 9, None),
            device("sdb1", 9, Some("sdb")),
        ];
        let trouble = choose("LABEL=SKERRY", &there).unwrap_err();
        let lines: Vec<_> = trouble.lines().cloned().collect();
        assert_eq!(
            lines,
            [
                "choosing the medium: /dev/sda and /dev/sdb are both a medium labelled SKERRY",
                "take one of the two out, or name the device: skerry.medium=/dev/sda"
            ]
        );
        assert_eq!(
            choose("UUID=2025", &there),
            Ok(Some("/dev/sdb".into())),
            "another release does not matter"
        );
        assert!(choose("UUID=2026", &[device("sr0", 9, None), device("sda", 9, None)]).is_err());
    }

    #[test]
    fn wrong_names_are_refused() {
        for text in ["", "SKERRY", "LABEL=", "UUID=", "PARTLABEL=x", "dev/sr0"] {
            assert!(Medium::parse(text).is_err(), "{text}");
        }
    }
}
