//! How long pods have to end when the machine goes down.
//!
//! kubelet knows this only from its configuration file, not from flags; here it is a `kubelet-arg` all the same, since that is where a
//! k3OS owner looks for it. kubelet ends ordinary pods first, then the critical ones, and lets go as soon as all are gone.

use super::arguments::Component;
use crate::Problem;
use serde_json::Value;
use std::time::Duration;

/// A pod's own default is 30 s, which it keeps.
const ALL: Duration = Duration::from_secs(40);
const CRITICAL: Duration = Duration::from_secs(10);
/// kubelet takes a moment longer than the pods: their volumes, its last word to the API.
const SLACK: Duration = Duration::from_secs(10);
/// More is not waited for.
const LONGEST: Duration = Duration::from_secs(3600);
/// Where kubelet's own configuration comes from files of the owner's, which are not read here.
const UNKNOWN: Duration = Duration::from_secs(600);

const KEY: &str = "skerry.k3s_args";

/// kubelet's `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// For all pods together; zero: kubelet ends none.
    pub all: Duration,
    /// Of it, for the critical ones, which end last.
    pub critical: Duration,
    /// The owner gives kubelet configuration files, which may say otherwise.
    pub unknown: bool,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            all: ALL,
            critical: CRITICAL,
            unknown: false,
        }
    }
}

impl Grace {
    /// How long kubelet is waited for at most.
    pub fn limit(self) -> Duration {
        if self.unknown {
            self.all.max(UNKNOWN) + SLACK
        } else {
            self.all + SLACK
        }
    }

    /// Into a kubelet's configuration.
    pub fn write(self, configuration: &mut Value) {
        configuration["shutdownGracePeriod"] = format!("{}s", self.all.as_secs()).into();
        configuration["shutdownGracePeriodCriticalPods"] = format!("{}s", self.critical.as_secs()).into();
    }

    /// Whether kubelet is waited for.
    pub fn is_wanted(self) -> bool {
        self.unknown || !self.all.is_zero()
    }
}

/// Takes what concerns the grace out of the owner's arguments.
pub fn take(args: &mut Vec<(Component, String)>) -> (Grace, Vec<Problem>) {
    let (mut grace, mut problems) = (Grace::default(), vec![]);
    let mut critical_given = false;
    args.retain(|(component, argument)| {
        if *component != Component::Kubelet {
            return true;
        }
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let field = match name {
            "shutdown-grace-period" => &mut grace.all,
            "shutdown-grace-period-critical-pods" => {
                critical_given = true;
                &mut grace.critical
            }
            "config" | "config-dir" => {
                grace.unknown = true;
                return true;
            }
            _ => return true,
        };
        match seconds(value) {
            Some(time) => *field = time,
            None => problems.push(Problem::ignored(
                KEY,
                format!("{name}={value}: not a time of at most an hour"),
                "write one like 90s or 2m; 0s ends no pod before the machine goes down",
            )),
        }
        false
    });
    if grace.critical > grace.all {
        if critical_given {
            let what = "shutdown-grace-period-critical-pods is longer than shutdown-grace-period, which it is a part of";
            problems.push(Problem::ignored(KEY, what.to_owned(), "make the whole longer"));
        }
        grace.critical = grace.all / 4;
    }
    grace.critical = Duration::from_secs(grace.critical.as_secs());
    (grace, problems)
}

/// Go's durations, in whole seconds: `90s`, `1m30s`, `0`.
fn seconds(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut sum, mut number) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' if number.len() < 6 => {
                number.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        };
        sum += number.parse::<u64>().ok()? * unit;
        number.clear();
    }
    let time = Duration::from_secs(sum);
    (!text.is_empty() && number.is_empty() && time <= LONGEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Component::{ApiServer, Kubelet};

    fn of(given: &[(Component, &str)]) -> (Grace, Vec<String>, usize) {
        let mut args: Vec<_> = given.iter().map(|(c, a)| (*c, (*a).to_owned())).collect();
        let (grace, problems) = take(&mut args);
        (grace, args.into_iter().map(|(_, a)| a).collect(), problems.len())
    }

    #[test]
    fn what_the_owner_says() {
        let s = Duration::from_secs;
        let none: &[&str] = &[];
        for (given, (all, critical, unknown), left, problems) in [
            (
                &[(Kubelet, "v=2"), (ApiServer, "shutdown-grace-period=1s")][..],
                (40, 10, false),
                &["v=2", "shutdown-grace-period=1s"][..],
                0,
            ),
            (&[(Kubelet, "shutdown-grace-period=2m")], (120, 10, false), none, 0),
            (&[(Kubelet, "shutdown-grace-period=5s")], (5, 1, false), none, 0),
            (&[(Kubelet, "shutdown-grace-period=0s")], (0, 0, false), none, 0),
            (&[(Kubelet, "shutdown-grace-period-critical-pods=1m")], (40, 10, false), none, 1),
            (
                &[
                    (Kubelet, "shutdown-grace-period=1m30s"),
                    (Kubelet, "shutdown-grace-period-critical-pods=30s"),
                ],
                (90, 30, false),
                none,
                0,
            ),
            (&[(Kubelet, "shutdown-grace-period=soon")], (40, 10, false), none, 1),
            (&[(Kubelet, "shutdown-grace-period=2h")], (40, 10, false), none, 1),
            (
                &[(Kubelet, "config-dir=/etc/kubelet.d")],
                (40, 10, true),
                &["config-dir=/etc/kubelet.d"],
                0,
            ),
        ] {
            let (grace, kept, said) = of(given);
            assert_eq!(
                (grace.all, grace.critical, grace.unknown),
                (s(all), s(critical), unknown),
                "{given:?}"
            );
            assert_eq!(
                (kept, said),
                (left.iter().map(|l| (*l).to_owned()).collect(), problems),
                "{given:?}"
            );
            assert!(grace.limit() > grace.all && (unknown || grace.critical <= grace.all));
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("1m30s", Some(90)),
            ("1h", Some(3600)),
            ("61m", None),
            ("", None),
            ("s", None),
            ("90", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text:?}");
        }
    }
}
