//! What should be: how the pods of every other node are reached from here.
//!
//! | backend | a peer on a link of ours | any other peer |
//! |---|---|---|
//! | `host-gw` | plain route | named as a problem |
//! | `vxlan` | plain route | `skerry-vxlan`: its end of the tunnel is the first address of its pods, as flannel does it |
//! | `wireguard` | `skerry-wg` | `skerry-wg` |
//! | `none` | nothing | nothing |
//!
//! IPv6 of pods, in a cluster that has both, always goes through the tunnel: nodes may have no IPv6 among themselves.

use super::machine::{Link, Machine};
use super::nodes::{Node, PublicKey};
use crate::files::Backend;
use skerry_config::address::{IpNet, Mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

pub use skerry_distribution::kubernetes::ports::{VXLAN, VXLAN_PORT, WIREGUARD, WIREGUARD_PORT};

/// The tunnel's network number.
pub const VXLAN_ID: u32 = 1;
/// IPv4, UDP, VXLAN and Ethernet headers.
const VXLAN_HEADERS: u32 = 50;
/// IPv6, UDP and `WireGuard` headers: what wg-quick(8) takes, whatever the outer packets are.
const WIREGUARD_HEADERS: u32 = 80;
/// RFC 791: what every network carries.
const MTU_MIN: u32 = 576;
const ETHERNET: u32 = 1500;

/// What the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// This node.
    pub name: String,
    /// How.
    pub backend: Backend,
    /// The addresses of all pods.
    pub pods: IpNet,
    /// Those of IPv6, in a cluster that has both.
    pub pods6: Option<IpNet>,
}

/// What should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The tunnel, if one is needed.
    pub device: Option<Device>,
    /// Routes to the pods of other nodes.
    pub routes: BTreeMap<IpNet, Hop>,
    /// Ends of the VXLAN tunnel: address and hardware address.
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// Where the node with that end is reached.
    pub forwards: BTreeMap<Mac, Ipv4Addr>,
    /// Ends of the `WireGuard` tunnel.
    pub peers: BTreeMap<PublicKey, Peer>,
    /// The largest packet that pods may send; none: as their link has it.
    pub mtu: Option<u32>,
    /// What people should know.
    pub problems: Vec<String>,
}

/// A tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// VXLAN or `WireGuard`.
    pub kind: Kind,
    /// Largest packet.
    pub mtu: u32,
    /// Our end: the first address of our pods.
    pub address: Ipv4Addr,
}

/// The two tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`VXLAN`].
    Vxlan,
    /// [`WIREGUARD`].
    WireGuard,
}

impl Kind {
    /// The interface's name.
    pub fn link(self) -> &'static str {
        match self {
            Self::Vxlan => VXLAN,
            Self::WireGuard => WIREGUARD,
        }
    }
}

/// The next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface.
    pub link: String,
    /// The gateway is on the link whatever its addresses say.
    pub on_link: bool,
}

/// The other end of a `WireGuard` tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is reached.
    pub address: Ipv4Addr,
    /// The addresses behind it.
    pub pods: Vec<IpNet>,
}

