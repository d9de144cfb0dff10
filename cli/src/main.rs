//! What may a person ask? The command `skerry`: a thin face over the other rooms.
//!
//! It answers to several names: `skerry` and `k3os` (its old name), and `reboot`, `poweroff`, `halt`, `shutdown`, which do what
//! they say. Exit status: 0 done, 1 failed, 2 misuse, 3 refused.

#![allow(clippy::print_stdout, reason = "printing is this program's job")]

mod bootloader;
mod bundle;
mod config;
mod datastore;
mod flash;
mod install;
mod legacy;
mod logs;
mod machine;
mod network;
mod power;
mod progress;
mod reset;
mod said;
mod settings;
mod slots;
mod status;
mod stop;
mod support;
mod terminal;
mod token;
mod upgrade;
mod watched;
mod wizard;

use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// Look after a Skerry machine.
///
/// Skerry is an immutable operating system that runs one thing: a Kubernetes node, from one config.yaml. `skerry status` says how
/// the node is and what it waits for; `skerry config check FILE` says what a configuration would do, on any computer.
#[derive(Debug, Parser)]
#[command(name = "skerry", version, max_term_width = 80, infer_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the node is: what runs, since when, what waits for what, and why
    Status {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Every service and step of this boot, one a line
    Services {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// The last log lines of a service or step (`skerry services` lists them)
    Logs(logs::Args),
    /// Interfaces, addresses, where each came from, what is waited for
    Network {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Start a service that was stopped
    Start {
        /// Its name, as in `skerry services`
        service: String,
    },
    /// Stop a service until it is started again, or the next boot
    Stop {
        /// Its name, as in `skerry services`
        service: String,
    },
    /// Stop a service and start it again
    Restart {
        /// Its name, as in `skerry services`
        service: String,
    },
    /// The two systems on the disk; `skerry slots try b` boots the other one
    Slots(slots::SlotsArgs),
    /// Go back to the system in the other slot, with the next restart
    Rollback(slots::RollbackArgs),
    #[command(subcommand)]
    Token(token::Command),
    #[command(subcommand)]
    Datastore(datastore::Command),
    #[command(subcommand, hide = true)]
    Etcd(datastore::Etcd),
    /// Check, explain or print a configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Gather the images that manifests ask for, for machines without a network
    ///
    /// Ends with 1 where one is missing, and names it.
    Bundle(bundle::Args),
    /// Install Skerry onto a disk, or into a file
    Install(install::Args),
    /// Write an image onto a card, a stick or a disk; works on any computer
    Flash(flash::Args),
    /// Write a release into the slot that does not run, and try it next
    ///
    /// Everything is checked before a byte is written: the signature, the
    /// version, the room, and every part of the release. Power may go at any
    /// instant; run it again then.
    Upgrade(upgrade::Args),
    /// Which GRUB boots the disk, and a newer one onto it
    #[command(subcommand)]
    Bootloader(bootloader::Command),
    /// Forget everything this machine has kept, at the next restart
    Reset(reset::Args),
    /// One archive with logs, states and configuration, secrets removed
    Support(support::Args),
    /// Stop everything and restart the machine; a second time forces it
    Reboot,
    /// Stop everything and switch the machine off; a second time forces it
    Poweroff,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let name = args
        .first()
        .and_then(|a| Path::new(a).file_name())
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let done = match name.as_str() {
        "reboot" | "poweroff" | "halt" | "shutdown" => power::by_name(&name, args.get(1..).unwrap_or_default()),
        "k3os" => match legacy::translate(args.get(1..).unwrap_or_default()) {
            Ok(translated) => run(Cli::parse_from(std::iter::once("k3os".to_owned()).chain(translated))),
            Err(why) => {
                eprintln!("k3os: {why}");
                return ExitCode::from(2);
            }
        },
        _ => run(Cli::parse_from(args)),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("skerry: {}", said::said(&e));
            if is_refusal(&e) { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}

/// Somebody understood and said no: PID 1, the check of a release, or the rules of the slots.
fn is_refusal(e: &anyhow::Error) -> bool {
    e.downcast_ref::<machine::Refused>().is_some()
        || e.downcast_ref::<skerry_upgrade::trust::Refused>().is_some()
        || e.downcast_ref::<skerry_slots::rules::Refused>().is_some()
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    use skerry_control::request::Request;
    match cli.command {
        Command::Status { json } => status::status(json),
        Command::Services { json } => status::services(json),
        Command::Network { json } => network::run(json),
        Command::Logs(args) => logs::run(&args),
        Command::Start { service } => machine::order(&Request::Start(service)),
        Command::Stop { service } => machine::stop(&service),
        Command::Restart { service } => machine::order(&Request::Restart(service)),
        Command::Slots(args) => slots::run(&args),
        Command::Rollback(args) => slots::rollback(&args),
        Command::Token(command) => token::run(command),
        Command::Datastore(command) => datastore::run(command),
        Command::Etcd(command) => datastore::run(command.into()),
        Command::Config(command) => config::run(command),
        Command::Bundle(args) => bundle::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Flash(args) => flash::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Bootloader(command) => bootloader::run(&command),
        Command::Reset(args) => reset::run(&args),
        Command::Support(args) => support::run(&args),
        Command::Reboot => machine::order(&Request::Reboot),
        Command::Poweroff => machine::order(&Request::PowerOff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_refusal_is_known_below_what_was_being_done() {
        use anyhow::Context;
        use skerry_upgrade::trust::Refused;
        let unsigned: Result<(), _> = Err(Refused::Unsigned("/r".into()));
        assert!(is_refusal(&unsigned.context("looking at the release").unwrap_err()));
        let running: Result<(), _> = Err(skerry_slots::rules::Refused::NoTrial);
        assert!(is_refusal(&running.context("planning").unwrap_err()));
        assert!(!is_refusal(&anyhow::anyhow!("writing: the disk has failed")));
    }

    /// Help fits a console 80 columns wide.
    #[test]
    fn help_fits() {
        fn walk(command: &mut clap::Command) {
            for line in command.render_long_help().to_string().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            for sub in command.get_subcommands_mut() {
                walk(sub);
            }
        }
        let mut command = Cli::command();
        command.build();
        walk(&mut command);
    }
}
