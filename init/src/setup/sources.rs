//! Looking for configuration: every place it may come from, as it is now.

use crate::root::Root;
use skerry_config::{Source, SourceKind, is_for_machine, order};
use std::io::Read;
use std::path::Path;

/// What is read of one source: more than `skerry_config` accepts, so that it can say that there is too much.
const MOST: u64 = (1 << 20) + 1;

/// What tells one machine from another in `config.d/by-…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Hardware addresses of the wired interfaces.
    pub macs: Vec<String>,
    /// The firmware's serial number.
    pub serial: Option<String>,
    /// The firmware's UUID.
    pub uuid: Option<String>,
}

/// What boards say that were never given a serial number.
const NO_SERIAL: [&str; 9] = [
    "none",
    "not specified",
    "not applicable",
    "default string",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
    "n/a",
    "invalid",
];

impl Identity {
    /// Asks the firmware (SMBIOS, or a board's device tree).
    pub fn read(root: &Root, macs: Vec<String>) -> Self {
        let firmware = |name: &str| root.word(&format!("/sys/class/dmi/id/{name}"));
        let board = || {
            root.word("/proc/device-tree/serial-number")
                .map(|s| s.trim_matches('\0').to_owned())
        };
        let is_serial = |s: &String| {
            let s = s.trim().to_ascii_lowercase();
            !NO_SERIAL.contains(&s.as_str()) && !s.chars().all(|c| matches!(c, '0' | '.' | '-' | ' '))
        };
        let is_uuid = |s: &String| s.chars().any(|c| !matches!(c, '0' | '-')) && s.chars().any(|c| !matches!(c, 'f' | 'F' | '-'));
        Self {
            macs,
            serial: firmware("product_serial").filter(is_serial).or_else(board).filter(is_serial),
            uuid: firmware("product_uuid").filter(is_uuid).map(|u| u.to_ascii_lowercase()),
        }
    }

    /// Whether an entry of a folder for single machines is this machine's.
    pub fn is(&self, kind: SourceKind, entry: &str) -> bool {
        let is = |id: &str| is_for_machine(kind, entry, id);
        match kind {
            SourceKind::ByMac => self.macs.iter().any(|m| is(m)),
            SourceKind::BySerial => self.serial.as_deref().is_some_and(is),
            SourceKind::ByUuid => self.uuid.as_deref().is_some_and(is),
            _ => false,
        }
    }
}

/// Whether the owner has put a configuration on data, for this machine or another.
pub fn any_on_data(root: &Root) -> bool {
    let is_there = |path: &str| match path.strip_suffix('/') {
        Some(folder) => std::fs::read_dir(root.at(folder)).is_ok_and(|entries| entries.flatten().any(|e| !e.path().is_dir())),
        None => root.at(path).exists(),
    };
    let paths = SourceKind::ALL.into_iter().filter_map(SourceKind::path);
    paths
        .filter(|p| p.starts_with("/var/lib") || p.ends_with("/system/config.yaml"))
        .any(is_there)
}

/// Whether data has files for single machines by hardware address.
pub fn asks_for_mac(root: &Root) -> bool {
    let folder = SourceKind::ByMac.path().unwrap_or_default();
    std::fs::read_dir(root.at(folder)).is_ok_and(|mut entries| entries.next().is_some())
}

/// All sources that are there, in the order in which they count; and what is there but could not be read.
pub fn look(root: &Root, identity: &Identity) -> (Vec<Source>, Vec<String>) {
    let (mut found, mut unread) = (vec![], vec![]);
    for kind in SourceKind::ALL {
        let Some(path) = kind.path() else { continue };
        let paths = match path.strip_suffix('/') {
            Some(folder) => entries(root, folder, kind, identity),
            None => vec![path.to_owned()],
        };
        for path in paths {
            match read(&root.at(&path)) {
                Ok(bytes) => found.push(Source::new(kind, path, bytes)),
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
                Err(why) => unread.push(format!("reading {path}: {why}; this boot goes on without it")),
            }
        }
    }
    (order(found), unread)
}

