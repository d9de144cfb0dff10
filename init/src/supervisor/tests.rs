//! The rules of `control::unit`, one by one.

use super::*;
use skerry_control::unit::{Farewell, Kind, Ready, Scope, Stop};

pub(super) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn service(name: &str, after: &[&str]) -> Unit {
    Unit::service(name, name, &["/x"]).after(after)
}

fn one_shot(name: &str, after: &[&str]) -> Unit {
    Unit::one_shot(name, name, &["/x"]).after(after)
}

/// A state and a world in which every spawn succeeds, pid by pid.
struct World {
    state: State,
    now: Duration,
    next_pid: u32,
    /// Names (with `?` for probes) in the order of their start.
    started: Vec<String>,
    out: Vec<Command>,
}

impl World {
    fn new(plan: &[Unit]) -> Self {
        let mut w = Self {
            state: State::default(),
            now: s(1),
            next_pid: 100,
            started: vec![],
            out: vec![],
        };
        w.step(Event::Plan(plan.to_vec()));
        w
    }

    fn step(&mut self, event: Event) -> &mut Self {
        self.out.clear();
        let mut open = vec![event];
        while let Some(event) = open.pop() {
            for command in self.state.step(event, self.now) {
                if let Command::Spawn(unit, role) = &command {
                    self.next_pid += 1;
                    self.started.push(if *role == Role::Main {
                        unit.name.clone()
                    } else {
                        format!("{}?", unit.name)
                    });
                    open.push(Event::Spawned {
                        name: unit.name.clone(),
                        role: *role,
                        pid: self.next_pid,
                    });
                }
                self.out.push(command);
            }
        }
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.step(Event::Tick)
    }

    fn pid(&self, name: &str) -> u32 {
        self.state.entry(name).unwrap().pid().unwrap()
    }

    fn exit(&mut self, name: &str, code: i32) -> &mut Self {
        let pid = self.pid(name);
        self.step(Event::Exited {
            pid,
            exit: Exit::Code(code),
        })
    }

    fn ready(&mut self, name: &str) -> &mut Self {
        self.step(Event::Notified {
            name: name.into(),
            ready: true,
            status: None,
        })
    }

    fn phase(&self, name: &str) -> &'static str {
        self.state
            .status()
            .iter()
            .find(|u| u.name == name)
            .map_or("absent", |u| u.state.word())
    }

    fn take_started(&mut self) -> Vec<String> {
        std::mem::take(&mut self.started)
    }
}

#[test]
fn units_start_when_what_they_are_after_is_up() {
    let mut notify = service("net", &["setup", "absent"]);
    notify.ready = Ready::Notify;
    let mut w = World::new(&[
        one_shot("setup", &[]),
        notify,
        service("ssh", &["net"]),
        service("getty", &["setup"]),
    ]);
    assert_eq!(w.take_started(), ["setup"]);
    w.exit("setup", 0);
    assert_eq!(w.take_started(), ["net", "getty"]);
    assert_eq!(w.state.status()[2].waits_for, ["net"]);
    assert_eq!(w.state.word(), "starting");
    w.ready("net");
    assert_eq!(w.take_started(), ["ssh"]);
    assert_eq!((w.phase("ssh"), w.state.word()), ("running", "running"));
}

#[test]
fn a_failed_one_shot_does_not_hold_the_rest() {
    let mut w = World::new(&[one_shot("a", &[]), service("b", &["a"])]);
    w.exit("a", 3);
    assert_eq!((w.phase("a"), w.phase("b"), w.state.word()), ("failed", "running", "degraded"));
    assert_eq!(w.state.entry("a").unwrap().why, "ended with exit code 3");
}

#[test]
fn a_retried_one_shot_holds_the_rest_until_it_succeeds() {
    let mut a = one_shot("a", &[]);
    a.kind = Kind::OneShot { retry: true, every: None };
    let mut w = World::new(&[a, service("b", &["a"])]);
    w.exit("a", 1);
    assert_eq!((w.phase("a"), w.phase("b")), ("backoff", "waiting"));
    w.wait(ms(200)).exit("a", 0);
    assert_eq!((w.phase("a"), w.phase("b")), ("done", "running"));
}

#[test]
fn restarts_back_off_and_never_end() {
    let mut w = World::new(&[service("a", &[])]);
    let mut pauses = vec![];
    for _ in 0..12 {
        w.exit("a", 1);
        let due = w.state.next_due(w.now).unwrap();
        let pause = due.saturating_sub(w.now);
        pauses.push(pause.as_millis());
        w.wait(pause);
        assert_eq!(w.phase("a"), "running");
    }
    assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000, 30000]);
    w.wait(s(60)).exit("a", 0);
    assert_eq!(
        w.state.next_due(w.now),
        Some(w.now + ms(200)),
        "a minute of running makes the failures forgotten"
    );
    assert_eq!(w.state.entry("a").unwrap().restarts, 13);
}

