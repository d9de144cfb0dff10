//! Any sequence of events, sensible or not, on any plan of up to six units.

use super::tests::{ms, s};
use super::*;
use proptest::prelude::*;
use skerry_control::unit::{Farewell, Kind, Ready, Scope};
use std::collections::BTreeMap;

const FAREWELL: Duration = s(55);

#[derive(Debug, Clone)]
enum Do {
    Plan(Vec<Unit>),
    /// Answer the oldest spawn that waits for one.
    Answer(bool),
    Exit(usize, Exit),
    Ready(usize),
    Empty(usize),
    Wait(u64),
    Due,
    Start(usize),
    Stop(usize),
    Restart(usize),
    Nonsense(u32, usize),
    Down,
}

fn name(n: usize) -> String {
    format!("u{n}")
}

fn unit(n: usize) -> impl Strategy<Value = Unit> {
    let after = proptest::collection::vec(0..n + 2, 0..3);
    (after, 0..3u8, 0..6u8, any::<bool>(), 0..2u8).prop_map(move |(after, ready, kind, tree, argument)| {
        let mut u = Unit::service(&name(n), "x", &["/x", &argument.to_string()]);
        u.after = after.into_iter().map(name).collect();
        u.ready = match ready {
            0 => Ready::Started,
            1 => Ready::Notify,
            _ => Ready::Probe(vec!["/p".into()]),
        };
        u.kind = match kind {
            0 | 1 | 5 => Kind::Service,
            2 => Kind::OneShot { retry: false, every: None },
            3 => Kind::OneShot { retry: true, every: None },
            _ => Kind::OneShot {
                retry: false,
                every: Some(s(2)),
            },
        };
        u.stop.scope = if tree { Scope::Tree } else { Scope::MainOnly };
        u.farewell = (kind == 5).then_some(Farewell {
            signal: 10,
            grace: FAREWELL,
        });
        u.deadline = (ready == 1).then_some(s(3));
        u
    })
}

fn plan() -> impl Strategy<Value = Vec<Unit>> {
    (unit(0), unit(1), unit(2), unit(3), unit(4), unit(5), 1..64u8).prop_map(|(a, b, c, d, e, f, mask)| {
        [a, b, c, d, e, f]
            .into_iter()
            .enumerate()
            .filter(|(n, _)| mask & (1 << n) != 0)
            .map(|(_, u)| u)
            .collect()
    })
}

fn action() -> impl Strategy<Value = Do> {
    prop_oneof![
        1 => plan().prop_map(Do::Plan),
        10 => Just(Do::Answer(true)),
        2 => Just(Do::Answer(false)),
        6 => (0..8usize, prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(9))]).prop_map(|(n, e)| Do::Exit(n, e)),
        4 => (0..6usize).prop_map(Do::Ready),
        4 => (0..6usize).prop_map(Do::Empty),
        4 => (0..9000u64).prop_map(Do::Wait),
        6 => Just(Do::Due),
        1 => (0..7usize).prop_map(Do::Start),
        1 => (0..7usize).prop_map(Do::Stop),
        1 => (0..7usize).prop_map(Do::Restart),
        1 => (1..12u32, 0..7usize).prop_map(|(p, n)| Do::Nonsense(p, n)),
        1 => Just(Do::Down),
    ]
}

#[derive(Default)]
struct World {
    state: State,
    now: Duration,
    pids: u32,
    pending: Vec<(String, Role)>,
    alive: BTreeMap<u32, (String, Role)>,
    finished: u32,
    down: bool,
}

