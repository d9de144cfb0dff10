//! The configuration files of the components, as text.
//!
//! YAML files are written as JSON, which YAML contains: nothing has to be quoted by hand.

use super::add_ons;
use super::cidr::{self, both};
use super::datastore::Datastore;
use super::paths;
use super::role::Role;
use super::settings::Settings;
use crate::{Facts, File};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// containerd's configuration.
pub const CONTAINERD_TOML: &str = "/run/skerry/kube/containerd.toml";
/// kubelet's configuration.
pub const KUBELET_JSON: &str = "/run/skerry/kube/kubelet.json";
/// kubeadm's configuration.
pub const KUBEADM_JSON: &str = "/run/skerry/kube/kubeadm.json";
/// What kubelet gives to pods that use the node's DNS.
pub const RESOLV_CONF: &str = "/run/skerry/kube/resolv.conf";

/// Files that depend on nothing but the configuration.
pub fn fixed(settings: &Settings, facts: &Facts) -> Vec<File> {
    let mut files = vec![File::new(CONTAINERD_TOML, 0o644, containerd(&facts.release.pause))];
    if settings.role.is_server() && settings.metrics_server {
        files.push(File::new(paths::METRICS_CONF, 0o644, add_ons::metrics_kubeconfig()));
    }
    if settings.role == Role::First {
        files.push(File::new(KUBELET_JSON, 0o644, kubelet_text(settings)));
        // The range that the first node of a new cluster gets. Others are told theirs.
        if settings.network {
            let first = cidr::first_node(settings.pods, settings.pods6);
            files.push(File::new(paths::CONFLIST, 0o644, conflist(&first)));
        }
    }
    files
}

/// JSON, indented, with a newline at its end.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The text of containerd's configuration, with the sandbox image's name.
pub(crate) fn containerd(pause: &str) -> String {
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = -999
# The owner's additions.
imports = ["/etc/containerd/conf.d/*.toml"]
# They would look for file systems and devices that are not there.
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{socket}"

# What was unpacked is on the disk before it counts: a power cut would leave empty files in an image.
[plugins."io.containerd.cri.v1.images"]
image_pull_with_sync_fs = true

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = {pause:?}

[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/libexec/cni", "/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
"#,
        socket = paths::CONTAINERD,
    )
}

/// The pod network of one node: a bridge with addresses of `subnet`.
pub fn conflist(subnets: &[String]) -> String {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    let mut routes = vec![json!({ "dst": "0.0.0.0/0" })];
    if subnets.iter().any(|subnet| subnet.contains(':')) {
        routes.push(json!({ "dst": "::/0" }));
    }
    pretty(&json!({
        "cniVersion": "1.0.0",
        "name": "skerry",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                // The plugin would hide pods behind their node from all but its own; the agent's rule hides them from outside only.
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    // In memory: leases that outlive their pods in a power cut would use the range up.
                    "dataDir": "/run/cni/networks",
                    "ranges": ranges,
                    "routes": routes,
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "backend": "nftables" },
            { "type": "bandwidth", "capabilities": { "bandwidth": true } },
        ],
    }))
}

/// kubelet's configuration, as text.
pub fn kubelet_text(s: &Settings) -> String {
    let mut kubelet = kubelet(s);
    if s.swap {
        kubelet["memorySwap"] = memory_swap();
    }
    pretty(&kubelet)
}

/// Pods get their part of the swap that there is (`kubelet.config.k8s.io/v1beta1`); without it none, which is kubelet's own default.
pub fn memory_swap() -> Value {
    json!({ "swapBehavior": "LimitedSwap" })
}

fn kubelet(s: &Settings) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": format!("{}/ca.crt", paths::PKI) },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [s.dns],
        "clusterDomain": s.domain,
        "containerRuntimeEndpoint": format!("unix://{}", paths::CONTAINERD),
        // Flash: logs of a pod take 15 MiB at most.
        "containerLogMaxSize": "5Mi",
        "containerLogMaxFiles": 3,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "5%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "5%",
        },
        "failSwapOn": false,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        // Only a foreign CNI looks for kubelet's iptables chains; kube-proxy and our network use nftables.
        "makeIPTablesUtilChains": !s.network,
        "registerWithTaints": s.taints,
        "resolvConf": RESOLV_CONF,
        // The client certificate is reissued by the same rule as all others (`certs.rs`), without a signer in the cluster that
        // would have to be up first.
        "rotateCertificates": false,
        "shutdownGracePeriod": format!("{}s", s.grace.all.as_secs()),
        "shutdownGracePeriodCriticalPods": format!("{}s", s.grace.critical.as_secs()),
        "systemReserved": { "cpu": "100m", "memory": "200Mi" },
        // `/usr` is read-only.
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    })
}

