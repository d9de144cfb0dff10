//! The typed configuration: what is left after every source was read, merged, coerced and validated.
//!
//! Every other room works from these types alone. They are plain data, and serialise to JSON and back without loss (that is how
//! `setup plan` hands the configuration to the steps after it, in a file only root can read).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A value that must not be shown: `Debug` prints `***`. Serialises as itself: whoever writes it out decides who may read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Keys that may log in as `skerry` by SSH: literal lines, or `github:USER`, `gitlab:USER`, `http(s)://…`, which are fetched once
    /// there is a network. A key that is removed here is removed from the machine.
    pub ssh_authorized_keys: Vec<String>,
    /// Files to write, in each phase, replacing what is there.
    pub write_files: Vec<WriteFile>,
    /// The host name; default `skerry-` and the last six digits of the first network interface's hardware address.
    pub hostname: Option<String>,
    /// Commands for `sh -c`, before anything else is set up. The first one that fails ends the list.
    pub init_cmd: Vec<String>,
    /// Commands for `sh -c`, after files and users are set up, before the network.
    pub boot_cmd: Vec<String>,
    /// Commands for `sh -c`, with the network up, before Kubernetes starts.
    pub run_cmd: Vec<String>,
    /// The system's own section; `k3os:` is its old name.
    pub skerry: Skerry,
    /// Network interfaces, in netplan's version 2 schema. Absent: DHCP on every wired interface.
    pub network: Option<Network>,
    /// Further login users.
    pub users: Vec<User>,
    /// PEM certificates that are trusted besides Debian's: by downloads, by containerd's pulls, by the whole userland.
    pub ca_certs: Vec<String>,
}

impl Config {
    /// Whether swap is asked for.
    pub fn has_swap(&self) -> bool {
        crate::size::bytes(&self.skerry.swap).is_some_and(|size| size > 0)
    }

    /// Whether a Wi-Fi network is configured: `iwd` then runs, and a D-Bus for it.
    pub fn has_wifi(&self) -> bool {
        !self.skerry.wifi.is_empty() || self.network.as_ref().is_some_and(|network| !network.wifis.is_empty())
    }
}

/// One file to write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WriteFile {
    /// Encoding of `content`: empty, `b64`/`base64`, `gz`/`gzip`, `gz+b64` (and its spellings).
    pub encoding: String,
    /// What to write, encoded.
    pub content: String,
    /// `user` or `user:group`, by name or number; empty = root.
    pub owner: String,
    /// Where; a relative path is under `/`.
    pub path: String,
    /// Octal, as a string; empty = 0644.
    pub permissions: String,
}

/// The section `skerry:` (or `k3os:`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Skerry {
    /// Where metadata and user data come from: `aws`, `gcp`, `azure`, `openstack`, `digitalocean`, `hetzner`, `vultr`, `scaleway`,
    /// `packet`, `vmware`, `file=PATH`, in the order in which they are asked, or `cdrom`. Absent: on a machine without any
    /// configuration, the cloud that its firmware names.
    pub data_sources: Vec<String>,
    /// Kernel modules to load, each with its parameters: `"name param=value"`.
    pub modules: Vec<String>,
    /// Kernel parameters: `net.ipv4.ip_forward: 1`.
    pub sysctls: BTreeMap<String, String>,
    /// Time servers, used besides those that DHCP names.
    pub ntp_servers: Vec<String>,
    /// Name servers, used when neither DHCP nor `network:` names any.
    pub dns_nameservers: Vec<String>,
    /// Wi-Fi networks (k3OS's form); the first one in range is joined.
    pub wifi: Vec<Wifi>,
    /// Password of `skerry` at consoles: plain, or a crypt(3) hash that begins with `$`.
    pub password: Option<Secret<String>>,
    /// The API of a server to join, `https://HOST:6443`.
    pub server_url: Option<String>,
    /// The cluster's secret.
    pub token: Option<Secret<String>>,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints, `key=value:Effect`.
    pub taints: Vec<String>,
    /// Arguments in k3s's words: `server` or `agent` first, then flags.
    pub k3s_args: Vec<String>,
    /// Environment of the distribution, the container runtime and logins (proxies, for instance).
    pub environment: BTreeMap<String, String>,
    /// For the installer.
    pub install: Install,
    /// Which Kubernetes: its name alone (`distribution: k3s`), or a section that also says where its program comes from.
    #[schemars(with = "Written")]
    pub distribution: Choice,
    /// Whether a removable medium may bring configuration after the first boot.
    pub trust_media: bool,
    /// Whether the system's own services are closed to the outside but for what others need of them; absent = yes. Pods, and what they
    /// listen on, are not concerned.
    pub firewall: Option<bool>,
    /// Swap in a file of this size on the data partition, `2GiB`; empty = none. Pods may use their part of it.
    pub swap: String,
    /// Further ports that are open, `tcp/8080` or `udp/5000-5010`: for what `boot_cmd`, `run_cmd` or a login starts.
    pub open_ports: Vec<String>,
}

