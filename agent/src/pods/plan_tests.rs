use super::*;
use crate::files::Backend;
use crate::pods::machine::WireGuard;
use crate::pods::nodes::Node;
use crate::pods::wanted::{Request, WIREGUARD, wanted};
use proptest::prelude::*;

const KEYS: [&str; 4] = [
    "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=",
    "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
    "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=",
];

fn key(n: usize) -> PublicKey {
    PublicKey::parse(KEYS[n % KEYS.len()]).unwrap()
}

/// What the kernel would make of the steps.
fn perform(machine: &mut Machine, steps: &[Step], known: &mut Known) {
    for step in steps {
        match step.clone() {
            Step::RemoveLink(kind) => {
                machine.links.retain(|l| l.name != kind.link());
                machine.routes.retain(|(_, hop)| hop.link != kind.link());
                match kind {
                    Kind::Vxlan => {
                        machine.neighbours.clear();
                        machine.forwards.clear();
                    }
                    Kind::WireGuard => machine.wireguard = None,
                }
            }
            Step::MakeLink(kind) => {
                assert!(machine.links.iter().all(|l| l.name != kind.link()), "made twice");
                machine.links.push(Link {
                    name: kind.link().into(),
                    mtu: 1420,
                    kind: if kind == Kind::Vxlan { "vxlan" } else { "wireguard" }.into(),
                    vxlan: (kind == Kind::Vxlan).then_some((VXLAN_ID, VXLAN_PORT, false)),
                    ..Link::default()
                });
                if kind == Kind::WireGuard {
                    machine.wireguard = Some(WireGuard::default());
                }
            }
            Step::SetMac(mac) => link(machine, Kind::Vxlan).mac = Some(mac),
            Step::SetMtu(kind, mtu) => link(machine, kind).mtu = mtu,
            Step::RemoveAddress(kind, a) => link(machine, kind).addresses.retain(|is| *is != a),
            Step::AddAddress(kind, a) => link(machine, kind).addresses.push(a),
            Step::Up(kind) => link(machine, kind).up = true,
            Step::Listen => {
                let tunnel = machine.wireguard.as_mut().unwrap();
                (tunnel.key, tunnel.port) = (known.key.clone(), WIREGUARD_PORT);
            }
            Step::RemoveNeighbour(end) => machine.neighbours.retain(|(is, _)| *is != end),
            Step::SetNeighbour(end, mac) => {
                machine.neighbours.retain(|(is, _)| *is != end);
                machine.neighbours.push((end, Some(mac)));
            }
            Step::RemoveForward(mac, to) => machine.forwards.retain(|is| *is != (mac, to)),
            Step::AddForward(mac, to) => machine.forwards.push((mac, to)),
            Step::RemovePeer(key) => machine.wireguard.as_mut().unwrap().peers.retain(|p| p.key != key),
            Step::SetPeer(key, peer) => {
                let tunnel = machine.wireguard.as_mut().unwrap();
                tunnel.peers.retain(|p| p.key != key);
                known.told.insert(key.clone(), peer.address);
                tunnel.peers.push(WireGuardPeer {
                    key,
                    endpoint: Some(SocketAddr::new(peer.address.into(), WIREGUARD_PORT)),
                    // In no order that we know.
                    allowed: peer.pods.into_iter().rev().collect(),
                    handshake: 0,
                });
            }
            Step::RemoveRoute(to, hop) => {
                let at = machine.routes.iter().position(|r| *r == (to, hop.clone())).unwrap();
                machine.routes.remove(at);
            }
            Step::SetRoute(to, hop) => {
                // The kernel refuses a gateway that is not on a link, and a link that is off.
                let link = machine.links.iter().find(|l| l.name == hop.link).unwrap();
                assert!(link.up);
                assert!(hop.on_link || hop.via.is_none_or(|via| link.addresses.iter().any(|a| a.contains(&via))));
                machine.routes.retain(|(is, _)| *is != to);
                machine.routes.push((to, hop));
            }
        }
    }
}

fn link(machine: &mut Machine, kind: Kind) -> &mut Link {
    machine.links.iter_mut().find(|l| l.name == kind.link()).unwrap()
}

fn eth0(mtu: u32, addresses: &[&str]) -> Link {
    Link {
        name: "eth0".into(),
        up: true,
        mtu,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        ..Link::default()
    }
}

fn node(n: u8, address: [u8; 4]) -> Node {
    Node {
        name: format!("n{n}"),
        address: Some(address.into()),
        pods: format!("10.42.{n}.0/24").parse().ok(),
        pods6: None,
        key: Some(key(n.into())),
    }
}

fn request(backend: Backend) -> Request {
    Request {
        name: "n0".into(),
        backend,
        pods: "10.42.0.0/16".parse().unwrap(),
        pods6: None,
    }
}