fn entries(root: &Root, folder: &str, kind: SourceKind, identity: &Identity) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.at(folder)) else {
        return vec![];
    };
    let names = entries
        .flatten()
        .filter(|e| !e.path().is_dir())
        .filter_map(|e| e.file_name().into_string().ok());
    let for_one = matches!(kind, SourceKind::ByMac | SourceKind::BySerial | SourceKind::ByUuid);
    let mine = |name: &String| !for_one || identity.is(kind, name);
    // What `sys::file::replace` has not finished is nobody's configuration.
    let whole = |name: &String| !(name.starts_with('.') && Path::new(name).extension().is_some_and(|e| e == "new"));
    let mut names: Vec<String> = names.filter(whole).filter(mine).collect();
    names.sort();
    names.into_iter().map(|name| format!("{folder}/{name}")).collect()
}

/// Reads a regular file; anything else (a pipe without a writer, for instance) could hold up the boot.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = vec![];
    std::fs::File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn every_place_is_looked_at_in_order() {
        let root = scratch("sources");
        for path in [
            "/var/lib/skerry/config.d/by-mac/52-54-00-12-34-56.yaml",
            "/var/lib/skerry/config.d/by-mac/52-54-00-00-00-00.yaml",
            "/var/lib/skerry/config.d/20-b",
            "/var/lib/skerry/config.d/10-a.yaml",
            "/var/lib/skerry/config.d/.10-a.yaml.7.new",
            "/var/lib/skerry/config.yaml",
            "/var/lib/rancher/k3os/config.d/x",
            "/proc/cmdline",
            "/k3os/system/config.yaml",
            "/skerry/system/config.yaml",
        ] {
            root.write(path, "hostname: x\n", 0o600).unwrap();
        }
        std::fs::create_dir_all(root.at("/var/lib/rancher/k3os/config.yaml")).unwrap();
        let identity = Identity {
            macs: vec!["52:54:00:12:34:56".into()],
            ..Identity::default()
        };
        let (found, unread) = look(&root, &identity);
        let names: Vec<&str> = found.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "/k3os/system/config.yaml",
                "/skerry/system/config.yaml",
                "/proc/cmdline",
                "/var/lib/skerry/config.yaml",
                "/var/lib/rancher/k3os/config.d/x",
                "/var/lib/skerry/config.d/10-a.yaml",
                "/var/lib/skerry/config.d/20-b",
                "/var/lib/skerry/config.d/by-mac/52-54-00-12-34-56.yaml",
            ]
        );
        assert_eq!(
            unread,
            ["reading /var/lib/rancher/k3os/config.yaml: it is not a regular file; this boot goes on without it"]
        );
    }

    #[test]
    fn what_boards_say_that_have_no_serial_number_is_none() {
        let root = scratch("identity");
        for (serial, expected) in [
            ("PF-1234\n", Some("PF-1234")),
            ("To Be Filled By O.E.M.", None),
            ("0", None),
            ("", None),
            ("Default string", None),
        ] {
            root.write("/sys/class/dmi/id/product_serial", serial, 0o400).unwrap();
            assert_eq!(Identity::read(&root, vec![]).serial.as_deref(), expected);
        }
        root.write("/proc/device-tree/serial-number", "10000000abcdef01\0", 0o444).unwrap();
        root.write("/sys/class/dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n", 0o400)
            .unwrap();
        let identity = Identity::read(&root, vec![]);
        assert_eq!((identity.serial.as_deref(), identity.uuid), (Some("10000000abcdef01"), None));
    }

    #[test]
    fn a_configuration_on_data_is_the_owners() {
        for (path, expected) in [
            ("/proc/cmdline", false),
            ("/var/lib/skerry/node-name", false),
            ("/var/lib/skerry/media/skerrycfg/config.yaml", false),
            ("/skerry/system/config.yaml", true),
            ("/k3os/system/config.yaml", true),
            ("/var/lib/skerry/config.d/by-mac/525400000000.yaml", true),
            ("/var/lib/rancher/k3os/config.d/x", true),
        ] {
            let root = scratch("on-data");
            root.dir("/var/lib/skerry/config.d/by-mac", 0o755).unwrap();
            root.write(path, "", 0o600).unwrap();
            assert_eq!(any_on_data(&root), expected, "{path}");
        }
    }
}
