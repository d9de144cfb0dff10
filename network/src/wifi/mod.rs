//! Wi-Fi: which network each radio is to join, as pure rules. `wifid` (`src/wifid`) looks and acts by them over D-Bus.
//!
//! ```text
//!  network.json ──► asked ──► files ──► iwd reads passphrases and the country below /run
//!                     │
//!  iwd: radios, ──────┴────► plan ──► join, leave, switch on ──► iwd says what changed ──► …
//!  networks in range            └───► /run/skerry/wifi-state.json, STATUS=
//! ```
//!
//! iwd scans, roams between the access points of one network, and does the ciphers. Which network is joined is decided here: iwd's own
//! choice knows no order of the owner's, and where it joins by itself it does not say that a passphrase was refused.

pub mod asked;
pub mod files;
pub mod plan;
pub mod state;
