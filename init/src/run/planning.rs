//! Where the units come from: `setup plan`; if that fails, the last good plan; if that fails too, the few built in here.
//!
//! Decides only: what came of each attempt goes in, an [`Outcome`] comes out. The child's output is read here, bounded.

use super::logs::Logs;
use skerry_control::record::MAX_BYTES;
use skerry_control::unit::{self, Kind, Ready, Unit};
use skerry_sys::event::{Interest, Poller};
use skerry_sys::process::{self, Exit};
use skerry_sys::socket;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The unit that sets up the data partition.
pub const STORAGE: &str = "storage";
/// The unit that proves a system on trial, or leaves it; it waits for nothing, for what it waits for may never come.
const HEALTH: &str = "health";
/// The unit that plans.
pub const PLAN: &str = "plan";
const PLAN_LAST_GOOD: &str = "plan-last-good";
const APPLY: &str = "apply-boot";
/// What needs no plan, and what others wait for: it goes on beside storage and planning.
const DRIVERS: &str = "network-drivers";
const HOST_KEYS: &str = "host-keys";
const RESCUE: &str = "rescue";
const SETUP: &str = "/usr/lib/skerry/setup";

/// Where a plan came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Config,
    LastGood,
    BuiltIn,
}

/// What follows from an attempt.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For the console.
    pub say: Option<String>,
    /// Show the end of this unit's log there.
    pub show: Option<String>,
    /// These are the units now.
    pub install: Option<Vec<Unit>>,
}

/// The planning of this boot.
#[derive(Debug)]
pub struct Planning {
    consoles: Vec<String>,
    /// The attempt that is under way.
    attempt: Option<Source>,
    /// Where the planned units came from.
    source: Option<Source>,
    planned: Vec<Unit>,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    notes: Vec<String>,
    is_rescue: bool,
}

impl Planning {
    /// Nothing is planned yet; or, with `skerry.rescue` on the kernel's command line, a shell on the console and nothing else.
    pub fn new(consoles: &[String], cmdline: &str) -> Self {
        if is_rescue(cmdline) {
            let say = "Rescue: a shell on the console. Data is neither checked nor mounted; to do both: /usr/lib/skerry/setup storage";
            return Self {
                attempt: None,
                source: Some(Source::BuiltIn),
                planned: rescue(consoles),
                notes: vec![say.to_owned()],
                is_rescue: true,
                ..Self::new(consoles, "")
            };
        }
        Self {
            is_rescue: false,
            consoles: consoles.to_vec(),
            attempt: Some(Source::Config),
            source: None,
            planned: vec![],
            output: None,
            text: vec![],
            notes: vec![],
        }
    }

