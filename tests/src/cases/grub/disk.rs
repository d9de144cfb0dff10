//! A small disk with the real layout and boot loader, whose boot state and slots are rewritten while the machine stands still.

use super::stub;
use crate::machine::disk::run;
use crate::machine::tools::Tools;
use anyhow::{Context, Result, ensure};
use skerry_slots::pair::{Env, Pair};
use skerry_slots::state::{Slot, State};
use skerry_slots::{Sector, partition};
use skerry_sys::gpt::{Guid, Partition, Table};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SECTOR: u64 = 512;
const MEBIBYTE: u64 = 2048;
/// Number, name, and length in MiB; the types mean nothing to GRUB but that of the ESP.
const PARTITIONS: [(u32, &str, u64); 8] = [
    (15, "bios", 1),
    (1, "esp", 16),
    (2, "bootstate", 1),
    (3, "boot-a", 1),
    (4, "root-a", 1),
    (5, "boot-b", 1),
    (6, "root-b", 1),
    (7, "data", 1),
];
const ESP: u128 = 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B;
const LINUX: u128 = 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4;

/// What lies in a boot slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A kernel that tells its command line and stays, an initramfs, and the `slot.cfg` of a release.
    Whole,
    /// Zeros.
    Wiped,
    /// A file system without `slot.cfg`.
    Empty,
    /// A `slot.cfg` whose kernel is missing.
    NoKernel,
    /// The kernel is there, the initramfs is not.
    NoInitramfs,
    /// A kernel that is none.
    NoMagic,
    /// A `slot.cfg` of garbage.
    Garbage,
}

/// What ends the words of the stub kernel's command line.
pub const END: &str = "<<end>>";

/// A word that only the ESP's `grub.cfg` prints, and not the copy in the core image.
pub const FROM_ESP: &str = "from-esp";
const PROMPT_LINE: &str = "echo \"Skerry: press Esc for the menu\"\n";

impl Content {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Whole,
        Self::Wiped,
        Self::Empty,
        Self::NoKernel,
        Self::NoInitramfs,
        Self::NoMagic,
        Self::Garbage,
    ];

    /// The files, by name.
    fn files(self) -> Vec<(&'static str, Vec<u8>)> {
        let config = format!("if linux $sd/vmlinuz $skerry_args \"{END}\"; then\n  if initrd $sd/initrd.img; then set ready=1; fi\nfi\n");
        let config = ("slot.cfg", config.into_bytes());
        let (kernel, initramfs) = (("vmlinuz", stub::kernel()), ("initrd.img", b"stub".to_vec()));
        match self {
            Self::Wiped | Self::Empty => vec![],
            Self::Whole => vec![config, kernel, initramfs],
            Self::NoKernel => vec![config, initramfs],
            Self::NoInitramfs => vec![config, kernel],
            Self::NoMagic => vec![config, ("vmlinuz", vec![0x5a; 4096]), initramfs],
            Self::Garbage => vec![
                ("slot.cfg", b"if [ \x01 ((( }} set \"ready=1\nset ready='\n".to_vec()),
                kernel,
                initramfs,
            ],
        }
    }
}

/// The disk.
#[derive(Debug)]
pub struct Disk {
    /// Its file.
    pub path: PathBuf,
    file: File,
    table: Table,
    slots: Vec<(Content, Vec<u8>)>,
    /// Sectors of `grub.cfg` on the disk, as they were.
    config: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    /// Makes it at `path` with the boot loader of the release folder `boot` (`mbr.img`, `core.img`, `BOOTX64.EFI`, `grub.cfg`).
    pub fn make(tools: &Tools, boot: &Path, path: &Path) -> Result<Self> {
        let table = table()?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        file.set_len(table.sectors * SECTOR)?;
        let mut disk = Self {
            path: path.to_owned(),
            file,
            table,
            slots: vec![],
            config: vec![],
        };
        disk.write_table()?;
        disk.write_loader(boot)?;
        let folder = path.with_extension("parts");
        fs::create_dir_all(&folder)?;
        disk.write_esp(tools, boot, &folder)?;
        for number in 0..partition::SECTORS {
            disk.put(2, number, &partition::sector(number, State::settled(Slot::A)))?;
        }
        for content in Content::ALL {
            disk.slots.push((content, slot(tools, &folder, content)?));
        }
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        Ok(disk)
    }

