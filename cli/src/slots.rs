//! `skerry slots` and `skerry rollback`: the two systems on the disk, and which one boots next.

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use skerry_control::request::Request;
use skerry_slots::pair::{Pair, Writes};
use skerry_slots::rules;
use skerry_slots::state::Slot;
use skerry_upgrade::health::Rule;
use skerry_upgrade::now;
use skerry_upgrade::running::{Open, Running};
use skerry_upgrade::slots::{self, Seen, Standing};
use skerry_upgrade::trial::{Memory, Trial};
use std::fmt::Write;
use std::process::ExitCode;

/// The two systems on the disk: version, state, tries left, verity hash
#[derive(Debug, Args)]
pub struct SlotsArgs {
    #[command(subcommand)]
    command: Option<SlotsCommand>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SlotsCommand {
    /// Boot the other slot at the next restart; it must prove itself there
    Try {
        /// a or b
        slot: String,
        #[command(flatten)]
        terms: Terms,
    },
}

/// How a system proves itself
#[derive(Debug, Clone, Copy, Args)]
pub struct Terms {
    /// Seconds from its start in which it must have become as healthy as
    /// this one
    #[arg(long, value_name = "SECONDS", default_value_t = Rule::default().limit_s)]
    pub health_limit: u64,
    /// Seconds for which it must stay so
    #[arg(long, value_name = "SECONDS", default_value_t = Rule::default().soak_s)]
    pub soak: u64,
    /// Restart at once
    #[arg(long)]
    pub reboot: bool,
}

impl Terms {
    /// As the trial's record has it.
    pub fn rule(self) -> Rule {
        Rule {
            limit_s: self.health_limit,
            soak_s: self.soak,
        }
    }
}

/// `skerry slots`.
pub fn run(args: &SlotsArgs) -> Result<ExitCode> {
    match &args.command {
        Some(SlotsCommand::Try { slot, terms }) => try_slot(slots::named(slot)?, *terms),
        None => list(args.json),
    }
}

/// The running system, its disk, and what is on it.
struct Here {
    running: Running,
    open: Open,
    pair: Pair,
    seen: [Seen; 2],
}

impl Here {
    fn look() -> Result<Self> {
        let running = Running::required()?;
        let mut open = running.open().context("looking at the slots (this needs root: try sudo)")?;
        let pair = open.pair()?;
        let seen = slots::look(&running, &pair)?;
        Ok(Self { running, open, pair, seen })
    }

    fn of(&self, slot: Slot) -> &Seen {
        let [a, b] = &self.seen;
        if slot == Slot::A { a } else { b }
    }
}

fn list(as_json: bool) -> Result<ExitCode> {
    let here = Here::look()?;
    let left = Memory::system().left().unwrap_or_default();
    if as_json {
        let document = json!({
            "disk": here.running.disk,
            "why": here.running.said.why.to_string(),
            "slots": here.seen,
            "rolled_back": left,
        });
        println!("{document:#}");
    } else {
        print!("{}", table(&here.seen));
        if let Some(last) = left.last() {
            println!("\n{last}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(seen: &[Seen]) -> String {
    let mut out = "SLOT  VERSION       STATE     TRIES  ROOT HASH\n".to_owned();
    for s in seen {
        let tries = s
            .tries
            .filter(|_| s.state == Standing::OnTrial)
            .map_or_else(|| "-".to_owned(), |t| t.to_string());
        let hash: String = s.root_hash.as_deref().unwrap_or("-").chars().take(16).collect();
        let version = s.version.as_deref().unwrap_or("-");
        let mark = if s.is_running { "*" } else { " " };
        let _ = writeln!(out, "{}{mark}    {version:<12}  {:<8}  {tries:<5}  {hash}", s.slot, s.state);
        if let Some(why) = s.why.as_ref().filter(|_| s.state != Standing::Empty) {
            let _ = writeln!(out, "      not whole: {why}");
        }
    }
    out.push_str("(* is running)\n");
    out
}

fn try_slot(slot: Slot, terms: Terms) -> Result<ExitCode> {
    let mut here = Here::look()?;
    let seen = here.of(slot).clone();
    let doing = || format!("putting slot {slot} on trial");
    if let Some(why) = &seen.why {
        anyhow::bail!("{}: {why}", doing());
    }
    let writes = rules::try_slot(&here.pair, here.running.said.slot, slot, seen.is_whole).with_context(doing)?;
    begin(&mut here, slot, terms, &writes).with_context(doing)?;
    println!("Slot {slot} is on trial: the next restart boots it, three times at most until it has proven itself.");
    then(terms.reboot)
}

/// The record first, the sectors after: a record without a trial is dropped at the next boot.
fn begin(here: &mut Here, slot: Slot, terms: Terms, writes: &Writes) -> Result<()> {
    let (from, to) = (here.of(here.running.said.slot).system(), here.of(slot).system());
    let baseline = now::baseline()?;
    Memory::system().begin(&Trial::new(from, to, baseline, terms.rule()))?;
    here.open.write(writes)
}

/// Go back to the other slot
#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    terms: Terms,
}

/// `skerry rollback`.
pub fn rollback(args: &RollbackArgs) -> Result<ExitCode> {
    let mut here = Here::look()?;
    let running = here.running.said.slot;
    let other = here.of(running.other()).clone();
    let doing = || format!("going back to slot {}", running.other());
    let is_candidate = here.pair.read().state.candidate() == Some(running);
    ensure!(
        other.is_whole,
        "{}: {}",
        doing(),
        other.why.as_deref().unwrap_or("it holds no whole system")
    );
    let writes = rules::roll_back(&here.pair, running, other.is_whole).with_context(doing)?;
    if is_candidate {
        here.open.write(&writes).with_context(doing)?;
        println!("This system is given up: the next restart boots slot {} again.", other.slot);
    } else {
        begin(&mut here, running.other(), args.terms, &writes).with_context(doing)?;
        println!(
            "The next restart boots slot {} ({}), which must prove itself; else the machine comes back to this one.",
            other.slot,
            other.version.as_deref().unwrap_or("unknown version")
        );
    }
    then(args.terms.reboot)
}

/// What comes next.
pub fn then(reboot: bool) -> Result<ExitCode> {
    if reboot {
        println!("Restarting.");
        return crate::machine::order(&Request::Reboot);
    }
    println!("Restart when it suits: skerry reboot");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table() {
        let seen = |slot, is_running, state, tries, version: Option<&str>| Seen {
            slot,
            is_running,
            state,
            tries,
            version: version.map(str::to_owned),
            root_hash: version.map(|_| "0123456789abcdef0123".to_owned()),
            is_whole: version.is_some(),
            why: version.is_none().then(|| "nothing was written to it".to_owned()),
        };
        let fresh = [
            seen("a", true, Standing::Good, None, Some("0.1.0")),
            seen("b", false, Standing::Empty, None, None),
        ];
        assert_eq!(
            table(&fresh),
            "SLOT  VERSION       STATE     TRIES  ROOT HASH\n\
             a*    0.1.0         good      -      0123456789abcdef\n\
             b     -             empty     -      -\n\
             (* is running)\n"
        );
        let trial = [
            seen("a", false, Standing::Good, None, Some("0.1.0")),
            seen("b", true, Standing::OnTrial, Some(2), Some("0.2.0-rc.1")),
        ];
        assert!(
            table(&trial).contains("b*    0.2.0-rc.1    on trial  2      0123456789abcdef\n"),
            "{}",
            table(&trial)
        );
    }
}
