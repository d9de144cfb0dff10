//! Mounts, and what is mounted.
