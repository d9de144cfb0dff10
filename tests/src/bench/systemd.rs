//! The same worker under systemd: the same kernel, programs, words, settings and state, on a Debian that an owner would make for it.

use super::others;
use crate::cases::Bench;
use crate::cases::start::TO_READY;
use crate::cluster::{Cluster, Node};
use crate::machine::disk::run;
use crate::machine::wire::address;
use crate::machine::{Machine, Request, release};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a worker needs of Debian beside the release's own programs.
const PACKAGES: [&str; 14] = [
    "systemd-sysv",
    "udev",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "chrony",
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "kmod",
    "mount",
    "curl",
    "jq",
];
/// Run on our worker, as root.
pub const CAPTURE: &str = include_str!("../../bench/capture");
const NETWORK: &str = "/etc/systemd/network/eth0.network";

/// Debian with systemd, made once, on a disk.
#[derive(Debug)]
pub struct Debian {
    disk: PathBuf,
    initrd: PathBuf,
}

impl Debian {
    /// Makes it for node 2.
    pub fn new(bench: &Bench) -> Result<Self> {
        let mut words = vec!["servers"];
        words.extend(PACKAGES);
        let root = PathBuf::from(release::images(&words)?.trim());
        let folder = bench.lab.folder("bench-systemd")?;
        let (tree, disk) = (folder.join("tree"), folder.join("debian.img"));
        let _ = std::fs::remove_dir_all(&tree); // of an earlier run
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&root).arg(&tree))?;
        lay_out(&tree)?;
        let _ = std::fs::remove_file(&disk);
        let mut make = bench.lab.tools.program("mke2fs")?;
        make.args(["-q", "-F", "-t", "ext4", "-d"]).arg(&tree).arg(&disk).arg("900M");
        run(&mut make)?;
        std::fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
        let initrd = others::initrd(&bench.lab, &bench.hello)?;
        Ok(Self { disk, initrd })
    }

    /// Starts it on the state of a worker that has run [`CAPTURE`].
    pub fn start(&self, bench: &Bench, cluster: &Cluster<'_>, node: &Node) -> Result<Machine> {
        let request = Request {
            words: vec!["rdinit=/bench/worker0 net.ifnames=0".to_owned()],
            initrd: Some(self.initrd.clone()),
            more_disks: vec![self.disk.clone()],
            ..cluster.as_it_is(node)?
        };
        bench.lab.start(&request).context("starting the worker under systemd")
    }
}

/// Seconds from power-on until the node is Ready, by the same words of the API as ours.
pub fn ready(machine: &Machine) -> Result<f64> {
    let found = machine.serial.wait_any(&["@ ready"], 0, TO_READY);
    Ok(found.context("waiting for the worker under systemd to be Ready")?.at.as_secs_f64())
}

/// MiB in use, three minutes after that.
pub fn memory(machine: &Machine) -> Result<f64> {
    let line = machine.serial.wait_line("@ memory ", 0, Duration::from_secs(400))?.line;
    let number = line.rsplit(' ').next().and_then(|n| n.trim().parse().ok());
    number.with_context(|| format!("reading {line:?}"))
}

/// By its power button, as an owner switches it off.
pub fn switch_off(machine: &mut Machine) -> Result<()> {
    machine.qmp.run("system_powerdown", &serde_json::json!({}))?;
    machine
        .wait_end(Duration::from_secs(180))
        .context("switching off the worker under systemd")
}

#[allow(clippy::disallowed_methods, reason = "a tree of a benchmark")]
fn lay_out(tree: &Path) -> Result<()> {
    let own = address(2);
    let files = [
        ("/etc/hostname", "node-2\n".to_owned()),
        ("/etc/fstab", String::new()),
        (
            NETWORK,
            format!("[Match]\nName=eth0\n[Network]\nAddress={own}/24\nGateway=10.0.2.2\nDNS=10.0.2.3\nIPv6AcceptRA=no\n"),
        ),
    ];
    for (path, text) in files {
        let path = tree.join(path.trim_start_matches('/'));
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let wants = tree.join("etc/systemd/system");
    for (target, unit) in [
        ("multi-user.target.wants", "systemd-networkd.service"),
        ("network-online.target.wants", "systemd-networkd-wait-online.service"),
    ] {
        let folder = wants.join(target);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let link = folder.join(unit);
        let _ = std::fs::remove_file(&link); // it may be there
        std::os::unix::fs::symlink(format!("/usr/lib/systemd/system/{unit}"), &link)
            .with_context(|| format!("creating {}", link.display()))?;
    }
    Ok(())
}
