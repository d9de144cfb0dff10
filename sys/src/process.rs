//! Processes: starting, signalling, reaping.
