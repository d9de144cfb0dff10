//! `setup health`: a system on trial proves itself, or the machine goes back; after that, the system that it went back to says why.
//!
//! It runs at every boot from a slot, beside everything else and waiting for nothing, since what it waits for may never come. Where it
//! has nothing to do it ends at once. All that is durable is ordered so that it may be cut anywhere and done again: first the words on
//! data, then the one sector that counts.

use anyhow::{Context, Result, bail};
use serde_json::json;
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use skerry_slots::pair::Pair;
use skerry_slots::rules::{self, Role};
use skerry_slots::state::{State, Tries};
use skerry_slots::why::Why;
use skerry_sys::kmsg::{Console, kmsg};
use skerry_sys::machine::uptime;
use skerry_upgrade::health::{Baseline, Failed, Look, Rule, Verdict, Watch};
use skerry_upgrade::now;
use skerry_upgrade::running::{Open, Running};
use skerry_upgrade::trial::{Memory, RolledBack, System, Trial};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks. PID 1 is asked; it tells nothing by itself.
const EVERY: Duration = Duration::from_secs(1);
/// How long a record waits for the data partition before it is given up.
const DATA: Duration = Duration::from_secs(660);
/// How long all of the owner's probes may take.
const PROBES: Duration = Duration::from_secs(30);
/// The owner's probes: programs that end with 0 while all is well.
const PROBES_AT: &str = "/var/lib/skerry/health.d";
/// What everybody may know of the slots; `skerry status` reads it.
pub const REPORT: &str = "/run/skerry/slots.json";
/// How many lines of a log are kept with a failure.
const LINES: usize = 20;

/// `setup health`.
pub fn run() -> Result<()> {
    let Some(running) = Running::look()? else {
        return Ok(());
    };
    let mut open = running.open()?;
    let found = open.pair()?;
    let repair = rules::repair(&found, running.said.slot);
    if !repair.is_empty() {
        say(&format!("the boot state is repaired: {}", damage(&found)));
        open.write(&repair).context("repairing the boot state")?;
    }
    let pair = open.pair()?;
    let state = pair.read().state;
    match rules::role(state, running.said.slot, running.said.why) {
        Role::Good => {
            let done = after(&running, &mut open, state);
            report(&running, "good");
            done
        }
        role => {
            report(&running, if role == Role::Trial { "on trial" } else { "unproven" });
            prove(&running, &mut open, role)
        }
    }
}

fn report(running: &Running, state: &str) {
    let left = Memory::system().left().unwrap_or_default();
    let document = json!({
        "slot": running.said.slot.name(),
        "why": running.said.why.to_string(),
        "state": state,
        "rolled_back": left.last(),
    });
    if let Err(why) = skerry_sys::file::replace(REPORT, format!("{document:#}\n").as_bytes(), 0o644) {
        eprintln!("{why}");
    }
}

fn damage(pair: &Pair) -> &'static str {
    match pair.read().is_damaged {
        [true, true] => "both copies were damaged",
        [true, false] => "its first copy was damaged",
        [false, true] => "its second copy was damaged",
        [false, false] => "its copies differed, as after a power cut",
    }
}

/// On the good slot: how did the last trial end?
fn after(running: &Running, open: &mut Open, state: State) -> Result<()> {
    let good = running.said.slot;
    let other = good.other();
    match (running.said.why, state.trial) {
        (_, Some(Tries::NONE)) | (Why::Unbootable(_), _) => {
            wait_for_data()?;
            let memory = Memory::system();
            let trial = memory.trial().unwrap_or_else(|why| {
                eprintln!("{}", crate::said::said(&why));
                None
            });
            let record = rolled_back(trial, other.name(), good.name());
            memory.leave(&record)?;
            if state.trial.is_some() {
                let pair = open.pair()?;
                open.write(&rules::clear_trial(&pair, good)?)
                    .context("taking the other slot off trial")?;
            }
            say(&format!("{record}"));
            for line in &record.lines {
                say(&format!("  {line}"));
            }
            Ok(())
        }
        (Why::Unsaved(slot), _) => {
            say(&format!(
                "slot {slot} is on trial but was not started: its try could not be written to the disk, which may be dying"
            ));
            Ok(())
        }
        (_, None) => {
            // The words of a trial that never came into being, or that ended well.
            if wait_for_data().is_ok() {
                Memory::system().forget_trial()?;
            }
            Ok(())
        }
        (_, Some(_)) => Ok(()),
    }
}

