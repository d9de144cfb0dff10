use super::*;
use crate::{Release, Severity};

fn facts() -> Facts {
    let release = Release {
        version: "0.1.0".into(),
        kubernetes: "v1.36.3".into(),
        ..Release::default()
    };
    Facts {
        node_name: "skerry-1".into(),
        arch: "amd64".into(),
        mode: "disk".into(),
        release,
    }
}

fn read(change: impl FnOnce(&mut Config)) -> (Settings, Vec<Problem>) {
    let mut config = Config::default();
    change(&mut config);
    settings(&config, &facts())
}

fn args(text: &str) -> (Settings, Vec<Problem>) {
    read(|c| c.skerry.k3s_args = text.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn nothing_configured_is_a_server_with_defaults() {
    let (s, problems) = read(|_| ());
    assert_eq!(problems, []);
    assert!(s.role == Role::First && s.network && s.proxy && s.coredns);
    assert_eq!(
        (s.dns.to_string().as_str(), s.kubeconfig_mode, s.token),
        ("10.43.0.10", 0o640, Token::Random)
    );
    let labels: Vec<_> = s.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["k3os.io/mode=disk", "k3os.io/version=0.1.0"]);
}

#[test]
fn arguments_take_effect() {
    let (s, problems) = args(
        "server --node-name=Edge --node-label a=b --node-taint=k=v:NoSchedule --node-ip 10.0.0.9 --tls-san api.example.org,1.2.3.4 \
         --cluster-cidr=10.1.0.0/16 --service-cidr=10.2.0.0/16 --cluster-domain=edge.local --disable traefik,coredns --flannel-backend=none \
         --disable-kube-proxy --kubelet-arg=max-pods=20 --kubelet-arg=--v=2 --token-file=/x --write-kubeconfig=/run/k.yaml",
    );
    assert_eq!(problems, []);
    assert_eq!(
        (s.node_name.as_str(), s.node_ip, s.dns),
        ("edge", Some(Ipv4Addr::new(10, 0, 0, 9)), Ipv4Addr::new(10, 2, 0, 10))
    );
    assert_eq!(s.labels.get("a").map(String::as_str), Some("b"));
    assert_eq!(s.taints.len(), 1);
    assert_eq!(
        s.sans.iter().map(String::as_str).collect::<Vec<_>>(),
        ["1.2.3.4", "api.example.org"]
    );
    assert_eq!(
        (s.pods.to_string(), s.services.to_string()),
        ("10.1.0.0/16".into(), "10.2.0.0/16".into())
    );
    assert!(!s.coredns && !s.network && !s.proxy);
    assert_eq!(
        s.args,
        [
            (Component::Kubelet, "max-pods=20".to_owned()),
            (Component::Kubelet, "v=2".to_owned())
        ]
    );
    assert_eq!(
        (s.token, s.kubeconfig_copy.as_deref()),
        (Token::File("/x".into()), Some("/run/k.yaml"))
    );
}

#[test]
fn networks_of_both_families() {
    let shown = |line: &str| {
        let (s, problems) = args(line);
        assert_eq!(problems, [], "{line}");
        let six = |six: Option<Ipv6Net>| six.map(|six| six.to_string()).unwrap_or_default();
        [
            s.pods.to_string(),
            six(s.pods6),
            s.services.to_string(),
            six(s.services6),
            s.dns.to_string(),
        ]
        .join(" ")
    };
    assert_eq!(shown("server"), "10.42.0.0/16  10.43.0.0/16  10.43.0.10");
    let both = "server --cluster-cidr=10.1.0.0/16,2001:cafe:42::/56 --service-cidr=10.2.0.0/16,2001:cafe:43::/112";
    assert_eq!(
        shown(both),
        "10.1.0.0/16 2001:cafe:42::/56 10.2.0.0/16 2001:cafe:43::/112 10.2.0.10"
    );
    assert_eq!(
        shown("server --cluster-cidr=fd42::/56,10.1.0.0/16"),
        "10.1.0.0/16 fd42::/56 10.43.0.0/16  10.43.0.10"
    );
}

#[test]
fn what_is_wrong_is_named_and_only_that_is_lost() {
    for (line, why) in [
        ("server --node-name a_b", "no node name"),
        ("server --node-taint a:Never", "no taint"),
        ("server --node-label -x=y", "no label"),
        ("server --node-ip fe80::1", "no IPv4 address"),
        ("server --cluster-cidr 10.0.0.0/30", "no IPv4 network"),
        ("server --cluster-cidr fd42::/56", "no IPv4 network"),
        (
            "server --cluster-cidr 10.1.0.0/16,10.2.0.0/16",
            "no network of IPv4 with one of IPv6",
        ),
        (
            "server --cluster-cidr 10.1.0.0/16,fd42::/56,fd43::/56",
            "no network of IPv4 with one of IPv6",
        ),
        ("server --service-cidr 10.1.0.0/16,fd43::/64", "no network of IPv4 with one of IPv6"),
        ("server --flannel-backend ipsec", "no pod network"),
        ("server --write-kubeconfig-mode 999", "no file mode"),
        ("server --tls-san a_b", "neither a name nor an address"),
        ("leader", "\"leader\" is no role"),
    ] {
        let (s, problems) = args(line);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].what.contains(why), "{line}: {problems:?}");
        assert_eq!(problems[0].severity, Severity::Ignored);
        let (plain, _) = read(|_| ());
        assert_eq!(s, plain, "{line}");
    }
}

