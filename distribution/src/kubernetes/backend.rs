//! How pods of different nodes reach each other: k3s's `--flannel-backend`, by its names.

use serde::{Deserialize, Serialize};

/// A way between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// VXLAN where nodes do not share a link, plain routes where they do.
    #[default]
    Vxlan,
    /// Plain routes; the nodes share a link.
    HostGw,
    /// Encrypted.
    Wireguard,
    /// Ours is off: somebody else's CNI.
    None,
}

impl Backend {
    /// Reads k3s's word; `wireguard-native` and its older spelling are one.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "vxlan" => Some(Self::Vxlan),
            "host-gw" => Some(Self::HostGw),
            "wireguard" | "wireguard-native" => Some(Self::Wireguard),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}