/// Decides.
pub fn wanted(request: &Request, nodes: &[Node], machine: &Machine) -> Wanted {
    let mut wanted = Wanted::default();
    if request.backend == Backend::None {
        return wanted;
    }
    let under = under(machine, nodes.iter().find(|n| n.name == request.name).and_then(|n| n.address));
    wanted.mtu = match request.backend {
        Backend::Vxlan => Some(tunnel_mtu(under, VXLAN_HEADERS)),
        Backend::Wireguard => Some(tunnel_mtu(under, WIREGUARD_HEADERS)),
        Backend::HostGw | Backend::None => (under != ETHERNET).then_some(under),
    };
    let Some((mine, peers)) = peers(request, nodes, &mut wanted.problems) else {
        return wanted;
    };
    let kind = match request.backend {
        Backend::Vxlan => Some(Kind::Vxlan),
        Backend::Wireguard => Some(Kind::WireGuard),
        Backend::HostGw | Backend::None => None,
    };
    // A cluster of one node keeps its ports closed. With others there is a device even if all of them share a link with us: one may
    // see it otherwise, and send by the tunnel.
    wanted.device = kind.filter(|_| nodes.iter().any(|n| n.name != request.name)).map(|kind| Device {
        kind,
        mtu: wanted.mtu.unwrap_or(ETHERNET),
        address: mine,
    });
    if request.pods6.is_some() && request.backend == Backend::HostGw && !peers.is_empty() {
        wanted.problems.push(
            "the backend is host-gw, which carries no IPv6 of pods: those of other nodes are reached by IPv4 only; \
             use --flannel-backend=vxlan or wireguard-native"
                .to_owned(),
        );
    }
    for peer in peers {
        let direct = shared_link(machine, peer.address).filter(|_| request.backend != Backend::Wireguard);
        match (request.backend, direct) {
            (Backend::Wireguard, _) => through_wireguard(&mut wanted, &peer),
            (Backend::Vxlan, Some(link)) => {
                plain(&mut wanted, &peer, link);
                through_vxlan(&mut wanted, &peer, peer.pods6);
            }
            (_, Some(link)) => plain(&mut wanted, &peer, link),
            (Backend::Vxlan, None) => through_vxlan(&mut wanted, &peer, [Some(peer.pods), peer.pods6].into_iter().flatten()),
            (_, None) => wanted.problems.push(format!(
                "node {} at {} shares no link with this node, and the backend is host-gw: its pods are not reached from here; \
                 use --flannel-backend=vxlan or wireguard-native",
                peer.name, peer.address
            )),
        }
    }
    wanted
}

/// A node whose pods can be reached.
struct Reachable {
    name: String,
    address: Ipv4Addr,
    pods: IpNet,
    pods6: Option<IpNet>,
    key: Option<PublicKey>,
}

/// The first address of our range, and the other nodes in the order of their names. What a node says of itself must not take
/// addresses from others.
fn peers(request: &Request, nodes: &[Node], problems: &mut Vec<String>) -> Option<(Ipv4Addr, Vec<Reachable>)> {
    let me = nodes.iter().find(|n| n.name == request.name)?;
    // The cluster has not given it a range yet.
    let mine = me.pods?;
    let IpAddr::V4(first) = mine.network() else { return None };
    if !request.pods.contains(&mine) {
        problems.push(format!(
            "the cluster gave this node {mine} for its pods, which is not in --cluster-cidr={}: `kubectl delete node {}` gives it a new one",
            request.pods, request.name
        ));
        return None;
    }
    if let (Some(pods6), None) = (request.pods6, me.pods6) {
        problems.push(format!(
            "the cluster gave this node no IPv6 of {pods6} for its pods, because it was there before: `kubectl delete node {}` and a restart \
             give it some",
            request.name
        ));
    }
    let mut others: Vec<&Node> = nodes.iter().filter(|n| n.name != request.name).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    let mut taken: Vec<(IpNet, &str)> = [Some(mine), me.pods6]
        .into_iter()
        .flatten()
        .map(|range| (range, request.name.as_str()))
        .collect();
    let mut peers = vec![];
    for node in others {
        let (Some(address), Some(pods)) = (node.address, node.pods) else {
            // It has just joined: the next event brings the rest.
            continue;
        };
        let why = if me.address == Some(address) {
            Some(format!("its address {address} is this node's own"))
        } else if request.pods.contains(&IpAddr::from(address)) {
            Some(format!("its address {address} is one of the pods' network"))
        } else {
            wrong_range(pods, Some(request.pods), &taken)
        };
        if let Some(why) = why {
            problems.push(format!("the pods of node {} are not reached from here: {why}", node.name));
            continue;
        }
        taken.push((pods, &node.name));
        let why = node.pods6.and_then(|range| wrong_range(range, request.pods6, &taken));
        let pods6 = node.pods6.filter(|_| why.is_none());
        if let Some(why) = why {
            problems.push(format!("the pods of node {} are not reached by IPv6 from here: {why}", node.name));
        }
        taken.extend(pods6.map(|range| (range, node.name.as_str())));
        peers.push(Reachable {
            name: node.name.clone(),
            address,
            pods,
            pods6,
            key: node.key.clone(),
        });
    }
    Some((first, peers))
}