    fn put(&self, number: u32, sector: u64, bytes: &[u8]) -> Result<()> {
        let at = (self.first(number)? + sector) * SECTOR;
        self.file
            .write_all_at(bytes, at)
            .with_context(|| format!("writing {} at {at}", self.path.display()))
    }

    fn first(&self, number: u32) -> Result<u64> {
        let partition = self.table.partition(number);
        Ok(partition.with_context(|| format!("looking for partition {number}"))?.first)
    }

    fn write_table(&self) -> Result<()> {
        let encoded = self.table.encode().context("making the partition table")?;
        for (sector, bytes) in [
            (1, &encoded.primary),
            (2, &encoded.entries),
            (encoded.backup_entries_at, &encoded.entries),
            (encoded.backup_at, &encoded.backup),
        ] {
            self.file
                .write_all_at(bytes, sector * SECTOR)
                .context("writing the partition table")?;
        }
        Ok(())
    }

    /// What `grub-bios-setup` does: the MBR's code is told where the core image is, the core's first sector where its rest is.
    fn write_loader(&self, boot: &Path) -> Result<()> {
        let read = |name: &str| fs::read(boot.join(name)).with_context(|| format!("reading {name}: `images grub` makes it"));
        let (mut mbr, mut core, at) = (read("mbr.img")?, read("core.img")?, self.first(15)?);
        ensure!(
            mbr.len() == 512 && core.len() as u64 <= MEBIBYTE * SECTOR,
            "looking at the boot loader: wrong lengths"
        );
        let rest = u16::try_from(core.len().div_ceil(512) - 1)?;
        let blocks: Vec<u8> = [(at + 1).to_le_bytes().as_slice(), &rest.to_le_bytes(), &0x820_u16.to_le_bytes()].concat();
        core.splice(0x1f4..0x200, blocks);
        self.put(15, 0, &core)?;
        mbr.splice(0x5c..0x65, [at.to_le_bytes().as_slice(), &[0xff]].concat()); // of the disk that the BIOS booted
        mbr.splice(0x66..0x68, [0x90, 0x90]); // no test for a floppy
        let last = u32::try_from(self.table.sectors - 1)?;
        let protective = [
            &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0],
            last.to_le_bytes().as_slice(),
            &[0; 48],
        ]
        .concat();
        mbr.splice(0x1b8..0x200, [vec![0; 6], protective, vec![0x55, 0xaa]].concat());
        self.file.write_all_at(&mbr, 0).context("writing the first sector")
    }

    #[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
    fn write_esp(&mut self, tools: &Tools, boot: &Path, folder: &Path) -> Result<()> {
        let image = folder.join("esp");
        let text = fs::read_to_string(boot.join("grub.cfg")).context("reading grub.cfg")?;
        let (before, after) = text.split_once(PROMPT_LINE).context("looking for the prompt in grub.cfg")?;
        let config = format!("{before}{PROMPT_LINE}echo \"<<{FROM_ESP}>>\"\n{after}");
        fs::write(folder.join("grub.cfg"), &config)?;
        let sum = run(Command::new("sha256sum").arg("grub.cfg").current_dir(folder))?;
        fs::write(folder.join("grub.cfg.sha256"), sum)?;
        let files = [
            (boot.join("BOOTX64.EFI"), "/EFI/BOOT/BOOTX64.EFI"),
            (folder.join("grub.cfg"), "/boot/grub/grub.cfg"),
            (folder.join("grub.cfg.sha256"), "/boot/grub/grub.cfg.sha256"),
        ];
        fat(tools, &image, 16, &["/EFI", "/EFI/BOOT", "/boot", "/boot/grub"], &files)?;
        let bytes = fs::read(&image)?;
        self.put(1, 0, &bytes)?;
        for part in config.as_bytes().chunks_exact(512) {
            let here = bytes.chunks(512).position(|sector| sector == part);
            let here = here.context("looking for grub.cfg in the ESP")? as u64;
            self.config.push((here, part.to_vec()));
        }
        Ok(())
    }

    /// Both copies of the boot state.
    pub fn pair(&self) -> Result<Pair> {
        let mut pair = Pair {
            zero: [0; 512],
            one: [0; 512],
        };
        for (env, place) in Env::ALL.into_iter().zip(partition::PLACES) {
            let at = (self.first(2)? + place) * SECTOR;
            self.file.read_exact_at(pair.get_mut(env), at).context("reading the boot state")?;
        }
        Ok(pair)
    }

    /// Overwrites both copies.
    pub fn set_pair(&self, pair: &Pair) -> Result<()> {
        let both = Env::ALL.into_iter().zip(partition::PLACES);
        let mut both = both.map(|(env, place)| self.put(2, place, pair.get(env)));
        both.try_for_each(|done| done)
    }

    /// Overwrites a boot slot.
    pub fn set_slot(&self, slot: Slot, content: Content) -> Result<()> {
        let image = self.slots.iter().find(|(of, _)| *of == content);
        self.put(boot_slot(slot), 0, &image.context("looking for the slot's image")?.1)
    }

    /// Damages `grub.cfg` on the ESP in its middle, or makes it whole again.
    pub fn set_config(&self, is_whole: bool) -> Result<()> {
        let middle = self
            .config
            .get(self.config.len() / 2)
            .context("looking for the middle of grub.cfg")?;
        let garbage: Sector = [b'}'; 512];
        self.put(1, middle.0, if is_whole { &middle.1 } else { &garbage })
    }

    /// Where a copy lies, in sectors from the disk's start.
    pub fn place(&self, env: Env) -> Result<u64> {
        let [zero, one] = partition::PLACES;
        Ok(self.first(2)? + if env == Env::Zero { zero } else { one })
    }

    /// The PARTUUID of a boot slot.
    pub fn uuid(&self, slot: Slot) -> String {
        let partition = self.table.partition(boot_slot(slot));
        partition.map(|p| p.guid.to_string()).unwrap_or_default()
    }
}

