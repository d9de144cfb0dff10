//! The networks of pods and services: `10.42.0.0/16`, `fd42::/56`.

use skerry_config::address::{Ipv4Net, Ipv6Net};
use std::net::Ipv4Addr;

/// Reads the IPv4 network that holds `ADDRESS/PREFIX`.
pub fn four(text: &str) -> Option<Ipv4Net> {
    text.trim().parse().ok().map(|net: Ipv4Net| net.trunc())
}

/// Reads the IPv6 network that holds `ADDRESS/PREFIX`.
pub fn six(text: &str) -> Option<Ipv6Net> {
    text.trim().parse().ok().map(|net: Ipv6Net| net.trunc())
}

/// The address `n` after a network's first.
pub fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).saturating_add(n))
}

/// The length of a node's prefix in the pods' network.
pub fn node_prefix(pods: Ipv4Net) -> u8 {
    pods.prefix_len().max(24)
}

/// The same of IPv6: k3s's 64 where it fits, and never more than 2¹⁶ nodes, which is the controller-manager's limit.
pub fn node_prefix6(pods: Ipv6Net) -> u8 {
    match pods.prefix_len() {
        short @ 0..48 => short + 16,
        48..=56 => 64,
        long => long.saturating_add(8).min(128),
    }
}

/// The ranges that the first node gets of the pods' networks, as the controller-manager cuts them.
pub fn first_node(pods: Ipv4Net, pods6: Option<Ipv6Net>) -> Vec<String> {
    let four = format!("{}/{}", pods.network(), node_prefix(pods));
    let six = pods6.map(|six| format!("{}/{}", six.network(), node_prefix6(six)));
    [Some(four), six].into_iter().flatten().collect()
}

/// A network of IPv4 and the one of IPv6 beside it, as Kubernetes writes the two: with a comma, and the main one first.
pub fn both(four: Ipv4Net, six: Option<Ipv6Net>) -> String {
    six.map_or_else(|| four.to_string(), |six| format!("{four},{six}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let c = |t: &str| four(t).map(|c| c.to_string());
        assert_eq!(c("10.42.7.9/16").as_deref(), Some("10.42.0.0/16"));
        assert_eq!(c("1.2.3.4/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(c("1.2.3.4/32").as_deref(), Some("1.2.3.4/32"));
        for bad in ["10.42.0.0", "10.42.0.0/33", "fd00::/8", "", "/"] {
            assert_eq!(c(bad), None, "{bad}");
        }
        let pods = four("10.42.0.0/16").unwrap();
        assert_eq!(first_node(pods, None), ["10.42.0.0/24"]);
        assert_eq!(first_node(pods, six("fd42::/56")), ["10.42.0.0/24", "fd42::/64"]);
        assert_eq!(nth(pods, 10).to_string(), "10.42.0.10");
        assert_eq!(first_node(four("10.42.0.0/26").unwrap(), None), ["10.42.0.0/26"]);
    }

    #[test]
    fn networks_of_ipv6() {
        for (text, shown, node) in [
            ("fd42::7/56", "fd42::/56", 64),
            ("2001:cafe:42::/48", "2001:cafe:42::/48", 64),
            ("fd00::/8", "fd00::/8", 24),
            ("fd00:1:2:3::/64", "fd00:1:2:3::/64", 72),
            ("fd00::/112", "fd00::/112", 120),
            ("fd00::1/128", "fd00::1/128", 128),
        ] {
            let read = six(text).unwrap();
            assert_eq!((read.to_string().as_str(), node_prefix6(read)), (shown, node), "{text}");
        }
        for bad in ["10.42.0.0/16", "fd42::", "fd42::/129", "/", ""] {
            assert_eq!(six(bad), None, "{bad}");
        }
        let pods = four("10.42.0.0/16").unwrap();
        assert_eq!(both(pods, None), "10.42.0.0/16");
        assert_eq!(both(pods, six("fd42::/56")), "10.42.0.0/16,fd42::/56");
    }
}
