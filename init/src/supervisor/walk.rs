//! Every order of events, on every small graph, to a fixed depth.

use super::tests::s;
use super::*;
use skerry_control::unit::{Farewell, Kind, Ready};

fn kinds(name: &str) -> Vec<Unit> {
    let base = Unit::service(name, name, &["/x"]);
    vec![
        base.clone(),
        Unit {
            ready: Ready::Notify,
            ..base.clone()
        },
        Unit::one_shot(name, name, &["/x"]),
        Unit {
            kind: Kind::OneShot {
                retry: true,
                every: Some(s(1)),
            },
            ..base.clone()
        },
        Unit {
            farewell: Some(Farewell { signal: 10, grace: s(55) }),
            ..base
        },
    ]
}

#[derive(Clone)]
struct World {
    state: State,
    now: Duration,
    pids: u32,
    pending: Vec<String>,
    alive: Vec<(u32, String)>,
    finished: u32,
    down: bool,
}

impl World {
    fn step(&mut self, event: Event) {
        self.down |= matches!(event, Event::Down(_));
        for command in self.state.step(event, self.now) {
            match command {
                Command::Spawn(unit, Role::Main) => {
                    assert!(!self.down, "nothing starts while going down");
                    assert!(!self.alive.iter().any(|(_, n)| *n == unit.name), "two processes of {}", unit.name);
                    assert!(!self.pending.contains(&unit.name), "{} is asked for twice", unit.name);
                    for a in &unit.after {
                        assert!(self.state.entry(a).is_none_or(Entry::is_up), "{} before {a}", unit.name);
                    }
                    self.pending.push(unit.name.clone());
                }
                Command::SignalTree(name, _) if self.down => {
                    let lasting = |e: &Entry| e.unit.farewell.is_some() && e.is_live(self.now);
                    let may = |e: &Entry| e.unit.farewell.is_some() || matches!(e.phase, Phase::Stopping { overran: true, .. });
                    let lasts = self.state.entries().iter().any(lasting);
                    assert!(
                        !lasts || self.state.entry(&name).is_some_and(may),
                        "{name} is stopped during a farewell"
                    );
                }
                Command::Finish(_) => self.finished += 1,
                _ => {}
            }
        }
        assert!(self.finished <= 1);
        for e in self.state.entries() {
            assert_eq!(
                e.pid(),
                self.alive.iter().find(|(_, n)| *n == e.unit.name).map(|(p, _)| *p),
                "{}",
                e.unit.name
            );
        }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut out = vec![Choice::Wait];
        out.extend(self.pending.first().map(|_| Choice::Spawn(true)));
        out.extend(self.pending.first().map(|_| Choice::Spawn(false)));
        for (pid, name) in &self.alive {
            out.push(Choice::Exit(*pid, 0));
            out.push(Choice::Exit(*pid, 1));
            out.push(Choice::Ready(name.clone()));
        }
        for e in self.state.entries() {
            if e.awaits_empty() {
                out.push(Choice::Empty(e.unit.name.clone()));
            }
        }
        out.push(Choice::Stop);
        out.push(Choice::Restart);
        if !self.down {
            out.push(Choice::Down);
        }
        out
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Wait => {
                self.now = self.state.next_due(self.now).unwrap_or(self.now + s(1));
                self.step(Event::Tick);
            }
            Choice::Spawn(works) => {
                let name = self.pending.remove(0);
                if works {
                    self.pids += 1;
                    self.alive.push((self.pids, name.clone()));
                    self.step(Event::Spawned {
                        name,
                        role: Role::Main,
                        pid: self.pids,
                    });
                } else {
                    self.step(Event::NotSpawned {
                        name,
                        role: Role::Main,
                        why: String::new(),
                    });
                }
            }
            Choice::Exit(pid, code) => {
                self.alive.retain(|(p, _)| *p != pid);
                self.step(Event::Exited {
                    pid,
                    exit: Exit::Code(code),
                });
            }
            Choice::Ready(name) => self.step(Event::Notified {
                name,
                ready: true,
                status: None,
            }),
            Choice::Empty(name) => self.step(Event::Empty(name)),
            Choice::Stop => self.step(Event::Stop("a".into())),
            Choice::Restart => self.step(Event::Restart("b".into())),
            Choice::Down => self.step(Event::Down(Down::Reboot)),
        }
    }

    /// From here, with nothing but time, going down comes to its end.
    fn goes_down(mut self) {
        while let Some(name) = self.pending.first().cloned() {
            self.pending.remove(0);
            self.step(Event::NotSpawned {
                name,
                role: Role::Main,
                why: String::new(),
            });
        }
        if !self.down {
            self.step(Event::Down(Down::PowerOff));
        }
        for _ in 0..100 {
            if self.finished == 1 {
                return;
            }
            self.now = self.state.next_due(self.now).expect("going down waits for nothing");
            self.step(Event::Tick);
        }
        panic!("going down does not end: {:?}", self.state);
    }
}

#[derive(Clone)]
enum Choice {
    Wait,
    Spawn(bool),
    Exit(u32, i32),
    Ready(String),
    Empty(String),
    Stop,
    Restart,
    Down,
}

fn walk(world: &World, depth: u32, count: &mut u64) {
    *count += 1;
    if depth == 0 {
        return world.clone().goes_down();
    }
    for choice in world.choices() {
        let mut next = world.clone();
        next.choose(choice);
        walk(&next, depth - 1, count);
    }
}

#[test]
fn every_order_of_events_on_every_pair() {
    let mut count = 0;
    for a in kinds("a") {
        for b in kinds("b") {
            for after in [&[][..], &["a"]] {
                let mut world = World {
                    state: State::default(),
                    now: s(1),
                    pids: 1,
                    pending: vec![],
                    alive: vec![],
                    finished: 0,
                    down: false,
                };
                world.step(Event::Plan(vec![a.clone(), b.clone().after(after)]));
                walk(&world, 5, &mut count);
            }
        }
    }
    assert!(count > 100_000, "{count} states walked");
}
