//! k3s's words: which flag there is, whether it takes a value, and what it means here.

use crate::plan::Problem;

/// The key that problems of this file name.
const KEY: &str = "skerry.k3s_args";

/// A component with flags of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// `kubelet`.
    Kubelet,
    /// `kube-proxy`.
    Proxy,
    /// `etcd`.
    Etcd,
}

/// What a flag means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The node's name.
    NodeName,
    /// A node label, `key=value`.
    NodeLabel,
    /// A node taint, `key=value:Effect`.
    NodeTaint,
    /// The node's address in the cluster.
    NodeIp,
    /// An address that the node has outside.
    NodeExternalIp,
    /// The address that the API server announces.
    AdvertiseAddress,
    /// A further name or address in the API server's certificate.
    TlsSan,
    /// The pods' addresses.
    ClusterCidr,
    /// The services' addresses.
    ServiceCidr,
    /// Ports of `NodePort` services.
    NodePorts,
    /// The address of the cluster's DNS.
    ClusterDns,
    /// The cluster's DNS domain.
    ClusterDomain,
    /// k3s's pod network: `none` switches ours off too.
    FlannelBackend,
    /// An add-on not to install.
    Disable,
    /// Helm charts are not to be installed.
    DisableHelm,
    /// Network policies are not wanted.
    DisablePolicies,
    /// Where volumes of the class `local-path` lie on a node.
    StoragePath,
    /// No kube-proxy.
    DisableProxy,
    /// A further copy of the owner's kubeconfig.
    WriteKubeconfig,
    /// Who may read the owner's kubeconfig.
    WriteKubeconfigMode,
    /// The cluster's secret.
    Token,
    /// A file that holds the cluster's secret.
    TokenFile,
    /// A secret that only makes workers.
    AgentToken,
    /// A file that holds it.
    AgentTokenFile,
    /// The first of several servers: etcd.
    ClusterInit,
    /// A database of the owner's.
    DatastoreEndpoint,
    /// Its authority.
    DatastoreCa,
    /// Our certificate for it.
    DatastoreCert,
    /// The key of that.
    DatastoreKey,
    /// When snapshots are made.
    SnapshotSchedule,
    /// How many stay.
    SnapshotRetention,
    /// Where they lie.
    SnapshotDir,
    /// What they are called.
    SnapshotName,
    /// None are made.
    NoSnapshots,
    /// A server to join.
    Server,
    /// The `resolv.conf` of pods that use the node's DNS.
    ResolvConf,
    /// A flag for one component.
    Arg(Component),
    /// The flag asks for what is so here anyway.
    AsIs,
    /// No effect here; why, or what to use instead.
    Without(&'static str),
}

use Component::{ApiServer, ControllerManager, Etcd, Kubelet, Proxy, Scheduler};
use Meaning::{
    AdvertiseAddress, AgentToken, AgentTokenFile, Arg, AsIs, ClusterCidr, ClusterDns, ClusterDomain, ClusterInit, DatastoreCa,
    DatastoreCert, DatastoreEndpoint, DatastoreKey, Disable, DisableHelm, DisablePolicies, DisableProxy, FlannelBackend, NoSnapshots,
    NodeExternalIp, NodeIp, NodeLabel, NodeName, NodePorts, NodeTaint, ResolvConf, Server, ServiceCidr, SnapshotDir, SnapshotName,
    SnapshotRetention, SnapshotSchedule, StoragePath, TlsSan, Token, TokenFile, Without, WriteKubeconfig, WriteKubeconfigMode,
};

/// Whether a flag is followed by a value.
const VALUE: bool = true;
const SWITCH: bool = false;

