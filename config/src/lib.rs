//! What did the owner ask for?

pub mod types;
pub use types::*;