/// Which Kubernetes, and where its program comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Choice {
    /// `kubernetes` (the embedded one), `k3s`, `k0s`, `kubelet` (a node of a cluster made by kubeadm), `edgecore` (KubeEdge) or `none`.
    pub name: Distribution,
    /// Its program, where it lies on this machine already; without `path`, `version` and `url` it is looked for as `/usr/local/bin/NAME`.
    pub path: Option<String>,
    /// The release whose program is fetched, such as `v1.33.4+k3s1`, and kept below `/var/lib/skerry/distributions`.
    pub version: Option<String>,
    /// Where the program is fetched from, if not from where the project publishes it.
    pub url: Option<String>,
    /// The program's SHA-256: a program that has another one is not run.
    pub sha256: Option<String>,
}

impl From<Distribution> for Choice {
    fn from(name: Distribution) -> Self {
        Self { name, ..Self::default() }
    }
}

impl PartialEq<Distribution> for Choice {
    fn eq(&self, name: &Distribution) -> bool {
        self.name == *name
    }
}

/// The two ways of writing a [`Choice`], for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[allow(dead_code, reason = "only its schema is used")]
enum Written {
    Name(Distribution),
    Choice(Choice),
}

/// Which Kubernetes runs on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// The embedded upstream Kubernetes.
    #[default]
    Kubernetes,
    /// k3s, by its own program.
    K3s,
    /// k0s, by its own program.
    K0s,
    /// The embedded kubelet, as a node of a cluster that kubeadm made.
    Kubelet,
    /// `KubeEdge`'s node, by its own program.
    Edgecore,
    /// None: a machine to log in to.
    None,
    /// A stand-in for tests of supervision.
    Fake,
}

impl Distribution {
    /// Its name, as the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::K3s => "k3s",
            Self::K0s => "k0s",
            Self::Kubelet => "kubelet",
            Self::Edgecore => "edgecore",
            Self::None => "none",
            Self::Fake => "fake",
        }
    }

    /// Whether pods run on this machine.
    pub fn is_node(self) -> bool {
        !matches!(self, Self::None | Self::Fake)
    }
}

/// One Wi-Fi network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Wifi {
    /// Its SSID.
    pub name: String,
    /// Its passphrase; empty = open.
    pub passphrase: Secret<String>,
}

/// What the installer is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "these are k3OS's keys")]
pub struct Install {
    /// Boot by UEFI even where the installer was booted by BIOS.
    pub force_efi: bool,
    /// The disk.
    pub device: Option<String>,
    /// Where the installed machine's `config.yaml` comes from.
    pub config_url: Option<String>,
    /// Ask nothing.
    pub silent: bool,
    /// Where the image comes from, if not from the medium that was booted.
    pub iso_url: Option<String>,
    /// Switch off at the end instead of restarting.
    pub power_off: bool,
    /// Keep the data partition; replace the system only.
    pub no_format: bool,
    /// Say more.
    pub debug: bool,
    /// A serial console for the installed machine.
    pub tty: Option<String>,
}

/// A further login user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct User {
    /// Login name, `[a-z_][a-z0-9_-]*`.
    pub name: String,
    /// Keys that may log in by SSH; forms as in `ssh_authorized_keys`.
    pub ssh_authorized_keys: Vec<String>,
    /// Console password, plain or a crypt(3) hash; absent = none.
    pub password: Option<Secret<String>>,
    /// Whether it may become root by `sudo` without a password.
    pub sudo: bool,
}

/// Network interfaces: the part of netplan's version 2 schema that this release knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Network {
    /// Always 2.
    pub version: u32,
    /// Wired interfaces, by an id of the owner's choice (the interface's name where there is no `match`).
    pub ethernets: BTreeMap<String, Interface>,
    /// Bonds, by interface name.
    pub bonds: BTreeMap<String, Interface>,
    /// Bridges, by interface name.
    pub bridges: BTreeMap<String, Interface>,
    /// VLANs, by interface name.
    pub vlans: BTreeMap<String, Interface>,
    /// Routing tables of their own (VRF), by interface name.
    pub vrfs: BTreeMap<String, Interface>,
    /// Wi-Fi interfaces, by an id of the owner's choice (the interface's name where there is no `match`).
    pub wifis: BTreeMap<String, Interface>,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "these are netplan's keys")]
