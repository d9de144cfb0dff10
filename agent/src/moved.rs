//! The machine got other addresses: what looks after the node's address and its certificates looks now, not at its next minute.

use crate::control;
use crate::pods::kernel::Kernel;
use crate::pods::machine::{self, Link};
use crate::pods::tool;
use anyhow::{Context, Result};
use skerry_config::address::IpNet;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// The unit of PID 1 that looks.
const UNIT: &str = "kube-check";
/// Addresses come and go in bursts, and the network's own account of them follows.
const BURST: Duration = Duration::from_secs(2);

/// Follows the addresses, for ever. Ends only if the kernel cannot be heard.
pub async fn follow(socket: &Path) -> Result<()> {
    let kernel = Kernel::open()?;
    let mut known = addresses().await?;
    loop {
        kernel.changed().await;
        tokio::time::sleep(BURST).await;
        kernel.drain();
        let now = addresses().await?;
        if now == known {
            continue;
        }
        known = now;
        tracing::info!("the machine has other addresses: the node's is looked at");
        // It looks by itself within a minute.
        if let Err(why) = control::restart(socket, UNIT).await {
            tracing::warn!("{why:#}");
        }
    }
}

async fn addresses() -> Result<BTreeSet<(String, IpNet)>> {
    let said = tool::output("ip", &["-json", "-details", "address", "show"], "").await?;
    Ok(outer(&machine::links(&said).context("reading what the kernel has of links")?))
}

/// Those by which others may reach the machine.
fn outer(links: &[Link]) -> BTreeSet<(String, IpNet)> {
    let of = |link: &Link| {
        link.addresses
            .iter()
            .map(|address| (link.name.clone(), *address))
            .collect::<Vec<_>>()
    };
    links.iter().filter(|link| link.up && link.is_outer()).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_coming_and_going_are_no_change() {
        let link = |name: &str, kind: &str, up, address: &str| Link {
            name: name.into(),
            kind: kind.into(),
            up,
            addresses: vec![address.parse().unwrap()],
            ..Link::default()
        };
        let eth0 = link("eth0", "", true, "10.0.2.15/24");
        let before = outer(std::slice::from_ref(&eth0));
        assert_eq!(before.len(), 1);
        let pods = [
            link("cni0", "bridge", true, "10.42.0.1/24"),
            link("veth1", "veth", true, "10.42.0.9/24"),
            link("skerry-vxlan", "vxlan", true, "10.42.0.0/32"),
            link("lo", "", true, "127.0.0.1/8"),
            link("eth1", "", false, "10.9.0.1/24"),
        ];
        assert_eq!(outer(&[&[eth0][..], &pods].concat()), before);
        assert_ne!(outer(&[link("eth0", "", true, "10.0.2.33/24")]), before);
    }
}
