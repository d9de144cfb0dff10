//! Is this system as healthy as the one before it was? Pure: looks go in, a verdict comes out.
//!
//! A new system need not be perfect, it must be no worse: what was up before must be up, where there was a default route there must be
//! one, and the owner's configuration must mean as much as it did. All of it must stay so for a while (the soak) before the system is
//! good, and must be so before the limit is over.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where the units of a boot came from, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// The owner's configuration.
    #[default]
    Config,
    /// The last good one.
    LastGood,
    /// Login and network, and nothing else.
    BuiltIn,
}

impl Plan {
    /// As PID 1 names it.
    pub fn from_word(word: &str) -> Self {
        match word {
            "config" => Self::Config,
            "last-good" => Self::LastGood,
            _ => Self::BuiltIn,
        }
    }
}

/// What was up in the system before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Baseline {
    /// Where its units came from.
    pub plan: Plan,
    /// Services that ran, and one-shots that were done.
    pub up: BTreeSet<String>,
    /// There was a way out of its network.
    pub has_route: bool,
    /// How many keys of the configuration it did not understand.
    pub dropped: usize,
    /// There was room on the data partition.
    #[serde(default)]
    pub has_room: bool,
}

/// One unit, at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// A service that runs, or a one-shot that is done.
    pub is_up: bool,
    /// It waits for another one, which is then the one to name.
    pub waits: bool,
    /// How often it was started again after an end of its own.
    pub restarts: u64,
    /// Why it is as it is, in words.
    pub why: String,
}

/// What was seen at one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// PID 1 did not say how it is.
    pub is_mute: bool,
    /// Where the units came from; `None` while they are being planned.
    pub plan: Option<Plan>,
    /// All of them.
    pub units: Vec<Unit>,
    /// There is a way out of the network.
    pub has_route: bool,
    /// How many keys of the configuration are not understood.
    pub dropped: usize,
    /// There is room on the data partition.
    pub has_room: bool,
    /// The owner's probes that failed: name, and what it said.
    pub probes: Vec<(String, String)>,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Seconds from the start of the machine in which it must have become good.
    pub limit_s: u64,
    /// Seconds for which all must stay as it should be.
    pub soak_s: u64,
}

impl Default for Rule {
    /// Ten minutes; a minute.
    fn default() -> Self {
        Self { limit_s: 600, soak_s: 60 }
    }
}

/// A check that a system did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its name: a unit's, `configuration`, `default-route`, `data-room`, `probe NAME`, `boot`.
    pub check: String,
    /// What was seen.
    pub why: String,
}

impl Failed {
    /// A check and what was seen.
    pub fn new(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            why: why.into(),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.check, self.why)
    }
}

/// What follows from the looks up to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has proven itself.
    Good,
    /// All is well, and has to stay so for this long.
    Soaking(Duration),
    /// Not yet: what is missing.
    Wait(Vec<Failed>),
    /// It will not become good, or had its time.
    Failed(Failed),
}

/// The looks of one boot.
#[derive(Debug)]
pub struct Watch {
    baseline: Option<Baseline>,
    rule: Rule,
    /// Since when all is well, and how often units had been restarted by then.
    well: Option<(Duration, u64)>,
}

impl Watch {
    /// Without a baseline, every unit must be up.
    pub fn new(baseline: Option<Baseline>, rule: Rule) -> Self {
        Self {
            baseline,
            rule,
            well: None,
        }
    }

    /// Takes in a look; `now` is the time since the start of the machine.
    pub fn take(&mut self, look: &Look, now: Duration) -> Verdict {
        if let Some(failed) = self.hopeless(look) {
            return Verdict::Failed(failed);
        }
        let missing = self.missing(look);
        let restarts = look.units.iter().filter(|u| self.counts(u)).map(|u| u.restarts).sum();
        self.well = match self.well {
            _ if !missing.is_empty() => None,
            // What fell and came back within the soak begins it anew.
            Some((since, before)) if before == restarts => Some((since, restarts)),
            _ => Some((now, restarts)),
        };
        let soak = Duration::from_secs(self.rule.soak_s);
        match (self.well, missing.into_iter().next()) {
            (Some((since, _)), _) if now.saturating_sub(since) >= soak => Verdict::Good,
            (None, Some(first)) if now >= Duration::from_secs(self.rule.limit_s) => Verdict::Failed(first),
            (Some((since, _)), _) => {
                // A system that is restless up to the limit gets one soak more, and no second one.
                if now >= Duration::from_secs(self.rule.limit_s) + soak {
                    return Verdict::Failed(Failed::new("soak", "services end and are started again"));
                }
                Verdict::Soaking(soak.saturating_sub(now.saturating_sub(since)))
            }
            (None, first) => Verdict::Wait(first.into_iter().chain(self.missing(look).into_iter().skip(1)).collect()),
        }
    }

