//! The disk that was booted: which slot runs, and its boot state, read past every cache and written sector by sector.

use anyhow::{Context, Result, bail, ensure};
use skerry_installer::device::{Device as _, Disk, table};
use skerry_installer::layout::{Arch, Layout, Part};
use skerry_installer::plan::boot_state;
use skerry_slots::pair::{Env, Pair, Writes};
use skerry_slots::partition::PLACES;
use skerry_slots::state::Slot;
use skerry_slots::why::Why;
use skerry_sys::block::{self, Device};
use skerry_sys::file;
use skerry_sys::gpt::SECTOR;
use std::path::PathBuf;

/// What GRUB said when it started this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The slot that runs.
    pub slot: Slot,
    /// Why this one.
    pub why: Why,
}

impl Said {
    /// Reads the kernel's command line. `None`: it was not started from a slot.
    pub fn parse(cmdline: &str) -> Option<Self> {
        let value = |key: &str| {
            cmdline
                .split_whitespace()
                .rev()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        Some(Self {
            slot: Slot::parse(value("skerry.slot")?)?,
            // A word that only a newer GRUB says means nothing bad.
            why: value("skerry.why").and_then(Why::parse).unwrap_or(Why::Menu),
        })
    }
}

/// The running system and its disk.
#[derive(Debug)]
pub struct Running {
    /// What GRUB said.
    pub said: Said,
    /// `/dev/vda`
    pub disk: PathBuf,
    devices: Vec<Device>,
    name: String,
}

impl Running {
    /// Looks. `None`: this system was not started from a slot of a disk (a medium, an image of its own, a foreign system).
    pub fn look() -> Result<Option<Self>> {
        let cmdline = file::read_text("/proc/cmdline", 1 << 16)?;
        let Some(said) = Said::parse(&cmdline) else {
            return Ok(None);
        };
        let root = block::below_root().context("looking for the disk that was booted")?;
        let labels = ["root-a", "root-b"];
        let Some(name) = root
            .filter(|d| d.partition_label.as_deref().is_some_and(|l| labels.contains(&l)))
            .and_then(|d| d.disk)
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            said,
            disk: PathBuf::from("/dev").join(&name),
            devices: block::devices()?,
            name,
        }))
    }

    /// As [`Running::look`], for what makes no sense without.
    pub fn required() -> Result<Self> {
        Self::look()?.context(
            "looking for the slot that runs: this system was not started from a slot of an installed disk / `skerry install` makes one",
        )
    }

    /// One of the disk's partitions.
    pub fn partition(&self, part: Part) -> Result<&Device> {
        block::partition_of(&self.devices, &self.name, part.number())
            .with_context(|| format!("looking for the partition {part} of {}: there is none", self.disk.display()))
    }

    /// The disk, open for its table and boot state and for the slot that is idle.
    pub fn open(&self) -> Result<Open> {
        let mut disk = Disk::open_running(&self.disk).with_context(|| format!("opening {}", self.disk.display()))?;
        // Another program may have written it by another name.
        disk.forget().with_context(|| format!("reading {}", self.disk.display()))?;
        let found = table(&disk);
        let table = found
            .table()
            .with_context(|| format!("reading the partition table of {}", self.disk.display()))?
            .clone();
        let layout = Layout::of(&table, Arch::this()).with_context(|| format!("looking at {}", self.disk.display()))?;
        Ok(Open { disk, layout })
    }
}

/// The disk, opened.
#[derive(Debug)]
pub struct Open {
    /// It.
    pub disk: Disk,
    /// Its partitions.
    pub layout: Layout,
}

impl Open {
    /// Both copies of the boot state, from the medium.
    pub fn pair(&mut self) -> Result<Pair> {
        self.disk.forget().context("reading the boot state")?;
        boot_state(&self.layout, &self.disk)
    }

    /// Does the writes: each is flushed and read back from the medium before the next one begins.
    pub fn write(&mut self, writes: &Writes) -> Result<()> {
        let place = self
            .layout
            .place(Part::Bootstate)
            .context("looking for the boot state's partition")?;
        let [zero, one] = PLACES;
        for write in writes.iter() {
            let number = match write.env {
                Env::Zero => zero,
                Env::One => one,
            };
            let at = place.at + number * SECTOR;
            let doing = || format!("writing {} of the boot state", write.env.name());
            ensure!(number * SECTOR < place.bytes, "{}: it is beyond its partition", doing());
            self.disk.write_at(at, &write.sector).with_context(doing)?;
            self.disk.flush().with_context(doing)?;
            self.disk.forget().with_context(doing)?;
            let mut back = [0; 512];
            self.disk.read_at(at, &mut back).with_context(doing)?;
            if back != write.sector {
                bail!("{}: the disk gives back other bytes than were written; it may be dying", doing());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grub_said() {
        let said = |line: &str| Said::parse(line).map(|s| (s.slot.name(), s.why.to_string()));
        assert_eq!(said("gpt skerry.slot=b skerry.why=try-left-2\n"), Some(("b", "try-left-2".into())));
        assert_eq!(said("skerry.slot=a skerry.slot=b skerry.why=good"), Some(("b", "good".into())));
        assert_eq!(said("skerry.slot=a skerry.why=new-word"), Some(("a", "menu".into())));
        assert_eq!(said("skerry.slot=a"), Some(("a", "menu".into())));
        for line in ["", "skerry.slot=c", "skerry.slots=a", "skerry.why=good"] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
