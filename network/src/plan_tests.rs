//! Plans, from settings and facts to steps in words; and that doing them leads where it should.

use super::*;
use crate::device::Made;
use crate::dhcp::lease::Lease;
use crate::request::{Request, assign};
use crate::wanted::{Leases, wanted};
use proptest::prelude::*;

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
        ..Facts::default()
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
        match action {
            Action::AddRule(rule) => facts.rules.push(*rule),
            Action::RemoveRule(rule) => facts.rules.retain(|r| r != rule),
            Action::AddLink(device) => {
                assert!(facts.links.iter().all(|l| l.name != device.name), "{} is there", device.name);
                let index = facts.links.iter().map(|l| l.index).max().unwrap_or(0) + 1;
                facts.links.push(Link {
                    made: Some(Made {
                        kind: device.kind,
                        options: device.options.clone(),
                    }),
                    base: device.base,
                    hardware: false,
                    ours: true,
                    ..eth(index, &device.name)
                });
            }
            Action::RemoveLink(at) => {
                facts.links.retain(|l| l.index != at.index && l.base != Some(at.index));
                facts
                    .links
                    .iter_mut()
                    .filter(|l| l.master == Some(at.index))
                    .for_each(|l| l.master = None);
                facts.routes.retain(|r| r.link != at.index);
            }
            other => on_link(&mut facts, other),
        }
    }
    facts
}

fn on_link(facts: &mut Facts, action: &Action) {
    let (Action::AcceptRa(at, _)
    | Action::SetMac(at, _)
    | Action::SetMtu(at, _)
    | Action::SetOptions(at, ..)
    | Action::SetMaster(at, _)
    | Action::Down(at)
    | Action::Up(at)
    | Action::RemoveAddress(at, _)
    | Action::AddAddress(at, ..)
    | Action::RemoveRoute(at, _)
    | Action::AddRoute(at, ..)) = action
    else {
        return;
    };
    let index = at.index;
    let is_bond = |facts: &Facts, index: u32| facts.link(index).unwrap().made.as_ref().is_some_and(|m| m.kind == Kind::Bond);
    if let Action::SetMaster(_, Some(master)) = action {
        // "Device can not be enslaved while up".
        assert!(!(is_bond(facts, master.index) && facts.link(index).unwrap().up), "{action}");
    }
    let link = facts.links.iter_mut().find(|l| l.index == index).unwrap();
    match action {
        Action::AcceptRa(_, value) => link.accept_ra = Some(*value),
        Action::SetMac(_, mac) => link.mac = Some(*mac),
        Action::SetMtu(_, mtu) => link.mtu = *mtu,
        Action::SetOptions(_, _, options) => link.made.as_mut().unwrap().options.extend(options),
        Action::SetMaster(_, master) => link.master = master.as_ref().map(|m| m.index),
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
        _ => {}
    }
}

