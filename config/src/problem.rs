//! What is wrong with a configuration, said so that a person can mend it: where, what, what was done instead, what to write.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing needs doing.
    Note,
    /// Accepted, or ignored as k3OS ignored it; a person should look.
    Warning,
    /// Wrong: something the owner asked for was left out.
    Error,
}

/// A place in a source. Lines and columns count from 1; 0 means the source as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The source's name.
    pub source: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    #[serde(flatten)]
    pub origin: Origin,
    /// How much it matters.
    pub severity: Severity,
    /// The key, as the owner spelled it: `k3os.sysctl.kernel.printk`, `write_files[2].path`. Empty: the whole source.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What was done instead.
    pub done_instead: String,
    /// What to write; empty where there is nothing better to write.
    pub write_instead: String,
    /// Something the owner wrote was left out because of this (unknown keys included). `skerry config check` ends with 1 then.
    pub drops: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity}: ", self.origin)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.done_instead.is_empty() {
            write!(f, "; {}", self.done_instead)?;
        }
        let mut lines = self.write_instead.lines();
        if let Some(first) = lines.next() {
            write!(f, "\n    write: {first}")?;
        }
        for line in lines {
            write!(f, "\n           {line}")?;
        }
        Ok(())
    }
}