#[test]
fn a_dead_service_is_not_up_but_stops_nobody() {
    let mut w = World::new(&[service("a", &[]), service("b", &["a"])]);
    w.exit("a", 1);
    assert_eq!((w.phase("a"), w.phase("b")), ("backoff", "running"));
    w.exit("b", 1);
    w.wait(ms(199));
    assert_eq!(w.phase("b"), "backoff");
    w.wait(ms(1));
    assert_eq!((w.phase("a"), w.phase("b")), ("running", "running"));
}

#[test]
fn a_probe_is_asked_until_it_says_yes() {
    let mut a = service("a", &[]);
    a.ready = Ready::Probe(vec!["/probe".into()]);
    let mut w = World::new(&[a, service("b", &["a"])]);
    assert_eq!(w.take_started(), ["a", "a?"]);
    let probe = w.next_pid;
    w.step(Event::Exited {
        pid: probe,
        exit: Exit::Code(1),
    });
    assert_eq!(w.state.next_due(w.now), Some(w.now + ms(250)));
    w.wait(ms(250));
    assert_eq!(w.take_started(), ["a?"]);
    let probe = w.next_pid;
    w.step(Event::Exited {
        pid: probe,
        exit: Exit::Code(0),
    });
    assert_eq!(w.take_started(), ["b"]);
}

#[test]
fn a_probe_of_the_process_before_does_not_count() {
    let mut a = service("a", &[]);
    a.ready = Ready::Probe(vec!["/probe".into()]);
    let mut w = World::new(&[a]);
    let probe = w.next_pid;
    w.exit("a", 1);
    assert!(w.out.contains(&Command::Signal(probe, 9)));
    w.wait(ms(200));
    assert_eq!(w.take_started(), ["a", "a?", "a"], "no second probe beside the first");
    w.step(Event::Exited {
        pid: probe,
        exit: Exit::Code(0),
    });
    assert_eq!(w.phase("a"), "starting");
    w.wait(ms(250));
    assert_eq!(w.take_started(), ["a?"]);
}

#[test]
fn a_slow_service_is_named_and_left_alone() {
    let mut a = service("a", &[]);
    (a.ready, a.deadline) = (Ready::Notify, Some(s(30)));
    let mut w = World::new(&[a]);
    w.step(Event::Notified {
        name: "a".into(),
        ready: false,
        status: Some("no carrier on eth0".into()),
    });
    assert_eq!(w.state.next_due(w.now), Some(s(6)));
    w.wait(s(5));
    let told: Vec<_> = w
        .out
        .iter()
        .filter_map(|c| if let Command::Tell(t) = c { Some(&t.news) } else { None })
        .collect();
    assert_eq!(
        told,
        [&News::Slow {
            doing: "starting",
            for_long: s(5),
            why: "no carrier on eth0".into()
        }]
    );
    w.wait(s(25));
    assert!(w.out.iter().any(|c| matches!(
        c,
        Command::Tell(Tell {
            news: News::Overran(_),
            ..
        })
    )));
    w.wait(s(1));
    assert!(
        !w.out.iter().any(|c| matches!(
            c,
            Command::Tell(Tell {
                news: News::Overran(_),
                ..
            })
        )),
        "once"
    );
    assert_eq!(w.phase("a"), "starting");
    w.ready("a");
    assert_eq!(w.phase("a"), "running");
}

#[test]
fn a_slow_one_shot_is_stopped_then_killed_and_counts_as_failed() {
    let mut a = one_shot("a", &[]);
    a.deadline = Some(s(20));
    let mut w = World::new(&[a, service("b", &["a"])]);
    w.wait(s(20));
    assert!(w.out.contains(&Command::SignalTree("a".into(), 15)));
    w.wait(s(10));
    assert!(w.out.contains(&Command::KillTree("a".into())));
    let pid = w.pid("a");
    w.step(Event::Exited {
        pid,
        exit: Exit::Signal(9),
    });
    assert_eq!((w.phase("a"), w.phase("b")), ("stopping", "waiting"), "its group is not empty yet");
    w.step(Event::Empty("a".into()));
    assert_eq!((w.phase("a"), w.phase("b")), ("failed", "running"));
    assert_eq!(w.state.entry("a").unwrap().why, "took longer than 20 s and was stopped");
}

