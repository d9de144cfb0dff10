//! Command lines of the components.

use super::Command;
use super::address::NodeAddress;
use super::arguments::Component;
use super::cidr::{both, node_prefix, node_prefix6};
use super::datastore::{self, Datastore};
use super::files;
use super::paths::{CONF, DATASTORE, KINE_URL, PKI};
use super::settings::Settings;
use std::net::Ipv4Addr;

pub(super) fn command(program: &str, flags: Vec<String>, component: Option<Component>, s: &Settings) -> Command {
    let mut argv = vec![format!("/usr/bin/{program}")];
    argv.extend(flags.into_iter().map(|f| format!("--{f}")));
    // The owner's come last: the last one counts.
    argv.extend(s.args.iter().filter(|(c, _)| Some(*c) == component).map(|(_, a)| format!("--{a}")));
    (argv, environment(s))
}

/// What every component gets.
pub fn environment(s: &Settings) -> Vec<(String, String)> {
    s.environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Adds the node's address to what is not reached by a proxy.
fn with_address((argv, mut env): Command, address: Ipv4Addr) -> Command {
    for (_, hosts) in env.iter_mut().filter(|(k, _)| k.eq_ignore_ascii_case("no_proxy")) {
        hosts.push(',');
        hosts.push_str(&address.to_string());
    }
    (argv, env)
}

/// SQLite behind etcd's API. `synchronous=FULL`: what was acknowledged is there after a power cut.
pub fn kine(s: &Settings) -> Command {
    if let Datastore::External(external) = &s.datastore {
        let flags = vec![format!("listen-address={KINE_URL}"), "metrics-bind-address=0".to_owned()];
        let (argv, mut env) = command("kine", flags, None, s);
        env.extend(external.kine_environment());
        return (argv, env);
    }
    let options = "_journal_mode=WAL&_busy_timeout=30000&_synchronous=FULL&_txlock=immediate&_stmt_cache_size=20";
    let flags = vec![
        format!("endpoint=sqlite://{DATASTORE}/state.db?{options}"),
        format!("listen-address={KINE_URL}"),
        "metrics-bind-address=0".to_owned(),
    ];
    command("kine", flags, None, s)
}

/// containerd; variables `CONTAINERD_X` reach it as `X`, as in k3s.
pub fn containerd(s: &Settings) -> Command {
    let argv = ["/usr/bin/containerd", "--config", files::CONTAINERD_TOML]
        .map(str::to_owned)
        .to_vec();
    let plain = |k: &str| k.strip_prefix("CONTAINERD_").unwrap_or(k).to_owned();
    (argv, s.environment.iter().map(|(k, v)| (plain(k), v.clone())).collect())
}

/// The API server.
pub fn api_server(s: &Settings, address: Ipv4Addr) -> Command {
    let mut flags: Vec<String> = vec![
        format!("advertise-address={address}"),
        "allow-privileged=true".into(),
        "authorization-mode=Node,RBAC".into(),
        format!("client-ca-file={PKI}/ca.crt"),
        "enable-admission-plugins=NodeRestriction".into(),
        "enable-bootstrap-token-auth=true".into(),
        format!("kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt"),
        format!("kubelet-client-key={PKI}/apiserver-kubelet-client.key"),
        // By address: a node's name need not resolve.
        "kubelet-preferred-address-types=InternalIP,Hostname,ExternalIP".into(),
        "profiling=false".into(),
        format!("proxy-client-cert-file={PKI}/front-proxy-client.crt"),
        format!("proxy-client-key-file={PKI}/front-proxy-client.key"),
        "requestheader-allowed-names=front-proxy-client".into(),
        format!("requestheader-client-ca-file={PKI}/front-proxy-ca.crt"),
        "requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        "requestheader-group-headers=X-Remote-Group".into(),
        "requestheader-username-headers=X-Remote-User".into(),
        "secure-port=6443".into(),
        format!("service-account-issuer=https://kubernetes.default.svc.{}", s.domain),
        format!("service-account-key-file={PKI}/sa.pub"),
        format!("service-account-signing-key-file={PKI}/sa.key"),
        format!("service-cluster-ip-range={}", both(s.services, s.services6)),
    ];
    flags.extend(datastore::api_server(s));
    flags.extend(s.node_ports.iter().map(|p| format!("service-node-port-range={p}")));
    flags.push(format!("tls-cert-file={PKI}/apiserver.crt"));
    flags.push(format!("tls-private-key-file={PKI}/apiserver.key"));
    with_address(command("kube-apiserver", flags, Some(Component::ApiServer), s), address)
}

/// Only one of several servers' controllers is at work. Who cannot renew its lease in time ends, to start and queue again: on a slow
/// medium that would be for ever by Kubernetes' defaults of 15, 10 and 2 s. A server that went away is replaced within the first.
fn one_of_many(s: &Settings) -> Vec<String> {
    if !s.has_peers() {
        return vec!["leader-elect=false".to_owned()];
    }
    let lease = ["lease-duration=60s", "renew-deadline=45s", "retry-period=5s"].map(|f| format!("leader-elect-{f}"));
    [vec!["leader-elect=true".to_owned()], lease.to_vec()].concat()
}

/// The controller-manager.
pub fn controller_manager(s: &Settings) -> Command {
    let conf = format!("{CONF}/controller-manager.conf");
    let mut flags = vec![
        "allocate-node-cidrs=true".into(),
        format!("authentication-kubeconfig={conf}"),
        format!("authorization-kubeconfig={conf}"),
        "bind-address=127.0.0.1".into(),
        format!("client-ca-file={PKI}/ca.crt"),
        format!("cluster-cidr={}", both(s.pods, s.pods6)),
        "cluster-name=kubernetes".into(),
        format!("cluster-signing-cert-file={PKI}/ca.crt"),
        format!("cluster-signing-key-file={PKI}/ca.key"),
        "controllers=*,bootstrapsigner,tokencleaner".into(),
        format!("kubeconfig={conf}"),
    ];
    flags.extend(match s.pods6 {
        None => vec![format!("node-cidr-mask-size={}", node_prefix(s.pods))],
        Some(six) => vec![
            format!("node-cidr-mask-size-ipv4={}", node_prefix(s.pods)),
            format!("node-cidr-mask-size-ipv6={}", node_prefix6(six)),
        ],
    });
    flags.extend([
        "profiling=false".into(),
        format!("requestheader-client-ca-file={PKI}/front-proxy-ca.crt"),
        format!("root-ca-file={PKI}/ca.crt"),
        format!("service-account-private-key-file={PKI}/sa.key"),
        format!("service-cluster-ip-range={}", both(s.services, s.services6)),
        "use-service-account-credentials=true".into(),
    ]);
    let flags = [flags, one_of_many(s)].concat();
    command("kube-controller-manager", flags, Some(Component::ControllerManager), s)
}

/// The scheduler.
pub fn scheduler(s: &Settings) -> Command {
    let conf = format!("{CONF}/scheduler.conf");
    let flags = vec![
        format!("authentication-kubeconfig={conf}"),
        format!("authorization-kubeconfig={conf}"),
        "bind-address=127.0.0.1".into(),
        format!("kubeconfig={conf}"),
        "profiling=false".into(),
    ];
    let flags = [flags, one_of_many(s)].concat();
    command("kube-scheduler", flags, Some(Component::Scheduler), s)
}

/// kubelet.
pub fn kubelet(s: &Settings, address: NodeAddress) -> Command {
    let labels: Vec<_> = s
        .labels
        .iter()
        .filter(|(k, _)| super::node::kubelet_may_set(k))
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let flags = vec![
        format!("config={}", files::KUBELET_JSON),
        format!("hostname-override={}", s.node_name),
        format!("kubeconfig={CONF}/kubelet.conf"),
        format!("node-ip={address}"),
        format!("node-labels={}", labels.join(",")),
    ];
    with_address(command("kubelet", flags, Some(Component::Kubelet), s), address.four)
}

/// metrics-server: for the API server on this machine only.
pub fn metrics_server(s: &Settings) -> Command {
    let conf = super::paths::METRICS_CONF;
    let flags = vec![
        format!("authentication-kubeconfig={conf}"),
        format!("authorization-kubeconfig={conf}"),
        "bind-address=127.0.0.1".into(),
        // kubelets sign their own certificates; the API server does not look at them either.
        "kubelet-insecure-tls".into(),
        "kubelet-preferred-address-types=InternalIP".into(),
        "kubelet-use-node-status-port".into(),
        format!("kubeconfig={conf}"),
        "metric-resolution=15s".into(),
        format!("secure-port={}", super::add_ons::METRICS_PORT),
        format!("tls-cert-file={}", super::paths::METRICS_CRT),
        format!("tls-private-key-file={}", super::paths::METRICS_KEY),
    ];
    command("metrics-server", flags, None, s)
}

/// kube-proxy: kubelet's certificate, and a role for the group `system:nodes`.
pub fn proxy(s: &Settings) -> Command {
    let flags = vec![
        format!("cluster-cidr={}", both(s.pods, s.pods6)),
        "healthz-bind-address=127.0.0.1:10256".into(),
        format!("hostname-override={}", s.node_name),
        format!("kubeconfig={CONF}/kubelet.conf"),
        "metrics-bind-address=127.0.0.1:10249".into(),
        "proxy-mode=nftables".into(),
    ];
    command("kube-proxy", flags, Some(Component::Proxy), s)
}
