//! Where configuration comes from, and who wins.

use serde::{Deserialize, Serialize};

/// One text the owner (or a cloud) gave us, with the name to call it by in messages: usually its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is: decides how it is read, and its place in [`order`].
    pub kind: SourceKind,
    /// What messages call it.
    pub name: String,
    /// Its bytes, as found.
    pub bytes: Vec<u8>,
}

impl Source {
    /// A source.
    pub fn new(kind: SourceKind, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}

/// The kinds of source, in order of precedence: a later one wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// `config.yaml`, and every file of `config.d/`, on the EFI system partition.
    Esp,
    /// `meta-data` of a cloud-init seed (a volume labelled `cidata`). The caller asks [`crate::Skerry::trust_media`] first.
    SeedMetaData,
    /// `network-config` of such a seed.
    SeedNetwork,
    /// `user-data` of such a seed: a `#cloud-config` in cloud-init's words, or a script.
    SeedUserData,
    /// `config.yaml`, and every file of `config.d/`, on a stick labelled `SKERRYCFG`.
    Medium,
    /// `/k3os/system/config.yaml`.
    K3osSystem,
    /// `/skerry/system/config.yaml`.
    System,
    /// The kernel's command line.
    Cmdline,
    /// `/var/lib/rancher/k3os/config.yaml`.
    K3osLocal,
    /// `/var/lib/skerry/config.yaml`.
    Local,
    /// A host name from a cloud's metadata: one line.
    MetadataHostname,
    /// SSH keys from a cloud's metadata: one a line.
    MetadataKeys,
    /// User data: a script (`#!`), anything that holds a NUL byte, or YAML.
    UserData,
    /// An entry of `/var/lib/rancher/k3os/config.d/`.
    K3osConfigD,
    /// An entry (a file) of `/var/lib/skerry/config.d/`.
    ConfigD,
    /// `config.d/by-mac/52:54:00:12:34:56[.yaml]`, for this machine only.
    ByMac,
    /// `config.d/by-serial/SERIAL[.yaml]`.
    BySerial,
    /// `config.d/by-uuid/UUID[.yaml]`.
    ByUuid,
}

impl SourceKind {
    /// All of them, the weakest first.
    pub const ALL: [Self; 18] = [
        Self::Esp,
        Self::SeedMetaData,
        Self::SeedNetwork,
        Self::SeedUserData,
        Self::Medium,
        Self::K3osSystem,
        Self::System,
        Self::Cmdline,
        Self::K3osLocal,
        Self::Local,
        Self::MetadataHostname,
        Self::MetadataKeys,
        Self::UserData,
        Self::K3osConfigD,
        Self::ConfigD,
        Self::ByMac,
        Self::BySerial,
        Self::ByUuid,
    ];

    /// Where on the running machine it lies: a file, or (ending in `/`) a folder whose entries are read in the order of their names.
    /// `None`: the caller knows (the ESP and media are mounted somewhere of its choice).
    pub fn path(self) -> Option<&'static str> {
        Some(match self {
            Self::Esp | Self::SeedMetaData | Self::SeedNetwork | Self::SeedUserData | Self::Medium => return None,
            Self::K3osSystem => "/k3os/system/config.yaml",
            Self::System => "/skerry/system/config.yaml",
            Self::Cmdline => "/proc/cmdline",
            Self::K3osLocal => "/var/lib/rancher/k3os/config.yaml",
            Self::Local => "/var/lib/skerry/config.yaml",
            Self::MetadataHostname => "/run/config/local_hostname",
            Self::MetadataKeys => "/run/config/ssh/authorized_keys",
            Self::UserData => "/run/config/userdata",
            Self::K3osConfigD => "/var/lib/rancher/k3os/config.d/",
            Self::ConfigD => "/var/lib/skerry/config.d/",
            Self::ByMac => "/var/lib/skerry/config.d/by-mac/",
            Self::BySerial => "/var/lib/skerry/config.d/by-serial/",
            Self::ByUuid => "/var/lib/skerry/config.d/by-uuid/",
        })
    }
}

