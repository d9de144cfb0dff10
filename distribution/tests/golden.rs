//! The plans, as a person would read them. `UPDATE=1 cargo test -p skerry-distribution` writes them anew, to be reviewed as code.
#![allow(clippy::unwrap_used, reason = "a test")]

use skerry_config::types::{Config, Distribution, Secret, WriteFile};
use skerry_control::unit;
use skerry_distribution::kubernetes::address::NodeAddress;
use skerry_distribution::kubernetes::{self, add_ons, argv, datastore, files, manifests, token};
use skerry_distribution::{Facts, Plan, Release, plan};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

fn facts() -> Facts {
    let release = Release {
        version: "0.1.0".into(),
        kubernetes: "v1.36.3".into(),
        pause: "skerry.local/pause:1".into(),
        coredns: "skerry.local/coredns:v1.15.0".into(),
    };
    Facts {
        node_name: "skerry-123456".into(),
        arch: "amd64".into(),
        mode: "disk".into(),
        release,
    }
}

fn text(plan: &Plan) -> String {
    let mut out = unit::encode(&plan.units);
    for f in &plan.files {
        let kept = if f.keep { " (kept)" } else { "" };
        write!(out, "\n# {} {:o}{kept}\n{}", f.path, f.mode, f.text).unwrap();
    }
    for p in &plan.problems {
        writeln!(out, "\n# {:?} {}: {}\n#   {}", p.severity, p.key, p.what, p.hint).unwrap();
    }
    writeln!(out, "\n# ready: {:?}", plan.ready).unwrap();
    out
}

/// Also the command lines that need the node's address, and what goes into the cluster.
fn all(config: &Config) -> String {
    let facts = facts();
    let p = plan(config, &facts);
    assert_eq!(unit::circle(&p.units), Vec::<String>::new());
    assert_eq!(unit::decode(unit::encode(&p.units).as_bytes()).unwrap(), p.units);
    let mut out = text(&p);
    let (s, _) = kubernetes::settings(config, &facts);
    let six = s.pods6.map(|_| "fd00:1::5".parse().unwrap());
    let address = NodeAddress { four: ADDRESS, six };
    for (argv, env) in [argv::api_server(&s, ADDRESS), argv::kubelet(&s, address), argv::proxy(&s)] {
        write!(out, "\n{}\n", argv.join("\n  ")).unwrap();
        for (k, v) in env {
            writeln!(out, "env {k}={v}").unwrap();
        }
    }
    let names = files::names(&s, ADDRESS, &["192.168.7.1".to_owned()]);
    write!(out, "\n# kubeadm\n{}", files::kubeadm(&s, &facts, ADDRESS, &names)).unwrap();
    let tokens = manifests::Tokens {
        server: token::bootstrap("abcdef.0123456789abcdef").unwrap(),
        agent: s.agent_token.as_ref().map(|_| token::bootstrap("ghijkl.0123456789abcdef").unwrap()),
        bundle: s.has_peers().then(|| b"sealed".to_vec()),
    };
    let rights = manifests::system(&s, &facts, ADDRESS, &names, &tokens, "CA\n");
    for (title, objects) in [("rights", rights), ("add-ons", manifests::add_ons(&s, &facts))] {
        writeln!(out, "\n# {title}").unwrap();
        for o in &objects {
            write!(out, "# {}\n{}", manifests::path(o).unwrap(), files::pretty(o)).unwrap();
        }
    }
    for f in add_ons::files(&s, "CA\n") {
        write!(out, "\n# {} {:o}\n{}", f.path, f.mode, f.text).unwrap();
    }
    write!(out, "\n{}\n", argv::metrics_server(&s).0.join("\n  ")).unwrap();
    out
}

fn check(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        #[allow(clippy::disallowed_methods, reason = "a test's fixture need not survive a power cut")]
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == found, "{} differs; look at the difference after UPDATE=1", path.display());
}

#[test]
fn kubernetes_by_default() {
    check("kubernetes.txt", &all(&Config::default()));
}

#[test]
fn kubernetes_with_a_k3os_config() {
    let mut config = Config::default();
    let s = &mut config.skerry;
    s.token = Some(Secret("TOKEN_VALUE".into()));
    s.environment.insert("K3S_AGENT_TOKEN".into(), "AGENT_VALUE".into());
    s.labels.insert("region".into(), "us-west-1".into());
    s.labels.insert("node-role.kubernetes.io/edge".into(), "true".into());
    s.taints = vec!["key1=value1:NoSchedule".into(), "key1=value1:NoExecute".into()];
    s.environment.insert("http_proxy".into(), "http://myserver".into());
    s.environment.insert("CONTAINERD_LOG_LEVEL".into(), "debug".into());
    let line = "server --cluster-cidr=10.52.0.0/16 --service-cidr=10.53.0.0/16 --kube-apiserver-arg=v=1 --kubelet-arg=max-pods=50 \
                --kube-proxy-arg=v=1 --docker --tls-san=edge.example.org --write-kubeconfig-mode=644";
    s.k3s_args = line.split_whitespace().map(str::to_owned).collect();
    config.run_cmd = vec!["true".into()];
    config.write_files = vec![WriteFile {
        path: "/etc/rancher/k3s/config.yaml".into(),
        ..WriteFile::default()
    }];
    check("kubernetes-k3os.txt", &all(&config));
}

