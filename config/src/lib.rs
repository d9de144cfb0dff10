//! What did the owner ask for?
//!
//! Texts with their names go in ([`Source`]); out come one typed [`Config`], where each value came from ([`Entry`]) and what is wrong
//! ([`Problem`]). Pure: no files, no clock, no processes; and no bytes make it panic or take long.
//!
//! ```text
//! Source ── read ──▶ Node ── normal ──▶ Item ─┐
//!   (document, salvage,   (schema, check)     ├─ merge ──▶ Item ── typed ──▶ Config, Entry…
//!    cmdline, userdata)                Item… ─┘                  connman        Problem… from every step
//! ```
//!
//! Read [`load`] first. What k3OS did with each key is in `schema`; where we differ from it, and why, in the table of
//! `tests/vectors.rs`.

pub mod address;
mod check;
pub mod cloud;
mod cmdline;
mod connman;
mod document;
mod explain;
mod k3os;
mod load;
mod merge;
mod normal;
pub mod parameters;
pub mod place;
mod plain;
pub mod ports;
mod problem;
mod read;
pub mod reference;
mod report;
mod salvage;
mod scalar;
mod schema;
pub mod seal;
mod seed;
mod show;
pub mod size;
mod source;
mod suggest;
mod tree;
pub mod types;
mod usable;
mod userdata;
mod variables;
mod write;
mod write_file;

pub use check::is_wifi_secret;
pub use explain::{Entry, Phase};
pub use load::{Loaded, load};
pub use plain::plain;
pub use problem::{Origin, Problem, Severity};
pub use show::HIDDEN;
pub use source::{Source, SourceKind, is_for_machine, order};
pub use types::*;
pub use usable::usable;
pub use variables::Variables;
pub use write_file::DECODED_MAX;