/// Looks, plans and does until nothing is left to do: what was done, in words, a list a round.
fn settled(facts: &mut Facts, network: &str) -> Vec<Vec<String>> {
    let request: Request = serde_json::from_str(&format!(r#"{{"network":{network}}}"#)).unwrap();
    let mut rounds = Vec::new();
    loop {
        let actions = plan(facts, &wanted(facts, &assign(&request, facts), &Leases::default()));
        if actions.is_empty() {
            return rounds;
        }
        *facts = done(facts.clone(), &actions);
        rounds.push(actions.iter().map(ToString::to_string).collect());
        assert!(rounds.len() < 6, "it does not settle: {rounds:?}");
    }
}

const TOWER: &str = r#"{"version":2,"ethernets":{"eth0":{},"eth1":{}},
    "bonds":{"bond0":{"interfaces":["eth0","eth1"],"parameters":{"mode":"active-backup"}}},
    "vlans":{"lan":{"id":10,"link":"bond0"}},
    "bridges":{"br0":{"interfaces":["lan"],"addresses":["10.1.0.5/24"],"parameters":{"stp":"false"}}}}"#;

#[test]
fn a_bridge_on_a_vlan_on_a_bond_is_built_and_taken_down() {
    let mut facts = machine();
    let rounds = settled(&mut facts, TOWER);
    assert_eq!(rounds.len(), 3, "{rounds:#?}");
    assert_eq!(rounds[0].last().map(String::as_str), Some("switching eth1 on"));
    assert!(
        rounds[0].starts_with(&["making bond bond0".to_owned(), "making bridge br0".to_owned()]),
        "{rounds:#?}"
    );
    assert!(rounds[1].starts_with(&["making vlan lan".to_owned()]), "{rounds:#?}");
    let of = |name: &str| facts.links.iter().find(|l| l.name == name).unwrap().clone();
    assert_eq!(of("eth0").master, Some(of("bond0").index));
    assert_eq!(of("eth1").master, Some(of("bond0").index));
    assert_eq!(of("lan").master, Some(of("br0").index));
    assert_eq!(of("lan").base, Some(of("bond0").index));
    assert!(["eth0", "eth1", "bond0", "lan", "br0"].iter().all(|name| of(name).up));
    assert_eq!(of("br0").addresses.len(), 1);
    assert_eq!(of("eth0").accept_ra, Some(0), "a member listens to no router");
    // Another mode is another bond; the VLAN goes with it and comes back.
    settled(&mut facts, &TOWER.replace("active-backup", "802.3ad"));
    let bond = facts.links.iter().find(|l| l.name == "bond0").unwrap();
    assert_eq!(bond.made.as_ref().unwrap().options.get(&1), Some(&4));
    assert!(facts.links.iter().any(|l| l.name == "lan" && l.base == Some(bond.index)));
    // What is no longer asked for goes; what others made stays.
    facts.links.push(Link {
        made: Some(Made {
            kind: Kind::Bridge,
            options: Options::new(),
        }),
        hardware: false,
        ..eth(50, "cni0")
    });
    settled(&mut facts, r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.0.0.5/24"]}}}"#);
    let names: Vec<&str> = facts.links.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0", "eth1", "veth9", "cni0"]);
    assert_eq!(facts.link(2).unwrap().master, None);
}

#[test]
fn what_others_made_is_left_alone_but_its_own_name_is_the_owners() {
    let mut facts = machine();
    let bridge = |index, name: &str, ours| Link {
        made: Some(Made {
            kind: Kind::Bridge,
            options: Options::from([(5, 0)]),
        }),
        hardware: false,
        ours,
        ..eth(index, name)
    };
    facts.links.push(bridge(9, "cni0", false));
    facts.links.get_mut(1).unwrap().master = Some(9);
    let words = settled(&mut facts, r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true}}}"#);
    assert!(words.concat().iter().all(|w| !w.contains("member")), "{words:?}");
    // An interface of that name, of another kind: named, and not touched.
    let request: Request = serde_json::from_str(r#"{"network":{"version":2,"bonds":{"cni0":{"interfaces":["eth1"]}}}}"#).unwrap();
    let assigned = assign(&request, &facts);
    assert_eq!(
        assigned.problems,
        ["network.bonds.cni0: an interface of this name is there already, and is no bond"]
    );
    let actions = plan(&facts, &wanted(&facts, &assigned, &Leases::default()));
    assert!(
        actions.iter().all(|a| !matches!(a, Action::RemoveLink(_) | Action::AddLink(_))),
        "{actions:?}"
    );
    // Of the same kind, it is meant.
    settled(&mut facts, r#"{"version":2,"bridges":{"cni0":{"interfaces":["eth1"]}}}"#);
    assert_eq!(facts.link(9).unwrap().made.as_ref().unwrap().options.get(&5), Some(&1));
    assert_eq!(facts.link(3).unwrap().master, Some(9));
}

#[test]
fn tables_rules_and_a_vrf() {
    let mut facts = machine();
    let words = settled(
        &mut facts,
        r#"{"version":2,"ethernets":{
            "eth0":{"addresses":["10.0.0.5/24"],"gateway4":"10.0.0.1","routes":[{"to":"default","via":"10.0.0.2","table":100,"from":"10.0.0.5"}],
                "routing-policy":[{"from":"10.0.0.5/32","table":100},{"to":"fd00::/8","table":100,"priority":5},{"mark":7,"table":100}]},
            "eth1":{"addresses":["10.1.0.5/24"],"routes":[{"to":"default","via":"10.1.0.1"}]}},
            "vrfs":{"blue":{"table":7,"interfaces":["eth1"]}}}"#,
    );
    let tables: Vec<(u32, u32)> = facts.routes.iter().map(|r| (r.link, r.table)).collect();
    assert!(
        tables.contains(&(2, MAIN)) && tables.contains(&(2, 100)) && tables.contains(&(3, 7)),
        "{words:#?}"
    );
    assert!(!tables.contains(&(3, MAIN)), "what is in the VRF is routed there: {words:#?}");
    let rules: Vec<String> = facts.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "30000: from 10.0.0.5/32 table 100",
            "5: to fd00::/8 table 100",
            "30002: mark 7 (IPv4) table 100",
            "30002: mark 7 (IPv6) table 100"
        ]
    );
    assert_eq!(
        facts.link(3).unwrap().addresses.len(),
        1,
        "a VRF leaves its members their addresses"
    );
    settled(&mut facts, r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.0.0.5/24"]}}}"#);
    assert_eq!(facts.rules.len(), 0);
    assert!(
        facts.routes.iter().all(|r| r.link == 3),
        "an interface that is no longer named stays as it is"
    );
    assert!(facts.links.iter().all(|l| l.name != "blue"));
}

