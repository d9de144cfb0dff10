//! What the configuration asks of this node: one value for each choice, and the problems that were met on the way.
//!
//! Sources, later wins: our defaults, `K3S_…` variables of `environment`, `token` and `server_url`, `k3s_args`, `labels` and
//! `taints` (k3OS put those after the owner's arguments).

use super::arguments::{self, Component, Meaning};
use super::backend::Backend;
use super::cidr;
use super::datastore::{Datastore, External};
use super::farewell::{self, Grace};
use super::node::{self, Taint};
use super::paths;
use super::role::{Endpoint, Role};
use super::schedule::Schedule;
use super::snapshots::Snapshots;
use crate::{Facts, Problem};
use skerry_config::address::{Ipv4Net, Ipv6Net};
use skerry_config::types::{Config, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Where the cluster's secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// From the configuration.
    Given(Secret<String>),
    /// From a file.
    File(String),
    /// None is given: 128 random bits, kept.
    Random,
}

/// Every choice, made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Settings {
    /// The node's name.
    pub node_name: String,
    /// What the node is to its cluster.
    pub role: Role,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: BTreeSet<Taint>,
    /// The node's address, where it is fixed by the owner.
    pub node_ip: Option<Ipv4Addr>,
    /// Its IPv6 address, where it is fixed by the owner; it counts in a cluster that has both.
    pub node_ip6: Option<Ipv6Addr>,
    /// Names and addresses for the API server's certificate, besides the node's own.
    pub sans: BTreeSet<String>,
    /// The pods' network.
    pub pods: Ipv4Net,
    /// The pods' network of IPv6, in a cluster that has both.
    pub pods6: Option<Ipv6Net>,
    /// The services' network.
    pub services: Ipv4Net,
    /// The services' network of IPv6, in a cluster that has both.
    pub services6: Option<Ipv6Net>,
    /// Ports of `NodePort` services.
    pub node_ports: Option<String>,
    /// Address of the cluster's DNS.
    pub dns: Ipv4Addr,
    /// The cluster's domain.
    pub domain: String,
    /// Whether pods get our bridge network.
    pub network: bool,
    /// How pods of different nodes reach each other.
    pub backend: Backend,
    /// Whether kube-proxy runs.
    pub proxy: bool,
    /// Whether CoreDNS is installed.
    pub coredns: bool,
    /// Whether Services of type `LoadBalancer` get the nodes' addresses.
    pub service_lb: bool,
    /// Where volumes of the class `local-path` lie on their node; none: there is no such class.
    pub local_storage: Option<String>,
    /// Whether `kubectl top` and autoscalers get numbers.
    pub metrics_server: bool,
    /// Whether `HelmChart` objects are installed.
    pub helm: bool,
    /// The owner knows that there is no ingress controller (`--disable=traefik`).
    pub no_ingress: bool,
    /// The owner knows that network policies are not enforced (`--disable-network-policy`).
    pub no_policies: bool,
    /// Permissions of the owner's kubeconfig.
    pub kubeconfig_mode: u32,
    /// A further copy of it.
    pub kubeconfig_copy: Option<String>,
    /// Where the cluster's objects are kept.
    pub datastore: Datastore,
    /// Copies of them.
    pub snapshots: Snapshots,
    /// The cluster's secret.
    pub token: Token,
    /// A second secret, which only makes workers.
    pub agent_token: Option<Token>,
    /// `resolv.conf` for pods that use the node's DNS; none = the system's.
    pub resolv_conf: Option<String>,
    /// How long pods have to end when the machine goes down.
    pub grace: Grace,
    /// Whether there is swap, which pods may use.
    pub swap: bool,
    /// Whether a D-Bus runs, for Wi-Fi.
    pub has_bus: bool,
    /// Flags of single components, without dashes, in order.
    pub args: Vec<(Component, String)>,
    /// Environment of every component.
    pub environment: BTreeMap<String, String>,
}

