//! Readiness: does the boot still wait for the network, and for what?

use crate::facts::{Facts, Link, Owner};
use crate::request::{Assigned, Settings};
use std::time::Duration;

/// The boot waits no longer than this.
pub const LONGEST: Duration = Duration::from_secs(30);
/// An IPv6 address alone is enough where DHCP stays silent this long (a network without IPv4).
const DHCP_GRACE: Duration = Duration::from_secs(5);

/// What is still waited for, in words; none = the network is there. `elapsed` counts from netd's start.
pub fn waiting(facts: &Facts, assigned: &Assigned, elapsed: Duration) -> Option<String> {
    let each: Vec<Option<String>> = assigned
        .links
        .iter()
        .filter(|s| !s.optional && !s.is_port())
        .map(|settings| link(facts, settings, elapsed))
        .collect();
    if assigned.any {
        if each.iter().any(Option::is_none) {
            return None;
        }
        // A cable that is plugged in says more about what is wrong than a port that is not in use.
        let why = each
            .into_iter()
            .flatten()
            .min_by_key(|why| why.contains("carrier") || why.contains("Wi-Fi"));
        return Some(why.unwrap_or_else(|| "waiting for a wired network interface".into()));
    }
    let missing = assigned.missing.iter().map(|id| missing(id));
    each.into_iter().flatten().chain(missing).next()
}

/// What is said of an entry whose interface is not there.
pub fn missing(id: &str) -> String {
    format!("waiting for interface {id} of the config to appear")
}

/// The next moment at which waiting alone changes the answer.
pub fn next_turn(elapsed: Duration) -> Duration {
    if elapsed < DHCP_GRACE { DHCP_GRACE } else { LONGEST.max(elapsed) }
}

/// Whether such a moment has come.
pub fn turns(elapsed: Duration) -> bool {
    elapsed >= DHCP_GRACE
}

/// How we are reached, in words: `eth0 10.0.2.15/24`.
pub fn summary(facts: &Facts, assigned: &Assigned) -> String {
    let links = assigned.links.iter().filter_map(|settings| facts.link(settings.index));
    let words: Vec<String> = links
        .filter_map(|link| {
            let addresses: Vec<String> = link
                .addresses
                .iter()
                .filter(|a| a.global && a.usable)
                .map(|a| a.cidr.to_string())
                .collect();
            (!addresses.is_empty()).then(|| format!("{} {}", link.name, addresses.join(" ")))
        })
        .collect();
    if words.is_empty() { "no address".into() } else { words.join(", ") }
}

/// What is waited for on one interface; none = it is as it should be.
pub fn link(facts: &Facts, settings: &Settings, elapsed: Duration) -> Option<String> {
    let name = &settings.name;
    let Some(link) = facts.link(settings.index) else {
        return Some(format!("waiting for {name} to appear"));
    };
    if settings.is_port() {
        let joined = link.master.is_some();
        return (!joined).then(|| format!("waiting for {name} to become a member"));
    }
    let has = |owner: Owner, six: bool| {
        let is = |a: &crate::facts::Address| a.owner == owner && a.global && a.usable && a.cidr.addr().is_ipv6() == six;
        link.addresses.iter().any(is)
    };
    let satisfied = if settings.dhcp4 {
        has(Owner::Dhcp, false) || ((has(Owner::Router, true) || has(Owner::Dhcp, true)) && elapsed >= DHCP_GRACE)
    } else if settings.dhcp6 == Some(true) {
        has(Owner::Dhcp, true)
    } else if settings.addresses.is_empty() {
        !settings.accept_ra || has(Owner::Router, true)
    } else {
        settings.addresses.iter().all(|wanted| is_there(link, wanted.addr()))
    };
    match (satisfied, link.carrier) {
        // A static address is there without a cable too: enough for a single node to start.
        (true, _) => None,
        (false, false) if link.wireless => Some(format!("waiting for {name} to join a Wi-Fi network")),
        (false, false) => Some(format!("waiting for carrier on {name}")),
        (false, true) if settings.asks() => Some(format!("waiting for a DHCP answer on {name}")),
        (false, true) if settings.addresses.is_empty() => Some(format!("waiting for a router advertisement on {name}")),
        (false, true) => Some(format!("waiting for the addresses of {name}")),
    }
}

