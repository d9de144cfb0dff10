//! What this node is to its cluster: the one that makes it, a further server, or a worker.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// The API server's port, where an address does not name one.
pub const PORT: u16 = 6443;

/// A node's part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Role {
    /// A server that makes the cluster.
    #[default]
    First,
    /// A further server, which joins by these.
    Server(Vec<Endpoint>),
    /// A worker, which joins by these.
    Worker(Vec<Endpoint>),
}

impl Role {
    /// Whether the control plane runs here.
    pub fn is_server(&self) -> bool {
        !matches!(self, Self::Worker(_))
    }
    /// The servers that are joined; none for the one that makes the cluster.
    pub fn servers(&self) -> &[Endpoint] {
        match self {
            Self::First => &[],
            Self::Server(servers) | Self::Worker(servers) => servers,
        }
    }
}

/// Where an API server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `https://HOST[:PORT][/]`, the form of k3s's `--server`, or without its scheme.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return None,
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, Some("")),
            },
        };
        let port = match port? {
            "" if rest.ends_with(':') => return None,
            "" => PORT,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|p| *p > 0)?,
            _ => return None,
        };
        let host = host.to_ascii_lowercase();
        let known = host.parse::<IpAddr>().is_ok() || (super::node::is_subdomain(&host) && !looks_numeric(&host));
        known.then_some(Self { host, port })
    }

    /// The address, where it is one.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        self.host.parse().ok()
    }
}

/// `10.0.0.300` is no name: no top-level domain is a number (RFC 3696 §2).
fn looks_numeric(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()))
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_servers() {
        let read = |t: &str| Endpoint::parse(t).map(|e| e.to_string());
        for (text, want) in [
            ("https://10.0.0.1:6443", "10.0.0.1:6443"),
            ("https://10.0.0.1", "10.0.0.1:6443"),
            (" https://Edge.Example.org:443/ ", "edge.example.org:443"),
            ("server-1", "server-1:6443"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443"),
            ("[fd00::1]", "[fd00::1]:6443"),
        ] {
            assert_eq!(read(text).as_deref(), Some(want), "{text}");
        }
        for bad in [
            "",
            "http://10.0.0.1:6443",
            "https://",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a:6443/path",
            "https://a b",
            "https://10.0.0.300",
            "[fd00::1]x",
            "fd00::1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "(https://)?[a-z0-9.\\[\\]:]{0,20}(:[0-9]{1,5})?/?") {
            if let Some(one) = Endpoint::parse(&text) {
                prop_assert_eq!(Endpoint::parse(&one.to_string()), Some(one));
            }
        }
    }
}