/// Reads the pods' or the services' network: one of IPv4, and perhaps one of IPv6 beside it, in either order. What is wrong, and what
/// to write.
fn networks(meaning: Meaning, value: &str) -> Result<(Ipv4Net, Option<Ipv6Net>), (&'static str, &'static str)> {
    let words: Vec<&str> = value.split(',').map(str::trim).collect();
    let four = words.iter().find_map(|word| cidr::four(word)).filter(|c| c.prefix_len() <= 28);
    let four = four.ok_or((
        "IPv4 network of at least 16 addresses",
        "one like 10.42.0.0/16; one of IPv6 may stand beside it",
    ))?;
    let (largest, form) = match meaning {
        // The API server's limit: 2²⁰ services.
        Meaning::ServiceCidr => (
            108,
            "10.43.0.0/16,fd43::/112: one network of each family, and that of IPv6 no larger than /108",
        ),
        _ => (0, "10.42.0.0/16,fd42::/56: one network of each family"),
    };
    match words.as_slice() {
        [_] => Ok((four, None)),
        [a, b] => match cidr::six(a)
            .or_else(|| cidr::six(b))
            .filter(|six| (largest..=120).contains(&six.prefix_len()))
        {
            Some(six) => Ok((four, Some(six))),
            None => Err(("network of IPv4 with one of IPv6", form)),
        },
        _ => Err(("network of IPv4 with one of IPv6", form)),
    }
}

/// Variables that change how a component behaves under another supervisor, and so must not reach it.
pub const DENIED: &[&str] = &[
    "INVOCATION_ID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
];

const ARGS: &str = "skerry.k3s_args";

/// Reads the configuration.
pub fn settings(config: &Config, facts: &Facts) -> (Settings, Vec<Problem>) {
    let s = &config.skerry;
    let pods = Ipv4Net::new_assert(Ipv4Addr::new(10, 42, 0, 0), 16);
    let services = Ipv4Net::new_assert(Ipv4Addr::new(10, 43, 0, 0), 16);
    let mut settings = Settings {
        node_name: facts.node_name.clone(),
        role: Role::First,
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        node_ip: None,
        node_ip6: None,
        sans: BTreeSet::new(),
        pods,
        pods6: None,
        services,
        services6: None,
        node_ports: None,
        dns: cidr::nth(services, 10),
        domain: "cluster.local".to_owned(),
        network: true,
        backend: Backend::Vxlan,
        proxy: true,
        coredns: true,
        service_lb: true,
        local_storage: Some(paths::STORAGE.to_owned()),
        metrics_server: true,
        helm: true,
        no_ingress: false,
        no_policies: false,
        kubeconfig_mode: 0o640,
        kubeconfig_copy: None,
        datastore: Datastore::Sqlite,
        snapshots: Snapshots::default(),
        token: Token::Random,
        agent_token: None,
        resolv_conf: None,
        grace: Grace::default(),
        swap: config.has_swap(),
        has_bus: config.has_wifi(),
        args: vec![],
        environment: BTreeMap::new(),
    };
    let (given, mut problems) = arguments::read(&s.k3s_args);
    let mut reader = Reader {
        settings: &mut settings,
        problems: &mut problems,
        dns_given: false,
        server: None,
        cluster_init: false,
        external: External::default(),
        no_storage: false,
    };
    reader.environment(&s.environment);
    if let Some(token) = s.token.as_ref().filter(|t| !t.0.is_empty()) {
        reader.settings.token = Token::Given(token.clone());
    }
    if let Some(url) = s.server_url.as_ref().filter(|u| !u.is_empty()) {
        reader.server = Some(("skerry.server_url", url.clone()));
    }
    for (meaning, value) in given {
        reader.apply(ARGS, meaning, &value);
    }
    for (key, value) in &s.labels {
        reader.label("skerry.labels", key, value);
    }
    for taint in &s.taints {
        reader.apply("skerry.taints", Meaning::NodeTaint, taint);
    }
    reader.label("skerry.labels", "k3os.io/mode", &facts.mode);
    reader.label("skerry.labels", "k3os.io/version", &facts.release.version);
    reader.role(arguments::role(&s.k3s_args));
    reader.datastore();
    if reader.no_storage {
        reader.settings.local_storage = None;
    }
    reader.families();
    reader.token_strength();
    reader.proxies();
    let (grace, more) = farewell::take(&mut settings.args);
    settings.grace = grace;
    problems.extend(more);
    (settings, problems)
}