/// Why a node's pods cannot have these addresses.
fn wrong_range(range: IpNet, all: Option<IpNet>, taken: &[(IpNet, &str)]) -> Option<String> {
    match all {
        None => {
            return Some(format!(
                "{range}, the range of its pods, is one of IPv6, and --cluster-cidr has none"
            ));
        }
        Some(all) if !all.contains(&range) => return Some(format!("{range}, the range of its pods, is not in --cluster-cidr={all}")),
        Some(_) => {}
    }
    let (other, of) = taken.iter().find(|(other, _)| overlap(*other, range))?;
    Some(format!("{range}, the range of its pods, overlaps {other} of node {of}"))
}

/// Whether the two have an address in common.
fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The hardware address of a node's end of the tunnel, from the first address of its pods: locally administered, and unlike any other
/// node's, because their ranges are. So nothing has to be exchanged.
pub fn mac_of_tunnel(first: Ipv4Addr) -> Mac {
    let [a, b, c, d] = first.octets();
    Mac([0x02, b'S', a, b, c, d])
}

fn plain(wanted: &mut Wanted, peer: &Reachable, link: &Link) {
    let hop = Hop {
        via: Some(peer.address.into()),
        link: link.name.clone(),
        on_link: false,
    };
    wanted.routes.insert(peer.pods, hop);
}

/// The ends have one hardware address, by the first IPv4 address of their pods, and a neighbour of each family.
fn through_vxlan(wanted: &mut Wanted, peer: &Reachable, ranges: impl IntoIterator<Item = IpNet>) {
    let IpAddr::V4(first) = peer.pods.network() else { return };
    for range in ranges {
        let end = range.network();
        let hop = Hop {
            via: Some(end),
            link: VXLAN.to_owned(),
            on_link: true,
        };
        wanted.routes.insert(range, hop);
        wanted.neighbours.insert(end, mac_of_tunnel(first));
        wanted.forwards.insert(mac_of_tunnel(first), peer.address);
    }
}

fn through_wireguard(wanted: &mut Wanted, peer: &Reachable) {
    let Some(key) = &peer.key else {
        wanted.problems.push(format!(
            "node {} has no annotation {}: its pods are reached once its agent has written it",
            peer.name,
            super::nodes::KEY_ANNOTATION
        ));
        return;
    };
    if wanted.peers.contains_key(key) {
        wanted.problems.push(format!(
            "node {} has the same WireGuard key as another: remove /var/lib/skerry/kube/wireguard.key on one of them and restart its agent",
            peer.name
        ));
        return;
    }
    let hop = Hop {
        via: None,
        link: WIREGUARD.to_owned(),
        on_link: false,
    };
    let pods: Vec<IpNet> = [Some(peer.pods), peer.pods6].into_iter().flatten().collect();
    wanted.routes.extend(pods.iter().map(|range| (*range, hop.clone())));
    let end = Peer {
        address: peer.address,
        pods,
    };
    wanted.peers.insert(key.clone(), end);
}

/// The interface with a network that holds `address`: the closest one, and of several the first by name.
fn shared_link(machine: &Machine, address: Ipv4Addr) -> Option<&Link> {
    let closest = |link: &&Link| {
        let nets = link
            .addresses
            .iter()
            .filter(|a| a.prefix_len() < 32 && a.contains(&IpAddr::from(address)));
        nets.map(IpNet::prefix_len).max()
    };
    let mut found: Option<(u8, &Link)> = None;
    for link in machine.links.iter().filter(|l| l.up && l.is_outer()) {
        if let Some(prefix) = closest(&link) {
            let better = |(than, other): (u8, &Link)| prefix > than || (prefix == than && link.name < other.name);
            if found.is_none_or(better) {
                found = Some((prefix, link));
            }
        }
    }
    found.map(|(_, link)| link)
}

/// The largest packet of the link that carries the tunnel: the one with the node's address; the smallest, if none has it.
fn under(machine: &Machine, address: Option<Ipv4Addr>) -> u32 {
    let outer: Vec<&Link> = machine.links.iter().filter(|l| l.up && l.is_outer()).collect();
    let ours = outer
        .iter()
        .find(|l| address.is_some_and(|address| l.addresses.iter().any(|a| a.addr() == address)));
    let sizes: BTreeSet<u32> = outer.iter().filter(|l| !l.addresses.is_empty()).map(|l| l.mtu).collect();
    ours.map(|l| l.mtu).or_else(|| sizes.first().copied()).unwrap_or(ETHERNET)
}

fn tunnel_mtu(under: u32, headers: u32) -> u32 {
    under.saturating_sub(headers).max(MTU_MIN)
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