    /// `config`, `last-good`, `built-in`, as the control socket tells it.
    pub fn word(&self) -> &'static str {
        match self.source.or(self.attempt) {
            Some(Source::LastGood) => "last-good",
            Some(Source::BuiltIn) => "built-in",
            _ => "config",
        }
    }

    /// What a person should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All units: those that are always there, the one that plans, and what it planned.
    pub fn units(&self) -> Vec<Unit> {
        let mut units = vec![];
        if self.attempt != Some(Source::BuiltIn) && self.source != Some(Source::BuiltIn) {
            units.push(storage());
        }
        match self.attempt.or(self.source) {
            Some(Source::LastGood) => units.push(plan(PLAN_LAST_GOOD, &[SETUP, "plan", "--last-good"])),
            Some(Source::Config) | None => units.push(plan(PLAN, &[SETUP, "plan"])),
            Some(Source::BuiltIn) => {}
        }
        if !self.is_rescue {
            units.extend([health(), drivers(), host_keys()]);
        }
        let taken: Vec<String> = units.iter().map(|u| u.name.clone()).collect();
        units.extend(self.planned.iter().filter(|u| !taken.contains(&u.name)).cloned());
        units
    }

    /// The owner wants it read again: all units, with the one that plans back among them.
    pub fn again(&mut self) -> Result<Vec<Unit>, String> {
        if self.is_rescue {
            return Err("this is a rescue boot: the configuration is not read".to_owned());
        }
        if self.attempt.is_some() {
            return Err("the configuration is being read already".to_owned());
        }
        self.attempt = Some(Source::Config);
        Ok(self.units())
    }

    /// If this unit plans: a pipe for what it prints.
    pub fn capture(&mut self, name: &str, poller: &Poller, token: u64) -> Option<OwnedFd> {
        if self.attempt.is_none_or(|a| name_of(a) != Some(name)) {
            return None;
        }
        let (read, write) = process::pipe().ok()?;
        self.text.clear();
        poller.add(&read, token, Interest::Read).ok()?;
        self.output = Some(read);
        Some(write)
    }

    /// Reads what it printed, up to a little more than is allowed.
    pub fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        while let Some(fd) = &self.output {
            match socket::read(fd, &mut buffer) {
                Ok(n) if n > 0 && self.text.len() <= MAX_BYTES => self.text.extend(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => self.output = None,
            }
        }
    }

    /// A unit's main process ended.
    pub fn ended(&mut self, name: &str, exit: Exit, logs: &mut Logs) -> Outcome {
        let Some(attempt) = self.attempt.filter(|a| name_of(*a) == Some(name)) else {
            return Outcome::default();
        };
        self.read();
        self.output = None;
        let text = std::mem::take(&mut self.text);
        let planned = if exit.is_success() {
            understand(&text)
        } else {
            Err(exit.to_string())
        };
        match planned {
            Ok(units) => {
                self.attempt = None;
                self.source = Some(attempt);
                self.planned = units;
                let show = Some(name.to_owned()); // what was wrong with the configuration is in its log
                Outcome {
                    show,
                    install: Some(self.units()),
                    say: None,
                }
            }
            Err(why) => {
                logs.note(name, &why);
                self.failed(attempt, &why)
            }
        }
    }

    /// A unit did not end when it was told to. If it is one that the boot waits for, the boot goes on without.
    pub fn stuck(&mut self, name: &str) -> Outcome {
        match self.attempt {
            Some(attempt) if name_of(attempt) == Some(name) => self.failed(attempt, "it hangs"),
            Some(_) if name == STORAGE && self.planned.is_empty() => self.failed(Source::LastGood, "the storage hangs"),
            _ => Outcome::default(),
        }
    }

    /// The last plan there is has failed in what makes a login possible: a shell on the console, and only there.
    pub fn last_resort(&mut self, name: &str) -> Outcome {
        if self.source != Some(Source::BuiltIn) || name != APPLY {
            return Outcome::default();
        }
        self.planned.retain(|u| !u.name.starts_with("getty-"));
        self.planned.extend(rescue(&self.consoles));
        let say = "No configuration could be applied, not even the built-in one: here is a shell, to repair the machine by hand.";
        self.notes.push(say.to_owned());
        Outcome {
            say: Some(say.to_owned()),
            install: Some(self.units()),
            show: None,
        }
    }

    fn failed(&mut self, attempt: Source, why: &str) -> Outcome {
        self.output = None;
        if !self.planned.is_empty() {
            // A reload: what runs goes on.
            self.attempt = None;
            let say = format!("Reading the configuration again failed: {why}. What runs goes on.");
            self.notes = vec![say.clone()];
            return Outcome {
                say: Some(say),
                show: Some(PLAN.to_owned()),
                install: None,
            };
        }
        let say = if attempt == Source::Config {
            self.attempt = Some(Source::LastGood);
            format!("Reading the configuration failed: {why}. The last good one is used, if there is one.")
        } else {
            self.attempt = None;
            self.source = Some(Source::BuiltIn);
            self.planned = built_in(&self.consoles);
            format!("There is no plan that works: {why}. Login, network and SSH are started, and nothing else.")
        };
        self.notes.push(say.clone());
        Outcome {
            say: Some(say),
            show: name_of(attempt).map(str::to_owned),
            install: Some(self.units()),
        }
    }
}

fn is_rescue(cmdline: &str) -> bool {
    cmdline
        .split_whitespace()
        .any(|word| word == "skerry.rescue" || word == "skerry.rescue=1")
}

fn name_of(source: Source) -> Option<&'static str> {
    match source {
        Source::Config => Some(PLAN),
        Source::LastGood => Some(PLAN_LAST_GOOD),
        Source::BuiltIn => None,
    }
}

