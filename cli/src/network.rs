//! `skerry network`: interfaces, their addresses, where each came from, and what is still waited for.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use skerry_config::ports::Opening;
use std::fmt::Write;
use std::process::ExitCode;

/// What netd reports; it is written anew whenever something changes.
const STATE: &str = "/run/skerry/network-state.json";
const RESOLV: &str = "/run/skerry/resolv.conf";
/// What wifid reports, where Wi-Fi is configured.
const WIFI: &str = "/run/skerry/wifi-state.json";
const METADATA: &str = "/run/skerry/metadata.json";
/// The firewall, and what is on trial.
const MORE: &str = "/run/skerry/netd.json";
/// How pods of other nodes are reached, as the agent reports it.
const PODS: &str = "/run/skerry/kube/pods.json";
const LARGEST: usize = 1 << 20;

/// One interface of the configuration, as netd reports it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    kind: String,
    mac: String,
    up: bool,
    addresses: Vec<Address>,
    gateway: Option<String>,
    dns: Vec<String>,
    ntp: Vec<String>,
    mtu: u32,
    master: Option<String>,
    dhcp_server: Option<String>,
    waits: Option<String>,
    optional: bool,
    /// The Wi-Fi network that it has joined.
    wifi: Option<String>,
}

/// One radio, as wifid reports it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Radio {
    device: String,
    network: Option<String>,
    says: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Address {
    address: String,
    origin: String,
}

/// What a cloud said, as `setup metadata` reports it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Metadata {
    source: Option<String>,
    is_copy: bool,
    why: Vec<String>,
}

/// What netd reports besides interfaces.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct More {
    firewall: Option<Firewall>,
    trial_until_ms: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Firewall {
    on: bool,
    done: bool,
    outside: Vec<String>,
    open: Vec<Opening>,
    problem: Option<String>,
}

/// The pods' network, as the agent reports it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Pods {
    backend: String,
    mtu: Option<u32>,
    problems: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Network {
    interfaces: Vec<Interface>,
    /// The first thing that is waited for; none = the network is as it should be.
    waits: Option<String>,
    name_servers: Vec<String>,
    search: Vec<String>,
    metadata: Option<Metadata>,
    firewall: Option<Firewall>,
    /// How long the configuration on trial still counts, in seconds.
    trial_seconds: Option<u64>,
    pods: Option<Pods>,
}

/// What is read.
#[derive(Debug, Default)]
struct Texts {
    state: String,
    resolv: String,
    metadata: String,
    wifi: String,
    more: String,
    pods: String,
}

/// Prints it. Exit status 0 even when something is waited for: the question was answered.
pub fn run(as_json: bool) -> anyhow::Result<ExitCode> {
    let state = skerry_sys::file::read_text(STATE, LARGEST)
        .context("reading what netd reports (this command is for a running Skerry machine; if it is one, see skerry logs netd)")?;
    let text = |path: &str| skerry_sys::file::read_text(path, LARGEST).unwrap_or_default();
    let texts = Texts {
        state,
        resolv: text(RESOLV),
        metadata: text(METADATA),
        wifi: text(WIFI),
        more: text(MORE),
        pods: text(PODS),
    };
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let network = network(&texts, clock.tv_sec.try_into().unwrap_or(0))?;
    if as_json {
        println!("{:#}", serde_json::to_value(&network)?);
    } else {
        print!("{}", page(&network));
    }
    Ok(ExitCode::SUCCESS)
}

