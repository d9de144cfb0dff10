//! GRUB for the release: the MBR's code, the core image for BIOS, the program for UEFI, and `grub.cfg`.
//!
//! Made by `grub-mkimage` from Debian's modules; nothing is installed here. A core image holds all modules it needs and a memory disk
//! with `start.cfg` and a copy of `grub.cfg`; the rest of GRUB is not on the disk. Putting them there is the installer's work.

use crate::cache::Cache;
use crate::debian::Package;
use crate::digest::Key;
use crate::run;
use crate::tools::Root;
use crate::ustar::Archive;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Which slot boots. The core images carry it; on the ESP it lies as `/boot/grub/grub.cfg`, where it counts only with a checksum.
pub const CONFIG: &str = include_str!("../boot/grub.cfg");
const START: &str = include_str!("../boot/start.cfg");
/// Read by GRUB's first, small parser, which knows no `if`.
const EARLY: &str = "normal (memdisk)/start.cfg\n";

/// The folder of a release that holds what [`grub`] makes.
pub const FOLDER: &str = "boot";
/// The files in it: `mbr.img` is GRUB's boot.img (512 bytes) as it comes, without the place of the core image.
pub const FILES: [&str; 4] = ["mbr.img", "core.img", "BOOTX64.EFI", "grub.cfg"];

/// What `grub.cfg` and a person at GRUB's prompt need, on every firmware.
const MODULES: [&str; 27] = [
    "boot",
    "cat",
    "configfile",
    "echo",
    "fat",
    "gcry_sha256",
    "gzio",
    "halt",
    "hashsum",
    "linux",
    "loadenv",
    "ls",
    "memdisk",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "probe",
    "reboot",
    "regexp",
    "search",
    "serial",
    "sleep",
    "tar",
    "terminal",
    "test",
    "true",
];

/// One firmware's core image.
pub(crate) struct Target {
    /// GRUB's name for it, and the folder of its modules.
    pub(crate) format: &'static str,
    /// The file.
    pub(crate) file: &'static str,
    /// Where `/boot/grub` is: BIOS knows only the disk, so the ESP's number is given; EFI knows the partition too.
    pub(crate) prefix: &'static str,
    /// Modules besides [`MODULES`].
    pub(crate) modules: &'static [&'static str],
}

/// arm64 joins as `arm64-efi`, `BOOTAA64.EFI`, with the modules of `x86_64-efi`, where Debian's grub-efi-arm64-bin is unpacked.
const TARGETS: [Target; 2] = [
    Target {
        format: "i386-pc",
        file: "core.img",
        prefix: "(,gpt1)/boot/grub",
        modules: &["biosdisk", "multiboot"],
    },
    Target {
        format: "x86_64-efi",
        file: "BOOTX64.EFI",
        prefix: "/boot/grub",
        modules: &["all_video", "efi_gop", "efifwsetup"],
    },
];

/// Makes [`FILES`] in `out/boot`; gives their paths in that order.
pub fn grub(cache: &Cache, tools: &Root, out: &Path) -> Result<[PathBuf; 4]> {
    let entry = cache.entry("grub", &key(tools), |fresh| make(cache, tools, fresh))?;
    let folder = out.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for name in FILES {
        let beside = folder.join(format!(".{name}.new"));
        fs::copy(entry.join(name), &beside).with_context(|| format!("writing {}", beside.display()))?;
        fs::rename(&beside, folder.join(name)).with_context(|| format!("replacing {}", folder.join(name).display()))?;
    }
    Ok(FILES.map(|name| folder.join(name)))
}