fn understand(text: &[u8]) -> Result<Vec<Unit>, String> {
    let units = unit::decode(text).map_err(|e| e.to_string())?;
    let circle = unit::circle(&units);
    if units.is_empty() {
        return Err("the plan is empty".to_owned());
    }
    if !circle.is_empty() {
        return Err(format!("these units wait for each other: {}", circle.join(", ")));
    }
    if let Some(u) = units
        .iter()
        .find(|u| [STORAGE, HEALTH, DRIVERS, HOST_KEYS, PLAN, PLAN_LAST_GOOD, "logd"].contains(&u.name.as_str()))
    {
        return Err(format!("the plan has a unit of the reserved name {}", u.name));
    }
    Ok(units)
}

fn storage() -> Unit {
    // A check of a large file system may take minutes; without one nothing else is worth starting.
    Unit {
        deadline: Some(Duration::from_secs(600)),
        ..Unit::one_shot(STORAGE, "Storage", &[SETUP, STORAGE])
    }
}

fn health() -> Unit {
    Unit {
        kind: Kind::OneShot { retry: true, every: None },
        // It has a limit of its own: the trial's.
        deadline: None,
        quiet: true,
        ..Unit::one_shot(HEALTH, "Proof of this system", &[SETUP, HEALTH])
    }
}

/// A name may come from the first interface, and netd is to find it there.
fn drivers() -> Unit {
    Unit {
        deadline: Some(Duration::from_secs(60)),
        quiet: true,
        ..Unit::one_shot(DRIVERS, "Network drivers", &[SETUP, "coldplug", "network"])
    }
}

fn host_keys() -> Unit {
    Unit {
        deadline: Some(Duration::from_secs(120)),
        quiet: true,
        ..Unit::one_shot(HOST_KEYS, "SSH host keys", &[SETUP, HOST_KEYS]).after(&[STORAGE])
    }
}

fn plan(name: &str, argv: &[&str]) -> Unit {
    let mut u = Unit::one_shot(name, "Configuration", argv).after(&[STORAGE]);
    u.deadline = Some(Duration::from_secs(20));
    u.stop.grace = Duration::from_secs(1);
    u
}

fn built_in(consoles: &[String]) -> Vec<Unit> {
    let mut netd = Unit::service("netd", "Network", &["/usr/lib/skerry/netd"]).after(&[APPLY]);
    netd.ready = Ready::Notify;
    let mut sshd = Unit::service("sshd", "SSH", &["/usr/sbin/sshd", "-D", "-e"]).after(&[APPLY, HOST_KEYS]);
    sshd.stop.scope = unit::Scope::MainOnly; // sessions outlive a restart
    let mut units = vec![Unit::one_shot(APPLY, "System set-up", &[SETUP, "apply", "boot"]), netd, sshd];
    for name in consoles {
        let tty = shown(name);
        let id = format!("getty-{}", tty.to_ascii_lowercase());
        let argv = ["/sbin/agetty", "--noclear", tty, "linux"];
        let getty = Unit {
            tty: Some(format!("/dev/{tty}")),
            quiet: true,
            ..Unit::service(&id, "Login", &argv).after(&[APPLY])
        };
        if unit::is_name(&id) && !units.contains(&getty) {
            units.push(getty);
        }
    }
    units
}

/// A shell on each console: the person who needs it sits at one of them.
fn rescue(consoles: &[String]) -> Vec<Unit> {
    let mut units: Vec<Unit> = vec![];
    for name in consoles {
        let tty = shown(name);
        let shell = Unit {
            tty: Some(format!("/dev/{tty}")),
            env: vec![("TERM".to_owned(), "linux".to_owned())],
            ..Unit::service(
                &format!("{RESCUE}-{}", tty.to_ascii_lowercase()),
                "Rescue shell",
                &["/bin/sh", "-l"],
            )
        };
        if unit::is_name(&shell.name) && !units.contains(&shell) {
            units.push(shell);
        }
    }
    units
}

