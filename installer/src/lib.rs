//! How does the OS get onto a disk, or a file?
//!
//! ```text
//! Request + Medium ──layout──▶ Layout ─┐
//! Release (folder) ────────────────────┼─plan──▶ Plan: steps, each with its bytes ──perform──▶ Device (disk, image file, record)
//! what is on the disk ─────────────────┘
//! ```
//!
//! A flashable image is an installation onto a file; the first boot grows it ([`grow`]). What a plan writes it names in full before
//! anything is written, so it can be shown, rehearsed, and cut at every write by the tests.
//!
//! Never: asks questions, prints, downloads, or looks for anything else than it was told to look at.

pub mod bios;
pub mod bmap;
pub mod boot_slot;
pub mod bootloader;
pub mod choose;
pub mod content;
pub mod device;
pub mod ext4;
pub mod facts;
pub mod fat;
pub mod flash;
pub mod grow;
pub mod image;
pub mod layout;
pub mod map;
pub mod pace;
pub mod perform;
pub mod plan;
pub mod record;
pub mod release;
pub mod step;
