//! What may be asked of PID 1?
//!
//! Codec only: no files, sockets, clocks or processes. Three things cross the line between PID 1 and the rest, and all three are
//! the same kind of text, [`record::Record`]s:
//!
//! * the **plan** ([`unit::Unit`]s) that the short-lived `setup plan` hands to PID 1;
//! * **requests** to PID 1's socket ([`request::Request`]);
//! * **replies** ([`reply::UnitStatus`] and friends).
//!
//! Everything is bounded (lines, records, bytes) and versioned: the first line names the format and its version, and an unknown
//! field in a known record is skipped, so that an older reader understands a newer writer after a rollback.

pub mod record;
pub mod reply;
pub mod request;
pub mod unit;

/// Where PID 1 listens. `SOCK_STREAM`; one request, one reply, then the server closes.
pub const SOCKET: &str = "/run/skerry/init.sock";
/// Where `logd` listens: `tail NAME LINES` or `follow NAME LINES`, answered by the raw lines.
pub const LOG_SOCKET: &str = "/run/skerry/log.sock";
/// Where services send `sd_notify` datagrams.
pub const NOTIFY_SOCKET: &str = "/run/skerry/notify.sock";
