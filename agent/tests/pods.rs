//! The pod network on a real kernel: three nodes, each with a pod, in network namespaces of their own.
//!
//! ```text
//!  pod1 ─ n1 ─┐                ┌─ n3 ─ pod3
//!             ├─ 10.0.0.0/24 ─ r ─ 10.1.0.0/24
//!  pod2 ─ n2 ─┘
//! ```
//!
//! Needs root, `ip`, `bridge`, `nft`, and for `WireGuard` `wg` and its kernel module; what is missing is named, and skipped. The test
//! program calls itself in the namespaces: the ignored tests are its parts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: it panics to fail, and prints why it was skipped"
)]

use skerry_agent::files::Backend;
use skerry_agent::pods::nodes::{self, KEY_ANNOTATION, Node, PublicKey};
use skerry_agent::pods::plan::{Known, plan};
use skerry_agent::pods::wanted::{Request, wanted};
use skerry_agent::pods::{masquerade, perform, tool};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a pod answers with: more than one packet of any kind.
const BODY: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

fn runs(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

fn unable() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        Some("not root")
    } else if !runs("ip", &["-V"]) || !runs("bridge", &["-V"]) {
        Some("no `ip` (Debian package iproute2)")
    } else if !runs("nft", &["--version"]) {
        Some("no `nft` (Debian package nftables)")
    } else if !runs(
        "unshare",
        &[
            "-n", "ip", "link", "add", "name", "x", "type", "vxlan", "id", "1", "dstport", "8472",
        ],
    ) {
        Some("the kernel has no network namespaces or no VXLAN")
    } else {
        None
    }
}

fn unable_wireguard() -> Option<&'static str> {
    if !runs("wg", &["--version"]) {
        Some("no `wg` (Debian package wireguard-tools)")
    } else if !runs("unshare", &["-n", "ip", "link", "add", "name", "x", "type", "wireguard"]) {
        Some("the kernel has no WireGuard")
    } else {
        None
    }
}

struct Lab {
    id: String,
    dir: PathBuf,
    nodes: Vec<Node>,
}

