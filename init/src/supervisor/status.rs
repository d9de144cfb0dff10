//! The state as a person asks for it.

use super::{Entry, Phase, State};
use skerry_control::reply::{self, UnitStatus};
use std::time::Duration;

impl State {
    /// Every unit, as the control socket tells it.
    pub fn status(&self) -> Vec<UnitStatus> {
        (0..self.entries.len())
            .filter_map(|at| Some(self.unit_status(at, self.entries.get(at)?)))
            .collect()
    }

    fn unit_status(&self, at: usize, e: &Entry) -> UnitStatus {
        let state = state(e);
        UnitStatus {
            name: e.unit.name.clone(),
            title: e.unit.title.clone(),
            state,
            one_shot: e.is_one_shot(),
            pid: e.pid(),
            since: millis(e.since),
            restarts: e.restarts,
            waits_for: if state == reply::State::Waiting {
                self.missing(at).map(str::to_owned).collect()
            } else {
                vec![]
            },
            why: e.why.clone(),
            first_up: e.first_up.map(millis),
        }
    }

    /// The machine in one word: `starting`, `running`, `degraded`, `stopping`.
    pub fn word(&self) -> &'static str {
        let wanted = || self.entries.iter().filter(|e| e.wanted && !e.gone);
        if self.down.is_some() {
            "stopping"
        } else if wanted().any(|e| matches!(e.phase, Phase::Failed { .. } | Phase::Backoff { .. })) {
            "degraded"
        } else if wanted().all(Entry::is_up) {
            "running"
        } else {
            "starting"
        }
    }
}

fn state(e: &Entry) -> reply::State {
    match e.phase {
        Phase::Waiting => reply::State::Waiting,
        Phase::Launching | Phase::Starting { .. } => reply::State::Starting,
        Phase::Running { .. } => reply::State::Running,
        Phase::Backoff { .. } => reply::State::Backoff,
        Phase::Stopping { .. } => reply::State::Stopping,
        Phase::Stopped => reply::State::Stopped,
        Phase::Done { .. } => reply::State::Done,
        Phase::Failed { .. } => reply::State::Failed,
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
