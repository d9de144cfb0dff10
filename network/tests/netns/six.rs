//! IPv6: by announcements and by DHCPv6.

use super::lab::{DHCP, Lab, POOL};

#[test]
fn a_router_gives_an_address_by_announcing() {
    let Some(mut lab) = Lab::new("v") else { return };
    lab.on("s", "ip -6 addr add fd77::1/64 dev up0 nodad");
    lab.server(POOL, &["--enable-ra", "--dhcp-range=fd77::,ra-only,64,1h", "--ra-param=up0,4,1800"]);
    lab.node(DHCP);
    lab.ready();
    let state = lab.wait("the address by the router", |lab| {
        let text = lab.read("run/network-state.json");
        text.contains(r#""origin":"ra""#).then_some(text)
    });
    assert!(state.contains("fd77:"), "{state}");
    assert!(
        lab.on("n", "ip -6 route").contains("default via fe80::"),
        "{}",
        lab.on("n", "ip -6 route")
    );
    assert_eq!(lab.on("n", "cat /proc/sys/net/ipv6/conf/eth0/accept_ra").trim(), "2");
}

/// dnsmasq announces that it has addresses, or only names, and nobody's configuration says anything of it.
#[test]
fn a_router_sends_to_a_dhcpv6_server() {
    for (name, range, address) in [("6a", "fd77::50,fd77::5f,64,1h", true), ("6i", "fd77::,ra-stateless,64,1h", false)] {
        let Some(mut lab) = Lab::new(name) else { return };
        lab.on("s", "ip -6 addr add fd77::1/64 dev up0 nodad");
        lab.server(
            POOL,
            &[
                "--enable-ra",
                &format!("--dhcp-range={range}"),
                "--ra-param=up0,4,1800",
                "--dhcp-option=option6:dns-server,[fd77::3]",
                "--dhcp-option=option6:domain-search,six.example",
            ],
        );
        lab.node(DHCP);
        lab.ready();
        let resolv = lab.wait("the server's names", |lab| {
            let text = lab.read("run/resolv.conf");
            text.contains("nameserver fd77::3\n").then_some(text)
        });
        assert!(resolv.contains("search six.example\n"), "{resolv}");
        if address {
            let state = lab.wait("the address by the server", |lab| {
                let text = lab.read("run/network-state.json");
                text.contains(r#""origin":"dhcp6""#).then_some(text)
            });
            let addresses = lab.on("n", "ip -6 -o addr show eth0");
            assert!(
                addresses.contains("inet6 fd77::5") && addresses.contains("/128 scope global"),
                "{addresses}"
            );
            assert!(state.contains("fd77::5"), "{state}");
        } else {
            assert!(!lab.read("run/network-state.json").contains("dhcp6"), "only names were asked for");
        }
    }
}

/// `dhcp6: true` waits for the address, without IPv4; a new start, and a cable that breaks, keep it and have it confirmed.
#[test]
fn an_address_by_dhcpv6_alone() {
    const SIX: &str = r#"{"version":2,"ethernets":{"eth0":{"dhcp6":true}}}"#;
    let Some(mut lab) = Lab::new("6s") else { return };
    lab.on("s", "ip -6 addr add fd77::1/64 dev up0 nodad");
    lab.server(POOL, &["--dhcp-range=fd77::50,fd77::5f,64,2m"]);
    let node = lab.node(SIX);
    let said = lab.ready();
    assert!(
        said.contains("STATUS=waiting for a DHCP answer on eth0") && said.contains("fd77::5"),
        "{said}"
    );
    let addresses = |lab: &Lab| lab.on("n", "ip -6 -o addr show eth0 scope global | awk '{print $4}'");
    let before = addresses(&lab);
    assert!(before.starts_with("fd77::5") && before.trim().ends_with("/128"), "{before}");
    lab.end(node, rustix::process::Signal::TERM);
    assert_eq!(addresses(&lab), before, "ending leaves everything");
    lab.node(SIX);
    lab.ready();
    let rebound = |lab: &Lab, times| (lab.read("log").matches("DHCPREBIND").count() >= times && addresses(lab) == before).then_some(());
    lab.wait("the confirmation", |lab| rebound(lab, 1));
    assert!(
        !lab.read("log").contains("removing"),
        "it was never taken away\n{}",
        lab.read("log")
    );
    lab.on("s", "ip link set up0 down");
    lab.wait("the loss of the carrier", |lab| {
        lab.read("run/network-state.json").contains(r#""up":false"#).then_some(())
    });
    lab.on("s", "ip link set up0 up; ip -6 addr replace fd77::1/64 dev up0 nodad");
    lab.wait("the confirmation", |lab| rebound(lab, 2));
}

/// A prefix that a router takes back, as a provider does that gives another one each day.
#[test]
fn addresses_that_are_no_longer_announced_come_last() {
    let Some(mut lab) = Lab::new("d") else { return };
    lab.node(r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.9/24"]}}}"#);
    lab.ready();
    let of = |lab: &Lab, last: &str| {
        let state: serde_json::Value = serde_json::from_str(&lab.read("run/network-state.json")).ok()?;
        let all: Vec<String> = state[0]["addresses"]
            .as_array()?
            .iter()
            .filter_map(|a| Some(a["address"].as_str()?.to_owned()))
            .collect();
        (all.last().map(String::as_str) == Some(last)).then_some(all)
    };
    lab.on(
        "n",
        "ip -6 address add fd77:0:0:1::9/64 dev eth0 nodad valid_lft 3600 preferred_lft 1800",
    );
    lab.wait("the first", |lab| of(lab, "fd77:0:0:1::9/64"));
    lab.on(
        "n",
        "ip -6 address add fd77:0:0:2::9/64 dev eth0 nodad valid_lft 3600 preferred_lft 1800",
    );
    lab.on("n", "ip -6 address change fd77:0:0:2::9/64 dev eth0 valid_lft 3600 preferred_lft 0");
    lab.wait("the second, taken back", |lab| of(lab, "fd77:0:0:2::9/64"));
    lab.on(
        "n",
        "ip -6 address change fd77:0:0:2::9/64 dev eth0 valid_lft 3600 preferred_lft 1800",
    );
    lab.on("n", "ip -6 address change fd77:0:0:1::9/64 dev eth0 valid_lft 3600 preferred_lft 0");
    let all = lab.wait("the first, taken back", |lab| of(lab, "fd77:0:0:1::9/64"));
    assert_eq!(all.len(), 3, "{all:?}");
}
