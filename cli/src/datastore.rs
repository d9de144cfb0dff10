//! `skerry datastore`: copies of the cluster's objects, and putting one back. `setup kube datastore` performs; this names the words.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use skerry_control::request::Request;
use skerry_distribution::kubernetes::paths::{COMPLETE, SETUP};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The cluster's objects: snapshots of them, and back
///
/// One family of commands for every store of this system: SQLite on a single
/// server, etcd on several. Snapshots are also made by schedule, twice a day
/// unless the configuration says otherwise. They hold all of its secrets.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Snapshot(Snapshot),
    /// Put a snapshot back, and restart
    ///
    /// The file is read to its end before anything is ordered. What is there
    /// now stays beside it (db.before or etcd.before in /var/lib/skerry/kube).
    /// Power may go at any instant. With etcd, this server is the only member
    /// afterwards: switch the other servers off first, and reset them.
    Restore {
        /// A snapshot of this cluster
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Go on with this server alone, after the other servers are lost
    ///
    /// etcd accepts writes only while more than half of its members are there.
    /// This makes this server its only member, with all that it holds. The
    /// others must not come back as they were: reset them, and let them join
    /// again by --server.
    #[command(visible_alias = "cluster-reset")]
    Alone {
        #[command(flatten)]
        how: How,
    },
    /// Take an order back that waits for the restart
    Cancel,
}

/// About the restart that an order needs.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Leave the restart to you
    #[arg(long)]
    no_reboot: bool,
}

/// The same in k3s's words
#[derive(Debug, Subcommand)]
pub enum Etcd {
    /// Snapshots: save, list, delete
    Snapshot {
        #[command(subcommand)]
        command: Option<Snapshot>,
    },
    /// Put a snapshot back, and restart
    Restore {
        /// A snapshot of this cluster
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
}

/// What is to be done with snapshots
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Save a snapshot now, while the cluster runs
    Save {
        /// What it is called; the node's name and the time are added
        #[arg(long)]
        name: Option<String>,
    },
    /// Show all snapshots, oldest first
    #[command(visible_alias = "ls")]
    List {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Delete snapshots
    #[command(visible_alias = "rm")]
    Delete {
        /// Their names, as in the list
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl From<Etcd> for Command {
    fn from(words: Etcd) -> Self {
        match words {
            Etcd::Restore { file, how } => Self::Restore { file, how },
            Etcd::Snapshot { command } => Self::Snapshot(command.unwrap_or(Snapshot::Save { name: None })),
        }
    }
}

/// The helper's words, and how the machine is restarted after it.
fn words(command: Command) -> Result<(Vec<String>, Option<How>)> {
    let one = |word: &str| vec![word.to_owned()];
    Ok(match command {
        Command::Snapshot(Snapshot::Save { name }) => (one("save").into_iter().chain(name).collect(), None),
        Command::Snapshot(Snapshot::List { json }) => (one("list").into_iter().chain(json.then(|| "--json".to_owned())).collect(), None),
        Command::Snapshot(Snapshot::Delete { names }) => (one("delete").into_iter().chain(names).collect(), None),
        Command::Restore { file, how } => {
            // The helper runs elsewhere.
            let file = std::path::absolute(&file).with_context(|| format!("finding {}", file.display()))?;
            let file = file
                .into_os_string()
                .into_string()
                .ok()
                .context("reading the file's name: it is no text")?;
            (vec!["restore".to_owned(), file], Some(how))
        }
        Command::Alone { how } => (one("alone"), Some(how)),
        Command::Cancel => (one("cancel"), None),
    })
}

/// Runs the helper; after an order, the machine restarts.
pub fn run(command: Command) -> Result<ExitCode> {
    if !Path::new(SETUP).exists() || !Path::new(COMPLETE).exists() {
        bail!("looking after the datastore: this machine is no server of a cluster, or not yet; run it on a server (`skerry status`)");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("looking after the datastore: that needs root; run `sudo skerry datastore …`");
    }
    let (words, how) = words(command)?;
    if how.as_ref().is_some_and(|how| !how.yes) && !is_confirmed(&words)? {
        bail!("{}: not confirmed, nothing was done", words.join(" "));
    }
    let done = std::process::Command::new(SETUP)
        .args(["kube", "datastore"])
        .args(&words)
        .status()
        .with_context(|| format!("running {SETUP}"))?;
    match how {
        _ if !done.success() => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
        Some(how) if how.no_reboot => {
            println!("Restart: skerry reboot. Take it back: skerry datastore cancel");
            Ok(ExitCode::SUCCESS)
        }
        Some(_) => {
            println!("The machine restarts now.");
            crate::machine::order(&Request::Reboot)
        }
    }
}

fn is_confirmed(words: &[String]) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{}: nobody is there to confirm it / try: --yes", words.join(" "));
    }
    print!("The cluster's objects become others, and the machine restarts. Type yes to go on: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how() -> How {
        How {
            yes: true,
            no_reboot: false,
        }
    }

    #[test]
    fn the_helpers_words() {
        let said = |command| words(command).unwrap().0;
        assert_eq!(said(Command::Snapshot(Snapshot::Save { name: None })), ["save"]);
        assert_eq!(said(Command::Snapshot(Snapshot::Save { name: Some("x".into()) })), ["save", "x"]);
        assert_eq!(said(Command::Snapshot(Snapshot::List { json: true })), ["list", "--json"]);
        assert_eq!(
            said(Command::Snapshot(Snapshot::Delete {
                names: vec!["a".into(), "b".into()]
            })),
            ["delete", "a", "b"]
        );
        let file = "/media/stick/a.db".into();
        assert_eq!(said(Command::Restore { file, how: how() }), ["restore", "/media/stick/a.db"]);
        assert_eq!(said(Command::Alone { how: how() }), ["alone"]);
    }

    #[test]
    fn k3ss_words_mean_the_same() {
        let said = |command: Etcd| words(command.into()).unwrap().0;
        assert_eq!(said(Etcd::Snapshot { command: None }), ["save"]);
        let listed = Etcd::Snapshot {
            command: Some(Snapshot::List { json: false }),
        };
        assert_eq!(said(listed), ["list"]);
    }
}
