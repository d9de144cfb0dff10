//! What was asked for: the Wi-Fi networks of the configuration, by radio, the preferred ones first.

use crate::facts::Link;
use crate::request::{Request, fits_radio};
use skerry_config::{AccessPoint, Match, Secret, is_wifi_secret};

/// Everything that the configuration says about Wi-Fi.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Which radio is to join which networks.
    pub entries: Vec<Entry>,
    /// The country whose rules the radios keep.
    pub country: Option<String>,
    /// What could not be used, and why.
    pub problems: Vec<String>,
}

/// The networks of one entry of `network.wifis`, or those in k3OS's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which radio; none = each that no other entry means.
    radio: Option<(String, Option<Match>)>,
    networks: Vec<Network>,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name (SSID).
    pub name: String,
    /// Its passphrase, or its key in 64 hexadecimal digits; none = open.
    pub secret: Option<Secret<String>>,
    /// It does not announce itself.
    pub hidden: bool,
}

impl Asked {
    /// Reads it out of the request.
    pub fn of(request: &Request) -> Self {
        let mut asked = Self::default();
        for (id, interface) in request.network.iter().flat_map(|network| &network.wifis) {
            asked.entries.push(Entry {
                radio: Some((id.clone(), interface.matches.clone())),
                networks: preferred(interface.access_points.iter()),
            });
            match (&asked.country, &interface.regulatory_domain) {
                (None, Some(country)) => asked.country = Some(country.clone()),
                (Some(one), Some(other)) if one != other => asked.problems.push(format!(
                    "network.wifis.{id}.regulatory-domain: a machine is in one country; {one} counts, not {other}"
                )),
                _ => {}
            }
        }
        let networks = request.wifi.iter().map(|wifi| Network {
            name: wifi.name.clone(),
            secret: Some(wifi.passphrase.clone()).filter(|secret| !secret.0.is_empty()),
            hidden: false,
        });
        let networks: Vec<Network> = networks.collect();
        if !networks.is_empty() {
            asked.entries.push(Entry { radio: None, networks });
        }
        for entry in &mut asked.entries {
            entry.networks.retain(|network| {
                let is_usable = network.secret.as_ref().is_none_or(|secret| is_wifi_secret(&secret.0));
                if !is_usable {
                    let line = format!("wifi: {}: leaving it out: its passphrase can be none", network.name);
                    asked.problems.push(line);
                }
                is_usable
            });
        }
        asked
    }

    /// The networks that a radio is to join; none = the configuration does not mean it.
    pub fn of_radio(&self, link: &Link) -> Option<&[Network]> {
        let means = |entry: &&Entry| {
            let named = entry.radio.as_ref();
            named.is_none_or(|(id, matches)| fits_radio(id, matches.as_ref(), link))
        };
        self.entries.iter().find(means).map(|entry| entry.networks.as_slice())
    }

    /// All networks; of two with one name the first, for iwd knows a network by its name.
    pub fn networks(&self) -> Vec<&Network> {
        let mut all: Vec<&Network> = vec![];
        for network in self.entries.iter().flat_map(|entry| &entry.networks) {
            if all.iter().all(|known| known.name != network.name) {
                all.push(network);
            }
        }
        all
    }
}

/// The highest number first; equals in the order of their names.
fn preferred<'a>(points: impl Iterator<Item = (&'a String, &'a AccessPoint)>) -> Vec<Network> {
    let mut points: Vec<_> = points.collect();
    points.sort_by_key(|(name, point)| (std::cmp::Reverse(point.priority), *name));
    let network = |(name, point): (&String, &AccessPoint)| Network {
        name: name.clone(),
        secret: point.password.clone().filter(|secret| !secret.0.is_empty()),
        hidden: point.hidden,
    };
    points.into_iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Asked {
        Asked::of(&serde_json::from_str(json).unwrap())
    }

    fn radio(name: &str) -> Link {
        Link {
            name: name.into(),
            wireless: true,
            hardware: true,
            ethernet: true,
            driver: Some("iwlwifi".into()),
            ..Link::default()
        }
    }

    fn names(networks: Option<&[Network]>) -> Vec<&str> {
        networks.unwrap_or_default().iter().map(|network| network.name.as_str()).collect()
    }

    #[test]
    fn entries_mean_radios_and_the_rest_is_k3os_list() {
        let asked = asked(
            r#"{"network":{"version":2,"wifis":{
                "wlan0":{"regulatory-domain":"DE","access-points":{"a":{},"b":{"password":"long enough","priority":2},"c":{"priority":1,"hidden":true}}},
                "usb":{"match":{"driver":"ath9k*"},"regulatory-domain":"FR","access-points":{"d":{}}}}},
               "wifi":[{"name":"z","passphrase":"of the list"},{"name":"b","passphrase":""}]}"#,
        );
        assert_eq!(names(asked.of_radio(&radio("wlan0"))), ["b", "c", "a"]);
        assert_eq!(names(asked.of_radio(&radio("wlan1"))), ["z", "b"], "the list's own order");
        let other = Link {
            driver: Some("ath9k_htc".into()),
            ..radio("wlan7")
        };
        assert_eq!(names(asked.of_radio(&other)), ["d"]);
        assert_eq!(asked.country.as_deref(), Some("FR"), "that of the first id");
        assert_eq!(asked.problems.len(), 1);
        let all: Vec<_> = asked
            .networks()
            .iter()
            .map(|n| (n.name.as_str(), n.secret.is_some(), n.hidden))
            .collect();
        let want = [
            ("b", true, false),
            ("c", false, true),
            ("a", false, false),
            ("d", false, false),
            ("z", true, false),
        ];
        assert_eq!(all.len(), want.len());
        assert!(want.iter().all(|row| all.contains(row)), "{all:?}");
    }

    #[test]
    fn what_can_be_no_passphrase_is_left_out_and_named() {
        let asked = asked(r#"{"wifi":[{"name":"home","passphrase":"short"},{"name":"quay","passphrase":"long enough"}]}"#);
        assert_eq!(names(asked.of_radio(&radio("wlan0"))), ["quay"]);
        assert_eq!(asked.problems, ["wifi: home: leaving it out: its passphrase can be none"]);
    }

    #[test]
    fn a_radio_that_nobody_names_is_left_alone() {
        let asked = asked(r#"{"network":{"version":2,"wifis":{"wlan0":{"access-points":{"a":{}}}}}}"#);
        assert_eq!(asked.of_radio(&radio("wlan1")), None);
        let cable = Link {
            wireless: false,
            ..radio("wlan0")
        };
        assert_eq!(asked.of_radio(&cable), None);
    }
}