fn settle(machine: &mut Machine, wanted: &Wanted, known: &mut Known) -> Vec<Step> {
    let steps = plan(machine, wanted, known);
    perform(machine, &steps, known);
    let again = plan(machine, wanted, known);
    assert_eq!(again, [], "after {steps:?}");
    steps
}

#[test]
fn from_nothing_to_vxlan_and_back() {
    let mut machine = Machine {
        links: vec![eth0(1500, &["10.0.0.1/24"])],
        ..Machine::default()
    };
    let nodes = [node(0, [10, 0, 0, 1]), node(1, [10, 0, 0, 2]), node(2, [10, 0, 9, 3])];
    let vxlan = wanted(&request(Backend::Vxlan), &nodes, &machine);
    let mut known = Known::default();
    let first = Ipv4Addr::new(10, 42, 2, 0);
    let end = IpAddr::V4(first);
    let hop = |via: IpAddr, link: &str, on_link| Hop {
        via: Some(via),
        link: link.into(),
        on_link,
    };
    let direct = ("10.42.1.0/24".parse().unwrap(), hop([10, 0, 0, 2].into(), "eth0", false));
    let tunnel = ("10.42.2.0/24".parse().unwrap(), hop(end, "skerry-vxlan", true));
    assert_eq!(
        settle(&mut machine, &vxlan, &mut known),
        [
            Step::MakeLink(Kind::Vxlan),
            Step::SetMac(mac_of_tunnel(Ipv4Addr::new(10, 42, 0, 0))),
            Step::SetMtu(Kind::Vxlan, 1450),
            Step::AddAddress(Kind::Vxlan, "10.42.0.0/32".parse().unwrap()),
            Step::Up(Kind::Vxlan),
            Step::SetNeighbour(end, mac_of_tunnel(first)),
            Step::AddForward(mac_of_tunnel(first), Ipv4Addr::new(10, 0, 9, 3)),
            Step::SetRoute(direct.0, direct.1.clone()),
            Step::SetRoute(tunnel.0, tunnel.1.clone()),
        ]
    );

    // The far node moves; the near one leaves.
    let moved = wanted(&request(Backend::Vxlan), &[nodes[0].clone(), node(2, [10, 0, 8, 7])], &machine);
    assert_eq!(
        settle(&mut machine, &moved, &mut known),
        [
            Step::RemoveForward(mac_of_tunnel(first), Ipv4Addr::new(10, 0, 9, 3)),
            Step::AddForward(mac_of_tunnel(first), Ipv4Addr::new(10, 0, 8, 7)),
            Step::RemoveRoute(direct.0, direct.1),
        ]
    );
    // It comes onto our link.
    let near = wanted(&request(Backend::Vxlan), &[nodes[0].clone(), node(2, [10, 0, 0, 7])], &machine);
    assert_eq!(
        settle(&mut machine, &near, &mut known),
        [
            Step::RemoveNeighbour(end),
            Step::RemoveForward(mac_of_tunnel(first), Ipv4Addr::new(10, 0, 8, 7)),
            Step::SetRoute(tunnel.0, hop([10, 0, 0, 7].into(), "eth0", false)),
        ]
    );
    // Nothing is wanted any more.
    let steps = settle(&mut machine, &Wanted::default(), &mut known);
    assert_eq!(steps[0], Step::RemoveLink(Kind::Vxlan));
    assert!(machine.routes.is_empty() && machine.links.len() == 1);
}

#[test]
fn a_tunnel_that_is_wrong_in_what_cannot_be_changed_is_made_anew() {
    let nodes = [node(0, [10, 0, 0, 1]), node(2, [10, 0, 9, 3])];
    for wrong in [Some((2, 8472, false)), Some((1, 4789, false)), Some((1, 8472, true)), None] {
        let mut machine = Machine {
            links: vec![eth0(1500, &["10.0.0.1/24"])],
            ..Machine::default()
        };
        let vxlan = wanted(&request(Backend::Vxlan), &nodes, &machine);
        let mut known = Known::default();
        settle(&mut machine, &vxlan, &mut known);
        link(&mut machine, Kind::Vxlan).vxlan = wrong;
        let steps = settle(&mut machine, &vxlan, &mut known);
        assert_eq!(steps[..2], [Step::RemoveLink(Kind::Vxlan), Step::MakeLink(Kind::Vxlan)]);
        assert!(matches!(steps.last(), Some(Step::SetRoute(..))), "its routes went with it");
    }
}

