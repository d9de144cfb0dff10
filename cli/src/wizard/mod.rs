//! The questions, asked: line by line, so that a serial console and a pipe will do.

mod answers;
mod state;

use crate::install::job::{self, Job, Trust};
use crate::install::wish::{End, Onto};
use crate::install::{end, last_words, merged};
use crate::machine::Refused;
use crate::progress::Progress;
use crate::said::said;
use crate::stop::Stop;
use crate::{settings, terminal};
use anyhow::{Context, Result};
use skerry_config::Config;
use skerry_installer::release::Release;
use state::{Ask, Facts, Turn, Wizard};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// How it is asked.
#[derive(Debug)]
pub struct Setting {
    /// The release's folder.
    pub from: PathBuf,
    /// Whose releases are believed.
    pub trust: Trust,
    /// A file that takes the disk's place.
    pub file: Option<Onto>,
    /// On a console of its own: there is no shell to return to.
    pub is_console: bool,
    /// What comes at the end.
    pub end: End,
}

/// Asks, and installs.
pub fn run(setting: &Setting, stop: &Stop) -> Result<ExitCode> {
    // What a configuration says already need not be asked. Elsewhere than on a Skerry machine there is none.
    let base = if setting.file.is_none() {
        merged().unwrap_or_default()
    } else {
        Config::default()
    };
    let done = asked(setting, &base, stop);
    if !setting.is_console {
        return match done? {
            Some(_) => end(setting.end),
            None => Ok(ExitCode::SUCCESS),
        };
    }
    match done {
        Ok(None) => login(),
        Ok(Some(_)) => {
            stop.says("the installation is done");
            let word = terminal::ask("Press Enter to restart; `off` switches off: ", false)?;
            let is_off = base.skerry.install.power_off || word.as_deref() == Some("off");
            end(if is_off { End::PowerOff } else { End::Reboot })
        }
        Err(why) => {
            eprintln!("\n{}", said(&why));
            // Or else the reason scrolls away: the questions come again at once.
            terminal::ask("Press Enter to begin again: ", false)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// None: a login is wanted instead.
fn asked(setting: &Setting, base: &Config, stop: &Stop) -> Result<Option<Job>> {
    let release = job::release(&setting.from, &setting.trust, &mut Progress::new(false))?;
    let file = match &setting.file {
        Some(Onto::File(path, _)) => path.file_name().map(|n| n.to_string_lossy().into_owned()),
        _ => None,
    };
    let disks = if file.is_some() { vec![] } else { job::look()? };
    let mut wizard = Wizard::new(Facts {
        needed: job::needed(&release),
        disks: disks.clone(),
        file,
        base: base.clone(),
        may_login: setting.is_console,
    });
    eprintln!("{}", welcome(&release));
    loop {
        let prompt = wizard.prompt();
        let at = wizard.at;
        let Some(line) = terminal::ask(&prompt.text, prompt.is_hidden)? else {
            return Err(Refused("installing: nobody answers any more: nothing was written".to_owned()).into());
        };
        match wizard.answer(&line) {
            Turn::Next(note) => {
                if let Some(note) = note {
                    eprintln!("note: {note}");
                }
                if at == Ask::Key && wizard.at == Ask::Key {
                    try_key(&line);
                }
            }
            Turn::Again(why) => eprintln!("{why}"),
            Turn::Login => return Ok(None),
            Turn::Done => break,
        }
    }
    let wish = wizard.answers.wish(base, &setting.from, setting.file.clone(), setting.end)?;
    // What was asked may be long ago: a disk may have been mounted since.
    let disks = if disks.is_empty() { disks } else { job::look()? };
    let job = job::prepare(&wish, &release, &disks, stop)?;
    for note in &job.notes {
        eprintln!("{note}");
    }
    job.perform(stop, &mut Progress::new(false))?;
    eprintln!("{}", last_words(&job));
    Ok(Some(job))
}

fn welcome(release: &Release) -> String {
    format!(
        "\nInstalling Skerry {}. Enter takes what is in [brackets], `<` goes back, Ctrl-C leaves; nothing is written before the end.",
        release.version
    )
}

/// Whoever publishes keys by a name should be asked once now: a wrong name locks its owner out.
fn try_key(line: &str) {
    if !["github:", "gitlab:", "http://", "https://"]
        .iter()
        .any(|scheme| line.starts_with(scheme))
    {
        return;
    }
    eprintln!("Looking for the keys of {line} …");
    match settings::fetch(line, 1) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let keys = text.lines().filter(|l| l.split_whitespace().count() >= 2).count();
            match keys {
                0 => eprintln!("note: there is none now; `<` takes it back"),
                1 => eprintln!("There is 1."),
                n => eprintln!("There are {n}."),
            }
        }
        Err(why) => eprintln!(
            "note: {}\nIt is kept: the installed machine looks for them at each boot. `<` takes it back.",
            said(&why)
        ),
    }
}

/// A login takes this program's place; when it ends, PID 1 starts the questions again.
fn login() -> Result<ExitCode> {
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "vt220".to_owned());
    let mut agetty = Command::new("/usr/sbin/agetty");
    agetty.args(["--noclear", "--noreset", "--keep-baud", "115200,57600,38400,9600", "-", &terminal]);
    Err(agetty.exec()).context("starting a login: running agetty")
}
