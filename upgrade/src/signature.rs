//! Who says so: `manifest.json.minisig`, and the public keys that this machine believes.
//!
//! The format is minisign's (<https://jedisct1.github.io/minisign/>): four lines, of which the second signs the file (ed25519 over its
//! BLAKE2b-512, `ED`; or over the file itself, `Ed`, by old versions) and the fourth signs that signature and the trusted comment.

use minisign_verify::{PublicKey, Signature};
use skerry_sys::file::read_bounded;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the public keys are while the system runs: stage 1 brings them from the initramfs.
pub const KEYS: &str = "/run/skerry/keys";
/// Neither a key nor a signature is longer, in bytes.
pub const LONGEST: usize = 4096;
/// So many keys are looked at.
const MOST_KEYS: usize = 64;

/// A public key, and by which name it is known here.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The file's name without `.pub`: `developer`.
    pub name: String,
    key: PublicKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// Why a signature is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unbelieved {
    /// There is no key to check with.
    #[error("this machine has no key to check it with")]
    NoKeys,
    /// It is no minisign signature.
    #[error("it is not in minisign's format: {0}")]
    Unreadable(&'static str),
    /// None of the keys made it.
    #[error("it was made with a key that this machine does not know (it knows: {0})")]
    Stranger(String),
    /// The key is known, and the manifest or the trusted comment is not what it signed.
    #[error("the manifest is not what {0} has signed")]
    Broken(String),
}

/// Why a file is no key.
#[derive(Debug, thiserror::Error)]
#[error("reading the key {}: {why}", .path.display())]
pub struct BadKey {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Key {
    /// Reads a public key: two lines as minisign writes them, or the second alone.
    pub fn parse(name: &str, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= LONGEST)?;
        let key = text
            .lines()
            .map(str::trim)
            .find(|l| !l.is_empty() && !l.starts_with("untrusted comment:"))?;
        Some(Self {
            name: name.to_owned(),
            key: PublicKey::from_base64(key).ok()?,
        })
    }
}

/// All keys in a folder (`*.pub`, by name), and what is there that is none. A folder that is not there has none.
pub fn keys(folder: &Path) -> (Vec<Key>, Vec<BadKey>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "pub"))
        .take(MOST_KEYS)
        .collect();
    paths.sort();
    let (mut keys, mut bad) = (vec![], vec![]);
    for path in paths {
        match read_bounded(&path, LONGEST) {
            Ok(text) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                match Key::parse(&name, &text) {
                    Some(key) => keys.push(key),
                    None => bad.push(BadKey {
                        path,
                        why: "it is no public key of minisign".to_owned(),
                    }),
                }
            }
            Err(why) => bad.push(BadKey {
                path,
                why: why.source.to_string(),
            }),
        }
    }
    (keys, bad)
}

/// Gives the name of the key that signed `manifest`.
pub fn check(manifest: &[u8], signature: &[u8], keys: &[Key]) -> Result<String, Unbelieved> {
    if keys.is_empty() {
        return Err(Unbelieved::NoKeys);
    }
    let signature = read(signature)?;
    let mut broken = None;
    for key in keys {
        match key.key.verify(manifest, &signature, true) {
            Ok(()) => return Ok(key.name.clone()),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(_) => broken = Some(key.name.clone()),
        }
    }
    let known = || keys.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
    Err(broken.map_or_else(|| Unbelieved::Stranger(known()), Unbelieved::Broken))
}

/// Exactly four lines: what a reader skips, a writer can hide things in.
fn read(bytes: &[u8]) -> Result<Signature, Unbelieved> {
    if bytes.len() > LONGEST {
        return Err(Unbelieved::Unreadable("it is too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Unbelieved::Unreadable("it is no text"))?;
    if text.lines().count() != 4 || !text.starts_with("untrusted comment:") || text.contains('\r') {
        return Err(Unbelieved::Unreadable("it does not have its four lines"));
    }
    Signature::decode(text).map_err(|_| Unbelieved::Unreadable("a line does not read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// minisign's own example key, and signatures of `test` by both algorithms.
    const KEY: &str = "untrusted comment: minisign public key E7620F1842B4E81F\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";
    const HASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";

    fn key() -> Key {
        Key::parse("example", KEY.as_bytes()).unwrap()
    }

    #[test]
    fn both_algorithms_are_read() {
        for signature in [LEGACY, HASHED, LEGACY.trim_end()] {
            assert_eq!(check(b"test", signature.as_bytes(), &[key()]), Ok("example".to_owned()));
            assert_eq!(
                check(b"Test", signature.as_bytes(), &[key()]),
                Err(Unbelieved::Broken("example".to_owned()))
            );
            assert_eq!(check(b"test", signature.as_bytes(), &[]), Err(Unbelieved::NoKeys));
        }
        assert_eq!(
            Key::parse("x", b"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"),
            Some(Key { name: "x".into(), ..key() })
        );
    }

    #[test]
    fn the_trusted_comment_is_signed() {
        let changed = HASHED.replace("file:test", "file:tost");
        assert_eq!(
            check(b"test", changed.as_bytes(), &[key()]),
            Err(Unbelieved::Broken("example".to_owned()))
        );
    }

    #[test]
    fn a_stranger_is_named_as_such() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let other = Key::parse("other", pair.pk.to_box().unwrap().into_string().as_bytes()).unwrap();
        assert_eq!(
            check(b"test", HASHED.as_bytes(), std::slice::from_ref(&other)),
            Err(Unbelieved::Stranger("other".to_owned()))
        );
        assert_eq!(check(b"test", HASHED.as_bytes(), &[other, key()]), Ok("example".to_owned()));
    }

    #[test]
    fn every_changed_bit_that_counts_is_refused() {
        let counts = HASHED.find('\n').unwrap() + 1;
        for at in counts..HASHED.len() - 1 {
            for bit in 0..8 {
                let mut bytes = HASHED.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(check(b"test", &bytes, &[key()]).is_err(), "byte {at} bit {bit}");
            }
        }
        for length in 0..HASHED.len() - 1 {
            assert!(check(b"test", &HASHED.as_bytes()[..length], &[key()]).is_err(), "{length}");
        }
        assert!(check(b"test", format!("{HASHED}more\n").as_bytes(), &[key()]).is_err());
    }

    #[test]
    fn a_folder_of_keys() {
        let folder = std::env::temp_dir().join(format!("skerry-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("a.pub", KEY), ("b.pub", "nothing"), ("c.txt", KEY)] {
            skerry_sys::file::replace(folder.join(name), text.as_bytes(), 0o644).unwrap();
        }
        let (found, bad) = keys(&folder);
        assert_eq!((found.len(), bad.len(), found[0].name.as_str()), (1, 1, "a"));
        assert!(bad[0].to_string().contains("b.pub: it is no public key"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(keys(&folder).0.is_empty());
    }
}
