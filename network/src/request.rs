//! What was asked for: `network.json`, and which interface each of its entries means.

use crate::device::{Device, Kind, device, made};
use crate::facts::{Facts, Link, MAIN, Rule};
use serde::Deserialize;
use skerry_config::address::{IpNet, Mac, everything, net};
use skerry_config::ports::Firewall;
use skerry_config::{Interface, Match, Network, Overrides, Wifi};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The content of `/run/skerry/network.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The owner's section; none = DHCP on every wired interface.
    pub network: Option<Network>,
    /// Name servers for when neither a link's settings nor DHCP name any.
    pub dns_nameservers: Vec<String>,
    /// Time servers besides those that DHCP names.
    pub ntp_servers: Vec<String>,
    /// Which ports are open; none = nobody said, and nothing is done about it.
    pub firewall: Option<Firewall>,
    /// Wi-Fi networks in k3OS's form, for the radios that the section does not name.
    pub wifi: Vec<Wifi>,
}

/// What one interface should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The interface's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// An address by DHCP.
    pub dhcp4: bool,
    /// What of DHCP's answer counts.
    pub overrides: Overrides,
    /// An address by DHCPv6; none = as routers say.
    pub dhcp6: Option<bool>,
    /// Router advertisements count.
    pub accept_ra: bool,
    /// Static addresses.
    pub addresses: Vec<IpNet>,
    /// Static routes.
    pub routes: Vec<StaticRoute>,
    /// The table of its routes where they name none: the main one, or its VRF's.
    pub table: u32,
    /// Name servers of this link.
    pub dns: Vec<IpAddr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Hardware address to set.
    pub mac: Option<Mac>,
    /// What it is a member of.
    pub master: Option<Master>,
    /// The boot does not wait for it.
    pub optional: bool,
}

impl Settings {
    /// Whether it only carries what another interface sends.
    pub fn is_port(&self) -> bool {
        self.master.as_ref().is_some_and(|master| !master.kind.leaves_addresses())
    }

    /// Whether the owner wants an address from a server.
    pub fn asks(&self) -> bool {
        self.dhcp4 || self.dhcp6 == Some(true)
    }
}

/// A bond, bridge or VRF that has members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Its number; none = it is not made yet.
    pub index: Option<u32>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// A route the owner wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticRoute {
    /// Where to.
    pub to: IpNet,
    /// By which gateway.
    pub via: Option<IpAddr>,
    /// Lower wins.
    pub metric: u32,
    /// The gateway is on the link though no address says so.
    pub on_link: bool,
    /// The table; none = the interface's.
    pub table: Option<u32>,
    /// The source address of what is sent this way.
    pub source: Option<IpAddr>,
}

/// What the request means on this machine, now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The interfaces to set up, in the order of their numbers.
    pub links: Vec<Settings>,
    /// The interfaces to make, as far as what they are made on is there.
    pub devices: Vec<Device>,
    /// Names of all interfaces to make.
    pub names: BTreeSet<String>,
    /// Rules of policy routing.
    pub rules: Vec<Rule>,
    /// Entries of the config whose interface is not there (yet), unless optional.
    pub missing: Vec<String>,
    /// Nobody said which interfaces: one with an address is enough.
    pub any: bool,
    /// What could not be used, and why.
    pub problems: Vec<String>,
}

/// Rules without a priority are put here, in the order in which they are written: before the main table's, at 32766.
const FIRST_PRIORITY: u32 = 30_000;

/// Finds the interface that each entry means. The first entry (in the order of their ids) that fits an interface gets it.
pub fn assign(request: &Request, facts: &Facts) -> Assigned {
    // A section that names no interface must not make the machine unreachable.
    let Some(network) = request.network.as_ref().filter(|network| names_any(network)) else {
        let is_ours = |link: &&Link| is_wired_hardware(link) || !request.wifi.is_empty() && is_radio(link);
        let links = facts.links.iter().filter(is_ours).map(by_default).collect();
        return Assigned {
            links,
            any: true,
            ..Assigned::default()
        };
    };
    let mut assigned = Assigned::default();
    let mut ids: Vec<(&str, u32)> = Vec::new();
    let hardware = network.ethernets.iter().map(|(id, interface)| ("ethernets", id, interface));
    let hardware = hardware.chain(network.wifis.iter().map(|(id, interface)| ("wifis", id, interface)));
    for (section, id, interface) in hardware {
        let means = if section == "wifis" { fits_radio } else { fits };
        let fitting: Vec<&Link> = facts
            .links
            .iter()
            .filter(|link| means(id, interface.matches.as_ref(), link) && assigned.links.iter().all(|s| s.index != link.index))
            .collect();
        if fitting.is_empty() && !interface.optional {
            assigned.missing.push(id.clone());
        }
        for link in fitting {
            let settings = settings(section, id, interface, link, &mut assigned.problems);
            assigned.links.push(settings);
            ids.push((id, link.index));
        }
    }
    if !request.wifi.is_empty() {
        let named: BTreeSet<u32> = assigned.links.iter().map(|settings| settings.index).collect();
        let others = facts.links.iter().filter(|link| is_radio(link) && !named.contains(&link.index));
        // The section says what the boot waits for.
        assigned.links.extend(others.map(|link| Settings {
            optional: true,
            ..by_default(link)
        }));
    }
    for (kind, section, name, interface) in made_of(network) {
        assigned.names.insert(name.to_owned());
        let there = facts.links.iter().find(|link| link.name == name);
        let is = |link: &&Link| link.made.as_ref().is_some_and(|made| made.kind == kind);
        match there {
            Some(link) if is(&link) && assigned.links.iter().all(|s| s.index != link.index) => {
                let mut settings = settings(section, name, interface, link, &mut assigned.problems);
                settings.table = interface.table.filter(|_| kind == Kind::Vrf).unwrap_or(MAIN);
                // What only joins others waits for no router, unless it is told to.
                settings.optional |= !settings.asks() && settings.addresses.is_empty() && interface.accept_ra != Some(true);
                assigned.links.push(settings);
                ids.push((name, link.index));
            }
            Some(link) if !link.ours => assigned.problems.push(format!(
                "network.{section}.{name}: an interface of this name is there already, and is no {}",
                kind.word()
            )),
            _ if !interface.optional => assigned.missing.push(name.to_owned()),
            _ => {}
        }
    }
    make(network, facts, &ids, &mut assigned);
    let policies =
        all_of(network).flat_map(|(section, id, interface)| interface.routing_policy.iter().map(move |policy| (section, id, policy)));
    for (place, (section, id, policy)) in (0..2000).zip(policies) {
        match rules(policy, FIRST_PRIORITY + place) {
            Some(rules) => assigned.rules.extend(rules),
            None => assigned
                .problems
                .push(format!("network.{section}.{id}.routing-policy: leaving out {policy:?}: not a rule")),
        }
    }
    assigned.links.sort_by_key(|settings| settings.index);
    assigned
}

/// The devices, what they are made on, and their members. `ids` says which interfaces the entries mean.
fn make(network: &Network, facts: &Facts, ids: &[(&str, u32)], assigned: &mut Assigned) {
    let indices = |id: &str| -> Vec<u32> {
        let by_id: Vec<u32> = ids.iter().filter(|(known, _)| *known == id).map(|(_, index)| *index).collect();
        let by_name = || {
            facts
                .links
                .iter()
                .filter(|link| link.name == id && !link.loopback)
                .map(|link| link.index)
        };
        if by_id.is_empty() { by_name().collect() } else { by_id }
    };
    for (kind, section, name, interface) in made_of(network) {
        let index_of = |id: &str| indices(id).first().copied();
        let device = device(kind, name, interface, index_of, &mut assigned.problems);
        for index in device.iter().filter_map(|device| device.base) {
            if let Some(base) = known(&mut assigned.links, facts, index) {
                // What only carries VLANs waits for no router.
                base.optional |= !base.asks() && base.addresses.is_empty();
            }
        }
        assigned.devices.extend(device);
        let master = Master {
            index: made(facts, name, kind),
            name: name.to_owned(),
            kind,
        };
        for (id, index) in interface
            .interfaces
            .iter()
            .flat_map(|id| indices(id).into_iter().map(move |index| (id, index)))
        {
            let why = match known(&mut assigned.links, facts, index) {
                Some(settings) if settings.master.is_none() && settings.name != name => {
                    join(settings, &master, interface.table.unwrap_or(MAIN))
                }
                _ => Some("it is a member of another"),
            };
            let line = |why| format!("network.{section}.{name}.interfaces: {id}: {why}");
            assigned.problems.extend(why.map(line));
        }
    }
}

fn names_any(network: &Network) -> bool {
    all_of(network).next().is_some()
}

/// All entries that are made, what others are made on first.
fn made_of(network: &Network) -> impl Iterator<Item = (Kind, &'static str, &str, &Interface)> {
    let sections = [
        (Kind::Bond, "bonds", &network.bonds),
        (Kind::Bridge, "bridges", &network.bridges),
        (Kind::Vlan, "vlans", &network.vlans),
        (Kind::Vrf, "vrfs", &network.vrfs),
    ];
    let each = |(kind, section, map)| {
        let map: &BTreeMap<String, Interface> = map;
        map.iter().map(move |(name, interface)| (kind, section, name.as_str(), interface))
    };
    sections.into_iter().flat_map(each)
}

fn all_of(network: &Network) -> impl Iterator<Item = (&'static str, &str, &Interface)> {
    let wired = network
        .ethernets
        .iter()
        .map(|(id, interface)| ("ethernets", id.as_str(), interface));
    let radios = network.wifis.iter().map(|(id, interface)| ("wifis", id.as_str(), interface));
    wired
        .chain(radios)
        .chain(made_of(network).map(|(_, section, name, interface)| (section, name, interface)))
}

/// The settings of an interface; one that no entry means is switched on and nothing else.
fn known<'a>(links: &'a mut Vec<Settings>, facts: &Facts, index: u32) -> Option<&'a mut Settings> {
    if links.iter().all(|settings| settings.index != index) {
        links.push(Settings {
            dhcp4: false,
            dhcp6: Some(false),
            accept_ra: false,
            optional: true,
            ..by_default(facts.link(index)?)
        });
    }
    links.iter_mut().find(|settings| settings.index == index)
}

/// Makes an interface a member; what it may not keep then is said.
fn join(settings: &mut Settings, master: &Master, table: u32) -> Option<&'static str> {
    settings.master = Some(master.clone());
    if master.kind.leaves_addresses() {
        settings.table = table;
        return None;
    }
    let had = settings.asks() || !settings.addresses.is_empty() || !settings.routes.is_empty();
    (settings.dhcp4, settings.dhcp6, settings.accept_ra) = (false, Some(false), false);
    settings.addresses.clear();
    settings.routes.clear();
    had.then_some("a member has no addresses and routes of its own; leaving them out")
}

/// A rule of the owner's; without addresses it is one for each family.
fn rules(policy: &skerry_config::Policy, priority: u32) -> Option<Vec<Rule>> {
    let network = |text: &Option<String>| match text {
        Some(text) => net(text).map(|cidr| Some(cidr.trunc())),
        None => Some(None),
    };
    let (from, to) = (network(&policy.from)?, network(&policy.to)?);
    let rule = |six| Rule {
        priority: policy.priority.unwrap_or(priority),
        six,
        from,
        to,
        mark: policy.mark,
        table: policy.table.unwrap_or(MAIN),
    };
    match (from.map(|c| c.addr().is_ipv6()), to.map(|c| c.addr().is_ipv6())) {
        (Some(from), Some(to)) if from != to => None,
        (Some(six), _) | (None, Some(six)) => Some(vec![rule(six)]),
        (None, None) => policy.mark.map(|_| vec![rule(false), rule(true)]),
    }
}

fn is_wired_hardware(link: &Link) -> bool {
    link.hardware && link.ethernet && !link.wireless && !link.loopback
}

fn is_radio(link: &Link) -> bool {
    link.hardware && link.ethernet && link.wireless && !link.loopback
}

fn by_default(link: &Link) -> Settings {
    Settings {
        index: link.index,
        name: link.name.clone(),
        dhcp4: true,
        overrides: Overrides::default(),
        dhcp6: None,
        accept_ra: true,
        addresses: Vec::new(),
        routes: Vec::new(),
        table: MAIN,
        dns: Vec::new(),
        search: Vec::new(),
        mtu: None,
        mac: None,
        master: None,
        optional: false,
    }
}

/// Whether an entry means this interface.
///
/// By its exact name an entry may mean any Ethernet interface. Every other way to match (a pattern, a driver, a hardware address, a
/// path) finds real devices only: containers' interfaces match `*`, and a VLAN has the hardware address of its base.
fn fits(id: &str, matches: Option<&Match>, link: &Link) -> bool {
    fits_among(is_wired_hardware, id, matches, link)
}

/// Whether an entry of the radios means this interface.
pub fn fits_radio(id: &str, matches: Option<&Match>, link: &Link) -> bool {
    link.wireless && fits_among(is_radio, id, matches, link)
}

fn fits_among(real: fn(&Link) -> bool, id: &str, matches: Option<&Match>, link: &Link) -> bool {
    if link.loopback || !link.ethernet {
        return false;
    }
    let Some(matches) = matches else { return link.name == id };
    let is = |pattern: &Option<String>, value: Option<&str>| pattern.as_ref().is_none_or(|p| value.is_some_and(|v| like(p, v)));
    let exact_name = matches.name.as_ref().is_some_and(|name| *name == link.name);
    let nothing = matches.name.is_none() && matches.macaddress.is_none() && matches.driver.is_none() && matches.path.is_none();
    let mac = matches.macaddress.as_ref().is_none_or(|mac| {
        let mac = mac.parse::<Mac>().ok();
        mac.is_some() && (mac == link.permanent_mac || mac == link.mac)
    });
    !nothing
        && (exact_name || real(link))
        && is(&matches.name, Some(&link.name))
        && is(&matches.driver, link.driver.as_deref())
        && is(&matches.path, link.path.as_deref())
        && mac
}

/// Whether `text` is like `pattern`, in which `*` is anything and `?` is one character. Linear: no pattern makes it slow.
pub fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(&c) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&b) if b == b'?' || b == c => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// An entry's values as they apply to a link. The config room has validated them; what is wrong all the same is left out and named.
fn settings(section: &str, id: &str, interface: &Interface, link: &Link, problems: &mut Vec<String>) -> Settings {
    let mut wrong = |key: &str, value: &str| {
        problems.push(format!(
            "network.{section}.{id}.{key}: leaving out {value:?}: not an address of that form"
        ));
    };
    let mut settings = by_default(link);
    settings.dhcp4 = interface.dhcp4;
    settings.dhcp6 = interface.dhcp6;
    settings.overrides.clone_from(&interface.dhcp4_overrides);
    settings.accept_ra = interface.accept_ra.unwrap_or(true);
    settings.optional = interface.optional;
    settings.mtu = interface.mtu;
    settings.search.clone_from(&interface.nameservers.search);
    for text in &interface.addresses {
        match net(text) {
            Some(cidr) => settings.addresses.push(cidr),
            None => wrong("addresses", text),
        }
    }
    for text in &interface.nameservers.addresses {
        match text.parse() {
            Ok(ip) => settings.dns.push(ip),
            Err(_) => wrong("nameservers.addresses", text),
        }
    }
    if let Some(text) = &interface.macaddress {
        match text.parse() {
            Ok(mac) => settings.mac = Some(mac),
            Err(()) => wrong("macaddress", text),
        }
    }
    for (key, gateway) in [("gateway4", &interface.gateway4), ("gateway6", &interface.gateway6)] {
        let Some(text) = gateway else { continue };
        match text.parse::<IpAddr>() {
            Ok(ip) => settings.routes.push(StaticRoute {
                to: everything(ip),
                via: Some(ip),
                metric: 0,
                on_link: false,
                table: None,
                source: None,
            }),
            Err(_) => wrong(key, text),
        }
    }
    for route in &interface.routes {
        match static_route(route) {
            Some(route) => settings.routes.push(route),
            None => wrong("routes", &format!("{} via {}", route.to, route.via.as_deref().unwrap_or("nothing"))),
        }
    }
    settings
}

fn static_route(route: &skerry_config::Route) -> Option<StaticRoute> {
    let via = match &route.via {
        Some(text) => Some(text.parse::<IpAddr>().ok()?),
        None => None,
    };
    let to = match route.to.as_str() {
        "default" => everything(via?),
        text => net(text)?.trunc(),
    };
    let source = match &route.from {
        Some(text) => Some(text.parse::<IpAddr>().ok()?),
        None => None,
    };
    if via.into_iter().chain(source).any(|ip| ip.is_ipv4() != to.addr().is_ipv4()) {
        return None;
    }
    Some(StaticRoute {
        to,
        via,
        metric: route.metric.unwrap_or(0),
        on_link: route.on_link,
        table: route.table,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, hardware: bool) -> Link {
        Link {
            index,
            name: name.into(),
            hardware,
            ethernet: true,
            mac: Some(Mac([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])),
            driver: hardware.then(|| "virtio_net".into()),
            path: hardware.then(|| format!("pci0000:00/0000:00:0{index}.0/virtio{index}")),
            ..Link::default()
        }
    }

    fn machine() -> Facts {
        let mut lo = link(1, "lo", false);
        lo.loopback = true;
        let mut wlan = link(9, "wlan0", true);
        wlan.wireless = true;
        let links = vec![
            lo,
            link(2, "eth0", true),
            link(3, "eth1", true),
            link(4, "cni0", false),
            link(5, "veth1a2b3c", false),
            link(6, "flannel.1", false),
            link(7, "docker0", false),
            wlan,
        ];
        Facts { links, ..Facts::default() }
    }

    fn names(yaml: &str) -> (Vec<String>, Vec<String>) {
        let request: Request = serde_json::from_str(yaml).unwrap();
        let assigned = assign(&request, &machine());
        (assigned.links.into_iter().map(|l| l.name).collect(), assigned.missing)
    }

    #[test]
    fn without_a_section_every_wired_device_and_nothing_else_is_ours() {
        assert_eq!(names("{}").0, ["eth0", "eth1"]);
        assert_eq!(
            names(r#"{"network":null,"dns_nameservers":[],"ntp_servers":[]}"#).0,
            ["eth0", "eth1"]
        );
    }

    #[test]
    fn a_radio_is_ours_where_a_network_to_join_is_named() {
        assert_eq!(names(r#"{"wifi":[{"name":"home"}]}"#).0, ["eth0", "eth1", "wlan0"]);
        let wifis = |entries: &str, more: &str| {
            let wired = r#""ethernets":{"wired":{"match":{"name":"*"},"optional":true}}"#;
            names(&format!(r#"{{"network":{{"version":2,{wired},"wifis":{{{entries}}}}}{more}}}"#))
        };
        let all = ["eth0", "eth1", "wlan0"].map(str::to_owned).to_vec();
        let found = wifis(r#""wlan0":{"dhcp4":true},"wlan7":{}"#, "");
        assert_eq!(found, (all.clone(), vec!["wlan7".to_owned()]));
        assert_eq!(
            wifis(r#""any":{"match":{"name":"*"}}"#, "").0,
            all,
            "a pattern of radios means radios"
        );
        assert_eq!(wifis(r#""eth0":{}"#, "").0, ["eth0", "eth1"], "a cable is no radio");
        assert_eq!(wifis("", r#","wifi":[{"name":"home"}]"#).0, all);
    }

    #[test]
    fn entries_match_by_name_mac_driver_and_path() {
        let with = |m: &str| names(&format!(r#"{{"network":{{"version":2,"ethernets":{{"x":{{"match":{m}}}}}}}}}"#)).0;
        assert_eq!(with(r#"{"name":"eth1"}"#), ["eth1"]);
        assert_eq!(
            with(r#"{"name":"*"}"#),
            ["eth0", "eth1"],
            "a pattern never catches containers' interfaces"
        );
        assert_eq!(with(r#"{"macaddress":"02-00-00-00-00-03"}"#), ["eth1"]);
        assert_eq!(with(r#"{"driver":"virtio*"}"#), ["eth0", "eth1"]);
        assert_eq!(with(r#"{"path":"*00:02.0*"}"#), ["eth0"]);
        assert_eq!(with(r#"{"name":"eth*","macaddress":"02:00:00:00:00:02"}"#), ["eth0"]);
        assert!(with("{}").is_empty() && with(r#"{"macaddress":"nonsense"}"#).is_empty());
    }

    #[test]
    fn an_id_is_a_name_and_a_missing_interface_is_named_unless_optional() {
        let (found, missing) = names(r#"{"network":{"version":2,"ethernets":{"eth1":{},"eth7":{},"eth8":{"optional":true}}}}"#);
        assert_eq!((found, missing), (vec!["eth1".to_owned()], vec!["eth7".to_owned()]));
    }

    #[test]
    fn a_value_that_is_no_address_is_left_out_and_named() {
        let request: Request = serde_json::from_str(
            r#"{"network":{"version":2,"ethernets":{"eth0":{"addresses":["10.0.0.5/24","10.0.0.300/24"],"gateway4":"10.0.0.1",
                "routes":[{"to":"10.9.0.7/16","via":"10.0.0.2","metric":5},{"to":"default"},{"to":"fd00::/8","via":"10.0.0.1"}]}}}}"#,
        )
        .unwrap();
        let assigned = assign(&request, &machine());
        let eth0 = assigned.links.first().unwrap();
        assert_eq!(eth0.addresses.len(), 1);
        let routes: Vec<String> = eth0.routes.iter().map(|r| format!("{} {:?} {}", r.to, r.via, r.metric)).collect();
        assert_eq!(routes, ["0.0.0.0/0 Some(10.0.0.1) 0", "10.9.0.0/16 Some(10.0.0.2) 5"]);
        assert_eq!(assigned.problems.len(), 3, "{:?}", assigned.problems);
        assert!(!eth0.dhcp4 && eth0.accept_ra);
    }

    #[test]
    fn patterns_never_take_long() {
        assert!(like("eth*", "eth0") && like("e?h*0", "eth0") && like("*", "") && !like("?", "") && !like("eth", "eth0"));
        assert!(!like(&"*a".repeat(200), &"b".repeat(2000)));
    }
}
