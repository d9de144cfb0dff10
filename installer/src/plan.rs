//! A release and a layout to the steps of an installation.
//!
//! A new installation has one point of no return, its first write: from there until its last write, sector 0, no firmware finds anything
//! to boot on the disk, so a cut leaves a disk that the installer's medium can start over on, and never half a system. An installation
//! over an existing one that keeps the data ([`again`]) never gives up what boots: it writes the slot that is not good, and then one
//! sector makes that one good.

use crate::boot_slot;
use crate::content::{Content, Extent};
use crate::fat::{self, File, Volume};
use crate::layout::{Arch, Layout, MIB, Medium, Part, Place, Refused, Request, SMALLEST_DATA, lay_out};
use crate::release::Release;
use crate::step::{Ext4, FatFile, ShownPartition, Step};
use crate::{bios, layout};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use skerry_slots as slots;
use skerry_sys::gpt::{SECTOR, Table};
use slots::pair::{Env, Pair};
use slots::partition::{PLACES, SECTORS};
use slots::state::{Slot, State};
use std::fmt;
use std::path::PathBuf;

/// The label of the data partition's file system.
pub const DATA_LABEL: &str = "SKERRY_STATE";

/// Steps in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The release's version.
    pub version: String,
    /// The disk's length that it was made for, in bytes.
    pub disk_bytes: u64,
    /// What is promised if the power goes.
    pub promise: &'static str,
    /// What to do.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}. {step}", number + 1)?;
        }
        writeln!(f, "\n{}", self.promise)
    }
}

/// What is put on a new disk besides the release.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// `config.yaml` on the ESP.
    pub config: Option<Vec<u8>>,
    /// A folder that the data partition begins with.
    pub data_tree: Option<PathBuf>,
}

const PROMISE_NEW: &str = "Nothing is written before the release was checked. From the first step to the last the disk does not boot: \
    if the power goes, start the installation again.";
const PROMISE_AGAIN: &str = "The data, the ESP and the running slot are not touched. At every instant the disk boots the old system or \
    the new one.";

/// A new installation: all that was on the disk is lost.
pub fn new(release: &Release, request: &Request, medium: &Medium, extras: &Extras) -> Result<Plan> {
    let layout = lay_out(request, medium)?;
    let root = root_step(release, &layout, Part::RootA)?;
    let boot = boot_step(release, &layout, Part::BootA)?;
    let esp = esp_step(release, request, &layout, extras)?;
    let (core, sector_0) = bios_steps(release, request.arch, &layout)?;
    let mut steps = vec![
        Step::Erase {
            what: "the old partition table and boot code: the point of no return".to_owned(),
            ranges: old_tables(&layout.table),
        },
        Step::Erase {
            what: "old file systems where the new partitions will be".to_owned(),
            ranges: old_heads(&layout),
        },
        root,
        boot,
        boot_state_step(place(&layout, Part::Bootstate)?),
        data_step(request, &layout, release, extras)?,
    ];
    steps.extend(core);
    steps.push(esp);
    steps.push(table_step(&layout.table)?);
    steps.push(sector_0);
    Ok(Plan {
        version: release.version.clone(),
        disk_bytes: medium.bytes,
        promise: PROMISE_NEW,
        steps,
    })
}

/// An installation into the other slot of an installed disk. `pair` is what its boot state says.
pub fn again(release: &Release, table: &Table, disk_bytes: u64, pair: &Pair) -> Result<Plan> {
    let layout =
        Layout::of(table, release.arch).context("looking at the disk: it has not the partitions of Skerry, so there is no data to keep")?;
    let view = pair.read();
    let (good, other) = (view.state.good, view.state.good.other());
    let begun = State::settled(good);
    let done = State::settled(other);
    let state_at = place(&layout, Part::Bootstate)?.at;
    let sectors =
        |pair: &Pair, state: State| -> Vec<Extent> { pair.writes(state).iter().map(|w| sector_of(state_at, w.env, &w.sector)).collect() };
    let mut steps = vec![];
    let first = sectors(pair, begun);
    if !first.is_empty() {
        steps.push(Step::SetBootState {
            says: format!("slot {good} is good, slot {other} is on no trial"),
            sectors: first,
        });
    }
    steps.extend(slot(release, &layout, other)?);
    steps.push(Step::SetBootState {
        says: format!("slot {other} is good"),
        sectors: sectors(&Pair::of(begun), done),
    });
    Ok(Plan {
        version: release.version.clone(),
        disk_bytes,
        promise: PROMISE_AGAIN,
        steps,
    })
}

