//! What an adapter decides: plain data.

use serde::{Deserialize, Serialize};
use skerry_config::ports::Opening;
use skerry_control::unit::Unit;

/// Everything one distribution needs for one boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// For PID 1. They wait for units of the system by name (`apply-boot`, `boot-cmd`, `run-cmd`, `netd`, `clock`).
    pub units: Vec<Unit>,
    /// Written by the distribution's own first unit, before anything that reads them.
    pub files: Vec<File>,
    /// What of the configuration has no effect, or a doubtful one.
    pub problems: Vec<Problem>,
    /// The unit that is up when the node is Ready; none where there is no node to wait for.
    pub ready: Option<String>,
    /// Ports of the node that others must reach. With units and none of these, the system has no firewall.
    pub open: Vec<Opening>,
    /// The pods' networks, as far as they are ours: IPv4.
    pub pods: Vec<String>,
}

/// A file to write, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// Content.
    pub text: String,
    /// Its reader rewrites it: it is written only where it is missing, or where what would be written has changed since it was.
    pub keep: bool,
}

impl File {
    /// A file that anyone may read if `mode` says so.
    pub fn new(path: impl Into<String>, mode: u32, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode,
            text: text.into(),
            keep: false,
        }
    }

    /// The same, left as its reader rewrote it.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { keep: true, ..self }
    }
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing of the configuration is wrong.
    Note,
    /// It works, but not as a careful owner would want it.
    Warning,
    /// It has no effect.
    Ignored,
}

/// Something in the configuration that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The key: `skerry.k3s_args`, `skerry.server_url`, …
    pub key: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is the matter, without secrets.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// A key, or a part of one, without effect.
    pub fn ignored(key: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            severity: Severity::Ignored,
            what: what.into(),
            hint: hint.into(),
        }
    }
    /// What does not come with the system, and how to get it.
    pub fn note(key: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            severity: Severity::Note,
            what: what.into(),
            hint: hint.into(),
        }
    }
    /// A key that works, with a warning.
    pub fn warning(key: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            severity: Severity::Warning,
            what: what.into(),
            hint: hint.into(),
        }
    }
}
