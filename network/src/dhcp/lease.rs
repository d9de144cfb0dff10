//! A lease: what a server granted, checked so that it can be put onto an interface.

use crate::dhcp::message::Message;
use serde::{Deserialize, Serialize};
use skerry_config::address::{IpNet, everything};
use std::net::{IpAddr, Ipv4Addr};

/// Bounds of a lease, in seconds: shorter ones would keep the line busy, and this one never ends.
const SHORTEST: u32 = 60;
const FOREVER: u32 = u32::MAX;
/// What a server that says nothing means, in seconds.
const UNSAID: u32 = 3600;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Our address and its prefix.
    pub address: IpNet,
    /// The server that granted it; none = it did not say.
    pub server: Option<Ipv4Addr>,
    /// For how long, in seconds, from the moment the request was sent; `u32::MAX` = for ever.
    pub seconds: u32,
    /// When to ask that server again, in seconds.
    pub renew: u32,
    /// When to ask any server, in seconds.
    pub rebind: u32,
    /// Routes: where to, and by which gateway (none = on the link).
    #[serde(default)]
    pub routes: Vec<(IpNet, Option<Ipv4Addr>)>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// Domains to search.
    #[serde(default)]
    pub search: Vec<String>,
    /// Time servers.
    #[serde(default)]
    pub ntp: Vec<Ipv4Addr>,
    /// Largest packet on this network, in bytes.
    #[serde(default)]
    pub mtu: Option<u16>,
}

impl Lease {
    /// The lease in an OFFER or ACK; none if its address or mask cannot be used.
    pub fn from_message(message: &Message) -> Option<Self> {
        let ip = message.your_ip.filter(|ip| is_host(*ip))?;
        let prefix = match message.subnet_mask {
            Some(mask) => prefix_of(mask)?,
            None => classful(ip),
        };
        let address = IpNet::new(IpAddr::V4(ip), prefix).ok()?;
        let (seconds, renew, rebind) = times(message);
        Some(Self {
            address,
            server: message.server.filter(|ip| is_host(*ip)),
            seconds,
            renew,
            rebind,
            routes: routes(message, ip),
            dns: message.dns.iter().copied().filter(|ip| is_host(*ip)).collect(),
            search: message.search.clone(),
            ntp: message.ntp.iter().copied().filter(|ip| is_host(*ip)).collect(),
            mtu: message.mtu.filter(|mtu| (1280..=9216).contains(mtu)),
        })
    }

    /// Our address, without its prefix.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        match self.address.addr() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }
    }

    /// Whether it never ends.
    pub const fn is_forever(&self) -> bool {
        self.seconds == FOREVER
    }
}

/// An address that one machine on a network can have.
fn is_host(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first != 0 && first < 224 && !ip.is_loopback()
}

/// The length of a mask whose ones are all at its front; neither empty nor torn.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (ones > 0 && bits.checked_shl(ones).unwrap_or(0) == 0).then(|| u8::try_from(ones).unwrap_or(32))
}

/// The prefix of an address in the days before masks (RFC 2131 leaves it to the client).
fn classful(ip: Ipv4Addr) -> u8 {
    match ip.octets() {
        [0..128, ..] => 8,
        [128..192, ..] => 16,
        _ => 24,
    }
}

/// Lease time, T1 and T2, in an order that makes sense: renew < rebind < end.
fn times(message: &Message) -> (u32, u32, u32) {
    let seconds = message.seconds.unwrap_or(UNSAID).max(SHORTEST);
    let part = |eighths: u32| seconds / 8 * eighths;
    match (message.renew, message.rebind) {
        _ if seconds == FOREVER => (FOREVER, FOREVER, FOREVER),
        (Some(renew), Some(rebind)) if renew >= SHORTEST / 2 && renew < rebind && rebind < seconds => (seconds, renew, rebind),
        _ => (seconds, part(4), part(7)),
    }
}

/// Classless routes if there are any, else the first router (RFC 3442: never both).
fn routes(message: &Message, own: Ipv4Addr) -> Vec<(IpNet, Option<Ipv4Addr>)> {
    if !message.routes.is_empty() {
        let usable = |via: Option<Ipv4Addr>| via.is_none_or(|via| is_host(via) && via != own);
        return message.routes.iter().copied().filter(|(_, via)| usable(*via)).collect();
    }
    let router = message.routers.iter().copied().find(|ip| is_host(*ip) && *ip != own);
    router.map(|ip| (everything(IpAddr::V4(ip)), Some(ip))).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Message {
        Message {
            your_ip: Some(Ipv4Addr::new(10, 0, 2, 15)),
            subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            ..Message::default()
        }
    }

    #[test]
    fn addresses_and_masks_that_no_host_can_have_are_refused() {
        for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            assert_eq!(
                Lease::from_message(&Message {
                    your_ip: Some(ip.into()),
                    ..offer()
                }),
                None
            );
        }
        for mask in [[0, 0, 0, 0], [255, 0, 255, 0], [0, 0, 0, 255]] {
            assert_eq!(
                Lease::from_message(&Message {
                    subnet_mask: Some(mask.into()),
                    ..offer()
                }),
                None
            );
        }
        let prefix = |mask| {
            Lease::from_message(&Message {
                subnet_mask: mask,
                ..offer()
            })
            .map(|l| l.address.prefix_len())
        };
        assert_eq!(prefix(Some([255, 255, 255, 255].into())), Some(32));
        assert_eq!(prefix(None), Some(8));
    }

    #[test]
    fn times_are_put_in_order() {
        let times = |seconds, renew, rebind| {
            super::times(&Message {
                seconds,
                renew,
                rebind,
                ..offer()
            })
        };
        assert_eq!(times(Some(3600), Some(1000), Some(2000)), (3600, 1000, 2000));
        assert_eq!(times(Some(3600), Some(3000), Some(2000)), (3600, 1800, 3150));
        assert_eq!(times(Some(3600), Some(0), Some(2000)), (3600, 1800, 3150));
        assert_eq!(times(Some(0), None, None), (60, 28, 49));
        assert_eq!(times(None, None, None), (3600, 1800, 3150));
        assert_eq!(times(Some(u32::MAX), Some(1), Some(2)), (u32::MAX, u32::MAX, u32::MAX));
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let router = Ipv4Addr::new(10, 0, 2, 2);
        let mut message = Message {
            routers: vec![Ipv4Addr::UNSPECIFIED, router],
            ..offer()
        };
        assert_eq!(
            routes(&message, [10, 0, 2, 15].into()),
            [("0.0.0.0/0".parse().unwrap(), Some(router))]
        );
        message.routes = vec![("10.9.0.0/16".parse().unwrap(), Some(router))];
        assert_eq!(routes(&message, [10, 0, 2, 15].into()), message.routes);
    }
}
