//! What is in a release, and how is it made?
//!
//! Inputs are Debian packages, our own Rust and Go programs and the files of `overlay/files`; outputs are `vmlinuz`,
//! `initrd.img`, `root.img` (EROFS with its dm-verity tree behind it), `boot/` (GRUB), `sbom.spdx.json`, and `manifest.json`, which names
//! them all and is signed.
//!
//! Invariants:
//! - The same inputs give the same bytes: fixed times, salts, UUIDs and orders; owners and modes come from tables.
//! - No maintainer script runs for the image: [`finish`] writes what they would have written.
//! - Whatever is slow is kept by content in [`cache`], written beside and renamed, so that a killed build costs only time.
//!
//! ```text
//!  debian ─┐                                   ┌─ cpio ── initrd.img
//!  kernel ─┼─ facts ── finish (pure, a Tree) ──┤
//!  go,rust ┘                                   └─ mkfs.erofs ── verity ── root.img
//! ```

pub mod cache;
pub mod cpio;
pub mod debian;
pub mod digest;
pub mod disk;
pub mod elf;
pub mod erofs;
pub mod finish;
pub mod firmware;
pub mod fixture;
pub mod go;
pub mod grub;
pub mod host;
pub mod image;
pub mod iso;
pub mod kernel;
pub mod keys;
pub mod lock;
pub mod modules;
pub mod oci;
pub mod release;
pub mod root;
pub mod run;
pub mod rust;
pub mod sbom;
pub mod sign;
pub mod toolchain;
pub mod tools;
pub mod tree;
pub mod ustar;
pub mod verity;
pub mod weigh;
