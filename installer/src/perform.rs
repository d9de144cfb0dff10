//! Does a plan: checks all that goes in, writes step by step, flushes, and reads everything back.

use crate::content::{Content, Digest};
use crate::device::Device;
use crate::ext4::{self, Made};
use crate::map::Range;
use crate::plan::Plan;
use crate::record::Memory;
use crate::step::Step;
use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest as _, Sha256};
use skerry_sys::gpt::{self, SECTOR};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::time::{Duration, Instant};

/// How a plan is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything is read back and compared.
    pub read_back: bool,
    /// All files are read and compared before the first write. Not for who has done that just now: each is compared once more while it
    /// is written, before its last bytes are; a root when it is read back.
    pub check_first: bool,
    /// A folder for the data file system while it is made: about 50 MiB.
    pub temporary: PathBuf,
    /// The words that run mke2fs: another one than this computer's, where the same image is to come out everywhere.
    pub mke2fs: Vec<OsString>,
    /// How many bytes are written at once.
    pub chunk: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_back: true,
            check_first: true,
            temporary: std::env::temp_dir(),
            mke2fs: vec!["mke2fs".into()],
            chunk: 1 << 20,
        }
    }
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The release is checked; nothing is written yet.
    Check,
    /// A step is written.
    Write,
    /// What a step wrote is read back.
    ReadBack,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is going on.
    pub phase: Phase,
    /// The step's number, from 0.
    pub step: usize,
    /// The step.
    pub what: &'a Step,
    /// How many bytes of all that is to be checked, written and read back are done.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Bytes written.
    pub written: u64,
    /// How long it took to check what goes in.
    pub checking: Duration,
    /// To write it, flushes included.
    pub writing: Duration,
    /// To read it back.
    pub reading_back: Duration,
}

/// Does a plan. An error before the first write leaves the device as it was; the message says so.
pub fn perform(plan: &Plan, device: &mut dyn Device, options: &Options, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Report> {
    let untouched = "nothing was written";
    ensure!(
        device.bytes() == plan.disk_bytes,
        "looking at the disk: it has {} bytes, and the plan is for one of {}: {untouched}",
        device.bytes(),
        plan.disk_bytes
    );
    rehearse(plan, device).context(untouched)?;
    let made: Vec<Option<Made>> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::MakeExt4 { ext4, .. } => ext4::make(ext4, &options.temporary, &options.mke2fs).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()
        .context(untouched)?;
    let mut work = Work {
        options,
        tell,
        done: 0,
        total: total(plan, &made, options),
        at: None,
    };
    let began = Instant::now();
    if options.check_first {
        for (number, step) in plan.steps.iter().enumerate() {
            work.at = Some((Phase::Check, number, step));
            work.check(step).context(untouched)?;
        }
    }
    let mut report = Report {
        written: 0,
        checking: began.elapsed(),
        writing: Duration::ZERO,
        reading_back: Duration::ZERO,
    };
    for (number, (step, made)) in plan.steps.iter().zip(&made).enumerate() {
        let doing = || format!("step {} of {}: {step}", number + 1, plan.steps.len());
        work.at = Some((Phase::Write, number, step));
        let began = Instant::now();
        report.written += work.write(step, made.as_ref(), device).with_context(doing)?;
        report.writing += began.elapsed();
        if options.read_back {
            work.at = Some((Phase::ReadBack, number, step));
            device.forget().with_context(doing)?;
            let began = Instant::now();
            work.read_back(step, made.as_ref(), device).with_context(doing)?;
            report.reading_back += began.elapsed();
        }
    }
    Ok(report)
}

fn total(plan: &Plan, made: &[Option<Made>], options: &Options) -> u64 {
    let written: u64 =
        plan.steps.iter().map(Step::bytes).sum::<u64>() + made.iter().flatten().flat_map(|m| &m.ranges).map(|r| r.bytes).sum::<u64>();
    let checked: u64 = if options.check_first {
        files(plan).map(Content::bytes).sum()
    } else {
        0
    };
    checked + written * if options.read_back { 2 } else { 1 }
}

fn files(plan: &Plan) -> impl Iterator<Item = &Content> {
    let extents = plan.steps.iter().flat_map(Step::groups).flatten();
    extents.map(|e| &e.content).filter(|c| matches!(c, Content::File { .. }))
}

/// The table goes first onto a copy that holds nothing but the old table, and must come back: else it would be learnt with the old one
/// gone.
fn rehearse(plan: &Plan, device: &dyn Device) -> Result<()> {
    let copied = gpt::FIRST_USABLE * SECTOR;
    for step in plan
        .steps
        .iter()
        .filter(|s| matches!(s, Step::WriteTable { .. } | Step::ChangeTable { .. }))
    {
        let mut disk = Memory::new(plan.disk_bytes);
        for at in [0, plan.disk_bytes.saturating_sub(copied)] {
            let mut old = vec![0; usize::try_from(copied)?];
            device.read_at(at, &mut old).context("reading the old partition table")?;
            disk.write(at, &old).context("rehearsing the partition table")?;
        }
        for extent in step.groups().into_iter().flatten() {
            if let Content::Bytes(bytes) = &extent.content {
                disk.write(extent.at, bytes).context("rehearsing the partition table")?;
            }
        }
        let found = gpt::find(plan.disk_bytes / SECTOR, |at, into| disk.read(at, into));
        let (primary, backup) = (found.primary?, found.backup?);
        ensure!(primary == backup, "rehearsing the partition table: its copies differ");
    }
    Ok(())
}

struct Work<'a> {
    options: &'a Options,
    tell: &'a mut dyn FnMut(Progress<'_>),
    done: u64,
    total: u64,
    at: Option<(Phase, usize, &'a Step)>,
}

