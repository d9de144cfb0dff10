//! How far a long work is: a bar on a terminal, a line now and then where there is none. On standard error, so that results can be
//! piped.

use skerry_installer::pace::Pace;
use skerry_installer::step::Size;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the bar moves.
const EVERY: Duration = Duration::from_millis(200);
const WIDTH: usize = 24;

/// Takes one line.
pub type Lines<'a> = Box<dyn FnMut(&str) + 'a>;

/// A work that is shown.
pub struct Progress<'a> {
    began: Instant,
    pace: Pace,
    out: Out<'a>,
    shown: Option<Instant>,
    what: String,
    /// The last tenth that had a line, and all that had one.
    tenth: Option<u64>,
    told: Vec<String>,
}

enum Out<'a> {
    /// A terminal, whose line is written over.
    Bar,
    Lines(Lines<'a>),
    Nothing,
}

impl<'a> Progress<'a> {
    /// Begins, on standard error. `is_quiet`: nothing is shown.
    pub fn new(is_quiet: bool) -> Self {
        // Standard error that is closed is no reason to stop writing a disk.
        let line = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
        Self::on(if is_quiet {
            Out::Nothing
        } else if std::io::stderr().is_terminal() {
            Out::Bar
        } else {
            Out::Lines(Box::new(line))
        })
    }

    /// Begins, with lines for someone else to write.
    pub fn lines(lines: Lines<'a>) -> Self {
        Self::on(Out::Lines(lines))
    }

    fn on(out: Out<'a>) -> Self {
        Self {
            began: Instant::now(),
            pace: Pace::default(),
            out,
            shown: None,
            what: String::new(),
            tenth: None,
            told: vec![],
        }
    }

    /// Tells what is done now, and how many bytes of how many are done of all.
    pub fn see(&mut self, what: &str, done: u64, total: u64) {
        let now = Instant::now();
        self.pace.see(now - self.began, done, total);
        match &mut self.out {
            Out::Nothing => {}
            Out::Bar => {
                let is_due = self.shown.is_none_or(|at| now - at >= EVERY) || done == total;
                if is_due || what != self.what {
                    what.clone_into(&mut self.what);
                    self.shown = Some(now);
                    let _ = write!(std::io::stderr(), "\r\x1b[K{}", bar(what, &self.pace, done, total));
                }
            }
            Out::Lines(tell) => {
                let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
                // Writing and reading back take turns: only the first of each has a line for itself.
                let is_new = !self.told.iter().any(|told| told == what);
                if is_new || self.tenth != Some(tenth) {
                    self.tenth = Some(tenth);
                    if is_new {
                        self.told.push(what.to_owned());
                    }
                    tell(&format!("{what}: {}", self.pace));
                }
            }
        }
    }

    /// Leaves the bar's line.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

impl Drop for Progress<'_> {
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

    #[test]
    fn a_line_for_each_thing_and_each_tenth() {
        let mut said = vec![];
        let mut progress = Progress::lines(Box::new(|line| said.push(line.to_owned())));
        for done in 0..=1000 {
            progress.see(if done % 2 == 0 { "writing" } else { "reading back" }, done, 1000);
        }
        drop(progress);
        assert_eq!(said.len(), 12, "{said:?}");
        assert!(
            said[0].starts_with("writing:   0 %") && said[1].starts_with("reading back:   0 %"),
            "{said:?}"
        );
        assert!(said[11].starts_with("writing: 100 %"), "{said:?}");
    }
}
