//! Messages: bytes from a stranger in, a bounded value out; a question in, bytes out.
//!
//! Our own codec: the kept crate for it needs a newer Rust than ours, and brings a DNS library with async parts for its domain lists.

use crate::dhcp::options::domain_search;
use skerry_config::address::Mac;
use std::net::Ipv6Addr;

/// The most of anything that is taken from one message.
const MOST_OPTIONS: usize = 64;
const MOST_ADDRESSES: usize = 8;
/// RFC 8415 §11.1: what names a client or a server is at most this long.
const MOST_NAME: usize = 130;

mod kind {
    pub const SOLICIT: u8 = 1;
    pub const ADVERTISE: u8 = 2;
    pub const REQUEST: u8 = 3;
    pub const RENEW: u8 = 5;
    pub const REBIND: u8 = 6;
    pub const REPLY: u8 = 7;
    pub const INFORMATION: u8 = 11;
}

mod option {
    pub const CLIENT: u16 = 1;
    pub const SERVER: u16 = 2;
    pub const ADDRESSES: u16 = 3;
    pub const ADDRESS: u16 = 5;
    pub const WISHES: u16 = 6;
    pub const ELAPSED: u16 = 8;
    pub const STATUS: u16 = 13;
    pub const RAPID: u16 = 14;
    pub const DNS: u16 = 23;
    pub const SEARCH: u16 = 24;
    pub const SNTP: u16 = 31;
    pub const REFRESH: u16 = 32;
    pub const NAME: u16 = 39;
    pub const NTP: u16 = 56;
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Which servers have an address?
    Solicit,
    /// Give me what you offered.
    Request,
    /// Prolong it, you who gave it.
    Renew,
    /// Prolong it, anybody.
    Rebind,
    /// Tell me what else you know.
    Information,
}

/// A question to all servers on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// 24 bits that the answer repeats.
    pub transaction: u32,
    /// Hundredths of a second since the exchange began.
    pub elapsed: u16,
    /// Who asks: a hardware address.
    pub mac: Mac,
    /// Which server is meant; none = any.
    pub server: Option<Vec<u8>>,
    /// The address that was offered or granted.
    pub address: Option<Ipv6Addr>,
    /// This machine's name, for servers' tables.
    pub host_name: Option<String>,
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It could give this.
    Advertise,
    /// It gives this.
    Reply,
}

/// An address, and for how long, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The address.
    pub ip: Ipv6Addr,
    /// New connections may begin from it for so long.
    pub preferred: u32,
    /// It may be used for so long; 0 = no more.
    pub valid: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What the question had.
    pub transaction: u32,
    /// Whom it is for.
    pub client: Vec<u8>,
    /// Who says it.
    pub server: Vec<u8>,
    /// 0 = all is well: of the message, or of the addresses asked for.
    pub status: u16,
    /// It grants at once what was only asked about.
    pub rapid: bool,
    /// When to renew and to rebind, in seconds; 0 = as we like.
    pub renew: u32,
    /// See `renew`.
    pub rebind: u32,
    /// The addresses for what we asked with.
    pub addresses: Vec<Granted>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv6Addr>,
    /// When to ask for information again, in seconds.
    pub refresh: Option<u32>,
}

/// How a client names itself: by its hardware address (DUID-LL), which is the same at each boot.
pub fn duid(mac: Mac) -> Vec<u8> {
    [&[0, 3, 0, 1][..], &mac.0].concat()
}

/// How a client numbers its one address.
fn iaid(mac: Mac) -> [u8; 4] {
    let [_, _, a, b, c, d] = mac.0;
    [a, b, c, d]
}

