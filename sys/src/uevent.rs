//! The kernel's word that a device came or went.
