//! Which ports of a node others must reach.
//!
//! | port | on | for | protected by |
//! |---|---|---|---|
//! | TCP 6443 | servers | the Kubernetes API | TLS, tokens and certificates |
//! | TCP 10250 | all | kubelet: logs, `kubectl exec`, metrics | TLS, certificates |
//! | TCP 2379–2380 | servers with etcd | its clients and its peers | TLS, certificates of the cluster's |
//! | UDP 8472 | nodes with the tunnel `skerry-vxlan` | pods of other nodes | nothing |
//! | UDP 51820 | nodes with the tunnel `skerry-wg` | pods of other nodes | `WireGuard` |
//! | TCP and UDP 30000–32767 | all | `NodePort` Services' health checks | nothing |
//!
//! Services (`NodePort`, `LoadBalancer`) and host ports of pods are led on to pods before a firewall of the host's own sees them. Whether a
//! tunnel is needed is known only once the cluster was heard, and the agent makes it then: its port is open as long as it is there.

use super::datastore::Datastore;
use super::settings::Settings;
use skerry_config::ports::{Opening, Ports, Protocol};

/// The agent's tunnel without secrets.
pub const VXLAN: &str = "skerry-vxlan";
/// UDP, as flannel's on Linux; the kernel's own default.
pub const VXLAN_PORT: u16 = 8472;
/// The agent's tunnel with them.
pub const WIREGUARD: &str = "skerry-wg";
/// UDP.
pub const WIREGUARD_PORT: u16 = 51820;
/// Kubernetes' own default.
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// What is open.
pub fn open(s: &Settings) -> Vec<Opening> {
    let mut open = vec![];
    if s.role.is_server() {
        open.push(Opening::always(Ports::tcp(super::role::PORT), "Kubernetes API"));
        if s.datastore == Datastore::Etcd {
            open.push(Opening::always(Ports::row(Protocol::Tcp, 2379, 2380), "etcd"));
        }
    }
    open.push(Opening::always(Ports::tcp(10250), "kubelet"));
    if s.network {
        open.extend([(VXLAN, VXLAN_PORT), (WIREGUARD, WIREGUARD_PORT)].map(|(link, port)| Opening {
            with: Some(link.to_owned()),
            ..Opening::always(Ports::udp(port), "pods of other nodes")
        }));
    }
    let (first, last) = s.node_ports.as_deref().and_then(range).unwrap_or(NODE_PORTS);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        open.push(Opening::always(Ports::row(protocol, first, last), "NodePort Services"));
    }
    open
}

/// kube-apiserver's `FIRST-LAST`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    Some((first.trim().parse().ok().filter(|port| *port > 0)?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use skerry_config::types::Config;

    fn of(args: &str) -> Vec<String> {
        let mut config = Config::default();
        config.skerry.k3s_args = args.split_whitespace().map(str::to_owned).collect();
        config.skerry.token = Some(skerry_config::Secret("a-secret-of-sixteen-characters".into()));
        let (settings, _) = super::super::settings(&config, &Facts::default());
        open(&settings)
            .iter()
            .map(|o| format!("{}{}", o.ports, o.with.as_ref().map(|l| format!(" with {l}")).unwrap_or_default()))
            .collect()
    }

    #[test]
    fn by_role_datastore_and_network() {
        const TUNNELS: [&str; 2] = ["udp/8472 with skerry-vxlan", "udp/51820 with skerry-wg"];
        const NODE: [&str; 2] = ["tcp/30000-32767", "udp/30000-32767"];
        for (args, expected) in [
            ("", [&["tcp/6443", "tcp/10250"][..], &TUNNELS, &NODE].concat()),
            (
                "server --cluster-init",
                [&["tcp/6443", "tcp/2379-2380", "tcp/10250"][..], &TUNNELS, &NODE].concat(),
            ),
            ("agent --server https://10.0.0.1", [&["tcp/10250"][..], &TUNNELS, &NODE].concat()),
            (
                "server --flannel-backend=none --service-node-port-range=20000-20100",
                vec!["tcp/6443", "tcp/10250", "tcp/20000-20100", "udp/20000-20100"],
            ),
        ] {
            assert_eq!(of(args), expected, "{args}");
        }
    }

    #[test]
    fn a_range_that_is_none() {
        for bad in ["", "5", "a-b", "0-5", "1-70000"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
