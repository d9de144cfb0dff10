//! What should be: the owner's settings and the leases in force, interface by interface.

use crate::device::{Device, Kind};
use crate::dhcp::lease::Lease;
use crate::dhcp6::lease::Lease6;
use crate::facts::{Facts, Owner, Route, Rule};
use crate::request::{Assigned, Settings};
use skerry_config::Overrides;
use skerry_config::address::{IpNet, Mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The metric of routes that DHCP brought; the interface's number is added, so that two defaults do not collide. Higher than what an
/// owner writes, so that a static default wins; as systemd-networkd's, which people know.
const DHCP_METRIC: u32 = 1024;

/// The leases in force, by the interface's number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// Of IPv4.
    pub four: BTreeMap<u32, Lease>,
    /// Of IPv6.
    pub six: BTreeMap<u32, Lease6>,
}

impl FromIterator<(u32, Lease)> for Leases {
    fn from_iter<T: IntoIterator<Item = (u32, Lease)>>(leases: T) -> Self {
        Self {
            four: leases.into_iter().collect(),
            six: BTreeMap::new(),
        }
    }
}

/// What every interface of ours should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The interfaces to make.
    pub devices: Vec<Device>,
    /// Names of all that are to be made, now or later: others of ours are to go.
    pub names: BTreeSet<String>,
    /// The interfaces, loopback included.
    pub links: Vec<WantedLink>,
    /// The rules of policy routing.
    pub rules: Vec<Rule>,
}

/// What one interface should be. It should be up in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedLink {
    /// The interface's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Hardware address; none = as it is.
    pub mac: Option<Mac>,
    /// Largest packet; none = as it is.
    pub mtu: Option<u32>,
    /// `accept_ra`; none = as it is.
    pub accept_ra: Option<u8>,
    /// What it is a member of: number and name, and whether it must be off to become one.
    pub master: Option<(u32, String, bool)>,
    /// Our addresses.
    pub addresses: Vec<(IpNet, Owner)>,
    /// Our routes; the flag says that the gateway is on the link though no address says so.
    pub routes: Vec<(Route, bool)>,
}

/// Puts settings and leases together.
pub fn wanted(facts: &Facts, assigned: &Assigned, leases: &Leases) -> Wanted {
    let loopback = facts.links.iter().filter(|link| link.loopback).map(|link| WantedLink {
        index: link.index,
        name: link.name.clone(),
        ..WantedLink::default()
    });
    let of = |index: u32| (leases.four.get(&index), leases.six.get(&index));
    let ours = assigned.links.iter().map(|settings| one(settings, of(settings.index)));
    Wanted {
        devices: assigned.devices.clone(),
        names: assigned.names.clone(),
        links: loopback.chain(ours).collect(),
        rules: assigned.rules.clone(),
    }
}

fn one(settings: &Settings, (lease, lease6): (Option<&Lease>, Option<&Lease6>)) -> WantedLink {
    let lease = lease.filter(|_| settings.dhcp4);
    let mut addresses: Vec<(IpNet, Owner)> = settings.addresses.iter().map(|cidr| (*cidr, Owner::Static)).collect();
    if let Some(lease) = lease {
        if addresses.iter().all(|(cidr, _)| cidr.addr() != lease.address.addr()) {
            addresses.push((lease.address, Owner::Dhcp));
        }
    }
    if let Some(ip) = lease6.and_then(|lease| lease.address).map(IpAddr::V6) {
        // A bare address: what else is on the link, routers say.
        if addresses.iter().all(|(cidr, _)| cidr.addr() != ip) {
            addresses.push((ip.into(), Owner::Dhcp));
        }
    }
    let near = |via: IpAddr| addresses.iter().any(|(cidr, _)| cidr.contains(&via)) || is_link_local(via);
    let mut routes: Vec<(Route, bool)> = Vec::new();
    for route in &settings.routes {
        let wanted = Route {
            to: route.to,
            via: route.via,
            link: settings.index,
            metric: kernel_metric(route.to, route.metric),
            table: route.table.unwrap_or(settings.table),
            source: route.source,
            owner: Owner::Static,
        };
        push(&mut routes, wanted, route.on_link);
    }
    for (to, via) in lease.map(|lease| lease.routes.as_slice()).unwrap_or_default() {
        let via = via.map(IpAddr::V4);
        let wanted = Route {
            to: to.trunc(),
            via,
            link: settings.index,
            metric: settings.overrides.route_metric.unwrap_or(DHCP_METRIC + settings.index),
            table: settings.table,
            source: None,
            owner: Owner::Dhcp,
        };
        push(&mut routes, wanted, via.is_some_and(|via| !near(via)));
    }
    WantedLink {
        index: settings.index,
        name: settings.name.clone(),
        mac: settings.mac,
        mtu: settings.mtu.or_else(|| lease.and_then(|lease| lease.mtu).map(u32::from)),
        // 2 = also on a router, and every Kubernetes node forwards.
        accept_ra: Some(if settings.accept_ra { 2 } else { 0 }),
        master: settings
            .master
            .as_ref()
            .and_then(|master| Some((master.index?, master.name.clone(), master.kind == Kind::Bond))),
        addresses,
        routes,
    }
}

/// A lease without what the owner does not want of it.
pub fn limited(mut lease: Lease, overrides: &Overrides) -> Lease {
    let no = |wish: Option<bool>| wish == Some(false);
    if no(overrides.use_dns) {
        lease.dns.clear();
        lease.search.clear();
    }
    if no(overrides.use_ntp) {
        lease.ntp.clear();
    }
    if no(overrides.use_mtu) {
        lease.mtu = None;
    }
    if no(overrides.use_routes) {
        lease.routes.clear();
    }
    lease
}

/// Adds a route unless the same one is there: the kernel knows a route by table, target, metric and interface.
fn push(routes: &mut Vec<(Route, bool)>, route: Route, on_link: bool) {
    if routes
        .iter()
        .all(|(known, _)| (known.table, known.to, known.metric) != (route.table, route.to, route.metric))
    {
        routes.push((route, on_link));
    }
}

/// IPv6 has no metric 0: the kernel makes 1024 of it.
fn kernel_metric(to: IpNet, metric: u32) -> u32 {
    if to.addr().is_ipv6() && metric == 0 { 1024 } else { metric }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
