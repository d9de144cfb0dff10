//! Networks and hardware addresses, ordered, so that sets of them can be compared.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with the length of its network's prefix: `10.42.1.0/24`, or an interface's `10.0.0.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The address, as it was written.
    pub address: IpAddr,
    /// 0 to 32, or to 128.
    pub prefix: u8,
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(a) => (u32::from(a).into(), 32),
        IpAddr::V6(a) => (u128::from(a), 128),
    }
}

impl Cidr {
    /// The address alone.
    pub fn host(address: Ipv4Addr) -> Self {
        let address = IpAddr::V4(address);
        Self { address, prefix: 32 }
    }

    /// Whether it is one of IPv4.
    pub fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    /// The number, without the bits that are a machine's.
    fn number(self) -> u128 {
        let (number, width) = bits(self.address);
        let machines = u32::from(width.saturating_sub(self.prefix));
        number & u128::MAX.checked_shl(machines).unwrap_or(0)
    }

    /// The network's first address.
    pub fn base(self) -> IpAddr {
        match self.address {
            // Its upper bits are none.
            IpAddr::V4(_) => u32::try_from(self.number()).map_or(self.address, |n| Ipv4Addr::from(n).into()),
            IpAddr::V6(_) => Ipv6Addr::from(self.number()).into(),
        }
    }

    /// The network itself.
    #[must_use]
    pub fn network(self) -> Self {
        Self {
            address: self.base(),
            prefix: self.prefix,
        }
    }

    /// Whether `address` lies in the network.
    pub fn holds(self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        let other = Self { address, ..self };
        self.is_v4() == other.is_v4() && self.number() == other.number()
    }

    /// Whether all of `other` lies in the network.
    pub fn holds_all(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.holds(other.address)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.holds_all(other) || other.holds_all(self)
    }
}

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(drop)?;
        let (_, width) = bits(address);
        let prefix = prefix.map_or(Some(width), |p| p.parse().ok()).filter(|p| *p <= width);
        Ok(Self {
            address,
            prefix: prefix.ok_or(())?,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one of a node's end of the tunnel, from the first address of its pods: locally administered, and unlike any other node's,
    /// because their ranges are. So nothing has to be exchanged.
    pub fn of_tunnel(first: Ipv4Addr) -> Self {
        let [a, b, c, d] = first.octets();
        Self([0x02, b'S', a, b, c, d])
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut words = text.split(':');
        for byte in &mut bytes {
            let word = words.next().filter(|w| w.len() == 2).ok_or(())?;
            *byte = u8::from_str_radix(word, 16).map_err(drop)?;
        }
        if words.next().is_some() { Err(()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { ":" };
            write!(f, "{between}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn texts() {
        for text in ["10.42.1.0/24", "0.0.0.0/0", "255.255.255.255/32", "fd42:0:0:1::/64", "::/0"] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("10.0.0.1"), cidr("10.0.0.1/32"));
        assert_eq!(cidr("fd00::1"), cidr("fd00::1/128"));
        for bad in [
            "",
            "/",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.1/-1",
            "10.0.0.1/8/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "02:53",
            "02:53:0a:2a:01:00:00",
            "02:53:0a:2a:01:0",
            "02:53:0a:2a:01:zz",
            "+2:53:0a:2a:01:000",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert_eq!(Mac::of_tunnel(Ipv4Addr::new(10, 42, 1, 0)).to_string(), "02:53:0a:2a:01:00");
    }

    #[test]
    fn what_lies_in_what() {
        assert!(cidr("0.0.0.0/0").holds_all(cidr("10.42.0.0/16")));
        assert!(cidr("10.0.0.7/24").holds(Ipv4Addr::new(10, 0, 0, 255)));
        assert!(!cidr("10.0.0.7/24").holds(Ipv4Addr::new(10, 0, 1, 0)));
        assert!(cidr("10.42.1.0/24").overlaps(cidr("10.42.0.0/16")));
        assert!(!cidr("10.42.1.0/24").overlaps(cidr("10.42.2.0/24")));
        assert!(cidr("fd42::/56").holds_all(cidr("fd42:0:0:1::/64")) && !cidr("fd42::/56").holds_all(cidr("fd43::/64")));
        assert!(!cidr("::/0").holds(Ipv4Addr::LOCALHOST) && !cidr("0.0.0.0/0").overlaps(cidr("::/0")));
    }

    proptest! {
        #[test]
        fn written_is_read(address: u32, prefix in 0u8..=32, address6: u128, prefix6 in 0u8..=128, mac: [u8; 6]) {
            let v4 = Cidr { address: Ipv4Addr::from(address).into(), prefix };
            let v6 = Cidr { address: Ipv6Addr::from(address6).into(), prefix: prefix6 };
            for one in [v4, v6] {
                prop_assert_eq!(one.to_string().parse(), Ok(one));
                prop_assert!(one.holds(one.base()) && one.network().holds_all(one));
            }
            prop_assert_eq!(Mac(mac).to_string().parse(), Ok(Mac(mac)));
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = text.parse::<Cidr>();
            let _ = text.parse::<Mac>();
        }
    }
}
