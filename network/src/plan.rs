//! The difference between what is and what should be, as steps in an order in which each can succeed.

use crate::address::{Cidr, Mac};
use crate::facts::{Address, Facts, Link, Owner, Route};
use crate::wanted::{Wanted, WantedLink};
use std::fmt;

/// One step. `link` is the interface's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Set IPv6's `accept_ra`.
    AcceptRa(Where, u8),
    /// Set the hardware address; the interface is down.
    SetMac(Where, Mac),
    /// Set the largest packet.
    SetMtu(Where, u32),
    /// Switch it off (for a new hardware address).
    Down(Where),
    /// Switch it on.
    Up(Where),
    /// Take an address of ours away.
    RemoveAddress(Where, Cidr),
    /// Add an address.
    AddAddress(Where, Cidr, Owner),
    /// Take a route of ours away.
    RemoveRoute(Where, Route),
    /// Add a route; the flag says that the gateway is on the link whatever the addresses say.
    AddRoute(Where, Route, bool),
}

/// An interface, by its number, and by its name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// The number.
    pub index: u32,
    /// The name.
    pub name: String,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = |route: &Route| match route.via {
            Some(via) => format!("{} via {via}", route.to),
            None => route.to.to_string(),
        };
        match self {
            Self::AcceptRa(at, value) => write!(f, "setting accept_ra of {} to {value}", at.name),
            Self::SetMac(at, mac) => write!(f, "setting the hardware address of {} to {mac}", at.name),
            Self::SetMtu(at, mtu) => write!(f, "setting the mtu of {} to {mtu}", at.name),
            Self::Down(at) => write!(f, "switching {} off", at.name),
            Self::Up(at) => write!(f, "switching {} on", at.name),
            Self::RemoveAddress(at, cidr) => write!(f, "removing address {cidr} from {}", at.name),
            Self::AddAddress(at, cidr, _) => write!(f, "adding address {cidr} to {}", at.name),
            Self::RemoveRoute(at, r) => write!(f, "removing route {} from {}", route(r), at.name),
            Self::AddRoute(at, r, _) => write!(f, "adding route {} on {}", route(r), at.name),
        }
    }
}

/// The steps from `facts` to `wanted`. Empty when nothing is to be done; doing them and looking again ends with an empty plan.
pub fn plan(facts: &Facts, wanted: &Wanted) -> Vec<Action> {
    let mut actions = Vec::new();
    for link in &wanted.links {
        if let Some(is) = facts.link(link.index) {
            device(is, link, &mut actions);
            addresses(is, link, &mut actions);
            routes(facts, link, &mut actions);
        }
    }
    actions
}

fn at(link: &WantedLink) -> Where {
    Where {
        index: link.index,
        name: link.name.clone(),
    }
}

fn device(is: &Link, link: &WantedLink, actions: &mut Vec<Action>) {
    // Before the interface is up: its first router advertisement must find the setting.
    if let (Some(value), Some(now)) = (link.accept_ra, is.accept_ra) {
        if value != now {
            actions.push(Action::AcceptRa(at(link), value));
        }
    }
    let mut up = is.up;
    if let Some(mac) = link.mac.filter(|mac| is.mac != Some(*mac)) {
        if up {
            actions.push(Action::Down(at(link)));
            up = false;
        }
        actions.push(Action::SetMac(at(link), mac));
    }
    if let Some(mtu) = link.mtu.filter(|mtu| is.mtu != *mtu) {
        actions.push(Action::SetMtu(at(link), mtu));
    }
    if !up {
        actions.push(Action::Up(at(link)));
    }
}

fn addresses(is: &Link, link: &WantedLink, actions: &mut Vec<Action>) {
    let ours = |address: &&Address| matches!(address.owner, Owner::Static | Owner::Dhcp);
    for address in is.addresses.iter().filter(ours) {
        if link.addresses.iter().all(|(cidr, _)| *cidr != address.cidr) {
            actions.push(Action::RemoveAddress(at(link), address.cidr));
        }
    }
    for (cidr, owner) in &link.addresses {
        // One that somebody else put there serves as well, unless the kernel would take it away again.
        let there = |address: &Address| address.cidr == *cidr && address.owner != Owner::Router;
        if !is.addresses.iter().any(there) {
            actions.push(Action::AddAddress(at(link), *cidr, *owner));
        }
    }
}

fn routes(facts: &Facts, link: &WantedLink, actions: &mut Vec<Action>) {
    let ours = |route: &&Route| route.link == link.index && matches!(route.owner, Owner::Static | Owner::Dhcp);
    for route in facts.routes.iter().filter(ours) {
        if link.routes.iter().all(|(wanted, _)| wanted != route) {
            actions.push(Action::RemoveRoute(at(link), *route));
        }
    }
    for (route, on_link) in &link.routes {
        let there = |is: &Route| Route { owner: route.owner, ..*is } == *route;
        if !facts.routes.iter().any(there) {
            actions.push(Action::AddRoute(at(link), *route, *on_link));
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
