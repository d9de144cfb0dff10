//! A lease: what a server granted, checked so that it can be put onto an interface.

use crate::dhcp6::message::{Granted, Message};
use std::net::Ipv6Addr;

/// Bounds, in seconds: shorter ones would keep the line busy, and this one never ends.
const SHORTEST: u32 = 60;
const FOREVER: u32 = u32::MAX;
/// When to ask for information again: what is meant by silence, and the least (RFC 8415 §21.23).
const REFRESH: u32 = 86_400;
const REFRESH_LEAST: u32 = 600;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease6 {
    /// Our address; none = it only told something.
    pub address: Option<Ipv6Addr>,
    /// The server's name for itself.
    pub server: Vec<u8>,
    /// For how long, in seconds, from the moment the question was sent; `u32::MAX` = for ever.
    pub seconds: u32,
    /// When to ask that server again, in seconds.
    pub renew: u32,
    /// When to ask any server, in seconds.
    pub rebind: u32,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv6Addr>,
}

impl Lease6 {
    /// The lease in an answer; none if it grants no address that can be used.
    pub fn address(message: &Message) -> Option<Self> {
        let usable = |granted: &&Granted| is_host(granted.ip) && granted.valid > 0;
        let granted = message.addresses.iter().find(usable).filter(|_| message.status == 0)?;
        let seconds = granted.valid.max(SHORTEST);
        let part = |eighths: u32| seconds / 8 * eighths;
        let (renew, rebind) = match (message.renew, message.rebind) {
            _ if seconds == FOREVER => (FOREVER, FOREVER),
            (renew, rebind) if renew >= SHORTEST / 2 && renew < rebind && rebind < seconds => (renew, rebind),
            _ => (part(4), part(6)),
        };
        Some(Self {
            address: Some(granted.ip),
            seconds,
            renew,
            rebind,
            ..Self::told(message)
        })
    }

    /// An address that is there, of which nothing else is known: for ten minutes.
    pub const fn held(ip: Ipv6Addr) -> Self {
        Self {
            address: Some(ip),
            server: Vec::new(),
            seconds: 600,
            renew: 300,
            rebind: 300,
            dns: Vec::new(),
            search: Vec::new(),
            ntp: Vec::new(),
        }
    }

    /// What an answer tells besides: to be asked for again after `renew`.
    pub fn information(message: &Message) -> Option<Self> {
        (message.status == 0).then(|| Self::told(message))
    }

    fn told(message: &Message) -> Self {
        let hosts = |list: &[Ipv6Addr]| list.iter().copied().filter(|ip| is_host(*ip)).collect();
        Self {
            address: None,
            server: message.server.clone(),
            seconds: FOREVER,
            renew: message.refresh.unwrap_or(REFRESH).max(REFRESH_LEAST),
            rebind: FOREVER,
            dns: hosts(&message.dns),
            search: message.search.clone(),
            ntp: hosts(&message.ntp),
        }
    }

    /// Whether it never ends.
    pub const fn is_forever(&self) -> bool {
        self.seconds == FOREVER
    }
}

/// An address that one machine can have, and that means the same on every link.
fn is_host(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp6::message::Kind;

    fn message(addresses: &[(&str, u32)], status: u16, times: (u32, u32)) -> Message {
        let granted = |(ip, valid): &(&str, u32)| Granted {
            ip: ip.parse().unwrap(),
            preferred: *valid,
            valid: *valid,
        };
        Message {
            kind: Kind::Reply,
            transaction: 1,
            client: vec![1],
            server: vec![2],
            status,
            rapid: false,
            renew: times.0,
            rebind: times.1,
            addresses: addresses.iter().map(granted).collect(),
            dns: ["::1", "fd77::3", "ff02::1", "fe80::1"]
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect(),
            search: vec![],
            ntp: vec![],
            refresh: Some(5),
        }
    }

    #[test]
    fn times_make_sense_whatever_a_server_says() {
        for (valid, said, expected) in [
            (3600, (1800, 2880), (3600, 1800, 2880)),
            (3600, (0, 0), (3600, 1800, 2700)),
            (3600, (2880, 1800), (3600, 1800, 2700)),
            (3600, (1800, 9999), (3600, 1800, 2700)),
            (1, (0, 0), (60, 28, 42)),
            (u32::MAX, (5, 6), (u32::MAX, u32::MAX, u32::MAX)),
        ] {
            let lease = Lease6::address(&message(&[("fd77::5", valid)], 0, said)).unwrap();
            assert_eq!((lease.seconds, lease.renew, lease.rebind), expected, "{valid} {said:?}");
        }
    }

    #[test]
    fn addresses_that_no_machine_can_have_are_refused() {
        for bad in ["::", "::1", "ff02::1", "fe80::5", "::ffff:10.0.0.1"] {
            assert_eq!(Lease6::address(&message(&[(bad, 3600)], 0, (0, 0))), None, "{bad}");
        }
        assert_eq!(Lease6::address(&message(&[("fd77::5", 0)], 0, (0, 0))), None, "no longer valid");
        assert_eq!(Lease6::address(&message(&[("fd77::5", 60)], 3, (0, 0))), None, "a status");
        let second = Lease6::address(&message(&[("::1", 60), ("fd77::6", 60)], 0, (0, 0))).unwrap();
        assert_eq!(second.address, Some("fd77::6".parse().unwrap()));
        assert_eq!(second.dns, ["fd77::3".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(Lease6::information(&message(&[], 0, (0, 0))).unwrap().renew, 600);
    }
}
