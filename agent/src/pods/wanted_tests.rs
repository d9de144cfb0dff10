use super::*;
use crate::pods::nodes::PublicKey;
use proptest::prelude::*;

const KEY: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
const OTHER: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn cidr(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn to(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(name: &str, mtu: u32, addresses: &[&str]) -> Link {
    Link {
        name: name.into(),
        up: true,
        mtu,
        addresses: addresses.iter().map(|a| cidr(a)).collect(),
        ..Link::default()
    }
}

fn node(name: &str, address: &str, pods: &str, key: &str) -> Node {
    Node {
        name: name.into(),
        address: address.parse().ok(),
        pods: pods.parse().ok(),
        pods6: None,
        key: PublicKey::parse(key),
    }
}

fn me() -> Node {
    node("n1", "10.0.0.1", "10.42.1.0/24", "")
}

fn decide(backend: Backend, nodes: &[Node], links: &[Link]) -> Wanted {
    decide_both(backend, None, nodes, links)
}

fn decide_both(backend: Backend, pods6: Option<&str>, nodes: &[Node], links: &[Link]) -> Wanted {
    let request = Request {
        name: "n1".into(),
        backend,
        pods: cidr("10.42.0.0/16"),
        pods6: pods6.map(cidr),
    };
    let machine = Machine {
        links: links.to_vec(),
        ..Machine::default()
    };
    wanted(&request, nodes, &machine)
}

fn eth0() -> Link {
    link("eth0", 1500, &["10.0.0.1/24"])
}

#[test]
fn a_peer_on_our_link_and_one_behind_a_router() {
    let nodes = [
        me(),
        node("near", "10.0.0.2", "10.42.2.0/24", ""),
        node("far", "10.1.0.3", "10.42.3.0/24", KEY),
    ];
    let plain = (
        cidr("10.42.2.0/24"),
        Hop {
            via: Some(to("10.0.0.2")),
            link: "eth0".into(),
            on_link: false,
        },
    );
    let host_gw = decide(Backend::HostGw, &nodes, &[eth0()]);
    assert_eq!(host_gw.routes, BTreeMap::from([plain.clone()]));
    assert_eq!((&host_gw.device, host_gw.mtu), (&None, None));
    assert!(
        host_gw.problems[0].starts_with("node far at 10.1.0.3 shares no link"),
        "{:?}",
        host_gw.problems
    );

    let vxlan = decide(Backend::Vxlan, &nodes, &[eth0()]);
    let mac = mac_of_tunnel(ip("10.42.3.0"));
    let through = Hop {
        via: Some(to("10.42.3.0")),
        link: VXLAN.into(),
        on_link: true,
    };
    assert_eq!(
        vxlan,
        Wanted {
            device: Some(Device {
                kind: Kind::Vxlan,
                mtu: 1450,
                address: ip("10.42.1.0")
            }),
            routes: BTreeMap::from([plain, (cidr("10.42.3.0/24"), through)]),
            neighbours: BTreeMap::from([(to("10.42.3.0"), mac)]),
            forwards: BTreeMap::from([(mac, ip("10.1.0.3"))]),
            mtu: Some(1450),
            ..Wanted::default()
        }
    );

    let wireguard = decide(Backend::Wireguard, &nodes, &[eth0()]);
    assert_eq!(wireguard.routes.keys().copied().collect::<Vec<_>>(), [cidr("10.42.3.0/24")]);
    assert_eq!(
        wireguard.peers[&PublicKey::parse(KEY).unwrap()],
        Peer {
            address: ip("10.1.0.3"),
            pods: vec![cidr("10.42.3.0/24")]
        }
    );
    assert_eq!(wireguard.mtu, Some(1420));
    assert!(
        wireguard.problems[0].contains("node near has no annotation"),
        "even on a shared link"
    );

    assert_eq!(decide(Backend::None, &nodes, &[eth0()]), Wanted::default());
}

#[test]
fn ipv6_of_pods_goes_through_the_tunnel() {
    let six = |mut node: Node, range: &str| {
        node.pods6 = range.parse().ok();
        node
    };
    let near = node("near", "10.0.0.2", "10.42.2.0/24", OTHER);
    let far = node("far", "10.1.0.3", "10.42.3.0/24", KEY);
    let nodes = [
        six(me(), "fd42:0:0:1::/64"),
        six(near.clone(), "fd42:0:0:2::/64"),
        six(far.clone(), "fd42:0:0:3::/64"),
    ];
    let links = [eth0()];
    let both = |backend, nodes: &[Node]| decide_both(backend, Some("fd42::/56"), nodes, &links);
    let ways = |wanted: &Wanted| -> Vec<String> { wanted.routes.iter().map(|(to, hop)| format!("{to} {}", hop.link)).collect() };

    let vxlan = both(Backend::Vxlan, &nodes);
    let all = [
        "10.42.2.0/24 eth0",
        "10.42.3.0/24 skerry-vxlan",
        "fd42:0:0:2::/64 skerry-vxlan",
        "fd42:0:0:3::/64 skerry-vxlan",
    ];
    assert_eq!(ways(&vxlan), all);
    let (mac2, mac3) = (mac_of_tunnel(ip("10.42.2.0")), mac_of_tunnel(ip("10.42.3.0")));
    let ends = [(to("10.42.3.0"), mac3), (to("fd42:0:0:2::"), mac2), (to("fd42:0:0:3::"), mac3)];
    assert_eq!(vxlan.neighbours, BTreeMap::from(ends));
    assert_eq!(vxlan.forwards, BTreeMap::from([(mac2, ip("10.0.0.2")), (mac3, ip("10.1.0.3"))]));
    assert!(vxlan.problems.is_empty());

    let wireguard = both(Backend::Wireguard, &nodes);
    assert_eq!(wireguard.routes.len(), 4);
    assert_eq!(
        wireguard.peers[&PublicKey::parse(KEY).unwrap()].pods,
        [cidr("10.42.3.0/24"), cidr("fd42:0:0:3::/64")]
    );
    let host_gw = both(Backend::HostGw, &nodes[..2]);
    assert_eq!(ways(&host_gw), ["10.42.2.0/24 eth0"]);
    assert!(host_gw.problems[0].contains("carries no IPv6"), "{:?}", host_gw.problems);

    // A node's IPv6 that is not its own leaves its IPv4.
    for (range, why) in [
        ("fd42:0:0:1::/64", "overlaps fd42:0:0:1::/64 of node n1"),
        ("fd43::/64", "is not in --cluster-cidr=fd42::/56"),
    ] {
        let done = both(Backend::Vxlan, &[nodes[0].clone(), six(near.clone(), range)]);
        assert_eq!(ways(&done), ["10.42.2.0/24 eth0"]);
        assert!(done.problems[0].contains(why), "{:?}", done.problems);
    }
    let done = decide(Backend::Vxlan, &[me(), nodes[1].clone()], &links);
    assert_eq!(ways(&done), ["10.42.2.0/24 eth0"]);
    assert!(done.problems[0].contains("--cluster-cidr has none"), "{:?}", done.problems);
    // A node that was there before the cluster had both.
    let done = both(Backend::Vxlan, &[me(), nodes[1].clone()]);
    assert!(
        done.problems[0].contains("gave this node no IPv6") && done.routes.len() == 2,
        "{:?}",
        done.problems
    );
}

#[test]
fn sizes_of_packets() {
    let nodes = [me(), node("n2", "10.9.0.2", "10.42.2.0/24", "")];
    let mtu = |backend, links: &[Link]| decide(backend, &nodes, links).mtu;
    let jumbo = [link("eth0", 1400, &["192.168.1.5/24"]), link("eth1", 9000, &["10.0.0.1/24"])];
    assert_eq!(mtu(Backend::Vxlan, &jumbo), Some(8950), "the link with the node's address");
    assert_eq!(mtu(Backend::Wireguard, &jumbo), Some(8920));
    assert_eq!(mtu(Backend::HostGw, &jumbo), Some(9000));
    assert_eq!(mtu(Backend::None, &jumbo), None);
    let moved = [
        link("eth0", 1400, &["192.168.1.5/24"]),
        link("eth1", 9000, &["10.0.7.1/24"]),
        link("eth2", 600, &[]),
    ];
    assert_eq!(mtu(Backend::Vxlan, &moved), Some(1350), "none has it: the smallest that has any");
    assert_eq!(mtu(Backend::Vxlan, &[]), Some(1450));
    assert_eq!(mtu(Backend::Vxlan, &[link("eth0", 580, &["10.0.0.1/24"])]), Some(576));
    let inner = [
        link("lo", 65536, &["10.0.0.1/32"]),
        link("cni0", 700, &["10.42.1.1/24"]),
        link(VXLAN, 800, &["10.42.1.0/32"]),
    ];
    assert_eq!(mtu(Backend::Vxlan, &inner), Some(1450), "what leads to pods does not count");
}

#[test]
fn which_link_is_shared() {
    let via = |links: &[Link]| {
        let nodes = [me(), node("n2", "10.0.0.2", "10.42.2.0/24", "")];
        decide(Backend::HostGw, &nodes, links).routes.into_values().next().map(|h| h.link)
    };
    let off = Link { up: false, ..eth0() };
    let other = link("eth1", 1500, &["10.0.0.9/8"]);
    assert_eq!(via(&[eth0()]).as_deref(), Some("eth0"));
    assert_eq!(via(&[other.clone(), eth0()]).as_deref(), Some("eth0"), "the closest network");
    assert_eq!(via(&[other, off.clone()]).as_deref(), Some("eth1"));
    assert_eq!(via(&[off]), None);
    assert_eq!(via(&[link("eth0", 1500, &["10.0.0.1/32"])]), None, "a single address is no network");
    let twice = [link("eth1", 1500, &["10.0.0.8/24"]), eth0()];
    assert_eq!(via(&twice).as_deref(), Some("eth0"), "by name, not by chance");
    let cni0 = link("cni0", 1500, &["10.0.0.1/24"]);
    let veth = Link {
        kind: "veth".into(),
        ..link("veth12", 1500, &["10.0.0.1/24"])
    };
    assert_eq!(via(&[cni0, veth]), None);
}

#[test]
fn a_cluster_of_one_opens_nothing() {
    for backend in [Backend::Vxlan, Backend::Wireguard, Backend::HostGw] {
        let alone = decide(backend, &[me()], &[eth0()]);
        assert_eq!((alone.device, alone.routes.len(), alone.problems.len()), (None, 0, 0));
        let unknown = decide(backend, &[], &[eth0()]);
        assert_eq!((unknown.device, unknown.routes.len()), (None, 0));
    }
    // Somebody who has just joined, and has no address yet.
    let new = Node {
        name: "n2".into(),
        ..Node::default()
    };
    assert!(decide(Backend::Vxlan, &[me(), new], &[eth0()]).device.is_some());
}

#[test]
fn what_a_node_says_takes_nothing_from_others() {
    let bad = [
        ("10.0.0.2", "192.168.0.0/24", "is not in --cluster-cidr"),
        ("10.0.0.2", "10.0.0.0/8", "is not in --cluster-cidr"),
        ("10.0.0.2", "10.42.1.0/24", "overlaps 10.42.1.0/24 of node n1"),
        ("10.0.0.2", "10.42.0.0/16", "overlaps 10.42.1.0/24 of node n1"),
        ("10.0.0.2", "10.42.2.128/25", "overlaps 10.42.2.0/24 of node n2"),
        ("10.0.0.1", "10.42.9.0/24", "is this node's own"),
        ("10.42.7.7", "10.42.9.0/24", "is one of the pods' network"),
    ];
    for backend in [Backend::Vxlan, Backend::HostGw, Backend::Wireguard] {
        for (address, pods, why) in bad {
            let nodes = [node("n9", address, pods, OTHER), node("n2", "10.0.0.3", "10.42.2.0/24", KEY), me()];
            let done = decide(backend, &nodes, &[eth0()]);
            assert_eq!(done.routes.keys().copied().collect::<Vec<_>>(), [cidr("10.42.2.0/24")], "{pods}");
            let [problem] = done.problems.as_slice() else {
                panic!("{pods}: {:?}", done.problems)
            };
            assert!(
                problem.contains("the pods of node n9 are not reached") && problem.contains(why),
                "{problem}"
            );
        }
    }
    let keys = [
        me(),
        node("n2", "10.0.0.2", "10.42.2.0/24", KEY),
        node("n3", "10.0.0.3", "10.42.3.0/24", KEY),
    ];
    let done = decide(Backend::Wireguard, &keys, &[eth0()]);
    assert_eq!(done.routes.len(), 1);
    assert!(done.problems[0].contains("node n3 has the same WireGuard key"));
    let foreign = Node {
        pods: "192.168.0.0/24".parse().ok(),
        ..me()
    };
    let done = decide(Backend::Vxlan, &[foreign, keys[1].clone()], &[eth0()]);
    assert!(done.routes.is_empty() && done.device.is_none() && done.problems[0].contains("kubectl delete node n1"));
}

fn any_node() -> impl Strategy<Value = Node> {
    let address = prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| Ipv4Addr::new(10, 0, a, b)),
        any::<u32>().prop_map(Ipv4Addr::from)
    ];
    let pods = (any::<u8>(), 8u8..=32).prop_map(|(n, prefix)| IpNet::new_assert(Ipv4Addr::new(10, 42, n % 8, n).into(), prefix).trunc());
    let six = proptest::option::of((0u8..9).prop_map(|n| cidr(&format!("fd42:0:0:{n}::/64"))));
    (
        0u8..9,
        proptest::option::of(address),
        proptest::option::of(pods),
        six,
        any::<bool>(),
    )
        .prop_map(|(n, address, pods, pods6, keyed)| Node {
            name: format!("n{n}"),
            address,
            pods,
            pods6,
            key: PublicKey::parse(if keyed { KEY } else { "" }),
        })
}