#[test]
fn an_end_that_moved_is_followed_unless_the_cluster_knows_better() {
    let mut machine = Machine {
        links: vec![eth0(1500, &["10.0.0.1/24"])],
        ..Machine::default()
    };
    let nodes = [node(0, [10, 0, 0, 1]), node(1, [10, 0, 0, 2])];
    let mut known = Known {
        key: Some(key(0)),
        now: 1_000_000,
        ..Known::default()
    };
    let tunnel = wanted(&request(Backend::Wireguard), &nodes, &machine);
    assert_eq!(
        settle(&mut machine, &tunnel, &mut known)
            .iter()
            .filter(|s| **s == Step::Listen)
            .count(),
        1
    );
    let heard: SocketAddr = "192.0.2.9:4000".parse().unwrap();
    let set = |machine: &mut Machine, handshake| {
        let peer = &mut machine.wireguard.as_mut().unwrap().peers[0];
        (peer.endpoint, peer.handshake) = (Some(heard), handshake);
    };
    let again = |to| {
        let peer = Peer {
            address: to,
            pods: vec!["10.42.1.0/24".parse().unwrap()],
        };
        vec![Step::SetPeer(key(1), peer)]
    };
    set(&mut machine, known.now - 20);
    assert_eq!(plan(&machine, &tunnel, &known), [], "the session lives");
    for dead in [0, known.now - SESSION, 1] {
        set(&mut machine, dead);
        assert_eq!(plan(&machine, &tunnel, &known), again(Ipv4Addr::new(10, 0, 0, 2)));
    }
    set(&mut machine, known.now - 20);
    let moved = wanted(&request(Backend::Wireguard), &[nodes[0].clone(), node(1, [10, 0, 0, 77])], &machine);
    assert_eq!(plan(&machine, &moved, &known), again(Ipv4Addr::new(10, 0, 0, 77)));
    // A key that another boot made.
    known.key = Some(key(3));
    assert!(plan(&machine, &tunnel, &known).contains(&Step::Listen));
    assert!(machine.routes[0].1.link == WIREGUARD);
}

fn backends() -> impl Strategy<Value = Backend> {
    prop_oneof![
        Just(Backend::None),
        Just(Backend::HostGw),
        Just(Backend::Vxlan),
        Just(Backend::Wireguard)
    ]
}

fn clusters() -> impl Strategy<Value = (Request, Vec<Node>)> {
    let peer = (0u8..6, 0u8..3, 1u8..9, any::<bool>(), any::<bool>());
    (backends(), any::<bool>(), proptest::collection::vec(peer, 0..5)).prop_map(|(backend, both, peers)| {
        let six = |n: u8| format!("fd42:0:0:{n}::/64").parse().ok().filter(|_| both);
        let mut nodes = vec![node(0, [10, 0, 0, 1])];
        nodes[0].pods6 = six(0);
        for (n, net, host, pods, keyed) in peers {
            let mut one = node(n, [10, 0, net, host]);
            one.pods6 = six(n);
            one.pods = one.pods.filter(|_| pods);
            one.key = one.key.filter(|_| keyed);
            if nodes.iter().all(|is| is.name != one.name) {
                nodes.push(one);
            }
        }
        let request = Request {
            pods6: "fd42::/56".parse().ok().filter(|_| both),
            ..request(backend)
        };
        (request, nodes)
    })
}

proptest! {
    /// From any cluster to any other, with somebody changing things in between: each plan can be done, and leads there at once.
    #[test]
    fn every_way_ends(stations in proptest::collection::vec((clusters(), 0usize..6), 1..6)) {
        let mut machine = Machine { links: vec![eth0(1500, &["10.0.0.1/24", "10.0.1.1/24"])], ..Machine::default() };
        let mut known = Known { key: Some(key(0)), now: 1_000_000, ..Known::default() };
        for ((request, nodes), meddling) in stations {
            let wanted = wanted(&request, &nodes, &machine);
            settle(&mut machine, &wanted, &mut known);
            let told: Vec<_> = wanted.routes.keys().copied().collect();
            let is: std::collections::BTreeSet<_> = machine.routes.iter().map(|(to, _)| *to).collect();
            prop_assert_eq!(is.into_iter().collect::<Vec<_>>(), told);
            match meddling {
                0 => machine.routes.clear(),
                1 => machine.links.truncate(1),
                2 => machine.neighbours.iter_mut().for_each(|(_, mac)| *mac = None),
                3 => machine.forwards.push((Mac([2; 6]), Ipv4Addr::new(10, 0, 0, 99))),
                4 => machine.links.iter_mut().skip(1).for_each(|l| (l.mtu, l.mac) = (9000, None)),
                _ => {
                    let hop = Hop { via: None, link: "eth0".into(), on_link: false };
                    machine.routes.push(("10.42.77.0/24".parse().unwrap(), hop));
                }
            }
            if machine.links.len() == 1 {
                let gone = |hop: &Hop| hop.link != "eth0";
                machine.routes.retain(|(_, hop)| !gone(hop));
                machine.neighbours.clear();
                machine.forwards.clear();
                machine.wireguard = None;
            }
            settle(&mut machine, &wanted, &mut known);
        }
    }
}