pub struct Interface {
    /// Which device; absent = the one whose name is the id.
    #[serde(rename = "match")]
    pub matches: Option<Match>,
    /// An address by DHCP.
    pub dhcp4: bool,
    /// What of DHCP's answer counts.
    #[serde(rename = "dhcp4-overrides")]
    pub dhcp4_overrides: Overrides,
    /// An address by DHCPv6; absent = if a router says that there is one (its announcement's flags).
    pub dhcp6: Option<bool>,
    /// Accept router advertisements (SLAAC); absent = the kernel's default, yes.
    #[serde(rename = "accept-ra", alias = "accept_ra")]
    pub accept_ra: Option<bool>,
    /// Static addresses, `ADDRESS/PREFIX`.
    pub addresses: Vec<String>,
    /// Default gateway for IPv4 (netplan's old key; `routes` is the new form).
    pub gateway4: Option<String>,
    /// Default gateway for IPv6 (netplan's old key).
    pub gateway6: Option<String>,
    /// Name servers of this link.
    pub nameservers: Nameservers,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Which traffic looks into which routing table.
    #[serde(rename = "routing-policy")]
    pub routing_policy: Vec<Policy>,
    /// Maximum transmission unit, in bytes.
    pub mtu: Option<u32>,
    /// Hardware address to set.
    pub macaddress: Option<String>,
    /// The boot does not wait for this interface.
    pub optional: bool,
    /// Members of a bond, bridge or VRF, by their ids.
    pub interfaces: Vec<String>,
    /// A VLAN's tag.
    pub id: Option<u32>,
    /// A VLAN's base interface, by its id.
    pub link: Option<String>,
    /// A VRF's routing table.
    pub table: Option<u32>,
    /// A bond's or bridge's parameters, by netplan's names.
    pub parameters: BTreeMap<String, String>,
    /// Wi-Fi networks, by SSID.
    #[serde(rename = "access-points")]
    pub access_points: BTreeMap<String, AccessPoint>,
    /// The country whose rules the radios keep, `DE`; it is one for the machine.
    #[serde(rename = "regulatory-domain")]
    pub regulatory_domain: Option<String>,
}

/// How a device is recognised. All that is given must hold; `name` and `driver` may hold `*` and `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Match {
    /// By kernel name.
    pub name: Option<String>,
    /// By hardware address.
    pub macaddress: Option<String>,
    /// By driver.
    pub driver: Option<String>,
    /// By its path on the bus, as in `/sys/class/net/*/device` (ours, not netplan's).
    pub path: Option<String>,
}

/// Name servers of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Nameservers {
    /// Their addresses.
    pub addresses: Vec<String>,
    /// Domains to search.
    pub search: Vec<String>,
}

/// A static route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Route {
    /// `default`, or `ADDRESS/PREFIX`.
    pub to: String,
    /// The gateway.
    pub via: Option<String>,
    /// Lower wins.
    pub metric: Option<u32>,
    /// The gateway is on the link though no address says so.
    #[serde(rename = "on-link")]
    pub on_link: bool,
    /// The routing table; absent = the main one, or that of the interface's VRF.
    pub table: Option<u32>,
    /// The source address of what is sent this way.
    pub from: Option<String>,
}

/// A rule of policy routing: what fits it is sent as a routing table says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Policy {
    /// From these addresses.
    pub from: Option<String>,
    /// To these addresses.
    pub to: Option<String>,
    /// The routing table.
    pub table: Option<u32>,
    /// Lower is asked first; absent = in the order of this file, before the main table.
    pub priority: Option<u32>,
    /// With this firewall mark.
    pub mark: Option<u32>,
}

/// What of DHCP's answer counts; everything, where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Overrides {
    /// Its name servers and domains.
    #[serde(rename = "use-dns")]
    pub use_dns: Option<bool>,
    /// Its time servers.
    #[serde(rename = "use-ntp")]
    pub use_ntp: Option<bool>,
    /// Its MTU.
    #[serde(rename = "use-mtu")]
    pub use_mtu: Option<bool>,
    /// Its routes, the default route among them.
    #[serde(rename = "use-routes")]
    pub use_routes: Option<bool>,
    /// The metric of its routes; lower wins.
    #[serde(rename = "route-metric")]
    pub route_metric: Option<u32>,
}

/// One Wi-Fi network in netplan's form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AccessPoint {
    /// Its passphrase (WPA2 or WPA3, as the access point can), or its key in 64 hexadecimal digits; absent = open.
    pub password: Option<Secret<String>>,
    /// It does not announce itself.
    pub hidden: bool,
    /// Of several in range the one with the highest number is joined (ours, not netplan's); absent = 0.
    pub priority: u32,
}
