//! `skerry config …`: what a configuration would do, on any computer.

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};
use skerry_config::place::{self, Place};
use skerry_config::{Config, Entry, HIDDEN, Loaded, Origin, Problem, Severity, Source, SourceKind, load, reference};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the running machine keeps what it made of its configuration.
const RUN: &str = "/run/skerry";
const SETUP: &str = "/usr/lib/skerry/setup";
/// A source is at most 1 MiB; one byte more tells that it is larger.
const READ_MAX: u64 = (1 << 20) + 1;

/// What to do with a configuration.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration
    ///
    /// Ends with 1 if anything would be left out, unknown keys included.
    Check(Sources),
    /// Say of each value where it comes from and what becomes of it
    Explain {
        #[command(flatten)]
        sources: Sources,
        /// Show passwords and tokens
        #[arg(long)]
        show_secrets: bool,
    },
    /// Print the merged configuration
    ///
    /// Problems go to standard error. Ends with 1 if nothing could be read.
    Dump {
        #[command(flatten)]
        sources: Sources,
        /// In whose words
        #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Skerry)]
        form: Form,
        /// Show passwords and tokens (`--as k3os` always does)
        #[arg(long)]
        show_secrets: bool,
    },
    /// Say where configuration was looked for at this boot, what was found, and why it counts or not
    Sources {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take passwords and tokens off the disk's first partition, which anybody can read
    ///
    /// They go to the data partition, from where the next boot supplies them; the
    /// files there keep everything else. A secret that is typed in again counts.
    Seal,
    /// Set the network up as the configuration says now, or as FILE says
    ///
    /// Interfaces, name and time servers and the firewall change at once; all
    /// else counts from the next boot. FILE becomes /var/lib/skerry/config.yaml:
    /// with --confirm only when `skerry config confirm` is said in time. Else,
    /// or after a restart, everything is as it was, whether or not this machine
    /// can still be reached.
    Apply {
        /// What to put in the place of /var/lib/skerry/config.yaml
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Undo it after this long, as 90s or 5m, unless it is confirmed
        #[arg(long, value_name = "TIME", requires = "file", value_parser = limit)]
        confirm: Option<u32>,
    },
    /// Keep the configuration that is on trial
    Confirm,
    /// Undo the configuration that is on trial, now
    Revert,
    /// Print the JSON Schema of config.yaml
    Schema {
        /// As JSON, which it is anyway
        #[arg(long)]
        json: bool,
    },
    /// Print the reference page: every key, in Markdown
    Reference {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to read. Without any, the configuration of this machine.
#[derive(Debug, clap::Args)]
pub struct Sources {
    /// Configuration files, a later one wins; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A kernel command line; wins over the first FILE only
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// User data, which may be a script; wins over all FILEs
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The words of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Ours, as YAML (or JSON by --json)
    Skerry,
    /// k3OS's own, as one line of JSON
    K3os,
}

/// Does it.
pub fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(sources) => check(&sources),
        ConfigCommand::Explain { sources, show_secrets } => explain(&sources, show_secrets),
        ConfigCommand::Dump {
            sources,
            form,
            show_secrets,
        } => dump(&sources, form, show_secrets),
        ConfigCommand::Sources { json } => sources(json),
        ConfigCommand::Seal => setup(&["seal"]),
        ConfigCommand::Apply { file, confirm } => apply(file.as_deref(), confirm),
        ConfigCommand::Confirm => setup(&["trial", "keep"]),
        ConfigCommand::Revert => setup(&["trial", "end"]),
        ConfigCommand::Schema { .. } => print(&pretty(&reference::json_schema())?),
        ConfigCommand::Reference { json: false } => print(&reference::page()),
        ConfigCommand::Reference { json: true } => print(&pretty(&reference::lines())?),
    }
}

