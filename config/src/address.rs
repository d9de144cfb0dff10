//! Addresses with the length of their network's prefix (`10.0.2.15/24`), and hardware addresses.

pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Reads `ADDRESS/PREFIX`; without a prefix, the address alone.
pub fn net(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(IpAddr::into))
}

/// Everything, for a default route of the family of `like`.
pub fn everything(like: IpAddr) -> IpNet {
    let first = match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(first, 0)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hardware_address_reads_both_usual_spellings() {
        assert_eq!("52:54:00:ab:CD:ef".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef])));
        assert_eq!(
            "52-54-00-ab-cd-ef".parse::<Mac>().map(|m| m.to_string()),
            Ok("52:54:00:ab:cd:ef".into())
        );
        for wrong in [
            "",
            "52:54",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:00:ab:cd:f",
            "52:54:00:ab:cd:+f",
            "+2:54:00:ab:cd:000",
            "g2:54:00:ab:cd:ef",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn networks_are_read() {
        let said = |text: &str| net(text).map(|net| (net.to_string(), net.trunc().to_string()));
        for (text, shown, network) in [
            ("10.1.2.3/24", "10.1.2.3/24", "10.1.2.0/24"),
            (" 10.1.2.3/0", "10.1.2.3/0", "0.0.0.0/0"),
            ("10.1.2.3", "10.1.2.3/32", "10.1.2.3/32"),
            ("255.255.255.255/32", "255.255.255.255/32", "255.255.255.255/32"),
            ("fd00::1/64", "fd00::1/64", "fd00::/64"),
            ("fd00::1/0", "fd00::1/0", "::/0"),
            ("fd00::1", "fd00::1/128", "fd00::1/128"),
        ] {
            assert_eq!(said(text), Some((shown.into(), network.into())), "{text}");
        }
        for wrong in [
            "",
            "/",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.1/-1",
            "10.0.0.1/8/8",
            "x/1",
        ] {
            assert_eq!(net(wrong), None, "{wrong}");
        }
        assert_eq!(everything("10.1.2.3".parse().unwrap()).to_string(), "0.0.0.0/0");
        assert_eq!(everything("fd00::1".parse().unwrap()).to_string(), "::/0");
    }

    proptest! {
        #[test]
        fn written_is_read(bytes: [u8; 6]) {
            prop_assert_eq!(Mac(bytes).to_string().parse(), Ok(Mac(bytes)));
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = (net(&text), text.parse::<Mac>());
        }
    }
}
