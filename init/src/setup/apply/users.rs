//! Login users: accounts and homes. Who may use `sudo` is in group `sudo`, which the image's rules trust.

use super::accounts::{Accounts, Login, group_id, numbers, user_id, with_logins, without};
use super::{Failures, Settings, password};
use crate::lines::joined;
use crate::root::Root;
use anyhow::{Context, Result};
use skerry_config::types::{Config, Distribution};
use std::os::unix::fs::symlink;

/// This boot's password for the console, where there is no other way in; root's alone.
pub const CONSOLE_PASSWORD: &str = "/run/skerry/console-password";
/// The numbers that users were given, `name number` a line.
const NUMBERS: &str = "/var/lib/skerry/users";
/// The users that the configuration made in this boot, so that they can leave when it is read again.
const MADE: &str = "/run/skerry/users";

/// Brings the accounts in line with the configuration.
pub fn apply(s: &Settings) -> Failures {
    let mut failures = vec![];
    let hash = first_password(s).unwrap_or_else(|e| {
        failures.push(e);
        None
    });
    let mut logins: Vec<Login> = [("skerry", "/home/skerry"), ("rancher", "/home/rancher")]
        .iter()
        .map(|(name, home)| first(name, home, hash.clone()))
        .collect();
    let (further, problems) = further(s);
    failures.extend(problems);
    logins.extend(further);
    failures.extend(accounts(&s.root, &logins).err());
    if let Err(why) = homes(&s.root, &logins, &mut failures) {
        failures.push(why);
    }
    failures
}

fn first(name: &str, home: &str, hash: Option<String>) -> Login {
    Login {
        name: name.to_owned(),
        id: 1000,
        group: "skerry".to_owned(),
        home: home.to_owned(),
        hash,
        sudo: true,
    }
}

/// The hash for `skerry`: the owner's password, or a random one for this boot where nobody could get in at all.
fn first_password(s: &Settings) -> Result<Option<String>> {
    let random = password::random().context("reading random bytes")?;
    let salt = password::salt(&random);
    if let Some(owner) = s.config.skerry.password.as_ref().filter(|p| !p.0.is_empty()) {
        return password::hash(&owner.0, &salt).map(Some);
    }
    if !needs_console_password(&s.config, s.facts.last_good_login) {
        return Ok(None);
    }
    let plain = if let Some(word) = s.root.word(CONSOLE_PASSWORD) {
        word
    } else {
        let word = password::readable(&password::random()?);
        s.root.write(CONSOLE_PASSWORD, &format!("{word}\n"), 0o600)?;
        word
    };
    password::hash(&plain, &salt).map(Some)
}

/// Whether nobody could log in: no key, no password; nor with the last good configuration, so that nobody removed them on purpose.
pub fn needs_console_password(config: &Config, last_good_login: bool) -> bool {
    !last_good_login && !has_login(config)
}

/// Whether somebody could log in: what makes a configuration without a cluster usable.
pub fn has_login(config: &Config) -> bool {
    let mut alone = config.clone();
    alone.skerry.distribution = Distribution::None.into();
    skerry_config::usable(&alone).is_ok()
}

/// The users of `users:`, with numbers that stay theirs.
fn further(s: &Settings) -> (Vec<Login>, Failures) {
    let mut failures = vec![];
    let known: Vec<(String, u32)> = s.root.text(NUMBERS).unwrap_or_default().lines().filter_map(number).collect();
    let passwd = s.root.text("/etc/passwd").unwrap_or_default();
    let mut users = vec![];
    for user in &s.config.users {
        match refusal(&passwd, &user.name) {
            None => users.push(user),
            Some(why) => failures.push(anyhow::anyhow!("setting up user {:?}: {why}", user.name)),
        }
    }
    let names: Vec<String> = users.iter().map(|u| u.name.clone()).collect();
    let all = numbers(&known, &names);
    if all != known {
        let text = joined(all.iter().map(|(n, id)| format!("{n} {id}")));
        failures.extend(s.root.write(NUMBERS, &text, 0o644).err());
    }
    let mut logins = vec![];
    for user in users {
        let Some((_, id)) = all.iter().find(|(n, _)| *n == user.name) else {
            continue;
        };
        let plain = user.password.as_ref().filter(|p| !p.0.is_empty());
        let hash = plain
            .map(|p| password::hash(&p.0, &password::salt(&password::random()?)))
            .transpose();
        let hash = hash.with_context(|| format!("setting up user {}", user.name)).unwrap_or_else(|e| {
            failures.push(e);
            None
        });
        let (name, home) = (user.name.clone(), format!("/home/{}", user.name));
        logins.push(Login {
            group: name.clone(),
            name,
            id: *id,
            home,
            hash,
            sudo: user.sudo,
        });
    }
    (logins, failures)
}

/// Why a user of that name cannot be made; none if it can.
fn refusal(passwd: &str, name: &str) -> Option<&'static str> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !first
        || name.len() > 32
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    {
        return Some("a name is up to 32 of a-z, 0-9, _ and -, and begins with a letter");
    }
    if ["skerry", "rancher"].contains(&name) {
        return Some("it is there already: its keys are `ssh_authorized_keys`, its password `skerry.password`");
    }
    // The system's own have low numbers.
    user_id(passwd, name)
        .filter(|(id, _)| *id < 1000 || *id == 65534)
        .map(|_| "the system has a user of that name for its own use")
}

fn number(line: &str) -> Option<(String, u32)> {
    let (name, id) = line.split_once(' ')?;
    Some((name.to_owned(), id.parse().ok()?))
}

