//! `setup host-keys`: the machine's SSH keys, made once and kept on data. They need no configuration, so they are made beside the planning.

use crate::root::Root;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::symlink;
use std::process::Command;

/// Where they are kept.
pub const KEPT: &str = "/etc/ssh-keys";
/// Kinds of keys, the one to show first.
pub const KINDS: [&str; 2] = ["ed25519", "ecdsa"];

/// `setup host-keys`.
pub fn run() -> Result<()> {
    let failures = apply(&Root::system());
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

/// Makes a pair beside, then puts it in place; the private key last, since it is the one that counts.
fn generate(root: &Root, kind: &str, private: &str, public: &str) -> Result<()> {
    root.dir("/run/skerry", 0o755)?;
    let made = root.at(format!("/run/skerry/new-{kind}-key"));
    let _ = std::fs::remove_file(&made);
    let out = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", "", "-f"])
        .arg(&made)
        .output()
        .context("running ssh-keygen")?;
    if !out.status.success() {
        bail!("running ssh-keygen: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let made_public = made.with_extension("pub");
    let pair = [(&made_public, public, 0o644), (&made, private, 0o600)];
    for (from, to, mode) in pair {
        let text = skerry_sys::file::read_text(from, 1 << 16)?;
        root.write(to, &text, mode)?;
    }
    for (from, _, _) in pair {
        std::fs::remove_file(from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn keys_are_made_once() {
        if Command::new("ssh-keygen").arg("-?").output().is_err() {
            eprintln!("skipped: no ssh-keygen here");
            return;
        }
        let root = scratch("host-keys");
        assert!(apply(&root).is_empty());
        let key = root.text("/etc/ssh-keys/ssh_host_ed25519_key.pub").unwrap();
        assert!(key.starts_with("ssh-ed25519 AAAA"), "{key}");
        assert_eq!(
            std::fs::read_link(root.at("/etc/ssh/ssh_host_ecdsa_key")).unwrap(),
            std::path::Path::new("/etc/ssh-keys/ssh_host_ecdsa_key")
        );
        assert!(apply(&root).is_empty());
        assert_eq!(root.text("/etc/ssh-keys/ssh_host_ed25519_key.pub").unwrap(), key);
    }
}
