//! Who may log in by SSH: literal keys, and keys that somebody publishes.

use crate::lines::joined;
use skerry_config::types::Config;

/// The first login user; `rancher` is its second name.
pub const SKERRY: &str = "skerry";

/// One entry of `ssh_authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A line of `authorized_keys`.
    Literal(String),
    /// To be fetched: as the owner wrote it, and where it is.
    Remote {
        /// `github:somebody`.
        name: String,
        /// `https://github.com/somebody.keys`.
        url: String,
    },
}

/// What an entry means; none if it is empty.
pub fn key(entry: &str) -> Option<Key> {
    let entry = entry.trim();
    let remote = |url: String| {
        Some(Key::Remote {
            name: entry.to_owned(),
            url,
        })
    };
    match entry.split_once(':') {
        _ if entry.is_empty() => None,
        _ if entry.contains(char::is_whitespace) => Some(Key::Literal(entry.to_owned())),
        Some(("github", user)) => remote(format!("https://github.com/{user}.keys")),
        Some(("gitlab", user)) => remote(format!("https://gitlab.com/{user}.keys")),
        Some(("http" | "https", rest)) if rest.starts_with("//") => remote(entry.to_owned()),
        _ => Some(Key::Literal(entry.to_owned())),
    }
}

/// The login users and what each one's keys are.
pub fn by_user(config: &Config) -> Vec<(String, Vec<Key>)> {
    let keys = |list: &[String]| list.iter().filter_map(|e| key(e)).collect();
    let first = (SKERRY.to_owned(), keys(&config.ssh_authorized_keys));
    let further = config.users.iter().map(|u| (u.name.clone(), keys(&u.ssh_authorized_keys)));
    std::iter::once(first).chain(further).collect()
}

/// Whether anything must be fetched.
pub fn any_remote(config: &Config) -> bool {
    by_user(config)
        .iter()
        .flat_map(|(_, keys)| keys)
        .any(|k| matches!(k, Key::Remote { .. }))
}

/// The names and addresses of all that must be fetched, each once.
pub fn remotes(config: &Config) -> Vec<(String, String)> {
    let mut found = vec![];
    for key in by_user(config).into_iter().flat_map(|(_, keys)| keys) {
        if let Key::Remote { name, url } = key {
            if !found.contains(&(name.clone(), url.clone())) {
                found.push((name, url));
            }
        }
    }
    found
}

/// A user's `authorized_keys`. `fetched` knows the last copy of a published list; an entry without one is left out.
pub fn render(keys: &[Key], fetched: impl Fn(&str) -> Option<String>) -> String {
    let mut lines = vec!["# Written by Skerry from config.yaml at each boot; what is added here by hand does not stay.".to_owned()];
    for key in keys {
        match key {
            Key::Literal(line) => lines.push(line.clone()),
            Key::Remote { name, .. } => {
                let list = fetched(name).unwrap_or_default();
                lines.extend(list.lines().map(str::trim).filter(|l| is_key(l)).map(str::to_owned));
            }
        }
    }
    joined(lines)
}

/// Whether a fetched line is a plain public key: nobody outside may set options (`command="…"`), and an error page is no key.
pub fn is_key(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-") || kind.starts_with("sk-");
    known && words.next().is_some_and(|data| data.starts_with("AAAA"))
}

/// The name under which a fetched list is kept.
pub fn cache_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(40)
        .collect();
    let digest: u64 = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{plain}-{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::types::User;

    #[test]
    fn entries() {
        let remote = |name: &str, url: &str| {
            Some(Key::Remote {
                name: name.into(),
                url: url.into(),
            })
        };
        for (entry, expected) in [
            ("github:ann", remote("github:ann", "https://github.com/ann.keys")),
            (" gitlab:bob\n", remote("gitlab:bob", "https://gitlab.com/bob.keys")),
            ("http://10.0.0.1/keys", remote("http://10.0.0.1/keys", "http://10.0.0.1/keys")),
            ("ssh-rsa AAAA http://x", Some(Key::Literal("ssh-rsa AAAA http://x".into()))),
            ("ssh-rsa", Some(Key::Literal("ssh-rsa".into()))),
            ("  ", None),
        ] {
            assert_eq!(key(entry), expected, "{entry}");
        }
    }

    #[test]
    fn files_hold_what_the_config_says() {
        let user = User {
            name: "ops".into(),
            ssh_authorized_keys: vec!["github:ann".into()],
            ..User::default()
        };
        let keys = vec!["ssh-ed25519 AAAAC3 me".into(), "github:ann".into(), "gitlab:gone".into()];
        let config = Config {
            ssh_authorized_keys: keys,
            users: vec![user],
            ..Config::default()
        };
        let fetched = |name: &str| (name == "github:ann").then(|| "ssh-rsa AAAAB3 ann\n<html>\ncommand=\"x\" ssh-rsa AAAA\n".to_owned());
        let files: Vec<_> = by_user(&config).iter().map(|(_, keys)| render(keys, fetched)).collect();
        let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&files[0]), ["ssh-ed25519 AAAAC3 me", "ssh-rsa AAAAB3 ann"]);
        assert_eq!(lines(&files[1]), ["ssh-rsa AAAAB3 ann"]);
        assert_eq!(remotes(&config).len(), 2);
    }

    #[test]
    fn cache_names_are_file_names_and_differ() {
        assert_eq!(cache_name("github:ann"), cache_name("github:ann"));
        assert_ne!(cache_name("github:ann"), cache_name("github_ann"));
        assert!(!cache_name("http://a/../../b").contains('/'));
    }
}
