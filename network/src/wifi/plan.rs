//! Deciding: which network a radio joins now, when it tries again, and what a person is told.

use super::asked::Network;
use std::collections::BTreeMap;
use std::time::Duration;

/// What iwd says about one radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// The interface's name.
    pub device: String,
    /// What it does.
    pub state: State,
    /// The network that it is in, or is being joined to.
    pub network: Option<String>,
    /// The networks in range, the strongest first.
    pub seen: Vec<Seen>,
}

/// What a radio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Switched off, by a switch or by rfkill.
    Off,
    /// In no network.
    Alone,
    /// Between being in a network and being in none.
    Busy,
    /// In a network.
    Joined,
}

impl State {
    /// iwd's words.
    pub fn of(word: &str) -> Self {
        match word {
            "connected" | "roaming" => Self::Joined,
            "disconnected" => Self::Alone,
            _ => Self::Busy,
        }
    }
}

/// A network in range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// `open`, `psk`, `wep`, `8021x`.
    pub kind: String,
    /// iwd's object.
    pub path: String,
}

/// What came of trying to join a network, so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// How often it failed in a row.
    pub failures: u32,
    /// iwd asked for another passphrase than the one that it has.
    pub refused: bool,
    /// Not before this.
    pub not_before: Duration,
}

/// The attempts of one radio, by the network's name.
pub type Attempts = BTreeMap<String, Attempt>;

/// What is to be done with a radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Switch it on.
    SwitchOn,
    /// Join the network of this name, at this object of iwd's.
    Join(String, String),
    /// Leave the network that it is in: it is not asked for.
    Leave,
}

/// What was decided about one radio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// To be done now.
    pub action: Option<Action>,
    /// When time alone makes another answer.
    pub again: Option<Duration>,
    /// What is waited for, or wrong; none = it is as it should be.
    pub says: Option<String>,
}

/// Decides. `trying`: an attempt is under way.
pub fn decide(station: &Station, asked: &[Network], attempts: &Attempts, trying: Option<&str>, now: Duration) -> Decision {
    let about = |text: String| Some(format!("wifi {}: {text}", station.device));
    if asked.is_empty() {
        return Decision::default();
    }
    let in_range: Vec<(&Network, &Seen)> = asked
        .iter()
        .filter_map(|network| {
            let seen = station.seen.iter().filter(|seen| seen.name == network.name);
            let first = seen.clone().next()?;
            Some((network, seen.clone().find(|seen| fits(network, seen)).unwrap_or(first)))
        })
        .collect();
    let wrong = || {
        in_range
            .iter()
            .find_map(|(network, seen)| wrong(network, seen, attempts.get(&network.name)))
    };
    if trying.is_some() {
        // What was wrong the last time is said until it is known to be right.
        let says = about(wrong().unwrap_or_else(|| format!("joining {}", trying.unwrap_or_default())));
        return Decision {
            says,
            ..Decision::default()
        };
    }
    match (station.state, &station.network) {
        (State::Off, _) => Decision {
            action: Some(Action::SwitchOn),
            says: about("the radio is switched off (by a switch, or by rfkill)".to_owned()),
            again: None,
        },
        (State::Joined, Some(name)) if asked.iter().any(|network| network.name == *name) => Decision::default(),
        (State::Joined, name) => Decision {
            action: Some(Action::Leave),
            says: about(format!("leaving {}", name.as_deref().unwrap_or("a network without a name"))),
            again: None,
        },
        (State::Busy, _) => Decision {
            says: about(wrong().unwrap_or_else(|| "the radio is busy".to_owned())),
            ..Decision::default()
        },
        (State::Alone, _) => {
            let may = in_range.iter().filter(|(network, seen)| fits(network, seen));
            let not_before = |network: &Network| attempts.get(&network.name).map_or(Duration::ZERO, |attempt| attempt.not_before);
            let next = may.clone().find(|(network, _)| not_before(network) <= now);
            let action = next.map(|(network, seen)| Action::Join(network.name.clone(), seen.path.clone()));
            let again = action
                .is_none()
                .then(|| may.map(|(network, _)| not_before(network)).min())
                .flatten();
            let names: Vec<&str> = asked.iter().map(|network| network.name.as_str()).collect();
            let says = about(wrong().unwrap_or_else(|| format!("looking for {}", names.join(", "))));
            Decision { action, again, says }
        }
    }
}

