//! An installation that nobody watches: as the machine's merged configuration says.

use super::job::Trust;
use super::wish::{self, Onto, Settings};
use super::{end, job, last_words, onto};
use crate::progress::Progress;
use crate::said::said;
use crate::stop::Stop;
use anyhow::{Context, Result};
use serde_json::json;
use skerry_config::Config;
use skerry_installer::choose::{Disk as Found, Wanted};
use skerry_installer::facts::{Root, disks, mounts};
use skerry_sys::block::wait;
use skerry_sys::kmsg::Console;
use skerry_sys::uevent::Listener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Where `setup plan` leaves the merged configuration.
pub const CONFIG: &str = "/run/skerry/config.json";

/// Installs. What it says goes to the log and to every console.
pub fn run(plan_only: bool, is_json: bool, trust: &Trust, stop: &Stop) -> Result<ExitCode> {
    let console = Console::open();
    let say = |text: &str| {
        for line in text.lines() {
            eprintln!("{line}");
            // A terminal that this program was started on has it already.
            if !plan_only && !crate::terminal::is_there() {
                console.line(&format!("install: {line}"));
            }
        }
    };
    let done = perform(plan_only, is_json, trust, stop, &say);
    if let Err(why) = &done {
        // The caller prints it too, to the log alone.
        if !plan_only && !crate::terminal::is_there() {
            for line in said(why).lines() {
                console.line(&format!("install: {line}"));
            }
            console.line("install: this machine stays as it is; log in to look, or change its configuration and start it again");
        }
    }
    done
}

fn perform(plan_only: bool, is_json: bool, trust: &Trust, stop: &Stop, say: &dyn Fn(&str)) -> Result<ExitCode> {
    let (wish, notes) = wish::of_config(&merged()?)?;
    for note in &notes {
        say(note);
    }
    let release = job::release(&wish.from, trust, &mut Progress::lines(Box::new(say)))?;
    let disks = settled(&wish.onto, say)?;
    if let Settings::Address(address) = &wish.settings {
        say(&format!("the configuration comes from {address}"));
    }
    let job = job::prepare(&wish, &release, &disks, stop)?;
    for note in &job.notes {
        say(note);
    }
    if plan_only {
        if is_json {
            println!(
                "{:#}",
                json!({ "onto": job.path, "disk": job.disk, "plan": job.plan, "notes": notes })
            );
        } else {
            println!("{}\n\n{}", onto(&job), job.plan);
        }
        return Ok(ExitCode::SUCCESS);
    }
    say(&onto(&job));
    if wish.is_verbose {
        say(&job.plan.to_string());
    }
    job.perform(stop, &mut Progress::lines(Box::new(say)))?;
    say(&last_words(&job));
    end(wish.end)
}

/// How long a disk that was named may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long no device must have come before a rule chooses among those that are there: one that came later might be the better one.
const QUIET: Duration = Duration::from_secs(3);

/// The disks, once all that counts have come: drivers were loaded moments ago, and USB takes its time.
fn settled(onto: &Onto, say: &dyn Fn(&str)) -> Result<Vec<Found>> {
    let listener = Listener::open()?;
    match onto {
        Onto::Disk(Wanted::Path(path)) => {
            let waiting = |news: Option<_>| {
                if news.is_none() {
                    say(&format!("waiting for {}", path.display()));
                }
            };
            wait(&listener, PATIENCE, QUIET, waiting, || {
                let disks = disks(&Root("/".into()), &mounts()?)?;
                let is_it = |d: &Found| d.path == *path || d.links.contains(path);
                Ok(disks.iter().any(is_it).then_some(()))
            })?;
        }
        Onto::Disk(Wanted::Rule(_)) => {
            let began = Instant::now();
            while listener.wait(QUIET)? && began.elapsed() < PATIENCE {
                while listener.next()?.is_some() {}
            }
        }
        Onto::File(..) => {}
    }
    job::look()
}

/// The configuration that this machine runs with.
pub fn merged() -> Result<Config> {
    let bytes = skerry_sys::file::read_bounded(CONFIG, 64 << 20)
        .context("reading this machine's configuration / try: as root, on a machine that was started for installing")?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {CONFIG}"))
}
