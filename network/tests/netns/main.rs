//! `netd` against a real kernel and real servers, in network namespaces of its own. Needs root, `ip` and `dnsmasq`; without them it is
//! skipped and says so.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: it panics to fail, and prints why it was skipped"
)]

mod firewall;
mod fuzz;
mod lab;
mod leases;
mod links;
mod made;
mod six;