impl Work<'_> {
    fn tell(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if let Some((phase, step, what)) = self.at {
            (self.tell)(Progress {
                phase,
                step,
                what,
                done: self.done,
                total: self.total,
            });
        }
    }

    /// Reads every file that a step needs, and compares its digest.
    fn check(&mut self, step: &Step) -> Result<()> {
        for extent in step.groups().into_iter().flatten() {
            if matches!(extent.content, Content::File { .. }) {
                self.pour(&extent.content, true, &mut |_, _| Ok(()))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, step: &Step, made: Option<&Made>, device: &mut dyn Device) -> Result<u64> {
        let mut written = 0;
        // A root is compared when it is read back, and nothing names it before that. All else counts as soon as its last bytes are there.
        let is_compared = !(self.options.read_back && step.is_root());
        for group in step.groups() {
            for extent in group {
                self.pour(&extent.content, is_compared, &mut |from, bytes| {
                    written += bytes.len() as u64;
                    device.write_at(extent.at + from, bytes).context("writing")
                })?;
            }
            device.flush().context("flushing")?;
        }
        if let (Some(made), Step::MakeExt4 { place, .. }) = (made, step) {
            for range in &made.ranges {
                self.pour_range(&made.file, MADE, *range, &mut |from, bytes| {
                    written += bytes.len() as u64;
                    device.write_at(place.at + from, bytes).context("writing")
                })?;
            }
            device.flush().context("flushing")?;
        }
        Ok(written)
    }

    /// Compares what is on the device now with what was to be written: files by their digest, all else byte by byte. Of several writes
    /// to one place only the last can be found, so a step has none.
    fn read_back(&mut self, step: &Step, made: Option<&Made>, device: &dyn Device) -> Result<()> {
        let mut found = vec![0; self.options.chunk];
        for extent in step.groups().into_iter().flatten() {
            if let Content::File { path, bytes, sha256 } = &extent.content {
                let mut hash = Sha256::new();
                let mut at = 0;
                while at < *bytes {
                    let length = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(found.len());
                    let piece = found.get_mut(..length).unwrap_or_default();
                    device.read_at(extent.at + at, piece).context("reading back")?;
                    hash.update(&*piece);
                    at += length as u64;
                    self.tell(length);
                }
                if hash.finalize().as_slice() != sha256.0 {
                    // Was it the disk, or is the file not what it was when it was checked?
                    self.pour_file(path, *bytes, sha256, &mut |_, _| Ok(()))?;
                    bail!(LOST);
                }
            } else {
                self.pour(&extent.content, false, &mut |from, bytes| {
                    same(device, extent.at + from, bytes, &mut found)
                })?;
            }
        }
        if let (Some(made), Step::MakeExt4 { place, .. }) = (made, step) {
            for range in &made.ranges {
                self.pour_range(&made.file, MADE, *range, &mut |from, bytes| {
                    same(device, place.at + from, bytes, &mut found)
                })?;
            }
        }
        Ok(())
    }

    /// Hands out content in pieces, each with its offset. Where it is compared, a file's digest is before its last piece is handed out: a
    /// file that is not what it should be is then never written whole.
    fn pour(&mut self, content: &Content, is_compared: bool, to: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        match content {
            Content::Bytes(bytes) => {
                let mut at = 0;
                for piece in bytes.chunks(self.options.chunk) {
                    to(at, piece)?;
                    at += piece.len() as u64;
                    self.tell(piece.len());
                }
                Ok(())
            }
            Content::Zeros(length) => {
                let zeros = vec![0; self.options.chunk];
                let mut at = 0;
                while at < *length {
                    let piece = zeros
                        .get(..usize::try_from(length - at).unwrap_or(usize::MAX).min(zeros.len()))
                        .unwrap_or_default();
                    to(at, piece)?;
                    at += piece.len() as u64;
                    self.tell(piece.len());
                }
                Ok(())
            }
            Content::File { path, bytes, sha256 } if is_compared => self.pour_file(path, *bytes, sha256, to),
            Content::File { path, bytes, .. } => {
                let name = path.display().to_string();
                let file = File::open(path).with_context(|| format!("opening {name}"))?;
                self.pour_range(&file, &name, Range { at: 0, bytes: *bytes }, to)
            }
        }
    }

    /// One piece is hashed beside, while the next is read and handed out: neither waits for the other.
    fn pour_file(&mut self, path: &Path, bytes: u64, sha256: &Digest, to: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let (give, take) = sync_channel::<Vec<u8>>(0);
        let (give_back, take_back) = channel();
        std::thread::scope(|scope| {
            let hasher = scope.spawn(move || {
                let mut hash = Sha256::new();
                for piece in take {
                    hash.update(&piece);
                    if give_back.send(piece).is_err() {
                        break; // something went wrong, and nobody asks any more
                    }
                }
                Digest(hash.finalize().into())
            });
            let gone = "checking its SHA-256: the thread is gone";
            let mut spare = vec![vec![]; 2];
            let mut at = 0;
            while at < bytes {
                let length = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(self.options.chunk);
                let mut piece = match spare.pop() {
                    Some(piece) => piece,
                    None => take_back.recv().context(gone)?,
                };
                piece.resize(length, 0);
                file.read_exact(&mut piece).with_context(|| format!("reading {}", path.display()))?;
                if at + length as u64 == bytes {
                    give.send(piece).context(gone)?;
                    drop(give);
                    let last = take_back.iter().last().context(gone)?;
                    let found = hasher.join().map_err(|_| anyhow!(gone))?;
                    ensure!(
                        found == *sha256,
                        "checking {}: its SHA-256 is not the manifest's / try: copy the release again",
                        path.display()
                    );
                    to(at, &last)?;
                    self.tell(length);
                    return Ok(());
                }
                to(at, &piece)?;
                give.send(piece).context(gone)?;
                at += length as u64;
                self.tell(length);
            }
            ensure!(
                *sha256 == Digest::of(&[]),
                "checking {}: it is empty, and the manifest's SHA-256 is not that of nothing",
                path.display()
            );
            Ok(())
        })
    }

    fn pour_range(&mut self, file: &File, name: &str, range: Range, to: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; self.options.chunk];
        let mut at = 0;
        while at < range.bytes {
            let length = usize::try_from(range.bytes - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(piece, range.at + at)
                .with_context(|| format!("reading {name}"))?;
            to(range.at + at, piece)?;
            at += length as u64;
            self.tell(length);
        }
        Ok(())
    }
}

const MADE: &str = "the data file system";
const LOST: &str = "read back, it is not what was written / try: another disk; this one loses data";

fn same(device: &dyn Device, at: u64, expected: &[u8], found: &mut [u8]) -> Result<()> {
    let found = found.get_mut(..expected.len()).unwrap_or_default();
    device.read_at(at, found).context("reading back")?;
    ensure!(found == expected, LOST);
    Ok(())
}
