//! The difference between what is and what should be, as steps in an order in which each can succeed.

use crate::device::{Device, Difference, Kind, Options};
use crate::facts::{Address, Facts, Link, MAIN, Owner, Route, Rule};
use crate::wanted::{Wanted, WantedLink};
use skerry_config::address::{IpNet, Mac};
use std::collections::BTreeSet;
use std::fmt;

/// One step. `link` is the interface's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take an interface of ours away.
    RemoveLink(Where),
    /// Make an interface, with our mark.
    AddLink(Device),
    /// Change what is said of a device.
    SetOptions(Where, Kind, Options),
    /// Make it a member of another, or of none.
    SetMaster(Where, Option<Where>),
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
    RemoveAddress(Where, IpNet),
    /// Add an address.
    AddAddress(Where, IpNet, Owner),
    /// Take a route of ours away.
    RemoveRoute(Where, Route),
    /// Add a route; the flag says that the gateway is on the link whatever the addresses say.
    AddRoute(Where, Route, bool),
    /// Take a rule of ours away.
    RemoveRule(Rule),
    /// Add a rule.
    AddRule(Rule),
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
        let route = |route: &Route| {
            let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
            let table = if route.table == MAIN {
                String::new()
            } else {
                format!(" (table {})", route.table)
            };
            format!("{}{via}{table}", route.to)
        };
        match self {
            Self::RemoveLink(at) => write!(f, "removing {}", at.name),
            Self::AddLink(device) => write!(f, "making {} {}", device.kind.word(), device.name),
            Self::SetOptions(at, kind, _) => write!(f, "changing {} {}", kind.word(), at.name),
            Self::SetMaster(at, Some(master)) => write!(f, "making {} a member of {}", at.name, master.name),
            Self::SetMaster(at, None) => write!(f, "making {} a member of nothing", at.name),
            Self::RemoveRule(rule) => write!(f, "removing rule {rule}"),
            Self::AddRule(rule) => write!(f, "adding rule {rule}"),
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

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        for (word, cidr) in [("from", self.from), ("to", self.to)] {
            if let Some(cidr) = cidr {
                write!(f, " {word} {cidr}")?;
            }
        }
        if let Some(mark) = self.mark {
            write!(f, " mark {mark} ({})", if self.six { "IPv6" } else { "IPv4" })?;
        }
        write!(f, " table {}", self.table)
    }
}

/// The steps from `facts` to `wanted`. Empty when nothing is to be done; doing them and looking again, a few times (what is made has
/// its number only then), ends with an empty plan.
pub fn plan(facts: &Facts, wanted: &Wanted) -> Vec<Action> {
    let mut actions = Vec::new();
    let removed = devices(facts, wanted, &mut actions);
    for link in wanted.links.iter().filter(|link| !removed.contains(&link.index)) {
        if let Some(is) = facts.link(link.index) {
            device(facts, is, link, &mut actions);
            addresses(is, link, &mut actions);
            routes(facts, link, &mut actions);
        }
    }
    rules(facts, wanted, &mut actions);
    actions
}

/// What is to be made and taken away; gives the numbers of what goes.
fn devices(facts: &Facts, wanted: &Wanted, actions: &mut Vec<Action>) -> BTreeSet<u32> {
    let mut removed = BTreeSet::new();
    let place = |link: &Link| Where {
        index: link.index,
        name: link.name.clone(),
    };
    for link in facts.links.iter().filter(|link| link.ours) {
        if !wanted.names.contains(&link.name) {
            removed.insert(link.index);
        }
    }
    for device in &wanted.devices {
        let Some(link) = facts.links.iter().find(|link| link.name == device.name) else {
            actions.push(Action::AddLink(device.clone()));
            continue;
        };
        match link
            .made
            .as_ref()
            .map(|made| (made.kind == device.kind, device.differs(made, link.base)))
        {
            // Of the same kind and name it is meant, whoever made it; of another, only if we did.
            Some((is_kind, Difference::Nature)) if is_kind || link.ours => {
                removed.insert(link.index);
            }
            Some((_, Difference::Options(options))) => actions.push(Action::SetOptions(place(link), device.kind, options)),
            _ => {}
        }
    }
    let gone = facts
        .links
        .iter()
        .filter(|link| removed.contains(&link.index))
        .map(|link| Action::RemoveLink(place(link)));
    actions.splice(0..0, gone);
    removed
}

fn rules(facts: &Facts, wanted: &Wanted, actions: &mut Vec<Action>) {
    let gone = facts.rules.iter().filter(|rule| !wanted.rules.contains(rule));
    actions.extend(gone.map(|rule| Action::RemoveRule(*rule)));
    let new = wanted.rules.iter().filter(|rule| !facts.rules.contains(rule));
    actions.extend(new.map(|rule| Action::AddRule(*rule)));
}

fn at(link: &WantedLink) -> Where {
    Where {
        index: link.index,
        name: link.name.clone(),
    }
}

fn device(facts: &Facts, is: &Link, link: &WantedLink, actions: &mut Vec<Action>) {
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
    match &link.master {
        Some((index, name, must_be_off)) if is.master != Some(*index) => {
            if up && *must_be_off {
                actions.push(Action::Down(at(link)));
                up = false;
            }
            let master = Where {
                index: *index,
                name: name.clone(),
            };
            actions.push(Action::SetMaster(at(link), Some(master)));
        }
        // What others have put it into is theirs.
        None if is.master.and_then(|index| facts.link(index)).is_some_and(|master| master.ours) => {
            actions.push(Action::SetMaster(at(link), None));
        }
        _ => {}
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
