//! Who is to be waited for, and for how long. Pure: no bus, no clock.
//!
//! ```text
//!            Leave, someone holds                 the last one lets go, or time is up
//!   Idle ─────────────────────────► Leaving ─────────────────────────────────────────► Over
//!     └────────────────────────────── Leave, nobody holds ─────────────────────────────►
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

/// The most who may hold a shutdown at a time.
pub const MOST: usize = 16;

/// Who asked to be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// Its name for itself: `kubelet`.
    pub who: String,
    /// For a person.
    pub why: String,
}

/// Why an inhibitor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Only a shutdown is announced here.
    NotShutdown,
    /// A shutdown can be delayed, not forbidden.
    NotDelay,
    /// It has begun.
    Leaving,
    /// There are [`MOST`] already.
    TooMany,
}

impl Refusal {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotShutdown => "only \"shutdown\" can be delayed here",
            Self::NotDelay => "a shutdown can be delayed, not blocked: ask for the mode \"delay\"",
            Self::Leaving => "the shutdown has begun",
            Self::TooMany => "too many wait for the shutdown already",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The machine goes down.
    Leave,
    /// This one let go, or ended.
    Released(u32),
    /// Time has passed.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Say `PrepareForShutdown(true)`.
    Announce,
    /// End: nobody is waited for any longer. Those who still hold are named.
    End(Vec<String>),
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Leaving { until: Duration },
    Over,
}

/// All who hold, and whether the machine goes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    limit: Duration,
    phase: Phase,
    holders: BTreeMap<u32, Inhibitor>,
    count: u32,
}

