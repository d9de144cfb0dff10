//! Looking at the machine, and doing the steps of a plan.

use super::machine::{self, Machine, PROTOCOL};
use super::nodes::PublicKey;
use super::plan::Step;
use super::tool::output;
use super::wanted::{Kind, VXLAN, VXLAN_ID, VXLAN_PORT, WIREGUARD, WIREGUARD_PORT};
use anyhow::{Context, Result};
use skerry_sys::file;
use std::path::Path;

/// Answers on its own to what was asked through it, behind address translators too; seconds.
const KEEPALIVE: u32 = 25;

/// Looks.
pub async fn look() -> Result<Machine> {
    let reading = |what: &'static str| move || format!("reading what the kernel has of {what}");
    let links = machine::links(&output("ip", &["-json", "-details", "address", "show"], "").await?).with_context(reading("links"))?;
    let mut found = Machine::default();
    for family in ["-4", "-6"] {
        let routes = output("ip", &["-json", family, "route", "show", "table", "main", "proto", PROTOCOL], "").await?;
        found.routes.extend(machine::routes(&routes).with_context(reading("routes"))?);
    }
    if links.iter().any(|l| l.name == VXLAN) {
        let ends = output("ip", &["-json", "neigh", "show", "dev", VXLAN], "").await?;
        found.neighbours = machine::neighbours(&ends).with_context(reading("neighbours"))?;
        let table = output("bridge", &["-json", "fdb", "show", "dev", VXLAN], "").await?;
        found.forwards = machine::forwards(&table).with_context(reading("the tunnel's table"))?;
    }
    if links.iter().any(|l| l.name == WIREGUARD && l.kind == "wireguard") {
        found.wireguard = machine::wireguard(&output("wg", &["show", WIREGUARD, "dump"], "").await?);
    }
    found.links = links;
    Ok(found)
}

/// Which program does a step, and its words.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Lines of `ip -batch`.
    Ip(Vec<String>),
    /// Lines of `bridge -batch`.
    Bridge(String),
    /// Words of `wg`.
    Wg(Vec<String>),
}

/// Does the steps; all are tried. What a program complains of is the error.
pub async fn perform(steps: &[Step], key: &Path) -> Result<()> {
    let mut failed = None;
    let orders: Vec<Order> = steps.iter().map(|s| order(s, key)).collect();
    let mut at = orders.into_iter().peekable();
    while let Some(first) = at.next() {
        let done = match first {
            Order::Wg(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                output("wg", &words, "").await
            }
            Order::Ip(mut lines) => {
                while let Some(Order::Ip(more)) = at.next_if(|o| matches!(o, Order::Ip(_))) {
                    lines.extend(more);
                }
                output("ip", &["-force", "-batch", "-"], &text(&lines)).await
            }
            Order::Bridge(line) => {
                let mut lines = vec![line];
                while let Some(Order::Bridge(more)) = at.next_if(|o| matches!(o, Order::Bridge(_))) {
                    lines.push(more);
                }
                output("bridge", &["-force", "-batch", "-"], &text(&lines)).await
            }
        };
        if let Err(why) = done {
            failed.get_or_insert(why);
        }
    }
    failed.map_or(Ok(()), Err)
}

fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn order(step: &Step, key: &Path) -> Order {
    let ip = |line: String| Order::Ip(vec![line]);
    let hop = |hop: &super::wanted::Hop| {
        let via = hop.via.map(|via| format!(" via {via}")).unwrap_or_default();
        let on_link = if hop.on_link { " onlink" } else { "" };
        (
            via,
            format!(" dev {}{on_link} proto {PROTOCOL}", hop.link),
            format!(" dev {} proto {PROTOCOL}", hop.link),
        )
    };
    match step {
        Step::RemoveLink(kind) => ip(format!("link delete {}", kind.link())),
        // No IPv6 address: nothing answers at it.
        Step::MakeLink(Kind::Vxlan) => Order::Ip(vec![
            format!("link add name {VXLAN} type vxlan id {VXLAN_ID} dstport {VXLAN_PORT} nolearning"),
            format!("link set dev {VXLAN} addrgenmode none"),
        ]),
        Step::MakeLink(Kind::WireGuard) => ip(format!("link add name {WIREGUARD} type wireguard")),
        Step::SetMac(mac) => ip(format!("link set dev {VXLAN} address {mac}")),
        Step::SetMtu(kind, mtu) => ip(format!("link set dev {} mtu {mtu}", kind.link())),
        Step::RemoveAddress(kind, address) => ip(format!("address delete {address} dev {}", kind.link())),
        Step::AddAddress(kind, address) => ip(format!("address add {address} dev {}", kind.link())),
        Step::Up(kind) => ip(format!("link set dev {} up", kind.link())),
        Step::RemoveNeighbour(end) => ip(format!("neigh delete {end} dev {VXLAN}")),
        Step::SetNeighbour(end, mac) => ip(format!("neigh replace {end} lladdr {mac} dev {VXLAN} nud permanent")),
        Step::RemoveForward(mac, to) => Order::Bridge(format!("fdb delete {mac} dev {VXLAN} dst {to} self")),
        Step::AddForward(mac, to) => Order::Bridge(format!("fdb append {mac} dev {VXLAN} dst {to} self permanent")),
        Step::RemoveRoute(to, by) => {
            let (via, _, dev) = hop(by);
            ip(format!("route delete {to}{via}{dev}"))
        }
        Step::SetRoute(to, by) => {
            let (via, dev, _) = hop(by);
            ip(format!("route replace {to}{via}{dev}"))
        }
        Step::Listen => {
            let port = WIREGUARD_PORT.to_string();
            wg(&["set", WIREGUARD, "listen-port", &port, "private-key", &key.to_string_lossy()])
        }
        Step::RemovePeer(peer) => wg(&["set", WIREGUARD, "peer", peer.as_str(), "remove"]),
        Step::SetPeer(peer, end) => wg(&[
            "set",
            WIREGUARD,
            "peer",
            peer.as_str(),
            "endpoint",
            &format!("{}:{WIREGUARD_PORT}", end.address),
            "persistent-keepalive",
            &KEEPALIVE.to_string(),
            "allowed-ips",
            &end.pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        ]),
    }
}

fn wg(words: &[&str]) -> Order {
    Order::Wg(words.iter().map(|w| (*w).to_owned()).collect())
}

/// This node's `WireGuard` key, made if there is none: its public half. The private one never leaves the file.
pub async fn key(path: &Path) -> Result<PublicKey> {
    const LARGEST: usize = 1000;
    if let Ok(private) = file::read_text(path, LARGEST) {
        if let Ok(public) = output("wg", &["pubkey"], &private).await {
            return PublicKey::parse(&public).context("reading what wg makes of the key");
        }
        tracing::warn!(path = %path.display(), "the WireGuard key is none: a new one is made, and the other nodes are told");
    }
    let private = output("wg", &["genkey"], "").await?;
    file::replace(path, private.as_bytes(), 0o600)?;
    PublicKey::parse(&output("wg", &["pubkey"], &private).await?).context("reading what wg makes of the key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::wanted::{Hop, Peer};

    #[test]
    fn words() {
        let key = PublicKey::parse("HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=").unwrap();
        let of = |step: Step| match order(&step, Path::new("/k")) {
            Order::Ip(lines) => lines.join("; "),
            Order::Bridge(line) => line,
            Order::Wg(words) => words.join(" "),
        };
        let hop = Hop {
            via: "10.42.2.0".parse().ok(),
            link: VXLAN.into(),
            on_link: true,
        };
        let to = "10.42.2.0/24".parse().unwrap();
        assert_eq!(
            of(Step::SetRoute(to, hop.clone())),
            "route replace 10.42.2.0/24 via 10.42.2.0 dev skerry-vxlan onlink proto 83"
        );
        assert_eq!(
            of(Step::RemoveRoute(to, hop)),
            "route delete 10.42.2.0/24 via 10.42.2.0 dev skerry-vxlan proto 83"
        );
        let peer = Peer {
            address: "10.0.0.2".parse().unwrap(),
            pods: vec![to, "fd42:0:0:2::/64".parse().unwrap()],
        };
        assert_eq!(
            of(Step::SetPeer(key, peer)),
            "set skerry-wg peer HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw= endpoint 10.0.0.2:51820 persistent-keepalive 25 allowed-ips 10.42.2.0/24,fd42:0:0:2::/64"
        );
        assert_eq!(of(Step::Listen), "set skerry-wg listen-port 51820 private-key /k");
    }
}
