//! How does a release become bootable media?
//!
//! ```text
//! Release (folder) ─┐                        ┌─ /skerry/            the release, as it is, and slot.cfg
//! Loader (GRUB)    ─┼─plan──▶ Plan ──write──▶│  /boot/grub/         menu, the BIOS's core image
//! Owner (config)   ─┘                        └─ /boot/efi.img       the UEFI's program, in a FAT file system
//! ```
//!
//! One ISO 9660 image for BIOS and UEFI, as a disc and (copied to it as it is) on a stick. The same inputs give the same bytes.
//!
//! Never: builds anything of a release, or looks for programs. What it needs it is given.

pub mod date;
pub mod plan;
pub mod write;

/// The volume label: how the initramfs finds the medium if GRUB cannot say its date.
pub const LABEL: &str = "SKERRY";
/// The first file that GRUB's core images for the ISO read, from their memory disk.
pub const START: &str = include_str!("../boot/start.cfg");
/// The menu.
pub const MENU: &str = include_str!("../boot/grub.cfg");
