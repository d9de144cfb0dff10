//! The pipes that units print into, and the keeper (`init logd`) at their other end.

use crate::logd::Order;
use crate::voice::Voice;
use skerry_control::unit::{Kind, Unit};
use skerry_sys::process::{self, Exit, Program};
use skerry_sys::{cgroup, socket};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The keeper is started again this long after it ended: it must not be missed for long, or services wait on full pipes.
const PAUSE: Duration = Duration::from_millis(500);
/// Orders that the keeper has not taken yet; more than this, and it hangs.
const MAX_QUEUE: usize = 4096;

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    small: bool,
}

/// All pipes, and the keeper.
pub struct Logs {
    pipes: BTreeMap<String, Pipe>,
    keeper: Option<(u32, OwnedFd)>,
    start_at: Option<Duration>,
    queue: VecDeque<Order>,
    files: bool,
    group: Option<cgroup::Cgroup>,
}

impl Logs {
    /// None yet.
    pub fn new() -> Self {
        Self {
            pipes: BTreeMap::new(),
            keeper: None,
            start_at: None,
            queue: VecDeque::new(),
            files: false,
            group: None,
        }
    }

    /// Starts the keeper and gives it every pipe.
    pub fn start_keeper(&mut self, now: Duration) {
        self.start_at = Some(now + PAUSE);
        if self.group.is_none() {
            self.group = cgroup::Cgroup::create(&format!("{}/logd", super::groups::ABOVE)).ok();
        }
        let Ok((ours, theirs)) = socket::pair() else { return };
        let argv = ["init".to_owned(), "logd".to_owned()];
        let program = Program {
            argv: &argv,
            file: Some("/proc/self/exe"),
            cgroup: self.group.as_ref().map(AsFd::as_fd),
            pass: Some(theirs.as_fd()),
            oom_score: -900,
            ..Program::default()
        };
        let Ok(pid) = process::spawn(&program) else { return };
        self.start_at = None;
        self.keeper = Some((pid, ours));
        // What was not said before comes after the pipes.
        let waiting = std::mem::take(&mut self.queue);
        for (name, pipe) in &self.pipes {
            self.queue.push_back(Order::Unit {
                name: name.clone(),
                small: pipe.small,
            });
        }
        if self.files {
            self.queue.push_back(Order::Files);
        }
        self.queue
            .extend(waiting.into_iter().filter(|o| !matches!(o, Order::Unit { .. } | Order::Files)));
        self.flush();
    }

    /// Whether this was the keeper; it is started again.
    pub fn keeper_ended(&mut self, pid: u32, exit: Exit, now: Duration, voice: &Voice) -> bool {
        if self.keeper.as_ref().is_none_or(|(k, _)| *k != pid) {
            return false;
        }
        voice.alarm(&format!("The keeper of logs {exit}; it is started again"));
        self.keeper = None;
        self.start_at = Some(now + PAUSE);
        true
    }

    /// Starts the keeper when that is due, and says what could not be said before.
    pub fn look_after(&mut self, now: Duration) {
        if self.start_at.is_some_and(|at| at <= now) {
            self.start_keeper(now);
        }
        self.flush();
    }

    /// When [`Logs::look_after`] is due.
    pub fn next_due(&self) -> Option<Duration> {
        let waiting = !self.queue.is_empty() && self.keeper.is_some();
        let soon = waiting.then(|| skerry_sys::machine::uptime() + Duration::from_millis(50));
        [self.start_at, soon].into_iter().flatten().min()
    }

    /// The end of a unit's pipe that it prints into; made at its first start. None (nothing is kept) if there are no descriptors left.
    pub fn pipe_of(&mut self, unit: &Unit, now: Duration) -> Option<OwnedFd> {
        if unit.tty.is_some() {
            return None;
        }
        if !self.pipes.contains_key(&unit.name) {
            let (read, write) = process::pipe().ok()?;
            let small = unit.kind != Kind::Service;
            self.pipes.insert(unit.name.clone(), Pipe { read, write, small });
            self.order(Order::Unit {
                name: unit.name.clone(),
                small,
            });
        }
        if self.keeper.is_none() && self.start_at.is_none() {
            self.start_at = Some(now);
        }
        self.pipes.get(&unit.name)?.write.try_clone().ok()
    }

    /// Puts a line of ours into a unit's log.
    pub fn note(&mut self, name: &str, text: &str) {
        if self.pipes.contains_key(name) {
            let text = text.replace(['\n', '\r'], " ");
            self.order(Order::Note(
                name.to_owned(),
                format!("{text}, at {:.2} s", skerry_sys::machine::uptime().as_secs_f64()),
            ));
        }
    }

    /// Prints the last lines of a unit's log on the console.
    pub fn show(&mut self, name: &str, lines: usize) {
        if self.pipes.contains_key(name) {
            self.order(Order::Show(name.to_owned(), lines));
        }
    }

    /// The storage is set up: logs may go to files.
    pub fn files_are_there(&mut self) {
        self.files = true;
        self.order(Order::Files);
    }

    /// A unit is gone for good.
    pub fn remove(&mut self, name: &str) {
        if self.pipes.remove(name).is_some() {
            self.order(Order::Gone(name.to_owned()));
        }
    }

    fn order(&mut self, order: Order) {
        self.queue.push_back(order);
        self.flush();
    }

    fn flush(&mut self) {
        let Some((pid, fd)) = &self.keeper else {
            self.queue.truncate(MAX_QUEUE);
            return;
        };
        while let Some(order) = self.queue.front() {
            let with = match order {
                Order::Unit { name, .. } => self.pipes.get(name).map(|p| p.read.as_fd()),
                _ => None,
            };
            if socket::send(fd, order.encode().as_bytes(), with).is_err() {
                break;
            }
            self.queue.pop_front();
        }
        if self.queue.len() > MAX_QUEUE {
            let _ = process::kill(*pid, 9); // it hangs; its successor starts anew
            self.queue.clear();
        }
    }
}
