//! The log of one unit: its pipe, its ring, its file.

use super::ring::{Ring, last_lines};
use super::store::{MAX_FILE, Store};
use skerry_sys::socket;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What a service's ring holds while there is no file.
const LARGE: usize = 64 << 10;
/// What a one-shot's ring holds while there is no file.
const SMALL: usize = 16 << 10;
/// What a ring holds once the file has it all.
const BESIDE_FILE: usize = 4 << 10;
/// What begins a line of PID 1's own.
const NOTE: &str = "-- ";

/// The log of one unit.
#[derive(Debug)]
pub struct UnitLog {
    /// Its pipe's number in the poller.
    pub token: u64,
    name: String,
    pipe: OwnedFd,
    ring: Ring,
    size: usize,
    file: Option<Store>,
    /// A file was written and then could not be: what is in the ring is partly there too.
    lost_file: bool,
    /// The last byte was no newline.
    mid_line: bool,
}

impl UnitLog {
    /// An empty one.
    pub fn new(name: &str, pipe: OwnedFd, token: u64, small: bool) -> Self {
        let size = if small { SMALL } else { LARGE };
        Self {
            token,
            name: name.to_owned(),
            pipe,
            ring: Ring::new(size),
            size,
            file: None,
            lost_file: false,
            mid_line: false,
        }
    }

    /// Opens its file, if that is not open, and puts into it what the ring held until now.
    pub fn open_file(&mut self, dir: &Path) {
        if self.file.is_some() {
            return;
        }
        let Ok(mut file) = Store::open(dir, &self.name, MAX_FILE) else {
            return;
        };
        let held = if self.lost_file { vec![] } else { self.ring.bytes() };
        let marked = !self.lost_file || file.write(b"-- lines are missing here: the file could not be written\n").is_ok();
        if marked && file.write(&held).is_ok() {
            self.file = Some(file);
            self.ring.resize(BESIDE_FILE);
        }
    }

    /// Takes what is in the pipe, at most 8 KiB; none if there is nothing.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 8192];
        let n = socket::read(&self.pipe, &mut buffer).ok().filter(|n| *n > 0)?;
        let bytes = buffer.get(..n)?;
        self.keep(bytes);
        Some(bytes.to_vec())
    }

    /// Adds a line of PID 1's.
    pub fn note(&mut self, text: &str) {
        let line = format!("{}{NOTE}{text}\n", if self.mid_line { "\n" } else { "" });
        self.keep(line.as_bytes());
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.mid_line = bytes.last() != Some(&b'\n');
        if let Some(file) = &mut self.file
            && file.write(bytes).is_err()
        {
            self.file = None;
            self.lost_file = true;
            self.ring.resize(self.size);
        }
        self.ring.push(bytes);
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> Vec<u8> {
        let from_file = self.file.as_ref().and_then(|f| f.tail(lines).ok());
        from_file.unwrap_or_else(|| last_lines(&self.ring.bytes(), lines).to_vec())
    }

    /// The last lines that the unit itself printed since its last start.
    pub fn last_of_run(&self, lines: usize) -> Vec<String> {
        let bytes = self.ring.bytes();
        let text = String::from_utf8_lossy(&bytes);
        let mut out: Vec<String> = text
            .lines()
            .rev()
            .take_while(|l| !l.starts_with("-- started"))
            .filter(|l| !l.starts_with(NOTE) && !l.trim().is_empty())
            .take(lines)
            .map(|l| l.chars().take(200).collect())
            .collect();
        out.reverse();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_only_the_last_run() {
        let (pipe, _write) = skerry_sys::process::pipe().unwrap();
        let mut log = UnitLog::new("a", pipe, 1, true);
        log.note("started, pid 1");
        log.keep(b"old\n");
        log.note("started, pid 2");
        log.keep(b"one\n\ntwo");
        log.note("ended");
        assert_eq!(log.last_of_run(8), ["one", "two"]);
        assert_eq!(log.last_of_run(1), ["two"]);
        assert_eq!(log.tail(2), b"two\n-- ended\n");
    }
}