struct Reader<'a> {
    settings: &'a mut Settings,
    problems: &'a mut Vec<Problem>,
    dns_given: bool,
    /// The key that named the server last, and its text.
    server: Option<(&'static str, String)>,
    cluster_init: bool,
    external: External,
    no_storage: bool,
}

impl Reader<'_> {
    fn ignored(&mut self, key: &str, what: String, hint: &str) {
        self.problems.push(Problem::ignored(key, what, hint));
    }

    /// A server that makes a cluster knows its families; another node hears of them when it joins.
    fn families(&mut self) {
        let s = &self.settings;
        if let (Some(six), None, Role::First) = (s.node_ip6, s.pods6, &s.role) {
            let what = format!("--node-ip: {six} has no effect, because --cluster-cidr has no network of IPv6");
            let hint = "add one on a new cluster, --cluster-cidr=10.42.0.0/16,fd42::/56, or leave the address out";
            self.ignored(ARGS, what, hint);
        }
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for (name, value) in environment {
            let meaning = match name.as_str() {
                "K3S_KUBECONFIG_MODE" => Meaning::WriteKubeconfigMode,
                "K3S_KUBECONFIG_OUTPUT" => Meaning::WriteKubeconfig,
                "K3S_NODE_NAME" => Meaning::NodeName,
                "K3S_TOKEN" | "K3S_CLUSTER_SECRET" => Meaning::Token,
                "K3S_TOKEN_FILE" => Meaning::TokenFile,
                "K3S_CLUSTER_INIT" => Meaning::ClusterInit,
                "K3S_DATASTORE_ENDPOINT" => Meaning::DatastoreEndpoint,
                "K3S_DATASTORE_CAFILE" => Meaning::DatastoreCa,
                "K3S_DATASTORE_CERTFILE" => Meaning::DatastoreCert,
                "K3S_DATASTORE_KEYFILE" => Meaning::DatastoreKey,
                "K3S_AGENT_TOKEN" => Meaning::AgentToken,
                "K3S_AGENT_TOKEN_FILE" => Meaning::AgentTokenFile,
                "K3S_URL" => Meaning::Server,
                "K3S_RESOLV_CONF" => Meaning::ResolvConf,
                n if n.starts_with("K3S_") => {
                    self.ignored(
                        "skerry.environment",
                        format!("{name} has no effect"),
                        "the embedded Kubernetes does not read it",
                    );
                    continue;
                }
                n if DENIED.contains(&n) => {
                    self.ignored(
                        "skerry.environment",
                        format!("{name} has no effect"),
                        "it belongs to the supervisor; remove it",
                    );
                    continue;
                }
                _ => {
                    self.settings.environment.insert(name.clone(), value.clone());
                    continue;
                }
            };
            self.apply("skerry.environment", meaning, value);
        }
    }

    #[allow(clippy::too_many_lines, reason = "a table: one arm for each meaning")]
    fn apply(&mut self, key: &str, meaning: Meaning, value: &str) {
        let bad = |what: &str, form: &str| Problem::ignored(key, format!("{value:?} is no {what}"), format!("write {form}"));
        let problem = match meaning {
            Meaning::NodeName => {
                let name = value.to_ascii_lowercase();
                if node::is_subdomain(&name) {
                    self.settings.node_name = name;
                    return;
                }
                bad("node name", "lower-case letters, digits, dashes and dots")
            }
            Meaning::NodeLabel => {
                let (k, v) = value.split_once('=').unwrap_or((value, ""));
                return self.label(key, k, v);
            }
            Meaning::NodeTaint => match Taint::parse(value) {
                Some(taint) => {
                    self.settings.taints.insert(taint);
                    return;
                }
                None => bad("taint", "key=value:NoSchedule, :PreferNoSchedule or :NoExecute"),
            },
            Meaning::NodeIp | Meaning::AdvertiseAddress => match first(value) {
                Some(ip) => {
                    self.settings.node_ip = Some(ip);
                    self.settings.node_ip6 = first(value).or(self.settings.node_ip6);
                    return;
                }
                None => bad("IPv4 address of a node", "an address like 192.168.1.20"),
            },
            Meaning::NodeExternalIp | Meaning::TlsSan => {
                for name in value.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                    let plain = name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
                    if plain.parse::<IpAddr>().is_ok() || node::is_subdomain(&plain) {
                        self.settings.sans.insert(name.to_ascii_lowercase());
                    } else {
                        self.ignored(
                            key,
                            format!("{name:?} is neither a name nor an address"),
                            "write a DNS name or an IP address",
                        );
                    }
                }
                if meaning == Meaning::TlsSan {
                    return;
                }
                let what = format!("{value}: named in the API server's certificate, but not announced as the node's external address");
                Problem::warning(key, what, "nothing is to be done; pods do not need it")
            }
            Meaning::ClusterCidr | Meaning::ServiceCidr => match networks(meaning, value) {
                Ok((four, six)) if meaning == Meaning::ClusterCidr => {
                    (self.settings.pods, self.settings.pods6) = (four, six);
                    return;
                }
                Ok((four, six)) => {
                    (self.settings.services, self.settings.services6) = (four, six);
                    if !self.dns_given {
                        self.settings.dns = cidr::nth(four, 10);
                    }
                    return;
                }
                Err((what, form)) => bad(what, form),
            },
            Meaning::ClusterDns => match first(value) {
                Some(ip) => {
                    self.dns_given = true;
                    self.settings.dns = ip;
                    return;
                }
                None => bad("IPv4 address", "an address inside the services' network"),
            },
            Meaning::ClusterDomain if node::is_subdomain(value) => {
                value.clone_into(&mut self.settings.domain);
                return;
            }
            Meaning::ClusterDomain => bad("domain", "one like cluster.local"),
            Meaning::WriteKubeconfigMode => match u32::from_str_radix(value.trim_start_matches("0o"), 8).ok().filter(|m| *m <= 0o777) {
                Some(mode) => {
                    self.settings.kubeconfig_mode = mode;
                    if mode % 8 == 0 {
                        return;
                    }
                    let what = format!("the kubeconfig is readable by everyone on the machine (mode {value})");
                    Problem::warning(key, what, "0640 is enough: its group is skerry")
                }
                None => bad("file mode", "octal, like 640"),
            },
            Meaning::StoragePath if value.starts_with('/') && !value.split('/').any(|part| part == "..") => {
                self.settings.local_storage = Some(value.trim_end_matches('/').to_owned());
                return;
            }
            Meaning::StoragePath => bad("absolute path", "one like /var/lib/rancher/k3s/storage"),
            Meaning::FlannelBackend => match Backend::parse(value) {
                Some(backend) => {
                    self.settings.backend = backend;
                    self.settings.network = backend != Backend::None;
                    return;
                }
                None => bad("pod network", "vxlan, host-gw, wireguard-native, or none for a CNI of your own"),
            },
            Meaning::SnapshotSchedule | Meaning::SnapshotRetention | Meaning::SnapshotDir | Meaning::SnapshotName => {
                return self.snapshots(key, meaning, value);
            }
            other => return self.plain(key, other, value),
        };
        self.problems.push(problem);
    }

    /// What is asked of snapshots.
    fn snapshots(&mut self, key: &str, meaning: Meaning, value: &str) {
        let snapshots = &mut self.settings.snapshots;
        let (what, form) = match meaning {
            Meaning::SnapshotSchedule => match Schedule::parse(value) {
                Some(schedule) => {
                    // Switched off stays so, whatever comes first.
                    snapshots.schedule = snapshots.schedule.take().map(|_| schedule);
                    return;
                }
                None => ("schedule", "cron's five fields, like \"0 */12 * * *\", or @every 6h"),
            },
            Meaning::SnapshotRetention => match value.parse().ok().filter(|keep| *keep > 0) {
                Some(keep) => {
                    snapshots.keep = keep;
                    return;
                }
                None => ("number of snapshots", "how many are to stay, at least 1"),
            },
            Meaning::SnapshotDir if value.starts_with('/') => return value.trim_end_matches('/').clone_into(&mut snapshots.folder),
            Meaning::SnapshotDir => ("folder", "a whole path, below /var or another place that persists"),
            _ if node::is_subdomain(value) => return value.clone_into(&mut snapshots.name),
            _ => ("name of a file", "lower-case letters, digits, dashes and dots"),
        };
        self.ignored(key, format!("{value:?} is no {what}"), &format!("write {form}"));
    }

    /// Meanings whose values cannot be wrong.
    fn plain(&mut self, key: &str, meaning: Meaning, value: &str) {
        let s = &mut *self.settings;
        match meaning {
            Meaning::Token => s.token = Token::Given(Secret(value.to_owned())),
            Meaning::TokenFile => s.token = Token::File(value.to_owned()),
            Meaning::ClusterInit => self.cluster_init = value == "true",
            Meaning::NoSnapshots if value == "true" => s.snapshots.schedule = None,
            Meaning::DatastoreEndpoint => self.external.endpoint = Secret(value.to_owned()),
            Meaning::DatastoreCa => self.external.ca = Some(value.to_owned()),
            Meaning::DatastoreCert => self.external.cert = Some(value.to_owned()),
            Meaning::DatastoreKey => self.external.key = Some(value.to_owned()),
            Meaning::AgentToken => s.agent_token = Some(Token::Given(Secret(value.to_owned()))),
            Meaning::AgentTokenFile => s.agent_token = Some(Token::File(value.to_owned())),
            Meaning::Server => self.server = Some((if key == ARGS { ARGS } else { "skerry.environment" }, value.to_owned())),
            Meaning::ResolvConf => s.resolv_conf = Some(value.to_owned()),
            Meaning::NodePorts => s.node_ports = Some(value.to_owned()),
            Meaning::DisableProxy => s.proxy = value != "true",
            Meaning::WriteKubeconfig => s.kubeconfig_copy = value.starts_with('/').then(|| value.to_owned()),
            Meaning::Disable => self.disable(key, value),
            Meaning::DisableHelm => s.helm = value != "true",
            Meaning::DisablePolicies => s.no_policies = value == "true",
            Meaning::Arg(component) => s.args.push((component, value.trim_start_matches('-').to_owned())),
            _ => {}
        }
    }

    fn disable(&mut self, key: &str, value: &str) {
        for name in value.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            let s = &mut *self.settings;
            match name {
                "coredns" => s.coredns = false,
                "servicelb" => s.service_lb = false,
                "local-storage" => self.no_storage = true,
                "metrics-server" => s.metrics_server = false,
                "helm-controller" => s.helm = false,
                "traefik" => s.no_ingress = true,
                "network-policy" => s.no_policies = true,
                // Parts of k3s that are not there.
                "ccm" | "runtimes" | "rolebindings" => {}
                other => self.ignored(
                    key,
                    format!("{other:?} is no add-on"),
                    "they are coredns, servicelb, local-storage, metrics-server, helm-controller; traefik is not there anyway",
                ),
            }
        }
    }

    fn label(&mut self, key: &str, name: &str, value: &str) {
        if node::is_label_key(name) && node::is_label_value(value) {
            self.settings.labels.insert(name.to_owned(), value.to_owned());
        } else {
            let form = "letters, digits, dashes, dots and underscores, at most 63; a key may begin with a domain and a slash";
            self.ignored(key, format!("{name}={value} is no label"), form);
        }
    }

    /// k3OS's rule: `k3s_args` that begin with a role say it; without them a server's address makes a worker.
    fn role(&mut self, role: Option<&str>) {
        if let Some(other) = role.filter(|r| !matches!(*r, "agent" | "server")) {
            self.ignored(
                ARGS,
                format!("{other:?} is no role"),
                "begin with server or agent; it is taken as server",
            );
        }
        let server = self.server.take();
        let mut servers = vec![];
        if let Some((key, url)) = &server {
            match Endpoint::parse(url) {
                Some(endpoint) => servers.push(endpoint),
                None => self.ignored(
                    key,
                    format!("{url:?} is not the address of a server: nothing can be joined"),
                    "write https://SERVER:6443",
                ),
            }
        }
        self.settings.role = match (role, server.is_some()) {
            (Some("agent"), _) | (None, true) => Role::Worker(servers),
            (_, true) => Role::Server(servers),
            (_, false) => Role::First,
        };
        if self.settings.role == Role::First {
            return;
        }
        if server.is_none() {
            let hint = "write server_url: https://SERVER:6443, or remove it for a cluster of one node";
            self.ignored(
                ARGS,
                "a worker (agent) without the address of a server joins nothing".to_owned(),
                hint,
            );
        }
        if self.settings.token == Token::Random {
            let hint = "write token: as the server has it (`skerry token create` on the server prints both lines)";
            self.ignored(
                "skerry.token",
                "there is no token: the server lets nobody join without one".to_owned(),
                hint,
            );
        }
    }

    fn datastore(&mut self) {
        let external = std::mem::take(&mut self.external);
        let one_of_several = self.cluster_init || matches!(self.settings.role, Role::Server(_));
        if external.endpoint.0.is_empty() {
            if self.settings.role.is_server() && one_of_several {
                self.settings.datastore = Datastore::Etcd;
            }
            return;
        }
        let known = ["postgres://", "postgresql://", "mysql://", "nats://", "http://", "https://"];
        if !known.iter().any(|scheme| external.endpoint.0.starts_with(scheme)) {
            // Its text may hold a password.
            let what = "the address of the datastore begins with none of the known schemes: the embedded one is used".to_owned();
            self.ignored(ARGS, what, "write postgres://…, mysql://…, nats://…, or https://… for an etcd");
        } else if self.settings.role.is_server() {
            self.settings.datastore = Datastore::External(external);
        }
    }

    fn token_strength(&mut self) {
        if let Token::Given(Secret(token)) = &self.settings.token {
            if super::token::secret_part(token).chars().count() < 16 {
                let hint = "use 16 characters or more (or none: then one is made)";
                self.problems.push(Problem::warning(
                    "skerry.token",
                    "the token is short: whoever reaches port 6443 can test guesses offline",
                    hint,
                ));
            }
        }
    }

    /// What must not go through a proxy is added to what the owner excludes.
    fn proxies(&mut self) {
        let s = &mut *self.settings;
        let is_proxy = |n: &str| ["http_proxy", "https_proxy", "all_proxy"].contains(&n.to_ascii_lowercase().as_str());
        if !s.environment.iter().any(|(n, v)| is_proxy(n) && !v.is_empty()) {
            return;
        }
        let mut hosts: Vec<String> = vec![];
        for name in ["NO_PROXY", "no_proxy"] {
            hosts.extend(
                s.environment
                    .get(name)
                    .into_iter()
                    .flat_map(|v| v.split(','))
                    .map(|h| h.trim().to_owned()),
            );
        }
        hosts.extend(["localhost", "127.0.0.0/8", "::1"].map(str::to_owned));
        hosts.extend([
            s.pods.to_string(),
            s.services.to_string(),
            ".svc".to_owned(),
            format!(".{}", s.domain),
            s.node_name.clone(),
        ]);
        let mut seen = BTreeSet::new();
        hosts.retain(|h| !h.is_empty() && seen.insert(h.clone()));
        for name in ["NO_PROXY", "no_proxy"] {
            s.environment.insert(name.to_owned(), hosts.join(","));
        }
    }
}

/// The first address of a family.
fn first<A: FromStr>(value: &str) -> Option<A> {
    value.split(',').find_map(|a| a.trim().parse().ok())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
