//! Which nodes' addresses a Service of type `LoadBalancer` gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The class that is ours; none is, too.
pub const CLASS: &str = "skerry.io/service-lb";
/// As k3s has it: if a node carries it with the value `true`, only such nodes are taken.
pub const ENABLE: &str = "svccontroller.k3s.cattle.io/enablelb";
/// As k3s has it, on nodes and Services: only nodes of the Service's pool are taken.
pub const POOL: &str = "svccontroller.k3s.cattle.io/lbpool";
/// Kubernetes' own: such a node is never taken.
pub const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What nodes serve themselves: a Service would take it away from them.
const OWN_PORTS: [(&str, u16, &str); 9] = [
    ("TCP", 22, "SSH"),
    ("TCP", 2379, "etcd"),
    ("TCP", 2380, "etcd"),
    ("TCP", 6443, "the Kubernetes API"),
    ("TCP", 10250, "kubelet"),
    ("TCP", 10256, "kube-proxy's health"),
    ("UDP", 68, "DHCP"),
    ("UDP", 8472, "the pod network"),
    ("UDP", 51820, "the pod network"),
];

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Ready, and not excluded.
    pub takes: bool,
    /// Where it is reached by IPv4.
    pub address: Option<Ipv4Addr>,
    /// Where it is reached by IPv6, in a cluster that has both.
    pub address6: Option<Ipv6Addr>,
    /// [`ENABLE`] is `true`.
    pub enabled: bool,
    /// [`POOL`].
    pub pool: Option<String>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Service {
    /// Type `LoadBalancer`, and of our class or none.
    pub ours: bool,
    /// Its status was written by us.
    pub written: bool,
    /// When it was made: RFC 3339, so that texts compare.
    pub made: String,
    /// Protocol and port.
    pub ports: Vec<(String, u16)>,
    /// Whether it is one of IPv4.
    pub four: bool,
    /// Whether it is one of IPv6.
    pub six: bool,
    /// `externalTrafficPolicy: Local`.
    pub local: bool,
    /// [`POOL`].
    pub pool: Option<String>,
    /// The addresses in its status.
    pub now: Vec<String>,
}

/// Namespace and name.
pub type Name = (String, String);

/// The cluster, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// All nodes, by name.
    pub nodes: BTreeMap<String, Node>,
    /// All Services.
    pub services: BTreeMap<Name, Service>,
    /// `EndpointSlice` (by namespace and its own name) → its Service, and nodes with a ready pod.
    pub slices: BTreeMap<Name, (String, BTreeSet<String>)>,
}

/// What is to be done with one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub service: Name,
    /// Its addresses from now on.
    pub addresses: Vec<IpAddr>,
    /// They are not in its status yet.
    pub write: bool,
    /// Why it has none.
    pub problem: Option<String>,
}

/// What every Service of ours should have; others that we once wrote get nothing.
pub fn plan(cluster: &Cluster) -> Vec<Change> {
    let mut services: Vec<(&Name, &Service)> = cluster.services.iter().collect();
    // Who was first keeps the port.
    services.sort_by(|a, b| (&a.1.made, a.0).cmp(&(&b.1.made, b.0)));
    let mut taken: BTreeMap<(&str, u16), &Name> = BTreeMap::new();
    let mut changes = vec![];
    for (name, service) in services {
        let (addresses, problem) = if service.ours {
            if let Some(why) = clash(service, &taken) {
                (vec![], Some(why))
            } else {
                taken.extend(service.ports.iter().map(|(protocol, port)| ((protocol.as_str(), *port), name)));
                let found = addresses(cluster, name, service);
                let none = found
                    .is_empty()
                    .then(|| "no node takes it: none is Ready, labelled for it, or has a pod of it".to_owned());
                (found, none)
            }
        } else if service.written {
            (vec![], None)
        } else {
            continue;
        };
        let same = addresses.iter().map(ToString::to_string).eq(service.now.iter().cloned());
        if !same || problem.is_some() {
            changes.push(Change {
                service: name.clone(),
                addresses,
                write: !same,
                problem,
            });
        }
    }
    changes
}

fn clash(service: &Service, taken: &BTreeMap<(&str, u16), &Name>) -> Option<String> {
    service.ports.iter().find_map(|(protocol, port)| {
        if let Some((.., what)) = OWN_PORTS.iter().find(|(p, n, _)| p == protocol && n == port) {
            return Some(format!("{protocol} port {port} is the nodes' own, for {what}: take another"));
        }
        let (namespace, name) = taken.get(&(protocol.as_str(), *port))?;
        Some(format!(
            "{protocol} port {port} is taken by Service {namespace}/{name}, which was first: take another"
        ))
    })
}

fn addresses(cluster: &Cluster, name: &Name, service: &Service) -> Vec<IpAddr> {
    let chosen = cluster.nodes.values().any(|n| n.enabled);
    let of_service = |at: &Name, of: &str| at.0 == name.0 && of == name.1;
    let with_pod: BTreeSet<&str> = cluster
        .slices
        .iter()
        .filter(|(at, (of, _))| of_service(at, of))
        .flat_map(|(_, (_, nodes))| nodes.iter().map(String::as_str))
        .collect();
    let takes = |n: &&Node| {
        let labelled = !chosen || n.enabled;
        let pooled = service.pool.is_none() || service.pool == n.pool;
        n.takes && labelled && pooled && (!service.local || with_pod.contains(n.name.as_str()))
    };
    let four = |n: &Node| n.address.filter(|_| service.four).map(IpAddr::from);
    let six = |n: &Node| n.address6.filter(|_| service.six).map(IpAddr::from);
    let found: BTreeSet<IpAddr> = cluster
        .nodes
        .values()
        .filter(takes)
        .flat_map(|n| [four(n), six(n)])
        .flatten()
        .collect();
    found.into_iter().collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