/// Reads an answer; none if it is no answer, or torn where it matters.
pub fn decode(bytes: &[u8], mac: Mac) -> Option<Message> {
    let ([kind, a, b, c], options) = bytes.split_first_chunk::<4>()?;
    let mut message = Message {
        kind: match *kind {
            kind::ADVERTISE => Kind::Advertise,
            kind::REPLY => Kind::Reply,
            _ => return None,
        },
        transaction: u32::from_be_bytes([0, *a, *b, *c]),
        client: vec![],
        server: vec![],
        status: 0,
        rapid: false,
        renew: 0,
        rebind: 0,
        addresses: vec![],
        dns: vec![],
        search: vec![],
        ntp: vec![],
        refresh: None,
    };
    for (code, value) in each(options) {
        match code {
            option::CLIENT => message.client = name(value)?,
            option::SERVER => message.server = name(value)?,
            option::ADDRESSES => granted(value, mac, &mut message),
            option::STATUS => message.status = status(value).unwrap_or(0).max(message.status),
            option::RAPID => message.rapid = true,
            option::DNS => message.dns = addresses(value),
            option::SEARCH => message.search = domain_search(value),
            option::SNTP if message.ntp.is_empty() => message.ntp = addresses(value),
            option::NTP => message.ntp = time_servers(value),
            option::REFRESH => message.refresh = seconds(value),
            _ => {}
        }
    }
    (!message.server.is_empty()).then_some(message)
}

/// The options, up to the first that is torn.
fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let (value, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((u16::from_be_bytes([*a, *b]), value))
    })
    .take(MOST_OPTIONS)
}

fn name(bytes: &[u8]) -> Option<Vec<u8>> {
    (1..=MOST_NAME).contains(&bytes.len()).then(|| bytes.to_vec())
}

fn status(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn seconds(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b))
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    bytes.first_chunk::<16>().map(|b| Ipv6Addr::from(*b))
}

fn addresses(bytes: &[u8]) -> Vec<Ipv6Addr> {
    bytes.chunks_exact(16).take(MOST_ADDRESSES).filter_map(address).collect()
}

/// RFC 5908: of its three forms the plain address.
fn time_servers(bytes: &[u8]) -> Vec<Ipv6Addr> {
    let plain = each(bytes).filter(|(code, _)| *code == 1);
    plain.filter_map(|(_, value)| address(value)).take(MOST_ADDRESSES).collect()
}

