//! Plans, from settings and facts to steps in words; and that doing them leads where it should.

use super::*;
use crate::dhcp::lease::Lease;
use crate::request::{Request, assign};
use crate::wanted::{Leases, wanted};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn eth(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        hardware: true,
        ethernet: true,
        mtu: 1500,
        accept_ra: Some(1),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        ..Link::default()
    }
}

fn machine() -> Facts {
    let lo = Link {
        index: 1,
        name: "lo".into(),
        loopback: true,
        mtu: 65536,
        accept_ra: Some(1),
        ..Link::default()
    };
    let veth = Link {
        index: 5,
        name: "veth9".into(),
        ethernet: true,
        mtu: 1500,
        ..Link::default()
    };
    Facts {
        links: vec![lo, eth(2, "eth0"), eth(3, "eth1"), veth],
        routes: Vec::new(),
    }
}

fn lease() -> Lease {
    Lease {
        address: "10.0.2.15/24".parse().unwrap(),
        server: Some([10, 0, 2, 2].into()),
        seconds: 86400,
        renew: 43200,
        rebind: 75600,
        routes: vec![("0.0.0.0/0".parse().unwrap(), Some([10, 0, 2, 2].into()))],
        dns: vec![[10, 0, 2, 3].into()],
        search: vec![],
        ntp: vec![],
        mtu: None,
    }
}

fn words(facts: &Facts, network: &str, leases: &Leases) -> Vec<String> {
    let request: Request = serde_json::from_str(&format!(r#"{{"network":{network}}}"#)).unwrap();
    plan(facts, &wanted(facts, &assign(&request, facts), leases))
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Does a plan to facts, as the kernel would.
fn done(mut facts: Facts, actions: &[Action]) -> Facts {
    for action in actions {
        let index = match action {
            Action::AcceptRa(at, _)
            | Action::SetMac(at, _)
            | Action::SetMtu(at, _)
            | Action::Down(at)
            | Action::Up(at)
            | Action::RemoveAddress(at, _)
            | Action::AddAddress(at, ..)
            | Action::RemoveRoute(at, _)
            | Action::AddRoute(at, ..) => at.index,
        };
        let link = facts.links.iter_mut().find(|l| l.index == index).unwrap();
        match action {
            Action::AcceptRa(_, value) => link.accept_ra = Some(*value),
            Action::SetMac(_, mac) => link.mac = Some(*mac),
            Action::SetMtu(_, mtu) => link.mtu = *mtu,
            Action::Up(_) => link.up = true,
            Action::Down(_) => {
                link.up = false;
                facts.routes.retain(|r| r.link != index);
            }
            Action::RemoveAddress(_, cidr) => link.addresses.retain(|a| a.cidr != *cidr),
            Action::AddAddress(_, cidr, owner) => {
                link.addresses.retain(|a| a.cidr != *cidr);
                link.addresses.push(Address {
                    cidr: *cidr,
                    owner: *owner,
                    global: true,
                    usable: true,
                });
            }
            Action::RemoveRoute(_, route) => facts.routes.retain(|r| r != route),
            Action::AddRoute(_, route, _) => facts.routes.push(*route),
        }
    }
    facts
}

#[test]
fn by_default_wired_devices_go_up_and_a_lease_is_put_on() {
    let start = [
        "switching lo on",
        "setting accept_ra of eth0 to 2",
        "switching eth0 on",
        "setting accept_ra of eth1 to 2",
        "switching eth1 on",
    ];
    assert_eq!(words(&machine(), "null", &BTreeMap::new()), start);
    let request = Request::default();
    let leases = BTreeMap::from([(2, lease())]);
    let facts = machine();
    let facts = done(
        facts.clone(),
        &plan(&facts, &wanted(&facts, &assign(&request, &facts), &BTreeMap::new())),
    );
    assert_eq!(
        words(&facts, "null", &leases),
        ["adding address 10.0.2.15/24 to eth0", "adding route 0.0.0.0/0 via 10.0.2.2 on eth0"]
    );
    let facts = done(facts.clone(), &plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)));
    assert!(words(&facts, "null", &leases).is_empty());
    assert_eq!(
        words(&facts, "null", &BTreeMap::new()),
        [
            "removing address 10.0.2.15/24 from eth0",
            "removing route 0.0.0.0/0 via 10.0.2.2 from eth0"
        ],
        "a lost lease is taken away"
    );
}

#[test]
fn a_static_interface_in_full() {
    let network = r#"{"version":2,"ethernets":{"eth1":{"addresses":["192.0.2.10/24","2001:db8::10/64"],"gateway4":"192.0.2.1","accept-ra":false,
        "mtu":9000,"macaddress":"02:aa:00:00:00:01",
        "routes":[{"to":"default","via":"2001:db8::1"},{"to":"10.0.0.0/8","via":"192.0.2.254","metric":7}]}}}"#;
    assert_eq!(
        words(&machine(), network, &BTreeMap::new()),
        [
            "switching lo on",
            "setting accept_ra of eth1 to 0",
            "setting the hardware address of eth1 to 02:aa:00:00:00:01",
            "setting the mtu of eth1 to 9000",
            "switching eth1 on",
            "adding address 192.0.2.10/24 to eth1",
            "adding address 2001:db8::10/64 to eth1",
            "adding route 0.0.0.0/0 via 192.0.2.1 on eth1",
            "adding route ::/0 via 2001:db8::1 on eth1",
            "adding route 10.0.0.0/8 via 192.0.2.254 on eth1",
        ]
    );
}

