use super::*;
use proptest::prelude::*;

fn node(n: u8) -> (String, Node) {
    let name = format!("n{n}");
    let node = Node {
        name: name.clone(),
        takes: true,
        address: Some(Ipv4Addr::new(10, 0, 0, n)),
        ..Node::default()
    };
    (name, node)
}

fn service(made: &str, port: u16) -> Service {
    Service {
        ours: true,
        made: made.into(),
        ports: vec![("TCP".into(), port)],
        four: true,
        ..Service::default()
    }
}

fn name(text: &str) -> Name {
    ("default".into(), text.into())
}

fn cluster(services: &[(&str, Service)]) -> Cluster {
    Cluster {
        nodes: (1..=3).map(node).collect(),
        services: services.iter().map(|(n, s)| (name(n), s.clone())).collect(),
        slices: BTreeMap::new(),
    }
}

fn ends(cluster: &Cluster) -> Vec<u8> {
    plan(cluster)
        .first()
        .map(|c| {
            c.addresses
                .iter()
                .map(|a| match a {
                    IpAddr::V4(a) => a.octets()[3],
                    IpAddr::V6(a) => a.octets()[15],
                })
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn which_nodes() {
    let mut c = cluster(&[("web", service("1", 80))]);
    assert_eq!(ends(&c), [1, 2, 3]);
    c.nodes.get_mut("n2").unwrap().takes = false;
    assert_eq!(ends(&c), [1, 3]);
    c.nodes.get_mut("n1").unwrap().enabled = true;
    assert_eq!(ends(&c), [1], "one is labelled: only such");
    c.nodes.get_mut("n2").unwrap().enabled = true;
    assert_eq!(ends(&c), [1], "labelled, but not Ready");
    c.nodes.get_mut("n1").unwrap().enabled = false;
    c.nodes.get_mut("n2").unwrap().enabled = false;
    c.nodes.get_mut("n3").unwrap().pool = Some("a".into());
    assert_eq!(ends(&c), [1, 3], "a Service without a pool is served by all");
    c.services.get_mut(&name("web")).unwrap().pool = Some("a".into());
    assert_eq!(ends(&c), [3]);
    c.nodes.get_mut("n3").unwrap().address = None;
    let done = plan(&c);
    assert!(done[0].addresses.is_empty() && done[0].problem.as_ref().unwrap().starts_with("no node takes it"));
}

#[test]
fn of_the_families_of_the_service() {
    let mut c = cluster(&[("web", service("1", 80))]);
    c.nodes.get_mut("n2").unwrap().address6 = "fd00::12".parse().ok();
    assert_eq!(ends(&c), [1, 2, 3]);
    c.services.get_mut(&name("web")).unwrap().six = true;
    assert_eq!(ends(&c), [1, 2, 3, 0x12]);
    c.services.get_mut(&name("web")).unwrap().four = false;
    assert_eq!(ends(&c), [0x12]);
}

#[test]
fn only_where_a_pod_is() {
    let mut c = cluster(&[(
        "web",
        Service {
            local: true,
            ..service("1", 80)
        },
    )]);
    assert_eq!(ends(&c), [] as [u8; 0]);
    let on = |nodes: &[&str]| nodes.iter().map(|n| (*n).to_owned()).collect();
    c.slices.insert(name("web-abc"), ("web".into(), on(&["n3"])));
    c.slices.insert(name("web-def"), ("web".into(), on(&["n1"])));
    c.slices.insert(name("other"), ("other".into(), on(&["n2"])));
    c.slices.insert(("elsewhere".into(), "web-abc".into()), ("web".into(), on(&["n2"])));
    assert_eq!(ends(&c), [1, 3]);
}

#[test]
fn ports_are_not_taken_away() {
    for (protocol, port, _) in OWN_PORTS {
        let bad = Service {
            ports: vec![("TCP".into(), 80), (protocol.into(), port)],
            ..service("1", 80)
        };
        let done = plan(&cluster(&[("web", bad), ("next", service("2", 80))]));
        assert!(
            done[0].addresses.is_empty() && done[0].problem.as_ref().unwrap().contains("the nodes' own"),
            "{port}"
        );
        assert_eq!(done[1].addresses.len(), 3, "who gets nothing takes nothing");
    }
    let udp = Service {
        ports: vec![("UDP".into(), 22), ("TCP".into(), 8472)],
        ..service("1", 80)
    };
    assert_eq!(ends(&cluster(&[("web", udp)])), [1, 2, 3]);
    let done = plan(&cluster(&[
        ("a", service("2", 80)),
        ("b", service("1", 80)),
        ("c", service("3", 81)),
    ]));
    let shown: Vec<_> = done.iter().map(|c| (c.service.1.as_str(), c.addresses.len())).collect();
    assert_eq!(shown, [("b", 3), ("a", 0), ("c", 3)]);
    assert!(done[1].problem.as_ref().unwrap().contains("taken by Service default/b"));
}

#[test]
fn what_is_not_ours() {
    let foreign = Service {
        ours: false,
        now: vec!["192.0.2.1".into()],
        ..service("1", 80)
    };
    assert_eq!(plan(&cluster(&[("web", foreign.clone())])), []);
    let once = Service { written: true, ..foreign };
    assert_eq!(plan(&cluster(&[("web", once.clone())]))[0].addresses, [] as [Ipv4Addr; 0]);
    assert_eq!(plan(&cluster(&[("web", Service { now: vec![], ..once })])), []);
}

fn any_service() -> impl Strategy<Value = Service> {
    let ports = proptest::collection::vec((prop_oneof![Just("TCP"), Just("UDP")], prop_oneof![Just(22u16), 80..84u16]), 0..3);
    (any::<[bool; 3]>(), 0..3u8, ports).prop_map(|([ours, written, local], made, ports)| Service {
        ours,
        written,
        local,
        made: made.to_string(),
        ports: ports.into_iter().map(|(p, n)| (p.to_owned(), n)).collect(),
        ..Service::default()
    })
}

proptest! {
    /// No two Services share a port of the nodes, and what was done is not done again.
    #[test]
    fn any_services(services in proptest::collection::btree_map("[a-e]", any_service(), 0..5)) {
        let mut c = cluster(&[]);
        c.services = services.into_iter().map(|(n, s)| (name(&n), s)).collect();
        for change in plan(&c) {
            let s = c.services.get_mut(&change.service).unwrap();
            s.now = change.addresses.iter().map(ToString::to_string).collect();
            s.written = !s.now.is_empty();
        }
        let mut seen = BTreeSet::new();
        for s in c.services.values().filter(|s| !s.now.is_empty()) {
            let own: BTreeSet<_> = s.ports.iter().cloned().collect();
            for port in own {
                prop_assert!(seen.insert(port));
            }
        }
        prop_assert!(plan(&c).iter().all(|c| c.problem.is_some() && c.addresses.is_empty() && !c.write));
    }
}
