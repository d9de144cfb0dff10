//! Which of the machine's addresses is the node's.

use super::paths::ISLAND;
use super::settings::Settings;
use serde::Deserialize;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

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

/// Where the node is reached, written as kubelet's `--node-ip` is: `10.0.0.5`, or `10.0.0.5,fd00::5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAddress {
    /// By the other nodes, too.
    pub four: Ipv4Addr,
    /// In a cluster that has both.
    pub six: Option<Ipv6Addr>,
}

impl NodeAddress {
    /// The same, as it is to be from now on, if it was `before`. An IPv6 address that went away is no reason to change anything: its
    /// router may come back.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self {
            six: self.six.or(before.six),
            ..self
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.four)?;
        self.six.map_or(Ok(()), |six| write!(f, ",{six}"))
    }
}

impl FromStr for NodeAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (four, six) = text.split_once(',').map_or((text, None), |(four, six)| (four, Some(six)));
        Ok(Self {
            four: four.parse()?,
            six: six.map(str::parse).transpose()?,
        })
    }
}

/// The node's address, and the other addresses of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The node's.
    pub node: NodeAddress,
    /// There was none, so the node stands on its dummy interface.
    pub island: bool,
    /// All global addresses of IPv4, for the API server's certificate.
    pub all: Vec<String>,
}

/// Decides: the owner's choice; else the first address of the interface with the best IPv4 gateway, as k3s does; else the first address; else the
/// dummy interface's. Addresses of pods' links do not count. In a cluster that has both, its IPv6 address is the owner's choice; else the
/// first of the same interface; else the first of the others, in the same order.
pub fn choose(links: &[Link], settings: &Settings) -> Addresses {
    let usable = |l: &&Link| {
        !["lo", "cni0", "skerry-vxlan", "skerry-wg", super::paths::ISLAND_LINK].contains(&l.name.as_str()) && !l.name.starts_with("veth")
    };
    let links: Vec<&Link> = links.iter().filter(usable).collect();
    let is_routed = |l: &Link| l.gateway.as_ref().is_some_and(|g| g.parse::<Ipv4Addr>().is_ok());
    let mut best = links.clone();
    // The order among equals is the interfaces'.
    best.sort_by_key(|l| if is_routed(l) { (0, l.metric.unwrap_or(u32::MAX)) } else { (1, 0) });
    let found = best.iter().flat_map(|l| global(l)).next();
    let all = links.iter().flat_map(|l| global(l)).map(|a| a.to_string()).collect();
    let four = settings.node_ip.or(found);
    best.sort_by_key(|l| !global(l).any(|a| Some(a) == four));
    let six = settings.node_ip6.or_else(|| best.iter().flat_map(|l| global6(l)).next());
    Addresses {
        node: NodeAddress {
            four: four.unwrap_or(ISLAND),
            six: six.filter(|_| settings.pods6.is_some()),
        },
        island: four.is_none(),
        all,
    }
}

/// The addresses of a family.
fn of<A: FromStr>(link: &Link) -> impl Iterator<Item = A> + '_ {
    link.addresses.iter().filter_map(|a| a.address.split('/').next()?.parse().ok())
}

fn global(link: &Link) -> impl Iterator<Item = Ipv4Addr> + '_ {
    of(link).filter(|a: &Ipv4Addr| !a.is_loopback() && !a.is_link_local() && !a.is_unspecified())
}

fn global6(link: &Link) -> impl Iterator<Item = Ipv6Addr> + '_ {
    of(link).filter(|a: &Ipv6Addr| !a.is_loopback() && !a.is_unicast_link_local() && !a.is_unspecified())
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
    fn both_families() {
        const BOTH: &str = "--cluster-cidr=10.42.0.0/16,fd42::/56";
        let links = r#"[
            {"name":"eth0","addresses":[{"address":"fe80::1/64"},{"address":"fd00:1::5/64"}],"gateway":"fe80::2","metric":1024},
            {"name":"eth1","addresses":[{"address":"10.1.0.2/24"},{"address":"fd00:2::5/64"},{"address":"fd00:2::6/64"}],"gateway":"10.1.0.1"},
            {"name":"cni0","addresses":[{"address":"10.42.0.1/24"},{"address":"fd42::1/64"}]}]"#;
        for (args, said) in [
            (&[][..], "10.1.0.2"),
            (&[BOTH], "10.1.0.2,fd00:2::5"),
            (&[BOTH, "--node-ip=10.1.0.9"], "10.1.0.9,fd00:2::5"),
            (&[BOTH, "--node-ip=fd00:9::9,10.1.0.2"], "10.1.0.2,fd00:9::9"),
            (&["--node-ip=10.1.0.2,fd00:9::9"], "10.1.0.2"),
        ] {
            assert_eq!(node(links, args), (said.into(), false), "{args:?}");
        }
        let one = r#"[{"name":"eth0","addresses":[{"address":"10.1.0.2/24"},{"address":"fe80::1/64"}]}]"#;
        assert_eq!(node(one, &[BOTH]).0, "10.1.0.2");
    }

    #[test]
    fn it_is_written_and_read() {
        for text in ["10.1.0.2", "10.1.0.2,fd00::5"] {
            assert_eq!(text.parse::<NodeAddress>().unwrap().to_string(), text);
        }
        for text in ["", "x", "10.1.0.2,", "fd00::5", "10.1.0.2,10.1.0.3", "10.1.0.2, fd00::5"] {
            assert!(text.parse::<NodeAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_that_went_away_is_kept() {
        let of = |text: &str| text.parse::<NodeAddress>().unwrap();
        for (now, before, then) in [
            ("10.0.0.1", "10.0.0.2,fd00::5", "10.0.0.1,fd00::5"),
            ("10.0.0.1,fd00::6", "10.0.0.1,fd00::5", "10.0.0.1,fd00::6"),
            ("10.0.0.1,fd00::6", "10.0.0.1", "10.0.0.1,fd00::6"),
        ] {
            assert_eq!(of(now).after(of(before)), of(then));
        }
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