proptest! {
    #[test]
    fn whatever_the_nodes_say(
        nodes in proptest::collection::vec(any_node(), 0..8),
        backend in prop_oneof![Just(Backend::HostGw), Just(Backend::Vxlan), Just(Backend::Wireguard)],
    ) {
        let decide = |nodes: &[Node]| decide_both(backend, Some("fd42::/61"), nodes, &[eth0()]);
        let done = decide(&nodes);
        let mine = nodes.iter().find(|n| n.name == "n1").and_then(|n| n.pods);
        let all: Vec<IpNet> = done.routes.keys().copied().collect();
        for (at, to) in all.iter().enumerate() {
            prop_assert!(cidr("10.42.0.0/16").contains(to) || cidr("fd42::/61").contains(to));
            prop_assert!(mine.is_some_and(|m| !overlap(m, *to)));
            prop_assert!(all.iter().skip(at + 1).all(|other| !overlap(*other, *to)));
        }
        // No order of the nodes changes what is decided, as long as names are unlike.
        let mut turned = nodes.clone();
        turned.reverse();
        let unlike: BTreeSet<_> = nodes.iter().map(|n| &n.name).collect();
        if unlike.len() == nodes.len() {
            prop_assert_eq!(&decide(&turned), &done);
        }
        // Each end of a tunnel is whole.
        let ends: Vec<_> = done.routes.values().filter(|h| h.link == VXLAN).filter_map(|h| h.via).collect();
        prop_assert_eq!(&ends, &done.neighbours.keys().copied().collect::<Vec<_>>());
        prop_assert_eq!(done.neighbours.values().collect::<BTreeSet<_>>(), done.forwards.keys().collect::<BTreeSet<_>>());
        prop_assert_eq!(done.routes.values().filter(|h| h.link == WIREGUARD).count(), done.peers.values().map(|p| p.pods.len()).sum::<usize>());
    }
}
