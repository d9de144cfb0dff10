//! A newer GRUB onto an installed disk, so that at every instant the old one or the new one boots.
//!
//! ```text
//! BIOS  new core image into the part of `bios` that the old one leaves free ─flush─▶ sector 0: code and pointer  (one sector)
//! UEFI  new program into free clusters of `esp` ─flush─▶ tables ─flush─▶ its folder's entry                      (one sector)
//!       grub.cfg likewise
//! ```
//!
//! Each of them carries its whole configuration, so the three need not change at once. What is as it should be is not written again:
//! after a cut, the same command does the rest. Slots, boot state and partition table are not touched.

use crate::bios;
use crate::content::{Content, Digest, Extent};
use crate::device::Device;
use crate::fat::replace::{Editor, Found as InFat};
use crate::layout::{Layout, Part, Place};
use crate::plan::{Plan, boot_state};
use crate::release::Release;
use crate::step::Step;
use anyhow::{Context, Result};
use serde::Serialize;
use skerry_sys::gpt::SECTOR;

/// GRUB's configuration on the ESP, which counts only with its checksum beside it.
pub const CONFIG: &str = "/boot/grub/grub.cfg";
const CHECKSUM: &str = "/boot/grub/grub.cfg.sha256";

const PROMISE: &str = "At every instant the disk boots by the old GRUB or by the new one. Slots, data and the partition table are not \
    touched. If the power goes, run it again.";

/// Why the boot loader of a disk is left alone.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// A system is on trial.
    #[error("a system is on trial, and a boot loader is not changed under it / try: again when it has proven itself")]
    Trial,
    /// Something else boots this disk by BIOS.
    #[error("sector 0 loads nothing from the partition bios: another boot loader was put there / try: a new installation")]
    Foreign,
    /// There is no room beside the old core image.
    #[error("core.img has {needed} bytes, and beside the old one the partition bios has no room for it / try: a new installation")]
    NoRoom {
        /// What is needed.
        needed: u64,
    },
    /// UEFI has nothing to start.
    #[error("{0} is not on the ESP, so UEFI boots nothing from this disk / try: a new installation")]
    NoProgram(String),
    /// The ESP's kind is not known to be safe.
    #[error("the ESP is a FAT12 file system, which Skerry does not make / try: a new installation")]
    Narrow,
}

/// What boots a disk by BIOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// Where the core image is, in bytes.
    pub at: u64,
    /// It, as long as its own list says.
    pub bytes: Vec<u8>,
}

/// What is on a disk.
#[derive(Debug)]
pub struct Found {
    layout: Layout,
    disk_bytes: u64,
    sector_0: Vec<u8>,
    core: Option<Core>,
    esp: Editor,
    program: Option<InFat>,
    program_path: String,
    config: Option<InFat>,
    has_checksum: bool,
    is_on_trial: bool,
}

/// How a part of the boot loader is, beside a release's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As in the release.
    Same,
    /// Other than in the release.
    Differs,
    /// It is not there, or cannot be read.
    Missing,
    /// The owner's own, which counts and is left alone.
    Owners,
    /// There is no release to compare it with.
    Unknown,
}

/// A part of the boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// For people: `BIOS: sector 0`.
    pub what: String,
    /// How it is.
    pub is: Standing,
    /// Its SHA-256 on the disk.
    pub sha256: Option<Digest>,
}

impl Found {
    /// Looks at a disk that has our partitions.
    pub fn look(device: &dyn Device, layout: &Layout, program: &str) -> Result<Self> {
        let mut sector_0 = vec![0; 512];
        device.read_at(0, &mut sector_0).context("reading sector 0")?;
        let core = match layout.place(Part::Bios) {
            Some(place) => core(device, &sector_0, place).context("reading the core image")?,
            None => None,
        };
        let place = layout.place(Part::Esp).context("looking for the ESP: there is none")?;
        let esp = Editor::open(device, place.at).context("reading the ESP")?;
        let program_path = format!("/EFI/BOOT/{program}");
        Ok(Self {
            program: esp.find(device, &program_path)?,
            config: esp.find(device, CONFIG)?,
            has_checksum: esp.find(device, CHECKSUM)?.is_some(),
            is_on_trial: boot_state(layout, device)?.read().state.trial.is_some_and(|tries| tries.get() > 0),
            disk_bytes: device.bytes(),
            layout: layout.clone(),
            program_path,
            sector_0,
            core,
            esp,
        })
    }

