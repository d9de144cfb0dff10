//! The units' control groups. Where there are none (a container, an old host) everything works but what they are for.

use skerry_control::unit::Unit;
use skerry_sys::cgroup::Cgroup;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};

/// Below this lies a group for each unit.
pub const ABOVE: &str = "/system";

/// All groups made so far.
#[derive(Debug, Default)]
pub struct Groups {
    made: BTreeMap<String, Cgroup>,
    /// Those in which all was killed once.
    killed: BTreeSet<String>,
}

impl Groups {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The group for a unit's next process, with its limits.
    pub fn of(&mut self, unit: &Unit) -> Option<BorrowedFd<'_>> {
        if !self.made.contains_key(&unit.name) {
            self.made
                .insert(unit.name.clone(), Cgroup::create(&format!("{ABOVE}/{}", unit.name)).ok()?);
        }
        let group = self.made.get(&unit.name)?;
        let limits = [
            ("pids.max", unit.pids_max),
            ("memory.max", unit.memory_max),
            ("cpu.weight", unit.cpu_weight),
        ];
        for (file, limit) in limits {
            if let Some(n) = limit {
                let _ = group.set(file, &n.to_string()); // a kernel without the controller runs it without the limit
            }
        }
        Some(group.as_fd())
    }

    /// Sends a signal to all in a unit's group; whether that was possible.
    pub fn signal(&self, name: &str, signal: i32) -> bool {
        self.made.get(name).is_some_and(|g| g.signal(signal).is_ok())
    }

    /// Kills all in a unit's group.
    pub fn kill(&mut self, name: &str) {
        if let Some(g) = self.made.get(name) {
            self.killed.insert(name.to_owned());
            let _ = g.kill(); // what is left is seen by `is_empty`
        }
    }

    /// Whether all in a unit's group was killed once: see [`skerry_sys::process::Program::joins`].
    pub fn was_killed(&self, name: &str) -> bool {
        self.killed.contains(name)
    }

    /// Whether nothing runs in a unit's group; so too where it has none.
    pub fn is_empty(&self, name: &str) -> bool {
        self.made.get(name).is_none_or(|g| !g.is_populated().unwrap_or(false))
    }

    /// Removes a unit's group.
    pub fn remove(&mut self, name: &str) {
        self.killed.remove(name);
        if let Some(g) = self.made.remove(name) {
            let _ = g.remove(); // something that cannot be killed is in it; it costs a directory
        }
    }
}