#[test]
fn a_one_shot_may_run_again_and_again() {
    let mut a = one_shot("a", &[]);
    a.kind = Kind::OneShot {
        retry: false,
        every: Some(s(600)),
    };
    let mut w = World::new(&[a]);
    for _ in 0..3 {
        w.exit("a", 0);
        assert_eq!(w.state.next_due(w.now), Some(w.now + s(600)));
        assert_eq!((w.phase("a"), w.take_started().len()), ("done", 1));
        w.wait(s(600));
    }
}

#[test]
fn the_owner_stops_starts_and_restarts() {
    let mut w = World::new(&[service("a", &[])]);
    w.step(Event::Stop("a".into()));
    assert!(w.out.contains(&Command::SignalTree("a".into(), 15)));
    w.exit("a", 0).step(Event::Empty("a".into()));
    assert_eq!(w.phase("a"), "stopped");
    w.wait(s(1000));
    assert_eq!(w.phase("a"), "stopped");
    w.step(Event::Start("a".into()));
    assert_eq!(w.phase("a"), "running");
    w.step(Event::Restart("a".into())).exit("a", 0).step(Event::Empty("a".into()));
    assert_eq!((w.phase("a"), w.take_started().len()), ("running", 3));
    assert!(matches!(w.step(Event::Stop("b".into())).out[..], [Command::Refused(_)]));
    w.exit("a", 1).step(Event::Start("a".into()));
    assert_eq!(w.phase("a"), "running", "a start clears the backoff");
}

#[test]
fn main_only_leaves_the_children() {
    let mut a = service("containerd", &[]);
    a.stop = Stop {
        scope: Scope::MainOnly,
        signal: 15,
        grace: s(10),
    };
    let mut w = World::new(&[a]);
    let pid = w.pid("containerd");
    w.step(Event::Restart("containerd".into()));
    assert!(w.out.contains(&Command::Signal(pid, 15)));
    w.exit("containerd", 0);
    assert_eq!(w.phase("containerd"), "running");
    w.exit("containerd", 1).wait(s(1));
    let tree = |c: &Command| matches!(c, Command::KillTree(_) | Command::SignalTree(..));
    assert!(!w.out.iter().any(tree));
}

#[test]
fn a_reload_touches_only_what_changed() {
    let mut w = World::new(&[
        service("same", &[]),
        service("changed", &[]),
        service("gone", &[]),
        one_shot("once", &[]),
    ]);
    w.exit("once", 0).take_started();
    let mut changed = service("changed", &["new"]);
    changed.argv.push("-v".into());
    w.step(Event::Plan(vec![
        service("new", &[]),
        changed,
        service("same", &["new"]),
        one_shot("once", &[]),
    ]));
    assert_eq!(w.take_started(), ["new"]);
    assert_eq!(
        (w.phase("changed"), w.phase("gone"), w.phase("same")),
        ("stopping", "stopping", "running")
    );
    w.exit("changed", 0)
        .exit("gone", 0)
        .step(Event::Empty("changed".into()))
        .step(Event::Empty("gone".into()));
    assert!(w.out.contains(&Command::Remove("gone".into())));
    assert_eq!(w.take_started(), ["changed"]);
    assert_eq!((w.phase("gone"), w.phase("once")), ("absent", "done"));
    assert_eq!(w.state.entry("changed").unwrap().unit.argv, ["/x", "-v"]);
}

#[test]
fn a_circle_is_refused() {
    let mut w = World::new(&[service("a", &[])]);
    w.step(Event::Plan(vec![service("b", &["c"]), service("c", &["b"])]));
    assert!(matches!(&w.out[..], [Command::Refused(why)] if why.contains("b, c")));
    assert_eq!(w.phase("a"), "running");
}

#[test]
fn going_down_is_the_way_up_in_reverse() {
    let mut w = World::new(&[service("a", &[]), one_shot("m", &["a"]), service("b", &["m"]), service("c", &[])]);
    w.exit("m", 0).step(Event::Down(Down::PowerOff));
    assert_eq!(["a", "b", "c"].map(|n| w.phase(n)), ["running", "stopping", "stopping"]);
    w.exit("b", 0).exit("c", 0).step(Event::Empty("c".into()));
    assert_eq!(w.phase("a"), "running", "b's group is not empty");
    w.step(Event::Empty("b".into()));
    assert_eq!(w.phase("a"), "stopping");
    w.exit("a", 0).step(Event::Empty("a".into()));
    assert!(w.out.contains(&Command::Finish(Down::PowerOff)));
    w.wait(s(1000));
    assert_eq!(w.out, []);
}

