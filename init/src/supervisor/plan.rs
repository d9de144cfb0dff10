//! A new plan beside the running one: what starts, what stops, what is exchanged.

use super::{Command, Entry, Phase, State};
use skerry_control::unit::{self, Unit};
use std::time::Duration;

impl State {
    pub(super) fn take_plan(&mut self, units: &[Unit], now: Duration, out: &mut Vec<Command>) {
        if self.down.is_some() {
            return out.push(Command::Refused("a plan came while the machine goes down".to_owned()));
        }
        let circle = unit::circle(units);
        if !circle.is_empty() {
            return out.push(Command::Refused(format!(
                "these units of the plan wait for each other: {}",
                circle.join(", ")
            )));
        }
        for e in &mut self.entries {
            e.gone = !units.iter().any(|u| u.name == e.unit.name);
        }
        for unit in units {
            match self.entry_mut(&unit.name) {
                Some(e) => e.take(unit.clone(), now),
                None => self.entries.push(Entry::new(unit.clone(), now)),
            }
        }
        // As the plan orders them; what is gone comes last.
        self.entries
            .sort_by_key(|e| units.iter().position(|u| u.name == e.unit.name).unwrap_or(usize::MAX));
    }
}

impl Entry {
    fn take(&mut self, unit: Unit, now: Duration) {
        if is_same_process(&self.unit, &unit) {
            self.next = None;
            self.unit = unit;
        } else {
            // Exchanged by `settle`: at once where nothing runs, else when that is stopped by its own rule.
            self.next = Some(unit);
            if self.phase == Phase::Waiting {
                self.since = now;
            }
        }
    }
}

/// Whether a running process of `a` is as good as one of `b`: only words, order and stop rules differ.
fn is_same_process(a: &Unit, b: &Unit) -> bool {
    let Unit {
        title,
        after,
        deadline,
        stop,
        quiet,
        ..
    } = b.clone();
    Unit {
        title,
        after,
        deadline,
        stop,
        quiet,
        ..a.clone()
    } == *b
}
