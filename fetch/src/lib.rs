//! How do bytes from elsewhere become trusted bytes?
//!
//! [`source`] says what an address means (pure), [`client`] makes the one HTTP client (the owner's certificates and proxies), [`get`]
//! brings bytes: bounded, resumed where they broke off, checked. [`program`] keeps a program where it is wanted. [`wait`] waits until a server answers. [`metadata`] asks a cloud what it
//! says of this machine.
//!
//! Never: bytes without a bound, a redirect from https to http, a certificate that nobody vouches for (but in [`wait`], on request).

pub mod client;
pub mod get;
pub mod metadata;
pub mod program;
pub mod source;
pub mod wait;
