//! Units that hold something old: noted before it is replaced, restarted after, and not forgotten if a step fails between the two.

use super::look;
use anyhow::{Context, Result, bail};
use skerry_control::SOCKET;
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use skerry_distribution::kubernetes::paths::RUN;
use skerry_sys::file;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn path() -> String {
    format!("{RUN}/restarts")
}

fn noted() -> BTreeSet<String> {
    look::text(path()).lines().map(str::to_owned).collect()
}

fn note(units: &BTreeSet<String>) -> Result<()> {
    let text: String = units.iter().fold(String::new(), |text, unit| text + unit + "\n");
    Ok(file::replace(path(), text.as_bytes(), 0o644)?)
}

/// Notes units.
pub fn add(units: &[&str]) -> Result<()> {
    let mut all = noted();
    all.extend(units.iter().map(|&u| u.to_owned()));
    if units.is_empty() { Ok(()) } else { note(&all) }
}

/// Forgets all, where nothing runs.
pub fn clear() -> Result<()> {
    if noted().is_empty() { Ok(()) } else { note(&BTreeSet::new()) }
}

/// Restarts what was noted; each is forgotten when PID 1 has accepted it.
pub fn perform() -> Result<()> {
    let mut left = noted();
    for unit in left.clone() {
        println!("restarting {unit}");
        restart(&unit)?;
        left.remove(&unit);
        note(&left)?;
    }
    Ok(())
}

fn restart(unit: &str) -> Result<()> {
    let doing = || format!("restarting {unit}");
    let mut socket = UnixStream::connect(SOCKET).with_context(doing)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket
        .write_all(Request::Restart(unit.to_owned()).encode().as_bytes())
        .with_context(doing)?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = vec![];
    socket.take(1 << 20).read_to_end(&mut answer).with_context(doing)?;
    match Reply::decode(&answer)? {
        Reply::Refused(why) => bail!("restarting {unit}: {why}"),
        _ => Ok(()),
    }
}
