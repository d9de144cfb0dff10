//! What follows from the state and the time alone: starts, stops, kills, probes, and words about what takes long.

use super::entry::Probe;
use super::{Command, Entry, GIVE_UP, News, Phase, Role, SLOW, State};
use skerry_control::unit::Ready;
use std::time::Duration;

const SIGKILL: i32 = 9;

impl State {
    pub(super) fn settle(&mut self, now: Duration, out: &mut Vec<Command>) {
        let down = self.down.is_some();
        for e in &mut self.entries {
            e.kill_if_due(down, now, out);
        }
        let held = if down { self.held(now) } else { vec![] };
        // If everything that lives waits for something else that lives (a circle, made by a reload), all may stop.
        let circle = down
            && self
                .entries
                .iter()
                .enumerate()
                .all(|(at, e)| !e.is_live(now) || held.get(at) == Some(&true));
        for (at, e) in self.entries.iter_mut().enumerate() {
            e.settle_down(down, circle || held.get(at) != Some(&true), now, out);
        }
        // Only now, since a unit that was exchanged may be after others than before.
        for at in 0..self.entries.len() {
            let after_is_up = !down && self.missing(at).next().is_none();
            if let Some(e) = self.entries.get_mut(at) {
                if !down {
                    e.settle_up(after_is_up, now, out);
                }
                e.watch(down, now, out);
            }
        }
        self.entries.retain(|e| {
            let leaves = e.gone && e.phase == Phase::Stopped && matches!(e.probe, Probe::Idle(_));
            if leaves {
                out.push(Command::Remove(e.unit.name.clone()));
            }
            !leaves
        });
        if let Some(d) = &mut self.down
            && !d.finished
            && (d.forced || now >= d.until || !self.entries.iter().any(|e| e.is_live(now)))
        {
            d.finished = true;
            out.push(Command::Finish(d.how));
        }
    }

    /// The units that the one at this place waits for.
    pub(super) fn missing(&self, at: usize) -> impl Iterator<Item = &str> {
        let after = self.entries.get(at).map_or(&[][..], |e| &e.unit.after);
        after
            .iter()
            .map(String::as_str)
            .filter(|a| self.entry(a).is_some_and(|e| !e.gone && !e.is_up()))
    }

    /// Going down: for each unit, whether something that lives was started after it, by however many steps. While a unit with a
    /// farewell lives, it alone may stop.
    fn held(&self, now: Duration) -> Vec<bool> {
        if self.entries.iter().any(|e| e.unit.farewell.is_some() && e.is_live(now)) {
            return self.entries.iter().map(|e| e.unit.farewell.is_none()).collect();
        }
        let mut held = vec![false; self.entries.len()];
        let mut open: Vec<&Entry> = self.entries.iter().filter(|e| e.is_live(now)).collect();
        while let Some(late) = open.pop() {
            for (early, held) in self.entries.iter().zip(&mut held) {
                if !*held && late.unit.after.contains(&early.unit.name) {
                    *held = true;
                    open.push(early);
                }
            }
        }
        held
    }

    /// When [`super::Event::Tick`] is due, seen from the last step; none: nothing happens by time alone.
    pub fn next_due(&self, last_step: Duration) -> Option<Duration> {
        let down = self.down.filter(|d| !d.finished).map(|d| d.until);
        self.entries
            .iter()
            .flat_map(Entry::dues)
            .chain(down)
            .filter(|due| *due > last_step)
            .min()
    }
}

impl Entry {
    /// Stops what is not to run; where nothing runs, comes to rest.
    fn settle_down(&mut self, down: bool, may_stop: bool, now: Duration, out: &mut Vec<Command>) {
        if down || !self.should_run() {
            match self.phase {
                Phase::Starting { pid } | Phase::Running { pid, .. } if may_stop => {
                    let farewell = self.unit.farewell.filter(|_| down);
                    let how = farewell.map_or((self.unit.stop.signal, self.unit.stop.grace), |f| (f.signal, f.grace));
                    self.stop(pid, how, false, now, out);
                }
                Phase::Waiting | Phase::Backoff { .. } | Phase::Done { .. } | Phase::Failed { .. } | Phase::Stopped => {
                    self.rest(down, now, out);
                }
                _ => {}
            }
        }
    }

    /// Starts what is to run and may.
    fn settle_up(&mut self, after_is_up: bool, now: Duration, out: &mut Vec<Command>) {
        if !self.should_run() {
            return;
        }
        match self.phase {
            Phase::Backoff { until: due } | Phase::Done { again: Some(due) } | Phase::Failed { again: Some(due) } if due <= now => {
                self.enter(Phase::Waiting, now);
            }
            Phase::Stopped => self.enter(Phase::Waiting, now),
            _ => {}
        }
        if self.phase == Phase::Waiting && after_is_up {
            if self.has_run && self.is_tree() {
                out.push(Command::KillTree(self.unit.name.clone())); // what a run before left behind
            }
            self.enter(Phase::Launching, now);
            out.push(Command::Spawn(Box::new(self.unit.clone()), Role::Main));
        }
    }

