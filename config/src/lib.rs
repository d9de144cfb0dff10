//! What did the owner ask for?
//!
//! Texts with their names go in ([`Source`]); out come one typed [`Config`], where each value came from ([`Entry`]) and what is wrong
//! ([`Problem`]). Pure: no files, no clock, no processes; and no bytes make it panic or take long.
//!
//! ```text
//! Source ─ document / cmdline / userdata ─▶ Node (tree with positions) ─ normal (schema) ─▶ one tree a source
//!        ─ merge ─▶ one tree ─ typed + validate ─▶ Config, Entry…            Problem… from every step
//! ```

mod load;
mod problem;
mod source;
pub mod types;
mod usable;
mod write_file;

pub use load::{Entry, Loaded, Phase, load};
pub use problem::{Origin, Problem, Severity};
pub use source::{Source, SourceKind, is_for_machine, order};
pub use types::*;
pub use usable::usable;
pub use write_file::DECODED_MAX;
