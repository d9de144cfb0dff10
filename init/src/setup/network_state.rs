//! What netd found out about the network, as it leaves it in `/run/skerry/network-state.json`.

use crate::root::Root;
use serde::{Deserialize, Serialize};

const PATH: &str = "/run/skerry/network-state.json";

/// The state of all interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkState(pub Vec<Link>);

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// The kernel's name of it.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// Whether it has a carrier and is up.
    pub up: bool,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// One address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// `10.0.2.15/24`.
    pub address: String,
    /// `dhcp4`, `static`, `ra`.
    pub origin: String,
}

/// Reads it; nothing if netd has not written it (yet).
pub fn read(root: &Root) -> NetworkState {
    root.text(PATH)
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

impl NetworkState {
    /// All addresses that others can reach, without prefix lengths, in the interfaces' order; IPv4 first.
    pub fn addresses(&self) -> Vec<String> {
        let bare = self.0.iter().flat_map(|l| &l.addresses).filter_map(|a| a.address.split('/').next());
        let mut all: Vec<String> = bare
            .filter(|a| !a.is_empty() && !a.starts_with("fe80:"))
            .map(str::to_owned)
            .collect();
        all.sort_by_key(|a| a.contains(':'));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found() {
        let text = r#"[{"name":"eth0","mac":"52:54:00:12:34:56","up":true,"addresses":[{"address":"fec0::1/64","origin":"ra"},
            {"address":"fe80::1/64","origin":"ra"},{"address":"10.0.2.15/24","origin":"dhcp4"}],"gateway":"10.0.2.2","dns":["10.0.2.3"],"ntp":[]}]"#;
        let state: NetworkState = serde_json::from_str(text).unwrap();
        assert_eq!(state.addresses(), ["10.0.2.15", "fec0::1"]);
    }
}
