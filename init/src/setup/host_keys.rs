//! `setup host-keys`: the machine's SSH keys, made once and kept on data. They need no configuration, so they are made beside the planning.

use crate::root::Root;
use anyhow::{Context, Result, bail};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where they are kept.
pub const KEPT: &str = "/etc/ssh-keys";
/// Kinds of keys, the one to show first.
pub const KINDS: [&str; 2] = ["ed25519", "ecdsa"];

/// `setup host-keys`.
pub fn run() -> Result<()> {
    let mut failures = apply(&Root::system().written_soon());
    // Before anybody sees them: a machine keeps the keys that it has shown.
    failures.extend(
        skerry_sys::file::flush_file_system(Path::new(skerry_overlay::STATE))
            .err()
            .map(anyhow::Error::from),
    );
    for failure in &failures {
        eprintln!("{}", crate::said::said(failure));
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("providing the SSH host keys: not all are there (`skerry logs host-keys` says more)")
}

/// Makes those that are missing, all at once.
fn apply(root: &Root) -> Vec<anyhow::Error> {
    if let Err(e) = root.dir(KEPT, 0o700) {
        return vec![e];
    }
    let one = |kind: &str| provide(root, kind).with_context(|| format!("providing the {kind} host key"));
    std::thread::scope(|scope| {
        let others: Vec<_> = KINDS.iter().skip(1).map(|kind| scope.spawn(|| one(kind))).collect();
        let first = KINDS.first().map(|kind| one(kind));
        let ended = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|_| bail!("providing a host key: the thread broke")));
        first.into_iter().chain(ended).filter_map(Result::err).collect()
    })
}

/// The file name of a key, private or public.
pub fn name(kind: &str, public: bool) -> String {
    format!("ssh_host_{kind}_key{}", if public { ".pub" } else { "" })
}

fn provide(root: &Root, kind: &str) -> Result<()> {
    let kept = |public| format!("{KEPT}/{}", name(kind, public));
    if root.word(&kept(false)).is_none() || root.word(&kept(true)).is_none() {
        generate(root, kind, &kept(false), &kept(true))?;
    }
    // Where sshd, and an owner's own sshd_config, look for them.
    root.dir("/etc/ssh", 0o755)?;
    for public in [false, true] {
        let link = root.at(format!("/etc/ssh/{}", name(kind, public)));
        if std::fs::read_link(&link).is_err() {
            // A key file that the image or the owner put there stays.
            if !link.exists() {
                symlink(kept(public), &link).with_context(|| format!("linking {}", link.display()))?;
            }
        }
    }
    Ok(())
}

/// Makes a pair; the private key is written last, since it is the one that counts.
fn generate(root: &Root, kind: &str, private: &str, public: &str) -> Result<()> {
    let algorithm = match kind {
        "ecdsa" => Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        _ => Algorithm::Ed25519,
    };
    let key = PrivateKey::random(&mut OsRng, algorithm).context("making a key")?;
    let texts = (key.public_key().to_openssh(), key.to_openssh(LineEnding::LF));
    let (public_text, private_text) = (
        texts.0.context("writing the public key")?,
        texts.1.context("writing the private key")?,
    );
    root.write(public, &format!("{public_text}\n"), 0o644)?;
    root.write(private, &private_text, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn keys_are_made_once() {
        let root = scratch("host-keys");
        assert!(apply(&root).is_empty());
        let key = root.text("/etc/ssh-keys/ssh_host_ed25519_key.pub").unwrap();
        assert!(key.starts_with("ssh-ed25519 AAAA"), "{key}");
        assert_eq!(
            std::fs::read_link(root.at("/etc/ssh/ssh_host_ecdsa_key")).unwrap(),
            Path::new("/etc/ssh-keys/ssh_host_ecdsa_key")
        );
        assert!(apply(&root).is_empty());
        assert_eq!(root.text("/etc/ssh-keys/ssh_host_ed25519_key.pub").unwrap(), key);
    }

    /// Both halves belong together, as ssh-keygen(1) sees it, where there is one.
    #[test]
    fn openssh_reads_what_is_made() {
        let root = scratch("host-keys-read");
        assert!(apply(&root).is_empty());
        for kind in KINDS {
            let private = root.at(format!("{KEPT}/{}", name(kind, false)));
            let public = root.text(&format!("{KEPT}/{}", name(kind, true))).unwrap();
            let parsed = PrivateKey::from_openssh(std::fs::read_to_string(&private).unwrap()).unwrap();
            assert_eq!(parsed.public_key().to_openssh().unwrap(), public.trim());
            match std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&private).output() {
                Err(_) => eprintln!("not compared with ssh-keygen: it is not here"),
                Ok(out) => {
                    let said = String::from_utf8_lossy(&out.stdout);
                    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                    assert!(said.starts_with(public.trim()), "{said}{public}");
                }
            }
        }
    }
}
