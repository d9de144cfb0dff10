//! `skerry token`: who may join. The cluster's agent keeps the tokens; this names the words and hands them on.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use skerry_distribution::kubernetes::paths::{AGENT, KUBECONFIG};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

/// Tokens by which further machines join this cluster
///
/// `skerry token create` prints the two lines for the new machine's
/// config.yaml. They hold the digest of this cluster's authority, so that a
/// false server is refused. A token that is made here makes workers only.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token, and show the lines for the new machine's configuration
    Create {
        /// When it ends: 30m, 24h, 7d; 0 for never
        #[arg(long, default_value = "24h")]
        ttl: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show all tokens, without their secrets
    List {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Delete a token; machines that joined by it stay
    Delete {
        /// Its first six characters, or all of it
        token: String,
    },
}

/// The agent's words for it.
fn words(command: Command) -> Vec<String> {
    let json = |json: bool| json.then(|| "--json".to_owned());
    match command {
        Command::Create {
            ttl,
            description,
            json: as_json,
        } => {
            let mut words = vec!["create".to_owned(), format!("--ttl={ttl}")];
            words.extend(description.map(|d| format!("--description={d}")));
            words.extend(json(as_json));
            words
        }
        Command::List { json: as_json } => std::iter::once("list".to_owned()).chain(json(as_json)).collect(),
        Command::Delete { token } => vec!["delete".to_owned(), "--".to_owned(), token],
    }
}

/// Becomes the agent.
pub fn run(command: Command) -> Result<ExitCode> {
    if !Path::new(AGENT).exists() {
        bail!("asking for the cluster's tokens: this is no Skerry machine; run it on a server of the cluster");
    }
    if !Path::new(KUBECONFIG).exists() {
        bail!("asking for the cluster's tokens: this machine is no server of a cluster, or not yet; run it on a server (`skerry status`)");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("asking for the cluster's tokens: that needs root; run `sudo skerry token …`");
    }
    Err(std::process::Command::new(AGENT).arg("token").args(words(command)).exec()).with_context(|| format!("running {AGENT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_words() {
        let create = |description: Option<&str>| Command::Create {
            ttl: "1h".into(),
            description: description.map(str::to_owned),
            json: true,
        };
        assert_eq!(words(create(None)), ["create", "--ttl=1h", "--json"]);
        assert_eq!(words(create(Some("--x"))), ["create", "--ttl=1h", "--description=--x", "--json"]);
        assert_eq!(words(Command::List { json: false }), ["list"]);
        assert_eq!(words(Command::Delete { token: "-x".into() }), ["delete", "--", "-x"]);
    }
}