fn fits(network: &Network, seen: &Seen) -> bool {
    seen.kind == if network.secret.is_some() { "psk" } else { "open" }
}

/// What is known to be wrong with a network in range.
fn wrong(network: &Network, seen: &Seen, attempt: Option<&Attempt>) -> Option<String> {
    let name = &network.name;
    match (seen.kind.as_str(), &network.secret) {
        ("open", Some(_)) => return Some(format!("{name}: it is open, and the configuration has a passphrase for it")),
        ("psk", None) => return Some(format!("{name}: it wants a passphrase, and the configuration has none")),
        ("open" | "psk", _) => {}
        (kind, _) => return Some(format!("{name}: networks of kind {kind} cannot be joined")),
    }
    let attempt = attempt.filter(|attempt| attempt.failures > 0)?;
    Some(match &network.secret {
        Some(_) if attempt.refused => format!("{name}: the passphrase is not accepted"),
        // Of WPA3 it cannot be told.
        Some(_) => format!("{name}: the access point refuses; is the passphrase right?"),
        None => format!("{name}: the access point refuses"),
    })
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In the network.
    Joined,
    /// iwd tried, and it did not come about.
    Failed,
    /// iwd did not try: it was busy, or the network is gone.
    NotTried,
}

/// What an attempt that ended `now` means for the next one.
pub fn after(attempts: &mut Attempts, name: &str, outcome: Outcome, now: Duration) {
    let attempt = attempts.entry(name.to_owned()).or_default();
    match outcome {
        Outcome::Joined => *attempt = Attempt::default(),
        Outcome::Failed => {
            attempt.failures += 1;
            // The second attempt is soon: only then is it known whether the passphrase was refused.
            let pause = 2u64 << attempt.failures.min(5);
            attempt.not_before = now + Duration::from_secs(if attempt.refused { 30 } else { pause.min(60) });
        }
        Outcome::NotTried => attempt.not_before = now + Duration::from_secs(2),
    }
}

