//! iwd's files: its settings, and one for each network with its passphrase.
//!
//! They lie below `/run`, in memory, though iwd's own place is `/var/lib/iwd`: passphrases are in the configuration (which may be
//! sealed) and on no disk beside it, and a network that was taken out of the configuration is not known any more. A file rather than an
//! answer to iwd's question: iwd asks for a passphrase once more only when the one that it has was refused, and so says that it was.

use super::asked::{Asked, Network};
use skerry_sys::file;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// iwd's `CONFIGURATION_DIRECTORY`.
pub const SETTINGS: &str = "/run/iwd/settings";
/// iwd's `STATE_DIRECTORY`.
pub const NETWORKS: &str = "/run/iwd/networks";

/// The content of `main.conf`: iwd only joins; addresses, and which network, are not its business. It keeps the interface that the
/// driver made, so that the kernel's name and number stay.
pub fn settings(asked: &Asked) -> String {
    let mut text = "[General]\nEnableNetworkConfiguration=false\n".to_owned();
    if let Some(country) = &asked.country {
        let _ = writeln!(text, "Country={country}");
    }
    text + "[Scan]\nInitialPeriodicScanInterval=5\nMaximumPeriodicScanInterval=30\n[DriverQuirks]\nDefaultInterface=*\n"
}

/// The networks' files, by name.
pub fn networks(asked: &Asked) -> BTreeMap<String, String> {
    asked.networks().into_iter().map(|network| (name(network), text(network))).collect()
}

/// iwd.network(5): a name of other than letters, digits, `-`, `_` and blanks is written in hexadecimal digits.
fn name(network: &Network) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let kind = if network.secret.is_some() { "psk" } else { "open" };
    if network.name.chars().all(plain) {
        return format!("{}.{kind}", network.name);
    }
    let hex = network.name.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("={hex}.{kind}")
}

fn text(network: &Network) -> String {
    let mut text = String::new();
    if let Some(secret) = &network.secret {
        let secret = &secret.0;
        let (key, value) = if secret.len() == 64 {
            ("PreSharedKey", secret.to_ascii_lowercase())
        } else {
            ("Passphrase", escaped(secret))
        };
        let _ = writeln!(text, "[Security]\n{key}={value}");
    }
    let _ = writeln!(text, "[Settings]\nAutoConnect=false");
    if network.hidden {
        let _ = writeln!(text, "Hidden=true");
    }
    text
}

/// A value begins after its leading blanks, and a backslash begins a sign.
fn escaped(value: &str) -> String {
    let rest = value.trim_start_matches(' ');
    "\\s".repeat(value.len() - rest.len()) + &rest.replace('\\', "\\\\")
}

/// Writes what is not there, and takes away what nobody asked for. A file to which iwd has added what it found out stays.
pub fn perform(asked: &Asked, settings_folder: &Path, networks_folder: &Path) -> skerry_sys::Result<()> {
    for folder in [settings_folder, networks_folder] {
        file::make_dir(folder, 0o700)?;
    }
    file::replace(settings_folder.join("main.conf"), settings(asked).as_bytes(), 0o600)?;
    let wanted = networks(asked);
    for entry in std::fs::read_dir(networks_folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_network = name.rsplit_once('.').is_some_and(|(_, kind)| ["psk", "open"].contains(&kind));
        if is_network && !wanted.contains_key(&name) {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!("forgetting {name}: {error}");
            }
        }
    }
    for (name, text) in wanted {
        let path = networks_folder.join(name);
        let there = file::read_text(&path, 64 * 1024).unwrap_or_default();
        if !text.lines().all(|line| there.lines().any(|known| known == line)) {
            file::replace(&path, text.as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn asked(json: &str) -> Asked {
        Asked::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn as_iwd_reads_them() {
        let key = "AB".repeat(32);
        let asked = asked(&format!(
            r#"{{"network":{{"version":2,"wifis":{{"wlan0":{{"regulatory-domain":"DE","access-points":{{
                "My Net-1":{{"password":"  back\\slash "}},"caf\u00e9":{{"password":"long enough","hidden":true}},"yard":{{}},
                "by key":{{"password":"{key}"}}}}}}}}}}}}"#
        ));
        assert!(settings(&asked).starts_with("[General]\nEnableNetworkConfiguration=false\nCountry=DE\n[Scan]\n"));
        let files: Vec<_> = networks(&asked).into_iter().collect();
        let key = "ab".repeat(32);
        let want = [
            (
                "=636166c3a9.psk",
                "[Security]\nPassphrase=long enough\n[Settings]\nAutoConnect=false\nHidden=true\n".to_owned(),
            ),
            (
                "My Net-1.psk",
                "[Security]\nPassphrase=\\s\\sback\\\\slash \n[Settings]\nAutoConnect=false\n".to_owned(),
            ),
            (
                "by key.psk",
                format!("[Security]\nPreSharedKey={key}\n[Settings]\nAutoConnect=false\n"),
            ),
            ("yard.open", "[Settings]\nAutoConnect=false\n".to_owned()),
        ];
        assert_eq!(files, want.map(|(name, text)| (name.to_owned(), text)));
    }

    #[test]
    fn the_folder_holds_what_is_asked_for_and_root_alone_reads_it() {
        let folder = std::env::temp_dir().join(format!("skerry-wifi-files-{}", std::process::id()));
        let (settings, networks) = (folder.join("settings"), folder.join("networks"));
        let first = asked(r#"{"wifi":[{"name":"a","passphrase":"long enough"},{"name":"b"}]}"#);
        perform(&first, &settings, &networks).unwrap();
        let a = networks.join("a.psk");
        assert_eq!(std::fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o600);
        // iwd adds the key that it made of the passphrase.
        let by_iwd = "[Security]\nPassphrase=long enough\nPreSharedKey=00\n[Settings]\nAutoConnect=false\n";
        file::replace(&a, by_iwd.as_bytes(), 0o600).unwrap();
        perform(&first, &settings, &networks).unwrap();
        assert_eq!(std::fs::read_to_string(&a).unwrap(), by_iwd);
        let other = asked(r#"{"wifi":[{"name":"a","passphrase":"another one"}]}"#);
        perform(&other, &settings, &networks).unwrap();
        assert!(std::fs::read_to_string(&a).unwrap().contains("another one"));
        assert!(!networks.join("b.open").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
