//! The firewall: which of the machine's own ports others may reach, as a ruleset of `nft`.
//!
//! It closes what the system's own services listen on, and nothing else. A packet is turned away only if it comes in by an interface
//! that leads outside, begins something new, goes to a port that is not open, and a process in the system's control group has the socket
//! for it. So pods (host network or not), Services, host ports, other people's CNIs and what they forward are not concerned: their sockets
//! are in other groups, or their packets go on before they come here. What is turned away gets the answer of a port on which nobody
//! listens.
//!
//! One table of ours, replaced as a whole in one transaction; nobody else's is touched. To accept something here does not undo a drop
//! in another table.

use crate::facts::Facts;
use crate::request::Assigned;
use skerry_config::address::net;
use skerry_config::ports::{Firewall, Opening, Protocol};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The table's family and name.
const TABLE: &str = "inet skerry";

/// The interfaces that lead outside: devices, and what we set up. All others (the loopback, containers' and pods' bridges, tunnels) are
/// inside.
pub fn outside(facts: &Facts, assigned: &Assigned) -> BTreeSet<String> {
    let ours = |index: u32| assigned.links.iter().any(|settings| settings.index == index);
    let links = facts
        .links
        .iter()
        .filter(|link| !link.loopback && (link.hardware || link.wireless || ours(link.index)));
    links.map(|link| link.name.clone()).filter(|name| is_plain(name)).collect()
}

/// Whether `nft` reads a name in quotes as what it is. Linux allows almost any byte in it.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(&b))
}

/// What is open now: always, or with an interface that is there.
pub fn open<'a>(firewall: &'a Firewall, facts: &Facts) -> Vec<&'a Opening> {
    let is_there = |name: &String| facts.links.iter().any(|link| link.name == *name);
    firewall
        .open
        .iter()
        .filter(|opening| opening.with.as_ref().is_none_or(is_there))
        .collect()
}

/// What `nft -f -` is given: the table is there afterwards as it is written here, whatever it was; or it is gone. `group` is the
/// control group of the system's own services, from the root of all.
pub fn ruleset(firewall: &Firewall, facts: &Facts, assigned: &Assigned, group: &str) -> String {
    let mut text = format!("add table {TABLE}\ndelete table {TABLE}\n");
    let outside = outside(facts, assigned);
    if !firewall.on || outside.is_empty() {
        return text;
    }
    let mut rules = vec![
        format!("iifname != {} accept", set(outside.iter().map(|name| format!("\"{name}\"")))),
        "ct state established,related accept".to_owned(),
        "meta l4proto != { tcp, udp } accept".to_owned(),
    ];
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let is_of = |text: &&String| net(text).is_some_and(|cidr| cidr.addr().is_ipv4() == is_v4);
        let pods: Vec<&String> = firewall.pods.iter().filter(is_of).collect();
        if !pods.is_empty() {
            rules.push(format!("{family} saddr {} accept", set(pods.iter().map(ToString::to_string))));
        }
    }
    let open = open(firewall, facts);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut ports: Vec<String> = open
            .iter()
            .filter(|opening| opening.ports.protocol() == protocol)
            .map(|opening| opening.ports.numbers())
            .collect();
        if protocol == Protocol::Udp {
            // DHCP's answers to us; a server sends them to everybody, so they belong to nothing that was seen before.
            ports.extend(["68".to_owned(), "546".to_owned()]);
        }
        ports.sort();
        ports.dedup();
        // One rule each: ranges that overlap are no set.
        rules.extend(ports.iter().map(|numbers| format!("{} dport {numbers} accept", protocol.word())));
    }
    for answer in ["meta l4proto tcp counter reject with tcp reset", "counter reject"] {
        rules.push(format!("socket cgroupv2 level 1 \"{group}\" {answer}"));
    }
    let _ = writeln!(
        text,
        "table {TABLE} {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy accept;"
    );
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n}\n");
    text
}