    /// How each part is, beside a release's if there is one.
    pub fn compare(&self, release: Option<&Release>) -> Result<Vec<Seen>> {
        let seen = |what: String, found: Option<&[u8]>, wanted: Option<Digest>| {
            let sha256 = found.map(Digest::of);
            let is = match (sha256, release.is_some()) {
                (None, _) => Standing::Missing,
                (Some(_), false) => Standing::Unknown,
                (found, true) if found == wanted => Standing::Same,
                (Some(_), true) => Standing::Differs,
            };
            Seen { what, is, sha256 }
        };
        let mut all = vec![];
        if let Some(place) = self.layout.place(Part::Bios) {
            let core = self.core.as_ref();
            let wanted = match (release, core) {
                (Some(release), Some(core)) => Some(self.wanted(release, core.at, place)?),
                _ => None,
            };
            let (sector, image) = wanted.map_or((None, None), |(s, i)| (Some(Digest::of(&s)), Some(Digest::of(&i))));
            all.push(seen("BIOS: sector 0".to_owned(), core.map(|_| self.sector_0.as_slice()), sector));
            all.push(seen("BIOS: core image".to_owned(), core.map(|c| c.bytes.as_slice()), image));
        }
        let named = |path: &str| release.and_then(|r| r.files.get(&format!("boot/{path}"))).map(|n| n.sha256);
        let name = self.program_path.rsplit('/').next().unwrap_or_default();
        all.push(seen(
            format!("UEFI: {}", self.program_path),
            self.program.as_ref().map(|f| f.bytes.as_slice()),
            named(name),
        ));
        let mut config = seen(
            CONFIG.to_owned(),
            self.config.as_ref().map(|f| f.bytes.as_slice()),
            named("grub.cfg"),
        );
        if self.has_checksum && config.is != Standing::Missing {
            config.is = Standing::Owners;
        }
        all.push(config);
        Ok(all)
    }

    /// Sector 0 and the core image as they have to be with the core image at this place.
    fn wanted(&self, release: &Release, at: u64, place: Place) -> Result<(Vec<u8>, Vec<u8>)> {
        let room = (place.at + place.bytes).saturating_sub(at);
        let image = bios::core(release.boot_file("core.img")?, at, room)?;
        let mut sector = bios::sector_0(Some((release.boot_file("mbr.img")?, at)), self.disk_bytes / SECTOR)?;
        // From the disk's signature on, what is there stays.
        if let (Some(to), Some(from)) = (sector.get_mut(bios::CODE..), self.sector_0.get(bios::CODE..)) {
            to.copy_from_slice(from);
        }
        Ok((sector, image))
    }

    /// What brings a release's boot loader onto the disk; no steps where it is there.
    pub fn plan(mut self, release: &Release) -> Result<Plan> {
        if self.is_on_trial {
            return Err(Refused::Trial.into());
        }
        let mut steps = self.bios_steps(release)?;
        let name = self.program_path.rsplit('/').next().unwrap_or_default();
        let program = release.file(&format!("boot/{name}"))?;
        let found = self.program.take().ok_or_else(|| Refused::NoProgram(self.program_path.clone()))?;
        let path = self.program_path.clone();
        steps.extend(self.file_steps(release, &path, &found, &program)?);
        if let Some(found) = self.config.take().filter(|_| !self.has_checksum) {
            let config = Content::Bytes(release.boot_file("grub.cfg")?.to_vec());
            steps.extend(self.file_steps(release, CONFIG, &found, &config)?);
        }
        Ok(Plan {
            version: release.version.clone(),
            disk_bytes: self.disk_bytes,
            promise: PROMISE,
            steps,
        })
    }

    fn bios_steps(&self, release: &Release) -> Result<Vec<Step>> {
        let Some(place) = self.layout.place(Part::Bios) else {
            return Ok(vec![]);
        };
        let old = self.core.as_ref().ok_or(Refused::Foreign)?;
        let (sector, image) = self.wanted(release, old.at, place)?;
        if image == old.bytes {
            // Code that is older than its core image is what a cut of another tool leaves.
            let is_same = sector == self.sector_0;
            return Ok(if is_same { vec![] } else { vec![switch(sector)] });
        }
        let needed = image.len() as u64;
        let at = beside(place, old, needed).ok_or(Refused::NoRoom { needed })?;
        let (sector, image) = self.wanted(release, at, place)?;
        let core = Extent {
            at,
            content: Content::Bytes(image),
        };
        Ok(vec![Step::EmbedBios { core }, switch(sector)])
    }

