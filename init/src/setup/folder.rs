//! What a place other than data holds for us: the ESP, a stick, a seed. Read first, as it is; then decided, purely, what of it is this
//! machine's.

use crate::sources::{self, Identity};
use skerry_config::{Source, SourceKind};
use std::io;
use std::path::Path;

/// More files, or more bytes in all, are not read: a stranger's stick must not fill the memory.
const FILES_MAX: usize = 2000;
const BYTES_MAX: usize = 16 << 20;
/// Folders for single machines.
const FOR_ONE: [(&str, SourceKind); 3] = [
    ("config.d/by-mac", SourceKind::ByMac),
    ("config.d/by-serial", SourceKind::BySerial),
    ("config.d/by-uuid", SourceKind::ByUuid),
];
/// A cloud's config drive (docs.openstack.org, "Config drives"); its description of the network is of a form of its own.
const META_DATA: &str = "openstack/latest/meta_data.json";
const SEED: [(&str, SourceKind); 5] = [
    (META_DATA, SourceKind::SeedMetaData),
    ("openstack/latest/user_data", SourceKind::SeedUserData),
    ("meta-data", SourceKind::SeedMetaData),
    ("network-config", SourceKind::SeedNetwork),
    ("user-data", SourceKind::SeedUserData),
];

/// Which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The EFI system partition.
    Esp,
    /// A stick of ours.
    Stick,
    /// A cloud-init seed.
    Seed,
}

/// Its files, by their paths in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// In the order in which they count.
    pub files: Vec<(String, Vec<u8>)>,
    /// What is there and could not be read: its path, and why.
    pub unread: Vec<(String, String)>,
}

impl Folder {
    /// Reads all that could count there.
    pub fn read(dir: &Path, place: Place) -> Self {
        let mut folder = Self::default();
        if place == Place::Seed {
            for (name, _) in &SEED {
                folder.add(dir, name);
            }
            return folder;
        }
        folder.add(dir, "config.yaml");
        folder.add_all(dir, "config.d");
        for (below, _) in &FOR_ONE {
            folder.add_all(dir, below);
        }
        folder
    }

    fn add_all(&mut self, dir: &Path, below: &str) {
        let Ok(entries) = std::fs::read_dir(dir.join(below)) else { return };
        let files = entries.flatten().filter(|e| !e.path().is_dir());
        let mut names: Vec<String> = files.filter_map(|e| e.file_name().into_string().ok()).take(FILES_MAX).collect();
        names.sort();
        // Hidden ones are what other systems leave on sticks (`._config.yaml`), or what was not finished.
        for name in names.iter().filter(|n| !n.starts_with('.')) {
            self.add(dir, &format!("{below}/{name}"));
        }
    }

    fn add(&mut self, dir: &Path, path: &str) {
        let so_far: usize = self.files.iter().map(|(_, bytes)| bytes.len()).sum();
        let read = if self.files.len() >= FILES_MAX || so_far > BYTES_MAX {
            Err(io::Error::other("there is too much here to read it all"))
        } else {
            sources::read(&dir.join(path))
        };
        match read {
            Ok(bytes) => self.files.push((path.to_owned(), bytes)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => self.unread.push((path.to_owned(), why.to_string())),
        }
    }

    /// Whether there are files for single machines by hardware address.
    pub fn asks_for_mac(&self) -> bool {
        self.files.iter().any(|(path, _)| path.starts_with("config.d/by-mac/"))
    }

    /// Only what counts on this machine.
    pub fn of(&self, place: Place, identity: &Identity) -> Self {
        let mine = |(path, _): &&(String, Vec<u8>)| kind(place, path, identity).is_some();
        Self {
            files: self.files.iter().filter(mine).cloned().collect(),
            unread: self.unread.clone(),
        }
    }

    /// As sources, called `prefix` and their path.
    pub fn sources(&self, place: Place, identity: &Identity, prefix: &str) -> Vec<Source> {
        let source = |(path, bytes): &(String, Vec<u8>)| {
            let bytes = if path == META_DATA { of_openstack(bytes) } else { bytes.clone() };
            Some(Source::new(kind(place, path, identity)?, format!("{prefix}{path}"), bytes))
        };
        self.files.iter().filter_map(source).collect()
    }
}

/// Of a config drive's metadata what a seed's may hold: the rest is the cloud's own business.
fn of_openstack(bytes: &[u8]) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(bytes) else {
        // Room config says what is wrong with it.
        return bytes.to_vec();
    };
    fields.retain(|key, _| ["hostname", "public_keys"].contains(&key.as_str()));
    serde_json::Value::Object(fields).to_string().into_bytes()
}

