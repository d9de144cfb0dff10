//! DHCP messages: our own, encoded; a server's, decoded into plain values.

use crate::dhcp::options;
use skerry_config::address::{IpNet, Mac};
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;
const MTU: u8 = 26;
const NTP: u8 = 42;
const LEASE_TIME: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const WHY: u8 = 56;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const RAPID_COMMIT: u8 = 80;
const DOMAIN_SEARCH: u8 = 119;
const CLASSLESS_ROUTES: u8 = 121;

const WANTED: [u8; 11] = [
    SUBNET_MASK,
    CLASSLESS_ROUTES,
    ROUTER,
    DNS,
    DOMAIN_NAME,
    DOMAIN_SEARCH,
    NTP,
    MTU,
    LEASE_TIME,
    RENEW,
    REBIND,
];
/// What a server sends is marked so.
const REPLY: u8 = 2;
const COOKIE: u32 = 0x6382_5363;
/// Length of a message's fixed part.
const FIXED: usize = 240;
/// Some servers and relays drop what is shorter than a BOOTP message.
const SHORTEST: usize = 300;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Is there a server?
    Discover,
    /// This you could have.
    Offer,
    /// I take it; or: may I keep it?
    Request,
    /// Yes.
    Ack,
    /// No.
    Nak,
}

/// What a server said: only what we use, each value checked for its form and bounded in number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What it is; none = something that is not for clients.
    pub kind: Option<Kind>,
    /// The number of the exchange it belongs to.
    pub transaction: u32,
    /// The hardware address it is meant for.
    pub mac: Option<[u8; 6]>,
    /// The address it offers or grants.
    pub your_ip: Option<Ipv4Addr>,
    /// The server's name for itself.
    pub server: Option<Ipv4Addr>,
    /// Mask of the network.
    pub subnet_mask: Option<Ipv4Addr>,
    /// Routers, best first.
    pub routers: Vec<Ipv4Addr>,
    /// Classless static routes.
    pub routes: Vec<(IpNet, Option<Ipv4Addr>)>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// Largest packet, in bytes.
    pub mtu: Option<u16>,
    /// Length of the lease.
    pub seconds: Option<u32>,
    /// T1.
    pub renew: Option<u32>,
    /// T2.
    pub rebind: Option<u32>,
    /// The server skips the offer (RFC 4039).
    pub rapid: bool,
    /// Why not, in the server's words.
    pub why: Option<String>,
}

/// Reads a server's message; none if it is not one.
pub fn decode(bytes: &[u8]) -> Option<Message> {
    let packet = DhcpPacket::new_checked(bytes).ok()?;
    if bytes.len() < FIXED || packet.magic_number() != COOKIE || bytes.first() != Some(&REPLY) {
        return None;
    }
    // An option that comes several times is one long value (RFC 3396).
    let mut values: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for option in packet.options() {
        values.entry(option.kind).or_default().extend_from_slice(option.data);
    }
    let value = |kind: u8| values.get(&kind).map(Vec::as_slice);
    let list = |kind: u8| value(kind).map(options::addresses).unwrap_or_default();
    let mut search = value(DOMAIN_SEARCH).map(options::domain_search).unwrap_or_default();
    if search.is_empty() {
        search = value(DOMAIN_NAME).map(options::domain_names).unwrap_or_default();
    }
    Some(Message {
        kind: match value(KIND) {
            Some([2]) => Some(Kind::Offer),
            Some([5]) => Some(Kind::Ack),
            Some([6]) => Some(Kind::Nak),
            _ => None,
        },
        transaction: packet.transaction_id(),
        mac: Some(packet.client_hardware_address().0),
        your_ip: Some(packet.your_ip()).filter(|ip| !ip.is_unspecified()),
        server: value(SERVER).and_then(options::address),
        subnet_mask: value(SUBNET_MASK).and_then(options::address),
        routers: list(ROUTER),
        routes: value(CLASSLESS_ROUTES).map(options::classless_routes).unwrap_or_default(),
        dns: list(DNS),
        search,
        ntp: list(NTP),
        mtu: value(MTU).and_then(options::size),
        seconds: value(LEASE_TIME).and_then(options::seconds),
        renew: value(RENEW).and_then(options::seconds),
        rebind: value(REBIND).and_then(options::seconds),
        rapid: value(RAPID_COMMIT).is_some(),
        why: value(WHY).map(|bytes| {
            String::from_utf8_lossy(bytes)
                .chars()
                .filter(|c| !c.is_control())
                .take(120)
                .collect()
        }),
    })
}

/// What we send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// `Discover` or `Request`.
    pub kind: Kind,
    /// The number of the exchange.
    pub transaction: u32,
    /// Seconds since we began to ask.
    pub elapsed: u16,
    /// Our hardware address.
    pub mac: Mac,
    /// The address we have and use.
    pub own: Option<Ipv4Addr>,
    /// The address we would like.
    pub wish: Option<Ipv4Addr>,
    /// The server whose offer we take.
    pub server: Option<Ipv4Addr>,
    /// Our name, for the server's table.
    pub host_name: Option<String>,
}

