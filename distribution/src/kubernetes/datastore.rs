//! Where the cluster's objects are kept: SQLite behind kine, etcd on several servers, or a database of the owner's.

use super::Command;
use super::paths::{ETCD_DATA, PKI};
use super::role::Role;
use super::settings::Settings;
use skerry_config::types::Secret;
use std::net::Ipv4Addr;

/// The choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Datastore {
    /// One server, one file.
    #[default]
    Sqlite,
    /// Each server has a copy.
    Etcd,
    /// The owner's, by kine (`postgres://`, `mysql://`, `nats://`) or, where it is an etcd, directly (`http(s)://`).
    External(External),
}

/// A database of the owner's. Its address may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct External {
    /// In k3s's words (`--datastore-endpoint`).
    pub endpoint: Secret<String>,
    /// Files: the authority, our certificate and its key.
    pub ca: Option<String>,
    /// Our certificate.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
}

impl External {
    /// Whether it is an etcd, to which the API server talks itself.
    pub fn is_etcd(&self) -> bool {
        self.endpoint.0.starts_with("http://") || self.endpoint.0.starts_with("https://")
    }

    /// For kine's environment: an address with a password must not stand in a command line, which everyone may read.
    pub fn kine_environment(&self) -> Vec<(String, String)> {
        let files = [
            ("KINE_CA_FILE", &self.ca),
            ("KINE_CERT_FILE", &self.cert),
            ("KINE_KEY_FILE", &self.key),
        ];
        let mut env = vec![("KINE_ENDPOINT".to_owned(), self.endpoint.0.clone())];
        env.extend(files.iter().filter_map(|(name, file)| Some(((*name).to_owned(), (*file).clone()?))));
        env
    }
}

impl Settings {
    /// Whether other servers may be there: leaders are elected, and certificates handed on.
    pub fn has_peers(&self) -> bool {
        self.datastore != Datastore::Sqlite || matches!(self.role, Role::Server(_))
    }

    /// Whether kine runs.
    pub fn kine(&self) -> bool {
        match &self.datastore {
            Datastore::Sqlite => true,
            Datastore::Etcd => false,
            Datastore::External(e) => !e.is_etcd(),
        }
    }
}

/// Flags of the API server that say where its objects are.
pub fn api_server(s: &Settings) -> Vec<String> {
    match &s.datastore {
        Datastore::Etcd => vec![
            format!("etcd-cafile={PKI}/etcd/ca.crt"),
            format!("etcd-certfile={PKI}/apiserver-etcd-client.crt"),
            format!("etcd-keyfile={PKI}/apiserver-etcd-client.key"),
            "etcd-servers=https://127.0.0.1:2379".to_owned(),
        ],
        Datastore::External(e) if e.is_etcd() => {
            let files = [("etcd-cafile", &e.ca), ("etcd-certfile", &e.cert), ("etcd-keyfile", &e.key)];
            let mut flags: Vec<String> = files
                .iter()
                .filter_map(|(flag, file)| Some(format!("{flag}={}", (*file).as_ref()?)))
                .collect();
            flags.push(format!("etcd-servers={}", e.endpoint.0));
            flags
        }
        _ => vec![format!("etcd-servers={}", super::paths::KINE_URL)],
    }
}

/// What etcd is started with, besides its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It has data: the rest is in there.
    Again,
    /// It has data, and goes on as the only member.
    Alone,
    /// It makes the cluster.
    New,
    /// It joins these, `NAME=PEER-URL`, itself among them.
    Joining(Vec<String>),
}

/// Where a server's etcd talks to the others.
pub fn peer_url(address: Ipv4Addr) -> String {
    format!("https://{address}:2380")
}

/// etcd, always by TLS with a certificate on both sides.
pub fn etcd(s: &Settings, address: Ipv4Addr, start: &Start) -> Command {
    let own = format!("{}={}", s.node_name, peer_url(address));
    let (state, members) = match start {
        Start::New => ("new", own),
        Start::Again | Start::Alone => ("existing", own),
        Start::Joining(members) => ("existing", members.join(",")),
    };
    let pki = format!("{PKI}/etcd");
    let mut flags = vec![
        format!("advertise-client-urls=https://{address}:2379"),
        format!("cert-file={pki}/server.crt"),
        "client-cert-auth=true".to_owned(),
        format!("data-dir={ETCD_DATA}"),
        // A flash card may take long to write: elections must wait for it.
        "election-timeout=5000".to_owned(),
        "heartbeat-interval=500".to_owned(),
        format!("initial-advertise-peer-urls={}", peer_url(address)),
        format!("initial-cluster={members}"),
        format!("initial-cluster-state={state}"),
        format!("key-file={pki}/server.key"),
        format!("listen-client-urls=https://127.0.0.1:2379,https://{address}:2379"),
        format!("listen-peer-urls={}", peer_url(address)),
        "log-level=warn".to_owned(),
        format!("name={}", s.node_name),
        format!("peer-cert-file={pki}/peer.crt"),
        "peer-client-cert-auth=true".to_owned(),
        format!("peer-key-file={pki}/peer.key"),
        format!("peer-trusted-ca-file={pki}/ca.crt"),
        "snapshot-count=10000".to_owned(),
        format!("trusted-ca-file={pki}/ca.crt"),
    ];
    if *start == Start::Alone {
        flags.push("force-new-cluster".to_owned());
    }
    super::argv::command("etcd", flags, Some(super::arguments::Component::Etcd), s)
}

/// Files of the cluster's authorities, relative to [`PKI`]: what a further server must have before it makes its own certificates.
pub const SHARED: &[&str] = &[
    "ca.crt",
    "ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "sa.pub",
    "sa.key",
    "etcd/ca.crt",
    "etcd/ca.key",
];

/// The client certificate that may change etcd's members.
pub fn etcd_client() -> [String; 3] {
    [
        format!("{PKI}/etcd/ca.crt"),
        format!("{PKI}/apiserver-etcd-client.crt"),
        format!("{PKI}/apiserver-etcd-client.key"),
    ]
}