impl Lab {
    fn new(name: &str) -> Self {
        let id = format!("sk{name}{}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        std::fs::create_dir_all(&dir).unwrap();
        let mut lab = Self { id, dir, nodes: vec![] };
        for space in ["r", "n1", "n2", "n3", "pod1", "pod2", "pod3"] {
            ip(&format!("netns add {}", lab.space(space)));
            lab.ip(space, "link set lo up");
        }
        lab.ip("r", "link add name br0 type bridge");
        lab.ip("r", "address add 10.0.0.254/24 dev br0");
        lab.ip("r", "link set br0 up");
        for (n, address, gateway) in [
            (1, "10.0.0.1", "10.0.0.254"),
            (2, "10.0.0.2", "10.0.0.254"),
            (3, "10.1.0.3", "10.1.0.254"),
        ] {
            let node = format!("n{n}");
            lab.cable("r", &format!("to{n}"), &node, "eth0");
            lab.ip(&node, &format!("address add {address}/24 dev eth0"));
            lab.ip(&node, "link set eth0 up");
            lab.ip("r", &format!("link set to{n} up"));
            if n < 3 {
                lab.ip("r", &format!("link set to{n} master br0"));
            } else {
                lab.ip("r", "address add 10.1.0.254/24 dev to3");
            }
            lab.ip(&node, &format!("route add default via {gateway}"));
            lab.pod(n);
            lab.nodes.push(Node {
                name: node,
                address: address.parse().ok(),
                pods: format!("10.42.{n}.0/24").parse().ok(),
                pods6: format!("fd42:0:0:{n}::/64").parse().ok(),
                key: None,
            });
        }
        lab.run("r", &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        // Nodes 1 and 2 have an IPv6 of their own to the router; node 3 has none.
        for (space, link, n) in [("r", "br0", "fe"), ("n1", "eth0", "1"), ("n2", "eth0", "2")] {
            lab.ip(space, &format!("address add fd10::{n}/64 dev {link} nodad"));
        }
        lab
    }

    /// As the bridge plugin makes it.
    fn pod(&self, n: usize) {
        let (node, pod) = (format!("n{n}"), format!("pod{n}"));
        self.ip(&node, "link add name cni0 type bridge");
        self.ip(&node, &format!("address add 10.42.{n}.1/24 dev cni0"));
        self.ip(&node, "link set cni0 up");
        self.cable(&node, "veth0", &pod, "eth0");
        self.ip(&node, "link set veth0 master cni0 up");
        self.ip(&pod, &format!("address add 10.42.{n}.2/24 dev eth0"));
        self.ip(&pod, "link set eth0 up");
        self.ip(&pod, &format!("route add default via 10.42.{n}.1"));
        self.ip(&node, &format!("address add fd42:0:0:{n}::1/64 dev cni0 nodad"));
        self.ip(&pod, &format!("address add fd42:0:0:{n}::2/64 dev eth0 nodad"));
        self.ip(&pod, &format!("-6 route add default via fd42:0:0:{n}::1"));
        self.run(&node, &["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    }

    fn cable(&self, a: &str, a_name: &str, b: &str, b_name: &str) {
        let (a, b) = (self.space(a), self.space(b));
        ip(&format!("link add {a_name} netns {a} type veth peer name {b_name} netns {b}"));
    }

    fn space(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    fn ip(&self, space: &str, words: &str) {
        ip(&format!("-n {} {words}", self.space(space)));
    }

    fn run(&self, space: &str, argv: &[&str]) {
        let mut command = Command::new("ip");
        let status = command.args(["netns", "exec", &self.space(space)]).args(argv).status().unwrap();
        assert!(status.success(), "{space}: {argv:?}");
    }

    /// This program's part `name`, in a namespace.
    fn part(&self, space: &str, name: &str, env: &[(&str, &str)]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space(space)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", name])
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The network of every node is put right; how many steps that took, node by node.
    fn settle(&mut self, backend: &str) -> Vec<usize> {
        let key = |n: usize| self.dir.join(format!("key{n}"));
        if backend == "wireguard" {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let keys: Vec<PublicKey> = (0..self.nodes.len())
                .map(|n| runtime.block_on(perform::key(&key(n))).unwrap())
                .collect();
            for (node, key) in self.nodes.iter_mut().zip(keys) {
                node.key = Some(key);
            }
        }
        let list: Vec<serde_json::Value> = self
            .nodes
            .iter()
            .map(|n| {
                serde_json::json!({
                    "metadata": { "name": n.name, "annotations": { KEY_ANNOTATION: n.key.as_ref().map(PublicKey::as_str) } },
                    "spec": { "podCIDRs": [n.pods.map(|p| p.to_string()), n.pods6.map(|p| p.to_string())] },
                    "status": { "addresses": [{ "type": "InternalIP", "address": n.address.map(|a| a.to_string()) }] },
                })
            })
            .collect();
        let list = serde_json::Value::from(list).to_string();
        let names: Vec<String> = self.nodes.iter().map(|n| n.name.clone()).collect();
        let mut steps = vec![];
        for (n, name) in names.iter().enumerate() {
            let file = self.dir.join(format!("key{n}"));
            let env = [
                ("LAB_NODES", list.as_str()),
                ("LAB_NAME", name),
                ("LAB_BACKEND", backend),
                ("LAB_KEY", file.to_str().unwrap()),
            ];
            let said = ended(self.part(name, "part_settle", &env).spawn().unwrap());
            steps.push(said.lines().find_map(|l| l.strip_prefix("STEPS ")).unwrap().parse().unwrap());
        }
        steps
    }

    /// A pod asks another: whom it saw, and whether all of the body came.
    fn ask(&self, from: &str, to: &str, address: &str) -> String {
        let mut server = self.part(to, "part_serve", &[]).spawn().unwrap();
        // It says when it listens.
        let mut said = vec![0u8; 1];
        let mut out = server.stdout.take().unwrap();
        let mut heard = String::new();
        while !heard.contains("LISTENING") {
            assert!(out.read(&mut said).unwrap() > 0, "the server ended: {heard}");
            heard.push(char::from(said[0]));
        }
        let client = self.part(from, "part_ask", &[("LAB_ADDRESS", address)]).spawn().unwrap();
        let answer = ended(client);
        let _ = server.kill();
        let _ = server.wait();
        let line = |key: &str| answer.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().to_owned();
        assert_eq!(line("BYTES "), BODY.to_string(), "{from} → {to}: {answer}");
        line("SEEN ")
    }

    /// Every pod reaches every other, under its own address.
    fn all_reach_all(&self) {
        for (from, to) in [(1, 2), (1, 3), (3, 1), (2, 3)] {
            let seen = self.ask(&format!("pod{from}"), &format!("pod{to}"), &format!("10.42.{to}.2:7000"));
            assert_eq!(seen, format!("10.42.{from}.2"), "pod{from} → pod{to}");
            let seen = self.ask(&format!("pod{from}"), &format!("pod{to}"), &format!("[fd42:0:0:{to}::2]:7000"));
            assert_eq!(seen, format!("fd42:0:0:{from}::2"), "pod{from} → pod{to}");
        }
        // A node reaches the pods of others, as probes and the API server do.
        assert!(!self.ask("n1", "pod3", "10.42.3.2:7000").is_empty());
        assert!(!self.ask("n3", "pod2", "10.42.2.2:7000").is_empty());
        // To the outside, with the node's address.
        assert_eq!(self.ask("pod1", "r", "10.1.0.254:7000"), "10.0.0.1");
        assert_eq!(self.ask("pod1", "r", "[fd10::fe]:7000"), "fd10::1");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for space in ["pod1", "pod2", "pod3", "n1", "n2", "n3", "r"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.space(space)]).status();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {words}");
}

fn ended(child: Child) -> String {
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[tokio::test]
#[ignore = "a part of the others"]
async fn part_settle() {
    let backend: Backend = serde_json::from_value(env("LAB_BACKEND").into()).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&env("LAB_NODES")).unwrap();
    let nodes: Vec<Node> = list.iter().map(nodes::read).collect();
    let request = Request {
        name: env("LAB_NAME"),
        backend,
        pods: "10.42.0.0/16".parse().unwrap(),
        pods6: "fd42::/56".parse().ok(),
    };
    let key = PathBuf::from(env("LAB_KEY"));
    let me = nodes.iter().find(|n| n.name == request.name);
    let known = Known {
        key: me.and_then(|n| n.key.clone()),
        ..Known::default()
    };
    let machine = perform::look().await.unwrap();
    let wanted = wanted(&request, &nodes, &machine);
    let steps = plan(&machine, &wanted, &known);
    println!("{steps:?}");
    perform::perform(&steps, &key).await.unwrap();
    let left = plan(&perform::look().await.unwrap(), &wanted, &known);
    assert_eq!(left, [], "after {steps:?}");
    let rules = if backend == Backend::None {
        masquerade::removal()
    } else {
        masquerade::rules(request.pods, request.pods6)
    };
    tool::output("nft", &["-f", "-"], &rules).await.unwrap();
    println!("STEPS {}", steps.len());
}

#[test]
#[ignore = "a part of the others"]
fn part_serve() {
    let listener = TcpListener::bind("[::]:7000").unwrap();
    println!("LISTENING");
    let (mut stream, peer) = listener.accept().unwrap();
    let mut body = format!("{}\n", peer.ip().to_canonical()).into_bytes();
    body.extend(vec![b'x'; BODY]);
    stream.write_all(&body).unwrap();
}

#[test]
#[ignore = "a part of the others"]
fn part_ask() {
    let mut stream = TcpStream::connect_timeout(&env("LAB_ADDRESS").parse().unwrap(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (seen, body) = text.split_once('\n').unwrap();
    println!("SEEN {seen}\nBYTES {}", body.len());
}

fn life_of(name: &str, backend: &str) {
    let mut lab = Lab::new(name);
    assert!(lab.settle(backend).iter().all(|steps| *steps > 0));
    lab.all_reach_all();
    assert_eq!(lab.settle(backend), [0, 0, 0], "nothing to do twice");

    // Somebody meddles.
    lab.ip("n1", "route flush proto 83");
    lab.ip("n1", "-6 route flush proto 83");
    let link = if backend == "vxlan" { "skerry-vxlan" } else { "skerry-wg" };
    lab.ip("n3", &format!("link delete {link}"));
    let steps = lab.settle(backend);
    assert!(steps[0] > 0 && steps[1] == 0 && steps[2] > 0, "{steps:?}");
    lab.all_reach_all();

    // A node gets another address.
    lab.ip("n3", "address flush dev eth0");
    lab.ip("n3", "address add 10.1.0.33/24 dev eth0");
    lab.ip("n3", "route add default via 10.1.0.254");
    lab.nodes[2].address = "10.1.0.33".parse().ok();
    lab.settle(backend);
    lab.all_reach_all();

    // A node leaves; then the owner wants another network.
    let gone = lab.nodes.remove(1);
    let steps = lab.settle(backend);
    assert!(steps.iter().all(|s| *s > 0), "{steps:?}");
    assert_eq!(lab.ask("pod1", "pod3", "10.42.3.2:7000"), "10.42.1.2");
    lab.nodes.insert(1, gone);
    lab.settle("none");
    assert_eq!(lab.settle("none"), [0, 0, 0]);
    for node in ["n1", "n2", "n3"] {
        let space = lab.space(node);
        for family in ["-4", "-6"] {
            let routes = Command::new("ip")
                .args([family, "-n", &space, "route", "show", "proto", "83"])
                .output()
                .unwrap();
            assert!(routes.stdout.is_empty());
        }
        assert!(!runs("ip", &["-n", &space, "link", "show", link]));
    }
}

#[test]
fn vxlan() {
    match unable() {
        Some(why) => remark(&format!("skipped: pods by VXLAN: {why}")),
        None => life_of("v", "vxlan"),
    }
}

#[test]
fn wireguard() {
    match unable().or_else(unable_wireguard) {
        Some(why) => remark(&format!("elsewhere: pods by WireGuard: {why}; machine test pods-wireguard")),
        None => life_of("w", "wireguard"),
    }
}

#[test]
fn plain_routes_on_one_link() {
    if let Some(why) = unable() {
        remark(&format!("skipped: pods by plain routes: {why}"));
        return;
    }
    let mut lab = Lab::new("h");
    lab.nodes.truncate(2);
    assert_eq!(lab.settle("host-gw"), [1, 1]);
    assert_eq!(lab.ask("pod1", "pod2", "10.42.2.2:7000"), "10.42.1.2");
    assert_eq!(lab.ask("pod2", "r", "10.0.0.254:7000"), "10.0.0.2");
}

/// To whoever reads whether anything was skipped, from whom println! is kept.
fn remark(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}"); // nobody reads
}