fn check(sources: &Sources) -> anyhow::Result<ExitCode> {
    let mut loaded = sources.load(&["problems.json"])?;
    if sources.are_named() {
        // This machine's own are told by it already.
        let said = skerry_distribution::plan(&loaded.config, &skerry_distribution::Facts::default()).problems;
        let said: Vec<Problem> = said.iter().map(|p| of_distribution(p, &loaded.explain)).collect();
        loaded.problems.extend(said);
    }
    let dropped = loaded.problems.iter().filter(|problem| problem.drops).count();
    if sources.json {
        print(&pretty(&json!({ "ok": dropped == 0, "problems": loaded.problems }))?)?;
    } else {
        let mut text = listed(&loaded.problems);
        match (
            loaded.problems.iter().filter(|problem| problem.severity > Severity::Note).count(),
            dropped,
        ) {
            (0, _) => text.push_str("no problems\n"),
            (problems, dropped) => writeln!(text, "{problems} to look at, {dropped} of them left something out")?,
        }
        print(&text)?;
    }
    Ok(if dropped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explain(sources: &Sources, show_secrets: bool) -> anyhow::Result<ExitCode> {
    let loaded = sources.load(&["explain.json"])?;
    let value = |entry: &Entry| if show_secrets { entry.value.clone() } else { entry.shown() };
    if sources.json {
        let mut entries = serde_json::to_value(&loaded.explain)?;
        for (shown, entry) in entries.as_array_mut().into_iter().flatten().zip(&loaded.explain) {
            if let Some(object) = shown.as_object_mut() {
                object.insert("value".to_owned(), value(entry));
            }
        }
        print(&pretty(&json!({ "entries": entries, "problems": loaded.problems }))?)?;
    } else {
        let mut text = String::new();
        for entry in &loaded.explain {
            writeln!(text, "{} = {}", entry.path, short(&value(entry)))?;
            writeln!(text, "    from {}{}", entry.origin, over(&entry.overrides))?;
            let phases: Vec<_> = entry.phases.iter().map(|phase| phase.name()).collect();
            match (phases.is_empty(), entry.effect.is_empty()) {
                (_, true) => {}
                (true, false) => writeln!(text, "    {}", entry.effect)?,
                (false, false) => writeln!(text, "    {}: {}", phases.join(", "), entry.effect)?,
            }
        }
        print(&text)?;
        eprint!("{}", listed(&loaded.problems));
    }
    Ok(read_something(&loaded))
}

fn dump(sources: &Sources, form: Form, show_secrets: bool) -> anyhow::Result<ExitCode> {
    let loaded = sources.load(&["config.json"])?;
    eprint!("{}", listed(&loaded.problems));
    let config = if show_secrets {
        loaded.config.clone()
    } else {
        loaded.config.without_secrets()
    };
    let text = match form {
        Form::K3os => loaded.config.to_k3os_json()? + "\n",
        Form::Skerry if sources.json => pretty(&config)?,
        Form::Skerry => config.to_yaml()?,
    };
    print(&text)?;
    Ok(read_something(&loaded))
}

fn sources(json: bool) -> anyhow::Result<ExitCode> {
    let path = Path::new(RUN).join("sources.json");
    if !Path::new(RUN).exists() {
        bail!("looking for this machine's configuration: this is not a Skerry machine");
    }
    let text = std::fs::read(&path).with_context(|| format!("reading {}\ntry: as root, by sudo", path.display()))?;
    let places: Vec<Place> = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
    if json {
        return print(&pretty(&places)?);
    }
    print(&place::table(&places))
}

/// How long a trial may last: `90`, `90s` or `5m`; at least 10 s, at most a day.
fn limit(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u32>().ok().and_then(|n| n.checked_mul(unit));
    seconds
        .filter(|seconds| (10..=86_400).contains(seconds))
        .ok_or_else(|| "from 10s to 1440m".to_owned())
}

fn apply(file: Option<&Path>, confirm: Option<u32>) -> anyhow::Result<ExitCode> {
    let file = file.map(|path| {
        path.to_str()
            .with_context(|| format!("reading {}: its name is not UTF-8", path.display()))
    });
    let file = file.transpose()?;
    let Some(seconds) = confirm else {
        return setup(&[&["trial", "now"], file.as_slice()].concat());
    };
    let done = setup(&[&["trial", "begin", &seconds.to_string()], file.as_slice()].concat())?;
    if done == ExitCode::SUCCESS {
        println!("on trial for {seconds} s: `sudo skerry config confirm` keeps it; else the network will be as it was before");
    }
    Ok(done)
}

/// Done by the program that knows where everything lies.
fn setup(words: &[&str]) -> anyhow::Result<ExitCode> {
    let status = std::process::Command::new(SETUP)
        .args(words)
        .status()
        .with_context(|| format!("starting {SETUP}: is this a Skerry machine?"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_something(loaded: &Loaded) -> ExitCode {
    if loaded.readable > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Sources {
    fn are_named(&self) -> bool {
        !self.files.is_empty() || self.cmdline.is_some() || self.user_data.is_some()
    }

    /// What these sources come to; without any, what this machine made of its own, of which the named files are needed.
    fn load(&self, needed: &[&str]) -> anyhow::Result<Loaded> {
        if !self.are_named() {
            return of_this_machine(needed);
        }
        let mut sources = Vec::new();
        let mut missing = Vec::new();
        let mut add = |kind, path: &Path, sources: &mut Vec<Source>| match read(path) {
            Ok(bytes) => sources.push(Source::new(kind, path.display().to_string(), bytes)),
            Err(error) => missing.push(unread(path, &error)),
        };
        let mut files = self.files.iter();
        if let Some(first) = files.next() {
            add(SourceKind::System, first, &mut sources);
        }
        if let Some(text) = &self.cmdline {
            sources.push(Source::new(SourceKind::Cmdline, "command line", text.as_str()));
        }
        for file in files {
            add(SourceKind::Local, file, &mut sources);
        }
        if let Some(file) = &self.user_data {
            add(SourceKind::UserData, file, &mut sources);
        }
        let mut loaded = load(&sources);
        // On some other computer only the names of variables can be checked.
        loaded.fill_in(None);
        loaded.problems.splice(0..0, missing);
        Ok(loaded)
    }
}

/// What an adapter says about a key, with the place where the owner wrote it.
fn of_distribution(p: &skerry_distribution::Problem, entries: &[Entry]) -> Problem {
    use skerry_distribution::Severity as Theirs;
    let place = |e: &&Entry| e.path == p.key || e.path.starts_with(&format!("{}[", p.key)) || e.path.starts_with(&format!("{}.", p.key));
    Problem {
        origin: entries.iter().find(place).map_or_else(
            || Origin {
                source: "config".to_owned(),
                ..Origin::default()
            },
            |e| e.origin.clone(),
        ),
        severity: if p.severity == Theirs::Note {
            Severity::Note
        } else {
            Severity::Warning
        },
        path: p.key.clone(),
        what: p.what.clone(),
        done_instead: p.hint.clone(),
        write_instead: String::new(),
        drops: p.severity == Theirs::Ignored,
    }
}

fn of_this_machine(needed: &[&str]) -> anyhow::Result<Loaded> {
    if !Path::new(RUN).exists() {
        bail!("looking for this machine's configuration: this is not a Skerry machine\ntry: name the FILEs to read");
    }
    let mut loaded = Loaded {
        readable: 1,
        ..Loaded::default()
    };
    for name in needed {
        let path = Path::new(RUN).join(name);
        let text = std::fs::read(&path)
            .with_context(|| format!("reading {}\ntry: as root, by sudo; or name the FILEs to read", path.display()))?;
        let context = || format!("reading {}", path.display());
        match *name {
            "config.json" => loaded.config = serde_json::from_slice::<Config>(&text).with_context(context)?,
            "explain.json" => loaded.explain = serde_json::from_slice(&text).with_context(context)?,
            _ => loaded.problems = serde_json::from_slice(&text).with_context(context)?,
        }
    }
    Ok(loaded)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(READ_MAX).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(READ_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unread(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        origin: Origin {
            source: path.display().to_string(),
            ..Origin::default()
        },
        severity: Severity::Error,
        path: String::new(),
        what: format!("reading it: {error}"),
        done_instead: "left out".to_owned(),
        write_instead: String::new(),
        drops: true,
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect::<Vec<_>>().concat()
}

fn over(overrides: &[Origin]) -> String {
    if overrides.is_empty() {
        return String::new();
    }
    format!(
        ", over {}",
        overrides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )
}

/// A value on one line.
fn short(value: &Json) -> String {
    let Json::String(text) = value else { return value.to_string() };
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(100).collect();
    match text.len() - cut.len() {
        0 | 1 if !text.is_empty() => cut,
        0 if text == HIDDEN => cut,
        0 => "''".to_owned(),
        more => format!("{cut} … ({more} bytes more)"),
    }
}

fn pretty(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Prints; a reader that went away (`| head`) is no fault.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("writing to standard output"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_trial_lasts() {
        for (text, expected) in [
            ("120s", Some(120)),
            ("90", Some(90)),
            ("5m", Some(300)),
            ("9s", None),
            ("", None),
            ("2h", None),
            ("1441m", None),
            ("99999999999m", None),
        ] {
            assert_eq!(limit(text).ok(), expected, "{text}");
        }
    }
}
