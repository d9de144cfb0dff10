//! Interfaces that come late, settings that change, and what netd itself takes.

use super::lab::{DHCP, Lab, POOL, asked};
use std::fs;
use std::path::Path;

#[test]
fn memory_stays_small() {
    let Some(mut lab) = Lab::new("m") else { return };
    lab.server(POOL, &[]);
    let node = lab.node(DHCP);
    lab.ready();
    let rollup = fs::read_to_string(Path::new("/proc").join(lab.children[node].id().to_string()).join("smaps_rollup")).unwrap();
    let of = |key: &str| {
        rollup
            .lines()
            .find(|l| l.starts_with(key))
            .and_then(|l| l.split_whitespace().nth(1))
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    println!("resident: {} KiB, of it its own: {} KiB", of("Rss:"), of("Anonymous:"));
    // The rest is the program's file, which in a debug build is several times as large as what is shipped.
    assert!(of("Anonymous:") < 1024, "{rollup}");
}

#[test]
fn a_cable_that_comes_later_is_served_then() {
    let Some(mut lab) = Lab::new("c") else { return };
    lab.server(POOL, &[]);
    lab.on("s", "ip link set up0 down");
    lab.node(DHCP);
    let mut buffer = [0; 512];
    let length = lab.notify.recv(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), "STATUS=waiting for carrier on eth0");
    lab.on("s", "ip link set up0 up");
    assert!(lab.ready().contains("STATUS=eth0 10.77.0."));
    // A short break: the address stays, and is confirmed.
    lab.on("s", "ip link set up0 down");
    lab.wait("the loss of the carrier", |lab| {
        lab.read("run/network-state.json").contains(r#""up":false"#).then_some(())
    });
    assert!(lab.on("n", "ip -4 -o addr show eth0").contains("10.77.0."));
    lab.on("s", "ip link set up0 up");
    lab.wait("the carrier", |lab| {
        lab.read("run/network-state.json").contains(r#""up":true"#).then_some(())
    });
    lab.wait("the confirmation", |lab| lab.read("log").contains("rebooting").then_some(()));
}

#[test]
fn an_interface_that_appears_later_is_set_up() {
    let Some(mut lab) = Lab::new("l") else { return };
    lab.node(r#"{"version":2,"ethernets":{"late0":{"addresses":["10.88.0.2/24"],"gateway4":"10.88.0.1"}}}"#);
    let mut buffer = [0; 512];
    let length = lab.notify.recv(&mut buffer).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&buffer[..length]),
        "STATUS=waiting for interface late0 of the config to appear"
    );
    lab.on("n", "ip link add late0 type veth peer name other0; ip link set other0 up");
    lab.ready();
    assert!(lab.on("n", "ip route").contains("default via 10.88.0.1 dev late0 proto static"));
    assert!(!lab.on("n", "ip -o link show eth0").contains("UP"), "eth0 was not asked for");
    // Gone and back.
    lab.on("n", "ip link del late0");
    lab.wait("the report", |lab| {
        lab.read("run/network-state.json").contains(r#""kind":"missing""#).then_some(())
    });
    lab.on("n", "ip link add late0 type veth peer name other0; ip link set other0 up");
    lab.wait("the address again", |lab| {
        lab.on("n", "ip -4 -o addr").contains("10.88.0.2/24").then_some(())
    });
}

#[test]
fn static_settings_in_full_and_a_new_config_by_signal() {
    let Some(mut lab) = Lab::new("s") else { return };
    let node = lab.node(
        r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.9/24","fd77::9/64"],"mtu":1450,"macaddress":"02:aa:00:00:00:09","accept_ra":false,
        "nameservers":{"addresses":["10.77.0.1"],"search":["a.example"]},
        "routes":[{"to":"default","via":"10.77.0.1"},{"to":"10.99.0.0/16","via":"10.77.0.2","metric":50},{"to":"default","via":"fd77::1"},
                  {"to":"10.98.0.0/16","via":"192.0.2.1","on-link":true}]}}}"#,
    );
    lab.ready();
    let all = lab.on(
        "n",
        "ip -o addr show eth0; ip -o link show eth0; ip route; ip -6 route; cat /proc/sys/net/ipv6/conf/eth0/accept_ra",
    );
    for expected in [
        "inet 10.77.0.9/24",
        "inet6 fd77::9/64",
        "mtu 1450",
        "link/ether 02:aa:00:00:00:09",
        "default via 10.77.0.1 dev eth0 proto static",
        "10.99.0.0/16 via 10.77.0.2 dev eth0 proto static metric 50",
        "10.98.0.0/16 via 192.0.2.1 dev eth0 proto static onlink",
        "default via fd77::1 dev eth0 proto static metric 1024",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    assert!(all.ends_with("\n0\n"), "{all}");
    assert!(lab.read("run/resolv.conf").contains("nameserver 10.77.0.1\nsearch a.example\n"));

    // Somebody else's address and route stay; ours that are no longer wanted go.
    lab.on("n", "ip addr add 10.66.0.1/24 dev eth0; ip route add 10.55.0.0/16 via 10.66.0.2");
    lab.configure(r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.10/24"]}}}"#);
    lab.end(node, rustix::process::Signal::HUP);
    lab.wait("the new address", |lab| {
        let all = lab.on("n", "ip -4 -o addr show eth0; ip route");
        (all.contains("10.77.0.10/24") && !all.contains("10.77.0.9/24") && !all.contains("proto static")).then_some(())
    });
    let all = lab.on("n", "ip -o addr show eth0; ip route");
    assert!(all.contains("10.66.0.1/24") && all.contains("10.55.0.0/16 via 10.66.0.2"), "{all}");
    assert!(!all.contains("fd77::9"), "{all}");
    // An address of ours that somebody removes is put back.
    lab.on("n", "ip addr del 10.77.0.10/24 dev eth0");
    lab.wait("the address again", |lab| {
        lab.on("n", "ip -4 -o addr show eth0").contains("10.77.0.10/24").then_some(())
    });
}

/// Milliseconds of the kernel's clock that only goes forward.
fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1000 + u64::try_from(now.tv_nsec).unwrap() / 1_000_000
}

