//! Whom to believe: the cluster's authority, as an unknown server tells it, proved by the token.
//!
//! As kubeadm's token discovery: `ConfigMap` `kube-public/cluster-info` holds a kubeconfig with the authority, and for each bootstrap
//! token a detached JWS over it (RFC 7515 appendix F) with HS256, whose key is the token's secret:
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing>.

use crate::x509;
use ring::hmac;
use sha2::{Digest, Sha256};
use skerry_distribution::kubernetes::token::BootstrapToken;
use skerry_distribution::kubernetes::{base64, kubeconfig};
use std::collections::BTreeMap;

/// Why a server is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// There is no cluster-info, or something else under its name.
    #[error("it shows no authority of a cluster; is `server_url` a Skerry server?")]
    NoAuthority,
    /// Another cluster's authority.
    #[error(
        "it belongs to another cluster: its authority is {found}, the token wants {wanted}; check `server_url`, or make new lines for \
         this node with `skerry token create` on a server"
    )]
    WrongAuthority {
        /// SHA-256 of what it showed, hex.
        found: String,
        /// What the token says.
        wanted: String,
    },
    /// No signature by our token.
    #[error(
        "it does not know the token {id}: the token is wrong, has ended or was deleted, or the server has only just started; check \
         `token`, or make a new one with `skerry token create` on a server"
    )]
    NotSigned {
        /// The token's public half.
        id: String,
    },
    /// A signature by another secret.
    #[error(
        "what it shows is not signed with our token: the token {id} is wrong, or this is not the server; check `token` and `server_url`"
    )]
    WrongSignature {
        /// The token's public half.
        id: String,
    },
}

/// The SHA-256 of the authority's file that a token of the form `K10<hash>::…` demands, in lower case.
pub fn pin(token: &str) -> Option<String> {
    let (hash, _) = token.trim().strip_prefix("K10")?.split_once("::")?;
    Some(hash.to_ascii_lowercase())
}

/// SHA-256 of the authority's file, hex.
pub fn hash(ca: &[u8]) -> String {
    x509::hex(&Sha256::digest(ca))
}

/// The authority's file, if all that should vouch for it does.
pub fn authority(cluster_info: &BTreeMap<String, String>, pin: Option<&str>, token: &BootstrapToken) -> Result<Vec<u8>, Doubt> {
    let text = cluster_info.get("kubeconfig").ok_or(Doubt::NoAuthority)?;
    let ca = authority_of(text)
        .filter(|ca| x509::certificate(ca).is_some())
        .ok_or(Doubt::NoAuthority)?;
    if let Some(wanted) = pin.filter(|p| *p != hash(&ca)) {
        return Err(Doubt::WrongAuthority {
            found: hash(&ca),
            wanted: wanted.to_owned(),
        });
    }
    let id = || token.id.clone();
    let signature = cluster_info
        .get(&format!("jws-kubeconfig-{}", token.id))
        .ok_or_else(|| Doubt::NotSigned { id: id() })?;
    if is_signed(text, signature, token) {
        Ok(ca)
    } else {
        Err(Doubt::WrongSignature { id: id() })
    }
}

/// Ours is JSON, kubeadm's is YAML of one shape.
fn authority_of(text: &str) -> Option<Vec<u8>> {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else {
        return kubeconfig::authority(text);
    };
    let data = json.pointer("/clusters/0/cluster/certificate-authority-data")?.as_str()?;
    base64::decode(data)
}

