//! Leases of DHCP: got, kept, renewed, taken away.

use super::lab::{DHCP, Lab, POOL};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_lease_is_got_fast_and_everything_is_written() {
    let Some(mut lab) = Lab::new("a") else { return };
    lab.server(
        POOL,
        &[
            "--dhcp-option=6,10.77.0.3",
            "--dhcp-option=42,10.77.0.4",
            "--dhcp-option=15,lan.example",
            "--dhcp-option=26,1400",
        ],
    );
    let start = Instant::now();
    let node = lab.node(DHCP);
    let said = lab.ready();
    let took = start.elapsed();
    println!("start to READY: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}: {said}");
    let address = lab.on("n", "ip -4 -o addr show eth0");
    assert!(
        address.contains("10.77.0.5") && address.contains("/24 brd 10.77.0.255"),
        "{address}"
    );
    assert!(
        lab.on("n", "ip route").contains("default via 10.77.0.1 dev eth0 proto dhcp"),
        "{}",
        lab.on("n", "ip route")
    );
    assert!(lab.on("n", "ip -o link show eth0").contains("mtu 1400"));
    assert!(lab.on("n", "ip -o addr show lo").contains("127.0.0.1/8"), "the loopback is up");
    let resolv = lab.read("run/resolv.conf");
    assert!(
        resolv.contains("nameserver 10.77.0.3\n") && resolv.contains("search lan.example\n") && !resolv.contains("9.9.9.9"),
        "{resolv}"
    );
    assert_eq!(
        lab.read("chrony/skerry.sources"),
        "server ntp.example iburst\nserver 10.77.0.4 iburst\n"
    );
    let state: serde_json::Value = serde_json::from_str(&lab.read("run/network-state.json")).unwrap();
    assert_eq!(state[0]["name"], "eth0");
    assert_eq!(state[0]["addresses"][0]["origin"], "dhcp4");
    assert_eq!(state[0]["gateway"], "10.77.0.1");
    assert!(lab.read("state/dhcp-eth0.json").contains("10.77.0.5"));
    // Ending leaves everything; starting again asks for the same address and disturbs nothing.
    let before = lab.on("n", "ip -4 -o addr show eth0; ip route");
    lab.end(node, rustix::process::Signal::TERM);
    assert_eq!(lab.on("n", "ip -4 -o addr show eth0; ip route"), before);
    lab.node(DHCP);
    lab.ready();
    assert_eq!(lab.on("n", "ip -4 -o addr show eth0; ip route"), before);
    let log = lab.read("log");
    assert!(log.contains("rebooting"), "the kept lease was asked for");
    assert!(!log.contains("removing"), "it was never taken away: {log}");
}

#[test]
fn a_server_that_no_longer_knows_the_address_gives_another() {
    let Some(mut lab) = Lab::new("n") else { return };
    let server = lab.server(POOL, &[]);
    let node = lab.node(DHCP);
    lab.ready();
    lab.end(node, rustix::process::Signal::TERM);
    lab.end(server, rustix::process::Signal::TERM);
    let _ = fs::remove_file(lab.path("leases"));
    lab.server("10.77.0.150,10.77.0.160,255.255.255.0,1h", &[]);
    lab.node(DHCP);
    lab.ready();
    let address = lab.wait("the new address", |lab| {
        let text = lab.on("n", "ip -4 -o addr show eth0");
        text.contains("10.77.0.15").then_some(text)
    });
    assert!(!address.contains("10.77.0.5"), "the old one is gone: {address}");
    assert_eq!(lab.on("n", "ip route | grep -c default").trim(), "1");
}

#[test]
fn a_short_lease_is_renewed() {
    let Some(mut lab) = Lab::new("r") else { return };
    // dnsmasq's shortest lease is two minutes; it may name T1 by itself.
    lab.server(
        "10.77.0.50,10.77.0.60,255.255.255.0,2m",
        &["--dhcp-option-force=58,30", "--dhcp-option-force=59,100"],
    );
    lab.node(DHCP);
    lab.ready();
    if std::env::var_os("SKERRY_SLOW").is_none() {
        println!("not waiting 30 s for the renewal: set SKERRY_SLOW=1");
        return;
    }
    std::thread::sleep(Duration::from_secs(33));
    let log = lab.read("log");
    assert!(log.matches("for 120 s from 10.77.0.1").count() >= 2, "{log}");
}
