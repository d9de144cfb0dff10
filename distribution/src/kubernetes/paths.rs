//! Where things lie. Fixed: support, backup and updates depend on it.

/// Rendered at each boot (tmpfs).
pub const RUN: &str = "/run/skerry/kube";
/// Our state on the data partition, 0700.
pub const STATE: &str = "/var/lib/skerry/kube";
/// The datastore, 0700.
pub const DATASTORE: &str = "/var/lib/skerry/kube/db";
/// etcd's data, 0700.
pub const ETCD_DATA: &str = "/var/lib/skerry/kube/etcd";
/// Copies of the cluster's objects, 0700.
pub const SNAPSHOTS: &str = "/var/lib/skerry/kube/snapshots";
/// What the owner ordered to be done to the datastore at the next boot: [`super::change::Order`].
pub const ORDER: &str = "/var/lib/skerry/kube/datastore.order";
/// The snapshot that is to be put back.
pub const RESTORE: &str = "/var/lib/skerry/kube/datastore.restore";
/// All programs of Kubernetes in one, by the name under which it takes the program's name as its first argument.
pub const PROGRAMS: &str = "/usr/libexec/kubernetes/kubernetes";
/// There while this server's etcd has no vote yet.
pub const LEARNER: &str = "/var/lib/skerry/kube/etcd.learner";
/// What a further server was given, sealed: see [`super::bundle`].
pub const BUNDLE: &str = "/run/skerry/kube/bundle";
/// kine's socket lies alone in a directory that only root can enter.
pub const KINE_DIR: &str = "/run/skerry/kube/kine";
/// What the API server talks to.
pub const KINE_URL: &str = "unix:///run/skerry/kube/kine/kine.sock";
/// The cluster's secret, where none is given.
pub const TOKEN: &str = "/var/lib/skerry/kube/token";
/// Certificates and keys.
pub const PKI: &str = "/etc/kubernetes/pki";
/// Kubeconfigs.
pub const CONF: &str = "/etc/kubernetes";
/// There once the first set of keys was written as a whole.
pub const COMPLETE: &str = "/etc/kubernetes/.complete";
/// The owner's kubeconfig.
pub const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// Add-ons of the owner, kept applied by the servers' agent.
pub const MANIFESTS: [&str; 2] = ["/var/lib/rancher/k3s/server/manifests", "/var/lib/skerry/manifests"];
/// Add-ons that come with the system, rendered at each boot; kept applied like the owner's.
pub const ADD_ONS: &str = "/run/skerry/kube/manifests";
/// Volumes of the class `local-path`, where k3s has them.
pub const STORAGE: &str = "/var/lib/rancher/k3s/storage";
/// Charts of the owner: `https://%{KUBERNETES_API}%/static/charts/…` means a file here.
pub const CHARTS: &str = "/var/lib/rancher/k3s/server/static/charts";
/// metrics-server's kubeconfig.
pub const METRICS_CONF: &str = "/run/skerry/kube/metrics-server.conf";
/// Its certificate, for both directions, signed by the agent at each start; in memory.
pub const METRICS_CRT: &str = "/run/skerry/kube/metrics-server/tls.crt";
/// The key of that.
pub const METRICS_KEY: &str = "/run/skerry/kube/metrics-server/tls.key";
/// The sandbox image; its program also makes and removes folders of volumes.
pub const PAUSE_IMAGE: &str = "skerry.local/pause:1";
/// Images that come with the system.
pub const IMAGES: &str = "/usr/share/skerry/images";
/// Images of the owner.
pub const OWNER_IMAGES: &str = "/var/lib/rancher/k3s/agent/images";
/// containerd's socket.
pub const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// The pod network's configuration; sorts after what a foreign CNI writes, so that theirs wins.
pub const CONFLIST: &str = "/etc/cni/net.d/90-skerry.conflist";
/// How everything on this machine reaches the API.
pub const LOCAL_API: &str = "https://127.0.0.1:6443";
/// The address of a node without any network, on a dummy interface (a benchmark range that is routed nowhere).
pub const ISLAND: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 0, 1);
/// The interface that carries it.
pub const ISLAND_LINK: &str = "skerry0";
/// The helper that performs.
pub const SETUP: &str = "/usr/lib/skerry/setup";
/// The helper that fetches.
pub const FETCH: &str = "/usr/lib/skerry/fetch";
/// The helper that talks to the cluster.
pub const AGENT: &str = "/usr/lib/skerry/agent";
/// Tells kubelet of a shutdown.
pub const LOGIND: &str = "/usr/lib/skerry/logind";
/// What `agent join` is to do: servers, token, name. It holds the token: 0600, in memory.
pub const JOIN: &str = "/run/skerry/kube/join.json";
/// What `agent run` is to do.
pub const AGENT_JSON: &str = "/run/skerry/kube/agent.json";
/// What a node that joined was told of its cluster.
pub const CLUSTER: &str = "/var/lib/skerry/kube/cluster.json";
