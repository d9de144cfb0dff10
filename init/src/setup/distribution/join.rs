//! `join`: what `kubeadm join` does up to the start of kubelet; nothing, where kubelet has credentials that are still good.

use crate::kube::{look, program, x509};
use anyhow::{Context, Result};
use skerry_distribution::kubelet::{BOOTSTRAP, JOIN, KUBECONFIG};
use skerry_distribution::kubernetes::kubeconfig;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where kubelet keeps the certificate that it asked for, with its key.
const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// What a node has of its cluster.
const OLD: [&str; 3] = [KUBECONFIG, CURRENT, "/etc/kubernetes/pki/ca.crt"];

/// Joins, unless the node is a member.
pub fn run() -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match why_join(
        &look::text(KUBECONFIG),
        &look::text(CURRENT),
        i64::try_from(now).unwrap_or(i64::MAX),
    ) {
        None => {
            println!("this node is a member already");
            return Ok(());
        }
        Some(why) => println!("joining: {why}"),
    }
    // kubeadm believes a CA that is there, and kubelet credentials that are there: those of a cluster that let us go. They are kept
    // until others are there: what was wrong may have been the clock.
    let _ = std::fs::remove_file(BOOTSTRAP); // absent after every join that ended well
    let mut aside = vec![];
    for path in OLD {
        let to = format!("{path}.before");
        match std::fs::rename(path, &to) {
            Ok(()) => aside.push((to, path)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("renaming {path}")),
        }
    }
    match program::output(&["/usr/bin/kubeadm", "join", "--config", JOIN], None) {
        Ok(said) => {
            print!("{said}");
            Ok(())
        }
        Err(why) => {
            for (kept, path) in aside {
                std::fs::rename(&kept, path).with_context(|| format!("renaming {kept}"))?;
            }
            Err(why)
        }
    }
}

/// Why the node must join; none if it is a member. Its kubeconfig names the certificate's file, or holds it.
fn why_join(kubeconfig: &str, current: &str, now: i64) -> Option<&'static str> {
    if kubeconfig.trim().is_empty() {
        return Some("kubelet has no credentials yet");
    }
    let pem = kubeconfig::identity(kubeconfig).unwrap_or_else(|| current.as_bytes().to_vec());
    match x509::read(&pem, None) {
        Some(certificate) if certificate.not_after > now => None,
        Some(_) => Some("kubelet's certificate has expired"),
        None => Some("kubelet's certificate cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::why_join;

    #[test]
    fn who_joins() {
        assert_eq!(why_join("", "", 0), Some("kubelet has no credentials yet"));
        let by_file = "users: [{user: {client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem}}]";
        assert_eq!(why_join(by_file, "", 0), Some("kubelet's certificate cannot be read"));
    }
}
