//! One unit and where it stands.

use super::{BACKOFF_FIRST, BACKOFF_MOST, Command, GIVE_UP, News, SLOW, Tell};
use skerry_control::unit::{Kind, Scope, Unit};
use std::time::Duration;

/// Where a unit stands. Times are since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not started: something in `after` is not up.
    Waiting,
    /// A process was asked for.
    Launching,
    /// It runs, and is not ready; or a one-shot that runs.
    Starting {
        /// Main process.
        pid: u32,
    },
    /// A service that is ready.
    Running {
        /// Main process.
        pid: u32,
        /// When this process was started.
        started: Duration,
    },
    /// Ended; to be started again.
    Backoff {
        /// Then.
        until: Duration,
    },
    /// It was told to stop.
    Stopping {
        /// Main process; none once it is gone.
        pid: Option<u32>,
        /// When SIGKILL follows, or followed.
        kill_at: Duration,
        /// SIGKILL was sent.
        killed: bool,
        /// It is stopped for taking too long, not on request.
        overran: bool,
    },
    /// Stopped by the owner, or since the machine goes down.
    Stopped,
    /// A one-shot that ended with 0.
    Done {
        /// It runs again then.
        again: Option<Duration>,
    },
    /// A one-shot that failed and is not retried.
    Failed {
        /// It runs again then.
        again: Option<Duration>,
    },
}

/// The program that asks whether a service is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// None runs; the next is due then.
    Idle(Duration),
    /// A process was asked for.
    Launching,
    /// It runs, and asks on behalf of this main process.
    Running { pid: u32, main: u32, killed: bool },
}

/// One unit and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what is wanted of a unit is independent of where it stands; each says one thing"
)]
pub struct Entry {
    /// What runs, or is to run.
    pub unit: Unit,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Duration,
    /// When it was first up. A one-shot that has been up stays up.
    pub first_up: Option<Duration>,
    /// How often it was started again after an end of its own.
    pub restarts: u64,
    /// Why it stands there.
    pub why: String,
    pub(super) next: Option<Unit>,
    pub(super) wanted: bool,
    pub(super) gone: bool,
    pub(super) restart: bool,
    pub(super) failures: u32,
    pub(super) probe: Probe,
    pub(super) slow_at: Duration,
    pub(super) overdue_told: bool,
    pub(super) has_run: bool,
}

impl Entry {
    pub(super) fn new(unit: Unit, now: Duration) -> Self {
        Self {
            unit,
            phase: Phase::Waiting,
            since: now,
            first_up: None,
            restarts: 0,
            why: String::new(),
            next: None,
            wanted: true,
            gone: false,
            restart: false,
            failures: 0,
            probe: Probe::Idle(now),
            slow_at: now + SLOW,
            overdue_told: false,
            has_run: false,
        }
    }

    /// Whether what is `after` it may start.
    pub fn is_up(&self) -> bool {
        match self.unit.kind {
            Kind::Service => matches!(self.phase, Phase::Running { .. }),
            Kind::OneShot { .. } => self.first_up.is_some(),
        }
    }

    /// The main process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        match self.phase {
            Phase::Starting { pid } | Phase::Running { pid, .. } => Some(pid),
            Phase::Stopping { pid, .. } => pid,
            _ => None,
        }
    }

    /// Whether its main process is gone and the rest of its group is awaited.
    pub fn awaits_empty(&self) -> bool {
        matches!(self.phase, Phase::Stopping { pid: None, .. })
    }

    pub(super) fn is_one_shot(&self) -> bool {
        self.unit.kind != Kind::Service
    }

    pub(super) fn is_tree(&self) -> bool {
        self.unit.stop.scope == Scope::Tree
    }

    /// Whether it should have a process, as far as it alone is concerned.
    pub(super) fn should_run(&self) -> bool {
        self.wanted && !self.gone && !self.restart && self.next.is_none()
    }

    /// Whether something of it runs that going down has to wait for.
    pub(super) fn is_live(&self, now: Duration) -> bool {
        match self.phase {
            Phase::Launching | Phase::Starting { .. } | Phase::Running { .. } => true,
            Phase::Stopping { kill_at, killed, .. } => !killed || now < kill_at + GIVE_UP,
            _ => false,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.since = now;
        self.slow_at = now + SLOW;
        self.overdue_told = false;
    }

    pub(super) fn came_up(&mut self, now: Duration) {
        self.first_up = self.first_up.or(Some(now));
    }

    /// The pause before the next start, counting one more failure.
    pub(super) fn next_backoff(&mut self) -> Duration {
        let pause = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MOST);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    pub(super) fn tell(&self, news: News) -> Command {
        Command::Tell(Tell {
            name: self.unit.name.clone(),
            title: self.unit.title.clone(),
            quiet: self.unit.quiet,
            news,
        })
    }
}
