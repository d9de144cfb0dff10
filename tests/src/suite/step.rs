//! One program of a tier: run to its end, its lines kept in a file, a sign of life shown while it takes long.

use crate::machine::release;
use crate::machine::serial::Serial;
use anyhow::{Context, Result};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a program that takes long is mentioned.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// With 0.
    pub well: bool,
    /// All it printed.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs `command`; what it prints goes to `target/test/NAME.log`. `tell` is called with a line now and then.
pub fn run(name: &str, command: &mut Command, mut tell: impl FnMut(&str)) -> Result<Ended> {
    let dir = release::target().join("test");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let (ours, theirs) = UnixStream::pair().context("making a line to read from")?;
    let started = Instant::now();
    let both = theirs.try_clone().context("copying the line to read from")?;
    command
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs))
        .stderr(OwnedFd::from(both));
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
    command.stdout(Stdio::null()).stderr(Stdio::null()); // closes our copies of its ends
    let lines = Serial::read(ours, &dir.join(format!("{name}.log")), started)?;
    while !lines.wait_end(SIGN_OF_LIFE) {
        let text = lines.text(0);
        let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
        tell(&format!(
            "{:4} s  {}",
            started.elapsed().as_secs(),
            last.trim().chars().take(110).collect::<String>()
        ));
    }
    let status = child.wait().with_context(|| format!("waiting for {name}"))?;
    Ok(Ended {
        well: status.success(),
        output: lines.text(0),
        took: started.elapsed(),
    })
}

impl Ended {
    /// The last lines, for a message.
    pub fn last_lines(&self, count: usize) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        let lines = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
        lines.iter().flat_map(|l| ["    | ", l.trim_end(), "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_status_are_kept() {
        let ended = run(
            "self-test",
            Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]),
            |_| {},
        )
        .unwrap();
        assert_eq!((ended.well, ended.output.as_str()), (false, "out\nerr\n"));
        assert_eq!(ended.last_lines(1), "    | err\n");
    }
}
