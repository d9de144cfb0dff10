//! Which of the machine's addresses is the node's.

use super::paths::ISLAND;
use super::settings::Settings;
use serde::Deserialize;
use std::net::Ipv4Addr;

/// One interface, as `/run/skerry/network-state.json` lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Kernel name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Addresses.
    pub addresses: Vec<LinkAddress>,
    /// Its default gateway.
    pub gateway: Option<String>,
    /// How good the route by it is, the lowest first; none = it is not the machine's own.
    pub metric: Option<u32>,
}

/// One address of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinkAddress {
    /// `ADDRESS/PREFIX`.
    pub address: String,
}

/// The node's address, and the other addresses of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The node's.
    pub node: Ipv4Addr,
    /// There was none, so the node stands on its dummy interface.
    pub island: bool,
    /// All global addresses, for the API server's certificate.
    pub all: Vec<String>,
}

/// Decides: the owner's choice; else the first address of the interface with the best IPv4 gateway, as k3s does; else the first address; else the
/// dummy interface's. Addresses of pods' links do not count.
pub fn choose(links: &[Link], settings: &Settings) -> Addresses {
    let usable = |l: &&Link| {
        !["lo", "cni0", "skerry-vxlan", "skerry-wg", super::paths::ISLAND_LINK].contains(&l.name.as_str()) && !l.name.starts_with("veth")
    };
    let links: Vec<&Link> = links.iter().filter(usable).collect();
    let global = |l: &Link| -> Vec<Ipv4Addr> {
        let plain = |a: &LinkAddress| a.address.split('/').next().and_then(|a| a.parse().ok());
        l.addresses
            .iter()
            .filter_map(plain)
            .filter(|a: &Ipv4Addr| !a.is_loopback() && !a.is_link_local() && !a.is_unspecified())
            .collect()
    };
    let is_routed = |l: &Link| l.gateway.as_ref().is_some_and(|g| g.parse::<Ipv4Addr>().is_ok());
    let mut best = links.clone();
    // The order among equals is the interfaces'.
    best.sort_by_key(|l| if is_routed(l) { (0, l.metric.unwrap_or(u32::MAX)) } else { (1, 0) });
    let found = best.iter().flat_map(|l| global(l)).next();
    let all = links.iter().flat_map(|l| global(l)).map(|a| a.to_string()).collect();
    match settings.node_ip.or(found) {
        Some(node) => Addresses { node, island: false, all },
        None => Addresses {
            node: ISLAND,
            island: true,
            all,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use skerry_config::types::Config;

    fn node(links: &str, args: &[&str]) -> (String, bool) {
        let mut config = Config::default();
        config.skerry.k3s_args = args.iter().map(|&a| a.to_owned()).collect();
        let (settings, _) = super::super::settings::settings(&config, &Facts::default());
        let links: Vec<Link> = serde_json::from_str(links).unwrap();
        let a = choose(&links, &settings);
        (a.node.to_string(), a.island)
    }

    #[test]
    fn choices() {
        let two = r#"[{"name":"lo","addresses":[{"address":"127.0.0.1/8"}]},
            {"name":"eth0","mac":"x","up":true,"addresses":[{"address":"fe80::1/64","origin":"ra"},{"address":"10.1.0.2/24","origin":"static"}],"gateway":null,"dns":[]},
            {"name":"eth1","addresses":[{"address":"192.168.1.2/24"}],"gateway":"192.168.1.1"},
            {"name":"cni0","addresses":[{"address":"10.42.0.1/24"}],"gateway":"10.42.0.1"}]"#;
        assert_eq!(node(two, &[]), ("192.168.1.2".into(), false));
        assert_eq!(node(two, &["--node-ip=10.1.0.2"]), ("10.1.0.2".into(), false));
        assert_eq!(
            node(r#"[{"name":"eth0","addresses":[{"address":"10.1.0.2/24"}]}]"#, &[]),
            ("10.1.0.2".into(), false)
        );
        assert_eq!(
            node(r#"[{"name":"eth0","addresses":[{"address":"169.254.3.4/16"}]}]"#, &[]),
            ("198.18.0.1".into(), true)
        );
        assert_eq!(node("[]", &[]), ("198.18.0.1".into(), true));
        let by = |first: &str, second: &str| {
            let link =
                |name: &str, address: &str, way: &str| format!(r#"{{"name":{name:?},"addresses":[{{"address":{address:?}}}]{way}}}"#);
            let links = [link("eth0", "10.0.2.22/24", first), link("lan", "10.50.0.60/24", second)];
            node(&format!("[{}]", links.join(",")), &[]).0
        };
        let way = |gateway: &str, metric: &str| format!(r#","gateway":{gateway:?},"metric":{metric}"#);
        let (four, six) = (way("10.50.0.1", "1027"), way("fe80::2", "100"));
        // A router that announces IPv6 is no way for IPv4.
        assert_eq!(by(&six, &four), "10.50.0.60");
        assert_eq!(by(&four, &six), "10.0.2.22");
        assert_eq!(by(&six, ""), "10.0.2.22");
        assert_eq!(by("", &six), "10.0.2.22");
        // Of two ways the better one, and the first of equals.
        assert_eq!(by(&way("10.0.2.2", "1028"), &four), "10.50.0.60");
        assert_eq!(by(&way("10.0.2.2", "1027"), &four), "10.0.2.22");
        // A VRF's is not the machine's.
        assert_eq!(by(&way("10.0.2.2", "null"), &four), "10.50.0.60");
    }
}
