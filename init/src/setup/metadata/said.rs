//! What a cloud said: k3OS's files of it, and the copy for boots in which it is away.

use crate::root::Root;
use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use skerry_config::SourceKind;

/// The machine's name, whether or not it is configuration (k3OS's file).
pub const HOSTNAME: &str = "/run/config/hostname";
const PROVIDER: &str = "/run/config/provider";
/// The copy; root's alone, as user data holds secrets.
const COPY: &str = "/var/lib/skerry/metadata.json";

/// What a cloud said. `fetch metadata` prints it so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Which cloud; empty = none.
    pub source: String,
    /// The machine's name.
    pub hostname: Option<String>,
    /// The name is configuration.
    pub hostname_counts: bool,
    /// SSH keys.
    pub keys: Vec<String>,
    /// User data.
    #[serde(with = "base64_text")]
    pub user_data: Option<Vec<u8>>,
}

impl Said {
    /// What it holds, in words without secrets.
    pub fn summary(&self) -> String {
        let name = self.hostname.as_deref().unwrap_or("no name");
        let data = self
            .user_data
            .as_ref()
            .map_or("no user data".to_owned(), |d| format!("{} bytes of user data", d.len()));
        format!("{name}, {} SSH keys, {data}", self.keys.len())
    }

    /// Writes the files that [`crate::sources`] reads, and removes those that say nothing any more; whether anything changed.
    pub fn leave(&self, root: &Root) -> Result<bool> {
        let line = |text: &str| format!("{text}\n").into_bytes();
        let name = self.hostname.as_deref().map(line);
        let keys = (!self.keys.is_empty()).then(|| line(&self.keys.join("\n")));
        let path = |kind: SourceKind| kind.path().unwrap_or_default();
        let files = [
            (PROVIDER, (!self.source.is_empty()).then(|| line(&self.source)), 0o644),
            (
                path(SourceKind::MetadataHostname),
                name.clone().filter(|_| self.hostname_counts),
                0o644,
            ),
            (HOSTNAME, name, 0o644),
            (path(SourceKind::MetadataKeys), keys, 0o644),
            (path(SourceKind::UserData), self.user_data.clone(), 0o600),
        ];
        let mut changed = false;
        for (path, bytes, mode) in files {
            let at = root.at(path);
            let there = std::fs::read(&at).ok();
            if there == bytes {
                continue;
            }
            changed = true;
            match bytes {
                Some(bytes) => {
                    if let Some(parent) = at.parent() {
                        skerry_sys::file::make_dir(parent, 0o755)?;
                    }
                    skerry_sys::file::replace(&at, &bytes, mode)?;
                }
                None => std::fs::remove_file(&at).with_context(|| format!("removing {path}"))?,
            }
        }
        Ok(changed)
    }

    /// Keeps a copy, if it is another than the one that is there.
    pub fn keep(&self, root: &Root) -> Result<()> {
        root.write_changed(COPY, &serde_json::to_string(self)?, 0o600)
    }

    /// The copy of an earlier boot.
    pub fn kept(root: &Root) -> Option<Self> {
        let bytes = skerry_sys::file::read_bounded(root.at(COPY), 4 << 20).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Bytes in JSON.
mod base64_text {
    use super::{Base64, Encoding};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "the form that serde demands")]
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| Base64::encode_string(bytes)).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let decode = |text: String| Base64::decode_vec(&text).map_err(serde::de::Error::custom);
        text.map(decode).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_fetch_writes_it() {
        let text = r#"{"source":"aws","hostname":"a","hostname_counts":true,"keys":["k"],"user_data":"I2Nsb3VkLWNvbmZpZwo="}"#;
        let said: Said = serde_json::from_str(text).unwrap();
        assert_eq!(said.user_data.as_deref(), Some(&b"#cloud-config\n"[..]));
        assert_eq!(serde_json::to_string(&said).unwrap(), text);
        assert!(serde_json::from_str::<Said>(r#"{"source":"aws","user_data":"!"}"#).is_err());
        let bare: Said = serde_json::from_str(r#"{"source":"vultr","hostname":null,"keys":[],"user_data":null}"#).unwrap();
        assert_eq!(bare.summary(), "no name, 0 SSH keys, no user data");
    }
}
