//! Looking for configuration: every place it may come from, as it is now.

use crate::root::Root;
use skerry_config::{Source, SourceKind, is_for_machine, order};
use std::io::Read;
use std::path::Path;

/// What is read of one source: more than `skerry_config` accepts, so that it can say that there is too much.
const MOST: u64 = (1 << 20) + 1;

/// What tells one machine from another in `config.d/by-…`.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// First hardware address.
    pub mac: Option<String>,
    /// The firmware's serial number.
    pub serial: Option<String>,
    /// The firmware's UUID.
    pub uuid: Option<String>,
}

impl Identity {
    /// Asks the firmware; boards that have none have no serial number here.
    pub fn read(root: &Root, mac: Option<String>) -> Self {
        let firmware = |name: &str| root.word(&format!("/sys/class/dmi/id/{name}"));
        let board = || {
            root.word("/proc/device-tree/serial-number")
                .map(|s| s.trim_matches('\0').to_owned())
        };
        Self {
            mac,
            serial: firmware("product_serial").or_else(board),
            uuid: firmware("product_uuid"),
        }
    }

    fn of(&self, kind: SourceKind) -> Option<&str> {
        match kind {
            SourceKind::ByMac => self.mac.as_deref(),
            SourceKind::BySerial => self.serial.as_deref(),
            SourceKind::ByUuid => self.uuid.as_deref(),
            _ => None,
        }
    }
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
    let mine = |name: &String| {
        if for_one {
            identity.of(kind).is_some_and(|id| is_for_machine(name, id))
        } else {
            true
        }
    };
    // What `sys::file::replace` has not finished is nobody's configuration.
    let whole = |name: &String| !(name.starts_with('.') && Path::new(name).extension().is_some_and(|e| e == "new"));
    names.filter(whole).filter(mine).map(|name| format!("{folder}/{name}")).collect()
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
            mac: Some("52:54:00:12:34:56".into()),
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
}
