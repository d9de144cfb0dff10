//! Names and time: the text of resolv.conf and of chrony's list of servers.
//!
//! Name servers come from the first of these that names any: the interfaces (what the owner wrote for one, then its lease's), DHCPv6,
//! the owner's `dns_nameservers`, and 8.8.8.8, which is what k3OS falls back to. There is no stub on this machine: kubelet hands these
//! servers to pods as they are, so loopback addresses are left out; and as pods have IPv4 only, what DHCPv6 says counts only where
//! nothing else is known.

use crate::request::{Assigned, Request, Settings};
use crate::wanted::Leases;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// What glibc and kubelet use at most.
const MOST_SERVERS: usize = 3;
const MOST_DOMAINS: usize = 6;
const MOST_SEARCH: usize = 256;
/// k3OS's default.
const LAST_RESORT: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));

/// Name servers of one interface: the owner's for it, then its lease's.
pub fn link_dns(settings: &Settings, leases: &Leases) -> Vec<IpAddr> {
    let by_dhcp = leases
        .four
        .get(&settings.index)
        .map(|lease| lease.dns.as_slice())
        .unwrap_or_default();
    let by_dhcp = by_dhcp.iter().copied().map(IpAddr::V4);
    settings.dns.iter().copied().chain(by_dhcp).collect()
}

/// Name servers that DHCPv6 told on one interface.
pub fn link_dns6(settings: &Settings, leases: &Leases) -> Vec<IpAddr> {
    let by_dhcp = leases
        .six
        .get(&settings.index)
        .map(|lease| lease.dns.as_slice())
        .unwrap_or_default();
    by_dhcp.iter().copied().map(IpAddr::V6).collect()
}

