//! What is remembered of a trial, on data: what is tried and what was up before; why a system was left; which are not tried again.
//!
//! Only words for people, and what the next trial is measured by: which slot boots is in the boot state alone, so nothing of this can
//! be lost or damaged in a way that matters for booting.

use crate::health::{Baseline, Failed, Rule};
use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skerry_sys::file;
use std::io;
use std::path::{Path, PathBuf};

/// Where it lies.
pub const FOLDER: &str = "/var/lib/skerry/upgrade";
/// The version of these files.
const FORMAT: u32 = 1;
/// The longest file that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// How many systems that were left are remembered.
const MOST: usize = 16;

/// A system in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct System {
    /// `a` or `b`.
    pub slot: String,
    /// Its version, if that is known.
    pub version: String,
    /// The root hash of its dm-verity tree, in hexadecimal.
    pub root_hash: String,
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.version.is_empty() {
            "an unknown version"
        } else {
            &self.version
        };
        write!(f, "{version} (slot {})", self.slot)
    }
}

/// A trial that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    format: u32,
    /// The system that began it.
    pub from: System,
    /// The candidate.
    pub to: System,
    /// What was up.
    pub baseline: Baseline,
    /// How much is asked.
    pub rule: Rule,
    /// How often the candidate was seen to start.
    #[serde(default)]
    pub starts: u32,
    /// What it waited for when it was last looked at.
    #[serde(default)]
    pub seen: Option<Failed>,
    /// Why it was given up, with the last lines of the log of what failed.
    #[serde(default)]
    pub failed: Option<(Failed, Vec<String>)>,
}

impl Trial {
    /// One that begins.
    pub fn new(from: System, to: System, baseline: Baseline, rule: Rule) -> Self {
        Self {
            format: FORMAT,
            from,
            to,
            baseline,
            rule,
            starts: 0,
            seen: None,
            failed: None,
        }
    }

    /// How it ended, when the machine is back in the system it came from.
    pub fn ended(self) -> RolledBack {
        let (failed, lines) = self.failed.unwrap_or_else(|| (guess(self.starts, self.seen.as_ref()), vec![]));
        RolledBack {
            from: self.to,
            to: self.from,
            failed,
            lines,
            starts: self.starts,
        }
    }
}

/// It could not say itself why it ended.
fn guess(starts: u32, seen: Option<&Failed>) -> Failed {
    match (starts, seen) {
        (0, _) => Failed::new(
            "boot",
            "it never came as far as to its first program: its kernel or its root does not start here",
        ),
        (_, Some(seen)) => Failed::new(
            seen.check.clone(),
            format!("{}; then the machine restarted by itself or lost its power", seen.why),
        ),
        (_, None) => Failed::new("boot", "it started, and then the machine restarted by itself or lost its power"),
    }
}

/// A system that was tried and left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The one that was left.
    pub from: System,
    /// The one that the machine went back to.
    pub to: System,
    /// The check that failed.
    pub failed: Failed,
    /// The last lines of the log of what failed.
    pub lines: Vec<String>,
    /// How often it was seen to start.
    pub starts: u32,
}

impl std::fmt::Display for RolledBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "went back from {} to {}: {}", self.from, self.to, self.failed)
    }
}

/// The systems that were left, the latest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct History {
    format: u32,
    left: Vec<RolledBack>,
}

/// The folder on data.
#[derive(Debug, Clone)]
pub struct Memory(PathBuf);

impl Memory {
    /// The machine's.
    pub fn system() -> Self {
        Self(FOLDER.into())
    }

    /// Another one.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The trial that was begun, if one was.
    pub fn trial(&self) -> Result<Option<Trial>> {
        let trial: Option<Trial> = read(&self.0.join("trial.json"))?;
        if let Some(trial) = &trial {
            ensure!(
                trial.format == FORMAT,
                "reading the trial's record: its format {} is not known",
                trial.format
            );
        }
        Ok(trial)
    }

    /// Remembers it, durably.
    pub fn begin(&self, trial: &Trial) -> Result<()> {
        self.write("trial.json", trial)
    }

