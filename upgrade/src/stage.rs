//! A checked release into the slot that does not run.
//!
//! ```text
//!  begin: no trial ─▶ wipe its boot sector ─▶ root ─▶ boot, its first sector last ─▶ all read back ─▶ on trial
//!  (saved first)      └──────────── may_write is asked again before each ─────────────┘              (one sector, then its copy)
//! ```
//!
//! The slot that runs, the data and the ESP are not written. Power may go at any instant: until the last step the old system boots, and
//! then the new one, with three tries. Whoever was interrupted starts over; nothing has to be cleaned up.

use crate::machine::parts;
use crate::tree::{self, Depth};
use crate::trust::Checked;
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use skerry_installer::content::{Content, Extent};
use skerry_installer::device::{Device, table};
use skerry_installer::layout::{Arch, Layout, Part, Place};
use skerry_installer::perform::{self, Options, Phase};
use skerry_installer::plan::{self as installation, boot_state};
use skerry_installer::step::Step;
use skerry_slots::pair::{Env, Pair, Writes};
use skerry_slots::partition::PLACES;
use skerry_slots::rules;
use skerry_slots::state::Slot;
use skerry_sys::gpt::SECTOR;
use std::fmt;
use std::io;

/// The disk, as it was found.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The slot that runs.
    pub running: Slot,
    /// The partitions.
    pub layout: Layout,
    /// The boot state.
    pub pair: Pair,
    /// The disk's length in bytes.
    pub disk_bytes: u64,
}

impl Facts {
    /// Looks at a disk.
    pub fn look(device: &dyn Device, arch: Arch, running: Slot) -> Result<Self> {
        let found = table(device);
        let table = found.table().context("looking at the disk: it has no valid partition table")?;
        let layout = Layout::of(table, arch).context("looking at the disk: it has not the partitions of Skerry")?;
        let pair = boot_state(&layout, device)?;
        Ok(Self {
            running,
            layout,
            pair,
            disk_bytes: device.bytes(),
        })
    }
}

/// What will be done.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The release's version.
    pub version: String,
    /// Its root hash.
    pub root_hash: String,
    /// Who signed it.
    pub signed_by: Option<String>,
    /// The slot that runs.
    #[serde(serialize_with = "name")]
    pub running: Slot,
    /// The slot that is written.
    #[serde(serialize_with = "name")]
    pub slot: Slot,
    /// Takes that slot off trial, where it is on one.
    pub begin: Vec<Step>,
    /// Writes it.
    pub write: Vec<Step>,
    /// Puts it on trial.
    pub finish: Vec<Step>,
    /// What is promised if the power goes.
    pub promise: &'static str,
    #[serde(skip)]
    pair: Pair,
    #[serde(skip)]
    disk_bytes: u64,
    #[serde(skip)]
    bootstate: Place,
    #[serde(skip)]
    places: [Place; 2],
    #[serde(skip)]
    hash: (u64, skerry_installer::content::Digest),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn name<S: serde::Serializer>(slot: &Slot, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(slot.name())
}

const PROMISE: &str = "The running slot, the data and the ESP are not touched. At every instant the disk boots the old system, or, from the \
    last step on, the new one on trial.";

/// Plans; refuses where the rules of the slots do.
pub fn plan(checked: &Checked, facts: &Facts) -> Result<Plan> {
    let place = |part: Part| {
        let found = facts.layout.place(part);
        found.with_context(|| format!("looking for the partition {part}: there is none"))
    };
    let bootstate = place(Part::Bootstate)?;
    let (slot, writes) = rules::begin_write(&facts.pair, facts.running).map_err(|why| refused("beginning to write", why))?;
    let begin = state_steps(bootstate, &writes, &format!("slot {slot} is on no trial"));
    let mut after = facts.pair;
    apply(&mut after, &writes);
    let trial = rules::try_slot(&after, facts.running, slot, true).map_err(|why| refused("planning the trial", why))?;
    let [boot, root] = parts(slot);
    Ok(Plan {
        version: checked.release.version.clone(),
        root_hash: checked.release.root_hash.to_string(),
        signed_by: checked.signed_by.clone(),
        running: facts.running,
        slot,
        begin,
        write: installation::slot(&checked.release, &facts.layout, slot)?,
        finish: state_steps(bootstate, &trial, &format!("slot {slot} is on trial, with three tries")),
        promise: PROMISE,
        pair: facts.pair,
        disk_bytes: facts.disk_bytes,
        bootstate,
        places: [place(boot)?, place(root)?],
        hash: (checked.release.hash_offset, checked.release.root_hash),
    })
}

fn refused(doing: &str, why: rules::Refused) -> anyhow::Error {
    let hint = match why {
        rules::Refused::Good(_) => "the system that runs has not proven itself yet: wait until `skerry slots` shows it as good",
        rules::Refused::Unknown => "restart the machine: the boot state is repaired then",
        _ => "look at `skerry slots`",
    };
    anyhow::Error::new(why).context(format!("{doing} / try: {hint}"))
}

fn apply(pair: &mut Pair, writes: &Writes) {
    for write in writes.iter() {
        *pair.get_mut(write.env) = write.sector;
    }
}

