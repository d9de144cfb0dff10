//! What a person at the console is told at the end of a boot.

use crate::apply::{self, read_config};
use crate::facts::Facts;
use crate::network_state::{self, NetworkState};
use crate::root::Root;
use anyhow::Result;
use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};
use skerry_config::types::Distribution;
use skerry_slots::why::Why;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// `setup banner` (how to get in) and `setup banner ready` (the end of the boot).
pub fn run(args: &[String]) -> Result<()> {
    let root = Root::system();
    let facts = Facts::read(&root)?;
    let config = read_config(&root)?;
    // What cannot be started (a worker without a token) is no node to wait for.
    let is_planned = skerry_distribution::plan(&config, &facts.for_distribution()).ready.is_some();
    let distribution = if is_planned {
        config.skerry.distribution.name
    } else {
        Distribution::None
    };
    // A node that joins has no kubeconfig of its own to give.
    let gives = config.skerry.server_url.is_none() && matches!(distribution, Distribution::Kubernetes | Distribution::K3s);
    let network = network_state::read(&root);
    let fingerprint = root.text("/etc/ssh/ssh_host_ed25519_key.pub").and_then(|key| fingerprint(&key));
    let done = args.first().is_some_and(|a| a == "ready");
    let summary = summary(&facts, distribution, gives, &network, fingerprint.as_deref(), done);
    apply::write_issue(&root, &facts, &summary)?;
    let mut text = if done { ready_line(&facts, distribution) } else { summary };
    // `health` says it too, maybe just when the login prompt's agetty(8) discards what the terminal has not sent yet.
    if let Some(record) = root
        .text(crate::health::REPORT)
        .filter(|_| done)
        .and_then(|report| went_back(&report))
    {
        text.push('\n');
        text += &record;
    }
    println!("{text}");
    for console in &facts.consoles {
        // The login prompt is there already: what we say begins on a line of its own.
        if let Err(why) = say(&root, console, &format!("\n{text}\n")) {
            eprintln!("writing to /dev/{console}: {why}");
        }
    }
    Ok(())
}

/// A terminal that does not take it (flow control) must not hold up anything.
fn say(root: &Root, console: &str, text: &str) -> std::io::Result<()> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let mut terminal = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(root.at(format!("/dev/{console}")))?;
    terminal.write_all(text.as_bytes())
}

/// Why the machine is not in the system that it tried, if this is the boot that went back.
fn went_back(report: &str) -> Option<String> {
    let report: serde_json::Value = serde_json::from_str(report).ok()?;
    let is_back = matches!(Why::parse(report.get("why")?.as_str()?)?, Why::Fallback(_) | Why::Unbootable(_));
    let record: skerry_upgrade::trial::RolledBack = serde_json::from_value(report.get("rolled_back")?.clone()).ok()?;
    is_back.then(|| record.to_string())
}

/// The line that says that the boot is over.
fn ready_line(facts: &Facts, distribution: Distribution) -> String {
    let state = match distribution {
        // The cloud knows whether it is Ready; here it is known that the cloud knows it.
        Distribution::Edgecore => "KubeEdge node joined",
        node if node.is_node() => "Kubernetes node Ready",
        _ => "ready",
    };
    format!("Skerry {} on {}: {state}", facts.release.version, facts.hostname)
}

