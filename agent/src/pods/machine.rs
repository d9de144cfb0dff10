//! What is: interfaces, our routes and our tunnels, read from what iproute2 (JSON) and wg(8) (`dump`) say.

use super::nodes::PublicKey;
use super::wanted::{Hop, VXLAN, WIREGUARD};
use serde::Deserialize;
use skerry_config::address::{IpNet, Mac, net};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The mark of our routes, "S" (`ip route … proto 83`): no other's are ever looked at or removed.
pub const PROTOCOL: &str = "83";

/// The machine's network, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// All interfaces.
    pub links: Vec<Link>,
    /// Routes that carry our mark.
    pub routes: Vec<(IpNet, Hop)>,
    /// The VXLAN tunnel's ends; none: an entry that the kernel may drop.
    pub neighbours: Vec<(IpAddr, Option<Mac>)>,
    /// The VXLAN tunnel's table.
    pub forwards: Vec<(Mac, Ipv4Addr)>,
    /// The `WireGuard` tunnel, if there is one.
    pub wireguard: Option<WireGuard>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Switched on.
    pub up: bool,
    /// Its largest packet.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its IPv4 addresses.
    pub addresses: Vec<IpNet>,
    /// `vxlan`, `bridge`, …; empty for hardware.
    pub kind: String,
    /// A VXLAN tunnel's number, port, and whether it learns.
    pub vxlan: Option<(u32, u16, bool)>,
}

impl Link {
    /// Whether it may lead to other nodes: not loopback, not ours, not what leads to pods.
    pub fn is_outer(&self) -> bool {
        let inner = ["lo", "cni0", "skerry0", VXLAN, WIREGUARD].contains(&self.name.as_str());
        let pods = self.kind == "veth" && self.name.starts_with("veth");
        !inner && !pods
    }
}

/// A `WireGuard` tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireGuard {
    /// Our own key; none: not set yet.
    pub key: Option<PublicKey>,
    /// The port it listens at.
    pub port: u16,
    /// The other ends.
    pub peers: Vec<WireGuardPeer>,
}

/// The other end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireGuardPeer {
    /// Its key.
    pub key: PublicKey,
    /// Where it was heard last, or is expected.
    pub endpoint: Option<SocketAddr>,
    /// `allowed-ips`.
    pub allowed: Vec<IpNet>,
    /// Seconds since 1970 of the last handshake; 0: never.
    pub handshake: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawLink {
    ifname: String,
    flags: Vec<String>,
    mtu: u32,
    address: String,
    linkinfo: RawInfo,
    addr_info: Vec<RawAddress>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawInfo {
    info_kind: String,
    info_data: RawData,
}

/// Other kinds of interfaces use the same names for other types.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawData {
    id: serde_json::Value,
    port: serde_json::Value,
    learning: serde_json::Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawAddress {
    family: String,
    local: String,
    prefixlen: u8,
}

/// Reads `ip -json -details address`.
pub fn links(text: &str) -> serde_json::Result<Vec<Link>> {
    let raw: Vec<RawLink> = list(text)?;
    let link = |l: RawLink| {
        let data = &l.linkinfo.info_data;
        let number = |v: &serde_json::Value| v.as_u64().unwrap_or_default();
        let vxlan = (l.linkinfo.info_kind == "vxlan").then(|| {
            (
                u32::try_from(number(&data.id)).unwrap_or_default(),
                u16::try_from(number(&data.port)).unwrap_or_default(),
                // Older versions name it only when it is off, newer ones always.
                data.learning.as_bool().unwrap_or(true),
            )
        });
        let of = |a: &RawAddress| format!("{}/{}", a.local, a.prefixlen).parse().ok();
        Link {
            up: l.flags.iter().any(|f| f == "UP"),
            mtu: l.mtu,
            mac: l.address.parse().ok(),
            addresses: l.addr_info.iter().filter(|a| a.family == "inet").filter_map(of).collect(),
            kind: l.linkinfo.info_kind,
            vxlan,
            name: l.ifname,
        }
    };
    // The tool writes an empty object for what it leaves out.
    Ok(raw.into_iter().filter(|l| !l.ifname.is_empty()).map(link).collect())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawRoute {
    dst: String,
    gateway: String,
    dev: String,
    flags: Vec<String>,
}

/// Reads `ip -json -4 route show table main proto 83`, and `-6`.
pub fn routes(text: &str) -> serde_json::Result<Vec<(IpNet, Hop)>> {
    let raw: Vec<RawRoute> = list(text)?;
    let route = |r: RawRoute| {
        let to = if r.dst == "default" { "0.0.0.0/0" } else { &r.dst };
        let hop = Hop {
            via: r.gateway.parse().ok(),
            link: r.dev,
            on_link: r.flags.iter().any(|f| f == "onlink"),
        };
        Some((net(to)?, hop))
    };
    Ok(raw.into_iter().filter_map(route).collect())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawNeighbour {
    dst: String,
    lladdr: String,
    state: Vec<String>,
}

/// Reads `ip -json neigh show dev skerry-vxlan`.
pub fn neighbours(text: &str) -> serde_json::Result<Vec<(IpAddr, Option<Mac>)>> {
    let raw: Vec<RawNeighbour> = list(text)?;
    let one = |n: RawNeighbour| {
        let kept = n.state.iter().any(|s| s == "PERMANENT");
        Some((n.dst.parse().ok()?, n.lladdr.parse().ok().filter(|_| kept)))
    };
    Ok(raw.into_iter().filter_map(one).collect())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawForward {
    mac: String,
    dst: String,
}

/// Reads `bridge -json fdb show dev skerry-vxlan`.
pub fn forwards(text: &str) -> serde_json::Result<Vec<(Mac, Ipv4Addr)>> {
    let raw: Vec<RawForward> = list(text)?;
    let one = |f: RawForward| Some((f.mac.parse().ok()?, f.dst.parse().ok()?));
    Ok(raw.into_iter().filter_map(one).collect())
}

/// An empty answer is an empty list.
fn list<T: serde::de::DeserializeOwned>(text: &str) -> serde_json::Result<Vec<T>> {
    if text.trim().is_empty() {
        return Ok(vec![]);
    }
    serde_json::from_str(text)
}

/// Reads `wg show skerry-wg dump` (wg(8)): tabs; first our own end, then a line for each other.
pub fn wireguard(text: &str) -> Option<WireGuard> {
    let mut lines = text.lines();
    let mut own = lines.next()?.split('\t').skip(1);
    let key = own.next().and_then(PublicKey::parse);
    let port = own.next()?.parse().ok()?;
    let peer = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let [key, _, endpoint, allowed, handshake, ..] = words.as_slice() else {
            return None;
        };
        Some(WireGuardPeer {
            key: PublicKey::parse(key)?,
            endpoint: endpoint.parse().ok(),
            allowed: allowed.split(',').filter_map(net).collect(),
            handshake: handshake.parse().unwrap_or_default(),
        })
    };
    Some(WireGuard {
        key,
        port,
        peers: lines.filter_map(peer).collect(),
    })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
