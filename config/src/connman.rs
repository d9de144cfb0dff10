//! connman's service files in `write_files`: the way a static address was set under k3OS, translated to `network:`.
//!
//! connman does not run here. Each file below `/var/lib/connman/` is still written, and says what it became; where the owner wrote
//! `network:` too, that counts alone.

use crate::explain::{Entry, Phase};
use crate::merge::{Item, Tree};
use crate::report::Report;
use crate::tree::Mark;
use crate::{Config, Interface, Match, Nameservers, Network, Route, write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What one section of a service file asks for.
struct Service {
    id: String,
    interface: Interface,
    timeservers: Vec<String>,
}

/// Translates what `write_files` holds for connman.
pub(crate) fn translate(config: &mut Config, merged: &Item, explain: &mut Vec<Entry>, report: &mut Report) {
    let Some(Item {
        value: Tree::List(files), ..
    }) = merged.get("write_files")
    else {
        return;
    };
    let owner_wrote_network = config.network.is_some();
    for (index, (item, file)) in files.iter().zip(config.write_files.clone()).enumerate() {
        let path = format!("/{}", file.path.trim_start_matches('/'));
        if !path.starts_with("/var/lib/connman/") || !path.ends_with(".config") {
            continue;
        }
        let Ok(bytes) = file.decoded() else { continue };
        let key = format!("write_files[{index}]");
        let mark = Mark {
            line: item.spot.line,
            column: item.spot.column,
        };
        report.enter(item.spot.source);
        let services = services(&String::from_utf8_lossy(&bytes));
        if owner_wrote_network {
            report.note(mark, &key, "connman does not run here", "`network:` counts alone", "");
            continue;
        }
        if services.is_empty() {
            report.warn(
                mark,
                &key,
                "connman does not run here, and nothing in this file could be translated",
                "",
                "network:",
            );
            continue;
        }
        let network = config.network.get_or_insert_with(|| Network {
            version: 2,
            ..Network::default()
        });
        for service in &services {
            explain.push(Entry {
                path: crate::normal::join("network.ethernets", &service.id),
                value: serde_json::to_value(&service.interface).unwrap_or_default(),
                secret: false,
                origin: report.origin(item.spot),
                overrides: Vec::new(),
                phases: vec![Phase::Network],
                effect: "translated from connman's service file, carried out by netd".to_owned(),
            });
            network.ethernets.insert(service.id.clone(), service.interface.clone());
            if config.skerry.ntp_servers.is_empty() {
                config.skerry.ntp_servers.clone_from(&service.timeservers);
            }
        }
        let native = Network {
            version: 2,
            ethernets: services.into_iter().map(|service| (service.id, service.interface)).collect(),
            ..Network::default()
        };
        let native = write::yaml(&serde_json::json!({ "network": native })).unwrap_or_default();
        report.warn(mark, &key, "connman does not run here", "this file was translated", native);
    }
}

fn services(text: &str) -> Vec<Service> {
    let mut sections: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push((name, Vec::new()));
        } else if let (Some((_, pairs)), Some((key, value))) = (sections.last_mut(), line.split_once('=')) {
            if !line.starts_with('#') {
                pairs.push((key.trim(), value.trim()));
            }
        }
    }
    sections.into_iter().filter_map(|(name, pairs)| service(name, &pairs)).collect()
}

