//! A unit: one program that PID 1 is to run, once or for ever, and what it must wait for.
//!
//! A boot is nothing but a list of these. There is one rule of order, `after`: a unit starts as soon as every unit that it names is
//! **up** (or not in the list at all):
//!
//! | kind | up when |
//! |---|---|
//! | service | it runs and is ready ([`Ready`]) |
//! | one-shot | it ended with 0; or it ended otherwise and is not to be retried (its failure is named, and the rest goes on) |
//!
//! Once up, a one-shot stays up; a service that dies is not up until it is ready again, which does not stop what was started after it.

use crate::record::{self, Malformed, Record};
use std::time::Duration;

/// Name and version of the document.
pub const FORMAT: &str = "skerry-units";
/// The most units in one plan.
pub const MAX_UNITS: usize = 128;
/// The longest unit name, in bytes.
pub const MAX_NAME: usize = 48;

/// Runs once, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Restarted whenever it ends, with backoff.
    Service,
    /// Runs to its end.
    OneShot {
        /// Run again, with backoff, until it ends with 0.
        retry: bool,
        /// Once up, run again this long after each end.
        every: Option<Duration>,
    },
}

/// When a service counts as up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// As soon as it was started.
    Started,
    /// When it says `READY=1` on [`crate::NOTIFY_SOCKET`].
    Notify,
    /// When this program ends with 0. It is run again 250 ms after each other end, and may itself wait. It runs in the unit's cgroup.
    Probe(Vec<String>),
}

/// Which processes a stop may signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only the main process: its children (containerd's shims) are to survive.
    MainOnly,
    /// All in the unit's cgroup; what is left after the grace is killed by `cgroup.kill`.
    Tree,
}

/// How a unit is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Whom to signal.
    pub scope: Scope,
    /// The signal's number (15 = SIGTERM).
    pub signal: i32,
    /// After this, SIGKILL.
    pub grace: Duration,
}

/// How a unit is stopped when the machine goes down, if otherwise than by [`Stop`]: first, while all else still runs and waits for its
/// end. It is for who must warn others, and wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// The signal's number.
    pub signal: i32,
    /// After this, SIGKILL.
    pub grace: Duration,
}

/// One program for PID 1 to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `[a-z0-9][a-z0-9.@_-]*`, unique in the plan; also the name of its log and its cgroup (`/system/NAME`).
    pub name: String,
    /// What a person reads: "Kubernetes API server".
    pub title: String,
    /// Once or for ever.
    pub kind: Kind,
    /// Program (absolute path) and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment, but for `PATH`, `HOME` and (for [`Ready::Notify`]) `NOTIFY_SOCKET`, which PID 1 adds where absent.
    pub env: Vec<(String, String)>,
    /// File of `KEY=VALUE` lines (values may be double-quoted), read by `init exec` just before the program starts, so that what
    /// `write_files` or `boot_cmd` put there counts. Absent file: nothing.
    pub env_file: Option<String>,
    /// Units that must be up first.
    pub after: Vec<String>,
    /// When a service is up. Ignored for one-shots.
    pub ready: Ready,
    /// A one-shot that runs longer is killed and counts as failed; a service that is not ready by then is named on the console, and
    /// goes on (it is never killed for being slow).
    pub deadline: Option<Duration>,
    /// How it is stopped.
    pub stop: Stop,
    /// How it is stopped when the machine goes down, before all that has none.
    pub farewell: Option<Farewell>,
    /// Numeric user, group and supplementary groups; none = root.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// `oom_score_adj`, −1000 to 1000.
    pub oom_score: i32,
    /// `RLIMIT_NOFILE`.
    pub nofile: Option<u64>,
    /// `pids.max` of its cgroup; none = unlimited.
    pub pids_max: Option<u64>,
    /// `memory.max` of its cgroup, in bytes; none = unlimited.
    pub memory_max: Option<u64>,
    /// Stdin, stdout and stderr are this terminal, and it leads a session there (getty). Otherwise stdin is `/dev/null` and output
    /// goes to the log.
    pub tty: Option<String>,
    /// Its start, readiness and end are not told on the console (they are in the log all the same).
    pub quiet: bool,
}

