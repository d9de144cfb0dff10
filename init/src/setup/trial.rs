//! `setup trial`: the network of another configuration, now; with a limit it is undone by itself.
//!
//! ```text
//! begin SECONDS FILE ─▶ FILE and what netd is asked for by it, in /run ─▶ netd: it counts ──▶ the time is over, or a restart: undone
//! keep  ─▶ FILE becomes /var/lib/skerry/config.yaml, durably ─▶ network.json ─▶ the trial is taken away
//! end   ─▶ the trial is taken away ─▶ netd: what was before counts again
//! now [FILE] ─▶ as begin and keep at once; without FILE, what the configuration says as it is now
//! ```
//!
//! The clock runs in netd, which PID 1 starts again if it dies: whoever began the trial may lose the way to this machine, that being the
//! point. Until it is kept nothing of it is on data.

use crate::facts::Facts;
use crate::pid1;
use crate::root::Root;
use crate::sources;
use crate::{asked, looked};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use skerry_config::{Loaded, Severity, Source, SourceKind, Variables, load, order};
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use skerry_sys::{file, process};
use std::path::Path;
use std::time::Duration;

/// What netd reads; its format is `skerry_network::trial`'s.
const TRIAL: &str = "/run/skerry/network-trial.json";
/// The file that is on trial.
const FILE: &str = "/run/skerry/config-trial.yaml";
/// Its place, if it is kept.
const KEPT: &str = "/var/lib/skerry/config.yaml";
const LARGEST: usize = 4 << 20;
const SIGHUP: i32 = 1;
const USAGE: &str = "expected `setup trial begin SECONDS FILE`, `keep`, `end` or `now [FILE]`";

/// What netd is told.
#[derive(Debug, Serialize, Deserialize)]
struct Trial {
    until_ms: u64,
    request: serde_json::Value,
}

/// `setup trial …`.
pub fn run(args: &[String]) -> Result<()> {
    let root = Root::system();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["begin", seconds, path] => {
            let seconds: u32 = seconds.parse().context("reading the seconds of the trial")?;
            begin(&root, Path::new(path), Duration::from_secs(seconds.into()), clock())?;
        }
        ["keep"] => keep(&root, clock())?,
        ["end"] => end(&root)?,
        ["now"] => now(&root, None)?,
        ["now", path] => now(&root, Some(Path::new(path)))?,
        _ => bail!("reading the arguments: {USAGE}"),
    }
    tell_netd()
}

/// Leaves for netd what counts until then.
fn begin(root: &Root, path: &Path, limit: Duration, clock: Duration) -> Result<()> {
    let bytes = sources::read(path).with_context(|| format!("reading {}", path.display()))?;
    let request = planned(root, Some(bytes.clone()))?;
    let trial = Trial {
        until_ms: u64::try_from((clock + limit).as_millis()).unwrap_or(u64::MAX),
        request,
    };
    file::replace(root.at(FILE), &bytes, 0o600)?;
    let text = serde_json::to_vec(&trial).context("writing the trial")?;
    file::replace(root.at(TRIAL), &text, 0o600)?;
    Ok(())
}

/// Makes what is on trial the configuration. Power may go at any instant: the file is the old one or the new one.
fn keep(root: &Root, clock: Duration) -> Result<()> {
    let trial = file::read_bounded(root.at(TRIAL), LARGEST)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Trial>(&bytes).ok())
        .filter(|trial| clock < Duration::from_millis(trial.until_ms));
    let Some(trial) = trial else {
        bail!("keeping what is on trial: nothing is, or its time is over and the network is as it was before");
    };
    let bytes = file::read_bounded(root.at(FILE), LARGEST)?;
    take(root, &bytes)?;
    leave(root, &trial.request)?;
    end(root)
}

/// Takes what is on trial away, if anything is. What netd reads goes first.
fn end(root: &Root) -> Result<()> {
    for path in [TRIAL, FILE] {
        match std::fs::remove_file(root.at(path)) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why).with_context(|| format!("removing {path}")),
            _ => {}
        }
    }
    Ok(())
}

/// Without a trial.
fn now(root: &Root, path: Option<&Path>) -> Result<()> {
    let bytes = match path {
        Some(path) => Some(sources::read(path).with_context(|| format!("reading {}", path.display()))?),
        None => None,
    };
    let request = planned(root, bytes.clone())?;
    if let Some(bytes) = bytes {
        take(root, &bytes)?;
    }
    leave(root, &request)?;
    end(root)
}

fn take(root: &Root, bytes: &[u8]) -> Result<()> {
    let at = root.at(KEPT);
    if let Some(dir) = at.parent() {
        file::make_dir(dir, 0o755)?;
    }
    Ok(file::replace(at, bytes, 0o600)?)
}

fn leave(root: &Root, request: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_vec(request).context("writing what netd is asked for")?;
    Ok(file::replace(root.at(asked::PATH), &text, 0o600)?)
}