/// A release into a slot, which must be neither good nor running nor on trial: its boot sector is wiped first and comes back last, so
/// that in between there is no kernel whose root is not there.
pub fn slot(release: &Release, layout: &Layout, slot: Slot) -> Result<Vec<Step>> {
    let (boot, root) = match slot {
        Slot::A => (Part::BootA, Part::RootA),
        Slot::B => (Part::BootB, Part::RootB),
    };
    Ok(vec![
        Step::Erase {
            what: format!("the old kernel of the slot that is not good: {boot}"),
            ranges: vec![zeros(place(layout, boot)?.at, SECTOR)],
        },
        root_step(release, layout, root)?,
        boot_step(release, layout, boot)?,
    ])
}

fn place(layout: &Layout, part: Part) -> Result<Place> {
    layout
        .place(part)
        .with_context(|| format!("looking for the partition {part}: there is none"))
}

fn zeros(at: u64, bytes: u64) -> Extent {
    Extent {
        at,
        content: Content::Zeros(bytes),
    }
}

fn sector_of(state_at: u64, env: Env, sector: &[u8; 512]) -> Extent {
    let [zero, one] = PLACES;
    let number = match env {
        Env::Zero => zero,
        Env::One => one,
    };
    Extent {
        at: state_at + number * SECTOR,
        content: Content::Bytes(sector.to_vec()),
    }
}

fn fits(part: Part, place: Place, needed: u64) -> Result<(), Refused> {
    if needed > place.bytes {
        return Err(Refused::PartTooSmall {
            part,
            bytes: place.bytes,
            needed,
        });
    }
    Ok(())
}

fn root_step(release: &Release, layout: &Layout, to: Part) -> Result<Step> {
    let place = place(layout, to)?;
    let content = release.file("root.img")?;
    fits(to, place, content.bytes())?;
    ensure!(
        release.hash_offset < content.bytes() && release.hash_offset % 4096 == 0,
        "looking at the release: hashoff {} is not within root.img",
        release.hash_offset
    );
    Ok(Step::CopyImage {
        to,
        image: Extent { at: place.at, content },
    })
}

/// From a release's own boot image where it has one, else from its kernel and initramfs.
fn boot_step(release: &Release, layout: &Layout, to: Part) -> Result<Step> {
    let place = place(layout, to)?;
    if release.files.contains_key("boot.img") {
        let content = release.file("boot.img")?;
        fits(to, place, content.bytes())?;
        return Ok(Step::CopyImage {
            to,
            image: Extent { at: place.at, content },
        });
    }
    let files = boot_slot::files(release)?;
    fat_step(to, place, &boot_slot::volume(release, &files), files)
}

/// A file system in a partition.
pub fn fat_step(to: Part, place: Place, volume: &Volume, files: Vec<File>) -> Result<Step> {
    fits(to, place, volume.bytes)?;
    let mut extents = fat::lay_out(volume, &files).with_context(|| format!("laying out the file system of {to}"))?;
    for extent in &mut extents {
        extent.at += place.at;
    }
    Ok(Step::WriteFat {
        to,
        label: volume.label.clone(),
        bytes: volume.bytes,
        files: files
            .into_iter()
            .map(|f| FatFile {
                path: f.path,
                content: f.content,
            })
            .collect(),
        extents,
    })
}

/// What teaches the owner, and is never read by the machine.
const EXAMPLE: &str = include_str!("config.yaml.example");

fn esp_step(release: &Release, request: &Request, layout: &Layout, extras: &Extras) -> Result<Step> {
    let place = place(layout, Part::Esp)?;
    let file = |path: String, bytes: &[u8]| File {
        path,
        content: Content::Bytes(bytes.to_vec()),
    };
    let loader = request.arch.efi_name();
    let mut files = vec![
        File {
            path: format!("/EFI/BOOT/{loader}"),
            content: release.file(&format!("boot/{loader}"))?,
        },
        file("/boot/grub/grub.cfg".to_owned(), release.boot_file("grub.cfg")?),
        // Editors that people open it with on Windows want its line ends.
        file("/config.yaml.example".to_owned(), EXAMPLE.replace('\n', "\r\n").as_bytes()),
    ];
    files.extend(extras.config.as_deref().map(|config| file("/config.yaml".to_owned(), config)));
    let volume = Volume {
        bytes: place.bytes,
        kind: if place.bytes >= 34 * MIB {
            fat::Kind::Fat32
        } else {
            fat::Kind::Fat16
        },
        label: "SKERRY".to_owned(),
        serial: request.ids.serial("esp"),
        time: release.built,
    };
    fat_step(Part::Esp, place, &volume, files)
}

