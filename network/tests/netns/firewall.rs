//! The system's own ports are closed to the outside, those of pods and of the owner are not.

use super::lab::{Lab, asked, remark};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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
