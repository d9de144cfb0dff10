//! From the cluster's secret, which may be any text, to the bootstrap token that Kubernetes wants.
//!
//! The servers and whoever joins derive the same token from the same secret. `cluster-info` is signed with it and readable by
//! anyone, so a guess can be tested offline: the derivation is slow on purpose (argon2id), with a salt that is fixed for all
//! clusters because a joining node knows nothing but the secret.

use argon2::{Algorithm, Argon2, Params, Version};

/// Domain separation; part of the contract between nodes, never to change.
const SALT: &[u8] = b"skerry.io bootstrap token v1";
/// 19 MiB, two passes, one lane: OWASP's least, half a second on a small board.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// A bootstrap token, `ID.SECRET`.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    /// Six characters; public.
    pub id: String,
    /// Sixteen characters.
    pub secret: String,
}

/// The part of a token that is the secret: all of it, or what follows `user:` in k3s's long form `K10<hash>::user:secret`.
pub fn secret_part(token: &str) -> &str {
    let Some(long) = token.strip_prefix("K10") else { return token };
    let Some((_, credentials)) = long.split_once("::") else {
        return token;
    };
    credentials.split_once(':').map_or(credentials, |(_, secret)| secret)
}

/// Derives the bootstrap token. A token that has a bootstrap token's form already is taken as it is.
pub fn bootstrap(token: &str) -> Option<BootstrapToken> {
    let secret = secret_part(token.trim());
    if let Some((id, rest)) = secret.split_once('.').filter(|(i, r)| is_word(i, 6) && is_word(r, 16)) {
        return Some(BootstrapToken {
            id: id.to_owned(),
            secret: rest.to_owned(),
        });
    }
    let out = derive(secret, SALT)?;
    let text: String = out
        .iter()
        .take(22)
        .map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()]))
        .collect();
    let (id, secret) = text.split_at_checked(6)?;
    Some(BootstrapToken {
        id: id.to_owned(),
        secret: secret.to_owned(),
    })
}

/// 32 bytes that only who knows the secret can make; none where there is too little memory.
pub(super) fn derive(secret: &str, salt: &[u8]) -> Option<[u8; 32]> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).ok()?;
    let mut out = [0u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret.as_bytes(), salt, &mut out)
        .ok()?;
    Some(out)
}

/// What a bootstrap token is made of. 32 of the 36 letters, so that each byte gives five even bits: 80 bits of secret.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(token: &str) -> String {
        let t = bootstrap(token).unwrap();
        format!("{}.{}", t.id, t.secret)
    }

    /// Two nodes of different releases must agree, for ever.
    #[test]
    fn golden() {
        assert_eq!(of("a secret of some length"), "buj6fr.dcbq9huc3xa7wq7d");
    }

    #[test]
    fn forms() {
        assert_eq!(of("abcdef.0123456789abcdef"), "abcdef.0123456789abcdef");
        assert_eq!(of("K10abc::server:xyz\n"), of("xyz"));
        assert_eq!(secret_part("K10abc::node:a:b"), "a:b");
        assert_eq!(secret_part("K10abc"), "K10abc");
    }

    #[test]
    fn what_comes_out_is_a_token() {
        let t = bootstrap("K10abc::server:").unwrap();
        assert!(is_word(&t.id, 6) && is_word(&t.secret, 16));
    }
}