#[test]
fn kubernetes_with_both_families() {
    let mut config = Config::default();
    let line = "server --cluster-cidr=10.42.0.0/16,fd42::/56 --service-cidr=10.43.0.0/16,fd43::/112";
    config.skerry.k3s_args = line.split_whitespace().map(str::to_owned).collect();
    check("kubernetes-both.txt", &all(&config));
}

#[test]
fn joining() {
    let mut config = Config::default();
    config.skerry.server_url = Some("https://10.0.0.1:6443".into());
    config.skerry.token = Some(Secret("TOKEN_VALUE of a server".into()));
    check("kubernetes-join.txt", &text(&plan(&config, &facts())));
}

#[test]
fn several_servers() {
    let mut config = Config::default();
    config.skerry.token = Some(Secret("TOKEN_VALUE of a server".into()));
    config.skerry.k3s_args = vec!["server".into(), "--cluster-init".into()];
    let facts = facts();
    let first = text(&plan(&config, &facts));
    config.skerry.k3s_args = vec!["server".into(), "--server=https://10.0.0.1:6443".into()];
    let further = text(&plan(&config, &facts));
    let (s, _) = kubernetes::settings(&config, &facts);
    let (etcd, _) = datastore::etcd(&s, ADDRESS, &datastore::Start::Joining(vec!["a=https://10.0.0.1:2380".into()]));
    let (api, _) = argv::api_server(&s, ADDRESS);
    let commands = format!("\n{}\n\n{}\n", etcd.join("\n  "), api.join("\n  "));
    check(
        "kubernetes-servers.txt",
        &format!("{first}\n# a further server\n{further}{commands}"),
    );
}

#[test]
fn none() {
    let mut config = Config::default();
    config.skerry.distribution = Distribution::None.into();
    check("none.txt", &text(&plan(&config, &facts())));
}

#[test]
fn fake() {
    let mut config = Config::default();
    config.skerry.distribution = Distribution::Fake.into();
    config.skerry.k3s_args = vec!["a notify -- --ready 100".into(), "b once after=a".into()];
    check("fake.txt", &text(&plan(&config, &facts())));
}

/// A k3OS config for a distribution whose program is brought.
fn brought(name: Distribution, args: &[&str]) -> Config {
    let mut config = Config::default();
    let s = &mut config.skerry;
    s.distribution = name.into();
    s.k3s_args = args.iter().map(|&a| a.to_owned()).collect();
    s.labels.insert("region".into(), "eu".into());
    s.taints = vec!["key1=value1:NoSchedule".into()];
    s.environment.insert("HTTPS_PROXY".into(), "http://proxy:3128".into());
    s.environment.insert("INVOCATION_ID".into(), "not ours".into());
    config
}

fn whole(config: &Config) -> String {
    let p = plan(config, &facts());
    assert_eq!(unit::circle(&p.units), Vec::<String>::new());
    assert_eq!(unit::decode(unit::encode(&p.units).as_bytes()).unwrap(), p.units);
    for unit in &p.units {
        for word in unit.argv.iter().chain(unit.env.iter().map(|(k, _)| k)) {
            assert!(
                !["INVOCATION_ID", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(&word.as_str()),
                "{}: {word}",
                unit.name
            );
        }
    }
    text(&p)
}

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn k3s() {
    let mut server = brought(Distribution::K3s, &["server", "--disable=traefik", "--log", "/var/log/k3s.log"]);
    server.skerry.distribution.version = Some("v1.33.4+k3s1".into());
    server.skerry.distribution.sha256 = Some(SHA256.into());
    let mut agent = brought(Distribution::K3s, &[]);
    agent.skerry.server_url = Some("https://10.0.0.1:6443".into());
    agent.skerry.token = Some(Secret("TOKEN_VALUE of a server".into()));
    agent.run_cmd = vec!["true".into()];
    check("k3s.txt", &format!("{}\n# an agent\n{}", whole(&server), whole(&agent)));
}

#[test]
fn k0s() {
    let mut worker = brought(Distribution::K0s, &["--iptables-mode=nft"]);
    worker.skerry.token = Some(Secret("TOKEN_VALUE of k0s".into()));
    worker.skerry.distribution.version = Some("v1.33.1+k0s.0".into());
    let controller = brought(Distribution::K0s, &["server", "--single"]);
    check("k0s.txt", &format!("{}\n# a worker\n{}", whole(&controller), whole(&worker)));
}

#[test]
fn kubelet() {
    let pasted = format!("kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:{SHA256} --v=1");
    let mut config = brought(Distribution::Kubelet, &pasted.split(' ').collect::<Vec<_>>());
    let embedded = whole(&config);
    config.skerry.distribution.version = Some("v1.35.2".into());
    check("kubelet.txt", &format!("{embedded}\n# of another version\n{}", whole(&config)));
}

#[test]
fn edgecore() {
    let mut config = brought(Distribution::Edgecore, &["--v=2"]);
    config.skerry.server_url = Some("https://cloud.example.org".into());
    config.skerry.token = Some(Secret("TOKEN_VALUE of keadm".into()));
    check("edgecore.txt", &whole(&config));
}
