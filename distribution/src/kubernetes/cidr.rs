//! Networks: `10.42.0.0/16`, `fd42::/56`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A network: its first address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The network that holds `address`.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Self {
            base: Ipv4Addr::from(u32::from(address) & mask),
            prefix,
        }
    }

    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.trim().split_once('/')?;
        let prefix = prefix.parse().ok().filter(|p| *p <= 32)?;
        Some(Self::new(address.parse().ok()?, prefix))
    }

    /// The address `n` after the first.
    pub fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).saturating_add(n))
    }

    /// Length of its prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The range that the first node gets of the pods' network, as the controller-manager cuts it.
    #[must_use]
    pub fn first_node(self) -> Self {
        Self {
            base: self.base,
            prefix: self.node_prefix(),
        }
    }

    /// The length of a node's prefix in the pods' network.
    pub fn node_prefix(self) -> u8 {
        self.prefix.max(24)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// A network of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr6 {
    base: Ipv6Addr,
    prefix: u8,
}

impl Cidr6 {
    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.trim().split_once('/')?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 128)?;
        let address: Ipv6Addr = address.parse().ok()?;
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Some(Self {
            base: Ipv6Addr::from(u128::from(address) & mask),
            prefix,
        })
    }

    /// Length of its prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The range that the first node gets of the pods' network.
    #[must_use]
    pub fn first_node(self) -> Self {
        Self {
            base: self.base,
            prefix: self.node_prefix(),
        }
    }

    /// The length of a node's prefix in the pods' network: k3s's 64 where it fits, and never more than 2¹⁶ nodes, which is the
    /// controller-manager's limit.
    pub fn node_prefix(self) -> u8 {
        match self.prefix {
            0..48 => self.prefix + 16,
            48..=56 => 64,
            57.. => self.prefix.saturating_add(8).min(128),
        }
    }
}

impl fmt::Display for Cidr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// A network of IPv4 and the one of IPv6 beside it, as Kubernetes writes the two: with a comma, and the main one first.
pub fn both(four: Cidr, six: Option<Cidr6>) -> String {
    six.map_or_else(|| four.to_string(), |six| format!("{four},{six}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let c = |t: &str| Cidr::parse(t).map(|c| c.to_string());
        assert_eq!(c("10.42.7.9/16").as_deref(), Some("10.42.0.0/16"));
        assert_eq!(c("1.2.3.4/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(c("1.2.3.4/32").as_deref(), Some("1.2.3.4/32"));
        for bad in ["10.42.0.0", "10.42.0.0/33", "fd00::/8", "", "/"] {
            assert_eq!(c(bad), None, "{bad}");
        }
        let pods = Cidr::parse("10.42.0.0/16").unwrap();
        assert_eq!(pods.first_node().to_string(), "10.42.0.0/24");
        assert_eq!(pods.nth(10).to_string(), "10.42.0.10");
        assert_eq!(Cidr::parse("10.42.0.0/26").unwrap().first_node().to_string(), "10.42.0.0/26");
    }
    #[test]
    fn networks_of_ipv6() {
        let six = |text: &str| Cidr6::parse(text);
        for (text, shown, node) in [
            ("fd42::7/56", "fd42::/56", 64),
            ("2001:cafe:42::/48", "2001:cafe:42::/48", 64),
            ("fd00::/8", "fd00::/8", 24),
            ("fd00:1:2:3::/64", "fd00:1:2:3::/64", 72),
            ("fd00::/112", "fd00::/112", 120),
            ("fd00::1/128", "fd00::1/128", 128),
        ] {
            let read = six(text).unwrap();
            assert_eq!((read.to_string().as_str(), read.node_prefix()), (shown, node), "{text}");
        }
        for bad in ["10.42.0.0/16", "fd42::", "fd42::/129", "/", ""] {
            assert_eq!(six(bad), None, "{bad}");
        }
        let four = Cidr::parse("10.42.0.0/16").unwrap();
        assert_eq!(both(four, None), "10.42.0.0/16");
        assert_eq!(both(four, six("fd42::/56")), "10.42.0.0/16,fd42::/56");
    }
}