impl Unit {
    /// A service with the defaults: ready when started, tree stop by SIGTERM with 10 s of grace, `oom_score` 0.
    pub fn service(name: &str, title: &str, argv: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            kind: Kind::Service,
            argv: argv.iter().map(|&a| a.to_owned()).collect(),
            env: vec![],
            env_file: None,
            after: vec![],
            ready: Ready::Started,
            deadline: None,
            stop: Stop {
                scope: Scope::Tree,
                signal: 15,
                grace: Duration::from_secs(10),
            },
            farewell: None,
            user: None,
            oom_score: 0,
            nofile: None,
            pids_max: None,
            memory_max: None,
            tty: None,
            quiet: false,
        }
    }

    /// A one-shot with the defaults: not retried, 60 s deadline, told on the console.
    pub fn one_shot(name: &str, title: &str, argv: &[&str]) -> Self {
        Self {
            kind: Kind::OneShot { retry: false, every: None },
            deadline: Some(Duration::from_secs(60)),
            ..Self::service(name, title, argv)
        }
    }

    /// The same unit, started only after `names` are up too.
    #[must_use]
    pub fn after(mut self, names: &[&str]) -> Self {
        self.after.extend(names.iter().map(|&n| n.to_owned()));
        self
    }

    fn to_record(&self) -> Record {
        let mut r = Record::default();
        r.push("unit", &self.name).push("title", &self.title);
        match self.kind {
            Kind::Service => {
                r.push("kind", "service");
            }
            Kind::OneShot { retry, every } => {
                r.push("kind", if retry { "one-shot-retry" } else { "one-shot" });
                if let Some(every) = every {
                    r.push("every", millis(every));
                }
            }
        }
        for a in &self.argv {
            r.push("argv", a);
        }
        for (k, v) in &self.env {
            r.push("env", format!("{k}={v}"));
        }
        if let Some(f) = &self.env_file {
            r.push("env-file", f);
        }
        for a in &self.after {
            r.push("after", a);
        }
        match &self.ready {
            Ready::Started => {}
            Ready::Notify => {
                r.push("ready", "notify");
            }
            Ready::Probe(argv) => {
                r.push("ready", "probe");
                for a in argv {
                    r.push("probe", a);
                }
            }
        }
        if let Some(d) = self.deadline {
            r.push("deadline", millis(d));
        }
        r.push("stop-scope", if self.stop.scope == Scope::Tree { "tree" } else { "main-only" });
        r.push("stop-signal", self.stop.signal.to_string());
        r.push("stop-grace", millis(self.stop.grace));
        if let Some(farewell) = self.farewell {
            r.push("farewell-signal", farewell.signal.to_string());
            r.push("farewell-grace", millis(farewell.grace));
        }
        if let Some((uid, gid, groups)) = &self.user {
            r.push("uid", uid.to_string()).push("gid", gid.to_string());
            for g in groups {
                r.push("group", g.to_string());
            }
        }
        r.push("oom-score", self.oom_score.to_string());
        for (key, n) in [
            ("nofile", self.nofile),
            ("pids-max", self.pids_max),
            ("memory-max", self.memory_max),
        ] {
            if let Some(n) = n {
                r.push(key, n.to_string());
            }
        }
        if let Some(t) = &self.tty {
            r.push("tty", t);
        }
        if self.quiet {
            r.push("quiet", "yes");
        }
        r
    }

    fn from_record(record: &Record) -> Result<Self, Malformed> {
        let mut u = Self::service("", "", &[]);
        let (mut uid, mut gid, mut groups) = (None, None, vec![]);
        let (mut probe, mut retry, mut every, mut one_shot) = (vec![], false, None, false);
        let (mut farewell_signal, mut farewell_grace) = (None, None);
        for f in &record.fields {
            let v = f.value.as_str();
            let bad = |reason: &str| Malformed::Field {
                line: f.line,
                key: f.key.clone(),
                reason: reason.to_owned(),
            };
            let number = || v.parse::<u64>().map_err(|_| bad("not a whole number"));
            let ms = || number().map(Duration::from_millis);
            let id = || v.parse::<u32>().map_err(|_| bad("not a numeric id"));
            let signal = || v.parse().ok().filter(|s| (1..=64).contains(s)).ok_or_else(|| bad("not a signal"));
            match f.key.as_str() {
                "unit" => v.clone_into(&mut u.name),
                "title" => v.clone_into(&mut u.title),
                "kind" => match v {
                    "service" => one_shot = false,
                    "one-shot" => one_shot = true,
                    "one-shot-retry" => (one_shot, retry) = (true, true),
                    _ => return Err(bad("expected service, one-shot or one-shot-retry")),
                },
                "every" => every = Some(ms()?),
                "argv" => u.argv.push(v.to_owned()),
                "env" => {
                    let (k, val) = v.split_once('=').ok_or_else(|| bad("expected KEY=VALUE"))?;
                    u.env.push((k.to_owned(), val.to_owned()));
                }
                "env-file" => u.env_file = Some(v.to_owned()),
                "after" => u.after.push(v.to_owned()),
                "ready" => {
                    u.ready = match v {
                        "notify" => Ready::Notify,
                        "probe" => Ready::Probe(vec![]),
                        _ => return Err(bad("expected notify or probe")),
                    }
                }
                "probe" => probe.push(v.to_owned()),
                "deadline" => u.deadline = Some(ms()?),
                "stop-scope" => u.stop.scope = if v == "main-only" { Scope::MainOnly } else { Scope::Tree },
                "stop-signal" => u.stop.signal = signal()?,
                "stop-grace" => u.stop.grace = ms()?,
                "farewell-signal" => farewell_signal = Some(signal()?),
                "farewell-grace" => farewell_grace = Some(ms()?),
                "uid" => uid = Some(id()?),
                "gid" => gid = Some(id()?),
                "group" => groups.push(id()?),
                "oom-score" => {
                    u.oom_score = v
                        .parse()
                        .ok()
                        .filter(|s| (-1000..=1000).contains(s))
                        .ok_or_else(|| bad("not between -1000 and 1000"))?;
                }
                "nofile" => u.nofile = Some(number()?),
                "pids-max" => u.pids_max = Some(number()?),
                "memory-max" => u.memory_max = Some(number()?),
                "tty" => u.tty = Some(v.to_owned()),
                "quiet" => u.quiet = v == "yes",
                _ => {} // written by a newer release
            }
        }
        if one_shot {
            u.kind = Kind::OneShot { retry, every };
        }
        if let Ready::Probe(argv) = &mut u.ready {
            *argv = probe;
            if argv.is_empty() {
                return Err(Malformed::Missing {
                    record: "a unit",
                    key: "probe",
                });
            }
        }
        u.farewell = match (farewell_signal, farewell_grace) {
            (Some(signal), Some(grace)) => Some(Farewell { signal, grace }),
            (None, None) => None,
            (signal, _) => {
                return Err(Malformed::Missing {
                    record: "a unit",
                    key: if signal.is_none() { "farewell-signal" } else { "farewell-grace" },
                });
            }
        };
        u.user = match (uid, gid) {
            (Some(uid), Some(gid)) => Some((uid, gid, groups)),
            (Some(_), None) => {
                return Err(Malformed::Missing {
                    record: "a unit",
                    key: "gid",
                });
            }
            _ => None,
        };
        u.checked(record.fields.first().map_or(0, |f| f.line))
    }

    /// Whether it can be run at all.
    fn checked(self, line: usize) -> Result<Self, Malformed> {
        if !is_name(&self.name) {
            return Err(Malformed::Field {
                line,
                key: "unit".to_owned(),
                reason: format!("{:?} is no unit name", self.name),
            });
        }
        if !self.argv.first().is_some_and(|a| a.starts_with('/')) {
            return Err(Malformed::Field {
                line,
                key: "argv".to_owned(),
                reason: "the program must be an absolute path".to_owned(),
            });
        }
        Ok(self)
    }
}

