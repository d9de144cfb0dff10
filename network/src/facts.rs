//! Facts: what the kernel says about interfaces, addresses and routes, written down once a round.

use crate::device::Made;
use skerry_config::address::{IpNet, Mac};
use std::net::IpAddr;

/// Everything that decisions rest on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The interfaces, in the order of their numbers.
    pub links: Vec<Link>,
    /// The unicast routes of the main table, and those of ours in others.
    pub routes: Vec<Route>,
    /// Our rules of policy routing.
    pub rules: Vec<Rule>,
}

impl Facts {
    /// The interface with this number.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one thing that the kernel says")]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// The kernel's name for it.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// The hardware address it was made with.
    pub permanent_mac: Option<Mac>,
    /// Its driver's name.
    pub driver: Option<String>,
    /// Its device's path on the bus (where `/sys/class/net/NAME/device` leads).
    pub path: Option<String>,
    /// It is a device, not something a program made (veth, bridge, VLAN, tunnel …).
    pub hardware: bool,
    /// It speaks Ethernet.
    pub ethernet: bool,
    /// It is a radio.
    pub wireless: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// It is switched on.
    pub up: bool,
    /// It is switched on, and its cable leads somewhere.
    pub carrier: bool,
    /// The kernel has seen to what a new carrier needs: frames surely leave. It may come up to a second after the carrier, and often
    /// frames leave before it.
    pub settled: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// `accept_ra` of IPv6; none = IPv6 is off.
    pub accept_ra: Option<u8>,
    /// A router said that a DHCPv6 server has an address for us.
    pub managed: bool,
    /// A router said that a DHCPv6 server has something else for us: name servers.
    pub informed: bool,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// What it is, if it is a VLAN, bond, bridge or VRF.
    pub made: Option<Made>,
    /// We made it: it has our mark (`IFLA_GROUP`, which a device has from its first moment).
    pub ours: bool,
    /// The number of the bond, bridge or VRF it is a member of.
    pub master: Option<u32>,
    /// The number of the interface it is made on.
    pub base: Option<u32>,
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address and its prefix.
    pub cidr: IpNet,
    /// Who put it there.
    pub owner: Owner,
    /// Valid beyond the link (not `fe80::…`, not loopback).
    pub global: bool,
    /// In use (for IPv6: nobody else was found to have it, and it is not being looked for any more).
    pub usable: bool,
}

/// Who put an address or a route onto an interface.
///
/// Ours carry a mark in the kernel (`IFA_PROTO` of addresses since Linux 5.18, the protocol of routes), so a `netd` that starts anew
/// knows them again, and nobody else's are ever removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Us, because the config says so.
    Static,
    /// Us, because a DHCP or DHCPv6 server said so.
    Dhcp,
    /// The kernel, because a router announced it.
    Router,
    /// Anybody else.
    Other,
}

/// The main routing table (rtnetlink(7)).
pub const MAIN: u32 = 254;

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// By which gateway; none = on the link.
    pub via: Option<IpAddr>,
    /// The interface's number.
    pub link: u32,
    /// Lower wins.
    pub metric: u32,
    /// The routing table.
    pub table: u32,
    /// The source address of what is sent this way.
    pub source: Option<IpAddr>,
    /// Who put it there.
    pub owner: Owner,
}

/// One rule of policy routing: what fits it looks into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Lower is asked first.
    pub priority: u32,
    /// Of IPv6, not of IPv4.
    pub six: bool,
    /// From these addresses; none = any.
    pub from: Option<IpNet>,
    /// To these addresses; none = any.
    pub to: Option<IpNet>,
    /// With this firewall mark.
    pub mark: Option<u32>,
    /// The routing table.
    pub table: u32,
}
