//! `netd` against a real kernel and a real DHCP server, in network namespaces of its own.
//!
//! Two namespaces with a cable (veth) between them: `dnsmasq` answers in one, `netd` runs in the other. Needs root, `ip` and `dnsmasq`;
//! without them it is skipped and says so.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: it panics to fail, and prints why it was skipped"
)]

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Why this machine cannot run these tests.
fn unable() -> Option<&'static str> {
    let runs = |program: &str, word: &str| {
        Command::new(program)
            .arg(word)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    if !rustix::process::geteuid().is_root() {
        Some("not root")
    } else if !runs("ip", "-V") {
        Some("no `ip` (Debian package iproute2)")
    } else if !runs("dnsmasq", "--version") {
        Some("no `dnsmasq` (Debian package dnsmasq-base)")
    } else if !Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success()) {
        Some("the kernel gives no network namespaces")
    } else {
        None
    }
}

/// A node and a server in namespaces, a folder for their files, and their programs. Everything ends with it.
struct Lab {
    id: String,
    dir: PathBuf,
    children: Vec<Child>,
    notify: UnixDatagram,
}

impl Lab {
    fn new(name: &str) -> Option<Self> {
        if let Some(reason) = unable() {
            remark(&format!("skipped: {reason}"));
            return None;
        }
        let id = format!("sk{name}{}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir_all(dir.join("state")).unwrap();
        let notify = UnixDatagram::bind(dir.join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let lab = Self {
            id,
            dir,
            children: Vec::new(),
            notify,
        };
        for side in ["n", "s"] {
            ip(&["netns", "add", &lab.space(side)]);
        }
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &lab.space("n"),
            "address",
            "02:00:00:00:00:01",
            "type",
            "veth",
            "peer",
            "name",
            "up0",
            "netns",
            &lab.space("s"),
        ]);
        lab.on("s", "ip addr add 10.77.0.1/24 dev up0; ip link set up0 up; ip link set lo up");
        Some(lab)
    }

    fn space(&self, side: &str) -> String {
        format!("{}{side}", self.id)
    }

    /// Runs shell words in a namespace; gives what they print.
    fn on(&self, side: &str, script: &str) -> String {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.space(side), "sh", "-c", script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn start(&mut self, side: &str, program: &str, words: &[&str]) -> usize {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.space(side), program])
            .args(words)
            .env("NOTIFY_SOCKET", self.dir.join("notify"))
            .env("NETD_DEBUG", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.children.push(child);
        self.children.len() - 1
    }

    fn server(&mut self, range: &str, more: &[&str]) -> usize {
        let leases = format!("--dhcp-leasefile={}", self.path("leases"));
        let range = format!("--dhcp-range={range}");
        let pid = format!("--pid-file={}", self.path("dnsmasq.pid"));
        let words = [
            "-k",
            "-C",
            "/dev/null",
            "-p",
            "0",
            "-i",
            "up0",
            "--log-dhcp",
            "--dhcp-authoritative",
            "--no-ping",
            "--log-facility=-",
            &leases,
            &range,
            &pid,
        ];
        let index = self.start("s", "dnsmasq", &[&words, more].concat());
        self.wait("the server", |lab| lab.on("s", "ss -lun").contains(":67 ").then_some(()));
        index
    }

    fn node(&mut self, network: &str) -> usize {
        self.configure(network);
        self.netd(&[])
    }

    fn netd(&mut self, more: &[&str]) -> usize {
        let (run, state, chrony) = (self.path("run"), self.path("state"), self.path("chrony"));
        let words = ["--run", &run, "--state", &state, "--chrony", &chrony];
        self.start("n", env!("CARGO_BIN_EXE_netd"), &[&words, more].concat())
    }

    fn configure(&self, network: &str) {
        self.write("run/network.json", &asked(network, "null"));
    }

    #[allow(clippy::disallowed_methods, reason = "a test's file need not outlive a power cut")]
    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.dir.join("run")).unwrap();
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Waits until READY=1 comes; gives all that was said until then.
    fn ready(&self) -> String {
        let mut said = String::new();
        let mut buffer = [0; 4096];
        while !said.contains("READY=1") {
            let length = match self.notify.recv(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.unwrap_or_else(|e| panic!("{e}; so far: {said}\n{}", self.read("log"))),
            };
            said += &String::from_utf8_lossy(&buffer[..length]);
            said.push('\n');
        }
        said
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waiting for {what}\n{}\n{}",
                self.on("n", "ip addr; ip route; ip -6 route"),
                self.read("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(&mut self, index: usize, signal: rustix::process::Signal) {
        let child = &mut self.children[index];
        // `ip netns exec` execs: its pid is the program's.
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).unwrap();
        if signal != rustix::process::Signal::HUP {
            child.wait().unwrap();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for side in ["n", "s"] {
            let _ = Command::new("ip").args(["netns", "del", &self.space(side)]).status();
        }
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => eprintln!("removing {}: {e}", self.dir.display()),
            _ => {}
        }
    }
}

