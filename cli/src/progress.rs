//! How far a long work is: a bar on a terminal, a line now and then where there is none. On standard error, so that results can be
//! piped.

use skerry_installer::pace::Pace;
use skerry_installer::step::Size;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the bar moves.
const EVERY: Duration = Duration::from_millis(200);
const WIDTH: usize = 24;

/// A work that is shown.
pub struct Progress {
    what: String,
    pace: Pace,
    began: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
    is_quiet: bool,
    /// The last tenth that had a line.
    tenth: Option<u64>,
}

impl Progress {
    /// Begins. `is_quiet`: nothing is shown.
    pub fn new(is_quiet: bool) -> Self {
        Self {
            what: String::new(),
            pace: Pace::default(),
            began: Instant::now(),
            shown: None,
            is_terminal: std::io::stderr().is_terminal(),
            is_quiet,
            tenth: None,
        }
    }

    /// Tells what is done now, and how many bytes of how many are done of all.
    pub fn see(&mut self, what: &str, done: u64, total: u64) {
        if self.is_quiet {
            return;
        }
        let is_new = what != self.what;
        let now = Instant::now();
        self.pace.see(now - self.began, done, total);
        if self.is_terminal {
            let is_due = self.shown.is_none_or(|at| now - at >= EVERY) || done == total;
            if is_new || is_due {
                what.clone_into(&mut self.what);
                self.shown = Some(now);
                // Standard error that is closed is no reason to stop writing a slot.
                let _ = write!(std::io::stderr(), "\r\x1b[K{}", bar(what, &self.pace, done, total));
            }
        } else {
            let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
            if is_new || self.tenth.is_none_or(|t| t != tenth) {
                what.clone_into(&mut self.what);
                self.tenth = Some(tenth);
                let _ = writeln!(std::io::stderr(), "{what}: {}", self.pace);
            }
        }
    }

    /// Leaves the bar's line.
    pub fn end(&mut self) {
        if self.is_terminal && self.shown.take().is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// Within 80 columns.
fn bar(what: &str, pace: &Pace, done: u64, total: u64) -> String {
    let filled = usize::try_from(pace.percent()).unwrap_or(0) * WIDTH / 100;
    let bar: String = (0..WIDTH).map(|n| if n < filled { '#' } else { '.' }).collect();
    let line = format!("[{bar}]{pace}  {} of {}  {what}", Size(done), Size(total));
    line.chars().take(79).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_the_console() {
        let mut pace = Pace::default();
        pace.see(Duration::ZERO, 0, 440 << 20);
        pace.see(Duration::from_secs(5), 110 << 20, 440 << 20);
        let line = bar("write root.img (210 MiB) to root-b", &pace, 110 << 20, 440 << 20);
        assert!(
            line.starts_with("[######..................] 25 %  22 MiB/s  0:15 left  110 MiB of 440 MiB  wri"),
            "{line}"
        );
        assert!(line.chars().count() <= 79);
    }
}