#[test]
fn what_others_put_there_stays() {
    let mut facts = machine();
    let eth0 = facts.links.get_mut(1).unwrap();
    eth0.up = true;
    eth0.accept_ra = Some(2);
    let address = |text: &str, owner| Address {
        cidr: text.parse().unwrap(),
        owner,
        global: true,
        usable: true,
    };
    eth0.addresses = vec![
        address("10.9.9.9/24", Owner::Other),
        address("2001:db8::5/64", Owner::Router),
        address("10.8.8.8/24", Owner::Static),
        address("10.7.7.7/24", Owner::Dhcp),
    ];
    let route = |owner| Route {
        to: "10.1.0.0/16".parse().unwrap(),
        via: None,
        link: 2,
        metric: 0,
        owner,
    };
    facts.routes = vec![
        route(Owner::Other),
        Route {
            link: 5,
            ..route(Owner::Static)
        },
        Route {
            metric: 3,
            ..route(Owner::Static)
        },
    ];
    assert_eq!(
        words(&facts, r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true}}}"#, &BTreeMap::new()),
        [
            "switching lo on",
            "removing address 10.8.8.8/24 from eth0",
            "removing address 10.7.7.7/24 from eth0",
            "removing route 10.1.0.0/16 from eth0"
        ]
    );
}

#[test]
fn a_gateway_outside_the_network_is_on_the_link() {
    let leases = BTreeMap::from([(
        2,
        Lease {
            address: "10.0.2.15/32".parse().unwrap(),
            ..lease()
        },
    )]);
    let facts = machine();
    let plan = plan(&facts, &wanted(&facts, &assign(&Request::default(), &facts), &leases));
    assert!(plan.iter().any(|a| matches!(a, Action::AddRoute(_, _, true))), "{plan:?}");
}

proptest! {
    /// From any state a plan leads to what is wanted in one go (in a kernel that does as told).
    #[test]
    fn doing_a_plan_leaves_nothing_to_do(
        up: bool, mtu in 1280..9000_u32, had in proptest::collection::vec((1..5_u8, 0..4_u8), 0..6),
        wants in proptest::collection::vec(1..5_u8, 0..4), with_lease: bool,
    ) {
        let mut facts = machine();
        let eth0 = facts.links.get_mut(1).unwrap();
        (eth0.up, eth0.mtu) = (up, mtu);
        for (host, owner) in had {
            let cidr: Cidr = format!("10.0.0.{host}/24").parse().unwrap();
            let owner = [Owner::Static, Owner::Dhcp, Owner::Router, Owner::Other][usize::from(owner)];
            if eth0.addresses.iter().all(|a| a.cidr != cidr) {
                eth0.addresses.push(Address { cidr, owner, global: true, usable: true });
            }
        }
        let list: Vec<String> = wants.iter().map(|host| format!("\"10.0.0.{host}/24\"")).collect();
        let network = format!(r#"{{"network":{{"version":2,"ethernets":{{"eth0":{{"dhcp4":true,"mtu":1400,"addresses":[{}]}}}}}}}}"#, list.join(","));
        let request: Request = serde_json::from_str(&network).unwrap();
        let leases = if with_lease { BTreeMap::from([(2, lease())]) } else { BTreeMap::new() };
        let facts = done(facts.clone(), &plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)));
        prop_assert_eq!(plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)), vec![]);
    }
}
