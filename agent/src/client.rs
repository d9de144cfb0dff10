//! How the API is reached, and as whom.

use crate::issue::{self, Credentials};
use crate::places::Places;
use crate::x509;
use anyhow::{Context, Result};
use kube::{Client, Config};
use skerry_distribution::kubernetes::{base64, kubeconfig};
use skerry_sys::file;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A name that every API server's certificate holds, whatever address it is reached by.
pub const SERVER_NAME: &str = "kubernetes";
/// No certificate, key or kubeconfig is larger, bytes.
const LARGEST: usize = 1 << 20;

/// The clock, in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What a node's kubeconfig holds.
pub struct Node {
    /// The authority, PEM.
    pub ca: Vec<u8>,
    /// Its certificate and key.
    pub credentials: Credentials,
}

/// Reads `kubelet.conf`.
pub fn kubelet_conf(places: &Places) -> Result<Node> {
    let path = places.kubelet_conf();
    let doing = || format!("reading {}: not a node's kubeconfig", path.display());
    let text = read(&path)?;
    let certificate = kubeconfig::client_certificate(&text).with_context(doing)?;
    let both = kubeconfig::identity(&text).with_context(doing)?;
    let key = both.get(certificate.len()..).unwrap_or_default().to_vec();
    Ok(Node {
        ca: kubeconfig::authority(&text).with_context(doing)?,
        credentials: Credentials {
            certificate: String::from_utf8(certificate).with_context(doing)?,
            key: String::from_utf8(key).with_context(doing)?,
        },
    })
}

/// As this node (`system:node:NAME`), through the API on this machine: its own, or the way to the servers.
pub fn node(places: &Places) -> Result<Client> {
    let node = kubelet_conf(places)?;
    connect(local(places, &node.ca)?, Some(&node.credentials))
}

/// As the servers' agent, on a server: with a certificate that is signed now and kept in memory.
pub fn server(places: &Places) -> Result<Client> {
    let (ca, key) = (read(&places.ca())?, read(&places.ca_key())?);
    let credentials = issue::server_agent(&ca, &key, now())?;
    connect(local(places, ca.as_bytes())?, Some(&credentials))
}

/// metrics-server's credentials, on a server, signed now.
pub fn metrics_server(places: &Places) -> Result<Credentials> {
    issue::metrics_server(&read(&places.ca())?, &read(&places.ca_key())?, now())
}

/// A kubeconfig for a program that does the servers' agent's work, on a server.
pub fn server_kubeconfig(places: &Places) -> Result<String> {
    let (ca, key) = (read(&places.ca())?, read(&places.ca_key())?);
    let own = issue::server_agent(&ca, &key, now())?;
    let data = |text: &str| base64::encode(text.as_bytes());
    Ok(serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "local",
        "clusters": [{ "name": "local", "cluster": {
            "server": format!("https://{}", places.local_api), "tls-server-name": SERVER_NAME, "certificate-authority-data": data(&ca),
        } }],
        "users": [{ "name": "agent", "user": {
            "client-certificate-data": data(&own.certificate), "client-key-data": data(&own.key),
        } }],
        "contexts": [{ "name": "local", "context": { "cluster": "local", "user": "agent" } }],
    })
    .to_string())
}

fn read(path: &Path) -> Result<String> {
    Ok(file::read_text(path, LARGEST)?)
}

fn local(places: &Places, ca: &[u8]) -> Result<Config> {
    config(&format!("https://{}", places.local_api), Some(ca))
}

/// A way to a server. Without an authority its certificate is not looked at: only for what proves itself.
pub fn config(url: &str, ca: Option<&[u8]>) -> Result<Config> {
    let mut config = Config::new(url.parse().with_context(|| format!("reading the address {url:?}"))?);
    config.connect_timeout = Some(Duration::from_secs(10));
    match ca {
        Some(pem) => {
            config.root_cert = Some(vec![
                x509::der(pem).context("reading the cluster's authority: no certificate in it")?,
            ]);
            config.tls_server_name = Some(SERVER_NAME.to_owned());
        }
        None => config.accept_invalid_certs = true,
    }
    Ok(config)
}

/// A client; without credentials, anonymous.
pub fn connect(mut config: Config, credentials: Option<&Credentials>) -> Result<Client> {
    if let Some(credentials) = credentials {
        config.auth_info.client_certificate_data = Some(base64::encode(credentials.certificate.as_bytes()));
        config.auth_info.client_key_data = Some(base64::encode(credentials.key.as_bytes()).into());
    }
    Client::try_from(config).context("making ready to speak to the API server")
}

/// A client with a bearer token.
pub fn with_token(mut config: Config, token: String) -> Result<Client> {
    config.auth_info.token = Some(token.into());
    connect(config, None)
}