/// The content of `network.json`.
fn asked(network: &str, firewall: &str) -> String {
    format!(r#"{{"network":{network},"dns_nameservers":["9.9.9.9"],"ntp_servers":["ntp.example"],"firewall":{firewall}}}"#)
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

const DHCP: &str = r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true}}}"#;
const POOL: &str = "10.77.0.50,10.77.0.60,255.255.255.0,1h";

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

/// A server that answers each DHCPv6 question with mutilated answers.
#[test]
fn a_dhcpv6_server_that_sends_nonsense_breaks_nothing() {
    use std::os::fd::AsFd;
    let Some(mut lab) = Lab::new("6f") else { return };
    let space = fs::File::open(Path::new("/run/netns").join(lab.space("s"))).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).unwrap();
        let socket = std::net::UdpSocket::bind("[::]:547").unwrap();
        let index = rustix::net::netdevice::name_to_index(&socket, "up0").unwrap();
        socket.join_multicast_v6(&"ff02::1:2".parse().unwrap(), index).unwrap();
        let mut dice = Dice(0x6eed_5eed_5eed_5eed);
        let (mut question, mut sent) = ([0; 2048], 0);
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            for _ in 0..200 {
                let mut answer = reply6(&question[..length], &mut dice);
                for _ in 0..dice.roll() % 4 {
                    let at = usize::from(dice.roll()) * 7 % answer.len();
                    answer[at] = dice.roll();
                }
                if dice.roll() < 40 {
                    answer.truncate(usize::from(dice.roll()));
                }
                let _ = socket.send_to(&answer, from);
                sent += 1;
            }
            let _ = sender.send(sent);
        }
    });
    let node = lab.node(r#"{"version":2,"ethernets":{"eth0":{"dhcp6":true}}}"#);
    let (start, mut rounds, mut seen) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(8) && rounds < 25 {
        if let Ok(count) = receiver.recv_timeout(Duration::from_secs(1)) {
            (rounds, seen) = (rounds + 1, count);
        }
        assert!(lab.children[node].try_wait().unwrap().is_none(), "netd died\n{}", lab.read("log"));
        let addresses = lab.on("n", "ip -6 -o addr show eth0 scope global");
        assert!(addresses.lines().count() <= 1, "{addresses}");
        let resolv = lab.read("run/resolv.conf");
        assert!(resolv.lines().count() <= 5, "{resolv}");
        assert!(resolv.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{resolv:?}");
    }
    println!("{seen} answers in {rounds} rounds");
    assert!(seen >= 200, "it was not asked\n{}", lab.read("log"));
}

/// An offer or a grant whose options have the right form and any content, or any length.
fn reply6(question: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = question[..4].to_vec();
    bytes[0] = [2, 7][usize::from(dice.roll() % 2)];
    bytes.extend([0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, 0, 2, 0, 4, 1, 2, 3, dice.roll() % 2]);
    let times = [0, 0, 0, dice.roll(), 0, 0, 0, dice.roll()];
    bytes.extend([0, 3, 0, 40, 0, 0, 0, 1].iter().chain(&times));
    bytes.extend([0, 5, 0, 24, 0xfd, 0x77]);
    bytes.extend([0; 13]);
    bytes.extend([dice.roll() % 3].iter().chain(&times));
    for _ in 0..dice.roll() % 12 {
        let kind = [3, 13, 14, 23, 24, 31, 32, 56, 82][usize::from(dice.roll() % 9)];
        let length = dice.roll() % 64;
        bytes.extend([0, kind, 0, length]);
        for _ in 0..length {
            bytes.push(dice.roll());
        }
    }
    bytes
}

/// A control group (version 2) for a test, taken away at its end.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Self> {
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.controllers").exists());
        let made = root.map(|root| root.join(name)).filter(|path| fs::create_dir(path).is_ok());
        if made.is_none() {
            remark("elsewhere: no control groups (version 2) here; machine test network-firewall");
        }
        made.map(Self)
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap().to_string_lossy().into_owned()
    }
}