fn is_signed(text: &str, jws: &str, token: &BootstrapToken) -> bool {
    let Some((header, signature)) = jws.trim().split_once("..") else {
        return false;
    };
    let is_hs256 = from_url(header)
        .and_then(|h| serde_json::from_slice::<serde_json::Value>(&h).ok())
        .is_some_and(|h| h["alg"] == "HS256" && h["kid"] == token.id.as_str());
    let Some(signature) = from_url(signature).filter(|_| is_hs256) else {
        return false;
    };
    let signed = format!("{header}.{}", to_url(text.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

/// base64url without padding, as a JWS has it.
fn to_url(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn from_url(text: &str) -> Option<Vec<u8>> {
    base64::decode(&text.replace('-', "+").replace('_', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by init's tests/certificates/make.sh.
    const CA: &str = include_str!("../../../init/tests/certificates/ca.crt");

    fn token(id: &str, secret: &str) -> BootstrapToken {
        BootstrapToken {
            id: id.into(),
            secret: secret.into(),
        }
    }

    fn sign(text: &str, id: &str, secret: &str, alg: &str) -> String {
        let header = to_url(format!(r#"{{"alg":"{alg}","kid":"{id}"}}"#).as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hmac::sign(&key, format!("{header}.{}", to_url(text.as_bytes())).as_bytes());
        format!("{header}..{}", to_url(signature.as_ref()))
    }

    fn info(text: &str, signatures: &[(&str, String)]) -> BTreeMap<String, String> {
        let mut map = BTreeMap::from([("kubeconfig".to_owned(), text.to_owned())]);
        map.extend(signatures.iter().map(|(id, s)| (format!("jws-kubeconfig-{id}"), s.clone())));
        map
    }

    fn json() -> String {
        serde_json::json!({ "clusters": [{ "cluster": { "certificate-authority-data": base64::encode(CA.as_bytes()) } }] }).to_string()
    }

    const ID: &str = "abcdef";
    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn believed_by_token_and_by_pin() {
        let text = json();
        let good = info(&text, &[(ID, sign(&text, ID, SECRET, "HS256"))]);
        let ours = token(ID, SECRET);
        assert_eq!(authority(&good, None, &ours).unwrap(), CA.as_bytes());
        assert_eq!(authority(&good, Some(&hash(CA.as_bytes())), &ours).unwrap(), CA.as_bytes());
        let wanted = "00".repeat(32);
        assert_eq!(
            authority(&good, Some(&wanted), &ours),
            Err(Doubt::WrongAuthority {
                found: hash(CA.as_bytes()),
                wanted
            })
        );
    }

    #[test]
    fn kubeadms_own_shape() {
        let text = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://10.0.0.1:6443\n  name: \"\"\n",
            base64::encode(CA.as_bytes())
        );
        let good = info(&text, &[(ID, sign(&text, ID, SECRET, "HS256"))]);
        assert_eq!(authority(&good, None, &token(ID, SECRET)).unwrap(), CA.as_bytes());
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let text = json();
        let ours = token(ID, SECRET);
        let not_signed = Err(Doubt::NotSigned { id: ID.into() });
        let wrong = Err(Doubt::WrongSignature { id: ID.into() });
        let empty = info(&text, &[]);
        assert_eq!(authority(&empty, None, &ours), not_signed);
        let other = info(&text, &[("ghijkl", sign(&text, "ghijkl", SECRET, "HS256"))]);
        assert_eq!(authority(&other, None, &ours), not_signed);
        for jws in [
            sign(&text, ID, "another secret..", "HS256"),
            sign(&format!("{text} "), ID, SECRET, "HS256"),
            sign(&text, "ghijkl", SECRET, "HS256"),
            sign(&text, ID, SECRET, "none"),
            String::new(),
            "..".into(),
            "a..b".into(),
            sign(&text, ID, SECRET, "HS256").replace("..", "."),
        ] {
            assert_eq!(authority(&info(&text, &[(ID, jws.clone())]), None, &ours), wrong, "{jws}");
        }
        for text in [
            "",
            "{}",
            "clusters:\n",
            r#"{"clusters":[{"cluster":{"certificate-authority-data":"AA=="}}]}"#,
        ] {
            let signed = info(text, &[(ID, sign(text, ID, SECRET, "HS256"))]);
            assert_eq!(authority(&signed, None, &ours), Err(Doubt::NoAuthority), "{text}");
        }
        assert_eq!(authority(&BTreeMap::new(), None, &ours), Err(Doubt::NoAuthority));
    }

    #[test]
    fn pins() {
        assert_eq!(pin("K10AbC::server:x").as_deref(), Some("abc"));
        assert_eq!(pin("K10"), None);
        assert_eq!(pin("abcdef.0123456789abcdef"), None);
        assert_eq!(pin("K10abc"), None, "some text that happens to begin so");
    }
}