    /// Not to run, and nothing runs: the place where a changed unit is exchanged.
    fn rest(&mut self, down: bool, now: Duration, out: &mut Vec<Command>) {
        let left_behind = self.has_run && self.is_one_shot() && self.is_tree() && !down && self.phase != Phase::Stopped;
        if left_behind {
            out.push(Command::KillTree(self.unit.name.clone()));
        }
        if let Some(unit) = self.next.take().filter(|_| !down) {
            let (wanted, has_run) = (self.wanted, self.has_run);
            let probe = self.probe;
            *self = Self {
                wanted,
                probe,
                has_run,
                ..Self::new(unit, now)
            };
        }
        self.restart = false;
        if down || self.gone || !self.wanted {
            // One-shots that are done stay so when the machine goes down: nothing of them is stopped.
            if self.phase != Phase::Stopped && !(down && matches!(self.phase, Phase::Done { .. } | Phase::Failed { .. })) {
                self.enter(Phase::Stopped, now);
            }
        } else if self.phase == Phase::Stopped {
            self.enter(Phase::Waiting, now);
        }
    }

    fn stop(&mut self, pid: u32, (signal, grace): (i32, Duration), overran: bool, now: Duration, out: &mut Vec<Command>) {
        out.push(if self.is_tree() {
            Command::SignalTree(self.unit.name.clone(), signal)
        } else {
            Command::Signal(pid, signal)
        });
        self.enter(
            Phase::Stopping {
                pid: Some(pid),
                kill_at: now + grace,
                killed: false,
                overran,
            },
            now,
        );
    }

    /// SIGKILL after the grace; and what is left of a group that not even this ends is no longer waited for.
    fn kill_if_due(&mut self, down: bool, now: Duration, out: &mut Vec<Command>) {
        let Phase::Stopping {
            pid,
            kill_at,
            ref mut killed,
            ..
        } = self.phase
        else {
            return;
        };
        if !*killed && now >= kill_at {
            *killed = true;
            if self.is_tree() {
                out.push(Command::KillTree(self.unit.name.clone()));
            }
            if let Some(pid) = pid {
                out.push(Command::Signal(pid, SIGKILL));
                out.push(self.tell(News::Killed));
            }
        } else if *killed && pid.is_none() && !down && now >= kill_at + GIVE_UP {
            self.stopped(now, out);
        }
    }

    /// Deadlines, probes, and words about what takes long.
    fn watch(&mut self, down: bool, now: Duration, out: &mut Vec<Command>) {
        let starting = if let Phase::Starting { pid } = self.phase {
            Some(pid)
        } else {
            None
        };
        if let (Some(pid), Some(limit)) = (starting, self.unit.deadline)
            && now >= self.since + limit
            && !self.overdue_told
        {
            self.overdue_told = true;
            out.push(self.tell(News::Overran(limit)));
            if self.is_one_shot() {
                self.stop(pid, (self.unit.stop.signal, self.unit.stop.grace), true, now, out);
            }
        }
        match (self.probe, starting) {
            (Probe::Idle(due), Some(_)) if due <= now && !down && !self.is_one_shot() => {
                if let Ready::Probe(argv) = &self.unit.ready {
                    let probe = skerry_control::unit::Unit {
                        argv: argv.clone(),
                        tty: None,
                        ..self.unit.clone()
                    };
                    self.probe = Probe::Launching;
                    out.push(Command::Spawn(Box::new(probe), Role::Probe));
                }
            }
            (Probe::Running { pid, main, killed: false }, starting) if starting != Some(main) => {
                self.probe = Probe::Running { pid, main, killed: true };
                out.push(Command::Signal(pid, SIGKILL));
            }
            _ => {}
        }
        if now >= self.slow_at {
            let for_long = now.saturating_sub(self.since);
            // 5 s, 15 s, 45 s, then every minute.
            self.slow_at = now + (for_long * 2).clamp(SLOW, Duration::from_secs(60));
            let doing = match self.phase {
                Phase::Starting { .. } => "starting",
                Phase::Stopping { .. } => "stopping",
                _ => return,
            };
            out.push(self.tell(News::Slow {
                doing,
                for_long,
                why: self.why.clone(),
            }));
        }
    }

    /// The times at which something happens to it by time alone; those past are settled.
    fn dues(&self) -> Vec<Duration> {
        match self.phase {
            Phase::Backoff { until } => vec![until],
            Phase::Done { again } | Phase::Failed { again } => again.into_iter().collect(),
            Phase::Stopping { kill_at, .. } => vec![kill_at, kill_at + GIVE_UP, self.slow_at],
            Phase::Starting { .. } => {
                let deadline = self.unit.deadline.map(|d| self.since + d);
                let probe = match self.probe {
                    Probe::Idle(due) if matches!(self.unit.ready, Ready::Probe(_)) => Some(due),
                    _ => None,
                };
                [deadline, probe, Some(self.slow_at)].into_iter().flatten().collect()
            }
            _ => vec![],
        }
    }
}