fn with_farewell(mut unit: Unit) -> Unit {
    unit.farewell = Some(Farewell { signal: 10, grace: s(55) });
    unit
}

#[test]
fn who_has_a_farewell_goes_first_and_all_else_waits() {
    let plan = [
        with_farewell(service("herald", &["a"])),
        service("a", &[]),
        service("b", &["herald"]),
        one_shot("m", &[]),
    ];
    let mut w = World::new(&plan);
    let herald = "herald".to_owned();
    w.step(Event::Down(Down::Reboot));
    assert_eq!(w.out, [Command::SignalTree(herald.clone(), 10)]);
    w.wait(s(54));
    assert_eq!(
        ["herald", "a", "b", "m"].map(|n| w.phase(n)),
        ["stopping", "running", "running", "starting"]
    );
    w.exit("herald", 0).step(Event::Empty(herald));
    assert_eq!(
        ["a", "b", "m"].map(|n| w.phase(n)),
        ["running", "stopping", "stopping"],
        "then the way up in reverse: b came after a, by the herald"
    );
    assert!(w.out.contains(&Command::SignalTree("b".into(), 15)));
}

#[test]
fn a_farewell_is_bounded_and_only_for_going_down() {
    let mut w = World::new(&[with_farewell(service("herald", &[])), service("a", &[])]);
    w.step(Event::Restart("herald".into()));
    assert!(w.out.contains(&Command::SignalTree("herald".into(), 15)), "its own signal");
    w.exit("herald", 0).step(Event::Empty("herald".into()));
    w.step(Event::Down(Down::Reboot)).wait(s(55));
    assert!(w.out.contains(&Command::KillTree("herald".into())));
    assert_eq!(w.phase("a"), "running");
    w.wait(GIVE_UP);
    assert_eq!(w.phase("a"), "stopping", "a process that cannot be killed holds nobody");
}

#[test]
fn without_the_herald_nothing_waits_and_a_second_order_ends_its_farewell() {
    let mut w = World::new(&[with_farewell(service("herald", &[])), service("a", &[])]);
    w.exit("herald", 1).step(Event::Down(Down::Reboot));
    assert_eq!((w.phase("herald"), w.phase("a")), ("stopped", "stopping"));
    let mut w = World::new(&[with_farewell(service("herald", &[])), service("a", &[])]);
    w.step(Event::Down(Down::Reboot)).step(Event::Down(Down::PowerOff));
    assert!(w.out.contains(&Command::Finish(Down::PowerOff)));
}

#[test]
fn a_second_order_to_go_down_forces_it() {
    let mut w = World::new(&[service("a", &[])]);
    w.step(Event::Down(Down::PowerOff)).step(Event::Down(Down::Reboot));
    assert!(w.out.contains(&Command::Finish(Down::Reboot)));
}

#[test]
fn going_down_ends_though_a_process_cannot_be_killed() {
    let mut w = World::new(&[service("a", &[]), service("b", &["a"])]);
    w.step(Event::Down(Down::Reboot));
    for _ in 0..50 {
        if w.out.contains(&Command::Finish(Down::Reboot)) {
            break;
        }
        let due = w.state.next_due(w.now).unwrap();
        let pause = due.saturating_sub(w.now);
        w.wait(pause);
    }
    assert!(w.out.contains(&Command::Finish(Down::Reboot)));
    assert_eq!(w.now, s(31), "two graces of 10 s, and 5 s each after SIGKILL");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut w = World::new(&[service("a", &[])]);
    let pid = w.pid("a");
    let before = w.state.clone();
    for event in [
        Event::Spawned {
            name: "a".into(),
            role: Role::Main,
            pid: 7,
        },
        Event::Spawned {
            name: "a".into(),
            role: Role::Probe,
            pid,
        },
        Event::Spawned {
            name: "z".into(),
            role: Role::Main,
            pid: 7,
        },
        Event::NotSpawned {
            name: "a".into(),
            role: Role::Main,
            why: "no".into(),
        },
        Event::Exited {
            pid: 7,
            exit: Exit::Code(0),
        },
        Event::Notified {
            name: "z".into(),
            ready: true,
            status: None,
        },
        Event::Empty("a".into()),
        Event::Start("z".into()),
    ] {
        w.step(event.clone());
        assert!(matches!(w.out[..], [Command::Refused(_)]), "{event:?}: {:?}", w.out);
        assert_eq!(w.state, before, "{event:?}");
    }
}