/// A step for each sector, so that each is flushed and read back before the next is written.
fn state_steps(bootstate: Place, writes: &Writes, says: &str) -> Vec<Step> {
    let [zero, one] = PLACES;
    let step = |env: Env, sector: &[u8; 512]| Step::SetBootState {
        says: format!("{says} ({})", env.name()),
        sectors: vec![Extent {
            at: bootstate.at + if env == Env::Zero { zero } else { one } * SECTOR,
            content: Content::Bytes(sector.to_vec()),
        }],
    };
    writes.iter().map(|w| step(w.env, &w.sector)).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self
            .signed_by
            .as_ref()
            .map_or("not signed by a known key".to_owned(), |k| format!("signed by {k}"));
        writeln!(
            f,
            "Skerry {} ({signed}) into slot {}; slot {} runs",
            self.version, self.slot, self.running
        )?;
        for (number, step) in self.steps().enumerate() {
            writeln!(f, "{:>4}. {step}", number + 1)?;
        }
        write!(f, "\n{}", self.promise)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is going on.
    pub phase: Phase,
    /// With which step.
    pub what: &'a Step,
    /// How many bytes of all that is written and read back are done.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version that waits for its trial.
    pub version: String,
    /// In which slot.
    pub slot: &'static str,
    /// Bytes written.
    pub written: u64,
}

impl Plan {
    /// All steps in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.begin.iter().chain(&self.write).chain(&self.finish)
    }

    /// Does it. `chunk`: how many bytes are written at once.
    pub fn perform(&self, device: &mut dyn Device, chunk: usize, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Report> {
        let mut work = Work {
            plan: self,
            done: 0,
            total: self.steps().map(Step::bytes).sum::<u64>() * 2,
            written: 0,
            chunk,
            tell,
        };
        ensure!(
            self.read_state(device)? == self.pair,
            "the boot state has changed since the plan was made: nothing was written / try: again"
        );
        for step in &self.begin {
            work.step(step, device, &[self.bootstate])?;
        }
        for step in &self.write {
            let pair = self.read_state(device)?;
            rules::may_write(&pair, self.running, self.slot).map_err(|why| refused("asking before writing on", why))?;
            work.step(step, device, &self.places)?;
        }
        self.check_tree(device)?;
        let pair = self.read_state(device)?;
        let trial = rules::try_slot(&pair, self.running, self.slot, true).map_err(|why| refused("putting the slot on trial", why))?;
        let says = format!("slot {} is on trial, with three tries", self.slot);
        for step in state_steps(self.bootstate, &trial, &says) {
            work.step(&step, device, &[self.bootstate])?;
        }
        Ok(Report {
            version: self.version.clone(),
            slot: self.slot.name(),
            written: work.written,
        })
    }

    /// From the disk, past every cache.
    fn read_state(&self, device: &mut dyn Device) -> Result<Pair> {
        device.forget().context("reading the boot state")?;
        let mut pair = self.pair;
        for (env, number) in Env::ALL.into_iter().zip(PLACES) {
            let sector = pair.get_mut(env);
            // One that cannot be read counts as damaged.
            if device.read_at(self.bootstate.at + number * SECTOR, sector).is_err() {
                *sector = [0; 512];
            }
        }
        Ok(pair)
    }

    /// Every byte was compared already; this is what stage 1 will look at first.
    fn check_tree(&self, device: &dyn Device) -> Result<()> {
        let [_, root] = self.places;
        let (hash_offset, hash) = self.hash;
        let read = |at: u64, into: &mut [u8]| device.read_at(root.at + at, into);
        tree::check(&read, None, hash_offset, hash, Depth::Top, &mut |_| {}).context("checking the hash tree on the disk")
    }
}

struct Work<'a> {
    plan: &'a Plan,
    done: u64,
    total: u64,
    written: u64,
    chunk: usize,
    tell: &'a mut dyn FnMut(Progress<'_>),
}

impl Work<'_> {
    /// One step: written, flushed, read back.
    fn step(&mut self, step: &Step, device: &mut dyn Device, allowed: &[Place]) -> Result<()> {
        let plan = installation::Plan {
            version: self.plan.version.clone(),
            disk_bytes: self.plan.disk_bytes,
            promise: PROMISE,
            steps: vec![step.clone()],
        };
        let options = Options {
            read_back: true,
            check_first: false,
            chunk: self.chunk,
            ..Options::default()
        };
        let (before, total) = (self.done, self.total);
        let tell = &mut self.tell;
        let done = &mut self.done;
        let mut hear = |p: perform::Progress<'_>| {
            *done = before + p.done;
            tell(Progress {
                phase: p.phase,
                what: step,
                done: *done,
                total,
            });
        };
        let mut guarded = Guarded { device, allowed };
        match perform::perform(&plan, &mut guarded, &options, &mut hear) {
            Ok(report) => self.written += report.written,
            Err(why) => {
                let rest = "the running system is as it was / try: the same command again";
                bail!(why.context(format!("writing slot {}: {rest}", self.plan.slot)));
            }
        }
        Ok(())
    }
}

/// A disk of which only some places can be written, whatever a plan says.
struct Guarded<'a> {
    device: &'a mut dyn Device,
    allowed: &'a [Place],
}

impl Device for Guarded<'_> {
    fn bytes(&self) -> u64 {
        self.device.bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.device.sector_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.device.read_at(at, into)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        if !self.allowed.iter().any(|p| at >= p.at && end <= p.at + p.bytes) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this place is not part of the slot that is written",
            ));
        }
        self.device.write_at(at, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.device.flush()
    }

    fn forget(&mut self) -> io::Result<()> {
        self.device.forget()
    }
}
