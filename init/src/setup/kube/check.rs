//! `check`: what may change while the machine runs: its address, its name servers, and the age of its certificates.

use super::program::run_kubectl;
use super::{certs, look, restarts};
use anyhow::Result;
use skerry_sys::file;

/// Reissues what must be, and restarts what holds it.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let server = m.settings.role.is_server();
    let addresses = look::addresses(&m.settings);
    // A network that went away is no reason to move the node: its address may come back.
    if !addresses.island {
        let before = look::address().ok();
        let now = before.map_or(addresses.node, |before| addresses.node.after(before));
        if before != Some(now) {
            println!(
                "the node's address is {now} now{}",
                before.map(|b| format!(", it was {b}")).unwrap_or_default()
            );
            let moved = before.map(|b| b.four) != Some(now.four);
            restarts::add(if server && moved {
                &["kube-apiserver", "kubelet"]
            } else {
                &["kubelet"]
            })?;
        }
        if server {
            certs::renew(&m, &addresses)?;
        }
        file::replace(look::address_path(), format!("{now}\n").as_bytes(), 0o644)?;
    }
    restarts::perform()?;
    if certs::resolv_conf(&m)? && server && m.settings.coredns {
        println!("the name servers are others now: CoreDNS is started anew");
        run_kubectl(&["--namespace=kube-system", "rollout", "restart", "deployment/coredns"], None)?;
    }
    Ok(())
}