    /// What no waiting will mend.
    fn hopeless(&self, look: &Look) -> Option<Failed> {
        let (plan, baseline) = (look.plan?, self.baseline.as_ref()?);
        if plan > baseline.plan {
            let why = match plan {
                Plan::LastGood => "it could not use the configuration, and runs with the last good one",
                _ => "it could not use any configuration",
            };
            return Some(Failed::new("configuration", why));
        }
        if look.dropped > baseline.dropped {
            let why = format!(
                "it does not understand {} of the configuration's keys, and the system before it did not understand {}",
                look.dropped, baseline.dropped
            );
            return Some(Failed::new("configuration", why));
        }
        None
    }

    fn counts(&self, unit: &Unit) -> bool {
        self.baseline.as_ref().is_none_or(|b| b.up.contains(&unit.name))
    }

    fn missing(&self, look: &Look) -> Vec<Failed> {
        if look.is_mute {
            return vec![Failed::new("init", "PID 1 does not answer")];
        }
        let Some(plan) = look.plan else {
            return vec![Failed::new("boot", "the configuration is not read yet")];
        };
        let mut down: Vec<&Unit> = look.units.iter().filter(|u| !u.is_up && self.counts(u)).collect();
        // The first one is named as the reason: one that ends again and again rather than what waits for it.
        down.sort_by_key(|u| (u.waits, u.restarts == 0));
        let mut missing: Vec<Failed> = down
            .into_iter()
            .map(|u| {
                let why = if u.why.is_empty() { "it is not up" } else { u.why.as_str() };
                Failed::new(u.name.clone(), why)
            })
            .collect();
        if self.baseline.as_ref().is_none_or(|b| b.has_route) && !look.has_route && !(self.baseline.is_none() && plan == Plan::BuiltIn) {
            missing.push(Failed::new("default-route", "there is no way out of the network"));
        }
        if self.baseline.as_ref().is_some_and(|b| b.has_room) && !look.has_room {
            missing.push(Failed::new("data-room", "the data partition is full, and was not before"));
        }
        missing.extend(
            look.probes
                .iter()
                .map(|(name, said)| Failed::new(format!("probe {name}"), said.clone())),
        );
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { limit_s: 100, soak_s: 10 };

    #[test]
    fn a_pid_1_that_says_nothing_is_not_one_that_plans() {
        let look = Look {
            is_mute: true,
            ..Look::default()
        };
        let mut watch = Watch::new(None, RULE);
        let said = |watch: &mut Watch, look: &Look| watch.take(look, Duration::from_secs(200));
        assert!(matches!(said(&mut watch, &look), Verdict::Failed(f) if f.check == "init"));
        assert!(matches!(said(&mut watch, &Look::default()), Verdict::Failed(f) if f.check == "boot"));
    }

    #[test]
    fn the_culprit_is_named_and_not_who_waits_for_it() {
        let mut waiting = unit("processor-drivers", false);
        waiting.waits = true;
        let mut culprit = unit("kubelet", false);
        culprit.restarts = 7;
        let look = Look {
            plan: Some(Plan::Config),
            units: vec![waiting, unit("kube-ready", false), culprit],
            has_route: true,
            has_room: true,
            ..Look::default()
        };
        let names: Vec<String> = Watch::new(None, RULE).missing(&look).into_iter().map(|f| f.check).collect();
        assert_eq!(names, ["kubelet", "kube-ready", "processor-drivers"]);
    }

    fn unit(name: &str, is_up: bool) -> Unit {
        Unit {
            name: name.into(),
            is_up,
            waits: false,
            restarts: 0,
            why: String::new(),
        }
    }

    fn baseline(up: &[&str]) -> Baseline {
        Baseline {
            up: up.iter().map(|u| (*u).to_owned()).collect(),
            has_route: true,
            has_room: true,
            ..Baseline::default()
        }
    }

    fn look(units: &[(&str, bool)]) -> Look {
        Look {
            plan: Some(Plan::Config),
            units: units.iter().map(|(name, is_up)| unit(name, *is_up)).collect(),
            has_route: true,
            has_room: true,
            ..Look::default()
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn good_after_the_soak() {
        let mut watch = Watch::new(Some(baseline(&["sshd", "kube-ready"])), RULE);
        let early = look(&[("sshd", true), ("kube-ready", false)]);
        assert_eq!(
            watch.take(&early, at(1)),
            Verdict::Wait(vec![Failed::new("kube-ready", "it is not up")])
        );
        let well = look(&[("sshd", true), ("kube-ready", true), ("new", false)]);
        assert_eq!(watch.take(&well, at(20)), Verdict::Soaking(at(10)));
        assert_eq!(watch.take(&well, at(29)), Verdict::Soaking(at(1)));
        assert_eq!(watch.take(&well, at(30)), Verdict::Good);
    }

    #[test]
    fn what_falls_within_the_soak_begins_it_anew() {
        let mut watch = Watch::new(Some(baseline(&["sshd"])), RULE);
        let mut well = look(&[("sshd", true)]);
        watch.take(&well, at(0));
        well.units[0].restarts = 1;
        assert_eq!(watch.take(&well, at(9)), Verdict::Soaking(at(10)));
        assert!(matches!(watch.take(&look(&[("sshd", false)]), at(10)), Verdict::Wait(_)));
        assert_eq!(watch.take(&well, at(11)), Verdict::Soaking(at(10)));
        assert_eq!(watch.take(&well, at(21)), Verdict::Good);
    }

    #[test]
    fn the_limit() {
        let failed = |look: &Look| {
            let mut watch = Watch::new(Some(baseline(&["sshd"])), RULE);
            assert!(matches!(watch.take(look, at(99)), Verdict::Wait(_)));
            match watch.take(look, at(100)) {
                Verdict::Failed(failed) => failed.check,
                other => format!("{other:?}"),
            }
        };
        let well = look(&[("sshd", true)]);
        assert_eq!(failed(&look(&[("sshd", false)])), "sshd");
        let probe = vec![("till".to_owned(), "no answer".to_owned())];
        assert_eq!(
            failed(&Look {
                has_route: false,
                ..well.clone()
            }),
            "default-route"
        );
        assert_eq!(
            failed(&Look {
                has_room: false,
                ..well.clone()
            }),
            "data-room"
        );
        assert_eq!(
            failed(&Look {
                probes: probe,
                ..well.clone()
            }),
            "probe till"
        );
        assert_eq!(
            failed(&Look {
                plan: None,
                ..well.clone()
            }),
            "boot"
        );
        // Well just before it: the soak may go on beyond the limit.
        let mut watch = Watch::new(Some(baseline(&["sshd"])), RULE);
        watch.take(&well, at(95));
        assert!(matches!(watch.take(&well, at(101)), Verdict::Soaking(_)));
        assert_eq!(watch.take(&well, at(105)), Verdict::Good);
    }

    #[test]
    fn restlessness_ends() {
        let mut watch = Watch::new(Some(baseline(&["sshd"])), RULE);
        let mut restless = look(&[("sshd", true)]);
        for now in 0..110 {
            restless.units[0].restarts += 1;
            assert!(matches!(watch.take(&restless, at(now)), Verdict::Soaking(_)), "{now}");
        }
        restless.units[0].restarts += 1;
        assert_eq!(
            watch.take(&restless, at(110)),
            Verdict::Failed(Failed::new("soak", "services end and are started again"))
        );
    }

    #[test]
    fn a_worse_configuration_fails_at_once() {
        let well = look(&[("sshd", true)]);
        for (before, now, dropped, fails) in [
            (Plan::Config, Plan::LastGood, 0, true),
            (Plan::Config, Plan::BuiltIn, 0, true),
            (Plan::LastGood, Plan::LastGood, 0, false),
            (Plan::LastGood, Plan::Config, 0, false),
            (Plan::Config, Plan::Config, 1, true),
        ] {
            let baseline = Baseline {
                plan: before,
                ..baseline(&["sshd"])
            };
            let look = Look {
                plan: Some(now),
                dropped,
                ..well.clone()
            };
            let verdict = Watch::new(Some(baseline), RULE).take(&look, at(1));
            assert_eq!(matches!(verdict, Verdict::Failed(_)), fails, "{before:?} {now:?} {dropped}");
        }
    }

    #[test]
    fn without_a_baseline_everything_must_be_up() {
        let mut watch = Watch::new(None, RULE);
        assert!(matches!(
            watch.take(&look(&[("sshd", true), ("x", false)]), at(1)),
            Verdict::Wait(_)
        ));
        watch.take(&look(&[("sshd", true), ("x", true)]), at(2));
        assert_eq!(watch.take(&look(&[("sshd", true), ("x", true)]), at(12)), Verdict::Good);
    }
}
