//! How does the machine move to the next release, and back?
//!
//! ```text
//!  a folder ──trust──▶ Checked ─┐
//!  the disk that was booted ────┴─stage──▶ Plan ──▶ the idle slot, written and read back, on trial from the next restart on
//! ```
//!
//! A release is a folder: [`manifest`], its [`signature`], kernel, initramfs, root, the boot loader and the SBOM. It works without any
//! network or cluster.
//!
//! Never: downloads, restarts the machine, or writes a byte of a release that was not checked.

pub mod health;
pub mod machine;
pub mod manifest;
pub mod now;
pub mod running;
pub mod signature;
pub mod slots;
pub mod stage;
pub mod tree;
pub mod trial;
pub mod trust;
