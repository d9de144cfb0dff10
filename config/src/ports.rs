//! Which of the machine's own ports others may reach: the words for them, and what the program that closes the rest is told.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As people and `nft` write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Ports in a row: `tcp/8080`, `udp/5000-5010`; `8080/tcp` is read too. Its first is at most its last, and none is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl Ports {
    /// One TCP port.
    pub const fn tcp(port: u16) -> Self {
        Self::row(Protocol::Tcp, port, port)
    }

    /// One UDP port.
    pub const fn udp(port: u16) -> Self {
        Self::row(Protocol::Udp, port, port)
    }

    /// From one port to another, in either order.
    pub const fn row(protocol: Protocol, a: u16, b: u16) -> Self {
        let (first, last) = if a <= b { (a, b) } else { (b, a) };
        Self { protocol, first, last }
    }

    /// Its protocol.
    pub const fn protocol(self) -> Protocol {
        self.protocol
    }

    /// `8080`, or `5000-5010`.
    pub fn numbers(self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol.word(), self.numbers())
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no port: tcp/8080, or udp/5000-5010");
        let (a, b) = text.trim().split_once('/').ok_or_else(wrong)?;
        let protocol = |word: &str| match word.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        let (protocol, numbers) = match (protocol(a), protocol(b)) {
            (Some(protocol), None) => (protocol, b),
            (None, Some(protocol)) => (protocol, a),
            _ => return Err(wrong()),
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or_else(wrong)
        };
        let (first, last) = match numbers.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(numbers)?, number(numbers)?),
        };
        (first <= last).then_some(Self::row(protocol, first, last)).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Ports {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

/// Ports that are open, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Which.
    pub ports: Ports,
    /// What for, in a word or two.
    pub why: String,
    /// Only while there is an interface of this name; none = always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
}

impl Opening {
    /// Open as long as the machine runs.
    pub fn always(ports: Ports, why: &str) -> Self {
        Self {
            ports,
            why: why.to_owned(),
            with: None,
        }
    }
}

/// What `netd` is told of the firewall.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Firewall {
    /// Whether there is one.
    pub on: bool,
    /// What is open.
    pub open: Vec<Opening>,
    /// Networks of pods, IPv4: what comes from there is not from outside.
    pub pods: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_people_write_them() {
        for (text, expected) in [
            ("tcp/8080", Some("tcp/8080")),
            ("8080/tcp", Some("tcp/8080")),
            (" UDP/5000-5010 ", Some("udp/5000-5010")),
            ("udp/7-7", Some("udp/7")),
            ("tcp/65535", Some("tcp/65535")),
            ("8080", None),
            ("tcp/0", None),
            ("tcp/65536", None),
            ("tcp/9-8", None),
            ("tcp/+8", None),
            ("tcp/", None),
            ("tcp/udp", None),
            ("sctp/8", None),
            ("tcp/8; drop", None),
        ] {
            assert_eq!(text.parse::<Ports>().ok().map(|p| p.to_string()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in ".{0,24}|(tcp|udp)/[0-9]{1,6}(-[0-9]{1,6})?") {
            if let Ok(ports) = text.parse::<Ports>() {
                prop_assert_eq!(ports.to_string().parse(), Ok(ports));
            }
        }
    }
}