/// `now`: seconds of the kernel's clock that only goes forward.
fn network(texts: &Texts, now: u64) -> anyhow::Result<Network> {
    let mut interfaces: Vec<Interface> = serde_json::from_str(&texts.state).with_context(|| format!("reading {STATE}"))?;
    for radio in serde_json::from_str::<Vec<Radio>>(&texts.wifi).unwrap_or_default() {
        for link in interfaces.iter_mut().filter(|link| link.name == radio.device) {
            link.wifi.clone_from(&radio.network);
            // Of an interface without a carrier wifid knows more.
            link.waits = if link.up {
                link.waits.take()
            } else {
                radio.says.clone().or(link.waits.take())
            };
        }
    }
    let words = |key: &str| -> Vec<String> {
        let lines = texts.resolv.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let more: More = serde_json::from_str(&texts.more).unwrap_or_default();
    Ok(Network {
        waits: interfaces.iter().filter(|i| !i.optional).find_map(|i| i.waits.clone()),
        name_servers: words("nameserver"),
        search: words("search"),
        metadata: serde_json::from_str(&texts.metadata).ok(),
        firewall: more.firewall,
        trial_seconds: more.trial_until_ms.and_then(|until| (until / 1000).checked_sub(now)),
        pods: serde_json::from_str(&texts.pods).ok(),
        interfaces,
    })
}

fn page(network: &Network) -> String {
    let mut out = String::new();
    for link in &network.interfaces {
        let _ = writeln!(out, "{}", heading(link));
        for address in &link.addresses {
            let _ = writeln!(out, "  {:<10} {} ({})", "address", address.address, origin(&address.origin, link));
        }
        let more = [
            ("wifi", link.wifi.iter().cloned().collect::<Vec<_>>()),
            ("gateway", link.gateway.iter().cloned().collect()),
            ("names", link.dns.clone()),
            ("time", link.ntp.clone()),
            ("waits", link.waits.iter().cloned().collect()),
        ];
        for (word, list) in more.iter().filter(|(_, list)| !list.is_empty()) {
            let _ = writeln!(out, "  {word:<10} {}", list.join(", "));
        }
    }
    if network.interfaces.is_empty() {
        out.push_str("no interface is set up: there is none, or the configuration names none\n");
    }
    if !network.name_servers.is_empty() {
        let _ = write!(out, "names are asked of {}", network.name_servers.join(", "));
        if !network.search.is_empty() {
            let _ = write!(out, "; searched in {}", network.search.join(", "));
        }
        out.push('\n');
    }
    if let Some(firewall) = &network.firewall {
        out.push_str(&wall(firewall));
    }
    if let Some(pods) = &network.pods {
        let mtu = pods.mtu.map(|mtu| format!(", mtu {mtu}")).unwrap_or_default();
        let _ = writeln!(out, "pods of other nodes: {}{mtu}", pods.backend);
        for problem in &pods.problems {
            let _ = writeln!(out, "  {problem}");
        }
    }
    if let Some(seconds) = network.trial_seconds {
        let _ = writeln!(
            out,
            "a configuration is on trial for {seconds} s more: `sudo skerry config confirm` keeps it, `sudo skerry config revert` undoes it"
        );
    }
    if let Some(metadata) = &network.metadata {
        let _ = match &metadata.source {
            Some(source) if metadata.is_copy => {
                writeln!(out, "metadata is that of {source} in an earlier boot: nobody answered in this one")
            }
            Some(source) => writeln!(out, "metadata is that of {source}"),
            None => writeln!(out, "no metadata: nobody answered"),
        };
        for why in &metadata.why {
            let _ = writeln!(out, "  {why}");
        }
    }
    let _ = match &network.waits {
        Some(why) => writeln!(out, "{why}"),
        None => writeln!(out, "nothing is waited for"),
    };
    out
}

/// The firewall, a line a port.
fn wall(firewall: &Firewall) -> String {
    let mut out = String::new();
    let _ = match (firewall.on, firewall.done, &firewall.problem) {
        (false, ..) => return "the firewall is off: skerry.firewall is false, or the distribution does not say what it needs\n".to_owned(),
        (true, true, _) => writeln!(
            out,
            "the firewall closes the system's own ports on {}, but for",
            firewall.outside.join(", ")
        ),
        (true, false, Some(problem)) => writeln!(out, "the firewall is NOT in effect: {problem}; once it is, these are open"),
        (true, false, None) => writeln!(out, "the firewall is being put up; then these are open"),
    };
    for opening in &firewall.open {
        let _ = writeln!(out, "  {:<16} {}", opening.ports.to_string(), opening.why);
    }
    out
}

fn heading(link: &Interface) -> String {
    if link.kind == "missing" {
        return format!("{}: not there", link.name);
    }
    let mut words = vec![if link.up { "carrier" } else { "no carrier" }.to_owned()];
    if !matches!(link.kind.as_str(), "device" | "") {
        words.insert(0, link.kind.clone());
    }
    words.extend((!link.mac.is_empty()).then(|| link.mac.clone()));
    words.extend((link.mtu > 0).then(|| format!("mtu {}", link.mtu)));
    words.extend(link.master.as_ref().map(|master| format!("member of {master}")));
    words.extend(link.optional.then(|| "optional".to_owned()));
    format!("{}: {}", link.name, words.join(", "))
}

fn origin(word: &str, link: &Interface) -> String {
    match (word, &link.dhcp_server) {
        ("static", _) => "the configuration".to_owned(),
        ("dhcp4", Some(server)) => format!("DHCP, of {server}"),
        ("dhcp4", None) => "DHCP".to_owned(),
        ("dhcp6", _) => "DHCPv6".to_owned(),
        ("ra", _) => "a router's announcement".to_owned(),
        _ => "somebody else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"[{"name":"eth0","kind":"device","mac":"52:54:00:12:34:56","up":true,"addresses":[],"gateway":null,"dns":[],"ntp":[],"mtu":1500,"master":"bond0","dhcp_server":null,"waits":null,"optional":false},
        {"name":"bond0","kind":"bond","mac":"52:54:00:12:34:56","up":true,"addresses":[{"address":"10.0.2.15/24","origin":"dhcp4"},{"address":"10.9.0.5/24","origin":"static"},{"address":"fec0::5/64","origin":"ra"},{"address":"fec0::77/128","origin":"dhcp6"}],"gateway":"10.0.2.2","dns":["10.0.2.3"],"ntp":[],"mtu":1500,"master":null,"dhcp_server":"10.0.2.2","waits":null,"optional":false},
        {"name":"lan","kind":"missing","mac":"","up":false,"addresses":[],"gateway":null,"dns":[],"ntp":[],"mtu":0,"master":null,"dhcp_server":null,"waits":"waiting for interface lan of the config to appear","optional":false}]"#;

    fn of(state: &str, resolv: &str, metadata: &str) -> Texts {
        Texts {
            state: state.into(),
            resolv: resolv.into(),
            metadata: metadata.into(),
            ..Texts::default()
        }
    }

    #[test]
    fn ports_pods_and_trials() {
        let more = r#"{"firewall":{"on":true,"done":true,"outside":["eth0","lan"],"open":[{"ports":"tcp/22","why":"SSH"},
            {"ports":"udp/8472","why":"pods of other nodes","with":"skerry-vxlan"}],"problem":null},"trial_until_ms":90500}"#;
        let texts = Texts {
            more: more.into(),
            pods: r#"{"backend":"vxlan","mtu":1450,"routes":[],"problems":[]}"#.into(),
            ..of("[]", "", "")
        };
        let shown = network(&texts, 60).unwrap();
        assert_eq!(
            (shown.trial_seconds, shown.pods.as_ref().and_then(|p| p.mtu)),
            (Some(30), Some(1450))
        );
        let expected = "\
no interface is set up: there is none, or the configuration names none
the firewall closes the system's own ports on eth0, lan, but for
  tcp/22           SSH
  udp/8472         pods of other nodes
pods of other nodes: vxlan, mtu 1450
a configuration is on trial for 30 s more: `sudo skerry config confirm` keeps it, `sudo skerry config revert` undoes it
nothing is waited for
";
        assert_eq!(page(&shown), expected);
        assert_eq!(network(&texts, 91).unwrap().trial_seconds, None, "its time is over");
        for (more, said) in [
            (r#"{"firewall":{"on":false,"done":true}}"#, "the firewall is off"),
            (
                r#"{"firewall":{"on":true,"done":false,"problem":"no nft"}}"#,
                "NOT in effect: no nft",
            ),
            (r#"{"firewall":{"on":true,"done":false}}"#, "is being put up"),
        ] {
            let texts = Texts {
                more: more.into(),
                ..of("[]", "", "")
            };
            assert!(page(&network(&texts, 0).unwrap()).contains(said), "{said}");
        }
    }

    #[test]
    fn the_page_says_where_everything_came_from() {
        let resolv = "# Written by netd\nnameserver 10.0.2.3\nsearch lan.example a.example\n";
        let metadata = r#"{"source":"aws","is_copy":true,"why":["aws: no answer in time"]}"#;
        let page = page(&network(&of(STATE, resolv, metadata), 0).unwrap());
        let expected = "\
eth0: carrier, 52:54:00:12:34:56, mtu 1500, member of bond0
bond0: bond, carrier, 52:54:00:12:34:56, mtu 1500
  address    10.0.2.15/24 (DHCP, of 10.0.2.2)
  address    10.9.0.5/24 (the configuration)
  address    fec0::5/64 (a router's announcement)
  address    fec0::77/128 (DHCPv6)
  gateway    10.0.2.2
  names      10.0.2.3
lan: not there
  waits      waiting for interface lan of the config to appear
names are asked of 10.0.2.3; searched in lan.example, a.example
metadata is that of aws in an earlier boot: nobody answered in this one
  aws: no answer in time
waiting for interface lan of the config to appear
";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_radio_says_what_keeps_it_from_its_network() {
        let state = |up: bool, waits: &str| format!(r#"[{{"name":"wlan0","kind":"device","up":{up},"waits":"{waits}"}}]"#);
        let refused = r#"[{"device":"wlan0","network":null,"says":"wifi wlan0: home: the passphrase is not accepted"}]"#;
        let joined = r#"[{"device":"wlan0","network":"home","says":null},{"device":"wlan7","network":"x","says":null}]"#;
        let page = |state: &str, wifi: &str| {
            let texts = Texts {
                wifi: wifi.to_owned(),
                ..of(state, "", "")
            };
            page(&network(&texts, 0).unwrap())
        };
        let waits = "waiting for wlan0 to join a Wi-Fi network";
        assert_eq!(
            page(&state(false, waits), refused),
            "wlan0: no carrier\n  waits      wifi wlan0: home: the passphrase is not accepted\nwifi wlan0: home: the passphrase is not accepted\n"
        );
        assert_eq!(
            page(&state(true, "waiting for a DHCP answer on wlan0"), joined),
            "wlan0: carrier\n  wifi       home\n  waits      waiting for a DHCP answer on wlan0\nwaiting for a DHCP answer on wlan0\n"
        );
        assert!(
            page(&state(false, waits), "").contains("  waits      waiting for wlan0 to join"),
            "wifid says nothing yet"
        );
    }

    #[test]
    fn an_older_netds_report_and_an_empty_one() {
        let old = r#"[{"name":"eth0","mac":"","up":false,"addresses":[],"gateway":null,"dns":[],"ntp":[]}]"#;
        assert_eq!(
            page(&network(&of(old, "", ""), 0).unwrap()),
            "eth0: no carrier\nnothing is waited for\n"
        );
        assert!(page(&network(&of("[]", "", ""), 0).unwrap()).starts_with("no interface is set up"));
        assert!(network(&of("nonsense", "", ""), 0).is_err());
    }
}
