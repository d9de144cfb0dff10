//! The machine tests: one table, each row a function over a [`Lab`] that asserts many things of few boots.

mod add_ons;
mod broken;
mod buses;
pub mod check;
mod clock;
mod cuts;
mod cuts_log;
mod cuts_real;
mod datastore;
pub(crate) mod disk;
mod disks;
mod distributions;
mod farewell;
mod faults;
mod firewall;
pub mod grub;
mod install;
mod iso;
mod join;
mod late;
mod media;
mod network;
mod node;
mod none;
mod one_image;
mod renumbered;
mod root;
mod slots;
pub mod start;
mod table;
mod upgrade;
mod volumes;
mod wifi;

use crate::machine::{Lab, Machine, release};
use crate::suite::space;
use anyhow::Result;
use check::Checks;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
pub use table::TABLE;

/// When a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every `make test`.
    Always,
    /// Only when asked for by `--torture`: slow, and rarely the one that finds something.
    Torture,
    /// Written, but never seen to pass: counted as skipped, and run by `--torture` or when asked for by its whole name.
    Unproven,
}

/// One machine test.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, and that of its folder under `target/machine/`.
    pub name: &'static str,
    /// What it proves, for a person.
    pub what: &'static str,
    /// When it runs.
    pub when: When,
    /// Expected seconds by TCG on two cores.
    pub seconds: u32,
    /// The test.
    pub run: fn(&Bench, &mut Checks) -> Result<()>,
}

impl Case {
    /// Whether nothing may run beside it.
    pub fn is_alone(&self) -> bool {
        table::ALONE.contains(&self.name)
    }
}

/// What the cases of one run share.
#[derive(Debug)]
pub struct Bench {
    /// QEMU, the release, the key.
    pub lab: Lab,
    /// The stand-in program of the fault tests.
    pub fake: PathBuf,
    /// The OCI archive with `skerry.local/hello:1`.
    pub hello: PathBuf,
    made: Arc<Made>,
}

/// What the first case that needs it makes, for all of them.
#[derive(Debug)]
struct Made {
    /// The lab that has a folder for each case.
    lab: Lab,
    /// The data disk of a node that was Ready and then lost its power.
    ready: OnceLock<PathBuf>,
    /// The release with the full kernel, or why there is none.
    full: OnceLock<Result<PathBuf, String>>,
}

impl Bench {
    /// Over a lab.
    pub fn new(lab: Lab, hello: PathBuf, fake: PathBuf) -> Self {
        let made = Made {
            lab: lab.clone(),
            ready: OnceLock::new(),
            full: OnceLock::new(),
        };
        Self {
            lab,
            fake,
            hello,
            made: Arc::new(made),
        }
    }

    /// The same, with its machines' folders in this one.
    #[must_use]
    pub fn within(&self, folder: &str) -> Self {
        Self {
            lab: self.made.lab.within(folder),
            fake: self.fake.clone(),
            hello: self.hello.clone(),
            made: self.made.clone(),
        }
    }

    /// The folder of the release with the full kernel, or why there is none; made once if `SKERRY_FULL` names none.
    fn full(&self) -> Result<&Path, String> {
        let made = self
            .made
            .full
            .get_or_init(|| release::full(&self.lab.release).map_err(|e| format!("{e:#}")));
        made.as_deref().map_err(Clone::clone)
    }
}

/// Runs one case; its machines' console logs are in its folder whatever comes, their disks only if something was found wrong.
pub fn run(case: &Case, bench: &Bench) -> Checks {
    let mut checks = Checks::default();
    let bench = bench.within(case.name);
    if let Err(e) = (case.run)(&bench, &mut checks) {
        checks.failed.push(format!("{e:#}"));
    }
    if checks.failed.is_empty() {
        space::tidy(&bench.lab.artifacts);
    }
    checks
}

/// Runs `body` over a machine; if anything was found wrong, the services' logs are kept.
fn with_machine<T>(
    bench: &Bench,
    checks: &mut Checks,
    mut machine: Machine,
    body: impl FnOnce(&mut Machine, &mut Checks) -> Result<T>,
) -> Result<T> {
    let before = checks.failed.len();
    let done = body(&mut machine, checks);
    if done.is_err() || checks.failed.len() > before {
        machine.keep_logs(&bench.lab);
    }
    done
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_whole_fits_the_budget() {
        let mut names: Vec<_> = TABLE.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(table::ALONE.iter().all(|name| TABLE.iter().any(|c| c.name == *name)));
        // Two at a time, but for those that are alone.
        let seconds = |c: &Case| if c.is_alone() { c.seconds } else { c.seconds.div_ceil(2) };
        let sum: u32 = TABLE.iter().filter(|c| c.when == When::Always).map(seconds).sum();
        assert!(sum <= 21 * 60, "the machine tests take {sum} s; make one of them torture");
    }
}
