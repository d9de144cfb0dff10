//! The node's own key: by it the servers know a node again.

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use skerry_sys::file;
use std::path::Path;

/// A P-256 key.
pub struct Identity(KeyPair);

impl Identity {
    /// A new one.
    pub fn generate() -> Result<Self> {
        KeyPair::generate().map(Self).context("making a key")
    }

    /// The one in a file (PKCS#8 as PEM). None where there is no file, or none that holds a key: it was cut off while it was written.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = file::read_text(path, 64 << 10)?;
        Ok(KeyPair::from_pem(&text).ok().map(Self))
    }

    /// The one in a file; made, and written, where there is none.
    pub fn keep(path: &Path) -> Result<Self> {
        if let Some(kept) = Self::read(path)? {
            return Ok(kept);
        }
        let new = Self::generate()?;
        if let Some(dir) = path.parent() {
            file::make_dir(dir, 0o700)?;
        }
        file::replace(path, new.pem().as_bytes(), 0o600)?;
        Ok(new)
    }

    /// One that was written as PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self> {
        KeyPair::from_pem(pem).map(Self).context("reading the node's key")
    }

    /// PKCS#8, as PEM.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Of its public half, as [`crate::x509::fingerprint`].
    pub fn fingerprint(&self) -> String {
        crate::x509::fingerprint(&self.0.subject_public_key_info())
    }

    /// A request for a kubelet's client certificate, PEM: <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/>.
    /// It is signed with the key, and so proves who asks.
    pub fn request(&self, node_name: &str) -> Result<String> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        parameters
            .distinguished_name
            .push(DnType::CommonName, format!("system:node:{node_name}"));
        let request = parameters
            .serialize_request(&self.0)
            .context("signing a request for a certificate")?;
        request.pem().context("writing a request for a certificate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_and_kept() {
        let dir = std::env::temp_dir().join(format!("skerry-identity-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let path = dir.join("kube/identity.key");
        let first = Identity::keep(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::keep(&path).unwrap().fingerprint(), first.fingerprint());
        file::replace(&path, b"", 0o600).unwrap();
        assert_ne!(Identity::keep(&path).unwrap().fingerprint(), first.fingerprint());
    }
}