impl Shutdown {
    /// Nobody holds. Once the machine goes down, nobody is waited for longer than `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            phase: Phase::Idle,
            holders: BTreeMap::new(),
            count: 0,
        }
    }

    /// Takes an inhibitor; its number.
    pub fn take(&mut self, what: &str, mode: &str, inhibitor: Inhibitor) -> Result<u32, Refusal> {
        if what != "shutdown" {
            return Err(Refusal::NotShutdown);
        }
        if mode != "delay" {
            return Err(Refusal::NotDelay);
        }
        if self.is_leaving() {
            return Err(Refusal::Leaving);
        }
        if self.holders.len() >= MOST {
            return Err(Refusal::TooMany);
        }
        self.count = self.count.wrapping_add(1);
        self.holders.insert(self.count, inhibitor);
        Ok(self.count)
    }

    /// What follows from an event.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Step> {
        let mut out = vec![];
        match event {
            Event::Leave if self.phase == Phase::Idle => {
                self.phase = Phase::Leaving { until: now + self.limit };
                out.push(Step::Announce);
            }
            Event::Released(number) => drop(self.holders.remove(&number)),
            Event::Leave | Event::Tick => {}
        }
        if let Phase::Leaving { until } = self.phase
            && (self.holders.is_empty() || now >= until)
        {
            self.phase = Phase::Over;
            out.push(Step::End(self.names()));
        }
        out
    }

    /// When [`Event::Tick`] is due.
    pub fn due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Leaving { until } => Some(until),
            _ => None,
        }
    }

    /// Whether the machine goes down.
    pub fn is_leaving(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// How long it waits at most.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// All who hold.
    pub fn holders(&self) -> impl Iterator<Item = &Inhibitor> {
        self.holders.values()
    }

    /// One line for a person; empty: nobody is waited for.
    pub fn words(&self) -> String {
        match (self.phase, self.names().join(", ")) {
            (_, names) if names.is_empty() => String::new(),
            (Phase::Idle, names) => format!("{names} is told of a shutdown first"),
            (_, names) => format!("waiting for {names} to end the pods, {} s at most", self.limit.as_secs()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.holders.values().map(|h| h.who.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(50);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn kubelet() -> Inhibitor {
        Inhibitor {
            who: "kubelet".into(),
            why: "Kubelet needs time to handle node shutdown".into(),
        }
    }

    #[test]
    fn with_nobody_to_wait_for_it_ends_at_once() {
        let mut shutdown = Shutdown::new(LIMIT);
        assert_eq!(shutdown.step(Event::Leave, s(1)), [Step::Announce, Step::End(vec![])]);
        assert_eq!(shutdown.step(Event::Leave, s(2)), [], "once");
    }

    #[test]
    fn the_last_one_to_let_go_ends_it() {
        let mut shutdown = Shutdown::new(LIMIT);
        let (a, b) = (
            shutdown.take("shutdown", "delay", kubelet()),
            shutdown.take("shutdown", "delay", kubelet()),
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(shutdown.due(), None);
        assert_eq!(shutdown.step(Event::Leave, s(1)), [Step::Announce]);
        assert_eq!(shutdown.step(Event::Leave, s(2)), [], "it is announced once");
        assert_eq!(shutdown.step(Event::Released(a), s(3)), []);
        assert_eq!(shutdown.due(), Some(s(51)), "the second order does not move the limit");
        assert_eq!(shutdown.step(Event::Released(b), s(4)), [Step::End(vec![])]);
        assert_eq!(shutdown.due(), None);
    }

    #[test]
    fn who_does_not_let_go_is_named_and_left() {
        let mut shutdown = Shutdown::new(LIMIT);
        shutdown.take("shutdown", "delay", kubelet()).unwrap();
        shutdown.step(Event::Leave, s(1));
        assert_eq!(shutdown.words(), "waiting for kubelet to end the pods, 50 s at most");
        assert_eq!(shutdown.step(Event::Tick, s(50)), []);
        assert_eq!(shutdown.step(Event::Tick, s(51)), [Step::End(vec!["kubelet".into()])]);
        assert_eq!(shutdown.step(Event::Tick, s(52)), []);
    }

    #[test]
    fn letting_go_before_means_nothing() {
        let mut shutdown = Shutdown::new(LIMIT);
        let a = shutdown.take("shutdown", "delay", kubelet()).unwrap();
        assert_eq!(shutdown.words(), "kubelet is told of a shutdown first");
        assert_eq!(shutdown.step(Event::Released(a), s(1)), []);
        assert_eq!(shutdown.step(Event::Released(a), s(1)), [], "nor does a number that is not there");
        assert_eq!(shutdown.words(), "");
    }

    #[test]
    fn what_is_refused() {
        let mut shutdown = Shutdown::new(LIMIT);
        for (what, mode, refusal) in [
            ("sleep", "delay", Refusal::NotShutdown),
            ("shutdown:sleep", "delay", Refusal::NotShutdown),
            ("shutdown", "block", Refusal::NotDelay),
        ] {
            assert_eq!(shutdown.take(what, mode, kubelet()), Err(refusal), "{what} {mode}");
        }
        for _ in 0..MOST {
            shutdown.take("shutdown", "delay", kubelet()).unwrap();
        }
        assert_eq!(shutdown.take("shutdown", "delay", kubelet()), Err(Refusal::TooMany));
        shutdown.step(Event::Leave, s(1));
        assert_eq!(shutdown.take("shutdown", "delay", kubelet()), Err(Refusal::Leaving));
    }

    /// Every order of five events, with up to two holders.
    #[test]
    fn it_is_announced_once_ends_once_and_always() {
        fn walk(shutdown: &Shutdown, now: u64, depth: u32, (announced, ended): (u32, u32), count: &mut u32) {
            assert!(announced <= 1 && ended <= announced, "{shutdown:?}");
            *count += 1;
            if depth == 0 {
                let mut last = shutdown.clone();
                let mut steps = last.step(Event::Leave, s(now));
                steps.extend(last.due().map(|due| last.step(Event::Tick, due)).into_iter().flatten());
                let ends = steps.iter().filter(|s| matches!(s, Step::End(_))).count();
                assert_eq!(u32::try_from(ends).unwrap() + ended, 1, "{last:?}");
                return;
            }
            for choice in 0..6 {
                let mut next = shutdown.clone();
                let steps = match choice {
                    0 => next.take("shutdown", "delay", kubelet()).map_or(vec![], |_| vec![]),
                    1 | 2 => next.step(Event::Released(choice), s(now)),
                    3 => next.step(Event::Leave, s(now)),
                    4 => next.step(Event::Tick, s(now)),
                    _ => next.step(Event::Tick, s(now + 50)),
                };
                let said = |wanted: fn(&Step) -> bool| u32::try_from(steps.iter().filter(|s| wanted(s)).count()).unwrap();
                let sums = (
                    announced + said(|s| *s == Step::Announce),
                    ended + said(|s| matches!(s, Step::End(_))),
                );
                walk(&next, now + 1 + 50 * u64::from(choice == 5), depth - 1, sums, count);
            }
        }
        let mut count = 0;
        walk(&Shutdown::new(LIMIT), 1, 5, (0, 0), &mut count);
        assert!(count > 9000, "{count} states walked");
    }
}
