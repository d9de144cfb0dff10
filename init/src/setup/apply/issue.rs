//! `/etc/issue`: what a person at the console reads above `login:`.

use super::users::CONSOLE_PASSWORD;
use super::{Failures, Settings, one};
use crate::facts::Facts;
use crate::lines::joined;
use crate::root::Root;
use anyhow::Result;

/// Writes what is known before the network is up.
pub fn apply(s: &Settings) -> Failures {
    one(write(&s.root, &s.facts, ""))
}

/// Writes it; `more` is what became known later.
pub fn write(root: &Root, facts: &Facts, more: &str) -> Result<()> {
    root.write_changed("/etc/issue", &text(facts, root.word(CONSOLE_PASSWORD).as_deref(), more), 0o644)
}

fn text(facts: &Facts, password: Option<&str>, more: &str) -> String {
    // agetty takes a backslash for one of its own words.
    let plain = |s: &str| s.replace('\\', "\\\\");
    let mut lines = vec![
        String::new(),
        format!("Skerry {} on {} (\\l)", plain(&facts.release.version), plain(&facts.hostname)),
    ];
    match facts.plan.as_str() {
        "last-good" => {
            lines.push("The configuration cannot be used: this is the last good one. `skerry config check` says why.".to_owned());
        }
        "none" => lines.push("No plan could be made for this boot: nothing but logins runs. `skerry logs plan` says why.".to_owned()),
        _ => {}
    }
    if let Some(password) = password {
        lines.push(format!(
            "No SSH key and no password is configured. For this boot: user skerry, password {password}"
        ));
    }
    // Its first line says what ours says, and more.
    if let Some((first, rest)) = more.split_once('\n') {
        lines.splice(1..2, [format!("{} (\\l)", plain(first))]);
        lines.push(plain(rest.trim_end()));
    }
    lines.push(String::new());
    joined(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Release;
    use crate::root::golden;

    #[test]
    fn golden_texts() {
        let release = Release {
            version: "0.1.0".into(),
            ..Release::default()
        };
        let facts = Facts {
            hostname: "edge-1".into(),
            plan: "config".into(),
            release,
            ..Facts::default()
        };
        let lost = Facts {
            plan: "last-good".into(),
            ..facts.clone()
        };
        let all = [
            text(&facts, None, ""),
            text(&facts, Some("aaaa-bbbb-cccc"), "Skerry 0.1.0 on edge-1: ready\n  eth0 10.0.2.15\n"),
            text(&lost, None, ""),
        ];
        golden("issue.txt", &all.join("----\n"));
    }
}