fn is_there(link: &Link, ip: std::net::IpAddr) -> bool {
    link.addresses.iter().any(|a| a.cidr.addr() == ip && a.usable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Address;
    use crate::request::{Request, assign};

    const SECOND: Duration = Duration::from_secs(1);

    fn eth(index: u32, carrier: bool, addresses: &[(&str, Owner)]) -> Link {
        let addresses = addresses.iter().map(|(cidr, owner)| Address {
            cidr: cidr.parse().unwrap(),
            owner: *owner,
            global: true,
            usable: true,
        });
        Link {
            index,
            name: format!("eth{}", index - 2),
            carrier,
            hardware: true,
            ethernet: true,
            addresses: addresses.collect(),
            ..Link::default()
        }
    }

    fn why(network: &str, links: Vec<Link>, elapsed: Duration) -> String {
        let facts = Facts { links, ..Facts::default() };
        let request: Request = serde_json::from_str(&format!(r#"{{"network":{network}}}"#)).unwrap();
        waiting(&facts, &assign(&request, &facts), elapsed).unwrap_or_else(|| "ready".into())
    }

    #[test]
    fn by_default_one_interface_with_an_address_is_enough() {
        let dhcp = [("10.0.2.15/24", Owner::Dhcp)];
        let ra = [("2001:db8::5/64", Owner::Router)];
        assert_eq!(why("null", vec![], SECOND), "waiting for a wired network interface");
        assert_eq!(why("null", vec![eth(2, false, &[])], SECOND), "waiting for carrier on eth0");
        assert_eq!(
            why("null", vec![eth(2, false, &[]), eth(3, true, &[])], SECOND),
            "waiting for a DHCP answer on eth1"
        );
        assert_eq!(why("null", vec![eth(2, false, &[]), eth(3, true, &dhcp)], SECOND), "ready");
        assert_eq!(why("null", vec![eth(2, true, &ra)], SECOND), "waiting for a DHCP answer on eth0");
        assert_eq!(why("null", vec![eth(2, true, &ra)], 6 * SECOND), "ready");
        let six = [("2001:db8::77/128", Owner::Dhcp)];
        assert_eq!(why("null", vec![eth(2, true, &six)], SECOND), "waiting for a DHCP answer on eth0");
        assert_eq!(why("null", vec![eth(2, true, &six)], 6 * SECOND), "ready");
    }

    #[test]
    fn an_address_by_dhcpv6_is_waited_for_where_it_is_asked_for() {
        let network = r#"{"version":2,"ethernets":{"eth0":{"dhcp6":true}}}"#;
        let ra = [("2001:db8::5/64", Owner::Router)];
        let six = [("2001:db8::77/128", Owner::Dhcp)];
        assert_eq!(
            why(network, vec![eth(2, true, &ra)], 9 * SECOND),
            "waiting for a DHCP answer on eth0"
        );
        assert_eq!(why(network, vec![eth(2, true, &six)], SECOND), "ready");
    }

    #[test]
    fn a_radio_without_a_network_says_so() {
        let wlan = Link {
            name: "wlan0".into(),
            wireless: true,
            ..eth(2, false, &[])
        };
        let network = r#"{"version":2,"wifis":{"wlan0":{"dhcp4":true}}}"#;
        assert_eq!(why(network, vec![wlan], SECOND), "waiting for wlan0 to join a Wi-Fi network");
    }

    #[test]
    fn each_configured_interface_counts_unless_it_is_optional() {
        let network = |optional: bool| {
            format!(
                r#"{{"version":2,"ethernets":{{"eth0":{{"addresses":["10.1.1.5/24"]}},"eth1":{{"dhcp4":true,"optional":{optional}}}}}}}"#
            )
        };
        let links = || vec![eth(2, true, &[("10.1.1.5/24", Owner::Static)]), eth(3, true, &[])];
        assert_eq!(why(&network(false), links(), SECOND), "waiting for a DHCP answer on eth1");
        assert_eq!(why(&network(true), links(), SECOND), "ready");
        assert_eq!(
            why(&network(false), vec![eth(2, true, &[("10.1.1.5/24", Owner::Static)])], SECOND),
            "waiting for interface eth1 of the config to appear"
        );
        assert_eq!(
            why(&network(true), vec![eth(2, true, &[])], SECOND),
            "waiting for the addresses of eth0"
        );
    }
}