fn boot_state_step(place: Place) -> Step {
    let state = State::settled(Slot::A);
    let bytes: Vec<u8> = (0..SECTORS).flat_map(|number| slots::partition::sector(number, state)).collect();
    Step::WriteBootState {
        good: state.good.to_string(),
        extents: Extent::sparse(place.at, &bytes),
    }
}

fn data_step(request: &Request, layout: &Layout, release: &Release, extras: &Extras) -> Result<Step> {
    let place = place(layout, Part::Data)?;
    Ok(Step::MakeExt4 {
        to: Part::Data,
        place,
        ext4: Ext4 {
            label: DATA_LABEL.to_owned(),
            bytes: place.bytes.min(SMALLEST_DATA),
            uuid: request.ids.guid("data file system").to_string(),
            hash_seed: request.ids.guid("data hash seed").to_string(),
            time: request.is_image.then_some(release.built),
            tree: extras.data_tree.clone(),
        },
    })
}

fn bios_steps(release: &Release, arch: Arch, layout: &Layout) -> Result<(Option<Step>, Step)> {
    let sectors = layout.table.sectors;
    let core = match (arch, layout.place(Part::Bios)) {
        (Arch::Amd64, Some(place)) => {
            let bytes = bios::core(release.boot_file("core.img")?, place.at, place.bytes)?;
            Some(Extent {
                at: place.at,
                content: Content::Bytes(bytes),
            })
        }
        _ => None,
    };
    let mbr = match &core {
        Some(core) => Some((release.boot_file("mbr.img")?, core.at)),
        None => None,
    };
    let sector = Extent {
        at: 0,
        content: Content::Bytes(bios::sector_0(mbr, sectors)?),
    };
    let last = Step::MakeBootable {
        bios: core.is_some(),
        sector,
    };
    Ok((core.map(|core| Step::EmbedBios { core }), last))
}

/// Sector 0 and the primary table, and where a backup may be.
fn old_tables(table: &Table) -> Vec<Extent> {
    let tail = MIB.min(table.sectors * SECTOR - MIB);
    vec![zeros(0, MIB), zeros(table.sectors * SECTOR - tail, tail)]
}

/// So that nothing old is taken for new: the slot that stays empty, and what probes look at in the others. Both ends, since some file
/// systems and RAID sets are known by their end.
fn old_heads(layout: &Layout) -> Vec<Extent> {
    let places = Part::ALL.into_iter().filter_map(|part| Some((part, layout.place(part)?)));
    places
        .flat_map(|(part, place)| {
            let length = MIB.min(place.bytes);
            let tail = (part == Part::Data).then(|| zeros(place.at + place.bytes - length, length));
            [Some(zeros(place.at, length)), tail]
        })
        .flatten()
        .collect()
}

fn table_step(table: &Table) -> Result<Step> {
    let bytes = table.encode()?;
    let extent = |sector: u64, bytes: &[u8]| Extent {
        at: sector * SECTOR,
        content: Content::Bytes(bytes.to_vec()),
    };
    let backup = vec![
        extent(bytes.backup_entries_at, &bytes.entries),
        extent(bytes.backup_at, &bytes.backup),
    ];
    let primary = vec![extent(2, &bytes.entries), extent(1, &bytes.primary)];
    Ok(Step::WriteTable {
        partitions: ShownPartition::of(table),
        copies: [backup, primary],
    })
}

/// Reads the boot state of a disk that has one.
pub fn boot_state(layout: &Layout, device: &dyn crate::device::Device) -> Result<Pair> {
    let at = place(layout, Part::Bootstate)?.at;
    let [zero, one] = PLACES.map(|number| {
        let mut sector = [0; 512];
        // A sector that cannot be read counts as damaged.
        if device.read_at(at + number * SECTOR, &mut sector).is_err() {
            sector = [0; 512];
        }
        sector
    });
    Ok(Pair { zero, one })
}

/// Refuses a plan that was made for another disk.
pub fn check_medium(plan: &Plan, medium: &layout::Medium) -> Result<()> {
    if plan.disk_bytes != medium.bytes {
        bail!(
            "the plan was made for a disk of {} bytes, and this one has {}",
            plan.disk_bytes,
            medium.bytes
        );
    }
    Ok(())
}