/// Puts sources into the order in which [`crate::load`] is to read them: by kind; the entries of the data's `config.d` by name; the
/// rest of a kind as it was gathered (the ESP's before a stick's before the data's).
pub fn order(mut sources: Vec<Source>) -> Vec<Source> {
    let by_name = |kind| matches!(kind, SourceKind::K3osConfigD | SourceKind::ConfigD);
    let name = |s: &Source| {
        if by_name(s.kind) {
            file_name(&s.name).to_owned()
        } else {
            String::new()
        }
    };
    sources.sort_by_cached_key(|s| (s.kind, name(s)));
    sources
}

/// Whether an entry of a folder for single machines (`by-mac/`, `by-serial/`, `by-uuid/`) is this machine's: the name without
/// `.yaml`/`.yml`, compared without case.
///
/// FAT has no colons: hardware addresses and UUIDs are compared by their digits, `52-54-00-…` and `525400…` too. In a serial number
/// whatever FAT cannot hold in a name is written as `-`.
pub fn is_for_machine(kind: SourceKind, entry: &str, identity: &str) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let stem = entry.strip_suffix(".yaml").or_else(|| entry.strip_suffix(".yml")).unwrap_or(&entry);
    if kind == SourceKind::BySerial {
        let plain = |text: &str| text.trim().to_lowercase().replace(|c| "/\\:*?\"<>|".contains(c), "-");
        return !stem.is_empty() && plain(stem) == plain(identity);
    }
    digits(stem).is_some_and(|found| Some(found) == digits(identity))
}

/// The hexadecimal digits of a hardware address or UUID; none if there is anything but digits, colons and hyphens, or no digit.
fn digits(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !matches!(c, ':' | '-')).collect();
    (!text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_ordered_by_kind_and_then_by_name() {
        let source = |kind, name: &str| Source::new(kind, name, "");
        let ordered = order(vec![
            source(SourceKind::ConfigD, "/var/lib/skerry/config.d/20-b"),
            source(SourceKind::ByMac, "m"),
            source(SourceKind::Cmdline, "c"),
            source(SourceKind::ConfigD, "/var/lib/skerry/config.d/10-a"),
            source(SourceKind::K3osSystem, "k"),
            source(SourceKind::System, "s"),
        ]);
        let names: Vec<_> = ordered.iter().map(|source| file_name(&source.name)).collect();
        assert_eq!(names, ["k", "s", "c", "10-a", "20-b", "m"]);
    }

    #[test]
    fn kinds_are_declared_in_order_of_precedence() {
        assert!(SourceKind::ALL.is_sorted());
    }

    #[test]
    fn what_has_no_folder_keeps_the_order_in_which_it_was_gathered() {
        let source = |name: &str| Source::new(SourceKind::Esp, name, "");
        let ordered = order(vec![source("esp:/config.yaml"), source("esp:/config.d/10-a")]);
        assert_eq!(ordered.first().map(|s| s.name.as_str()), Some("esp:/config.yaml"));
    }

    #[test]
    fn entries_for_a_machine_match_without_case_and_on_fat() {
        use SourceKind::{ByMac, BySerial, ByUuid};
        for (kind, entry, identity, expected) in [
            (ByMac, "52-54-00-AB-CD-EF.yaml", "52:54:00:ab:cd:ef", true),
            (ByMac, "525400abcdef.YML", "52:54:00:ab:cd:ef", true),
            (ByMac, "52:54:00:ab:cd:ef", "52:54:00:ab:cd:ef", true),
            (ByMac, "52-54-00-ab-cd-e0.yaml", "52:54:00:ab:cd:ef", false),
            (ByMac, "all.yaml", "52:54:00:ab:cd:ef", false),
            (ByMac, "-.yaml", ":", false),
            (BySerial, "SN123", "sn123", true),
            (BySerial, "A-B C.yaml", "A/B C", true),
            (BySerial, ".yaml", "", false),
            (BySerial, "SN12", "sn123", false),
            (BySerial, "SN-1", "SN1", false),
            (
                ByUuid,
                "550E8400-E29B-41D4-A716-446655440000.yaml",
                "550e8400-e29b-41d4-a716-446655440000",
                true,
            ),
            (
                ByUuid,
                "550e8400e29b41d4a716446655440000",
                "550e8400-e29b-41d4-a716-446655440000",
                true,
            ),
        ] {
            assert_eq!(is_for_machine(kind, entry, identity), expected, "{entry} {identity}");
        }
    }
}