/// Where `ip netns exec` starts programs, `/sys` is a new one: without control groups.
const GROUPS: &str = "mount -t cgroup2 none /sys/fs/cgroup";

impl Drop for Group {
    fn drop(&mut self) {
        // It takes a moment until those who were in it are gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What listens in the system's group is closed to the other end of the cable but for what is open; what listens elsewhere (a pod) is not.
#[test]
fn the_firewall_closes_the_systems_own_ports() {
    let runs = |words: &[&str]| Command::new(words[0]).args(&words[1..]).output().is_ok_and(|o| o.status.success());
    if !runs(&["nft", "--version"]) || !runs(&["python3", "--version"]) {
        remark("skipped: the firewall: no `nft` or no `python3`");
        return;
    }
    let Some(mut lab) = Lab::new("w4") else { return };
    let Some(group) = Group::new(&lab.space("g")) else { return };
    // In the group TCP 8080, 8081 and UDP 8082; outside of it TCP 8090.
    let listen = "import socket,sys,time\nkeep=[]\nfor a in sys.argv[1:]:\n  k,p=a.split('/')\n  s=socket.socket(socket.AF_INET,socket.SOCK_STREAM if k=='tcp' else socket.SOCK_DGRAM)\n  \
        s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n  s.bind(('0.0.0.0',int(p)))\n  k=='tcp' and s.listen(5)\n  keep.append(s)\nprint('listening',flush=True)\ntime.sleep(600)";
    lab.write("listen.py", listen);
    let name = group.name();
    let path = lab.path("listen.py");
    let script = format!("{GROUPS} && echo $$ > /sys/fs/cgroup/{name}/cgroup.procs && exec python3 {path} tcp/8080 tcp/8081 udp/8082");
    lab.start("n", "sh", &["-c", &script]);
    lab.start("n", "python3", &[&path, "tcp/8090"]);
    lab.wait("the listeners", |lab| {
        (lab.read("log").matches("listening").count() == 2).then_some(())
    });
    let network = r#"{"version":2,"ethernets":{"eth0":{"addresses":["10.77.0.9/24"]}}}"#;
    let wall = |on: bool, more: &str| format!(r#"{{"on":{on},"open":[{{"ports":"tcp/8080","why":"the test"}}{more}],"pods":[]}}"#);
    lab.write("run/network.json", &asked(network, &wall(true, "")));
    let (run, state, chrony) = (lab.path("run"), lab.path("state"), lab.path("chrony"));
    let netd = env!("CARGO_BIN_EXE_netd");
    let script = format!("{GROUPS} && exec {netd} --run {run} --state {state} --chrony {chrony} --group {name}");
    let node = lab.start("n", "sh", &["-c", &script]);
    lab.ready();
    let done = |lab: &Lab| lab.read("run/netd.json").contains(r#""done":true"#).then_some(());
    lab.wait("the firewall", done);
    // `ok`, or the error's number: 111 = refused.
    let ask = |lab: &Lab, side: &str, to: &str, port: u16| {
        let script =
            format!("python3 -c \"import socket;s=socket.socket();s.settimeout(5);e=s.connect_ex(('{to}',{port}));print(e or 'ok')\"");
        lab.on(side, &script).trim().to_owned()
    };
    let outside = |lab: &Lab| [8080, 8081, 8090, 8099].map(|port| ask(lab, "s", "10.77.0.9", port));
    assert_eq!(outside(&lab), ["ok", "111", "ok", "111"], "{}", lab.on("n", "nft list ruleset"));
    assert_eq!(ask(&lab, "n", "127.0.0.1", 8081), "ok", "the loopback is free");
    let udp = "python3 -c \"import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(5);s.connect(('10.77.0.9',8082));s.send(b'x');s.recv(9)\" 2>&1 | tail -1";
    assert!(lab.on("s", udp).contains("refused"), "UDP is refused too");
    assert!(
        lab.on("s", "ping -c1 -W5 10.77.0.9").contains("1 received") || !runs(&["ping", "-V"]),
        "ICMP is free"
    );
    // By what is open and closed with an interface, and by one key. Other tables stay as they are.
    lab.on("n", "nft add table inet others");
    lab.write(
        "run/network.json",
        &asked(network, &wall(true, r#",{"ports":"tcp/8081","why":"a tunnel","with":"tun9"}"#)),
    );
    lab.end(node, rustix::process::Signal::HUP);
    assert_eq!(outside(&lab)[1], "111");
    lab.on("n", "ip link add tun9 type bridge");
    lab.wait("the tunnel's port", |lab| (ask(lab, "s", "10.77.0.9", 8081) == "ok").then_some(()));
    lab.on("n", "ip link del tun9");
    lab.wait("the tunnel's end", |lab| (ask(lab, "s", "10.77.0.9", 8081) == "111").then_some(()));
    lab.write("run/network.json", &asked(network, &wall(false, "")));
    lab.end(node, rustix::process::Signal::HUP);
    lab.wait("the end of the firewall", |lab| {
        (ask(lab, "s", "10.77.0.9", 8081) == "ok").then_some(())
    });
    lab.wait("the report", |lab| {
        lab.read("run/netd.json").contains(r#""on":false,"done":true"#).then_some(())
    });
    assert_eq!(lab.on("n", "nft list tables").trim(), "table inet others");
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

/// Bits that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}

/// A server that answers each question with a flood of mutilated answers, some of which are grants, on a thread in namespace `s`.
fn fuzzing_server(lab: &Lab) -> std::sync::mpsc::Receiver<usize> {
    use std::os::fd::AsFd;
    let space = fs::File::open(Path::new("/run/netns").join(lab.space("s"))).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).unwrap();
        let socket = std::net::UdpSocket::bind("0.0.0.0:67").unwrap();
        socket.set_broadcast(true).unwrap();
        let mut dice = Dice(0x5eed_5eed_5eed_5eed);
        let (mut question, mut sent) = ([0; 2048], 0);
        while let Ok((length, _)) = socket.recv_from(&mut question) {
            for _ in 0..400 {
                let mut answer = reply(&question[..length.max(240)], &mut dice);
                for _ in 0..dice.roll() % 6 {
                    let at = usize::from(dice.roll()) * 7 % answer.len();
                    answer[at] = dice.roll();
                }
                if dice.roll() < 40 {
                    answer.truncate(usize::from(dice.roll()) * 2);
                }
                let _ = socket.send_to(&answer, "255.255.255.255:68");
                sent += 1;
            }
            let _ = sender.send(sent);
        }
    });
    receiver
}

/// An offer or a grant whose options have the right form and any content, or any length.
fn reply(question: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = question[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&[10, 77, dice.roll() % 2, dice.roll()]);
    bytes.extend([53, 1, [2, 5, 5, 6][usize::from(dice.roll() % 4)], 54, 4, 10, 77, 0, 1]);
    for _ in 0..dice.roll() % 12 {
        let kind = [1, 3, 6, 12, 15, 26, 42, 51, 58, 59, 80, 119, 121, 252][usize::from(dice.roll() % 14)];
        let length = dice.roll() % 64;
        bytes.extend([kind, length]);
        for _ in 0..length {
            bytes.push(dice.roll());
        }
    }
    bytes.push(255);
    bytes
}

#[test]
fn a_server_that_sends_nonsense_breaks_nothing() {
    let Some(mut lab) = Lab::new("f") else { return };
    lab.on("s", "ip route add 255.255.255.255 dev up0");
    let sent = fuzzing_server(&lab);
    let node = lab.node(DHCP);
    let (start, mut rounds, mut seen) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(8) && rounds < 25 {
        if let Ok(count) = sent.recv_timeout(Duration::from_secs(1)) {
            (rounds, seen) = (rounds + 1, count);
        }
        assert!(lab.children[node].try_wait().unwrap().is_none(), "netd died\n{}", lab.read("log"));
        let addresses = lab.on("n", "ip -4 -o addr show eth0");
        assert!(addresses.lines().count() <= 1, "{addresses}");
        assert!(
            addresses.is_empty() || addresses.contains("inet 10.77.") || addresses.contains(" inet "),
            "{addresses}"
        );
        let routes = lab.on("n", "ip route");
        assert!(routes.lines().count() <= 128, "{routes}");
        let link = lab.on("n", "ip -o link show eth0");
        let mtu: u32 = link
            .split("mtu ")
            .nth(1)
            .and_then(|t| t.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        assert!((1280..=9216).contains(&mtu), "{link}");
        let resolv = lab.read("run/resolv.conf");
        let lines = |key: &str| resolv.lines().filter(|l| l.starts_with(key)).count();
        assert!(
            lines("nameserver ") <= 3 && lines("search ") <= 1 && resolv.lines().count() <= 5,
            "{resolv}"
        );
        assert!(resolv.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{resolv:?}");
    }
    println!("{seen} answers in {rounds} rounds");
    assert!(seen >= 400, "it was not asked\n{}", lab.read("log"));
}

/// To whoever reads whether anything was skipped, from whom println! is kept.
fn remark(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}"); // nobody reads
}