/// iwd asked for a passphrase though a file has it: after an attempt that failed, it is the wrong one.
pub fn asked_again(attempts: &mut Attempts, name: &str) {
    if let Some(attempt) = attempts.get_mut(name) {
        attempt.refused |= attempt.failures > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_config::Secret;

    const S: Duration = Duration::from_secs(1);

    fn network(name: &str, secret: Option<&str>) -> Network {
        Network {
            name: name.into(),
            secret: secret.map(|text| Secret(text.to_owned())),
            hidden: false,
        }
    }

    fn asked() -> Vec<Network> {
        vec![network("home", Some("long enough")), network("yard", None)]
    }

    fn station(state: &str, network: Option<&str>, seen: &[(&str, &str)]) -> Station {
        Station {
            device: "wlan0".into(),
            state: State::of(state),
            network: network.map(str::to_owned),
            seen: seen
                .iter()
                .map(|(name, kind)| Seen {
                    name: (*name).into(),
                    kind: (*kind).into(),
                    path: format!("/{name}_{kind}"),
                })
                .collect(),
        }
    }

    fn attempts(name: &str, failures: u32, refused: bool, not_before: Duration) -> Attempts {
        let attempt = Attempt {
            failures,
            refused,
            not_before,
        };
        Attempts::from([(name.to_owned(), attempt)])
    }

    #[allow(clippy::unnecessary_wraps, reason = "it stands beside None")]
    fn joins(name: &str, path: &str) -> Option<Action> {
        Some(Action::Join(name.into(), path.into()))
    }

    #[test]
    fn the_preferred_network_in_range_is_joined() {
        let none = Attempts::new();
        for (seen, action, says) in [
            (&[][..], None, "looking for home, yard"),
            (&[("other", "psk")], None, "looking for home, yard"),
            (
                &[("yard", "open"), ("home", "psk")],
                joins("home", "/home_psk"),
                "looking for home, yard",
            ),
            (&[("yard", "open")], joins("yard", "/yard_open"), "looking for home, yard"),
            // Another network of the same name is none of ours, and does not stand in the way of ours.
            (
                &[("home", "open")],
                None,
                "home: it is open, and the configuration has a passphrase for it",
            ),
            (
                &[("yard", "psk"), ("home", "8021x")],
                None,
                "home: networks of kind 8021x cannot be joined",
            ),
            (
                &[("yard", "psk")],
                None,
                "yard: it wants a passphrase, and the configuration has none",
            ),
            (
                &[("home", "open"), ("home", "psk")],
                joins("home", "/home_psk"),
                "looking for home, yard",
            ),
        ] {
            let decision = decide(&station("disconnected", None, seen), &asked(), &none, None, S);
            assert_eq!(decision.action, action, "{seen:?}");
            assert_eq!(decision.says.unwrap(), format!("wifi wlan0: {says}"), "{seen:?}");
        }
    }

    #[test]
    fn a_radio_in_a_network_stays_there() {
        let none = Attempts::new();
        let all = [("home", "psk"), ("yard", "open")];
        for state in ["connected", "roaming"] {
            let decision = decide(&station(state, Some("yard"), &all), &asked(), &none, None, S);
            assert_eq!(decision, Decision::default(), "also where a preferred one comes into range");
        }
        let foreign = decide(&station("connected", Some("x"), &all), &asked(), &none, None, S);
        assert_eq!(foreign.action, Some(Action::Leave));
        let off = Station {
            state: State::Off,
            ..station("", None, &[])
        };
        assert_eq!(decide(&off, &asked(), &none, None, S).action, Some(Action::SwitchOn));
        for state in ["connecting", "disconnecting"] {
            assert_eq!(decide(&station(state, None, &all), &asked(), &none, None, S).action, None);
        }
        assert_eq!(
            decide(&station("disconnected", None, &all), &[], &none, None, S),
            Decision::default()
        );
        let trying = decide(&station("disconnected", None, &all), &asked(), &none, Some("home"), S);
        assert_eq!((trying.action, trying.says.unwrap().as_str()), (None, "wifi wlan0: joining home"));
    }

    #[test]
    fn what_failed_is_said_and_does_not_keep_the_next_one_waiting() {
        let both = station("disconnected", None, &[("home", "psk"), ("yard", "open")]);
        let held = attempts("home", 2, true, 9 * S);
        let decision = decide(&both, &asked(), &held, None, S);
        assert_eq!(decision.action, joins("yard", "/yard_open"));
        assert_eq!(decision.says.unwrap(), "wifi wlan0: home: the passphrase is not accepted");
        let one = station("disconnected", None, &[("home", "psk")]);
        let decision = decide(&one, &asked(), &held, None, S);
        assert_eq!((decision.action, decision.again), (None, Some(9 * S)));
        assert_eq!(decide(&one, &asked(), &held, None, 9 * S).action, joins("home", "/home_psk"));
        let again = decide(&one, &asked(), &held, Some("home"), 9 * S);
        assert_eq!(again.says.unwrap(), "wifi wlan0: home: the passphrase is not accepted");
        let refusing = decide(&one, &asked(), &attempts("home", 1, false, 9 * S), None, S);
        assert_eq!(
            refusing.says.unwrap(),
            "wifi wlan0: home: the access point refuses; is the passphrase right?"
        );
        // Out of range there is nothing wrong with it.
        let away = decide(&station("disconnected", None, &[]), &asked(), &held, None, S);
        assert_eq!(away.says.unwrap(), "wifi wlan0: looking for home, yard");
    }

    #[test]
    fn attempts_are_spread_out_and_forgotten_by_success() {
        let mut attempts = Attempts::new();
        asked_again(&mut attempts, "home");
        assert!(attempts.is_empty(), "at first iwd may not have read the file yet");
        let mut pauses = vec![];
        for _ in 0..6 {
            after(&mut attempts, "home", Outcome::Failed, S);
            pauses.push(attempts["home"].not_before.saturating_sub(S).as_secs());
        }
        assert_eq!(pauses, [4, 8, 16, 32, 60, 60]);
        asked_again(&mut attempts, "home");
        after(&mut attempts, "home", Outcome::Failed, S);
        assert_eq!((attempts["home"].not_before, attempts["home"].refused), (31 * S, true));
        after(&mut attempts, "home", Outcome::NotTried, S);
        assert_eq!((attempts["home"].not_before, attempts["home"].failures), (3 * S, 7));
        after(&mut attempts, "home", Outcome::Joined, S);
        assert_eq!(attempts["home"], Attempt::default());
    }
}