/// Writes our message.
pub fn encode(question: &Question) -> Vec<u8> {
    let name = question
        .host_name
        .as_deref()
        .filter(|name| (1..=63).contains(&name.len()))
        .map(str::as_bytes);
    let mut extra = Vec::new();
    if let Some(data) = name {
        extra.push(DhcpOption { kind: HOST_NAME, data });
    }
    if question.kind == Kind::Discover {
        extra.push(DhcpOption {
            kind: RAPID_COMMIT,
            data: &[],
        });
    }
    let mac = EthernetAddress(question.mac.0);
    let repr = DhcpRepr {
        message_type: if question.kind == Kind::Discover {
            DhcpMessageType::Discover
        } else {
            DhcpMessageType::Request
        },
        transaction_id: question.transaction,
        secs: question.elapsed,
        client_hardware_address: mac,
        client_ip: question.own.unwrap_or(Ipv4Addr::UNSPECIFIED),
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: question.wish,
        client_identifier: Some(mac),
        server_identifier: question.server,
        parameter_request_list: Some(&WANTED),
        dns_servers: None,
        max_size: Some(1472),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &extra,
    };
    let mut bytes = vec![0; repr.buffer_len().max(SHORTEST)];
    let mut packet = DhcpPacket::new_unchecked(&mut *bytes);
    if repr.emit(&mut packet).is_err() {
        // The buffer was made for what is written: this cannot be. Nothing is sent, and the retransmission will tell.
        return Vec::new();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server's message with these options.
    fn reply(options: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[0] = REPLY;
        bytes[1] = 1;
        bytes[2] = 6;
        bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        bytes[236..240].copy_from_slice(&COOKIE.to_be_bytes());
        for option in options {
            bytes.extend_from_slice(option);
        }
        bytes.push(255);
        bytes
    }

    fn question() -> Question {
        Question {
            kind: Kind::Discover,
            transaction: 0x0102_0304,
            elapsed: 3,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            own: None,
            wish: Some([10, 0, 2, 15].into()),
            server: None,
            host_name: Some("node".into()),
        }
    }

    #[test]
    fn an_ack_is_read_in_full() {
        let bytes = reply(&[
            &[KIND, 1, 5],
            &[SERVER, 4, 10, 0, 2, 2],
            &[SUBNET_MASK, 4, 255, 255, 255, 0],
            &[ROUTER, 4, 10, 0, 2, 2],
            &[DNS, 4, 10, 0, 2, 3],
            &[DNS, 4, 10, 0, 2, 4],
            &[DOMAIN_NAME, 3, b'l', b'a', b'n'],
            &[NTP, 4, 10, 0, 2, 5],
            &[MTU, 2, 5, 0xb4],
            &[LEASE_TIME, 4, 0, 1, 0x51, 0x80],
            &[RAPID_COMMIT, 0],
        ]);
        let message = decode(&bytes).unwrap();
        assert_eq!(
            (message.kind, message.transaction, message.mac),
            (Some(Kind::Ack), 7, Some([2, 0, 0, 0, 0, 1]))
        );
        assert_eq!(
            (message.your_ip, message.server),
            (Some([10, 0, 2, 15].into()), Some([10, 0, 2, 2].into()))
        );
        assert_eq!(message.dns, [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(10, 0, 2, 4)]);
        assert_eq!(
            (message.search.as_slice(), message.mtu, message.seconds),
            (&["lan".to_owned()][..], Some(1460), Some(86400))
        );
        assert!(message.rapid);
    }

    #[test]
    fn what_is_no_servers_message_is_not_read() {
        let good = reply(&[&[KIND, 1, 2]]);
        assert!(decode(&good).is_some());
        let damaged = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            decode(&bytes)
        };
        assert_eq!(damaged(0, 1), None, "a client's");
        assert_eq!(damaged(236, 0), None, "not DHCP");
        assert_eq!(decode(&good[..239]), None);
        assert_eq!(decode(&reply(&[&[KIND, 1, 8]])).and_then(|m| m.kind), None);
        assert_eq!(
            decode(&reply(&[&[KIND, 9, 5]])).and_then(|m| m.kind),
            None,
            "an option that runs over the end"
        );
    }

    #[test]
    fn our_question_says_what_we_want() {
        let bytes = encode(&question());
        assert_eq!((bytes.first(), bytes.len() >= SHORTEST), (Some(&1), true));
        let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
        let option = |kind: u8| packet.options().find(|o| o.kind == kind).map(|o| o.data.to_vec());
        assert_eq!(option(KIND), Some(vec![1]));
        assert_eq!(option(50), Some(vec![10, 0, 2, 15]));
        assert_eq!(option(HOST_NAME), Some(b"node".to_vec()));
        assert_eq!(option(61), Some(vec![1, 2, 0, 0, 0, 0, 1]));
        assert_eq!(option(55), Some(WANTED.to_vec()));
        assert_eq!((packet.transaction_id(), packet.secs()), (0x0102_0304, 3));
        let long = Question {
            host_name: Some("x".repeat(300)),
            ..question()
        };
        assert!(!encode(&long).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = decode(&bytes);
        }
        #[test]
        fn no_options_panic(options in proptest::collection::vec(any::<u8>(), 0..500)) {
            let message = decode(&reply(&[&[KIND, 1, 5], &options]));
            prop_assert!(message.is_some_and(|m| m.dns.len() <= 8 && m.routes.len() <= 64 && m.search.len() <= 6));
        }
        #[test]
        fn any_question_is_read_back(transaction: u32, elapsed: u16, own: Option<[u8; 4]>, name: Option<String>) {
            let bytes = encode(&Question { transaction, elapsed, own: own.map(Into::into), host_name: name, ..question() });
            let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
            prop_assert_eq!((packet.transaction_id(), packet.secs()), (transaction, elapsed));
            prop_assert_eq!(packet.client_ip(), own.map_or(Ipv4Addr::UNSPECIFIED, Into::into));
        }
    }
}