#[test]
fn of_dhcps_answer_counts_what_the_owner_wants() {
    let facts = machine();
    let network = r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true,"dhcp4-overrides":{"route-metric":50,"use-dns":false}},
        "eth1":{"dhcp4":true,"dhcp4-overrides":{"use-routes":false}}}}"#;
    let request: Request = serde_json::from_str(&format!(r#"{{"network":{network}}}"#)).unwrap();
    let assigned = assign(&request, &facts);
    let leases: Leases = assigned
        .links
        .iter()
        .map(|settings| (settings.index, crate::wanted::limited(lease(), &settings.overrides)))
        .collect();
    assert!(leases.four[&2].dns.is_empty() && !leases.four[&3].dns.is_empty());
    let wanted = wanted(&facts, &assigned, &leases);
    let metrics: Vec<(u32, u32)> = wanted
        .links
        .iter()
        .flat_map(|l| &l.routes)
        .map(|(r, _)| (r.link, r.metric))
        .collect();
    assert_eq!(metrics, [(2, 50)]);
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
    assert_eq!(words(&machine(), "null", &Leases::default()), start);
    let request = Request::default();
    let leases = Leases::from_iter([(2, lease())]);
    let facts = machine();
    let facts = done(
        facts.clone(),
        &plan(&facts, &wanted(&facts, &assign(&request, &facts), &Leases::default())),
    );
    assert_eq!(
        words(&facts, "null", &leases),
        ["adding address 10.0.2.15/24 to eth0", "adding route 0.0.0.0/0 via 10.0.2.2 on eth0"]
    );
    let facts = done(facts.clone(), &plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)));
    assert!(words(&facts, "null", &leases).is_empty());
    assert_eq!(
        words(&facts, "null", &Leases::default()),
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
        words(&machine(), network, &Leases::default()),
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
        table: MAIN,
        source: None,
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
        words(&facts, r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true}}}"#, &Leases::default()),
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
    let leases = Leases::from_iter([(
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
            let cidr: IpNet = format!("10.0.0.{host}/24").parse().unwrap();
            let owner = [Owner::Static, Owner::Dhcp, Owner::Router, Owner::Other][usize::from(owner)];
            if eth0.addresses.iter().all(|a| a.cidr != cidr) {
                eth0.addresses.push(Address { cidr, owner, global: true, usable: true });
            }
        }
        let list: Vec<String> = wants.iter().map(|host| format!("\"10.0.0.{host}/24\"")).collect();
        let network = format!(r#"{{"network":{{"version":2,"ethernets":{{"eth0":{{"dhcp4":true,"mtu":1400,"addresses":[{}]}}}}}}}}"#, list.join(","));
        let request: Request = serde_json::from_str(&network).unwrap();
        let leases = if with_lease { Leases::from_iter([(2, lease())]) } else { Leases::default() };
        let facts = done(facts.clone(), &plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)));
        prop_assert_eq!(plan(&facts, &wanted(&facts, &assign(&request, &facts), &leases)), vec![]);
    }
}
