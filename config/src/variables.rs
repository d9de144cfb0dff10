//! `${mac}` and its like in URLs: one configuration for many machines.

use crate::{Config, Loaded, Origin, Problem, Severity};
use std::fmt::Write as _;

/// What this machine is called in URLs. A value that is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `${mac}`: the first wired interface's hardware address, lower case, with colons.
    pub mac: Option<String>,
    /// `${serial}`: the firmware's serial number.
    pub serial: Option<String>,
    /// `${uuid}`: the firmware's UUID.
    pub uuid: Option<String>,
    /// `${hostname}`.
    pub hostname: Option<String>,
}

const NAMES: &str = "${mac}, ${serial}, ${uuid} and ${hostname}";

impl Variables {
    /// The value: what is empty counts as not known. The error: there is no such variable.
    fn get(&self, name: &str) -> Result<Option<&str>, String> {
        let value = match name {
            "mac" => &self.mac,
            "serial" => &self.serial,
            "uuid" => &self.uuid,
            "hostname" => &self.hostname,
            _ => return Err(format!("there is no variable ${{{name}}}; there are {NAMES}")),
        };
        Ok(value.as_deref().map(str::trim).filter(|v| !v.is_empty()))
    }
}

/// Puts the values in, percent-encoded. Without any (on a laptop) only the names are checked. The error says what is wrong.
fn expand(text: &str, values: Option<&Variables>) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (name, after) = after.split_once('}').ok_or("`${` is not closed by `}`")?;
        rest = after;
        let nothing = Variables::default();
        match values.unwrap_or(&nothing).get(name)? {
            _ if values.is_none() => out.extend(["${", name, "}"]),
            Some(value) => out.push_str(&encode(value)),
            None => return Err(format!("${{{name}}} is empty on this machine")),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl Loaded {
    /// Puts the machine's values into the URLs of the configuration. A URL with an unknown or empty variable is left out, and named.
    /// Without values (a check on some other computer) only the names are checked.
    pub fn fill_in(&mut self, values: Option<&Variables>) {
        let mut wrong = vec![];
        let mut filled = vec![];
        {
            let mut one = |path: String, text: &mut String| match expand(text, values) {
                Ok(new) => {
                    if new != *text {
                        filled.push((path, new.clone()));
                        *text = new;
                    }
                    true
                }
                Err(why) => {
                    wrong.push((path, why));
                    false
                }
            };
            urls(&mut self.config, &mut one);
        }
        for (path, new) in filled {
            if let Some(entry) = self.explain.iter_mut().find(|e| e.path == path) {
                entry.value = new.into();
            }
        }
        for (path, what) in wrong {
            let entry = self.explain.iter().position(|e| e.path == path);
            let origin = entry.map_or_else(Origin::default, |at| self.explain.remove(at).origin);
            self.problems.push(Problem {
                origin,
                severity: Severity::Error,
                path,
                what,
                done_instead: "left out".to_owned(),
                write_instead: String::new(),
                drops: true,
            });
        }
    }
}

/// Shows every URL of a configuration to `one`; those it says no to are taken out.
fn urls(config: &mut Config, one: &mut impl FnMut(String, &mut String) -> bool) {
    // A literal key may hold `${` in its comment.
    let keys = |path: &str, list: &mut Vec<String>, one: &mut dyn FnMut(String, &mut String) -> bool| {
        let mut at = 0;
        list.retain_mut(|key| {
            let path = format!("{path}[{at}]");
            at += 1;
            let remote = ["http://", "https://", "github:", "gitlab:"]
                .iter()
                .any(|s| key.trim_start().starts_with(s));
            !remote || one(path, key)
        });
    };
    keys("ssh_authorized_keys", &mut config.ssh_authorized_keys, one);
    for (at, user) in config.users.iter_mut().enumerate() {
        keys(&format!("users[{at}].ssh_authorized_keys"), &mut user.ssh_authorized_keys, one);
    }
    let skerry = &mut config.skerry;
    let mut at = 0;
    skerry.data_sources.retain_mut(|source| {
        let path = format!("skerry.data_sources[{at}]");
        at += 1;
        one(path, source)
    });
    let install = &mut skerry.install;
    for (path, place) in [
        ("skerry.server_url", &mut skerry.server_url),
        ("skerry.install.config_url", &mut install.config_url),
        ("skerry.install.iso_url", &mut install.iso_url),
    ] {
        if place.as_mut().is_some_and(|text| !one(path.to_owned(), text)) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, SourceKind, load};
    use proptest::prelude::*;

    fn values() -> Variables {
        Variables {
            mac: Some("52:54:00:ab:cd:ef".into()),
            serial: Some("SN 1/é".into()),
            uuid: None,
            hostname: Some("edge-1".into()),
        }
    }

    #[test]
    fn values_are_encoded_and_what_cannot_be_put_in_is_named() {
        for (text, expected) in [
            ("https://x/${hostname}.yaml", Ok("https://x/edge-1.yaml")),
            ("${mac}", Ok("52%3A54%3A00%3Aab%3Acd%3Aef")),
            ("a${serial}b${serial}", Ok("aSN%201%2F%C3%A9bSN%201%2F%C3%A9")),
            ("$mac $ {} $}", Ok("$mac $ {} $}")),
            ("${uuid}", Err("${uuid} is empty on this machine")),
            (
                "${Mac}",
                Err("there is no variable ${Mac}; there are ${mac}, ${serial}, ${uuid} and ${hostname}"),
            ),
            (
                "${}",
                Err("there is no variable ${}; there are ${mac}, ${serial}, ${uuid} and ${hostname}"),
            ),
            ("${mac", Err("`${` is not closed by `}`")),
        ] {
            assert_eq!(
                expand(text, Some(&values())),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
        assert_eq!(expand("a${uuid}", None).unwrap(), "a${uuid}");
        assert!(expand("${nope}", None).is_err());
    }

    const ALL: &str = "\
ssh_authorized_keys: ['https://k/${mac}', 'github:${nope}', 'ssh-rsa AAAA ${comment}']
users: [{name: a, ssh_authorized_keys: ['https://k/${hostname}']}]
skerry:
  data_sources: ['file=${serial}', 'file=${uuid}']
  server_url: https://${hostname}:6443
  install: {config_url: 'https://c/${uuid}', iso_url: 'https://i/${hostname}'}
";

    #[test]
    fn every_url_of_a_configuration() {
        let mut loaded = load(&[Source::new(SourceKind::System, "c", ALL)]);
        let before = loaded.problems.len();
        loaded.fill_in(Some(&values()));
        let config = &loaded.config;
        assert_eq!(
            config.ssh_authorized_keys,
            ["https://k/52%3A54%3A00%3Aab%3Acd%3Aef", "ssh-rsa AAAA ${comment}"]
        );
        assert_eq!(config.users[0].ssh_authorized_keys, ["https://k/edge-1"]);
        assert_eq!(config.skerry.data_sources, ["file=SN%201%2F%C3%A9"]);
        assert_eq!(config.skerry.server_url.as_deref(), Some("https://edge-1:6443"));
        assert_eq!(config.skerry.install.config_url, None);
        assert_eq!(config.skerry.install.iso_url.as_deref(), Some("https://i/edge-1"));
        let said: Vec<String> = loaded.problems.iter().skip(before).map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].starts_with("c:1:43: error: ssh_authorized_keys[1]: there is no variable ${nope}"),
            "{said:?}"
        );
        assert!(
            said.iter()
                .any(|s| s.contains("skerry.install.config_url: ${uuid} is empty on this machine; left out"))
        );
        let shown = loaded.explain.iter().find(|e| e.path == "skerry.server_url").unwrap();
        assert_eq!(shown.value, "https://edge-1:6443");
    }

    #[test]
    fn a_laptop_checks_the_names() {
        let mut loaded = load(&[Source::new(SourceKind::System, "c", ALL)]);
        let before = loaded.problems.len();
        loaded.fill_in(None);
        assert_eq!(loaded.problems.len(), before + 1);
        assert_eq!(loaded.config.skerry.data_sources.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[$a-c{}mac]{0,40}") {
            let _ = expand(&text, Some(&values()));
            if !text.contains("${") {
                prop_assert_eq!(expand(&text, None), Ok(text));
            }
        }
    }
}
