//! What `setup plan` finds out about the machine, and hands to every step after it in `/run/skerry/facts.json`.

use crate::root::Root;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Where they are handed on.
pub const PATH: &str = "/run/skerry/facts.json";
/// The node name that was pinned at first start.
pub const NODE_NAME: &str = "/var/lib/skerry/node-name";

/// The port by which the host of a virtual machine speaks to its guest agent.
pub const GUEST_PORT: &str = "org.qemu.guest_agent.0";

/// The machine, as far as a plan needs it. `skerry_distribution::Facts` reads the same file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The Kubernetes node's name: pinned at first start.
    pub node_name: String,
    /// The machine's name.
    pub hostname: String,
    /// Hardware address of the first wired interface.
    pub mac: Option<String>,
    /// `disk`; `live` (state in RAM); or `degraded` (state in RAM, because the data partition cannot be used).
    pub mode: String,
    /// What the plan was made from: `config` or `last-good`.
    pub plan: String,
    /// Terminals that a person may sit at, `ttyS0`, in the order of the kernel's command line.
    pub consoles: Vec<String>,
    /// Whether the host of this virtual machine offers a port for a guest agent.
    pub guest_port: bool,
    /// Whether the kernel can have no radios at all: it was built without Wi-Fi (a cloud kernel).
    pub no_radios: bool,
    /// Where this boot stands with a cloud's metadata: empty, `pending` or `over`.
    pub metadata: String,
    /// Whether somebody could log in with the last good configuration.
    pub last_good_login: bool,
    /// What is wrong with the configuration, counted.
    pub problems: usize,
    /// The release that runs.
    pub release: Release,
}

/// `/usr/share/skerry/release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Version of the system.
    pub version: String,
    /// When it was made, in seconds since 1970.
    pub built: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Version of Kubernetes.
    pub kubernetes: String,
    /// The sandbox image's name in containerd.
    pub pause: String,
    /// The CoreDNS image's name in containerd.
    pub coredns: String,
}

impl Release {
    /// Reads it; an image without one is version `unknown`.
    pub fn read(root: &Root) -> Self {
        let text = root.text("/usr/share/skerry/release.json").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_else(|_| Self {
            version: "unknown".to_owned(),
            ..Self::default()
        })
    }
}

impl Facts {
    /// What is known where `setup plan` left nothing.
    pub fn bare(root: &Root) -> Self {
        let hostname = root
            .word(NODE_NAME)
            .unwrap_or_else(|| default_hostname(first_mac(&nics(root)).as_deref()));
        let node_name = node_name(&hostname);
        Self {
            node_name,
            hostname,
            mode: "degraded".to_owned(),
            plan: "none".to_owned(),
            release: Release::read(root),
            ..Self::default()
        }
    }

    /// Reads what `setup plan` left.
    pub fn read(root: &Root) -> Result<Self> {
        let text = skerry_sys::file::read_text(root.at(PATH), crate::root::TEXT)?;
        serde_json::from_str(&text).with_context(|| format!("reading {PATH}: run `setup plan` first"))
    }

    /// The part that an adapter of room distribution wants.
    pub fn for_distribution(&self) -> skerry_distribution::Facts {
        skerry_distribution::Facts {
            node_name: self.node_name.clone(),
            arch: GO_ARCH.to_owned(),
            mode: self.mode.clone(),
            release: skerry_distribution::Release {
                version: self.release.version.clone(),
                kubernetes: self.release.kubernetes.clone(),
                pause: self.release.pause.clone(),
                coredns: self.release.coredns.clone(),
            },
        }
    }
}

/// This machine's processor, in Go's words.
const GO_ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// A wired interface, as far as it can give the machine a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The kernel's number of it: lower is older.
    pub index: u32,
    /// `52:54:00:12:34:56`.
    pub mac: String,
}

/// The address that names the machine: that of the interface found first. Addresses that the kernel made up do not count.
pub fn first_mac(nics: &[Nic]) -> Option<String> {
    macs(nics).into_iter().next()
}

/// The addresses of all interfaces, the one that names the machine first.
pub fn macs(nics: &[Nic]) -> Vec<String> {
    let mut real: Vec<&Nic> = nics.iter().filter(|n| n.mac.len() == 17 && n.mac != "00:00:00:00:00:00").collect();
    real.sort_by_key(|n| n.index);
    real.into_iter().map(|n| n.mac.to_ascii_lowercase()).collect()
}

/// Interfaces with hardware behind them and an address that is theirs (`addr_assign_type` 0).
pub fn nics(root: &Root) -> Vec<Nic> {
    let Ok(entries) = std::fs::read_dir(root.at("/sys/class/net")) else {
        return vec![];
    };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| {
            let of = |what: &str| root.word(&format!("/sys/class/net/{name}/{what}"));
            let hardware = root.at(format!("/sys/class/net/{name}/device")).exists();
            if !hardware || of("addr_assign_type").is_some_and(|t| t != "0") || of("type").is_some_and(|t| t != "1") {
                return None;
            }
            Some(Nic {
                index: of("ifindex")?.parse().ok()?,
                mac: of("address")?,
            })
        })
        .collect()
}

