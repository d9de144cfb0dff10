//! DHCP for IPv6 (RFC 8415), beside what routers announce: an address from a server, or only its name servers.
//!
//! [`message`] decodes and encodes, [`lease`] judges what was granted, [`client`] is the state machine; these are pure. [`socket`] sends
//! and receives, [`clients`] holds one client for each interface.
//!
//! | the configuration | routers announce | asked for |
//! |---|---|---|
//! | `dhcp6: true` | anything, or nothing | an address |
//! | `dhcp6: false` | anything | nothing |
//! | says nothing | "managed" (M) | an address |
//! | says nothing | "other" (O) | name servers |
//!
//! The routes, and the prefix of the link, are the routers' to announce: a server gives bare addresses.

pub mod client;
pub mod clients;
pub mod lease;
pub mod message;
pub mod socket;
