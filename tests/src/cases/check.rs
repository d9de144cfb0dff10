//! Several assertions over one boot: each is named, none hides another.

use crate::machine::ssh::Ssh;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::time::Duration;

/// What was asserted in one case.
#[derive(Debug, Default)]
pub struct Checks {
    /// How many held.
    pub held: usize,
    /// Why it could not be run at all.
    pub skipped: Option<String>,
    /// What did not hold, and what was seen instead.
    pub failed: Vec<String>,
}

/// What a probe's output must be.
#[derive(Debug, Clone, Copy)]
pub enum Expect<'a> {
    /// Exactly this, but for blanks at both ends.
    Is(&'a str),
    /// This somewhere.
    Has(&'a str),
    /// This nowhere.
    Lacks(&'a str),
    /// Anything, if the command ends with 0.
    Success,
    /// Anything, if the command ends with something else.
    Failure,
}

/// One command inside the machine and what it must print: (what is asserted, command, expectation).
pub type Probe<'a> = (&'a str, &'a str, Expect<'a>);

impl Checks {
    /// Asserts that something was done without an error.
    pub fn that<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.held += 1;
                Some(value)
            }
            Err(e) => {
                self.failed.push(format!("{what}: {e:#}"));
                None
            }
        }
    }

    /// Asserts that something is so.
    pub fn is(&mut self, what: &str, is_so: bool, seen: &str) {
        self.that(
            what,
            if is_so {
                Ok(())
            } else {
                Err(anyhow::anyhow!("seen: {}", short(seen)))
            },
        );
    }

    /// Asserts that a text holds words.
    pub fn has(&mut self, what: &str, text: &str, words: &str) {
        self.is(what, text.contains(words), &format!("no {words:?} in {}", short(text)));
    }

    /// Runs all probes as root, in one go, and asserts each.
    pub fn probe(&mut self, ssh: &Ssh, probes: &[Probe<'_>], within: Duration) -> Result<()> {
        let out = ssh.root(&script(probes), within)?;
        let answers =
            answers(&out.out, probes.len()).with_context(|| format!("asking the machine {} things: {}", probes.len(), short(&out.err)))?;
        for ((what, command, expect), (code, text)) in probes.iter().zip(answers) {
            self.is(
                what,
                expect.holds(code, &text),
                &format!("{text:?} and status {code} from `{command}`, expected {expect:?}"),
            );
        }
        Ok(())
    }
}

impl Expect<'_> {
    fn holds(self, code: i32, text: &str) -> bool {
        match self {
            Self::Is(words) => text == words,
            Self::Has(words) => text.contains(words),
            Self::Lacks(words) => !text.contains(words),
            Self::Success => code == 0,
            Self::Failure => code != 0,
        }
    }
}

const BREAK: &str = "\u{1}#";

fn script(probes: &[Probe<'_>]) -> String {
    let mut script = String::new();
    for (_, command, _) in probes {
        let _ = writeln!(script, "( {command}\n) </dev/null 2>&1; printf '{BREAK}%d{BREAK}' $?"); // writing to a String cannot fail
    }
    script
}

fn answers(output: &str, count: usize) -> Result<Vec<(i32, String)>> {
    let parts: Vec<&str> = output.split(BREAK).collect();
    let answers: Vec<(i32, String)> = parts
        .chunks_exact(2)
        .filter_map(|c| Some((c.get(1)?.trim().parse().ok()?, c.first()?.trim().to_owned())))
        .collect();
    if answers.len() != count {
        bail!("{} answers came", answers.len());
    }
    Ok(answers)
}

fn short(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(600) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let probes = [
            ("one", "echo a b", Expect::Is("a b")),
            ("two", "cat /absent", Expect::Failure),
            ("three", "true", Expect::Success),
        ];
        let out = std::process::Command::new("sh").arg("-c").arg(script(&probes)).output().unwrap();
        let answers = answers(&String::from_utf8(out.stdout).unwrap(), 3).unwrap();
        assert_eq!(answers[0], (0, "a b".to_owned()));
        assert!(answers[1].0 != 0 && answers[1].1.contains("/absent"));
        assert_eq!(answers[2], (0, String::new()));
        assert!(super::answers("nothing", 3).is_err());
    }

    #[test]
    fn a_failure_is_named() {
        let mut checks = Checks::default();
        checks.has("greeting", "hello", "hell");
        checks.is("sum", false, "5");
        assert_eq!((checks.held, checks.failed), (1, vec!["sum: seen: 5".to_owned()]));
    }
}