fn service(name: &str, pairs: &[(&str, &str)]) -> Option<Service> {
    let name = name.strip_prefix("service_")?;
    let get = |key: &str| pairs.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let list = |key: &str| -> Vec<String> {
        let words = get(key).unwrap_or_default().split([',', ';']).map(str::trim);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    if get("Type").is_some_and(|kind| kind != "ethernet") {
        return None;
    }
    let mut interface = Interface {
        nameservers: Nameservers {
            addresses: list("Nameservers"),
            search: list("SearchDomains"),
        },
        ..Interface::default()
    };
    interface
        .nameservers
        .addresses
        .retain(|address| address.parse::<std::net::IpAddr>().is_ok());
    if interface.nameservers.search.is_empty() {
        interface.nameservers.search = list("Domain");
    }
    match get("IPv4") {
        None | Some("dhcp" | "auto") => interface.dhcp4 = true,
        Some("off") => {}
        Some(fixed) => add_ipv4(&mut interface, fixed)?,
    }
    match get("IPv6") {
        None => {}
        Some("off") => interface.accept_ra = Some(false),
        Some("auto") => interface.accept_ra = Some(true),
        Some(fixed) => add_ipv6(&mut interface, fixed)?,
    }
    let id = match (get("DeviceName"), get("MAC")) {
        (Some(device), _) if !device.is_empty() => device.to_owned(),
        (_, Some(mac)) if matches!(crate::check::mac(mac), crate::check::Verdict::Good) => {
            interface.matches = Some(Match {
                macaddress: Some(mac.to_ascii_lowercase().replace('-', ":")),
                ..Match::default()
            });
            name.to_owned()
        }
        // Neither: every wired device.
        _ => {
            interface.matches = Some(Match {
                name: Some("e*".to_owned()),
                ..Match::default()
            });
            name.to_owned()
        }
    };
    Some(Service {
        id,
        interface,
        timeservers: list("Timeservers"),
    })
}

/// `192.0.2.10/255.255.255.0/192.0.2.1`, the mask also as a number, the gateway optional.
fn add_ipv4(interface: &mut Interface, text: &str) -> Option<()> {
    let mut parts = text.split('/').map(str::trim);
    let address: Ipv4Addr = parts.next()?.parse().ok()?;
    let mask = parts.next()?;
    let prefix = match mask.parse::<Ipv4Addr>() {
        Ok(mask) => u32::from(mask).leading_ones(),
        Err(_) => mask.parse().ok().filter(|&prefix: &u32| prefix <= 32)?,
    };
    interface.addresses.push(format!("{address}/{prefix}"));
    add_route(
        interface,
        parts
            .next()
            .and_then(|gateway| gateway.parse::<Ipv4Addr>().ok())
            .map(|gateway| gateway.to_string()),
    );
    Some(())
}

/// `2001:db8::10/64/2001:db8::1`, the gateway optional.
fn add_ipv6(interface: &mut Interface, text: &str) -> Option<()> {
    let mut parts = text.split('/').map(str::trim);
    let address: Ipv6Addr = parts.next()?.parse().ok()?;
    let prefix: u32 = parts.next()?.parse().ok().filter(|&prefix| prefix <= 128)?;
    interface.addresses.push(format!("{address}/{prefix}"));
    if let Some(gateway) = parts.next().and_then(|gateway| gateway.parse::<Ipv6Addr>().ok()) {
        interface.routes.push(Route {
            to: "::/0".to_owned(),
            via: Some(gateway.to_string()),
            ..Route::default()
        });
    }
    Some(())
}

fn add_route(interface: &mut Interface, via: Option<String>) {
    if via.is_some() {
        interface.routes.push(Route {
            to: "default".to_owned(),
            via,
            ..Route::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::{Severity, Source, SourceKind, load};

    const FILE: &str = "write_files:\n- path: /var/lib/connman/default.config\n  content: |\n    [service_eth0]\n    Type=ethernet\n    \
        MAC=52:54:00:12:34:56\n    IPv4=192.168.1.10/255.255.255.0/192.168.1.1\n    IPv6=off\n    Nameservers=8.8.8.8,1.1.1.1\n    \
        SearchDomains=lan\n    Timeservers=pool.ntp.org\n";

    #[test]
    fn a_service_file_becomes_an_interface() {
        let loaded = load(&[Source::new(SourceKind::System, "config.yaml", FILE)]);
        let network = loaded.config.network.expect("translated");
        let eth0 = &network.ethernets["eth0"];
        assert_eq!(eth0.addresses, ["192.168.1.10/24"]);
        assert_eq!(eth0.routes[0].via.as_deref(), Some("192.168.1.1"));
        assert_eq!(eth0.nameservers.addresses, ["8.8.8.8", "1.1.1.1"]);
        assert_eq!(
            eth0.matches.as_ref().and_then(|matches| matches.macaddress.as_deref()),
            Some("52:54:00:12:34:56")
        );
        assert_eq!(loaded.config.skerry.ntp_servers, ["pool.ntp.org"]);
        let note = loaded
            .problems
            .iter()
            .find(|problem| problem.severity == Severity::Warning)
            .expect("a warning");
        assert!(!note.drops, "nothing is lost");
        assert!(note.write_instead.contains("- 192.168.1.10/24"), "{}", note.write_instead);
        // What it shows works as it stands.
        let again = load(&[Source::new(SourceKind::System, "native.yaml", note.write_instead.as_str())]);
        assert_eq!(again.config.network, Some(network));
        assert_eq!(again.problems, []);
    }

    #[test]
    fn the_owners_network_wins() {
        let text = format!("{FILE}network: {{version: 2, ethernets: {{eth0: {{dhcp4: true}}}}}}\n");
        let loaded = load(&[Source::new(SourceKind::System, "config.yaml", text)]);
        assert!(loaded.config.network.expect("given").ethernets["eth0"].dhcp4);
    }
}