/// A login at tty0 is one at whichever console is shown; tty1 is.
fn shown(console: &str) -> &str {
    if console == "tty0" { "tty1" } else { console }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_boot(results: &[(&str, Exit, &[u8])]) -> (Planning, Vec<Vec<String>>) {
        let mut p = Planning::new(&["tty0".into(), "ttyS0".into()], "");
        let mut logs = Logs::new();
        let mut installed = vec![names(&p.units())];
        for (name, exit, text) in results {
            p.text = text.to_vec();
            let outcome = p.ended(name, *exit, &mut logs);
            installed.extend(outcome.install.map(|u| names(&u)));
        }
        (p, installed)
    }

    /// Without those two that are there in every boot but a rescue.
    fn names(units: &[Unit]) -> Vec<String> {
        let beside = |u: &&Unit| [DRIVERS, HOST_KEYS].contains(&u.name.as_str());
        let is_rescue = units.iter().all(|u| u.name.starts_with(RESCUE));
        assert_eq!(units.iter().filter(beside).count(), if is_rescue { 0 } else { 2 });
        units.iter().filter(|u| !beside(u)).map(|u| u.name.clone()).collect()
    }

    const GOOD: &[u8] = b"skerry-units 1\n\nunit sshd\nargv /sshd\n";

    #[test]
    fn the_usual_boot() {
        let (p, installed) = after_boot(&[("storage", Exit::Code(0), b""), ("plan", Exit::Code(0), GOOD)]);
        assert_eq!(
            installed,
            [vec!["storage", "plan", "health"], vec!["storage", "plan", "health", "sshd"]]
        );
        assert_eq!((p.word(), p.notes()), ("config", &[][..]));
    }

    #[test]
    fn a_plan_that_fails_falls_back_twice() {
        let (p, installed) = after_boot(&[("plan", Exit::Signal(9), b""), ("plan-last-good", Exit::Code(0), GOOD)]);
        assert_eq!(
            installed,
            [
                vec!["storage", "plan", "health"],
                vec!["storage", "plan-last-good", "health"],
                vec!["storage", "plan-last-good", "health", "sshd"]
            ]
        );
        assert_eq!((p.word(), p.notes().len()), ("last-good", 1));
        for bad in [
            &b"nonsense"[..],
            b"skerry-units 1\n",
            b"skerry-units 1\n\nunit plan\nargv /x\n",
            b"skerry-units 1\n\nunit a\nargv /x\nafter a\n",
        ] {
            let (p, installed) = after_boot(&[("plan", Exit::Code(0), bad), ("plan-last-good", Exit::Code(1), b"")]);
            assert_eq!(
                installed.last().unwrap()[..],
                ["health", "apply-boot", "netd", "sshd", "getty-tty1", "getty-ttys0"],
                "{bad:?}"
            );
            assert_eq!(p.word(), "built-in");
        }
    }

    #[test]
    fn nothing_that_hangs_holds_the_boot() {
        let mut p = Planning::new(&[], "");
        assert_eq!(names(&p.stuck("plan").install.unwrap()), ["storage", "plan-last-good", "health"]);
        assert_eq!(p.stuck("plan").install, None, "told once");
        assert_eq!(names(&p.stuck("plan-last-good").install.unwrap()).len(), 4);
        let mut p = Planning::new(&[], "");
        assert_eq!(
            names(&p.stuck("storage").install.unwrap()),
            ["health", "apply-boot", "netd", "sshd"]
        );
    }

    #[test]
    fn the_last_resort_is_a_shell_on_the_console() {
        let mut p = Planning::new(&["ttyS0".into()], "");
        assert_eq!(p.last_resort("apply-boot"), Outcome::default());
        p.stuck("storage");
        assert_eq!(
            names(&p.last_resort("apply-boot").install.unwrap()),
            ["health", "apply-boot", "netd", "sshd", "rescue-ttys0"]
        );
    }

    #[test]
    fn a_rescue_boot_is_a_shell_and_nothing_else() {
        let mut p = Planning::new(&["ttyS0".into()], "quiet skerry.rescue skerry.why=menu");
        assert_eq!((names(&p.units()), p.word()), (vec!["rescue-ttys0".to_owned()], "built-in"));
        assert!(p.again().is_err());
        assert!(!is_rescue("skerry.rescue=0 skerry.rescuer"));
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let (mut p, _) = after_boot(&[("plan", Exit::Code(0), GOOD)]);
        assert_eq!(names(&p.again().unwrap()), ["storage", "plan", "health", "sshd"]);
        assert!(p.again().is_err());
        let outcome = p.ended("plan", Exit::Code(1), &mut Logs::new());
        assert_eq!((outcome.install, p.planned.len()), (None, 1));
        assert!(p.again().is_ok());
    }
}
