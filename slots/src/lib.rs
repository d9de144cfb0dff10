//! Which system boots next, and may I write this one?
//!
//! Two slots, `a` and `b`, hold a system each. One of them is *good*: it has proven itself. The other may be on *trial*, with a count
//! of boots that it has left. That is the whole boot state; it is 512 bytes that GRUB and the running system both read and overwrite
//! in place, kept twice ([`pair`]).
//!
//! ```text
//!                    begin_write           try_slot                 GRUB, each boot
//!   good a, no trial ──────────▶ (slot b   ────────▶ good a, try b ─────────────────▶ good a, try b
//!        ▲                        written)            tries 3                          tries 2, 1, 0
//!        │ clear_trial                                                                  │         │
//!        └── GRUB boots a: "fallback-from-b" ◀── tries 0 ◀── condemn ───────────────────┤         │ mark_good
//!                                                                                       ▼         ▼
//!                                                                                  (b runs)   good b, no trial
//! ```
//!
//! This room decides and never does: no files, no clock, no disk, no allocation. An action returns its sector writes as data
//! ([`pair::Writes`]); whoever performs them flushes and reads back after each, and stops at the first that fails.
//!
//! Invariants, walked exhaustively by `tests/walk.rs` with a cut after every sector write:
//! - one copy is always valid, so one slot is always good, unless the medium itself loses both copies;
//! - the running slot and the good slot are never written; a slot that is written is on trial nowhere;
//! - what [`grub::boot`] says is what `images/boot/grub.cfg` does (`grub-walk` in `tests` compares them in a machine).

#![no_std]

#[cfg(test)]
extern crate std;

pub mod envblk;
pub mod grub;
pub mod pair;
pub mod partition;
pub mod rules;
pub mod state;
pub mod why;

/// One copy of the boot state.
pub type Sector = [u8; 512];

/// The length of a [`Sector`], in bytes.
pub const SECTOR: usize = 512;