/// Every name and address that the API server's certificate must hold.
pub fn names(s: &Settings, address: Ipv4Addr, others: &[String]) -> Vec<String> {
    let mut names: Vec<String> = vec![
        "127.0.0.1".into(),
        "localhost".into(),
        cidr::nth(s.services, 1).to_string(),
        s.node_name.clone(),
    ];
    names.push(address.to_string());
    names.extend(others.iter().cloned());
    names.extend(s.sans.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|n| !n.is_empty() && seen.insert(n.clone()));
    names
}

/// kubeadm's configuration: one run of `init` that does nothing but certificates and kubeconfigs, because each start of the
/// program costs more than the phase itself.
pub fn kubeadm(s: &Settings, facts: &Facts, address: Ipv4Addr, names: &[String]) -> String {
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": address, "bindPort": 6443 },
        "nodeRegistration": { "name": s.node_name, "criSocket": format!("unix://{}", paths::CONTAINERD), "taints": [] },
        "skipPhases": [
            "preflight", "kubelet-start", "control-plane", "etcd", "wait-control-plane", "upload-config", "upload-certs",
            "mark-control-plane", "bootstrap-token", "kubelet-finalize", "addon", "show-join-command",
        ],
    });
    format!("{}---\n{}", pretty(&init), pretty(&cluster(s, facts, "127.0.0.1", names)))
}

/// The `ClusterConfiguration`, with the endpoint by which the API is to be reached.
pub fn cluster(s: &Settings, facts: &Facts, endpoint: &str, names: &[String]) -> Value {
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "apiServer": { "certSANs": names },
        "certificatesDir": paths::PKI,
        "clusterName": "kubernetes",
        "controlPlaneEndpoint": format!("{endpoint}:6443"),
        "encryptionAlgorithm": "ECDSA-P256",
        "etcd": etcd(s, names),
        "kubernetesVersion": facts.release.kubernetes,
        "networking": { "dnsDomain": s.domain, "podSubnet": both(s.pods, s.pods6), "serviceSubnet": both(s.services, s.services6) },
    })
}

/// An external etcd needs no certificates of kubeadm's. The API server is started by us, with kine's socket.
fn etcd(s: &Settings, names: &[String]) -> Value {
    match s.datastore {
        Datastore::Etcd => json!({ "local": { "dataDir": paths::ETCD_DATA, "serverCertSANs": names, "peerCertSANs": names } }),
        _ => json!({ "external": { "endpoints": ["http://127.0.0.1:2379"] } }),
    }
}

/// `resolv.conf` for pods: the node's, without name servers that only the node itself can reach. One that answers nothing stands in
/// where there is none, because CoreDNS refuses to start with an empty list.
pub fn resolv_conf(node: &str) -> String {
    let is_server = |l: &str| l.trim_start().starts_with("nameserver");
    let reachable = |l: &str| {
        let address = l.split_whitespace().nth(1).and_then(|a| a.parse::<std::net::IpAddr>().ok());
        address.is_some_and(|a| !a.is_loopback() && !a.is_unspecified())
    };
    let kept = |l: &&str| {
        if is_server(l) {
            reachable(l)
        } else {
            !l.trim_start().starts_with('#')
        }
    };
    let mut out = String::new();
    for line in node.lines().filter(kept) {
        out.push_str(line);
        out.push('\n');
    }
    if !out.lines().any(is_server) {
        out.push_str("nameserver 192.0.2.1\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_may_swap_where_there_is_swap() {
        let kubelet = |swap: &str| {
            let mut config = skerry_config::types::Config::default();
            config.skerry.swap = swap.to_owned();
            let (settings, _) = crate::kubernetes::settings::settings(&config, &crate::Facts::default());
            kubelet_text(&settings)
        };
        assert!(kubelet("1GiB").contains("LimitedSwap"));
        assert!(!kubelet("").contains("memorySwap") && !kubelet("0").contains("memorySwap"));
    }

    #[test]
    fn pods_get_name_servers_that_they_can_reach() {
        assert_eq!(
            resolv_conf("# by netd\nnameserver 10.0.2.3\nsearch x\n"),
            "nameserver 10.0.2.3\nsearch x\n"
        );
        assert_eq!(
            resolv_conf("nameserver 127.0.0.53\noptions edns0\n"),
            "options edns0\nnameserver 192.0.2.1\n"
        );
        assert_eq!(resolv_conf(""), "nameserver 192.0.2.1\n");
        assert_eq!(resolv_conf("nameserver\nnameserver fd00::1\n"), "nameserver fd00::1\n");
    }
}