    fn file_steps(&mut self, release: &Release, path: &str, found: &InFat, content: &Content) -> Result<Vec<Step>> {
        let bytes = read(content)?;
        if bytes == found.bytes {
            return Ok(vec![]);
        }
        if !self.esp.is_wide() {
            return Err(Refused::Narrow.into());
        }
        let writes = self
            .esp
            .replace(found, &bytes, release.built)
            .with_context(|| format!("planning {path}"))?;
        Ok(vec![
            Step::ReplaceFile {
                on: Part::Esp,
                path: path.to_owned(),
                bytes: bytes.len() as u64,
                sha256: Digest::of(&bytes),
                groups: writes.switch,
            },
            Step::FreeRoom {
                on: Part::Esp,
                path: path.to_owned(),
                groups: writes.free,
            },
        ])
    }
}

fn switch(sector: Vec<u8>) -> Step {
    Step::SwitchBios {
        sector: Extent {
            at: 0,
            content: Content::Bytes(sector),
        },
    }
}

/// A place for a core image that touches nothing of the one that boots: at the beginning of `bios`, or from its middle on.
fn beside(place: Place, old: &Core, needed: u64) -> Option<u64> {
    let end = place.at + place.bytes;
    let old_end = old.at + old.bytes.len() as u64;
    [place.at, place.at + place.bytes / 2 / SECTOR * SECTOR, old_end]
        .into_iter()
        .find(|at| at + needed <= end && (at + needed <= old.at || *at >= old_end))
}

/// The core image that sector 0 loads, if it is in its partition and its list is one that we make.
fn core(device: &dyn Device, sector_0: &[u8], place: Place) -> Result<Option<Core>> {
    let Some(at) = bios::core_at(sector_0).filter(|at| (place.at..place.at + place.bytes).contains(at)) else {
        return Ok(None);
    };
    let mut first = vec![0; 512];
    device.read_at(at, &mut first)?;
    let Some(length) = bios::core_bytes(&first, at).filter(|length| at + length <= place.at + place.bytes) else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(length)?];
    device.read_at(at, &mut bytes)?;
    Ok(Some(Core { at, bytes }))
}

/// Whole, and what the manifest says.
fn read(content: &Content) -> Result<Vec<u8>> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.clone()),
        Content::Zeros(length) => Ok(vec![0; usize::try_from(*length)?]),
        Content::File { path, bytes, sha256 } => {
            let found = skerry_sys::file::read_bounded(path, usize::try_from(*bytes)?)?;
            anyhow::ensure!(
                Digest::of(&found) == *sha256,
                "checking {}: its SHA-256 is not the manifest's / try: copy the release again",
                path.display()
            );
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_core_image_is_never_in_the_way() {
        let place = Place {
            at: 1 << 20,
            bytes: 1 << 20,
        };
        let half = 512 << 10;
        for old_at in (0..2048).step_by(7).map(|n| place.at + n * SECTOR) {
            for old_sectors in [1u64, 3, 430, 1024, 1500] {
                let bytes = vec![0; usize::try_from(old_sectors * SECTOR).unwrap()];
                let old = Core { at: old_at, bytes };
                let old_end = old_at + old_sectors * SECTOR;
                for needed in [512, 219_648, half, half + 512, 1 << 20] {
                    if let Some(at) = beside(place, &old, needed) {
                        assert!(at >= place.at && at + needed <= place.at + place.bytes);
                        assert!(at + needed <= old_at || at >= old_end, "{at} {needed} over {old_at}..{old_end}");
                    }
                }
            }
        }
        let old = |at| Core {
            at,
            bytes: vec![0; 220_160],
        };
        assert_eq!(beside(place, &old(place.at), 220_160), Some(place.at + half));
        assert_eq!(beside(place, &old(place.at + half), 220_160), Some(place.at));
        assert_eq!(beside(place, &old(place.at), 1 << 20), None);
    }
}