const RESET: &str = "where one server is left of several, say once on that machine: skerry datastore alone";
const PUT_BACK: &str = "a snapshot is put back by a command, once: skerry datastore restore FILE";
const DATASTORE: &str = "kine listens on a socket that only root reaches";
const ETCD: &str = "etcd is as it is";
const SNAPSHOTS: &str = "snapshots are kept on this machine, as they are; copy them elsewhere from --etcd-snapshot-dir";
const RUNTIME: &str = "the container runtime is the embedded containerd; add to it by files in /etc/containerd/conf.d";
const NETWORK: &str = "pods use the standard bridge plugin; for another network say --flannel-backend=none and install its CNI";
const PATHS: &str = "the place is fixed: /var/lib/skerry/kube and /etc/kubernetes";
const PORT: &str = "the API server listens on all addresses, port 6443";
const K3S: &str = "this belongs to a part of k3s that the embedded Kubernetes does not have";
const LOG: &str = "logs are kept by the system: `skerry logs SERVICE`; verbosity by --kubelet-arg=v=4 and the like";
const LATER: &str = "not in this version";

/// Flag (without dashes), whether it takes a value, meaning.
const FLAGS: &[(&str, bool, Meaning)] = &[
    ("node-name", VALUE, NodeName),
    ("node-label", VALUE, NodeLabel),
    ("node-taint", VALUE, NodeTaint),
    ("node-ip", VALUE, NodeIp),
    ("i", VALUE, NodeIp),
    ("node-external-ip", VALUE, NodeExternalIp),
    ("advertise-address", VALUE, AdvertiseAddress),
    ("tls-san", VALUE, TlsSan),
    ("cluster-cidr", VALUE, ClusterCidr),
    ("service-cidr", VALUE, ServiceCidr),
    ("service-node-port-range", VALUE, NodePorts),
    ("cluster-dns", VALUE, ClusterDns),
    ("cluster-domain", VALUE, ClusterDomain),
    ("flannel-backend", VALUE, FlannelBackend),
    ("disable", VALUE, Disable),
    ("no-deploy", VALUE, Disable),
    ("disable-kube-proxy", SWITCH, DisableProxy),
    ("disable-helm-controller", SWITCH, DisableHelm),
    ("disable-network-policy", SWITCH, DisablePolicies),
    ("default-local-storage-path", VALUE, StoragePath),
    ("write-kubeconfig", VALUE, WriteKubeconfig),
    ("o", VALUE, WriteKubeconfig),
    ("write-kubeconfig-mode", VALUE, WriteKubeconfigMode),
    ("token", VALUE, Token),
    ("t", VALUE, Token),
    ("cluster-secret", VALUE, Token),
    ("token-file", VALUE, TokenFile),
    ("agent-token", VALUE, AgentToken),
    ("agent-token-file", VALUE, AgentTokenFile),
    ("server", VALUE, Server),
    ("s", VALUE, Server),
    ("resolv-conf", VALUE, ResolvConf),
    ("kube-apiserver-arg", VALUE, Arg(ApiServer)),
    ("kube-controller-manager-arg", VALUE, Arg(ControllerManager)),
    ("kube-controller-arg", VALUE, Arg(ControllerManager)),
    ("kube-scheduler-arg", VALUE, Arg(Scheduler)),
    ("kubelet-arg", VALUE, Arg(Kubelet)),
    ("kube-proxy-arg", VALUE, Arg(Proxy)),
    // What is so anyway.
    ("disable-cloud-controller", SWITCH, AsIs),
    ("disable-default-registry-endpoint", SWITCH, AsIs),
    ("prefer-bundled-bin", SWITCH, AsIs),
    ("tls-san-security", SWITCH, AsIs),
    ("etcd-disable-snapshots", SWITCH, NoSnapshots),
    ("etcd-snapshot-schedule-cron", VALUE, SnapshotSchedule),
    ("etcd-snapshot-retention", VALUE, SnapshotRetention),
    ("etcd-snapshot-dir", VALUE, SnapshotDir),
    ("etcd-snapshot-name", VALUE, SnapshotName),
    ("etcd-snapshot-compress", SWITCH, Without(SNAPSHOTS)),
    ("cluster-init", SWITCH, ClusterInit),
    // What has no effect.
    ("cluster-reset", SWITCH, Without(RESET)),
    ("cluster-reset-restore-path", VALUE, Without(PUT_BACK)),
    ("datastore-endpoint", VALUE, DatastoreEndpoint),
    ("datastore-cafile", VALUE, DatastoreCa),
    ("datastore-certfile", VALUE, DatastoreCert),
    ("datastore-keyfile", VALUE, DatastoreKey),
    ("kine-tls", SWITCH, Without(DATASTORE)),
    ("etcd-arg", VALUE, Arg(Etcd)),
    ("etcd-expose-metrics", SWITCH, Without(ETCD)),
    ("disable-etcd", SWITCH, Without(ETCD)),
    ("disable-apiserver", SWITCH, Without(LATER)),
    ("disable-controller-manager", SWITCH, Without(LATER)),
    ("disable-scheduler", SWITCH, Without(LATER)),
    ("disable-agent", SWITCH, Without(LATER)),
    ("docker", SWITCH, Without(RUNTIME)),
    ("container-runtime-endpoint", VALUE, Without(RUNTIME)),
    ("image-service-endpoint", VALUE, Without(RUNTIME)),
    ("default-runtime", VALUE, Without(RUNTIME)),
    ("pause-image", VALUE, Without(RUNTIME)),
    ("snapshotter", VALUE, Without(RUNTIME)),
    ("nonroot-devices", SWITCH, Without(RUNTIME)),
    (
        "private-registry",
        VALUE,
        Without("put registries into /etc/containerd/certs.d/HOST/hosts.toml"),
    ),
    ("system-default-registry", VALUE, Without("no image of the system is pulled")),
    ("embedded-registry", SWITCH, Without(K3S)),
    ("image-credential-provider-bin-dir", VALUE, Without("say it by --kubelet-arg")),
    ("image-credential-provider-config", VALUE, Without("say it by --kubelet-arg")),
    ("flannel-iface", VALUE, Without(NETWORK)),
    ("flannel-conf", VALUE, Without(NETWORK)),
    ("flannel-cni-conf", VALUE, Without(NETWORK)),
    ("flannel-ipv6-masq", SWITCH, Without(NETWORK)),
    ("flannel-external-ip", SWITCH, Without(NETWORK)),
    ("egress-selector-mode", VALUE, Without(K3S)),
    ("vpn-auth", VALUE, Without(LATER)),
    ("vpn-auth-file", VALUE, Without(LATER)),
    ("data-dir", VALUE, Without(PATHS)),
    ("d", VALUE, Without(PATHS)),
    (
        "config",
        VALUE,
        Without("k3s's own config file is not read in this version; say it in k3s_args"),
    ),
    (
        "c",
        VALUE,
        Without("k3s's own config file is not read in this version; say it in k3s_args"),
    ),
    ("bind-address", VALUE, Without(PORT)),
    ("https-listen-port", VALUE, Without(PORT)),
    ("supervisor-port", VALUE, Without(PORT)),
    ("apiserver-port", VALUE, Without(PORT)),
    ("apiserver-bind-address", VALUE, Without(PORT)),
    ("advertise-port", VALUE, Without(PORT)),
    ("lb-server-port", VALUE, Without(K3S)),
    ("write-kubeconfig-group", VALUE, Without("the group is skerry")),
    ("with-node-id", SWITCH, Without("the node's name is pinned at its first start")),
    ("node-internal-dns", VALUE, Without(LATER)),
    ("node-external-dns", VALUE, Without(LATER)),
    (
        "protect-kernel-defaults",
        SWITCH,
        Without("say it by --kubelet-arg=protect-kernel-defaults=true"),
    ),
    ("secrets-encryption", SWITCH, Without(LATER)),
    ("secrets-encryption-provider", VALUE, Without(LATER)),
    ("enable-pprof", SWITCH, Without(K3S)),
    ("supervisor-metrics", SWITCH, Without(K3S)),
    ("servicelb-namespace", VALUE, Without(K3S)),
    (
        "helm-job-image",
        VALUE,
        Without("helm runs on the servers themselves, not in a Job"),
    ),
    ("kube-cloud-controller-manager-arg", VALUE, Without(K3S)),
    ("rootless", SWITCH, Without(K3S)),
    ("selinux", SWITCH, Without("the kernel runs without SELinux")),
    ("debug", SWITCH, Without(LOG)),
    ("v", VALUE, Without(LOG)),
    ("vmodule", VALUE, Without(LOG)),
    ("log", VALUE, Without(LOG)),
    ("l", VALUE, Without(LOG)),
    ("alsologtostderr", SWITCH, Without(LOG)),
];

