//! What each event does to the state.

use super::entry::Probe;
use super::{Command, DOWN_LIMIT, Entry, Event, GoingDown, LONG_RUN, News, Phase, Role, SLOW, State};
use skerry_control::unit::{Kind, Ready};
use skerry_sys::machine::Down;
use skerry_sys::process::Exit;
use std::time::Duration;

impl State {
    /// Takes one event; returns what is to be done, in order.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Command> {
        let mut out = vec![];
        match event {
            Event::Plan(units) => self.take_plan(&units, now, &mut out),
            Event::Spawned { name, role, pid } => self.spawned(&name, role, pid, now, &mut out),
            Event::NotSpawned { name, role, why } => self.not_spawned(&name, role, why, now, &mut out),
            Event::Exited { pid, exit } => self.exited(pid, exit, now, &mut out),
            Event::Notified { name, ready, status } => self.notified(&name, ready, status, now, &mut out),
            Event::Empty(name) => match self.entry_mut(&name) {
                Some(e) if e.awaits_empty() => e.stopped(now, &mut out),
                _ => out.push(Command::Refused(format!("{name} is not being stopped"))),
            },
            Event::Start(name) => self.order(&name, now, &mut out, |e, now, _| e.start(now)),
            Event::Stop(name) => self.order(&name, now, &mut out, |e, _, _| e.wanted = false),
            Event::Restart(name) => self.order(&name, now, &mut out, |e, now, _| {
                if e.is_live(now) {
                    (e.wanted, e.restart, e.failures) = (true, true, 0);
                } else {
                    e.start(now);
                }
            }),
            Event::Down(how) => self.go_down(how, now),
            Event::Tick => {}
        }
        self.settle(now, &mut out);
        out
    }

    fn order(&mut self, name: &str, now: Duration, out: &mut Vec<Command>, act: fn(&mut Entry, Duration, &mut Vec<Command>)) {
        if self.down.is_some() {
            out.push(Command::Refused("the machine is going down".to_owned()));
        } else if let Some(e) = self.entry_mut(name).filter(|e| !e.gone) {
            act(e, now, out);
        } else {
            out.push(Command::Refused(format!("there is no unit {name}; `skerry services` lists them")));
        }
    }

    fn go_down(&mut self, how: Down, now: Duration) {
        let farewells = self.entries.iter().filter(|e| e.is_live(now)).filter_map(|e| e.unit.farewell);
        let farewell = farewells.map(|f| f.grace).max().unwrap_or_default();
        match &mut self.down {
            Some(d) => (d.how, d.forced) = (how, true),
            None => {
                self.down = Some(GoingDown {
                    how,
                    until: now + farewell + DOWN_LIMIT,
                    forced: false,
                    finished: false,
                });
            }
        }
    }

    fn spawned(&mut self, name: &str, role: Role, pid: u32, now: Duration, out: &mut Vec<Command>) {
        let taken = self
            .entries
            .iter()
            .any(|e| e.pid() == Some(pid) || matches!(e.probe, Probe::Running { pid: p, .. } if p == pid));
        let Some(e) = self.entry_mut(name).filter(|_| !taken) else {
            return out.push(Command::Refused(format!("process {pid} of {name} is not expected")));
        };
        match role {
            Role::Main if e.phase == Phase::Launching => {
                out.push(e.tell(News::Started(pid)));
                e.has_run = true;
                e.probe = match e.probe {
                    Probe::Idle(_) => Probe::Idle(now),
                    busy => busy, // one of the run before, about to end
                };
                if e.is_one_shot() || e.unit.ready != Ready::Started {
                    e.enter(Phase::Starting { pid }, now);
                } else {
                    e.enter(Phase::Running { pid, started: now }, now);
                    e.came_up(now);
                    out.push(e.tell(News::Ready));
                }
            }
            Role::Probe if e.probe == Probe::Launching => {
                e.probe = Probe::Running {
                    pid,
                    main: e.pid().unwrap_or(0),
                    killed: false,
                };
            }
            _ => out.push(Command::Refused(format!("process {pid} of {name} is not expected"))),
        }
    }

    fn not_spawned(&mut self, name: &str, role: Role, why: String, now: Duration, out: &mut Vec<Command>) {
        match self.entry_mut(name) {
            Some(e) if role == Role::Main && e.phase == Phase::Launching => e.ended_badly(why, false, now, out),
            Some(e) if role == Role::Probe && e.probe == Probe::Launching => {
                e.probe = Probe::Idle(now + super::PROBE_PAUSE);
                e.why = why;
            }
            _ => out.push(Command::Refused(format!("no process of {name} was asked for"))),
        }
    }

    fn exited(&mut self, pid: u32, exit: Exit, now: Duration, out: &mut Vec<Command>) {
        if let Some(e) = self.entries.iter_mut().find(|e| e.pid() == Some(pid)) {
            return e.main_exited(exit, now, out);
        }
        for e in &mut self.entries {
            if let Probe::Running { pid: p, main, .. } = e.probe
                && p == pid
            {
                e.probe = Probe::Idle(now + super::PROBE_PAUSE);
                if e.phase == (Phase::Starting { pid: main }) && exit.is_success() {
                    e.is_ready(main, now, out);
                }
                return;
            }
        }
        out.push(Command::Refused(format!("process {pid} is of no unit")));
    }

    fn notified(&mut self, name: &str, ready: bool, status: Option<String>, now: Duration, out: &mut Vec<Command>) {
        let Some(e) = self.entry_mut(name).filter(|e| e.pid().is_some()) else {
            return out.push(Command::Refused(format!("{name} sent word, but does not run")));
        };
        if let Some(text) = status {
            e.why = text;
        }
        if let Phase::Starting { pid } = e.phase
            && ready
            && e.unit.ready == Ready::Notify
            && !e.is_one_shot()
        {
            e.is_ready(pid, now, out);
        }
    }
}