/// The content of resolv.conf.
pub fn resolv_conf(request: &Request, assigned: &Assigned, leases: &Leases) -> String {
    let mut servers: Vec<IpAddr> = assigned.links.iter().flat_map(|link| link_dns(link, leases)).collect();
    let mut from = "the interfaces";
    if servers.is_empty() {
        servers = assigned.links.iter().flat_map(|link| link_dns6(link, leases)).collect();
        from = "DHCPv6";
    }
    if servers.is_empty() {
        servers = request.dns_nameservers.iter().filter_map(|text| text.trim().parse().ok()).collect();
        from = "dns_nameservers";
    }
    servers.retain(|ip| !ip.is_loopback() && !ip.is_unspecified());
    if servers.is_empty() {
        servers = vec![LAST_RESORT];
        from = "the default, as nobody names any";
    }
    let mut text = format!("# Written by netd at each change. Servers from {from}.\n");
    for server in unique(servers).into_iter().take(MOST_SERVERS) {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search = search(assigned, leases);
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    text
}

fn search(assigned: &Assigned, leases: &Leases) -> Vec<String> {
    let owners = assigned.links.iter().flat_map(|link| link.search.iter());
    let by_dhcp = assigned.links.iter().flat_map(|link| {
        let four = leases.four.get(&link.index).map(|lease| lease.search.as_slice());
        let six = leases.six.get(&link.index).map(|lease| lease.search.as_slice());
        [four, six].into_iter().flatten().flatten()
    });
    let valid = owners
        .chain(by_dhcp)
        .filter(|name| crate::dhcp::options::is_domain(name))
        .cloned()
        .collect();
    let mut length = 0;
    let fits = |name: &String| {
        length += name.len() + 1;
        length <= MOST_SEARCH
    };
    unique(valid).into_iter().take(MOST_DOMAINS).take_while(fits).collect()
}

/// Time servers: the owner's, then the leases'.
pub fn time_servers(request: &Request, leases: &Leases) -> Vec<String> {
    let valid = |name: &&String| name.parse::<IpAddr>().is_ok() || crate::dhcp::options::is_domain(name);
    let owners = request.ntp_servers.iter().filter(valid).cloned();
    let four = leases.four.values().flat_map(|lease| lease.ntp.iter().map(ToString::to_string));
    let by_dhcp = four.chain(leases.six.values().flat_map(|lease| lease.ntp.iter().map(ToString::to_string)));
    unique(owners.chain(by_dhcp).collect())
}

/// chrony's words for them.
pub fn chrony_sources(servers: &[String]) -> String {
    servers.iter().fold(String::new(), |mut text, server| {
        let _ = writeln!(text, "server {server} iburst");
        text
    })
}

fn unique<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    list.into_iter().fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::lease::Lease;

    fn lease(dns: &[[u8; 4]], search: &[&str]) -> Lease {
        Lease {
            address: "10.0.2.15/24".parse().unwrap(),
            server: None,
            seconds: 60,
            renew: 30,
            rebind: 50,
            routes: vec![],
            dns: dns.iter().map(|ip| (*ip).into()).collect(),
            search: search.iter().map(|s| (*s).to_owned()).collect(),
            ntp: vec![[10, 0, 0, 9].into()],
            mtu: None,
        }
    }

    fn text(dns: &[&str], fallback: &[&str], lease: Option<Lease>) -> Vec<String> {
        let json = format!(
            r#"{{"network":{{"version":2,"ethernets":{{"eth0":{{"dhcp4":true,"nameservers":{{"addresses":{dns:?},"search":["a.example","b c"]}}}}}}}},
            "dns_nameservers":{fallback:?}}}"#
        );
        let request: Request = serde_json::from_str(&json).unwrap();
        let link = crate::facts::Link {
            index: 2,
            name: "eth0".into(),
            ethernet: true,
            hardware: true,
            ..Default::default()
        };
        let facts = crate::facts::Facts {
            links: vec![link],
            ..Default::default()
        };
        let leases: Leases = lease.into_iter().map(|lease| (2, lease)).collect();
        resolv_conf(&request, &crate::request::assign(&request, &facts), &leases)
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_links_first_then_the_owners_fallback_then_the_last_resort() {
        let by_dhcp = || Some(lease(&[[10, 0, 2, 3], [10, 0, 2, 4], [10, 0, 2, 5]], &["lan", "a.example"]));
        assert_eq!(
            text(&["1.1.1.1"], &["9.9.9.9"], by_dhcp()),
            [
                "nameserver 1.1.1.1",
                "nameserver 10.0.2.3",
                "nameserver 10.0.2.4",
                "search a.example lan"
            ]
        );
        assert_eq!(
            text(&[], &["9.9.9.9", "nonsense"], None),
            ["nameserver 9.9.9.9", "search a.example"]
        );
        assert_eq!(text(&[], &[], None), ["nameserver 8.8.8.8", "search a.example"]);
        assert_eq!(text(&["127.0.0.53"], &[], None), ["nameserver 8.8.8.8", "search a.example"]);
    }

    /// Pods have IPv4 only.
    #[test]
    fn what_dhcpv6_says_counts_where_nothing_else_is_known() {
        let request: Request = serde_json::from_str(r#"{"dns_nameservers":["9.9.9.9"]}"#).unwrap();
        let link = crate::facts::Link {
            index: 2,
            ethernet: true,
            hardware: true,
            ..Default::default()
        };
        let facts = crate::facts::Facts {
            links: vec![link],
            ..Default::default()
        };
        let assigned = crate::request::assign(&request, &facts);
        let six = crate::dhcp6::lease::Lease6 {
            dns: vec!["fd77::3".parse().unwrap()],
            ..crate::dhcp6::lease::Lease6::held("fd77::5".parse().unwrap())
        };
        for (four, expected) in [
            (None, "nameserver fd77::3"),
            (Some(lease(&[[10, 0, 2, 3]], &[])), "nameserver 10.0.2.3"),
            (Some(lease(&[], &[])), "nameserver fd77::3"),
        ] {
            let leases = Leases {
                six: [(2, six.clone())].into(),
                ..four.into_iter().map(|lease| (2, lease)).collect()
            };
            let text = resolv_conf(&request, &assigned, &leases);
            assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), [expected]);
        }
    }

    #[test]
    fn time_servers_are_the_owners_and_the_leases() {
        let request = Request {
            ntp_servers: vec!["ntp.example".into(), "bad name\nserver x".into()],
            ..Request::default()
        };
        let servers = time_servers(&request, &[(2, lease(&[], &[])), (3, lease(&[], &[]))].into_iter().collect());
        assert_eq!(chrony_sources(&servers), "server ntp.example iburst\nserver 10.0.0.9 iburst\n");
    }
}
