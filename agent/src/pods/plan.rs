//! The difference between what is and what should be, as steps in an order in which each can succeed.

use super::machine::{Link, Machine, WireGuardPeer};
use super::nodes::PublicKey;
use super::wanted::{Device, Hop, Kind, Peer, VXLAN_ID, VXLAN_PORT, WIREGUARD_PORT, Wanted, mac_of_tunnel};
use skerry_config::address::{IpNet, Mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// After so many seconds without a handshake a session is over (`WireGuard`'s REJECT-AFTER-TIME); a younger one works, wherever
/// the other end was heard.
const SESSION: u64 = 180;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Remove a tunnel.
    RemoveLink(Kind),
    /// Make one.
    MakeLink(Kind),
    /// Give the VXLAN tunnel its hardware address.
    SetMac(Mac),
    /// Set a tunnel's largest packet.
    SetMtu(Kind, u32),
    /// Take an address from a tunnel.
    RemoveAddress(Kind, IpNet),
    /// Give it ours.
    AddAddress(Kind, IpNet),
    /// Our key and port.
    Listen,
    /// Switch it on.
    Up(Kind),
    /// Forget an end of the VXLAN tunnel.
    RemoveNeighbour(IpAddr),
    /// Its hardware address.
    SetNeighbour(IpAddr, Mac),
    /// Forget where an end is reached.
    RemoveForward(Mac, Ipv4Addr),
    /// Where it is reached.
    AddForward(Mac, Ipv4Addr),
    /// Forget an end of the `WireGuard` tunnel.
    RemovePeer(PublicKey),
    /// What is behind it and where it is reached.
    SetPeer(PublicKey, Peer),
    /// Remove a route.
    RemoveRoute(IpNet, Hop),
    /// Add one, in the place of any that is there.
    SetRoute(IpNet, Hop),
}

/// What of `WireGuard` neither the machine nor the cluster says.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Our public key; none: not made yet.
    pub key: Option<PublicKey>,
    /// Where the other ends were last said to be.
    pub told: BTreeMap<PublicKey, Ipv4Addr>,
    /// Seconds since 1970.
    pub now: u64,
}

/// The steps. Empty when nothing is to be done; doing them and looking again ends with an empty plan.
pub fn plan(machine: &Machine, wanted: &Wanted, known: &Known) -> Vec<Step> {
    let mut steps = vec![];
    let mut machine = machine.clone();
    for kind in [Kind::Vxlan, Kind::WireGuard] {
        let device = wanted.device.as_ref().filter(|d| d.kind == kind);
        tunnel(&mut machine, kind, device, known, &mut steps);
    }
    match wanted.device.as_ref().map(|d| d.kind) {
        Some(Kind::Vxlan) => ends(&machine, wanted, &mut steps),
        Some(Kind::WireGuard) => peers(&machine, wanted, known, &mut steps),
        None => {}
    }
    routes(&machine, wanted, &mut steps);
    steps
}

/// A tunnel that is wrong in what cannot be changed is removed, and with it goes what hangs on it.
fn tunnel(machine: &mut Machine, kind: Kind, device: Option<&Device>, known: &Known, steps: &mut Vec<Step>) {
    let fits = |link: &Link| match kind {
        Kind::Vxlan => link.vxlan == Some((VXLAN_ID, VXLAN_PORT, false)),
        Kind::WireGuard => link.kind == "wireguard",
    };
    let there = machine.links.iter().find(|l| l.name == kind.link()).cloned();
    let is = there.clone().filter(|link| device.is_some() && fits(link));
    if there.is_some() && is.is_none() {
        steps.push(Step::RemoveLink(kind));
        machine.routes.retain(|(_, hop)| hop.link != kind.link());
        match kind {
            Kind::Vxlan => {
                machine.neighbours.clear();
                machine.forwards.clear();
            }
            Kind::WireGuard => machine.wireguard = None,
        }
    }
    let Some(device) = device else { return };
    let link = is.unwrap_or_else(|| {
        steps.push(Step::MakeLink(kind));
        Link::default()
    });
    let mac = mac_of_tunnel(device.address);
    if kind == Kind::Vxlan && link.mac != Some(mac) {
        steps.push(Step::SetMac(mac));
    }
    if link.mtu != device.mtu {
        steps.push(Step::SetMtu(kind, device.mtu));
    }
    let address = IpNet::from(IpAddr::from(device.address));
    for wrong in link.addresses.iter().filter(|a| **a != address) {
        steps.push(Step::RemoveAddress(kind, *wrong));
    }
    if !link.addresses.contains(&address) {
        steps.push(Step::AddAddress(kind, address));
    }
    if kind == Kind::WireGuard {
        let listens = |w: &super::machine::WireGuard| w.key.is_some() && w.key == known.key && w.port == WIREGUARD_PORT;
        if !machine.wireguard.as_ref().is_some_and(listens) {
            steps.push(Step::Listen);
        }
    }
    if !link.up {
        steps.push(Step::Up(kind));
    }
}

