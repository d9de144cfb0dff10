//! Giving the firewall to the kernel: `nft` in the background, one at a time, and what came of it.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// After a failure, this long.
const RETRY: Duration = Duration::from_secs(60);
/// What is read of a complaint.
const MOST: u64 = 400;

/// What the kernel has, and what it should have.
#[derive(Debug, Default)]
pub struct Nft {
    wanted: Option<String>,
    applied: Option<String>,
    running: Option<(Child, String)>,
    retry: Option<Duration>,
    problem: Option<String>,
}

impl Nft {
    /// The kernel should have these rules.
    pub fn want(&mut self, text: String, now: Duration) {
        if self.wanted.as_ref() != Some(&text) {
            self.wanted = Some(text);
            self.retry = None;
        }
        self.go(now);
    }

    /// Whether the kernel has what it should.
    pub fn is_done(&self) -> bool {
        self.wanted.is_some() && self.wanted == self.applied
    }

    /// What went wrong last.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// When it is tried again.
    pub const fn deadline(&self) -> Option<Duration> {
        self.retry
    }

    /// Looks after the program, if it has ended; whether it has.
    pub fn reap(&mut self, now: Duration) -> bool {
        let Some((child, _)) = &mut self.running else { return false };
        let status = match child.try_wait() {
            Ok(None) => return false,
            other => other,
        };
        let Some((child, text)) = self.running.take() else { return false };
        match status {
            Ok(Some(status)) if status.success() => (self.applied, self.problem) = (Some(text), None),
            Ok(Some(status)) => self.fail(now, &format!("{}{status}", complaint(child))),
            Ok(None) | Err(_) => self.fail(now, "it got lost"),
        }
        true
    }

    fn go(&mut self, now: Duration) {
        if self.running.is_some() || self.is_done() || self.retry.is_some_and(|retry| now < retry) {
            return;
        }
        self.retry = None;
        let Some(text) = self.wanted.clone() else { return };
        match start(&text) {
            Ok(child) => self.running = Some((child, text)),
            Err(why) => self.fail(now, &why.to_string()),
        }
    }

    fn fail(&mut self, now: Duration, why: &str) {
        // What the kernel has is not known.
        self.applied = None;
        self.problem = Some(format!("giving the firewall's rules to nft: {why}"));
        self.retry = Some(now + RETRY);
    }
}

fn start(text: &str) -> std::io::Result<Child> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // Less than a pipe holds, so this waits for nobody. One that has ended already says why by its status.
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(text.as_bytes());
    }
    Ok(child)
}

/// The first line of what it said; it has ended, so there is an end.
fn complaint(child: Child) -> String {
    let mut text = Vec::new();
    if let Some(pipe) = child.stderr {
        let _ = pipe.take(MOST).read_to_end(&mut text); // its status is told in any case
    }
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map_or(String::new(), |line| format!("{}; ", line.trim()))
}