    /// Forgets it: it ended well, or nobody wants it any more.
    pub fn forget_trial(&self) -> Result<()> {
        let path = self.0.join("trial.json");
        match std::fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why).with_context(|| format!("removing {}", path.display())),
            Err(_) => Ok(()),
            Ok(()) => Ok(file::flush_dir(&self.0)?),
        }
    }

    /// The systems that were left, the latest last.
    pub fn left(&self) -> Result<Vec<RolledBack>> {
        let history: Option<History> = read(&self.0.join("rolled-back.json"))?;
        Ok(history.map(|h| h.left).unwrap_or_default())
    }

    /// Remembers a system that was left, and forgets its trial. Doing it twice leaves one record.
    pub fn leave(&self, rolled_back: &RolledBack) -> Result<()> {
        // What cannot be read is no reason to lose what just happened.
        let mut left = self.left().unwrap_or_default();
        if left.last() != Some(rolled_back) {
            left.push(rolled_back.clone());
        }
        let surplus = left.len().saturating_sub(MOST);
        left.drain(..surplus);
        self.write("rolled-back.json", &History { format: FORMAT, left })?;
        self.forget_trial()
    }

    /// Why a system with this root is not tried again, if it was left.
    pub fn refused(&self, root_hash: &str) -> Result<Option<RolledBack>> {
        Ok(self.left()?.into_iter().rev().find(|r| r.from.root_hash == root_hash))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        file::make_dir(&self.0, 0o755)?;
        let mut text = serde_json::to_string_pretty(value).with_context(|| format!("writing {name}"))?;
        text.push('\n');
        Ok(file::replace(self.0.join(name), text.as_bytes(), 0o644)?)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let bytes = file::read_bounded(path, LONGEST)?;
    let value = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(name: &str) -> Memory {
        let folder = std::env::temp_dir().join(format!("skerry-trial-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Memory::at(folder)
    }

    fn system(slot: &str, version: &str) -> System {
        System {
            slot: slot.into(),
            version: version.into(),
            root_hash: format!("{slot}{version}"),
        }
    }

    fn trial() -> Trial {
        Trial::new(system("a", "1.0.0"), system("b", "1.1.0"), Baseline::default(), Rule::default())
    }

    #[test]
    fn a_trial_and_its_end() {
        let memory = memory("end");
        assert_eq!(memory.trial().unwrap(), None);
        memory.forget_trial().unwrap();
        let mut trial = trial();
        memory.begin(&trial).unwrap();
        trial.starts = 2;
        trial.failed = Some((Failed::new("kubelet", "exited with 1"), vec!["last words".into()]));
        memory.begin(&trial).unwrap();
        assert_eq!(memory.trial().unwrap().as_ref(), Some(&trial));
        let ended = trial.ended();
        memory.leave(&ended).unwrap();
        memory.leave(&ended).unwrap();
        assert_eq!((memory.left().unwrap(), memory.trial().unwrap()), (vec![ended], None));
        assert!(memory.refused("b1.1.0").unwrap().is_some());
        assert!(memory.refused("a1.0.0").unwrap().is_none());
        assert_eq!(
            memory.left().unwrap()[0].to_string(),
            "went back from 1.1.0 (slot b) to 1.0.0 (slot a): kubelet: exited with 1"
        );
        std::fs::remove_dir_all(&memory.0).unwrap();
    }

    #[test]
    fn few_are_remembered() {
        let memory = memory("few");
        let most = u32::try_from(MOST).unwrap();
        for n in 0..most + 3 {
            memory.leave(&Trial { starts: n, ..trial() }.ended()).unwrap();
        }
        let left = memory.left().unwrap();
        assert_eq!((left.len(), left[0].starts, left[MOST - 1].starts), (MOST, 3, most + 2));
        std::fs::remove_dir_all(&memory.0).unwrap();
    }

    #[test]
    fn what_a_dead_system_cannot_say_is_guessed() {
        let seen = Some(Failed::new("netd", "no lease"));
        for (starts, seen, check, why) in [
            (0, None, "boot", "it never came as far"),
            (1, None, "boot", "it started, and then"),
            (3, seen, "netd", "no lease; then the machine restarted"),
        ] {
            let failed = Trial { starts, seen, ..trial() }.ended().failed;
            assert!(failed.check == check && failed.why.starts_with(why), "{failed}");
        }
    }

    #[test]
    fn damage_is_an_error_and_not_a_panic() {
        let memory = memory("damage");
        memory.begin(&trial()).unwrap();
        for text in ["", "{", "[]", "{\"format\":2}"] {
            file::replace(memory.0.join("trial.json"), text.as_bytes(), 0o644).unwrap();
            assert!(memory.trial().is_err(), "{text}");
        }
        file::replace(memory.0.join("rolled-back.json"), b"x", 0o644).unwrap();
        assert!(memory.left().is_err());
        memory.leave(&trial().ended()).unwrap();
        assert_eq!(memory.left().unwrap().len(), 1);
        std::fs::remove_dir_all(&memory.0).unwrap();
    }
}
