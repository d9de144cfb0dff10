//! `skerry network`: interfaces, their addresses, where each came from, and what is still waited for.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::process::ExitCode;

/// What netd reports; it is written anew whenever something changes.
const STATE: &str = "/run/skerry/network-state.json";
const RESOLV: &str = "/run/skerry/resolv.conf";
/// What wifid reports, where Wi-Fi is configured.
const WIFI: &str = "/run/skerry/wifi-state.json";
const METADATA: &str = "/run/skerry/metadata.json";
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

#[derive(Debug, Default, Serialize)]
struct Network {
    interfaces: Vec<Interface>,
    /// The first thing that is waited for; none = the network is as it should be.
    waits: Option<String>,
    name_servers: Vec<String>,
    search: Vec<String>,
    metadata: Option<Metadata>,
}

/// Prints it. Exit status 0 even when something is waited for: the question was answered.
pub fn run(as_json: bool) -> anyhow::Result<ExitCode> {
    let text = skerry_sys::file::read_text(STATE, LARGEST)
        .context("reading what netd reports (this command is for a running Skerry machine; if it is one, see skerry logs netd)")?;
    let resolv = skerry_sys::file::read_text(RESOLV, LARGEST).unwrap_or_default();
    let metadata = skerry_sys::file::read_text(METADATA, LARGEST).unwrap_or_default();
    let wifi = skerry_sys::file::read_text(WIFI, LARGEST).unwrap_or_default();
    let network = network(&text, &wifi, &resolv, &metadata)?;
    if as_json {
        println!("{:#}", serde_json::to_value(&network)?);
    } else {
        print!("{}", page(&network));
    }
    Ok(ExitCode::SUCCESS)
}

fn network(state: &str, wifi: &str, resolv: &str, metadata: &str) -> anyhow::Result<Network> {
    let mut interfaces: Vec<Interface> = serde_json::from_str(state).with_context(|| format!("reading {STATE}"))?;
    for radio in serde_json::from_str::<Vec<Radio>>(wifi).unwrap_or_default() {
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
        let lines = resolv.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    Ok(Network {
        waits: interfaces.iter().filter(|i| !i.optional).find_map(|i| i.waits.clone()),
        name_servers: words("nameserver"),
        search: words("search"),
        metadata: serde_json::from_str(metadata).ok(),
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
        ("ra", _) => "a router's announcement".to_owned(),
        _ => "somebody else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"[{"name":"eth0","kind":"device","mac":"52:54:00:12:34:56","up":true,"addresses":[],"gateway":null,"dns":[],"ntp":[],"mtu":1500,"master":"bond0","dhcp_server":null,"waits":null,"optional":false},
        {"name":"bond0","kind":"bond","mac":"52:54:00:12:34:56","up":true,"addresses":[{"address":"10.0.2.15/24","origin":"dhcp4"},{"address":"10.9.0.5/24","origin":"static"},{"address":"fec0::5/64","origin":"ra"}],"gateway":"10.0.2.2","dns":["10.0.2.3"],"ntp":[],"mtu":1500,"master":null,"dhcp_server":"10.0.2.2","waits":null,"optional":false},
        {"name":"lan","kind":"missing","mac":"","up":false,"addresses":[],"gateway":null,"dns":[],"ntp":[],"mtu":0,"master":null,"dhcp_server":null,"waits":"waiting for interface lan of the config to appear","optional":false}]"#;

    #[test]
    fn the_page_says_where_everything_came_from() {
        let resolv = "# Written by netd\nnameserver 10.0.2.3\nsearch lan.example a.example\n";
        let metadata = r#"{"source":"aws","is_copy":true,"why":["aws: no answer in time"]}"#;
        let page = page(&network(STATE, "", resolv, metadata).unwrap());
        let expected = "\
eth0: carrier, 52:54:00:12:34:56, mtu 1500, member of bond0
bond0: bond, carrier, 52:54:00:12:34:56, mtu 1500
  address    10.0.2.15/24 (DHCP, of 10.0.2.2)
  address    10.9.0.5/24 (the configuration)
  address    fec0::5/64 (a router's announcement)
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
        let page = |state: &str, wifi: &str| page(&network(state, wifi, "", "").unwrap());
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
            page(&network(old, "", "", "").unwrap()),
            "eth0: no carrier\nnothing is waited for\n"
        );
        assert!(page(&network("[]", "", "", "").unwrap()).starts_with("no interface is set up"));
        assert!(network("nonsense", "", "", "").is_err());
    }
}