/// The addresses for the number that is ours.
fn granted(bytes: &[u8], mac: Mac, message: &mut Message) {
    let Some((number, rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let (Some(renew), Some(rebind)) = (seconds(rest), rest.get(4..).and_then(seconds)) else {
        return;
    };
    if *number != iaid(mac) {
        return;
    }
    (message.renew, message.rebind) = (renew, rebind);
    for (code, value) in each(rest.get(8..).unwrap_or_default()) {
        match code {
            option::STATUS => message.status = status(value).unwrap_or(0).max(message.status),
            option::ADDRESS if message.addresses.len() < MOST_ADDRESSES => {
                let times = value.get(16..).unwrap_or_default();
                let times = seconds(times).zip(times.get(4..).and_then(seconds));
                if let (Some(ip), Some((preferred, valid))) = (address(value), times) {
                    message.addresses.push(Granted { ip, preferred, valid });
                }
            }
            _ => {}
        }
    }
}

/// Writes a question.
pub fn encode(question: &Question) -> Vec<u8> {
    let kind = match question.ask {
        Ask::Solicit => kind::SOLICIT,
        Ask::Request => kind::REQUEST,
        Ask::Renew => kind::RENEW,
        Ask::Rebind => kind::REBIND,
        Ask::Information => kind::INFORMATION,
    };
    let [_, a, b, c] = question.transaction.to_be_bytes();
    let mut bytes = vec![kind, a, b, c];
    put(&mut bytes, option::CLIENT, &duid(question.mac));
    if let Some(server) = &question.server {
        put(&mut bytes, option::SERVER, server);
    }
    put(&mut bytes, option::ELAPSED, &question.elapsed.to_be_bytes());
    let mut wishes = vec![option::DNS, option::SEARCH, option::SNTP, option::NTP];
    if question.ask == Ask::Information {
        wishes.push(option::REFRESH);
    } else {
        let mut ours = iaid(question.mac).to_vec();
        ours.extend([0; 8]);
        if let Some(ip) = question.address {
            let times = [0; 8];
            put(&mut ours, option::ADDRESS, &[&ip.octets()[..], &times].concat());
        }
        put(&mut bytes, option::ADDRESSES, &ours);
        if let Some(name) = question.host_name.as_deref().and_then(partial_name) {
            put(&mut bytes, option::NAME, &name);
        }
    }
    let wishes: Vec<u8> = wishes.iter().flat_map(|code| code.to_be_bytes()).collect();
    put(&mut bytes, option::WISHES, &wishes);
    if question.ask == Ask::Solicit {
        put(&mut bytes, option::RAPID, &[]);
    }
    bytes
}

/// One label without an end (RFC 4704 §4.2), and no wish about who tells the DNS.
fn partial_name(label: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
    Some([&[0, length], label.as_bytes()].concat())
}

fn put(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    // What is put is ours and short.
    let length = u16::try_from(value.len()).unwrap_or(0);
    bytes.extend(code.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(value.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// Written by hand, after RFC 8415. What dnsmasq says is read in `tests/netns.rs`.
    const ANSWER: &str = "02 abcdef
        0001 000a 0003 0001 020000000001
        0002 000e 0001 0001 2f000000 525400123456
        0003 0028 00000001 00000708 00000c4e
             0005 0018 fd770000000000000000000000000055 00000e10 00000e10
        000d 0009 0000 73756363657373
        0017 0010 fd770000000000000000000000000003
        0018 000d 036c616e076578616d706c6500";

    #[test]
    fn an_answer_is_read() {
        let message = decode(&hex(ANSWER), MAC).unwrap();
        assert_eq!(
            (message.kind, message.transaction, message.status),
            (Kind::Advertise, 0x00ab_cdef, 0)
        );
        assert_eq!(message.client, duid(MAC));
        assert_eq!((message.renew, message.rebind, message.addresses.len()), (1800, 3150, 1));
        assert_eq!(message.addresses[0].ip, "fd77::55".parse::<Ipv6Addr>().unwrap());
        assert_eq!(message.addresses[0].valid, 3600);
        assert_eq!(message.dns, ["fd77::3".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(message.search, ["lan.example"]);
        let of_another = decode(&hex(ANSWER), Mac([2, 0, 0, 0, 0, 9])).unwrap();
        assert!(of_another.addresses.is_empty(), "a number that is not ours");
    }

    #[test]
    fn a_question_is_written() {
        let question = Question {
            ask: Ask::Solicit,
            transaction: 0x00ab_cdef,
            elapsed: 0,
            mac: MAC,
            server: None,
            address: None,
            host_name: Some("rock".into()),
        };
        let expected = "01 abcdef 0001 000a 0003 0001 020000000001 0008 0002 0000 0003 000c 00000001 00000000 00000000
            0027 0006 00 04 726f636b 0006 0008 0017 0018 001f 0038 000e 0000";
        assert_eq!(encode(&question), hex(expected));
        let renew = Question {
            ask: Ask::Renew,
            server: Some(vec![7; 4]),
            address: Some("fd77::55".parse().unwrap()),
            ..question.clone()
        };
        let bytes = encode(&renew);
        assert_eq!(bytes[0], 5);
        assert!(bytes.windows(8).any(|w| w == [0, 2, 0, 4, 7, 7, 7, 7]));
        assert!(bytes.windows(4).any(|w| w == [0, 5, 0, 24]) && !bytes.windows(4).any(|w| w == [0, 14, 0, 0]));
        let information = Question {
            ask: Ask::Information,
            ..question
        };
        assert!(each(&encode(&information)[4..]).all(|(code, _)| code != option::ADDRESSES));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Any bytes, and mutilated answers, which come further.
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..600), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>()) {
            let mut answer = hex(ANSWER);
            for (at, value) in changes {
                let at = at.index(answer.len());
                answer[at] = value;
            }
            answer.truncate(cut.index(answer.len() + 1));
            let mut typed = bytes.clone();
            if let Some(first) = typed.first_mut() {
                *first = kind::REPLY;
            }
            for bytes in [bytes, typed, answer] {
                if let Some(message) = decode(&bytes, MAC) {
                    prop_assert!(message.addresses.len() <= MOST_ADDRESSES && message.dns.len() <= MOST_ADDRESSES);
                    prop_assert!(message.ntp.len() <= MOST_ADDRESSES && message.search.len() <= 6);
                    prop_assert!((1..=MOST_NAME).contains(&message.server.len()) && message.client.len() <= MOST_NAME);
                    prop_assert!(message.search.iter().all(|name| crate::dhcp::options::is_domain(name)));
                }
            }
        }
    }
}