/// What is on trial counts until its time is over, also through a restart of netd; then what was before counts again by itself.
#[test]
fn a_trial_that_nobody_confirms_is_undone() {
    let Some(mut lab) = Lab::new("tr") else { return };
    let old = r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.9/24"]}}}"#;
    let new = r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.10/24"]}}}"#;
    let has = |lab: &Lab, address: &str| {
        let all = lab.on("n", "ip -4 -o addr show eth0");
        (all.contains(address) && all.matches("inet ").count() == 1).then_some(())
    };
    let node = lab.node(old);
    lab.ready();
    has(&lab, "10.77.0.9/24").unwrap();
    let until = clock() + 4000;
    lab.write(
        "run/network-trial.json",
        &format!(r#"{{"until_ms":{until},"request":{}}}"#, asked(new, "null")),
    );
    lab.end(node, rustix::process::Signal::HUP);
    lab.wait("what is on trial", |lab| has(lab, "10.77.0.10/24"));
    let told = format!(r#""trial_until_ms":{until}"#);
    lab.wait("the report", |lab| lab.read("run/netd.json").contains(&told).then_some(()));
    lab.end(node, rustix::process::Signal::KILL);
    let node = lab.netd(&[]);
    lab.ready();
    has(&lab, "10.77.0.10/24").unwrap();
    lab.wait("what was before", |lab| has(lab, "10.77.0.9/24"));
    assert!(clock() >= until, "not before its time");
    assert!(!lab.dir.join("run/network-trial.json").exists() && lab.read("log").contains("nobody confirmed"));
    // One whose time was over before netd saw it, and one that cannot be read, count for nothing.
    for text in [format!(r#"{{"until_ms":1,"request":{}}}"#, asked(new, "null")), "{".to_owned()] {
        lab.write("run/network-trial.json", &text);
        lab.end(node, rustix::process::Signal::HUP);
        lab.wait("its end", |lab| (!lab.dir.join("run/network-trial.json").exists()).then_some(()));
        has(&lab, "10.77.0.9/24").unwrap();
    }
}
