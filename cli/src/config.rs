//! `skerry config …`

use std::process::ExitCode;

/// What to do with a configuration.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {}

/// Does it.
#[allow(clippy::needless_pass_by_value, reason = "a stub")]
pub fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {}
}
