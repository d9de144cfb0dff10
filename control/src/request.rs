//! What may be asked of PID 1.

use crate::record::{self, Malformed, Record};

/// Name and version of the document.
pub const FORMAT: &str = "skerry-request";

/// A question or an order. Who may: `Status` anyone; all others root or group `skerry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Every unit's state; answered by [`crate::reply::UnitStatus`] records and one [`crate::reply::Machine`].
    Status,
    /// Start a unit that was stopped, now.
    Start(String),
    /// Stop a unit until it is started again.
    Stop(String),
    /// Stop, then start; clears its backoff.
    Restart(String),
    /// Stop everything and restart the machine. A second one while the first is under way forces it.
    Reboot,
    /// Stop everything and switch the machine off. A second one while the first is under way forces it.
    PowerOff,
    /// Read the configuration again: run `setup plan`, start what is new, stop what is gone, restart what changed.
    Reload,
}

impl Request {
    /// Writes it.
    pub fn encode(&self) -> String {
        let mut r = Record::default();
        let (verb, unit) = match self {
            Self::Status => ("status", None),
            Self::Start(u) => ("start", Some(u)),
            Self::Stop(u) => ("stop", Some(u)),
            Self::Restart(u) => ("restart", Some(u)),
            Self::Reboot => ("reboot", None),
            Self::PowerOff => ("poweroff", None),
            Self::Reload => ("reload", None),
        };
        r.push("verb", verb);
        if let Some(u) = unit {
            r.push("unit", u);
        }
        record::encode(FORMAT, &[r])
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let records = record::decode(FORMAT, bytes)?;
        let r = records.first().ok_or(Malformed::Missing {
            record: "a request",
            key: "verb",
        })?;
        let unit = || {
            r.get("unit").map(str::to_owned).ok_or(Malformed::Missing {
                record: "a request",
                key: "unit",
            })
        };
        match r.get("verb") {
            Some("status") => Ok(Self::Status),
            Some("start") => Ok(Self::Start(unit()?)),
            Some("stop") => Ok(Self::Stop(unit()?)),
            Some("restart") => Ok(Self::Restart(unit()?)),
            Some("reboot") => Ok(Self::Reboot),
            Some("poweroff") => Ok(Self::PowerOff),
            Some("reload") => Ok(Self::Reload),
            Some(other) => Err(Malformed::Field {
                line: 0,
                key: "verb".to_owned(),
                reason: format!("{other:?} is not known here"),
            }),
            None => Err(Malformed::Missing {
                record: "a request",
                key: "verb",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        use Request::{PowerOff, Reboot, Reload, Restart, Start, Status, Stop};
        for q in [
            Status,
            Start("a".into()),
            Stop("b".into()),
            Restart("c".into()),
            Reboot,
            PowerOff,
            Reload,
        ] {
            assert_eq!(Request::decode(q.encode().as_bytes()).unwrap(), q);
        }
    }

    /// The format of version 1, for ever.
    #[test]
    fn golden() {
        assert_eq!(
            Request::Stop("kubelet".into()).encode(),
            "skerry-request 1\n\nverb stop\nunit kubelet\n"
        );
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "skerry-request 1\n",
            "skerry-request 1\n\nverb fly\n",
            "skerry-request 1\n\nverb stop\n",
        ] {
            assert!(Request::decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
