//! What PID 1 answers.

use crate::record::{self, Malformed, Record};

/// Name and version of the document.
pub const FORMAT: &str = "skerry-reply";

/// Where a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started: something in `after` is not up.
    Waiting,
    /// Started, not ready; or a one-shot that is running.
    Starting,
    /// A service that is ready.
    Running,
    /// Ended, and to be started again when its backoff is over.
    Backoff,
    /// Being stopped.
    Stopping,
    /// Stopped by request, or not wanted any more.
    Stopped,
    /// A one-shot that ended with 0.
    Done,
    /// A one-shot that failed and is not retried.
    Failed,
}

const STATES: [(State, &str); 8] = [
    (State::Waiting, "waiting"),
    (State::Starting, "starting"),
    (State::Running, "running"),
    (State::Backoff, "backoff"),
    (State::Stopping, "stopping"),
    (State::Stopped, "stopped"),
    (State::Done, "done"),
    (State::Failed, "failed"),
];

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        STATES.iter().find(|(s, _)| *s == self).map_or("?", |(_, w)| w)
    }
    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        STATES.iter().find(|(_, w)| *w == word).map(|(s, _)| *s)
    }
}

/// One unit, as PID 1 sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// The unit's name.
    pub name: String,
    /// What a person reads.
    pub title: String,
    /// Where it stands.
    pub state: State,
    /// Whether it is a one-shot.
    pub one_shot: bool,
    /// Main process, while there is one.
    pub pid: Option<u32>,
    /// Milliseconds since boot at which it came into this state.
    pub since: u64,
    /// How often it was started again after an end of its own.
    pub restarts: u64,
    /// What it waits for: names of units that are not up.
    pub waits_for: Vec<String>,
    /// Why it is in this state, in words: "exited with 1", its own `STATUS=` line, …
    pub why: String,
    /// Milliseconds since boot at which it was first up.
    pub first_up: Option<u64>,
}

/// The machine, as PID 1 sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// `starting`, `running` (every unit up), `degraded` (something failed or in backoff), `stopping`.
    pub state: String,
    /// Milliseconds since boot.
    pub uptime: u64,
    /// Which plan is running: `config`, `last-good` or `built-in`.
    pub plan: String,
    /// What a person should know: why a plan was not used, …
    pub notes: Vec<String>,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The order was accepted.
    Accepted,
    /// It was refused; why, and what to do.
    Refused(String),
    /// The answer to `Status`.
    Status(Machine, Vec<UnitStatus>),
}

impl Reply {
    /// Writes it.
    pub fn encode(&self) -> String {
        let mut head = Record::default();
        let mut records = vec![];
        match self {
            Self::Accepted => {
                head.push("reply", "accepted");
            }
            Self::Refused(why) => {
                head.push("reply", "refused").push("why", why);
            }
            Self::Status(m, units) => {
                head.push("reply", "status");
                head.push("machine", &m.state)
                    .push("uptime", m.uptime.to_string())
                    .push("plan", &m.plan);
                for n in &m.notes {
                    head.push("note", n);
                }
                records.extend(units.iter().map(unit_record));
            }
        }
        records.insert(0, head);
        record::encode(FORMAT, &records)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let records = record::decode(FORMAT, bytes)?;
        let Some((head, units)) = records.split_first() else {
            return Err(Malformed::Missing {
                record: "a reply",
                key: "reply",
            });
        };
        match head.get("reply") {
            Some("accepted") => Ok(Self::Accepted),
            Some("refused") => Ok(Self::Refused(head.get("why").unwrap_or_default().to_owned())),
            Some("status") => {
                let machine = Machine {
                    state: head.get("machine").unwrap_or_default().to_owned(),
                    uptime: head.number("uptime").unwrap_or(0),
                    plan: head.get("plan").unwrap_or_default().to_owned(),
                    notes: head.all("note").map(str::to_owned).collect(),
                };
                Ok(Self::Status(machine, units.iter().map(unit_status).collect::<Result<_, _>>()?))
            }
            _ => Err(Malformed::Missing {
                record: "a reply",
                key: "reply",
            }),
        }
    }
}

fn unit_record(u: &UnitStatus) -> Record {
    let mut r = Record::default();
    r.push("unit", &u.name).push("title", &u.title).push("state", u.state.word());
    r.push("kind", if u.one_shot { "one-shot" } else { "service" });
    if let Some(pid) = u.pid {
        r.push("pid", pid.to_string());
    }
    r.push("since", u.since.to_string()).push("restarts", u.restarts.to_string());
    for w in &u.waits_for {
        r.push("waits-for", w);
    }
    if !u.why.is_empty() {
        r.push("why", &u.why);
    }
    if let Some(up) = u.first_up {
        r.push("first-up", up.to_string());
    }
    r
}

fn unit_status(r: &Record) -> Result<UnitStatus, Malformed> {
    let need = |key: &'static str| {
        r.get(key).ok_or(Malformed::Missing {
            record: "a unit's status",
            key,
        })
    };
    Ok(UnitStatus {
        name: need("unit")?.to_owned(),
        title: r.get("title").unwrap_or_default().to_owned(),
        state: State::from_word(need("state")?).ok_or(Malformed::Missing {
            record: "a unit's status",
            key: "state",
        })?,
        one_shot: r.get("kind") == Some("one-shot"),
        pid: r.number("pid").and_then(|p| u32::try_from(p).ok()),
        since: r.number("since").unwrap_or(0),
        restarts: r.number("restarts").unwrap_or(0),
        waits_for: r.all("waits-for").map(str::to_owned).collect(),
        why: r.get("why").unwrap_or_default().to_owned(),
        first_up: r.number("first-up"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Reply {
        Reply::Status(
            Machine {
                state: "starting".into(),
                uptime: 1234,
                plan: "config".into(),
                notes: vec!["a\nb".into()],
            },
            vec![UnitStatus {
                name: "kubelet".into(),
                title: "Kubernetes node".into(),
                state: State::Waiting,
                one_shot: false,
                pid: Some(7),
                since: 5,
                restarts: 1,
                waits_for: vec!["containerd".into()],
                why: "exited with 1".into(),
                first_up: Some(9),
            }],
        )
    }

    #[test]
    fn round_trip() {
        for reply in [Reply::Accepted, Reply::Refused("no such unit".into()), status()] {
            assert_eq!(Reply::decode(reply.encode().as_bytes()).unwrap(), reply);
        }
        for (s, w) in STATES {
            assert_eq!((State::from_word(w), s.word()), (Some(s), w));
        }
    }

    /// The format of version 1, for ever.
    #[test]
    fn golden() {
        assert_eq!(
            status().encode(),
            "skerry-reply 1\n\nreply status\nmachine starting\nuptime 1234\nplan config\nnote a\\nb\n\nunit kubelet\ntitle Kubernetes node\n\
             state waiting\nkind service\npid 7\nsince 5\nrestarts 1\nwaits-for containerd\nwhy exited with 1\nfirst-up 9\n"
        );
    }
}
