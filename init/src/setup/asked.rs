//! What `netd` and `wifid` are asked for: interfaces, radios, name and time servers, and which ports stay open. The content of `/run/skerry/network.json`.

use serde_json::{Value, json};
use sha2::Digest;
use skerry_config::ports::{Firewall, Opening, Ports};
use skerry_config::types::{Config, WriteFile};

/// Where it lies.
pub const PATH: &str = "/run/skerry/network.json";

const SSH: u16 = 22;

/// Everything that `netd` is told.
pub fn request(config: &Config, distribution: &skerry_distribution::Plan) -> Value {
    json!({
        "network": config.network,
        "dns_nameservers": config.skerry.dns_nameservers,
        "ntp_servers": config.skerry.ntp_servers,
        "firewall": firewall(config, distribution),
        "wifi": config.skerry.wifi,
    })
}

/// A word that is another when the request is: PID 1 then starts `netd` anew, which leaves what it finds right.
pub fn digest(request: &Value) -> String {
    let digest = sha2::Sha256::digest(request.to_string().as_bytes());
    let short = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{short:016x}")
}

/// Logins, what the distribution needs, and what the owner says.
fn firewall(config: &Config, distribution: &skerry_distribution::Plan) -> Firewall {
    let mut open: Vec<Opening> = ssh_ports(&config.write_files)
        .into_iter()
        .map(|port| Opening::always(Ports::tcp(port), "SSH"))
        .collect();
    open.extend(distribution.open.iter().cloned());
    let owners = config.skerry.open_ports.iter().filter_map(|text| text.parse().ok());
    open.extend(owners.map(|ports| Opening::always(ports, "the configuration")));
    // A distribution that runs something and does not say how others reach it must not be cut off from them.
    let is_said = distribution.units.is_empty() || !distribution.open.is_empty();
    Firewall {
        on: is_said && config.skerry.firewall != Some(false),
        open,
        pods: distribution.pods.clone(),
    }
}

/// Where sshd listens. A file of the owner's that moves it must not lock the owner out; one that is encoded is not looked into.
fn ssh_ports(files: &[WriteFile]) -> Vec<u16> {
    let is_sshd = |file: &&WriteFile| {
        let path = file.path.trim_start_matches('/');
        path == "etc/ssh/sshd_config" || path.starts_with("etc/ssh/sshd_config.d/")
    };
    let port = |line: &str| {
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let is_port = words.next().is_some_and(|key| key.eq_ignore_ascii_case("port"));
        words
            .next()
            .filter(|_| is_port)?
            .trim_matches('"')
            .parse()
            .ok()
            .filter(|port: &u16| *port > 0)
    };
    let mut ports = vec![SSH];
    for file in files.iter().filter(is_sshd) {
        ports.extend(file.content.lines().filter_map(port));
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(config: &Config) -> Vec<String> {
        let plan = skerry_distribution::plan(config, &skerry_distribution::Facts::default());
        firewall(config, &plan).open.iter().map(|o| o.ports.to_string()).collect()
    }

    #[test]
    fn logins_are_open_whatever_runs() {
        let mut config = Config::default();
        assert_eq!(open(&config)[..3], ["tcp/22", "tcp/6443", "tcp/10250"]);
        config.skerry.distribution = skerry_config::types::Distribution::None.into();
        config.skerry.open_ports = vec!["tcp/8080".into(), "nonsense".into(), "5000-5010/udp".into()];
        assert_eq!(open(&config), ["tcp/22", "tcp/8080", "udp/5000-5010"]);
        let sshd = |path: &str, content: &str| WriteFile {
            path: path.into(),
            content: content.into(),
            ..WriteFile::default()
        };
        config.skerry.open_ports.clear();
        config.write_files = vec![
            sshd("/etc/ssh/sshd_config.d/port.conf", "# Port 1\nport\t2222\nPort=2223\nPort x\n"),
            sshd("etc/ssh/sshd_config", "Port 22\nPortal 9\n"),
            sshd("/etc/other", "Port 3\n"),
        ];
        assert_eq!(open(&config), ["tcp/22", "tcp/2222", "tcp/2223"]);
    }

    #[test]
    fn a_distribution_that_does_not_say_what_it_needs_has_none() {
        let unit = skerry_control::unit::Unit::service("k3s", "k3s", &["/k3s"]);
        let silent = skerry_distribution::Plan {
            units: vec![unit],
            ..skerry_distribution::Plan::default()
        };
        let says = skerry_distribution::Plan {
            open: vec![Opening::always(Ports::tcp(6443), "its API")],
            ..silent.clone()
        };
        let is_on = |plan| firewall(&Config::default(), plan).on;
        assert_eq!(
            (is_on(&silent), is_on(&says), is_on(&skerry_distribution::Plan::default())),
            (false, true, true)
        );
    }

    #[test]
    fn it_is_off_by_one_key() {
        let mut config = Config::default();
        let is_on = |config: &Config| firewall(config, &skerry_distribution::Plan::default()).on;
        assert!(is_on(&config));
        let before = digest(&request(&config, &skerry_distribution::Plan::default()));
        config.skerry.firewall = Some(false);
        assert!(!is_on(&config));
        assert_ne!(digest(&request(&config, &skerry_distribution::Plan::default())), before);
    }
}
