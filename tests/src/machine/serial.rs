//! The serial console, read as it comes: every line with the moment it came, and a way to wait for words.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What came over the line so far. Clones share it.
#[derive(Clone)]
pub struct Serial {
    shared: Arc<(Mutex<State>, Condvar)>,
    started: Instant,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    arrivals: Vec<(usize, Duration)>,
    ended: bool,
    tee: Option<Box<dyn Write + Send>>,
}

/// Words that came.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which of the patterns it was.
    pub which: usize,
    /// When, since the machine was started.
    pub at: Duration,
    /// Where its line ends; a place to go on waiting from.
    pub end: usize,
    /// The whole line, as far as it had come.
    pub line: String,
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Serial({} bytes)", self.lock().bytes.len())
    }
}

impl Serial {
    /// Reads `line` to its end on a thread of its own, writing all of it to the file `log` too.
    pub fn read(mut line: impl Read + Send + 'static, log: &Path, started: Instant) -> Result<Self> {
        let mut log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let serial = Self {
            shared: Arc::default(),
            started,
        };
        let reader = serial.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = line.read(&mut buffer) {
                let Some(bytes) = buffer.get(..n) else { break };
                let _ = log.write_all(bytes); // a full disk here must not stop the machine
                let mut state = reader.lock();
                let at = (state.bytes.len(), reader.started.elapsed());
                state.arrivals.push(at);
                state.bytes.extend_from_slice(bytes);
                if let Some(tee) = &mut state.tee {
                    let _ = tee.write_all(bytes).and_then(|()| tee.flush());
                }
                drop(state);
                reader.shared.1.notify_all();
            }
            reader.lock().ended = true;
            reader.shared.1.notify_all();
        });
        Ok(serial)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the machine was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// How much has come: a place to wait from for what comes next.
    pub fn mark(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Waits until one of `patterns` stands in what came after `from`.
    pub fn wait_any(&self, patterns: &[&str], from: usize, within: Duration) -> Result<Found> {
        let within = super::patient(within);
        let until = Instant::now() + within;
        let mut state = self.lock();
        let mut scanned = from;
        loop {
            if let Some(found) = state.find(patterns, scanned) {
                return Ok(found);
            }
            scanned = state.bytes.len().saturating_sub(256).max(from);
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended {
                    "the machine ended".to_owned()
                } else {
                    format!("{} s went by", within.as_secs())
                };
                drop(state);
                bail!(
                    "waiting for {} on the console: {why}; last lines:\n{}",
                    patterns.join(" | "),
                    self.last_lines(15)
                );
            }
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for `words` and then for the end of their line, and returns the whole line.
    pub fn wait_line(&self, words: &str, from: usize, within: Duration) -> Result<Found> {
        let found = self.wait_any(&[words], from, within)?;
        self.wait_any(&["\n"], found.end, within)
    }

    /// Waits until something more comes, at most `within`.
    pub fn wait_more(&self, within: Duration) {
        let state = self.lock();
        if !state.ended {
            let have = state.bytes.len();
            drop(
                self.shared
                    .1
                    .wait_timeout_while(state, within, |s| s.bytes.len() == have && !s.ended),
            );
        }
    }

    /// Waits until the line is closed, which is when the machine has ended.
    pub fn wait_end(&self, within: Duration) -> bool {
        let waited = self
            .shared
            .1
            .wait_timeout_while(self.lock(), within, |s| !s.ended)
            .unwrap_or_else(PoisonError::into_inner);
        waited.0.ended
    }

    /// All that came after `from`, as text.
    pub fn text(&self, from: usize) -> String {
        String::from_utf8_lossy(self.lock().bytes.get(from..).unwrap_or_default()).into_owned()
    }

    /// The last lines, for a message.
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.text(0);
        let lines: Vec<&str> = text.lines().collect();
        let lines = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
        lines.iter().flat_map(|l| ["    | ", l.trim_end(), "\n"]).collect()
    }

    /// From now on, writes what comes to `to` too.
    pub fn tee(&self, to: impl Write + Send + 'static) {
        self.lock().tee = Some(Box::new(to));
    }
}

impl State {
    fn find(&self, patterns: &[&str], from: usize) -> Option<Found> {
        let bytes = self.bytes.get(from..)?;
        let hit = |p: &&str| bytes.windows(p.len().max(1)).position(|w| w == p.as_bytes());
        let (which, at) = patterns
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((i, hit(p)?)))
            .min_by_key(|(_, at)| *at)?;
        let at = from + at;
        let is_end = |b: &u8| *b == b'\n';
        let begin = self.bytes.get(..at)?.iter().rposition(is_end).map_or(0, |p| p + 1);
        let end = self.bytes.get(at..)?.iter().position(is_end).map_or(self.bytes.len(), |p| at + p);
        let arrival = self.arrivals.partition_point(|(offset, _)| *offset <= at).checked_sub(1)?;
        let line = String::from_utf8_lossy(self.bytes.get(begin..end)?).trim().to_owned();
        Some(Found {
            which,
            at: self.arrivals.get(arrival)?.1,
            end,
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn words_are_found_across_reads_and_in_order() {
        let dir = std::env::temp_dir().join(format!("skerry-serial-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let serial = Serial::read(theirs, &dir.join("log"), Instant::now()).unwrap();
        ours.write_all(b"first li").unwrap();
        assert_eq!(serial.wait_any(&["first"], 0, SOON).unwrap().line, "first li");
        let mut later = ours.try_clone().unwrap();
        let whole = std::thread::spawn({
            let serial = serial.clone();
            move || serial.wait_line("first", 0, SOON).unwrap().line
        });
        later.write_all(b"ne\nsecond line\n").unwrap();
        assert_eq!(whole.join().unwrap(), "first line");
        drop(later);
        let found = serial.wait_any(&["second", "line\n"], 0, SOON).unwrap();
        assert_eq!((found.which, found.line.as_str()), (1, "first line"));
        assert_eq!(serial.wait_any(&["line"], found.end, SOON).unwrap().line, "second line");
        drop(ours);
        assert!(serial.wait_end(SOON));
        let why = serial.wait_any(&["third"], 0, SOON).unwrap_err().to_string();
        assert!(why.contains("the machine ended") && why.contains("| second line"), "{why}");
        assert_eq!(std::fs::read_to_string(dir.join("log")).unwrap(), "first line\nsecond line\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