#[test]
fn an_ipv6_address_needs_a_cluster_of_both() {
    let (_, problems) = args("server --node-ip 10.0.0.9,fd00::9");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].what.contains("fd00::9 has no effect"), "{problems:?}");
    assert_eq!(
        args("server --node-ip 10.0.0.9,fd00::9 --cluster-cidr 10.42.0.0/16,fd42::/56").1,
        []
    );
    // Its cluster may have both: it hears of that when it joins.
    let (_, problems) = args("server --server https://10.0.0.1:6443 --token abcdef0123456789 --node-ip 10.0.0.9,fd00::9");
    assert!(problems.iter().all(|p| !p.what.contains("fd00::9")), "{problems:?}");
}

#[test]
fn roles() {
    let url = |u: &str| Some(u.to_owned());
    let words = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // (k3s_args, server_url, K3S_URL) → role
    for (args, server_url, variable, role) in [
        ("", None, None, "first"),
        ("server", None, None, "first"),
        ("--node-name x", None, None, "first"),
        ("", Some("https://a"), None, "worker a:6443"),
        ("", None, Some("https://b"), "worker b:6443"),
        ("", Some("https://a"), Some("https://b"), "worker a:6443"),
        ("agent --server https://c", Some("https://a"), None, "worker c:6443"),
        ("--server https://c", None, None, "worker c:6443"),
        ("server --server https://c", None, None, "server c:6443"),
        ("server", Some("https://a:443"), None, "server a:443"),
        ("agent", None, None, "worker"),
        ("", Some("ftp://a"), None, "worker"),
    ] {
        let (s, problems) = read(|c| {
            c.skerry.token = Some(Secret("a token of some length".into()));
            c.skerry.k3s_args = words(args);
            c.skerry.server_url = server_url.and_then(url);
            if let Some(v) = variable {
                c.skerry.environment.insert("K3S_URL".into(), v.into());
            }
        });
        let name = match s.role {
            Role::First => "first",
            Role::Server(_) => "server",
            Role::Worker(_) => "worker",
        };
        let mut found = name.to_owned();
        for e in s.role.servers() {
            found = format!("{found} {e}");
        }
        assert_eq!(found, role, "{args} {server_url:?} {variable:?}");
        assert_eq!(problems.is_empty(), role != "worker", "{problems:?}");
    }
}

#[test]
fn a_worker_without_token_is_told() {
    let (_, problems) = read(|c| c.skerry.server_url = Some("https://a".into()));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "skerry.token");
}

#[test]
fn doubtful_choices_warn() {
    let (s, problems) = read(|c| {
        c.skerry.token = Some(Secret("short".into()));
        c.skerry.environment.insert("K3S_KUBECONFIG_MODE".into(), "0644".into());
    });
    assert_eq!((s.kubeconfig_mode, problems.len()), (0o644, 2));
    assert!(
        problems
            .iter()
            .all(|p| p.severity == Severity::Warning && !p.what.contains("short\"")),
        "{problems:?}"
    );
}

#[test]
fn labels_and_taints_of_the_config_come_last() {
    let (s, problems) = read(|c| {
        c.skerry.k3s_args = vec!["server".into(), "--node-label=region=a".into()];
        c.skerry.labels.insert("region".into(), "b".into());
        c.skerry.labels.insert("bad key".into(), "b".into());
        c.skerry.taints.push("k=v:NoExecute".into());
    });
    assert_eq!(s.labels.get("region").map(String::as_str), Some("b"));
    assert_eq!((s.taints.len(), problems.len()), (1, 1));
}