fn ends(machine: &Machine, wanted: &Wanted, steps: &mut Vec<Step>) {
    for (end, _) in &machine.neighbours {
        if !wanted.neighbours.contains_key(end) {
            steps.push(Step::RemoveNeighbour(*end));
        }
    }
    for (end, mac) in &wanted.neighbours {
        if !machine.neighbours.contains(&(*end, Some(*mac))) {
            steps.push(Step::SetNeighbour(*end, *mac));
        }
    }
    for (mac, to) in &machine.forwards {
        if wanted.forwards.get(mac) != Some(to) {
            steps.push(Step::RemoveForward(*mac, *to));
        }
    }
    for (mac, to) in &wanted.forwards {
        if !machine.forwards.contains(&(*mac, *to)) {
            steps.push(Step::AddForward(*mac, *to));
        }
    }
}

fn peers(machine: &Machine, wanted: &Wanted, known: &Known, steps: &mut Vec<Step>) {
    let there: &[WireGuardPeer] = machine.wireguard.as_ref().map(|w| w.peers.as_slice()).unwrap_or_default();
    for peer in there.iter().filter(|p| !wanted.peers.contains_key(&p.key)) {
        steps.push(Step::RemovePeer(peer.key.clone()));
    }
    for (key, peer) in &wanted.peers {
        let is = there.iter().find(|p| p.key == *key);
        if !is.is_some_and(|is| is_right(is, peer, known)) {
            steps.push(Step::SetPeer(key.clone(), peer.clone()));
        }
    }
}

/// An end that moved is followed by `WireGuard` itself; it is set right when the cluster says something new, or no session lives.
fn is_right(is: &WireGuardPeer, wanted: &Peer, known: &Known) -> bool {
    let at = SocketAddr::new(IpAddr::V4(wanted.address), WIREGUARD_PORT);
    let news = known.told.get(&is.key).is_some_and(|told| *told != wanted.address);
    let lives = is.handshake != 0 && known.now.saturating_sub(is.handshake) < SESSION;
    let allowed: BTreeSet<&IpNet> = is.allowed.iter().collect();
    allowed == wanted.pods.iter().collect() && (is.endpoint == Some(at) || (is.endpoint.is_some() && lives && !news))
}

fn routes(machine: &Machine, wanted: &Wanted, steps: &mut Vec<Step>) {
    let mut kept: Vec<&(IpNet, Hop)> = vec![];
    for route in &machine.routes {
        let right = wanted.routes.get(&route.0) == Some(&route.1) && !kept.contains(&route);
        if right {
            kept.push(route);
        } else if !wanted.routes.contains_key(&route.0) || machine.routes.iter().filter(|r| r.0 == route.0).count() > 1 {
            steps.push(Step::RemoveRoute(route.0, route.1.clone()));
        }
    }
    for (to, hop) in &wanted.routes {
        if !kept.iter().any(|(is, _)| is == to) {
            steps.push(Step::SetRoute(*to, hop.clone()));
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
