//! How is the kernel asked?
//!
//! The only room with `unsafe`, allowed file by file, each block with the promise it keeps. Everything returns [`Error`], which says
//! what was being done, on what, and what the kernel answered.

use std::fmt;
use std::io;

/// What went wrong: `doing on: why`.
#[derive(Debug)]
pub struct Error {
    /// A gerund: "mounting", "writing".
    pub doing: &'static str,
    /// The object: a path, a device, a pid.
    pub on: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.on, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds to an I/O result what was being done, and on what.
pub trait Doing<T> {
    /// `file.sync_all().doing("flushing", path.display())?`
    fn doing(self, doing: &'static str, on: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: &'static str, on: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error {
            doing,
            on: on.to_string(),
            source: e.into(),
        })
    }
}

pub mod block;
pub mod cgroup;
pub mod event;
pub mod file;
#[cfg(feature = "gpt")]
pub mod gpt;
pub mod iso9660;
pub mod kmsg;
pub mod log;
pub mod loopback;
pub mod machine;
pub mod module;
pub mod mount;
pub mod notify;
pub mod packet;
pub mod partition;
pub mod process;
pub mod socket;
pub mod tree;
pub mod uevent;
pub mod verity;
pub mod volume;
