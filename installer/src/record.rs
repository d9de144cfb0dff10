//! For tests: a disk in memory that remembers every write and flush, so that a power cut can be played at each of them.

use crate::device::Device;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

const PAGE: u64 = 4096;

/// A disk in memory. Pages that were never written are zeros, or those of a disk that lies below.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    bytes: u64,
    pages: BTreeMap<u64, Arc<Vec<u8>>>,
}

impl Memory {
    /// A disk of zeros.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            pages: BTreeMap::new(),
        }
    }

    /// The same bytes on a disk of another length.
    #[must_use]
    pub fn resized(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self.pages.retain(|page, _| page * PAGE < bytes);
        self
    }

    /// Fills `into`.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.inside(at, into.len())?;
        let mut done = 0;
        while done < into.len() {
            let here = at + done as u64;
            let (page, within) = (here / PAGE, usize::try_from(here % PAGE).unwrap_or(0));
            let length = (into.len() - done).min(4096 - within);
            let Some(place) = into.get_mut(done..done + length) else { break };
            match self.pages.get(&page).and_then(|p| p.get(within..within + length)) {
                Some(bytes) => place.copy_from_slice(bytes),
                None => place.fill(0),
            }
            done += length;
        }
        Ok(())
    }

    /// Writes `bytes`.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.inside(at, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let here = at + done as u64;
            let (page, within) = (here / PAGE, usize::try_from(here % PAGE).unwrap_or(0));
            let length = (bytes.len() - done).min(4096 - within);
            let page = self.pages.entry(page).or_insert_with(|| Arc::new(vec![0; 4096]));
            let place = Arc::make_mut(page).get_mut(within..within + length);
            if let (Some(place), Some(from)) = (place, bytes.get(done..done + length)) {
                place.copy_from_slice(from);
            }
            done += length;
        }
        Ok(())
    }

    fn inside(&self, at: u64, length: usize) -> io::Result<()> {
        match at.checked_add(length as u64) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether a range is the same on both, because neither was written there since one was the other's copy.
    pub fn is_same(&self, other: &Self, at: u64, bytes: u64) -> bool {
        let pages = at / PAGE..(at + bytes).div_ceil(PAGE);
        let (mut ours, mut theirs) = (self.pages.range(pages.clone()), other.pages.range(pages));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some((a, x)), Some((b, y))) if a == b && Arc::ptr_eq(x, y) => {}
                _ => return false,
            }
        }
    }

    /// All bytes of a page (4096 bytes at `page * 4096`), if it was ever written.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(page, bytes)| (page * PAGE, bytes.as_slice()))
    }
}

/// What reached the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes at a place.
    Write(u64, Vec<u8>),
    /// All before is on the medium.
    Flush,
}

/// A disk in memory that records.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// As it was at the beginning.
    pub before: Memory,
    /// As it is.
    pub now: Memory,
    /// All that happened.
    pub events: Vec<Event>,
    /// The writes and flushes that still succeed; none for all.
    pub faults_after: Option<usize>,
    /// A write of this number (from 0) is claimed to have been done and is lost: a disk that lies.
    pub loses: Option<usize>,
}

impl Recorder {
    /// Records what happens to a disk.
    pub fn new(disk: Memory) -> Self {
        Self {
            now: disk.clone(),
            before: disk,
            events: vec![],
            faults_after: None,
            loses: None,
        }
    }

    fn may(&self) -> io::Result<()> {
        match self.faults_after {
            Some(most) if self.events.len() >= most => Err(io::Error::other("the disk has failed (as told by the test)")),
            _ => Ok(()),
        }
    }

    /// Calls `check` with the disk as it may be after a cut: after each write, and after each part of a write that ends at a multiple of
    /// `torn` bytes. Gives the number of states; stops at the first error.
    pub fn cuts<E>(&self, torn: usize, mut check: impl FnMut(&Memory, usize) -> Result<(), E>) -> Result<usize, E> {
        let mut disk = self.before.clone();
        let mut states = 0;
        let mut see = |disk: &Memory, event: usize| {
            states += 1;
            check(disk, event)
        };
        see(&disk, 0)?;
        for (number, event) in self.events.iter().enumerate() {
            let Event::Write(at, bytes) = event else { continue };
            let mut done = 0;
            for part in bytes.chunks(torn) {
                // Within the device's length, since the write was.
                let _ = disk.write(at + done, part);
                done += part.len() as u64;
                see(&disk, number)?;
            }
        }
        Ok(states)
    }

    /// The disk after a cut at `event`, where of the writes since the last flush only those survived that `kept` says.
    pub fn reordered(&self, event: usize, mut kept: impl FnMut() -> bool) -> Memory {
        let events = self.events.get(..event).unwrap_or(&self.events);
        let flushed = events.iter().rposition(|e| *e == Event::Flush).unwrap_or(0);
        let mut disk = self.before.clone();
        for (number, event) in events.iter().enumerate() {
            let Event::Write(at, bytes) = event else { continue };
            if number < flushed || kept() {
                let _ = disk.write(*at, bytes);
            }
        }
        disk
    }
}

impl Device for Recorder {
    fn bytes(&self) -> u64 {
        self.now.bytes
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.now.read(at, into)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.may()?;
        if self.loses != Some(self.events.len()) {
            self.now.write(at, bytes)?;
        }
        self.events.push(Event::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.may()?;
        self.events.push(Event::Flush);
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}