/// `gives`: there is a kubeconfig on this machine.
fn summary(facts: &Facts, distribution: Distribution, gives: bool, network: &NetworkState, key: Option<&str>, done: bool) -> String {
    let mut text = match (done, distribution.is_node()) {
        (true, _) => ready_line(facts, distribution),
        (false, true) => format!("Skerry {} on {}: Kubernetes is starting", facts.release.version, facts.hostname),
        (false, false) => format!("Skerry {} on {}: starting", facts.release.version, facts.hostname),
    };
    let mut row = |name: &str, value: &str| text += &["\n", &format!("  {name:<11} {value}")].concat();
    for link in network.0.iter().filter(|l| !l.addresses.is_empty()) {
        let addresses: Vec<&str> = link
            .addresses
            .iter()
            .map(|a| a.address.as_str())
            .filter(|a| !a.starts_with("fe80:"))
            .collect();
        if !addresses.is_empty() {
            row(&link.name, &addresses.join(" "));
        }
    }
    let addresses = network.addresses();
    match addresses.first() {
        Some(address) => {
            row("login", &format!("ssh skerry@{address}"));
            if let Some(fingerprint) = key {
                row("host key", &format!("{fingerprint} (ED25519)"));
            }
            if gives {
                let bracketed = if address.contains(':') {
                    format!("[{address}]")
                } else {
                    address.clone()
                };
                row(
                    "kubeconfig",
                    &format!("ssh skerry@{address} sudo cat /etc/rancher/k3s/k3s.yaml | sed s/127.0.0.1/{bracketed}/"),
                );
            }
        }
        None => row("network", "no address yet: `skerry logs netd` says why"),
    }
    match facts.mode.as_str() {
        "live" | "install" => row("data", "in RAM only: all is forgotten at power-off"),
        "degraded" => row(
            "data",
            "THE DATA PARTITION CANNOT BE USED (`skerry logs storage` says why): all is in RAM, and forgotten at power-off",
        ),
        _ => {}
    }
    match facts.problems {
        0 => {}
        1 => row("config", "1 problem: `skerry config check` names it"),
        n => row("config", &format!("{n} problems: `skerry config check` names them")),
    }
    text
}

/// `SHA256:…` as ssh(1) shows it, from the text of a public key file.
fn fingerprint(public: &str) -> Option<String> {
    let blob = Base64::decode_vec(public.split_ascii_whitespace().nth(1)?).ok()?;
    Some(format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(blob))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Release;
    use crate::network_state::{Address, Link};
    use crate::root::golden;

    #[test]
    fn the_boot_that_went_back_says_why() {
        let report = |why: &str| {
            let system = |slot: &str| serde_json::json!({"slot": slot, "version": "2", "root_hash": ""});
            serde_json::json!({"slot": "a", "why": why, "state": "good", "rolled_back": {
                "from": system("b"), "to": system("a"), "failed": {"check": "probe till", "why": "silent"}, "lines": [], "starts": 1,
            }})
            .to_string()
        };
        let said = went_back(&report("fallback-from-b"));
        assert_eq!(went_back(&report("unbootable-b")), said);
        assert_eq!(said.as_deref(), Some("went back from 2 (slot b) to 2 (slot a): probe till: silent"));
        // A later boot of the good system, and one without any record.
        assert_eq!(went_back(&report("good")), None);
        assert_eq!(
            went_back(r#"{"slot":"a","why":"fallback-from-b","state":"good","rolled_back":null}"#),
            None
        );
        assert_eq!(went_back("nonsense"), None);
    }

    #[test]
    fn golden_texts() {
        let release = Release {
            version: "0.1.0".into(),
            ..Release::default()
        };
        let facts = Facts {
            hostname: "edge-1".into(),
            mode: "disk".into(),
            release,
            ..Facts::default()
        };
        let address = |a: &str| Address {
            address: a.into(),
            origin: "dhcp4".into(),
        };
        let eth0 = Link {
            name: "eth0".into(),
            up: true,
            addresses: vec![address("10.0.2.15/24"), address("fe80::1/64")],
            ..Link::default()
        };
        let (network, key) = (NetworkState(vec![eth0]), Some("SHA256:abc"));
        let live = Facts {
            mode: "live".into(),
            problems: 2,
            ..facts.clone()
        };
        let all = [
            summary(&facts, Distribution::Kubernetes, true, &network, key, false),
            summary(&facts, Distribution::Kubernetes, true, &network, key, true),
            summary(&live, Distribution::None, false, &NetworkState::default(), None, false),
            summary(&facts, Distribution::None, false, &network, key, true),
        ];
        golden("banner.txt", &all.join("\n----\n"));
        assert_eq!(ready_line(&facts, Distribution::None), "Skerry 0.1.0 on edge-1: ready");
        assert_eq!(
            ready_line(&facts, Distribution::Kubernetes),
            "Skerry 0.1.0 on edge-1: Kubernetes node Ready"
        );
    }

    /// As `ssh-keygen -lf` shows it.
    #[test]
    fn fingerprints() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github.com";
        assert_eq!(fingerprint(key).unwrap(), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        assert_eq!(fingerprint("ssh-ed25519 %%%"), None);
    }
}
