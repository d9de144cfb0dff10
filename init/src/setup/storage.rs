//! Storage: what `/` is stacked from. (Placeholder.)

use anyhow::Result;

/// Checks and mounts the data partition, or state in RAM, and what persists.
pub fn run() -> Result<()> {
    anyhow::bail!("mounting the data partition: not in this build")
}