fn set(items: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", items.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Link;
    use crate::request::{Request, assign};
    use skerry_config::ports::Ports;

    fn facts(links: &[&str]) -> Facts {
        let link = |(index, name): (u32, &&str)| Link {
            index,
            name: (*name).to_owned(),
            hardware: name.starts_with("eth"),
            ethernet: true,
            loopback: *name == "lo",
            ..Link::default()
        };
        Facts {
            links: (1..).zip(links).map(link).collect(),
            ..Facts::default()
        }
    }

    fn firewall() -> Firewall {
        let tunnel = |link: &str, port| Opening {
            with: Some(link.into()),
            ..Opening::always(Ports::udp(port), "pods of other nodes")
        };
        Firewall {
            on: true,
            open: vec![
                Opening::always(Ports::tcp(22), "SSH"),
                Opening::always(Ports::row(Protocol::Tcp, 30000, 32767), "NodePort Services"),
                Opening::always(Ports::tcp(22), "the configuration"),
                tunnel("skerry-vxlan", 8472),
                tunnel("skerry-wg", 51820),
            ],
            pods: vec!["10.42.0.0/16".into(), "fd42::/56".into(), "nonsense; drop".into()],
        }
    }

    fn rules(firewall: &Firewall, links: &[&str], network: &str) -> String {
        let facts = facts(links);
        let request: Request = serde_json::from_str(&format!(r#"{{"network":{network}}}"#)).unwrap();
        ruleset(firewall, &facts, &assign(&request, &facts), "system")
    }

    #[test]
    fn as_it_is_given_to_nft() {
        let expected = "\
add table inet skerry
delete table inet skerry
table inet skerry {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\tiifname != { \"eth0\", \"eth1\" } accept
\t\tct state established,related accept
\t\tmeta l4proto != { tcp, udp } accept
\t\tip saddr { 10.42.0.0/16 } accept
\t\tip6 saddr { fd42::/56 } accept
\t\ttcp dport 22 accept
\t\ttcp dport 30000-32767 accept
\t\tudp dport 546 accept
\t\tudp dport 68 accept
\t\tudp dport 8472 accept
\t\tsocket cgroupv2 level 1 \"system\" meta l4proto tcp counter reject with tcp reset
\t\tsocket cgroupv2 level 1 \"system\" counter reject
\t}
}
";
        let links = ["lo", "eth0", "eth1", "cni0", "veth1", "skerry-vxlan", "eth\"2"];
        assert_eq!(rules(&firewall(), &links, "null"), expected);
    }

    /// A tunnel's port is closed as long as there is no tunnel.
    #[test]
    fn a_tunnels_port_is_open_with_the_tunnel() {
        for (links, vxlan, wireguard) in [
            (&["eth0"][..], false, false),
            (&["eth0", "skerry-vxlan"], true, false),
            (&["eth0", "skerry-wg"], false, true),
        ] {
            let text = rules(&firewall(), links, "null");
            assert_eq!((text.contains("8472"), text.contains("51820")), (vxlan, wireguard), "{links:?}");
        }
    }

    /// A VLAN of ours leads outside, and so does a device that the configuration does not name.
    #[test]
    fn what_leads_outside() {
        let network = r#"{"version":2,"ethernets":{"up0":{"dhcp4":true}}}"#;
        let text = rules(&firewall(), &["lo", "up0", "eth7", "cni0"], network);
        assert!(text.contains("iifname != { \"eth7\", \"up0\" } accept"), "{text}");
    }

    #[test]
    fn off_is_gone_and_so_it_is_without_an_interface() {
        let off = Firewall { on: false, ..firewall() };
        let gone = "add table inet skerry\ndelete table inet skerry\n";
        assert_eq!(rules(&off, &["eth0"], "null"), gone);
        assert_eq!(rules(&firewall(), &["lo", "cni0"], "null"), gone);
    }
}
