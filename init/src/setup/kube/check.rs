//! `check`: what may change while the machine runs: its address, its name servers, and the age of its certificates.

use super::program::run_kubectl;
use super::{certs, look};
use anyhow::{Context, Result, bail};
use skerry_control::SOCKET;
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use skerry_distribution::kubernetes::certs::holders;
use skerry_sys::file;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Reissues what must be, and restarts what holds it.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let addresses = look::addresses(&m.settings);
    // A network that went away is no reason to move the node: its address may come back.
    if !addresses.island {
        let reissued = certs::renew(&m, &addresses)?;
        let mut units = holders(&reissued);
        let before = look::address().ok();
        if before != Some(addresses.node) {
            println!(
                "the node's address is {} now{}",
                addresses.node,
                before.map(|b| format!(", it was {b}")).unwrap_or_default()
            );
            file::replace(look::address_path(), format!("{}\n", addresses.node).as_bytes(), 0o644)?;
            units.extend(
                ["kube-apiserver", "kubelet"]
                    .iter()
                    .filter(|u| !units.contains(u))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
        for unit in units {
            println!("restarting {unit}");
            restart(unit)?;
        }
    }
    if certs::resolv_conf(&m)? && m.settings.coredns {
        println!("the name servers are others now: CoreDNS is started anew");
        run_kubectl(&["--namespace=kube-system", "rollout", "restart", "deployment/coredns"], None)?;
    }
    Ok(())
}

fn restart(unit: &str) -> Result<()> {
    let doing = || format!("restarting {unit}");
    let mut socket = UnixStream::connect(SOCKET).with_context(doing)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket
        .write_all(Request::Restart(unit.to_owned()).encode().as_bytes())
        .with_context(doing)?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = vec![];
    socket.take(1 << 20).read_to_end(&mut answer).with_context(doing)?;
    match Reply::decode(&answer)? {
        Reply::Refused(why) => bail!("restarting {unit}: {why}"),
        _ => Ok(()),
    }
}