/// Whether there is a port for a guest agent: its driver came in stage 1.
pub fn has_guest_port(root: &Root) -> bool {
    const PORTS: &str = "/sys/class/virtio-ports";
    let ports = std::fs::read_dir(root.at(PORTS)).into_iter().flatten().flatten();
    let name = |port: std::fs::DirEntry| root.word(&format!("{PORTS}/{}/name", port.file_name().to_string_lossy()));
    ports.filter_map(name).any(|name| name == GUEST_PORT)
}

/// Whether the running kernel has no part for radios, neither built in nor as a module.
pub fn has_no_radios(root: &Root) -> bool {
    let index = skerry_sys::module::Index::of_running_kernel();
    !root.at("/sys/module/cfg80211").exists() && index.is_ok_and(|index| !index.knows("cfg80211"))
}

/// The name of a machine that was given none: it stays the same as long as its first interface does.
pub fn default_hostname(mac: Option<&str>) -> String {
    let digits: String = mac.unwrap_or_default().chars().filter(char::is_ascii_hexdigit).collect();
    match digits.get(digits.len().saturating_sub(6)..) {
        Some(tail) if tail.len() == 6 => format!("skerry-{}", tail.to_ascii_lowercase()),
        _ => "skerry".to_owned(),
    }
}

/// The host name as Kubernetes may have it: lower case letters, digits, `-` and `.`, at most 63.
pub fn node_name(hostname: &str) -> String {
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = hostname.chars().map(fit).take(63).collect();
    let name = name.trim_matches(|c| c == '-' || c == '.');
    if name.is_empty() { "skerry".to_owned() } else { name.to_owned() }
}

/// The terminals to offer a login on. `cmdline` is the kernel's, `active` is `/sys/class/tty/console/active`.
pub fn consoles(cmdline: &str, active: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let asked = cmdline
        .split_whitespace()
        .filter_map(|w| w.strip_prefix("console="))
        .map(|v| v.split(',').next().unwrap_or(v));
    let mut found: Vec<String> = vec![];
    for name in asked.chain(if cmdline.contains("console=") { "" } else { active }.split_whitespace()) {
        // tty0 is whichever virtual terminal is in front; a login belongs to one of them.
        let name = name.trim_start_matches("/dev/").replace("tty0", "tty1");
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        if named && !found.contains(&name) && exists(&name) {
            found.push(name);
        }
    }
    if found.is_empty() && exists("tty1") {
        found.push("tty1".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn a_port_for_the_guest_agent() {
        let root = scratch("guest-port");
        assert!(!has_guest_port(&root));
        root.write("/sys/class/virtio-ports/vport1p1/name", "com.redhat.spice.0\n", 0o644)
            .unwrap();
        root.dir("/sys/class/virtio-ports/vport1p2", 0o755).unwrap();
        assert!(!has_guest_port(&root));
        root.write("/sys/class/virtio-ports/vport2p1/name", "org.qemu.guest_agent.0\n", 0o644)
            .unwrap();
        assert!(has_guest_port(&root));
    }

    #[test]
    fn names_come_from_the_first_interface() {
        let nic = |index, mac: &str| Nic {
            index,
            mac: mac.to_owned(),
        };
        let nics = [
            nic(3, "52:54:00:aa:bb:cc"),
            nic(2, "52:54:00:12:34:56"),
            nic(1, "00:00:00:00:00:00"),
        ];
        assert_eq!(first_mac(&nics).unwrap(), "52:54:00:12:34:56");
        assert_eq!(first_mac(&[]), None);
        for (mac, name) in [
            (Some("52:54:00:12:34:56"), "skerry-123456"),
            (Some("52:54:00:AB:CD:EF"), "skerry-abcdef"),
            (Some("é"), "skerry"),
            (None, "skerry"),
        ] {
            assert_eq!(default_hostname(mac), name);
        }
    }

    #[test]
    fn node_names_are_what_kubernetes_takes() {
        for (host, node) in [
            ("edge-1", "edge-1"),
            ("Plant_7.Example", "plant-7.example"),
            ("-a-", "a"),
            ("", "skerry"),
            ("ü", "skerry"),
        ] {
            assert_eq!(node_name(host), node, "{host}");
        }
        assert_eq!(node_name(&"a".repeat(80)).len(), 63);
    }

    #[test]
    fn logins_are_where_the_kernel_talks() {
        let all = |_: &str| true;
        for (cmdline, active, expected) in [
            ("console=tty1 console=ttyS0,115200n8 quiet", "tty0 ttyS0", vec!["tty1", "ttyS0"]),
            ("console=tty0 console=tty1", "", vec!["tty1"]),
            ("quiet", "tty0 ttyAMA0", vec!["tty1", "ttyAMA0"]),
            ("quiet", "", vec!["tty1"]),
            ("console=../../etc console=", "", vec!["tty1"]),
        ] {
            assert_eq!(consoles(cmdline, active, all), expected, "{cmdline}");
        }
        assert_eq!(consoles("console=tty0 console=ttyS0", "", |n| n == "ttyS0"), ["ttyS0"]);
        assert_eq!(consoles("console=ttyS9", "", |_| false), Vec::<String>::new());
    }
}