impl World {
    fn step(&mut self, event: Event) {
        let wants_down = matches!(event, Event::Down(_));
        let was = self.state.clone();
        let commands = self.state.step(event, self.now);
        self.down |= wants_down;
        for command in commands {
            match command {
                Command::Spawn(unit, role) => {
                    let same = |other: &(String, Role)| *other == (unit.name.clone(), role);
                    assert!(
                        !self.alive.values().any(same) && !self.pending.iter().any(same),
                        "two of {} {role:?}",
                        unit.name
                    );
                    if role == Role::Main {
                        assert!(!self.down, "{} starts while going down", unit.name);
                        for a in &unit.after {
                            assert!(self.state.entry(a).is_none_or(|e| e.gone || e.is_up()), "{} before {a}", unit.name);
                        }
                    }
                    self.pending.push((unit.name.clone(), role));
                }
                Command::Finish(_) => self.finished += 1,
                Command::Signal(pid, _) => assert!(self.alive.contains_key(&pid), "a signal to {pid}, which is gone"),
                Command::SignalTree(name, _) | Command::KillTree(name) => {
                    let trees = [&was, &self.state].map(|s| s.entry(&name).is_some_and(Entry::is_tree));
                    assert!(trees.contains(&true), "the children of {name} are to survive");
                }
                _ => {}
            }
        }
        let stopped =
            |e: &&Entry| e.unit.farewell.is_none() && !e.is_one_shot() && was.entry(&e.unit.name).is_some_and(|w| w.phase != e.phase);
        let begins = |e: &Entry| {
            matches!(
                e.phase,
                Phase::Stopping {
                    killed: false,
                    pid: Some(_),
                    ..
                }
            )
        };
        if self.down && self.state.entries.iter().any(|e| e.unit.farewell.is_some() && e.is_live(self.now)) {
            let early = self.state.entries.iter().filter(stopped).find(|e| begins(e));
            assert!(early.is_none(), "stopped during a farewell: {early:?}");
        }
        assert!(self.finished <= u32::from(self.down));
        for e in &self.state.entries {
            let main = self
                .alive
                .iter()
                .find(|(_, v)| **v == (e.unit.name.clone(), Role::Main))
                .map(|(p, _)| *p);
            assert_eq!(e.pid(), main, "{}", e.unit.name);
        }
        let due = self.state.next_due(self.now);
        assert!(due.is_none_or(|d| d > self.now), "a time-out of nothing would spin");
    }

    fn act(&mut self, action: Do) {
        match action {
            Do::Plan(units) => self.step(Event::Plan(units)),
            Do::Answer(works) => {
                if self.pending.is_empty() {
                    return;
                }
                let (name, role) = self.pending.remove(0);
                if works {
                    self.pids += 1;
                    self.alive.insert(self.pids, (name.clone(), role));
                    self.step(Event::Spawned {
                        name,
                        role,
                        pid: self.pids,
                    });
                } else {
                    self.step(Event::NotSpawned {
                        name,
                        role,
                        why: "no".into(),
                    });
                }
            }
            Do::Exit(n, exit) => {
                if let Some(pid) = self.alive.keys().nth(n).copied() {
                    self.alive.remove(&pid);
                    self.step(Event::Exited { pid, exit });
                }
            }
            Do::Ready(n) => self.step(Event::Notified {
                name: name(n),
                ready: true,
                status: None,
            }),
            Do::Empty(n) => self.step(Event::Empty(name(n))),
            Do::Wait(millis) => {
                self.now += ms(millis);
                self.step(Event::Tick);
            }
            Do::Due => {
                self.now = self.state.next_due(self.now).unwrap_or(self.now + ms(1));
                self.step(Event::Tick);
            }
            Do::Start(n) => self.step(Event::Start(name(n))),
            Do::Stop(n) => self.step(Event::Stop(name(n))),
            Do::Restart(n) => self.step(Event::Restart(name(n))),
            Do::Nonsense(pid, n) => {
                if !self.alive.contains_key(&pid) {
                    self.step(Event::Exited { pid, exit: Exit::Code(0) });
                }
                if !self.pending.contains(&(name(n), Role::Main)) {
                    self.step(Event::Spawned {
                        name: name(n),
                        role: Role::Main,
                        pid: 9999,
                    });
                }
            }
            Do::Down => self.step(Event::Down(Down::Reboot)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(2000)))]
    #[test]
    fn whatever_happens(first in plan(), actions in proptest::collection::vec(action(), 0..80)) {
        let mut w = World { now: s(1), pids: 1, ..World::default() };
        w.step(Event::Plan(first));
        for action in actions {
            w.act(action);
        }
        // And with nothing but time, going down ends.
        while !w.pending.is_empty() {
            w.act(Do::Answer(false));
        }
        if !w.down {
            w.act(Do::Down);
        }
        let began = w.now;
        for _ in 0..2000 {
            if w.finished == 1 {
                break;
            }
            w.now = w.state.next_due(w.now).expect("going down waits for nothing");
            w.step(Event::Tick);
        }
        prop_assert_eq!(w.finished, 1);
        prop_assert!(w.now <= began + FAREWELL + DOWN_LIMIT);
    }
}
