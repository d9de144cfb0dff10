//! Addresses: a hardware address, and an IP address with its prefix.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A hardware (Ethernet) address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.trim().split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(())?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Self(bytes)) }
    }
}

/// An IP address and the length of its network's prefix: `10.0.2.15/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// The address; for a route, the network's.
    pub ip: IpAddr,
    /// Length of the prefix, at most 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// Everything, for a default route of the family of `like`.
    pub const fn everything(like: IpAddr) -> Self {
        match like {
            IpAddr::V4(_) => Self {
                ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                prefix: 0,
            },
            IpAddr::V6(_) => Self {
                ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                prefix: 0,
            },
        }
    }

    /// The network the address is in: all bits behind the prefix zero.
    #[must_use]
    pub fn network(self) -> Self {
        let host = |width: u32| width.saturating_sub(u32::from(self.prefix));
        let ip = match self.ip {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(host(32)).unwrap_or(0))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(host(128)).unwrap_or(0))),
        };
        Self { ip, prefix: self.prefix }
    }

    /// Whether `ip` is in the same network.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4() && Self { ip, prefix: self.prefix }.network() == self.network()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;
    /// Reads `ADDRESS/PREFIX`; without a prefix, the address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address with a prefix, such as 192.0.2.10/24");
        let (ip, prefix) = match text.trim().split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text.trim(), None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most { Err(wrong()) } else { Ok(Self { ip, prefix }) }
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_reads_both_usual_spellings() {
        assert_eq!("52:54:00:ab:CD:ef".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef])));
        assert_eq!(
            "52-54-00-ab-cd-ef".parse::<Mac>().map(|m| m.to_string()),
            Ok("52:54:00:ab:cd:ef".into())
        );
        for wrong in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:00:ab:cd:+f",
            "g2:54:00:ab:cd:ef",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn networks_are_cut_at_the_prefix() {
        let network = |text: &str| text.parse::<Cidr>().map(|c| c.network().to_string());
        assert_eq!(network("10.1.2.3/24"), Ok("10.1.2.0/24".into()));
        assert_eq!(network("10.1.2.3/0"), Ok("0.0.0.0/0".into()));
        assert_eq!(network("10.1.2.3"), Ok("10.1.2.3/32".into()));
        assert_eq!(network("fd00::1/64"), Ok("fd00::/64".into()));
        assert_eq!(network("fd00::1/0"), Ok("::/0".into()));
        assert!(network("10.1.2.3/33").is_err() && network("fd00::/129").is_err() && network("x/1").is_err());
        let cidr: Cidr = "10.1.2.3/24".parse().unwrap();
        assert!(cidr.contains("10.1.2.200".parse().unwrap()) && !cidr.contains("10.1.3.1".parse().unwrap()));
        assert!(!cidr.contains("::1".parse().unwrap()));
    }
}