fn rolled_back(trial: Option<Trial>, from: &str, to: &str) -> RolledBack {
    let system = |slot: &str| System {
        slot: slot.to_owned(),
        ..System::default()
    };
    match trial.filter(|t| t.to.slot == from) {
        Some(trial) => trial.ended(),
        None => Trial::new(system(to), system(from), Baseline::default(), Rule::default()).ended(),
    }
}

/// On trial, or in a slot that is neither good nor on trial: watch until there is a verdict.
fn prove(running: &Running, open: &mut Open, role: Role) -> Result<()> {
    let memory = Memory::system();
    let mut trial: Option<Trial> = None;
    let mut watch: Option<Watch> = None;
    let mut last = None;
    say(match role {
        Role::Trial => "this system is on trial: it proves itself, or the machine goes back to the other slot",
        _ => "this slot has not proven itself yet",
    });
    loop {
        let look = look();
        // What was up before is on data.
        if watch.is_none() && storage_is_done(&look) {
            trial = begun(&memory, running);
            let baseline = trial.as_ref().map(|t| t.baseline.clone());
            watch = Some(Watch::new(baseline, trial.as_ref().map_or_else(Rule::default, |t| t.rule)));
        }
        let verdict = match &mut watch {
            Some(watch) => watch.take(&look, uptime()),
            None => Watch::new(None, Rule::default()).take(&before_data(&look), uptime()),
        };
        match verdict {
            Verdict::Good => return good(running, open, &memory),
            Verdict::Failed(failed) if role == Role::Trial => return condemned(open, &memory, trial, &failed),
            Verdict::Failed(failed) => bail!("proving slot {}: {failed}", running.said.slot),
            Verdict::Soaking(left) => remember(
                &mut last,
                None,
                &format!("all is well; {} s more", left.as_secs()),
                &memory,
                &mut trial,
            ),
            Verdict::Wait(missing) => {
                let words = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                remember(&mut last, missing.into_iter().next(), &words, &memory, &mut trial);
            }
        }
        std::thread::sleep(EVERY);
    }
}

/// Until data is there nothing of the units counts.
fn before_data(look: &Look) -> Look {
    Look {
        is_mute: look.is_mute,
        ..Look::default()
    }
}

fn look() -> Look {
    match now::look() {
        Ok(look) => Look {
            probes: if look.plan.is_some() { probes() } else { vec![] },
            ..look
        },
        Err(why) => {
            eprintln!("{}", crate::said::said(&why));
            Look {
                is_mute: true,
                ..Look::default()
            }
        }
    }
}

fn storage_is_done(look: &Look) -> bool {
    // In a plan without it nothing is on data, and nothing is to be waited for.
    look.units.iter().any(|u| u.name == "storage" && u.is_up) || (look.plan.is_some() && look.units.iter().all(|u| u.name != "storage"))
}

/// The record of this trial, with one start more.
fn begun(memory: &Memory, running: &Running) -> Option<Trial> {
    let found = memory.trial().unwrap_or_else(|why| {
        say(&crate::said::said(&why));
        None
    });
    let mut trial = found.filter(|t| t.to.slot == running.said.slot.name())?;
    trial.starts += 1;
    write(memory, &trial);
    Some(trial)
}

fn write(memory: &Memory, trial: &Trial) {
    // Only words: the trial goes on without them.
    if let Err(why) = memory.begin(trial) {
        eprintln!("{}", crate::said::said(&why));
    }
}

/// Keeps what is waited for, so that the system before can say it should this one die; written only when it changes.
fn remember(last: &mut Option<String>, first: Option<Failed>, words: &str, memory: &Memory, trial: &mut Option<Trial>) {
    let check = first.as_ref().map_or_else(|| "well".to_owned(), |f| f.check.clone());
    if last.as_ref() == Some(&check) {
        return;
    }
    println!("{words}");
    *last = Some(check);
    if let Some(trial) = trial {
        trial.seen = first;
        write(memory, trial);
    }
}

