//! Who this machine is: host name, node name, machine id.

use super::{Failures, Settings, one, password};
use crate::facts::NODE_NAME;
use crate::root::Root;
use crate::said::said;
use anyhow::{Context, Result};

/// The machine id on data; `/etc` is rebuilt at each boot.
const MACHINE_ID: &str = "/skerry/etc/machine-id";

/// Tells the kernel the host name, which a DHCP client sends.
pub fn set_hostname(s: &Settings) -> Failures {
    if !s.root.is_system() {
        return vec![];
    }
    one(skerry_sys::machine::set_hostname(&s.facts.hostname).map_err(anyhow::Error::from))
}

/// Sets the host name, and pins the node's name at first start.
pub fn hostname(s: &Settings) -> Failures {
    let name = &s.facts.hostname;
    let mut failures = set_hostname(s);
    failures.extend(s.root.write_changed("/etc/hostname", &format!("{name}\n"), 0o644).err());
    let base = s.root.text("/etc/hosts").unwrap_or_default();
    failures.extend(
        s.root
            .write_changed("/etc/hosts", &hosts(&base, name, &s.facts.node_name), 0o644)
            .err(),
    );
    // Scripts of k3OS's time look here.
    failures.extend(s.root.write_changed("/run/k3os/mode", &format!("{}\n", s.facts.mode), 0o644).err());
    if s.root.word(NODE_NAME).is_none() {
        let pinned = s.root.write(NODE_NAME, &format!("{}\n", s.facts.node_name), 0o644);
        failures.extend(pinned.context("pinning the node's name").err());
    }
    failures
}

/// `/etc/hosts` with this machine's name in it.
fn hosts(base: &str, hostname: &str, node_name: &str) -> String {
    let mut names = vec![hostname];
    if let Some((short, _)) = hostname.split_once('.') {
        names.push(short);
    }
    if !names.contains(&node_name) && !node_name.is_empty() {
        names.push(node_name);
    }
    let own = format!("127.0.1.1\t{}\n", names.join(" "));
    let mut text = String::new();
    if !base.lines().any(|l| l.split_whitespace().skip(1).any(|n| n == "localhost")) {
        text.push_str("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    }
    for line in base.lines().filter(|l| l.split_whitespace().next() != Some("127.0.1.1")) {
        text.extend([line, "\n"]);
    }
    match text.find('\n') {
        Some(end) if text.starts_with("127.0.0.1") => text.insert_str(end + 1, &own),
        _ => text.push_str(&own),
    }
    text
}

/// Gives the machine an id that stays. It is random: boards have no firmware that would know one.
pub fn machine_id(s: &Settings) -> Failures {
    one(set_machine_id(&s.root))
}

fn set_machine_id(root: &Root) -> Result<()> {
    let valid = |path: &str| {
        root.word(path)
            .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let id = if let Some(id) = valid(MACHINE_ID) {
        id
    } else {
        let id = new_machine_id(u128::from_be_bytes(password::random().context("reading random bytes")?));
        // A machine that cannot keep its id still gets one.
        if let Err(why) = put(root, MACHINE_ID, &id) {
            eprintln!("machine-id: {}; this boot has one of its own", said(&why));
        }
        id
    };
    if valid("/etc/machine-id").as_ref() == Some(&id) {
        Ok(())
    } else {
        put(root, "/etc/machine-id", &id)
    }
}

/// As systemd makes them: a random UUID, version 4.
fn new_machine_id(random: u128) -> String {
    let random = random & !(0xf000 << 64) | 0x4000 << 64;
    format!("{:032x}", random & !(0xc << 60) | 0x8 << 60)
}

/// Writes it; in place where the file is a mount of its own, which cannot be replaced.
fn put(root: &Root, path: &str, id: &str) -> Result<()> {
    let text = format!("{id}\n");
    root.write(path, &text, 0o444).or_else(|why| {
        let in_place = || {
            std::io::Write::write_all(
                &mut std::fs::OpenOptions::new().write(true).truncate(true).open(root.at(path))?,
                text.as_bytes(),
            )
        };
        in_place().map_err(|_| why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::root::scratch;
    use skerry_config::types::Config;

    #[test]
    fn hosts_know_the_machine() {
        let image = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n";
        let with = hosts(image, "edge-1", "edge-1");
        assert_eq!(with, "127.0.0.1\tlocalhost\n127.0.1.1\tedge-1\n::1\tlocalhost ip6-localhost\n");
        assert_eq!(hosts(&with, "edge-1", "edge-1"), with);
        let renamed = hosts(&with, "new.plant.example", "edge-1");
        assert!(renamed.contains("127.0.1.1\tnew.plant.example new edge-1\n") && !renamed.contains("127.0.1.1\tedge-1"));
        assert!(hosts("", "a", "a").starts_with("127.0.0.1\tlocalhost\n127.0.1.1\ta\n::1\t"));
    }

    #[test]
    fn ids_and_names_stay() {
        let root = scratch("identity");
        let facts = Facts {
            hostname: "Edge".into(),
            node_name: "edge".into(),
            ..Facts::default()
        };
        let s = Settings {
            root,
            config: Config::default(),
            facts,
        };
        assert!(hostname(&s).is_empty() && machine_id(&s).is_empty());
        let id = s.root.word("/etc/machine-id").unwrap();
        assert_eq!((id.len(), id.as_bytes()[12]), (32, b'4'));
        s.root.write("/etc/machine-id", "", 0o444).unwrap();
        let renamed = Settings {
            facts: Facts {
                hostname: "new".into(),
                node_name: "new".into(),
                ..Facts::default()
            },
            ..s
        };
        assert!(hostname(&renamed).is_empty() && machine_id(&renamed).is_empty());
        assert_eq!(renamed.root.word("/etc/machine-id").unwrap(), id);
        assert_eq!(renamed.root.word(NODE_NAME).unwrap(), "edge");
        assert_eq!(renamed.root.word("/etc/hostname").unwrap(), "new");
    }
}
