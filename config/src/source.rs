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
    /// `config.yaml` in the root of the EFI system partition.
    Esp,
    /// `config.yaml` or `user-data` on a stick labelled `SKERRYCFG` or `cidata`. The caller asks [`crate::Skerry::trust_media`] first.
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
    pub const ALL: [Self; 15] = [
        Self::Esp,
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
            Self::Esp | Self::Medium => return None,
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

/// Puts sources into the order in which [`crate::load`] is to read them: by kind, and within a kind by the last part of the name.
pub fn order(mut sources: Vec<Source>) -> Vec<Source> {
    sources.sort_by(|a, b| (a.kind, file_name(&a.name)).cmp(&(b.kind, file_name(&b.name))));
    sources
}

/// Which of a folder's entries for single machines is this machine's: the name without `.yaml`/`.yml`, compared without case, and
/// `-` taken for `:` (FAT has no colons).
pub fn is_for_machine(entry: &str, identity: &str) -> bool {
    let plain = |text: &str| text.trim().to_ascii_lowercase().replace(':', "-");
    let entry = plain(entry);
    let stem = entry.strip_suffix(".yaml").or_else(|| entry.strip_suffix(".yml")).unwrap_or(&entry);
    !stem.is_empty() && stem == plain(identity)
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
    fn entries_for_a_machine_match_without_case_and_on_fat() {
        assert!(is_for_machine("52-54-00-AB-CD-EF.yaml", "52:54:00:ab:cd:ef"));
        assert!(is_for_machine("SN123", "sn123"));
        assert!(!is_for_machine(".yaml", ""));
        assert!(!is_for_machine("SN12", "sn123"));
    }
}
