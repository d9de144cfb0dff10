//! `check`: what may change while the machine runs: its address, its name servers, and the age of its certificates.

use super::program::run_kubectl;
use super::{certs, look, restarts};
use anyhow::Result;
use skerry_distribution::kubernetes::address::NodeAddress;
use skerry_sys::file;

/// Reissues what must be, and restarts what holds it.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let server = m.settings.role.is_server();
    let addresses = look::addresses(&m.settings);
    // A network that went away is no reason to move the node: its address may come back.
    if !addresses.island {
        let before = look::address().ok();
        let (now, told) = decide(before, addresses.node, server);
        if !told.is_empty() {
            println!(
                "the node's address is {now} now{}",
                before.map(|b| format!(", it was {b}")).unwrap_or_default()
            );
        }
        restarts::add(told)?;
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

/// The node's address from now on, and who is started anew for it.
fn decide(before: Option<NodeAddress>, found: NodeAddress, server: bool) -> (NodeAddress, &'static [&'static str]) {
    let now = before.map_or(found, |before| found.after(before));
    let told: &[&str] = match before {
        Some(before) if before == now => &[],
        // The API server has no part in IPv6.
        Some(before) if before.four == now.four => &["kubelet"],
        _ if server => &["kube-apiserver", "kubelet"],
        _ => &["kubelet"],
    };
    (now, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_of_an_address() {
        let of = |text: &str| text.parse::<NodeAddress>().unwrap();
        for (before, found, now, server, worker) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", "", ""),
            ("", "10.0.0.1", "10.0.0.1", "kube-apiserver kubelet", "kubelet"),
            ("10.0.0.1", "10.0.0.2", "10.0.0.2", "kube-apiserver kubelet", "kubelet"),
            ("10.0.0.1", "10.0.0.1,fd00::1", "10.0.0.1,fd00::1", "kubelet", "kubelet"),
            ("10.0.0.1,fd00::1", "10.0.0.1,fd00::2", "10.0.0.1,fd00::2", "kubelet", "kubelet"),
            ("10.0.0.1,fd00::1", "10.0.0.1", "10.0.0.1,fd00::1", "", ""),
            (
                "10.0.0.1,fd00::1",
                "10.0.0.2",
                "10.0.0.2,fd00::1",
                "kube-apiserver kubelet",
                "kubelet",
            ),
        ] {
            let before = (!before.is_empty()).then(|| of(before));
            for (is_server, told) in [(true, server), (false, worker)] {
                let (then, units) = decide(before, of(found), is_server);
                assert_eq!((then, units.join(" ").as_str()), (of(now), told), "{before:?} {found}");
            }
        }
    }
}
