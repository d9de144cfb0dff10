//! A cluster of machines on one virtual Ethernet: the first makes it, the others join it by two lines of configuration.

use crate::machine::disk::Seed;
use crate::machine::wire::{Wire, address};
use crate::machine::{Lab, Machine, Request};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The secret of test clusters.
pub const TOKEN: &str = "a token of a cluster in a laboratory";
/// Memory of a server, in MiB.
const SERVER_MEMORY: u32 = 2560;
/// Memory of a worker, in MiB.
const WORKER_MEMORY: u32 = 1280;
/// Size of a data disk, in MiB.
const DISK: u32 = 6144;

/// The parts of `count` machines, `servers` of them servers.
pub fn parts(count: u8, servers: u8) -> Vec<Part> {
    (1..=count)
        .map(|n| match n {
            1 if servers > 1 => Part::FirstOfServers,
            1 => Part::First,
            n if n <= servers => Part::Server,
            _ => Part::Worker,
        })
        .collect()
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It makes the cluster.
    First,
    /// It makes a cluster of several servers.
    FirstOfServers,
    /// A further server.
    Server,
    /// A worker.
    Worker,
}

/// One machine's place and part.
#[derive(Debug, Clone)]
pub struct Node {
    /// From 1 on; 1 is the first server.
    pub number: u8,
    /// Its name, in the cluster too.
    pub name: String,
    /// Its part.
    pub part: Part,
    /// Its secret, where it is not [`TOKEN`].
    pub token: Option<String>,
    /// More words of a server's `k3s_args`.
    pub flags: Vec<&'static str>,
    /// Length of its network's prefix. Who is outside is reached by a route of its own, as if there were a router between.
    pub prefix: u8,
    /// An IPv6 address beside its own.
    pub six: Option<&'static str>,
    /// What netplan says of its card in VLAN 50, which is then its way to the others; its first card is for whoever tests it.
    pub lan: Option<&'static str>,
    /// More lines of its configuration.
    pub more: String,
    /// Files of this computer to put on its data disk, each with its place there.
    pub files: Vec<(String, PathBuf)>,
    /// Its hardware clock, `2027-09-17T10:00:00`; none: now.
    pub clock: Option<String>,
}

impl Node {
    /// With the defaults of its part.
    pub fn new(number: u8, part: Part) -> Self {
        Self {
            number,
            name: format!("node-{number}"),
            part,
            token: None,
            flags: vec![],
            prefix: 24,
            six: None,
            lan: None,
            more: String::new(),
            files: vec![],
            clock: None,
        }
    }

    /// What netplan says of its cards. The first one's address is fixed, because the ports that lead to it are.
    fn network(&self) -> String {
        let own = address(self.number);
        let eth0 = "network:\n  version: 2\n  ethernets:\n    eth0:\n";
        if let Some(words) = self.lan {
            return format!("{eth0}      addresses: [{own}/24]\n  vlans:\n    lan: {{id: 50, link: eth0, {words}}}\n");
        }
        let network = |number: u8| (20 + u16::from(number)) >> (32 - self.prefix.clamp(24, 32));
        let is_apart = self.prefix > 24;
        let mut routes = vec![format!(
            "{{to: default, via: 10.0.2.2{}}}",
            if is_apart { ", on-link: true" } else { "" }
        )];
        let others = (1..=4).filter(|n| network(*n) != network(self.number)).map(address);
        routes.extend(others.map(|other| format!("{{to: {other}/32, via: {other}, on-link: true}}")));
        format!(
            "{eth0}      addresses: [{own}/{}{}]\n      routes: [{}]\n      nameservers: {{addresses: [10.0.2.3]}}\n",
            self.prefix,
            self.six.map(|six| format!(", \"{six}\"")).unwrap_or_default(),
            routes.join(", "),
        )
    }

    /// Its whole configuration.
    pub fn config(&self, lab: &Lab) -> String {
        let mut text = format!(
            "#cloud-config\nhostname: {}\nssh_authorized_keys: [{:?}]\n{}skerry:\n  password: skerry\n  token: {:?}\n",
            self.name,
            lab.key.public,
            self.network(),
            self.token.as_deref().unwrap_or(TOKEN),
        );
        let first = match self.lan {
            Some(_) => "https://10.50.0.1:6443".to_owned(),
            None => format!("https://{}:6443", address(1)),
        };
        let flags = self.flags.iter().fold(String::new(), |words, flag| words + ", " + flag);
        let _ = match self.part {
            // A string takes everything.
            Part::First if flags.is_empty() => Ok(()),
            Part::First => writeln!(text, "  k3s_args: [server{flags}]"),
            Part::FirstOfServers => writeln!(text, "  k3s_args: [server, --cluster-init{flags}]"),
            Part::Server => writeln!(text, "  k3s_args: [server, --server, {first:?}{flags}]"),
            Part::Worker => writeln!(text, "  server_url: {first}"),
        };
        text.push_str(&self.more);
        text
    }
}

/// The machines of a cluster, each by its number.
#[derive(Debug)]
pub struct Cluster<'a> {
    lab: &'a Lab,
    name: String,
    hello: PathBuf,
    wire: Wire,
    limit: Duration,
}

impl<'a> Cluster<'a> {
    /// The network for `machines` machines, none of which is started.
    pub fn new(lab: &'a Lab, name: &str, machines: u8, hello: &Path, limit: Duration) -> Result<Self> {
        Ok(Self {
            lab,
            name: name.to_owned(),
            hello: hello.to_path_buf(),
            wire: Wire::new(lab, name, machines, crate::machine::patient(limit))?,
            limit,
        })
    }

    /// Makes a node's data disk anew and starts it.
    pub fn install(&self, node: &Node) -> Result<Machine> {
        let seed = Seed::config(node.config(self.lab)).copy("var/lib/rancher/k3s/agent/images/hello.tar", &self.hello);
        let seed = node.files.iter().fold(seed, |seed, (path, from)| seed.copy(path, from));
        let data = self.lab.data_disk(&self.machine(node), &seed, DISK)?;
        self.boot(node, &data)
    }

    /// Starts a node on the disk that it has.
    pub fn again(&self, node: &Node) -> Result<Machine> {
        let request = self.as_it_is(node)?;
        self.lab.start(&request).with_context(|| format!("starting {} again", node.name))
    }

    fn machine(&self, node: &Node) -> String {
        format!("{}-{}", self.name, node.number)
    }

    fn boot(&self, node: &Node, data: &Path) -> Result<Machine> {
        let request = self.request(node, data)?;
        self.lab.start(&request).with_context(|| format!("starting {}", node.name))
    }

    /// A node's machine, with the disk that it has.
    pub fn as_it_is(&self, node: &Node) -> Result<Request> {
        self.request(node, &self.lab.folder(&self.machine(node))?.join("data.img"))
    }

    fn request(&self, node: &Node, data: &Path) -> Result<Request> {
        Ok(Request {
            memory: if node.part == Part::Worker { WORKER_MEMORY } else { SERVER_MEMORY },
            // They share this computer's: processors that wait for each other cost more than they bring.
            processors: if node.part == Part::First { 2 } else { 1 },
            data: Some(data.to_path_buf()),
            plug: Some(self.wire.plug(node.number)?.clone()),
            restarts: true,
            clock: node.clock.clone(),
            limit: self.limit,
            ..Request::new(&self.machine(node))
        })
    }
}
