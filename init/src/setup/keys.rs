//! SSH keys that somebody publishes: fetched once there is a network, kept for boots without one.

use crate::apply::{Settings, logins};
use crate::authorized::{cache_name, is_key, remotes};
use crate::root::Root;
use crate::said::said;
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::Duration;

/// The only program that speaks HTTP.
const FETCH: &str = "/usr/lib/skerry/fetch";
/// Tries in one run, a second apart; PID 1 runs us again, later and later, for as long as one is missing.
const TRIES: u32 = 3;

/// `setup keys`.
pub fn run() -> Result<()> {
    let settings = Settings::read(Root::system())?;
    let mut missing = vec![];
    for (name, url) in remotes(&settings.config) {
        match fetch(&url) {
            Ok(list) => keep(&settings.root, &name, &list)?,
            Err(why) => {
                eprintln!("{name}: {}", said(&why));
                missing.push(name);
            }
        }
    }
    forget(&settings)?;
    for failure in logins::apply(&settings) {
        eprintln!("{}", said(&failure));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "fetching SSH keys: {} not to be had now; trying again (the last copy, if there is one, stays valid)",
        missing.join(", ")
    )
}

fn fetch(url: &str) -> Result<String> {
    let mut tries = 1;
    loop {
        match fetch_once(url) {
            Err(_) if tries < TRIES => std::thread::sleep(Duration::from_secs(1)),
            other => return other,
        }
        tries += 1;
    }
}

fn fetch_once(url: &str) -> Result<String> {
    let out = Command::new(FETCH)
        .args(["get", url, "--max", "262144"])
        .output()
        .with_context(|| format!("running {FETCH}"))?;
    if !out.status.success() {
        bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Keeps a list. An answer without a single key is no list: a portal's welcome page must not lock anybody out.
fn keep(root: &Root, name: &str, list: &str) -> Result<()> {
    if !list.lines().any(|l| is_key(l.trim())) && !list.trim().is_empty() {
        eprintln!("{name}: what came back holds no SSH key; the last copy stays");
        return Ok(());
    }
    root.write_changed(&format!("{}/{}", logins::FETCHED, cache_name(name)), list, 0o644)
}

/// Removes what the configuration does not name any more.
fn forget(settings: &Settings) -> Result<()> {
    let wanted: Vec<String> = remotes(&settings.config).iter().map(|(name, _)| cache_name(name)).collect();
    let Ok(entries) = std::fs::read_dir(settings.root.at(logins::FETCHED)) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if !wanted.iter().any(|w| entry.file_name() == w.as_str()) {
            std::fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;
    use skerry_config::types::Config;

    #[test]
    fn copies_are_kept_and_forgotten() {
        let keys = vec!["github:ann".to_owned()];
        let s = Settings {
            root: scratch("keys"),
            config: Config {
                ssh_authorized_keys: keys,
                ..Config::default()
            },
            facts: Facts::default(),
        };
        let copy = |name: &str| s.root.text(&format!("{}/{}", logins::FETCHED, cache_name(name)));
        keep(&s.root, "github:ann", "ssh-rsa AAAAB ann\n").unwrap();
        keep(&s.root, "github:bob", "ssh-rsa AAAAB bob\n").unwrap();
        keep(&s.root, "github:ann", "<html>Please log in</html>").unwrap();
        forget(&s).unwrap();
        assert_eq!(copy("github:ann").unwrap(), "ssh-rsa AAAAB ann\n");
        assert_eq!(copy("github:bob"), None);
        // Who took all keys off the list has none.
        keep(&s.root, "github:ann", "").unwrap();
        assert_eq!(copy("github:ann").unwrap(), "");
    }
}