#[test]
fn a_proxy_never_stands_between_the_node_and_itself() {
    let (s, _) = read(|c| {
        c.skerry.environment.insert("HTTPS_PROXY".into(), "http://proxy:3128".into());
        c.skerry.environment.insert("NO_PROXY".into(), "intern.example, localhost".into());
        c.skerry.environment.insert("WATCHDOG_USEC".into(), "1".into());
    });
    let want = "intern.example,localhost,127.0.0.0/8,::1,10.42.0.0/16,10.43.0.0/16,.svc,.cluster.local,skerry-1";
    assert_eq!(s.environment.get("NO_PROXY").map(String::as_str), Some(want));
    assert_eq!(s.environment.get("no_proxy").map(String::as_str), Some(want));
    assert!(!s.environment.contains_key("WATCHDOG_USEC"));
}

#[test]
fn where_the_objects_are_kept() {
    let kept = |line: &str| args(line).0.datastore;
    assert_eq!(kept("server"), Datastore::Sqlite);
    assert_eq!(kept("server --cluster-init"), Datastore::Etcd);
    assert_eq!(kept("server --cluster-init=false"), Datastore::Sqlite);
    assert_eq!(kept("server --server https://a --token 0123456789abcdef"), Datastore::Etcd);
    assert_eq!(
        kept("agent --server https://a --cluster-init --datastore-endpoint=mysql://x"),
        Datastore::Sqlite
    );
    let Datastore::External(external) = kept("server --server https://a --datastore-endpoint=postgres://u:p@db/k --datastore-cafile /x")
    else {
        panic!("the owner's");
    };
    assert_eq!(
        external.kine_environment(),
        [
            ("KINE_ENDPOINT".to_owned(), "postgres://u:p@db/k".to_owned()),
            ("KINE_CA_FILE".into(), "/x".into())
        ]
    );
    let (s, problems) = args("server --datastore-endpoint=oracle://user:secret@db");
    assert_eq!((s.datastore, problems.len()), (Datastore::Sqlite, 1));
    assert!(!problems[0].what.contains("secret"), "{problems:?}");
}

/// A database's password must be in no command line, and in no plan that people may read.
#[test]
fn a_datastores_password_is_shown_to_nobody() {
    let mut config = Config::default();
    config.skerry.k3s_args = vec!["server".into(), "--datastore-endpoint=postgres://u:hidden@db/k".into()];
    let plan = crate::plan(&config, &facts());
    assert!(!format!("{:?}", plan.units).contains("hidden"));
    let kine = plan.units.iter().find(|u| u.name == "kine").unwrap();
    assert_eq!(kine.argv.last().map(String::as_str), Some("kine"));
}

#[test]
fn snapshots_in_k3ss_words() {
    let read = |args: &[&str]| {
        let mut config = Config::default();
        config.skerry.k3s_args = args.iter().map(|a| (*a).to_owned()).collect();
        let (settings, problems) = settings(&config, &Facts::default());
        (settings.snapshots, problems)
    };
    let (plain, _) = read(&["server"]);
    assert_eq!((plain.keep, plain.schedule.is_some(), plain.name.as_str()), (5, true, "snapshot"));
    let (asked, problems) = read(&[
        "server",
        "--etcd-snapshot-schedule-cron=*/5 * * * *",
        "--etcd-snapshot-retention=3",
        "--etcd-snapshot-dir=/var/lib/copies/",
        "--etcd-snapshot-name=edge",
    ]);
    assert_eq!(problems, []);
    assert_eq!(
        (asked.keep, asked.folder.as_str(), asked.name.as_str()),
        (3, "/var/lib/copies", "edge")
    );
    assert_ne!(asked.schedule, plain.schedule);
    for order in [
        ["--etcd-disable-snapshots", "--etcd-snapshot-schedule-cron=@daily"],
        ["--etcd-snapshot-schedule-cron=@daily", "--etcd-disable-snapshots"],
    ] {
        assert_eq!(read(&order).0.schedule, None);
    }
    for wrong in [
        "--etcd-snapshot-schedule-cron=often",
        "--etcd-snapshot-retention=0",
        "--etcd-snapshot-dir=copies",
        "--etcd-snapshot-name=../x",
    ] {
        let (kept, problems) = read(&["server", wrong]);
        assert_eq!((kept, problems.len()), (plain.clone(), 1), "{wrong}");
    }
}
