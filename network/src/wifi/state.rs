//! The report to the rest of the system: `/run/skerry/wifi-state.json`.

use serde::{Deserialize, Serialize};

/// One radio of the configuration, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Radio {
    /// The interface's name.
    pub device: String,
    /// The network that it has joined.
    pub network: Option<String>,
    /// What is waited for, or wrong, in words.
    pub says: Option<String>,
}

/// One line about all of them.
pub fn summary(radios: &[Radio]) -> String {
    let words = |radio: &Radio| match (&radio.says, &radio.network) {
        (Some(says), _) => says.clone(),
        (None, Some(network)) => format!("wifi {}: in {network}", radio.device),
        (None, None) => format!("wifi {}: nothing to join", radio.device),
    };
    if radios.is_empty() {
        return "wifi: no radio that the configuration means is there".to_owned();
    }
    radios.iter().map(words).collect::<Vec<_>>().join("; ")
}

/// Whether each is where it should be.
pub fn is_joined(radios: &[Radio]) -> bool {
    !radios.is_empty() && radios.iter().all(|radio| radio.says.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        let radio = |network: Option<&str>, says: Option<&str>| Radio {
            device: "wlan0".into(),
            network: network.map(str::to_owned),
            says: says.map(str::to_owned),
        };
        for (radios, line, joined) in [
            (vec![], "wifi: no radio that the configuration means is there", false),
            (vec![radio(Some("home"), None)], "wifi wlan0: in home", true),
            (vec![radio(None, None)], "wifi wlan0: nothing to join", true),
            (
                vec![radio(Some("home"), None), radio(None, Some("wifi wlan1: looking for x"))],
                "wifi wlan0: in home; wifi wlan1: looking for x",
                false,
            ),
        ] {
            assert_eq!((summary(&radios).as_str(), is_joined(&radios)), (line, joined));
        }
    }
}