fn accounts(root: &Root, logins: &[Login]) -> Result<()> {
    let read = |path: &str| root.text(path).unwrap_or_default();
    let base = Accounts {
        passwd: read("/etc/passwd"),
        shadow: read("/etc/shadow"),
        group: read("/etc/group"),
    };
    let gone: Vec<String> = read(MADE)
        .lines()
        .filter(|l| !logins.iter().any(|u| u.name == **l))
        .map(str::to_owned)
        .collect();
    let new = with_logins(&without(&base, &gone), logins);
    root.write_changed("/etc/passwd", &new.passwd, 0o644)?;
    root.write_changed("/etc/group", &new.group, 0o644)?;
    if new.shadow != base.shadow {
        // As Debian: unix_chkpwd reads it as group shadow.
        let (gid, mode) = group_id(&new.group, "shadow").map_or((0, 0o600), |gid| (gid, 0o640));
        root.write("/etc/shadow", &new.shadow, 0o600)?;
        if root.is_system() {
            skerry_sys::file::replace_owned(root.at("/etc/shadow"), new.shadow.as_bytes(), mode, 0, gid)?;
        }
    }
    let made = joined(logins.iter().skip(2).map(|l| &l.name));
    root.write_changed(MADE, &made, 0o644)
}

/// Makes the homes that are missing, with Debian's first files in them; `rancher`'s is a link to `skerry`'s.
fn homes(root: &Root, logins: &[Login], failures: &mut Failures) -> Result<()> {
    for l in logins.iter().filter(|l| l.name != "rancher") {
        failures.extend(home(root, l).with_context(|| format!("making {}", l.home)).err());
    }
    let rancher = root.at("/home/rancher");
    if std::fs::symlink_metadata(&rancher).is_err() {
        symlink("skerry", &rancher).context("linking /home/rancher")?;
    }
    Ok(())
}

fn home(root: &Root, login: &Login) -> Result<()> {
    let at = root.at(&login.home);
    if at.is_dir() {
        return Ok(());
    }
    root.dir(&login.home, 0o750)?;
    let own = |path: &std::path::Path| -> Result<()> {
        if root.is_system() {
            std::os::unix::fs::chown(path, Some(login.id), Some(login.id))?;
        }
        Ok(())
    };
    for name in [".bashrc", ".profile", ".bash_logout"] {
        if let Some(text) = root.text(&format!("/etc/skel/{name}")) {
            let path = format!("{}/{name}", login.home);
            root.write(&path, &text, 0o644)?;
            own(&root.at(path))?;
        }
    }
    own(&at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;
    use skerry_config::types::{Secret, User};

    fn settings(name: &str, config: Config) -> Settings {
        let root = scratch(name);
        root.write("/etc/skel/.profile", "umask 022\n", 0o644).unwrap();
        Settings {
            root,
            config,
            facts: Facts::default(),
        }
    }

    #[test]
    fn users_get_accounts_and_homes() {
        let user = User {
            name: "ops".into(),
            sudo: true,
            password: Some(Secret("x".into())),
            ..User::default()
        };
        let s = settings(
            "users",
            Config {
                users: vec![user],
                ..Config::default()
            },
        );
        assert!(apply(&s).is_empty());
        let passwd = s.root.text("/etc/passwd").unwrap();
        assert!(
            passwd.starts_with("skerry:x:1000:1000::/home/skerry:/bin/bash\nrancher:x:1000:1000:"),
            "{passwd}"
        );
        assert!(s.root.text("/etc/shadow").unwrap().contains("ops:$6$"));
        assert!(s.root.text("/etc/group").unwrap().contains(
            "sudo:x:27:skerry,rancher,ops
"
        ));
        assert_eq!(s.root.text("/home/rancher/.profile").unwrap(), "umask 022\n");
        assert_eq!(s.root.text("/var/lib/skerry/users").unwrap(), "ops 1001\n");
        // The configuration is read again, without that user.
        let s = Settings {
            config: Config::default(),
            ..s
        };
        assert!(apply(&s).is_empty());
        assert!(!s.root.text("/etc/passwd").unwrap().contains("ops"));
    }

    #[test]
    fn names_that_cannot_be() {
        let passwd = "daemon:x:1:1::/:/bin/sh\nops:x:1001:1001::/home/ops:/bin/bash\n";
        for (name, good) in [
            ("ops", true),
            ("a-b_1", true),
            ("daemon", false),
            ("skerry", false),
            ("a:b", false),
            ("7up", false),
            ("", false),
        ] {
            assert_eq!(refusal(passwd, name).is_none(), good, "{name}");
        }
    }

    #[test]
    fn a_console_password_is_the_last_way_in() {
        let keys = |k: &str| Config {
            ssh_authorized_keys: vec![k.into()],
            ..Config::default()
        };
        assert!(needs_console_password(&Config::default(), false));
        assert!(needs_console_password(&keys("not a key"), false));
        assert!(!needs_console_password(&Config::default(), true));
        assert!(!needs_console_password(&keys("github:me"), false));
        assert!(needs_console_password(&keys(""), false));
        let s = settings("console", Config::default());
        assert!(apply(&s).is_empty());
        let first = s.root.word(CONSOLE_PASSWORD).unwrap();
        assert!(apply(&s).is_empty());
        assert_eq!(s.root.word(CONSOLE_PASSWORD).unwrap(), first);
        assert!(s.root.text("/etc/shadow").unwrap().contains("skerry:$6$"));
    }
}