/// What the boot loader comes from: packages that are installed in the tools root, whose archives are gone.
pub fn packages(tools: &Root) -> Result<Vec<Package>> {
    let path = tools.path().join("var/lib/dpkg/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(installed(&text))
}

fn installed(status: &str) -> Vec<Package> {
    let field = |block: &str, name: &str| {
        block
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    };
    let package = |block: &str| {
        Some(Package {
            name: field(block, "Package")?,
            version: field(block, "Version")?,
            architecture: field(block, "Architecture")?,
            sha256: String::new(),
        })
    };
    let is_grub = |package: &Package| ["grub-pc-bin", "grub-efi-amd64-bin"].contains(&package.name.as_str());
    status.split("\n\n").filter_map(package).filter(is_grub).collect()
}

/// What stands for the inputs.
pub fn key(tools: &Root) -> String {
    key_of(tools, &TARGETS, &[START, CONFIG])
}

/// What core images depend on: the modules, the targets, and the texts in their memory disk.
pub(crate) fn key_of(tools: &Root, targets: &[Target], texts: &[&str]) -> String {
    let lists = targets.iter().flat_map(|t| t.modules.iter().chain([&t.format, &t.file, &t.prefix]));
    let key = Key::default()
        .with("form", "3")
        .with("tools", tools.path().to_string_lossy().as_bytes()) // a new root lies elsewhere
        .with("early", EARLY);
    let key = texts.iter().fold(key, |key, text| key.with("text", text));
    MODULES.iter().chain(lists).fold(key, |key, word| key.with("word", word)).finish()
}

fn make(cache: &Cache, tools: &Root, fresh: &Path) -> Result<()> {
    cores(cache, tools, fresh, &TARGETS, &[("start.cfg", START), ("grub.cfg", CONFIG)])?;
    first_sector(tools, "boot.img", &fresh.join("mbr.img"))?;
    write(&fresh.join("grub.cfg"), CONFIG.as_bytes())
}

/// Copies one of GRUB's first sectors as it comes.
pub(crate) fn first_sector(tools: &Root, name: &str, to: &Path) -> Result<()> {
    let from = tools.path().join("usr/lib/grub/i386-pc").join(name);
    fs::copy(&from, to).with_context(|| format!("copying {}", from.display())).map(drop)
}

/// Makes core images in the folder `fresh`, with these files in their memory disk; `start.cfg` is run.
pub(crate) fn cores(cache: &Cache, tools: &Root, fresh: &Path, targets: &[Target], files: &[(&str, &str)]) -> Result<()> {
    let mut disk = Archive::default();
    for (name, text) in files {
        disk.file(name, 0o644, text.as_bytes())?;
    }
    let (memdisk, early) = (fresh.join("memdisk.tar"), fresh.join("early.cfg"));
    write(&memdisk, &disk.finish())?;
    write(&early, EARLY.as_bytes())?;
    for target in targets {
        // El Torito's is i386-pc's with another beginning.
        let folder = target.format.strip_suffix("-eltorito").unwrap_or(target.format);
        let modules = tools.path().join("usr/lib/grub").join(folder);
        let mut command = tools.command("grub-mkimage")?;
        command.args(["-O", target.format]).arg("-d").arg(&modules);
        // In this order: -m makes the memory disk the prefix.
        command.arg("-c").arg(&early).arg("-m").arg(&memdisk).args(["-p", target.prefix]);
        command.arg("-o").arg(fresh.join(target.file)).args(MODULES).args(target.modules);
        run::logged(&format!("making GRUB's {}", target.file), &mut command, &cache.log("grub"))?;
    }
    fs::remove_file(memdisk)?;
    Ok(fs::remove_file(early)?)
}

#[allow(clippy::disallowed_methods, reason = "a fresh folder of the cache: a killed build throws it away")]
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_the_boot_loader_are_found() {
        let status =
            "Package: grub-pc-bin\nArchitecture: amd64\nVersion: 2.12-9\n\nPackage: grub-common\nArchitecture: amd64\nVersion: 2.12-9\n";
        let found: Vec<_> = installed(status).into_iter().map(|p| (p.name, p.version)).collect();
        assert_eq!(found, [("grub-pc-bin".to_owned(), "2.12-9".to_owned())]);
    }

    #[test]
    fn the_configuration_names_the_partitions_of_the_layout() {
        for used in ["gpt2", "gpt3", "gpt5"] {
            assert!(CONFIG.contains(used));
        }
        assert!(CONFIG.ends_with("set skerry_cfg=1\n") && START.contains("skerry_cfg"));
    }
}
