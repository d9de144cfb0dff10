//! Interfaces that are made (bridge, bond, VLAN, VRF), and routing by tables and rules.

use super::lab::{DHCP, Lab, POOL, remark};

/// Whether this kernel can make such a device: where not, a machine's test proves it (tests/src/cases/network.rs).
fn can_make(lab: &Lab, kind: &str, more: &str) -> bool {
    let able = lab
        .on(
            "s",
            &format!("ip link add link up0 name try0 type {kind} {more} && ip link del try0 && echo yes"),
        )
        .contains("yes");
    if !able {
        remark(&format!("elsewhere: this kernel makes no {kind}; machine test network-devices"));
    }
    able
}

#[test]
fn a_bridge_gets_a_lease_and_is_taken_down() {
    let Some(mut lab) = Lab::new("b") else { return };
    lab.server(POOL, &[]);
    let node = lab.node(
        r#"{"version":2,"ethernets":{"port":{"match":{"name":"eth0"},"mtu":1400}},
        "bridges":{"br0":{"interfaces":["port"],"dhcp4":true,"macaddress":"02:bb:00:00:00:01","parameters":{"stp":"false","forward-delay":"2"}}}}"#,
    );
    lab.ready();
    let all = lab.on("n", "ip -d -o link show br0; ip -o link show eth0; ip -4 -o addr; ip route");
    for expected in [
        "forward_delay 200",
        "stp_state 0",
        "02:bb:00:00:00:01",
        "master br0",
        "inet 10.77.0.5",
        "default via 10.77.0.1 dev br0 proto dhcp",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    let state = lab.read("run/network-state.json");
    assert!(
        state.contains(r#""kind":"bridge""#) && state.contains(r#""master":"br0""#) && state.contains(r#""waits":null"#),
        "{state}"
    );
    // A restart finds it as it is.
    let before = lab.on("n", "ip -o link; ip -4 -o addr; ip route");
    lab.end(node, rustix::process::Signal::TERM);
    let node = lab.node(
        r#"{"version":2,"ethernets":{"port":{"match":{"name":"eth0"},"mtu":1400}},
        "bridges":{"br0":{"interfaces":["port"],"dhcp4":true,"macaddress":"02:bb:00:00:00:01","parameters":{"stp":"false","forward-delay":"2"}}}}"#,
    );
    lab.ready();
    assert_eq!(lab.on("n", "ip -o link; ip -4 -o addr; ip route"), before);
    // Somebody else's stays, ours goes.
    lab.on("n", "ip link add cni0 type bridge");
    lab.configure(DHCP);
    lab.end(node, rustix::process::Signal::HUP);
    lab.wait("the bridge to go", |lab| {
        let all = lab.on("n", "ip -o link; ip -4 -o addr show eth0");
        (!all.contains("br0") && all.contains("cni0") && all.contains("inet 10.77.0.5")).then_some(())
    });
}

#[test]
fn tables_rules_and_overrides() {
    let Some(mut lab) = Lab::new("t") else { return };
    lab.server(POOL, &["--dhcp-option=6,10.77.0.3"]);
    let node = lab.node(
        r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true,"dhcp4-overrides":{"route-metric":77,"use-dns":false},
        "addresses":["10.78.0.5/24","fd78::5/64"],
        "routes":[{"to":"default","via":"10.78.0.1","table":1000,"from":"10.78.0.5"},{"to":"fd99::/16","via":"fd78::1","table":100}],
        "routing-policy":[{"from":"10.78.0.5/32","table":1000},{"to":"fd99::/16","table":100,"priority":500},{"mark":5,"table":1000}]}}}"#,
    );
    lab.ready();
    let all = lab.on(
        "n",
        "ip route; ip route show table 1000; ip -6 route show table 100; ip rule; ip -6 rule",
    );
    for expected in [
        "default via 10.77.0.1 dev eth0 proto dhcp metric 77",
        "default via 10.78.0.1 dev eth0 proto static src 10.78.0.5",
        "fd99::/16 via fd78::1 dev eth0 proto static",
        "30000:\tfrom 10.78.0.5 lookup 1000 proto static",
        "500:\tfrom all to fd99::/16 lookup 100 proto static",
        "30002:\tfrom all fwmark 0x5 lookup 1000 proto static",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    assert_eq!(all.matches("fwmark 0x5").count(), 2, "one for each family: {all}");
    assert!(!lab.read("run/resolv.conf").contains("10.77.0.3"));
    // It is used.
    assert!(lab.on("n", "ip route get 192.0.2.9 from 10.78.0.5").contains("via 10.78.0.1"));
    lab.on("n", "ip rule add from 10.1.2.3 table 5 priority 9");
    lab.configure(DHCP);
    lab.end(node, rustix::process::Signal::HUP);
    lab.wait("the rules to go", |lab| {
        let all = lab.on("n", "ip rule; ip -6 rule; ip route show table 1000; ip -6 route show table 100");
        (!all.contains("static") && all.contains("10.1.2.3")).then_some(())
    });
}

#[test]
fn a_vlan_on_a_bond_in_a_vrf() {
    let Some(mut lab) = Lab::new("w") else { return };
    if !can_make(&lab, "vlan", "id 5") || !can_make(&lab, "bond", "") || !can_make(&lab, "vrf", "table 9") {
        return;
    }
    lab.node(
        r#"{"version":2,"ethernets":{"eth0":{}},"bonds":{"bond9":{"interfaces":["eth0"],"parameters":{"mode":"active-backup"}}},
        "vlans":{"lan":{"id":5,"link":"bond9","addresses":["10.79.0.5/24"],"routes":[{"to":"default","via":"10.79.0.1"}]}},
        "vrfs":{"blue":{"table":7,"interfaces":["lan"]}}}"#,
    );
    lab.ready();
    let all = lab.wait("the VRF", |lab| {
        let all = lab.on("n", "ip -d -o link; ip -4 -o addr; ip route show table 7");
        all.contains("default via 10.79.0.1").then_some(all)
    });
    for expected in [
        "lan@bond9",
        "vlan protocol 802.1Q id 5",
        "mode active-backup",
        "miimon 100",
        "10.79.0.5/24",
        "vrf table 7",
        "master blue",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
}