/// What a file is; none if it is not for this machine.
fn kind(place: Place, path: &str, identity: &Identity) -> Option<SourceKind> {
    if place == Place::Seed {
        return SEED.iter().find(|(name, _)| *name == path).map(|(_, kind)| *kind);
    }
    if let Some((folder, kind)) = FOR_ONE.iter().find(|(folder, _)| path.starts_with(&format!("{folder}/"))) {
        let entry = path.get(folder.len() + 1..)?;
        return identity.is(*kind, entry).then_some(*kind);
    }
    Some(if place == Place::Esp { SourceKind::Esp } else { SourceKind::Medium })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn one_stick_for_many_machines() {
        let root = scratch("folder");
        for (path, text) in [
            ("/config.yaml", "a"),
            ("/config.d/20", "b"),
            ("/config.d/10", "c"),
            ("/config.d/._10", "mac"),
            ("/config.d/by-mac/52-54-00-AA-BB-CC.yaml", "d"),
            ("/config.d/by-mac/525400AABBCD.yaml", "other"),
            ("/config.d/by-mac/525400000001.yaml", "e"),
            ("/config.d/by-serial/sn1.yaml", "f"),
            ("/config.d/by-uuid/550E8400E29B41D4A716446655440000.yaml", "g"),
            ("/config.d/by-what/x", "no"),
            ("/user-data", "no"),
            ("/README", "no"),
        ] {
            root.write(path, text, 0o600).unwrap();
        }
        let folder = Folder::read(&root.at("/"), Place::Stick);
        assert!(folder.asks_for_mac());
        let identity = Identity {
            macs: vec!["52:54:00:aa:bb:cc".into(), "52:54:00:00:00:01".into()],
            serial: Some("SN1".into()),
            uuid: Some("550e8400-e29b-41d4-a716-446655440000".into()),
        };
        let mine = folder.of(Place::Stick, &identity);
        let of = skerry_config::order(mine.sources(Place::Stick, &identity, "stick:/"));
        let said: String = of.iter().map(|s| String::from_utf8_lossy(&s.bytes).into_owned()).collect();
        assert_eq!(said, "acbdefg");
        assert_eq!(of[0].name, "stick:/config.yaml");
        assert_eq!(of[0].kind, SourceKind::Medium);
        assert_eq!(mine.sources(Place::Esp, &identity, "")[0].kind, SourceKind::Esp);
        assert_eq!(mine.files.len(), 7);
        let seed = Folder::read(&root.at("/"), Place::Seed);
        assert_eq!(seed.sources(Place::Seed, &identity, "")[0].kind, SourceKind::SeedUserData);
    }

    #[test]
    fn a_config_drive_is_a_seed() {
        let root = scratch("config-drive");
        let document = r#"{"uuid":"u","hostname":"edge","public_keys":{"me":"ssh-rsa AAAAB3 me"},"random_seed":"x","launch_index":0}"#;
        root.write("/openstack/latest/meta_data.json", document, 0o600).unwrap();
        root.write("/openstack/latest/user_data", "#cloud-config\nruncmd: [[echo, a b]]\n", 0o600)
            .unwrap();
        root.write("/openstack/latest/network_data.json", "{}", 0o600).unwrap();
        let folder = Folder::read(&root.at("/"), Place::Seed);
        let sources = skerry_config::order(folder.sources(Place::Seed, &Identity::default(), "config-2:/"));
        let loaded = skerry_config::load(&sources);
        assert_eq!(loaded.config.hostname.as_deref(), Some("edge"));
        assert_eq!(loaded.config.ssh_authorized_keys, ["ssh-rsa AAAAB3 me"]);
        assert_eq!(loaded.config.run_cmd, ["echo 'a b'"]);
        assert!(loaded.problems.iter().all(|p| !p.drops), "{:?}", loaded.problems);
        assert_eq!(of_openstack(b"nonsense"), b"nonsense");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_too_much_is_left() {
        let root = scratch("folder-large");
        root.dir("/config.yaml", 0o700).unwrap();
        for n in 0..20 {
            root.write(&format!("/config.d/{n:02}"), &"x".repeat(1 << 20), 0o600).unwrap();
        }
        let folder = Folder::read(&root.at("/"), Place::Esp);
        assert_eq!(folder.files.len(), 17);
        assert_eq!(folder.unread.len(), 4);
        assert_eq!(folder.unread[0], ("config.yaml".into(), "it is not a regular file".into()));
    }
}
