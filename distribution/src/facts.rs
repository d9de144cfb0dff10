//! What an adapter must know of the machine.

use serde::{Deserialize, Serialize};

/// Known when the plan is made: before the network, and the same for the whole boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The node's pinned name.
    pub node_name: String,
    /// Its processor, in Go's words: `amd64`, `arm64`.
    pub arch: String,
    /// How the machine was booted: `disk`, `live`, …
    pub mode: String,
    /// The release that runs.
    pub release: Release,
}

/// `/usr/share/skerry/release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Version of the system.
    pub version: String,
    /// Version of Kubernetes, `v1.36.3`.
    pub kubernetes: String,
    /// The sandbox image's name in containerd.
    pub pause: String,
    /// The CoreDNS image's name in containerd.
    pub coredns: String,
}