/// What netd would be asked for, with this in the place of `/var/lib/skerry/config.yaml`.
fn planned(root: &Root, file: Option<Vec<u8>>) -> Result<serde_json::Value> {
    let looked = looked::look(root, false);
    let facts = Facts::read(root)?;
    let mut loaded = load(&with(looked.sources, file));
    loaded.fill_in(Some(&Variables {
        hostname: Some(facts.hostname.clone()),
        ..looked.variables
    }));
    for problem in told(&loaded) {
        eprintln!("{problem}");
    }
    if let Err(why) = loaded.usable() {
        bail!("applying this configuration: {why}; nothing was changed");
    }
    let distribution = skerry_distribution::plan(&loaded.config, &facts.for_distribution());
    Ok(asked::request(&loaded.config, &distribution))
}

fn with(mut sources: Vec<Source>, file: Option<Vec<u8>>) -> Vec<Source> {
    if let Some(bytes) = file {
        sources.retain(|source| source.kind != SourceKind::Local);
        sources.push(Source::new(SourceKind::Local, KEPT, bytes));
    }
    order(sources)
}

fn told(loaded: &Loaded) -> impl Iterator<Item = String> {
    let problems = loaded.problems.iter().filter(|problem| problem.severity != Severity::Note);
    problems.map(ToString::to_string)
}

/// Has netd read what it is asked for.
fn tell_netd() -> Result<()> {
    const DOING: &str = "telling netd";
    let Reply::Status(_, units) = pid1::ask(&Request::Status, DOING)? else {
        bail!("{DOING}: PID 1 does not say where it is");
    };
    let netd = units.iter().find(|unit| unit.name == "netd").and_then(|unit| unit.pid);
    let Some(pid) = netd else {
        bail!("{DOING}: it does not run; it will read it when it does");
    };
    process::kill(pid, SIGHUP).context(DOING)
}

/// `CLOCK_MONOTONIC`, as netd's.
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    const KEY: &str = "ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me]\n";
    const NEW: &str = "network: {version: 2, ethernets: {eth0: {addresses: [10.0.0.9/24]}}}\n";

    /// A machine that was booted with a key on its system partition, and a file to try.
    fn machine(name: &str) -> (Root, std::path::PathBuf) {
        let root = scratch(name);
        root.write("/skerry/system/config.yaml", KEY, 0o600).unwrap();
        root.write("/run/skerry/storage.json", "{\"mode\":\"disk\"}", 0o644).unwrap();
        root.write(KEPT, "hostname: old\n", 0o600).unwrap();
        crate::plan::perform(&root, false).unwrap();
        root.write("/tmp/new.yaml", NEW, 0o600).unwrap();
        let path = root.at("/tmp/new.yaml");
        (root, path)
    }

    fn asked_of(root: &Root) -> String {
        root.text(asked::PATH).unwrap_or_default()
    }

    #[test]
    fn nothing_is_on_data_before_it_is_kept() {
        let (root, path) = machine("trial");
        let before = asked_of(&root);
        begin(&root, &path, Duration::from_secs(60), Duration::from_secs(100)).unwrap();
        assert_eq!(
            (asked_of(&root), root.text(KEPT).unwrap().as_str()),
            (before.clone(), "hostname: old\n")
        );
        let trial: Trial = serde_json::from_str(&root.text(TRIAL).unwrap()).unwrap();
        assert_eq!(trial.until_ms, 160_000);
        assert!(trial.request.to_string().contains("10.0.0.9/24") && !before.contains("10.0.0.9/24"));
        keep(&root, Duration::from_secs(159)).unwrap();
        assert!(asked_of(&root).contains("10.0.0.9/24"));
        assert_eq!(root.text(KEPT).unwrap(), NEW);
        assert!(root.text(TRIAL).is_none() && root.text(FILE).is_none());
    }

    #[test]
    fn what_is_over_or_was_taken_away_cannot_be_kept() {
        let (root, path) = machine("trial-over");
        let before = asked_of(&root);
        assert!(keep(&root, Duration::ZERO).is_err());
        begin(&root, &path, Duration::from_secs(60), Duration::ZERO).unwrap();
        assert!(keep(&root, Duration::from_secs(60)).is_err());
        end(&root).unwrap();
        end(&root).unwrap();
        assert!(keep(&root, Duration::ZERO).is_err());
        assert_eq!((asked_of(&root), root.text(KEPT).unwrap().as_str()), (before, "hostname: old\n"));
    }

    #[test]
    fn a_configuration_that_locks_its_owner_out_is_not_tried() {
        let (root, path) = machine("trial-locked");
        root.write("/tmp/new.yaml", "\tno: yaml: {", 0o600).unwrap();
        root.write("/skerry/system/config.yaml", "hostname: x\n", 0o600).unwrap();
        let why = begin(&root, &path, Duration::from_secs(60), Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(why.contains("nothing was changed"), "{why}");
        assert!(now(&root, Some(&path)).is_err());
        assert!(root.text(TRIAL).is_none());
        assert_eq!(root.text(KEPT).unwrap(), "hostname: old\n");
    }

    #[test]
    fn at_once() {
        let (root, path) = machine("trial-now");
        now(&root, Some(&path)).unwrap();
        assert!(asked_of(&root).contains("10.0.0.9/24") && root.text(KEPT).unwrap() == NEW);
        // What was edited since the boot counts without a file.
        root.write(
            KEPT,
            "network: {version: 2, ethernets: {eth0: {addresses: [10.0.0.8/24]}}}\n",
            0o600,
        )
        .unwrap();
        now(&root, None).unwrap();
        assert!(asked_of(&root).contains("10.0.0.8/24"));
    }
}
