//! What is to run, what runs, and what to do about the difference. Pure: no clock, process or file is touched here.
//!
//! [`State::step`] takes one [`Event`] and the time, and returns [`Command`]s for the loop around it. Every unit is in one [`Phase`],
//! which carries what that phase knows:
//!
//! ```text
//!            after is up        forked            ready, or a one-shot's exit 0
//!  Waiting ─────────────► Launching ──► Starting ───────────────► Running / Done
//!     ▲                       │            │ │                       │
//!     │ backoff over          │ no fork    │ │ ended badly           │ ended
//!  Backoff ◄──────────────────┴────────────┼─┴───────────────────────┘      Failed: a one-shot that is not retried
//!                                          │ not wanted, changed, overran
//!                                          ▼
//!                                       Stopping ──► Stopped / Waiting / Failed / removed
//! ```
//!
//! Going down is the way up in reverse, but for units with a farewell: they are told first, and nothing else is stopped before they
//! have ended.
//!
//! Promises, walked and property-tested below: a unit never has two main processes; it is never started before all of its `after`
//! is up; while a farewell lasts no other unit is stopped; going down always ends; an event that cannot be is refused and changes
//! nothing.

mod entry;
mod plan;
#[cfg(test)]
mod properties;
mod settle;
mod status;
mod step;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use entry::{Entry, Phase};

use skerry_control::unit::Unit;
use skerry_sys::machine::Down;
use skerry_sys::process::Exit;
use std::time::Duration;

/// First pause before a unit is started again; doubled with each failure in a row.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
pub const BACKOFF_MOST: Duration = Duration::from_secs(30);
/// A run of this length makes the failures before it forgotten.
pub const LONG_RUN: Duration = Duration::from_secs(60);
/// Pause between two probes.
pub const PROBE_PAUSE: Duration = Duration::from_millis(250);
/// A wait longer than this is told on the console.
pub const SLOW: Duration = Duration::from_secs(5);
/// So long after SIGKILL a process that is still there is no longer waited for when going down.
pub const GIVE_UP: Duration = Duration::from_secs(5);
/// Going down takes no longer than this and the longest farewell, whatever the units' graces add up to.
pub const DOWN_LIMIT: Duration = Duration::from_secs(180);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These are the units now: start what is new, stop what is gone, restart what changed.
    Plan(Vec<Unit>),
    /// The process that [`Command::Spawn`] asked for is there.
    Spawned {
        /// Whose.
        name: String,
        /// Main process or probe.
        role: Role,
        /// Its number.
        pid: u32,
    },
    /// It could not be made.
    NotSpawned {
        /// Whose.
        name: String,
        /// Main process or probe.
        role: Role,
        /// Why.
        why: String,
    },
    /// A process ended and was reaped.
    Exited {
        /// Its number.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// A unit's process sent word.
    Notified {
        /// Whose.
        name: String,
        /// `READY=1`.
        ready: bool,
        /// `STATUS=`.
        status: Option<String>,
    },
    /// Nothing runs in the unit's group any more (told while it is stopping and its main process is gone).
    Empty(String),
    /// The owner wants it started, now.
    Start(String),
    /// The owner wants it stopped until started.
    Stop(String),
    /// The owner wants it stopped, then started.
    Restart(String),
    /// The machine goes down. A second one forces it.
    Down(Down),
    /// Time has passed.
    Tick,
}

/// Which of a unit's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The unit's own.
    Main,
    /// Asks whether it is ready.
    Probe,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start a process of this unit and answer with [`Event::Spawned`] or [`Event::NotSpawned`].
    Spawn(Box<Unit>, Role),
    /// Send a signal to one process.
    Signal(u32, i32),
    /// Send a signal to all in a unit's group.
    SignalTree(String, i32),
    /// Kill all in a unit's group.
    KillTree(String),
    /// The unit is gone for good: remove its group, end its log.
    Remove(String),
    /// Tell the person at the console.
    Tell(Tell),
    /// All is stopped: unmount, and leave.
    Finish(Down),
    /// The event was refused; why.
    Refused(String),
}

/// One line for the console, and the unit's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    /// Unit.
    pub name: String,
    /// What a person reads.
    pub title: String,
    /// Not for the console.
    pub quiet: bool,
    /// What about it.
    pub news: News,
}

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Its process is there (pid).
    Started(u32),
    /// A service is up.
    Ready,
    /// A one-shot ended well.
    Done,
    /// It ended, or could not start; how, and how long until it is started again.
    Failed {
        /// How it ended.
        why: String,
        /// Started again after this; none: it stays down.
        again: Option<Duration>,
        /// Show the last lines of its log.
        show_log: bool,
    },
    /// Something takes long.
    Slow {
        /// What it does: "starting", "stopping".
        doing: &'static str,
        /// For so long.
        for_long: Duration,
        /// What it waits for, as far as known.
        why: String,
    },
    /// It overran its deadline.
    Overran(Duration),
    /// It did not heed its stop signal, and was killed.
    Killed,
    /// It was stopped.
    Stopped,
}

/// All units, and whether the machine goes down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    entries: Vec<Entry>,
    down: Option<GoingDown>,
}

/// The machine is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GoingDown {
    how: Down,
    /// Nothing is waited for any longer.
    until: Duration,
    forced: bool,
    finished: bool,
}

impl State {
    /// All units.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// One unit.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.unit.name == name)
    }

    /// Whether the machine is going down.
    pub fn is_going_down(&self) -> bool {
        self.down.is_some()
    }

    fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.unit.name == name)
    }
}