fn good(running: &Running, open: &mut Open, memory: &Memory) -> Result<()> {
    let slot = running.said.slot;
    let pair = open.pair()?;
    open.write(&rules::mark_good(&pair, slot)).context("marking this slot as good")?;
    say(&format!("slot {slot} has proven itself and is the good one now"));
    memory.forget_trial()?;
    report(running, "good");
    Ok(())
}

fn condemned(open: &mut Open, memory: &Memory, trial: Option<Trial>, failed: &Failed) -> Result<()> {
    say(&format!(
        "this system has failed, and the machine goes back to the other slot: {failed}"
    ));
    if let Some(mut trial) = trial {
        // On a full disk its words would be lost, and the next start would have no room either.
        for problem in crate::storage::reserve::give_up_if_needed(&say) {
            eprintln!("{problem}");
        }
        trial.failed = Some((failed.clone(), log_of(&failed.check)));
        write(memory, &trial);
    }
    let pair = open.pair()?;
    open.write(&rules::condemn(&pair)?).context("condemning this slot")?;
    order(&Request::Reboot)
}

fn wait_for_data() -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < DATA {
        if let Ok(look) = now::look() {
            if storage_is_done(&look) {
                return Ok(());
            }
        }
        std::thread::sleep(EVERY);
    }
    bail!("waiting for the data partition, to write down how the last trial ended: it does not come")
}

/// Runs each of the owner's probes; gives those that fail, with the last thing they said.
fn probes() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(PROBES_AT).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_file()).collect();
    paths.sort();
    let start = Instant::now();
    let failing = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let left = PROBES.saturating_sub(start.elapsed()).as_secs().max(1).to_string();
        let output = Command::new("/usr/bin/timeout")
            .args(["-k", "1", &left])
            .arg(path)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
                Some((name, format!("{}: {last}", output.status)))
            }
            Err(why) => Some((name, why.to_string())),
        }
    };
    paths.iter().filter_map(|p| failing(p)).collect()
}

/// The end of a unit's log; empty where there is none.
fn log_of(unit: &str) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(skerry_control::LOG_SOCKET)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        writeln!(stream, "tail {unit} {LINES}")?;
        let mut text = String::new();
        stream.take(64 << 10).read_to_string(&mut text)?;
        Ok(text)
    };
    if !skerry_control::unit::is_name(unit) {
        return vec![];
    }
    read().unwrap_or_default().lines().map(str::to_owned).collect()
}

fn order(request: &Request) -> Result<()> {
    let mut stream = UnixStream::connect(skerry_control::SOCKET).context("asking PID 1 for a restart")?;
    stream
        .write_all(request.encode().as_bytes())
        .context("asking PID 1 for a restart")?;
    stream.shutdown(std::net::Shutdown::Write).context("asking PID 1 for a restart")?;
    let mut answer = vec![];
    stream
        .take(1 << 16)
        .read_to_end(&mut answer)
        .context("asking PID 1 for a restart")?;
    match Reply::decode(&answer)? {
        Reply::Accepted => Ok(()),
        other => bail!("asking PID 1 for a restart: it answered {other:?}"),
    }
}

fn say(line: &str) {
    Console::open().line(&format!("health: {line}"));
    kmsg(line);
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_belongs_to_the_slot_that_was_left() {
        let trial = |to: &str| {
            let mut trial = Trial::new(System::default(), System::default(), Baseline::default(), Rule::default());
            trial.to.slot = to.to_owned();
            trial.to.version = "2".to_owned();
            trial
        };
        assert_eq!(rolled_back(Some(trial("b")), "b", "a").from.version, "2");
        let unknown = rolled_back(Some(trial("a")), "b", "a");
        assert_eq!(
            (unknown.from.slot.as_str(), unknown.from.version.as_str(), unknown.to.slot.as_str()),
            ("b", "", "a")
        );
        assert_eq!(rolled_back(None, "b", "a").failed.check, "boot");
    }
}
