//! DHCP for IPv4 (RFC 2131): an address from a server, and what else the server says.
//!
//! [`message`] decodes and encodes, [`frame`] wraps a message for the wire, [`client`] is the state machine; these are pure. [`socket`]
//! sends and receives, [`store`] keeps the last lease for the next boot.

pub mod client;
pub mod frame;
pub mod lease;
pub mod message;
pub mod options;
pub mod socket;
pub mod store;
