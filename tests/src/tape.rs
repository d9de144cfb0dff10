//! A disk file whose writes are remembered, so that the disk can be made again as a power cut at any of them leaves it.
//!
//! ```text
//!  Tape::write_at, flush ──▶ events ──interesting──▶ cuts ──Tape::show──▶ the file, as it is after that cut
//! ```

use skerry_installer::device::{Device, Disk};
use std::io;
use std::ops::Range;
use std::path::Path;

/// What reached the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes at a place, and what was there before; none where that was zeros.
    Write {
        /// Where, in bytes.
        at: u64,
        /// What was there.
        old: Option<Vec<u8>>,
        /// What is there now.
        new: Vec<u8>,
    },
    /// All before is on the medium.
    Flush,
}

/// A power cut: which of the events reached the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// All events before this one, which a flush ended.
    pub flushed: usize,
    /// These of those after it.
    pub kept: Vec<usize>,
    /// And the first bytes of this one.
    pub torn: Option<(usize, usize)>,
    /// What it is, for a person.
    pub what: String,
}

/// The file, and what happened to it.
#[derive(Debug)]
pub struct Tape {
    disk: Disk,
    /// All that happened, in order.
    pub events: Vec<Event>,
}

impl Tape {
    /// Over a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            disk: Disk::open(path)?,
            events: vec![],
        })
    }

    /// From the state after all events to that of a cut, while `look` looks at it, and back.
    pub fn show<T>(&mut self, cut: &Cut, look: impl FnOnce(&dyn Device) -> T) -> io::Result<T> {
        let all = self.events.len();
        self.back(cut.flushed..all)?;
        for kept in &cut.kept {
            self.forth(*kept, usize::MAX)?;
        }
        if let Some((event, bytes)) = cut.torn {
            self.forth(event, bytes)?;
        }
        let seen = look(&self.disk);
        // Whatever was written since the flush is undone in reverse, which is right for any part of it.
        self.back(cut.flushed..all)?;
        for event in cut.flushed..all {
            self.forth(event, usize::MAX)?;
        }
        Ok(seen)
    }

    fn back(&mut self, events: Range<usize>) -> io::Result<()> {
        let events = self.events.get(events).unwrap_or_default();
        for event in events.iter().rev() {
            if let Event::Write { at, old, new } = event {
                match old {
                    Some(old) => self.disk.write_at(*at, old)?,
                    None => self.disk.write_at(*at, &vec![0; new.len()])?,
                }
            }
        }
        Ok(())
    }

    fn forth(&mut self, event: usize, bytes: usize) -> io::Result<()> {
        match self.events.get(event) {
            Some(Event::Write { at, new, .. }) => self.disk.write_at(*at, new.get(..bytes).unwrap_or(new)),
            _ => Ok(()),
        }
    }
}

impl Device for Tape {
    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(at, into)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut old = vec![0; bytes.len()];
        self.disk.read_at(at, &mut old)?;
        self.disk.write_at(at, bytes)?;
        let old = old.iter().any(|byte| *byte != 0).then_some(old);
        let new = bytes.to_vec();
        self.events.push(Event::Write { at, old, new });
        Ok(())
    }

    /// The file need not outlive a cut of this computer.
    fn flush(&mut self) -> io::Result<()> {
        self.events.push(Event::Flush);
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The cuts that are most likely to find something: before everything; of each group between two flushes the first write alone, all but
/// the first, all but the last, the last sector torn in its middle, and all.
pub fn interesting(events: &[Event]) -> Vec<Cut> {
    let writes: Vec<usize> = (0..events.len())
        .filter(|n| matches!(events.get(*n), Some(Event::Write { .. })))
        .collect();
    let mut cuts = vec![Cut {
        flushed: 0,
        kept: vec![],
        torn: None,
        what: "before the first write".to_owned(),
    }];
    let mut from = 0;
    let ends = (0..events.len())
        .filter(|n| events.get(*n) == Some(&Event::Flush))
        .chain([events.len()]);
    for (group, end) in ends.enumerate() {
        let here: Vec<usize> = writes.iter().copied().filter(|n| (from..end).contains(n)).collect();
        let mut add = |kept: &[usize], torn: Option<(usize, usize)>, what: &str| {
            cuts.push(Cut {
                flushed: from,
                kept: kept.to_vec(),
                torn,
                what: format!("group {group}, {} writes: {what}", here.len()),
            });
        };
        if let [first, rest @ .., last] = here.as_slice() {
            add(&[*first], None, "the first alone");
            add(&[rest, &[*last]].concat(), None, "all but the first");
            add(&[&[*first], rest].concat(), None, "all but the last");
        }
        if let Some((last, before)) = here.split_last() {
            if let Some(Event::Write { new, .. }) = events.get(*last) {
                let half = if new.len() <= 512 {
                    new.len() / 2
                } else {
                    new.len() / 2 / 512 * 512
                };
                add(before, Some((*last, half)), "the last one torn");
            }
            add(&here, None, "all of them");
        }
        from = end + 1;
    }
    cuts
}

/// `most` of them, spread evenly, the first and the last among them.
pub fn thin(cuts: Vec<Cut>, most: usize) -> Vec<Cut> {
    let all = cuts.len();
    if all <= most || most < 2 {
        return cuts;
    }
    let chosen: Vec<usize> = (0..most).map(|n| n * (all - 1) / (most - 1)).collect();
    let numbered = cuts.into_iter().enumerate();
    numbered.filter(|(n, _)| chosen.contains(n)).map(|(_, cut)| cut).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
mod tests {
    use super::*;

    fn bytes(device: &dyn Device) -> Vec<u8> {
        let mut all = vec![0; 4096];
        device.read_at(0, &mut all).unwrap();
        all
    }

    #[test]
    fn a_cut_is_shown_and_the_end_comes_back() {
        let path = std::env::temp_dir().join(format!("skerry-tape-{}", std::process::id()));
        Disk::create(&path, 4096).unwrap();
        let mut tape = Tape::open(&path).unwrap();
        for (at, byte) in [(0, 1u8), (512, 2), (0, 3)] {
            tape.write_at(at, &[byte; 512]).unwrap();
            if byte == 1 {
                tape.flush().unwrap();
            }
        }
        let end = bytes(&tape);
        assert_eq!([end[0], end[512], end[1024]], [3, 2, 0]);
        let cuts = interesting(&tape.events);
        let seen: Vec<_> = cuts
            .iter()
            .map(|cut| {
                let all = tape.show(cut, bytes).unwrap();
                assert_eq!(bytes(&tape), end, "{cut:?}");
                [all[0], all[256], all[512]]
            })
            .collect();
        let first = [[0, 0, 0], [1, 0, 0], [1, 1, 0]];
        let second = [[1, 1, 2], [3, 3, 0], [1, 1, 2], [3, 1, 2], [3, 3, 2]];
        assert_eq!(seen, [first.as_slice(), &second].concat());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_few_of_many() {
        let cut = |n| Cut {
            flushed: n,
            kept: vec![],
            torn: None,
            what: String::new(),
        };
        let few = |all, most| {
            thin((0..all).map(cut).collect(), most)
                .iter()
                .map(|c| c.flushed)
                .collect::<Vec<_>>()
        };
        assert_eq!(few(3, 5), [0, 1, 2]);
        assert_eq!(few(10, 4), [0, 3, 6, 9]);
    }
}
