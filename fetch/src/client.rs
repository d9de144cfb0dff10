//! The HTTP client: whom it trusts, how long it waits, where it lets itself be sent.

use reqwest::blocking::{Client, ClientBuilder};
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Debian's certificates, the owner's `ca_certs` among them.
pub const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
const MOST_REDIRECTS: usize = 5;

/// A client that trusts the certificates in the file `trusted`. Proxies are the environment's. `patience` is for each connection and each
/// read, not for the whole.
pub fn trusting(trusted: &Path, patience: Duration) -> Result<Client, reqwest::Error> {
    builder(patience).tls_backend_preconfigured(tls(roots(trusted))).build()
}

/// A client that trusts anybody and uses no proxy: only to ask a server on this machine whether it is there.
pub fn blind(patience: Duration) -> Result<Client, reqwest::Error> {
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder(patience).no_proxy().tls_danger_accept_invalid_certs(true).build()
}

/// A client for plain http that has no certificates to read.
pub fn plain(patience: Duration) -> Result<Client, reqwest::Error> {
    builder(patience).tls_backend_preconfigured(tls(RootCertStore::empty())).build()
}

fn builder(patience: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("skerry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(patience.min(Duration::from_secs(10)))
        .timeout(patience)
        .redirect(Policy::custom(|attempt| {
            let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
            if attempt.previous().len() > MOST_REDIRECTS {
                attempt.error(format!("more than {MOST_REDIRECTS} redirects"))
            } else if secure && attempt.url().scheme() != "https" {
                attempt.error("a redirect from https to http")
            } else {
                attempt.follow()
            }
        }))
}

fn tls(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions
        .expect("ring speaks TLS 1.2 and 1.3, which are the defaults")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The certificates that can be read. One that cannot must not take the others with it: the owner may have added it.
fn roots(path: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    if let Ok(certificates) = CertificateDer::pem_file_iter(path) {
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    }
    roots
}
