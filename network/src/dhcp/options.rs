//! Values of DHCP options: bytes from a stranger in, bounded lists out.

use skerry_config::address::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// The most of anything that is taken from one message.
const MOST_ADDRESSES: usize = 8;
const MOST_ROUTES: usize = 64;
const MOST_DOMAINS: usize = 6;

/// One address.
pub fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().map(|b| Ipv4Addr::from(*b))
}

/// A list of addresses.
pub fn addresses(bytes: &[u8]) -> Vec<Ipv4Addr> {
    bytes.chunks_exact(4).take(MOST_ADDRESSES).filter_map(address).collect()
}

/// A number of seconds.
pub fn seconds(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// A number of bytes.
pub fn size(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

/// Classless static routes (RFC 3442): prefix length, as many bytes of the network as it needs, gateway. Up to the first that is torn.
pub fn classless_routes(mut bytes: &[u8]) -> Vec<(IpNet, Option<Ipv4Addr>)> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let length = usize::from(prefix).div_ceil(8);
        let (Some(network), Some(gateway)) = (rest.get(..length), rest.get(length..length + 4)) else {
            break;
        };
        if routes.len() == MOST_ROUTES {
            break;
        }
        let mut ip = [0; 4];
        for (to, from) in ip.iter_mut().zip(network) {
            *to = *from;
        }
        let Ok(to) = IpNet::new(IpAddr::V4(ip.into()), prefix) else {
            break;
        };
        let to = to.trunc();
        let via = address(gateway).filter(|ip| !ip.is_unspecified());
        routes.push((to, via));
        bytes = rest.get(length + 4..).unwrap_or_default();
    }
    routes
}

/// The domain name option: one name, in some servers' answers several with spaces.
pub fn domain_names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split([' ', '\0'])
        .filter(|name| is_domain(name))
        .take(MOST_DOMAINS)
        .map(str::to_owned)
        .collect()
}

/// The domain search option (RFC 3397): names as DNS writes them, with pointers backwards.
pub fn domain_search(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MOST_DOMAINS {
        let Some((name, next)) = dns_name(bytes, at) else { break };
        if is_domain(&name) {
            names.push(name);
        }
        at = next;
    }
    names
}

/// The name that begins at `start`, and where the next one begins. A pointer must point backwards, so this ends.
fn dns_name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let (mut at, mut lowest, mut next) = (start, start, None);
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((name, next.unwrap_or(at + 1))),
            1..64 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                if name.len() > 253 {
                    return None;
                }
                at += 1 + usize::from(length);
            }
            192.. => {
                let to = usize::from(length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                next = next.or(Some(at + 2));
                if to >= lowest {
                    return None;
                }
                (at, lowest) = (to, to);
            }
            _ => return None,
        }
    }
}

/// Whether this may be written into resolv.conf as a domain.
pub fn is_domain(name: &str) -> bool {
    let label = |label: &str| (1..64).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classless_routes_as_in_the_rfc() {
        let bytes = [0, 10, 0, 0, 1, 24, 10, 17, 0, 10, 0, 0, 2, 32, 10, 27, 129, 1, 0, 0, 0, 0, 33, 1];
        let routes: Vec<String> = classless_routes(&bytes).iter().map(|(to, via)| format!("{to} {via:?}")).collect();
        assert_eq!(
            routes,
            ["0.0.0.0/0 Some(10.0.0.1)", "10.17.0.0/24 Some(10.0.0.2)", "10.27.129.1/32 None"]
        );
        assert!(classless_routes(&[24, 10, 17]).is_empty());
    }

    #[test]
    fn search_domains_follow_pointers_backwards_only() {
        let bytes = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(domain_search(bytes), ["eng.apple.com", "marketing.apple.com"]);
        assert!(domain_search(b"\xc0\x00").is_empty());
        assert!(domain_search(b"\x01a\xc0\x00").is_empty());
        assert!(
            domain_search(b"\x05a\nb c\x00").is_empty(),
            "nothing that could end a line of resolv.conf"
        );
    }

    #[test]
    fn domain_names_that_are_none_are_left_out() {
        assert_eq!(domain_names(b"lan\0"), ["lan"]);
        assert_eq!(domain_names(b"a.example b.example."), ["a.example", "b.example."]);
        assert!(domain_names(b"evil\nnameserver 6.6.6.6").iter().all(|name| !name.contains('\n')));
        assert!(domain_names(b"..").is_empty() && domain_names(&[255; 40]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(classless_routes(&bytes).len() <= MOST_ROUTES);
            prop_assert!(domain_search(&bytes).len() <= MOST_DOMAINS);
            prop_assert!(domain_names(&bytes).len() <= MOST_DOMAINS);
            prop_assert!(addresses(&bytes).len() <= MOST_ADDRESSES);
        }
    }
}