impl Entry {
    fn start(&mut self, now: Duration) {
        self.wanted = true;
        self.failures = 0;
        if matches!(
            self.phase,
            Phase::Stopped | Phase::Failed { .. } | Phase::Done { .. } | Phase::Backoff { .. }
        ) {
            self.enter(Phase::Waiting, now);
        }
    }

    fn is_ready(&mut self, pid: u32, now: Duration, out: &mut Vec<Command>) {
        let started = self.since;
        self.enter(Phase::Running { pid, started }, now);
        self.came_up(now);
        out.push(self.tell(News::Ready));
    }

    fn main_exited(&mut self, exit: Exit, now: Duration, out: &mut Vec<Command>) {
        match self.phase {
            Phase::Stopping { .. } if !self.is_tree() => self.stopped(now, out),
            Phase::Stopping { ref mut pid, .. } => *pid = None,
            _ if self.is_one_shot() && exit.is_success() => {
                let again = self.again(now);
                let first = self.first_up.is_none();
                self.enter(Phase::Done { again }, now);
                self.came_up(now);
                self.failures = 0;
                self.why.clear();
                if first {
                    out.push(self.tell(News::Done));
                }
            }
            Phase::Running { started, .. } => {
                let long = now.saturating_sub(started) >= LONG_RUN;
                self.ended_badly(exit.to_string(), long, now, out);
            }
            _ => {
                let long = now.saturating_sub(self.since) >= LONG_RUN;
                self.ended_badly(exit.to_string(), long, now, out);
            }
        }
    }

    fn again(&self, now: Duration) -> Option<Duration> {
        match self.unit.kind {
            Kind::OneShot { every, .. } => every.map(|e| now + e),
            Kind::Service => None,
        }
    }

    /// It ended, though it should not have: a service in any way, a one-shot with other than 0.
    pub(super) fn ended_badly(&mut self, why: String, after_long_run: bool, now: Duration, out: &mut Vec<Command>) {
        if after_long_run {
            self.failures = 0;
        }
        if self.is_tree() && !self.is_one_shot() {
            out.push(Command::KillTree(self.unit.name.clone()));
        }
        let show_log = self.failures < 3 || self.failures % 10 == 0;
        let again = if let Kind::OneShot { retry: false, .. } = self.unit.kind {
            self.failures = self.failures.saturating_add(1);
            self.came_up(now);
            let again = self.again(now);
            self.enter(Phase::Failed { again }, now);
            None
        } else {
            let pause = self.next_backoff();
            self.restarts += 1;
            self.enter(Phase::Backoff { until: now + pause }, now);
            Some(pause)
        };
        self.why.clone_from(&why);
        out.push(self.tell(News::Failed { why, again, show_log }));
    }

    /// Its last process is gone, as was wanted. What comes next, [`State::settle`] decides.
    pub(super) fn stopped(&mut self, now: Duration, out: &mut Vec<Command>) {
        if let Phase::Stopping { overran: true, .. } = self.phase {
            let limit = self.unit.deadline.unwrap_or(SLOW);
            return self.ended_badly(format!("took longer than {} s and was stopped", limit.as_secs()), false, now, out);
        }
        self.restart = false;
        self.enter(Phase::Stopped, now);
        self.why.clear();
        out.push(self.tell(News::Stopped));
    }
}