fn millis(d: Duration) -> String {
    d.as_millis().to_string()
}

/// Whether this can name a unit: a path component that can neither climb nor hide.
pub fn is_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._@".contains(&b);
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(ok)
        && name
            .as_bytes()
            .first()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Writes a plan.
pub fn encode(units: &[Unit]) -> String {
    let records: Vec<_> = units.iter().map(Unit::to_record).collect();
    record::encode(FORMAT, &records)
}

/// Reads a plan. Names are unique; `after` may name what is not in the plan (then it does not hold anything up), and a circle is
/// not refused here: see [`circle`].
pub fn decode(bytes: &[u8]) -> Result<Vec<Unit>, Malformed> {
    let records = record::decode(FORMAT, bytes)?;
    if records.len() > MAX_UNITS {
        return Err(Malformed::TooLarge { format: FORMAT });
    }
    let mut units: Vec<Unit> = vec![];
    for r in &records {
        let u = Unit::from_record(r)?;
        if units.iter().any(|o| o.name == u.name) {
            let line = r.fields.first().map_or(0, |f| f.line);
            return Err(Malformed::Field {
                line,
                key: "unit".to_owned(),
                reason: format!("{} is there twice", u.name),
            });
        }
        units.push(u);
    }
    Ok(units)
}

/// The names of units that wait for each other in a circle; empty if there is none.
pub fn circle(units: &[Unit]) -> Vec<String> {
    let mut left: Vec<&Unit> = units.iter().collect();
    loop {
        let names: Vec<&str> = left.iter().map(|u| u.name.as_str()).collect();
        let before = left.len();
        left.retain(|u| u.after.iter().any(|a| names.contains(&a.as_str())));
        if left.len() == before {
            return left.iter().map(|u| u.name.clone()).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Unit {
        Unit {
            kind: Kind::OneShot {
                retry: true,
                every: Some(Duration::from_secs(60)),
            },
            env: vec![("A".into(), "b=c\nd".into())],
            env_file: Some("/etc/environment".into()),
            after: vec!["netd".into()],
            ready: Ready::Probe(vec!["/bin/true".into(), "a b".into()]),
            farewell: Some(Farewell {
                signal: 10,
                grace: Duration::from_secs(55),
            }),
            user: Some((1, 2, vec![3, 4])),
            oom_score: -999,
            nofile: Some(1 << 20),
            pids_max: Some(100),
            memory_max: Some(1 << 30),
            tty: Some("/dev/tty1".into()),
            quiet: true,
            ..Unit::one_shot("a.b-c", "A title", &["/bin/x", "", "y z"])
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let plan = vec![
            full(),
            Unit::service("s", "S", &["/s"]),
            Unit::one_shot("o", "O", &["/o"]).after(&["s", "a.b-c"]),
        ];
        assert_eq!(decode(encode(&plan).as_bytes()).unwrap(), plan);
    }

    /// The format of version 1, for ever.
    #[test]
    fn golden() {
        let text = "skerry-units 1\n\nunit netd\ntitle Network\nkind service\nargv /usr/lib/skerry/netd\nenv A=b\nafter setup\nready notify\n\
                    deadline 5000\nstop-scope tree\nstop-signal 15\nstop-grace 10000\noom-score 0\n";
        let mut u = Unit::service("netd", "Network", &["/usr/lib/skerry/netd"]).after(&["setup"]);
        u.env = vec![("A".into(), "b".into())];
        u.ready = Ready::Notify;
        u.deadline = Some(Duration::from_secs(5));
        assert_eq!(encode(std::slice::from_ref(&u)), text);
        assert_eq!(decode(text.as_bytes()).unwrap(), [u]);
    }

    #[test]
    fn bad_plans_are_refused() {
        for (text, why) in [
            ("unit ../x\nargv /x\n", "no unit name"),
            ("unit x\nargv x\n", "absolute path"),
            ("unit x\n", "absolute path"),
            ("unit x\nargv /x\n\nunit x\nargv /x\n", "twice"),
            ("unit x\nargv /x\nready probe\n", "no probe given"),
            ("unit x\nargv /x\nuid 1\n", "no gid given"),
            ("unit x\nargv /x\nuid root\n", "numeric id"),
            ("unit x\nargv /x\noom-score -2000\n", "between"),
            ("unit x\nargv /x\nstop-signal 0\n", "signal"),
            ("unit x\nargv /x\nfarewell-signal 65\n", "signal"),
            ("unit x\nargv /x\nfarewell-signal 10\n", "no farewell-grace given"),
            ("unit x\nargv /x\nfarewell-grace 10\n", "no farewell-signal given"),
            ("unit x\nargv /x\nkind daemon\n", "expected service"),
        ] {
            let err = decode(format!("skerry-units 1\n\n{text}").as_bytes()).unwrap_err().to_string();
            assert!(err.contains(why), "{text:?}: {err}");
        }
    }

    #[test]
    fn fields_of_a_newer_release_are_skipped() {
        let u = decode(b"skerry-units 1\n\nunit x\nargv /x\ncolour blue\n").unwrap();
        assert_eq!(u.len(), 1);
    }

    #[test]
    fn circles_are_found() {
        let u = |n: &str, a: &[&str]| Unit::service(n, n, &["/x"]).after(a);
        assert_eq!(circle(&[u("a", &[]), u("b", &["a", "absent"])]), Vec::<String>::new());
        assert_eq!(circle(&[u("a", &["b"]), u("b", &["a"]), u("c", &[])]), ["a", "b"]);
        assert_eq!(circle(&[u("a", &["a"])]), ["a"]);
    }
}
