//! The facts that the steps decide from.

use anyhow::{Context, Result, bail};
use skerry_config::types::Config;
use skerry_distribution::Facts;
use skerry_distribution::kubernetes::address::{self, Addresses, NodeAddress};
use skerry_distribution::kubernetes::cluster::Cluster;
use skerry_distribution::kubernetes::paths::{CLUSTER, RUN, TOKEN};
use skerry_distribution::kubernetes::role::Role;
use skerry_distribution::kubernetes::settings::{Settings, Token, settings};
use skerry_sys::file;
use std::path::Path;

const MAX: usize = 4 << 20;

/// The configuration of this boot, and what it means.
pub struct Machine {
    /// As `setup plan` left it.
    pub config: Config,
    /// As `setup plan` left them.
    pub facts: Facts,
    /// Every choice, made.
    pub settings: Settings,
}

/// Reads what `setup plan` left.
pub fn machine() -> Result<Machine> {
    let config: Config = json("/run/skerry/config.json")?;
    let facts: Facts = json("/run/skerry/facts.json")?;
    let (mut settings, _) = settings(&config, &facts);
    // A node that joined: what its cluster says, as it was told last.
    if settings.role != Role::First {
        if let Ok(cluster) = serde_json::from_str::<Cluster>(&text(CLUSTER)) {
            settings = settings.adopting(&cluster);
        }
    }
    Ok(Machine { config, facts, settings })
}

fn json<T: serde::de::DeserializeOwned>(path: &str) -> Result<T> {
    let text = file::read_text(path, MAX)?;
    serde_json::from_str(&text).with_context(|| format!("reading {path}: run `setup plan` to make it anew"))
}

/// The text of a file; empty if it is not there.
pub fn text(path: impl AsRef<Path>) -> String {
    file::read_text(path, MAX).unwrap_or_default()
}

/// The machine's addresses, as netd found them.
pub fn addresses(settings: &Settings) -> Addresses {
    let links: Vec<address::Link> = serde_json::from_str(&text("/run/skerry/network-state.json")).unwrap_or_default();
    address::choose(&links, settings)
}

/// Where the address lies that the running components were started with.
pub fn address_path() -> String {
    format!("{RUN}/address")
}

/// The address that certificates were made for.
pub fn address() -> Result<NodeAddress> {
    let path = address_path();
    text(&path)
        .trim()
        .parse()
        .with_context(|| format!("reading the node's address from {path}: unit kube-certs writes it"))
}

/// A secret of the cluster.
pub fn token(token: &Token) -> Result<String> {
    let path = match token {
        Token::Given(secret) => return Ok(secret.0.trim().to_owned()),
        Token::File(path) => path.as_str(),
        Token::Random => TOKEN,
    };
    let token = file::read_text(path, MAX).with_context(|| format!("reading the cluster's token from {path}"))?;
    if token.trim().is_empty() {
        bail!("reading the cluster's token from {path}: it is empty");
    }
    Ok(token.trim().to_owned())
}

/// Bytes as text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, b| format!("{text}{b:02x}"))
}