/// Flags by whole families, by prefix; they take a value.
const FAMILIES: &[(&str, Meaning)] = &[("etcd-snapshot", Without(SNAPSHOTS)), ("etcd-s3", Without(SNAPSHOTS))];

/// `server` or `agent`, as the arguments say it; none if they begin with a flag.
pub fn role(args: &[String]) -> Option<&str> {
    args.first().map(String::as_str).filter(|a| !a.starts_with('-'))
}

/// Reads arguments into meanings with their values. A switch's value is `true`, or what follows its `=`.
pub fn read(args: &[String]) -> (Vec<(Meaning, String)>, Vec<Problem>) {
    let (mut found, mut problems) = (vec![], vec![]);
    let mut args = args.iter().skip(usize::from(role(args).is_some())).peekable();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|f| !f.is_empty()) else {
            problems.push(Problem::ignored(
                KEY,
                format!("{arg:?} is no flag"),
                "flags begin with --; a value follows its flag, or its =",
            ));
            continue;
        };
        let (name, inline) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v.to_owned())));
        let family = || FAMILIES.iter().find(|(p, _)| name.starts_with(p)).map(|&(_, m)| (VALUE, m));
        let Some((takes, meaning)) = FLAGS.iter().find(|f| f.0 == name).map(|f| (f.1, f.2)).or_else(family) else {
            // An unknown flag may be followed by its value: one that does not look like a flag goes with it.
            if inline.is_none() {
                args.next_if(|a| !a.starts_with('-'));
            }
            problems.push(Problem::ignored(
                KEY,
                format!("--{name} is not a flag of k3s that is known here"),
                "remove it, or mend its name",
            ));
            continue;
        };
        let value = match (takes, inline) {
            (_, Some(v)) => Some(v),
            (SWITCH, None) => Some("true".to_owned()),
            (VALUE, None) => args.next().cloned(),
        };
        match (meaning, value) {
            (_, None) => problems.push(Problem::ignored(
                KEY,
                format!("--{name} has no value"),
                format!("write --{name}=VALUE"),
            )),
            (Without(_), Some(v)) if takes == SWITCH && v == "false" => {}
            (Without(why), Some(_)) => problems.push(Problem::ignored(KEY, format!("--{name} has no effect"), why)),
            (AsIs, Some(_)) => {}
            (meaning, Some(v)) => found.push((meaning, v)),
        }
    }
    (found, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_and_values_in_every_spelling() {
        let (found, problems) = read(&words(
            "server --node-name a -node-ip=10.0.0.1 --disable-kube-proxy --kubelet-arg max-pods=20",
        ));
        let want = [
            (NodeName, "a"),
            (NodeIp, "10.0.0.1"),
            (DisableProxy, "true"),
            (Arg(Kubelet), "max-pods=20"),
        ];
        assert_eq!(found, want.map(|(m, v)| (m, v.to_owned())));
        assert!(problems.is_empty());
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        for (args, why) in [
            ("server --nod-name a", "--nod-name is not a flag"),
            ("server stray", "\"stray\" is no flag"),
            ("--token", "--token has no value"),
            ("--docker", "--docker has no effect"),
            ("--etcd-s3-bucket=x", "--etcd-s3-bucket has no effect"),
            ("--cluster-reset", "--cluster-reset has no effect"),
        ] {
            let (found, problems) = read(&words(args));
            assert!(found.is_empty(), "{args}");
            assert_eq!(problems.len(), 1, "{args}: {problems:?}");
            assert!(problems[0].what.contains(why), "{args}: {problems:?}");
        }
        assert_eq!(read(&words("--docker=false --disable-cloud-controller")), (vec![], vec![]));
    }

    #[test]
    fn no_flag_is_there_twice() {
        for (at, (name, ..)) in FLAGS.iter().enumerate() {
            assert!(!FLAGS.iter().skip(at + 1).any(|f| f.0 == *name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read(args in proptest::collection::vec(".{0,12}", 0..8)) {
            let _ = read(&args);
        }
    }
}
