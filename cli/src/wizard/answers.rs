//! Answers, judged by the rules of the room `config`, and the configuration that they make.

use crate::install::wish::{End, Onto, Settings, Wish};
use crate::settings;
use anyhow::Result;
use skerry_config::{Config, Secret, Severity, Source, SourceKind, load};
use skerry_installer::choose::{Disk, Purpose, Wanted};
use std::path::Path;

/// What the machine is in its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// The first one.
    #[default]
    First,
    /// One more.
    Joins,
}

/// What becomes of what the disk holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Use {
    /// It holds nothing.
    #[default]
    Empty,
    /// It is lost.
    Erase,
    /// Skerry's data stay.
    Keep,
    /// k3OS's configuration is taken over, the rest is lost.
    TakeOver,
}

/// What was answered so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Onto what; none: a file that was named before.
    pub disk: Option<Disk>,
    /// What becomes of what it holds.
    pub purpose: Use,
    /// Its role.
    pub role: Role,
    /// The cluster's server.
    pub server: Option<String>,
    /// The cluster's token.
    pub token: Option<String>,
    /// Who may log in.
    pub keys: Vec<String>,
    /// The consoles' password.
    pub password: Option<String>,
    /// Its name.
    pub hostname: Option<String>,
}

impl Answers {
    /// The configuration: what was there before, with the answers in it.
    pub fn config(&self, base: &Config) -> Config {
        let mut config = base.clone();
        config.ssh_authorized_keys.clone_from(&self.keys);
        config.hostname.clone_from(&self.hostname);
        let skerry = &mut config.skerry;
        skerry.password = self.password.clone().map(Secret);
        match self.role {
            Role::First => skerry.server_url = None,
            Role::Joins => {
                skerry.server_url.clone_from(&self.server);
                skerry.token = self.token.clone().map(Secret);
            }
        }
        config
    }

    /// What is wished for. `file` where there is no disk: its path and length.
    pub fn wish(&self, base: &Config, from: &Path, file: Option<Onto>, end: End) -> Result<Wish> {
        let onto = match (&self.disk, file) {
            (Some(disk), _) => Onto::Disk(Wanted::Path(disk.path.clone())),
            (None, Some(file)) => file,
            (None, None) => anyhow::bail!("choosing a disk: none was chosen"),
        };
        let (purpose, settings) = match self.purpose {
            Use::Keep => (Purpose::Again, Settings::None),
            Use::TakeOver => (Purpose::New { erase: true }, Settings::K3os),
            Use::Empty => (Purpose::New { erase: false }, Settings::Text(settings::text(&self.config(base))?)),
            Use::Erase => (Purpose::New { erase: true }, Settings::Text(settings::text(&self.config(base))?)),
        };
        Ok(Wish {
            onto,
            from: from.to_owned(),
            settings,
            purpose,
            spares_skerry: false,
            end,
            is_verbose: false,
        })
    }
}

/// Judges one value of a key, by the rules for files. What is wrong is the error; what is only worth knowing comes back.
pub fn check(key: &[&str], value: &str) -> Result<Option<String>, String> {
    judged(key, &value.into(), false)
}

/// As [`check`]; and what there is something better to write for is wrong. In a file it is kept, as k3OS kept it; here a person is
/// there to mend it.
pub fn check_strictly(key: &[&str], value: &str) -> Result<Option<String>, String> {
    judged(key, &value.into(), true)
}

/// Judges one key for SSH.
pub fn check_key(value: &str) -> Result<Option<String>, String> {
    judged(&["ssh_authorized_keys"], &serde_json::json!([value]), true)
}

fn judged(key: &[&str], value: &serde_json::Value, is_strict: bool) -> Result<Option<String>, String> {
    let document = key
        .iter()
        .rev()
        .fold(value.clone(), |inner, name| serde_json::json!({ *name: inner }));
    // JSON is YAML.
    let loaded = load(&[Source::new(SourceKind::System, "answer", document.to_string())]);
    let mut note = None;
    for problem in loaded.problems.iter().filter(|p| p.severity != Severity::Note) {
        let write = &problem.write_instead;
        if problem.drops || !loaded.refused.is_empty() || is_strict && !write.is_empty() {
            let hint = if write.is_empty() {
                String::new()
            } else {
                format!("; write {write}")
            };
            return Err(format!("{}{hint}", problem.what));
        }
        note = Some(problem.what.clone());
    }
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_as_in_a_file() {
        for (key, value, is_good) in [
            (&["hostname"][..], "rock", true),
            (&["hostname"], "no spaces", false),
            (&["skerry", "server_url"], "https://10.0.0.5:6443", true),
            (&["skerry", "token"], "a-secret-of-sixteen-characters", true),
        ] {
            assert_eq!(check(key, value).is_ok(), is_good, "{key:?} {value:?}: {:?}", check(key, value));
        }
        assert!(check_key("github:me").is_ok());
        assert!(check_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me").is_ok());
        assert!(check_key("nonsense").is_err());
    }

    #[test]
    fn an_address_that_is_none_is_not_taken() {
        assert!(check_strictly(&["skerry", "server_url"], "https://10.0.0.5:6443").is_ok());
        assert!(check_strictly(&["skerry", "server_url"], "10.0.0.5").unwrap_err().contains("write"));
    }

    #[test]
    fn a_first_machine_forgets_the_server_it_would_have_joined() {
        let text = "k3os: {server_url: 'https://s:6443', token: abcabcabcabcabcabc, labels: {a: b}}";
        let base = load(&[Source::new(SourceKind::System, "x", text)]).config;
        let config = Answers::default().config(&base);
        assert_eq!((config.skerry.server_url, config.skerry.labels.len()), (None, 1));
    }
}
