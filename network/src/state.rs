//! The report to the rest of the system: `/run/skerry/network-state.json`.

use crate::facts::{self, Facts, Owner, Route};
use crate::names::{link_dns, link_dns6};
use crate::ready;
use crate::request::Assigned;
use crate::wanted::Leases;
use serde::{Deserialize, Serialize};
use skerry_config::address::IpNet;
use skerry_config::ports::Opening;
use std::net::IpAddr;
use std::time::Duration;

/// One interface of ours, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name; the id, where the interface is not there.
    pub name: String,
    /// `device`, `bond`, `bridge`, `vlan`, `vrf`, or `missing`.
    pub kind: String,
    /// Its hardware address.
    pub mac: String,
    /// It has a carrier.
    pub up: bool,
    /// Its addresses that are valid beyond the link and in use.
    pub addresses: Vec<Address>,
    /// The gateway of its best default route, IPv4 first.
    pub gateway: Option<String>,
    /// How good that route is, the lowest first; none = it is not in the main table, or there is none.
    pub metric: Option<u32>,
    /// Its name servers.
    pub dns: Vec<String>,
    /// Its time servers.
    pub ntp: Vec<String>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// What it is a member of.
    pub master: Option<String>,
    /// Who gave the lease.
    pub dhcp_server: Option<String>,
    /// What is still waited for, in words.
    pub waits: Option<String>,
    /// The boot does not wait for it.
    pub optional: bool,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With its prefix.
    pub address: IpNet,
    /// `static`, `dhcp4`, `dhcp6`, `ra`, or `other` (put there by somebody else).
    pub origin: String,
}

/// What else there is to say: `/run/skerry/netd.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct More {
    /// The firewall; none = nobody said whether there should be one.
    pub firewall: Option<Wall>,
    /// A configuration is on trial until then: milliseconds of the kernel's clock that only goes forward.
    pub trial_until_ms: Option<u64>,
}

/// The firewall, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wall {
    /// It should be there.
    pub on: bool,
    /// The kernel has it as it should be.
    pub done: bool,
    /// The interfaces by which others come.
    pub outside: Vec<String>,
    /// What is open.
    pub open: Vec<Opening>,
    /// Why the kernel has it not.
    pub problem: Option<String>,
}

/// Writes down how our interfaces are. `elapsed` counts from netd's start.
pub fn state(facts: &Facts, assigned: &Assigned, leases: &Leases, elapsed: Duration) -> Vec<Interface> {
    let ours = assigned
        .links
        .iter()
        .filter_map(|settings| Some((settings, facts.link(settings.index)?)));
    let missing = assigned.missing.iter().map(|id| Interface {
        name: id.clone(),
        kind: "missing".to_owned(),
        waits: Some(ready::missing(id)),
        ..Interface::default()
    });
    ours.map(|(settings, link)| {
        let lease = leases.four.get(&link.index);
        let addresses = link.addresses.iter().filter(|a| a.global && a.usable);
        let gateway = gateway(facts, link.index, settings.table);
        Interface {
            name: link.name.clone(),
            kind: link.made.as_ref().map_or("device", |made| made.kind.word()).to_owned(),
            mtu: link.mtu,
            master: link.master.and_then(|index| facts.link(index)).map(|master| master.name.clone()),
            dhcp_server: lease.and_then(|lease| lease.server).map(|ip| ip.to_string()),
            waits: ready::link(facts, settings, elapsed),
            optional: settings.optional,
            mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            up: link.carrier,
            addresses: addresses
                .map(|a| Address {
                    address: a.cidr,
                    origin: origin(a).to_owned(),
                })
                .collect(),
            gateway: gateway.map(|(_, ip)| ip.to_string()),
            metric: gateway.filter(|_| settings.table == facts::MAIN).map(|(metric, _)| metric),
            dns: [link_dns(settings, leases), link_dns6(settings, leases)]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
            ntp: ntp(leases, link.index),
        }
    })
    .chain(missing)
    .collect()
}

fn ntp(leases: &Leases, index: u32) -> Vec<String> {
    let four = leases.four.get(&index).map(|lease| lease.ntp.as_slice()).unwrap_or_default();
    let six = leases.six.get(&index).map(|lease| lease.ntp.as_slice()).unwrap_or_default();
    four.iter()
        .map(ToString::to_string)
        .chain(six.iter().map(ToString::to_string))
        .collect()
}

fn origin(address: &facts::Address) -> &'static str {
    match address.owner {
        Owner::Static => "static",
        Owner::Dhcp if address.cidr.addr().is_ipv6() => "dhcp6",
        Owner::Dhcp => "dhcp4",
        Owner::Router => "ra",
        Owner::Other => "other",
    }
}

fn gateway(facts: &Facts, index: u32, table: u32) -> Option<(u32, IpAddr)> {
    let defaults = facts
        .routes
        .iter()
        .filter(|route: &&Route| route.link == index && route.to.prefix_len() == 0 && route.table == table);
    defaults
        .filter_map(|route| Some((route.to.addr().is_ipv6(), route.metric, route.via?)))
        .min()
        .map(|(_, metric, via)| (metric, via))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Link;
    use crate::request::{Request, assign};

    #[test]
    fn the_report_is_what_the_others_read() {
        let address = |text: &str, owner, global| facts::Address {
            cidr: text.parse().unwrap(),
            owner,
            global,
            usable: true,
        };
        let eth0 = Link {
            index: 2,
            name: "eth0".into(),
            mac: Some(skerry_config::address::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
            ethernet: true,
            hardware: true,
            carrier: true,
            mtu: 1500,
            addresses: vec![
                address("10.0.2.15/24", Owner::Dhcp, true),
                address("fec0::5054:ff:fe12:3456/64", Owner::Router, true),
                address("fec0::77/128", Owner::Dhcp, true),
                address("fe80::1/64", Owner::Other, false),
            ],
            ..Link::default()
        };
        let route = |via: &str, metric| {
            let via: IpAddr = via.parse().unwrap();
            Route {
                to: skerry_config::address::everything(via),
                via: Some(via),
                link: 2,
                metric,
                table: facts::MAIN,
                source: None,
                owner: Owner::Dhcp,
            }
        };
        let facts = Facts {
            links: vec![eth0],
            routes: vec![route("fe80::2", 1), route("10.0.2.9", 2000), route("10.0.2.2", 1026)],
            ..Facts::default()
        };
        let assigned = Assigned {
            missing: vec!["lan".into()],
            ..assign(&Request::default(), &facts)
        };
        let state = state(&facts, &assigned, &Leases::default(), Duration::ZERO);
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            r#"[{"name":"eth0","kind":"device","mac":"52:54:00:12:34:56","up":true,"addresses":[{"address":"10.0.2.15/24","origin":"dhcp4"},{"address":"fec0::5054:ff:fe12:3456/64","origin":"ra"},{"address":"fec0::77/128","origin":"dhcp6"}],"gateway":"10.0.2.2","metric":1026,"dns":[],"ntp":[],"mtu":1500,"master":null,"dhcp_server":null,"waits":null,"optional":false},{"name":"lan","kind":"missing","mac":"","up":false,"addresses":[],"gateway":null,"metric":null,"dns":[],"ntp":[],"mtu":0,"master":null,"dhcp_server":null,"waits":"waiting for interface lan of the config to appear","optional":false}]"#
        );
    }
}