fn boot_slot(slot: Slot) -> u32 {
    if slot == Slot::A { 3 } else { 5 }
}

fn table() -> Result<Table> {
    let mut first = MEBIBYTE;
    let mut partitions = vec![];
    for (number, name, mebibytes) in PARTITIONS {
        let last = first + mebibytes * MEBIBYTE - 1;
        partitions.push(Partition {
            number,
            name: name.to_owned(),
            kind: Guid(if name == "esp" { ESP } else { LINUX }),
            guid: Guid::random([u8::try_from(number)?; 16]),
            first,
            last,
            attributes: 0,
        });
        first = last + 1;
    }
    partitions.sort_by_key(|p| p.number);
    Ok(Table {
        disk: Guid::random([0x5a; 16]),
        sectors: first + MEBIBYTE,
        partitions,
    })
}

#[allow(clippy::disallowed_methods, reason = "a temporary file of a test")]
fn slot(tools: &Tools, folder: &Path, content: Content) -> Result<Vec<u8>> {
    if content == Content::Wiped {
        return Ok(vec![0; 1 << 20]);
    }
    let image = folder.join("slot");
    let mut files = vec![];
    for (name, bytes) in content.files() {
        let path = folder.join(name);
        fs::write(&path, bytes)?;
        files.push((path, name));
    }
    fat(tools, &image, 1, &[], &files)?;
    fs::read(&image).with_context(|| format!("reading {}", image.display()))
}

/// Makes a FAT image of so many MiB.
fn fat(tools: &Tools, image: &Path, mebibytes: u64, folders: &[&str], files: &[(PathBuf, &str)]) -> Result<()> {
    File::create(image)?.set_len(mebibytes << 20)?;
    run(tools.program("mkfs.vfat")?.arg(image))?;
    for folder in folders {
        run(tools.program("mmd")?.arg("-i").arg(image).arg(format!("::{folder}")))?;
    }
    for (from, to) in files {
        run(tools
            .program("mcopy")?
            .arg("-i")
            .arg(image)
            .arg(from)
            .arg(format!("::/{}", to.trim_start_matches('/'))))?;
    }
    Ok(())
}
