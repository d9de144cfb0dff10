//! The cluster's authorities, sealed with its token: how a further server gets them, at any time after the first.
//!
//! They lie in the cluster as a secret that a holder of the server's token may read. The seal is XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03) under a key that argon2id derives from the token; who reads the secret without knowing the token,
//! from a copy of the datastore for instance, has nothing. The nonce is a digest of what is sealed, so the same files give the same bytes.

use super::token::secret_part;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Domain separation; part of the contract between servers, never to change.
const SALT: &[u8] = b"skerry.io certificates v1";
const NONCE: usize = 24;
/// A bundle is a few KiB.
const MOST: usize = 256 << 10;

/// Files by their path below the directory of certificates.
pub type Files = BTreeMap<String, String>;

/// Seals files; none where memory for the derivation is missing.
pub fn seal(token: &str, files: &Files) -> Option<Vec<u8>> {
    let plain = serde_json::to_vec(files).ok()?;
    let key = key(token)?;
    let digest = Sha256::new().chain_update(key).chain_update(&plain).finalize();
    let nonce = XNonce::from_slice(digest.get(..NONCE)?);
    let sealed = XChaCha20Poly1305::new(Key::from_slice(&key))
        .encrypt(nonce, plain.as_slice())
        .ok()?;
    let mut out = nonce.to_vec();
    out.extend(sealed);
    Some(out)
}

/// Opens them; none if the token is another one, or a bit is.
pub fn open(token: &str, sealed: &[u8]) -> Option<Files> {
    let (nonce, text) = sealed.split_at_checked(NONCE).filter(|_| sealed.len() <= MOST)?;
    let plain = XChaCha20Poly1305::new(Key::from_slice(&key(token)?))
        .decrypt(XNonce::from_slice(nonce), text)
        .ok()?;
    serde_json::from_slice(&plain).ok()
}

fn key(token: &str) -> Option<[u8; 32]> {
    super::token::derive(secret_part(token.trim()), SALT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens_it() {
        let files = Files::from([("ca.crt".to_owned(), "A".to_owned()), ("etcd/ca.key".to_owned(), "B".to_owned())]);
        let sealed = seal("K10abc::server:a secret of some length", &files).unwrap();
        assert_eq!(seal("a secret of some length", &files).unwrap(), sealed);
        assert_eq!(open("a secret of some length\n", &sealed), Some(files));
        assert_eq!(open("another", &sealed), None);
        for at in [0, 23, 24, sealed.len() - 1] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(open("a secret of some length", &bad), None, "{at}");
        }
        assert_eq!(open("a secret of some length", &sealed[..10]), None);
    }
}
