//! The kernel of the image, from a Debian package: `vmlinuz`, the module subset, and the initramfs' modules.

use crate::cache::Cache;
use crate::debian::{self, Package, Request, Variant};
use crate::digest::Key;
use crate::firmware::{self, Firmware};
use crate::host::Mirror;
use crate::modules;
use crate::run;
use crate::tools::Root;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Which kernel package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// Small: virtual machines only. Good for fast tests.
    Cloud,
    /// Debian's full kernel: servers, USB, SD cards.
    Full,
}

impl Flavour {
    fn package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Full => "linux-image-amd64",
        }
    }
}

/// A kernel, ready to go into an image.
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// The kernel itself.
    pub vmlinuz: PathBuf,
    /// A folder that holds `RELEASE/` for the image's `/usr/lib/modules`, uncompressed, with depmod's indexes.
    pub modules: PathBuf,
    /// The same for the initramfs.
    pub early: PathBuf,
    /// Its configuration, which checks of Kubernetes read.
    pub config: PathBuf,
    /// What its drivers need; none where there is no hardware but a virtual machine's.
    pub firmware: Option<Firmware>,
    /// What it was unpacked from.
    pub package: Vec<Package>,
}

impl Kernel {
    /// All packages that it and its firmware were unpacked from.
    pub fn packages(&self) -> Vec<Package> {
        let firmware = self.firmware.iter().flat_map(|firmware| &firmware.packages);
        self.package.iter().chain(firmware).cloned().collect()
    }
}

/// Unpacks the package and picks the modules, unless the cache has them.
pub fn obtain(cache: &Cache, mirror: &Mirror, tools: &Root, flavour: Flavour, epoch: &str) -> Result<Kernel> {
    let request = Request {
        kind: &format!("debian-{}", flavour.package()),
        packages: &[flavour.package()],
        variant: Variant::Extract,
        with_firmware: false,
        epoch,
    };
    let unpacked = debian::unpack(cache, mirror, &request)?;
    let root = unpacked.join("root");
    let release = only_name(&root.join("usr/lib/modules"))?;
    let tables = format!("{:?}{:?}", modules::SUBSET, modules::INITRAMFS);
    let key = Key::default()
        .with("form", "2")
        .with("from", unpacked.to_string_lossy().as_bytes())
        .with("tables", tables)
        .finish();
    let picked = cache.entry("kernel", &key, |fresh| pick(cache, tools, &root, &release, fresh))?;
    let package = debian::packages(&unpacked)?
        .into_iter()
        .filter(|package| package.name.starts_with("linux-image-"))
        .collect();
    let modules = picked.join("image/lib/modules");
    let firmware = match flavour {
        Flavour::Cloud => None,
        Flavour::Full => Some(firmware::obtain(cache, mirror, tools, &modules, epoch)?),
    };
    Ok(Kernel {
        vmlinuz: root.join(format!("boot/vmlinuz-{release}")),
        config: root.join(format!("boot/config-{release}")),
        modules,
        firmware,
        early: picked.join("initramfs/lib/modules"),
        release,
        package,
    })
}

fn only_name(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => bail!("looking for one kernel in {}: found {names:?}", folder.display()),
    }
}

/// Copies the wanted modules, uncompresses them and indexes both sets.
fn pick(cache: &Cache, tools: &Root, root: &Path, release: &str, fresh: &Path) -> Result<()> {
    let from = root.join("usr/lib/modules").join(release);
    // The package's own index would be made by its maintainer script, and depmod looks below `lib/modules` only.
    let view = cache.work("kernel")?;
    fs::create_dir(view.join("lib"))?;
    symlink(root.join("usr/lib/modules"), view.join("lib/modules"))?;
    depmod(tools, &view, release, cache)?;
    let text = fs::read_to_string(from.join("modules.dep")).context("reading modules.dep of the kernel package")?;
    let all = modules::dependencies(&text);
    let sets: [(&str, BTreeSet<String>); 2] = [
        ("image", modules::subset(&all, modules::in_image)),
        ("initramfs", modules::subset(&all, modules::in_initramfs)),
    ];
    for (name, set) in &sets {
        let base = fresh.join(name);
        copy(set, &from, &base.join("lib/modules").join(release))?;
        uncompress(cache, tools, set, &base.join("lib/modules").join(release))?;
        depmod(tools, &base, release, cache)?;
    }
    let count: BTreeMap<&str, usize> = sets.iter().map(|(name, set)| (*name, set.len())).collect();
    run::say(&format!(
        "  kernel {release}: {} modules, of them in the image {:?}",
        all.len(),
        count
    ));
    Ok(())
}

fn copy(set: &BTreeSet<String>, from: &Path, to: &Path) -> Result<()> {
    for path in set
        .iter()
        .map(String::as_str)
        .chain(["modules.builtin", "modules.builtin.modinfo", "modules.order"])
    {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(path), &target).with_context(|| format!("copying {path}"))?;
    }
    Ok(())
}

fn uncompress(cache: &Cache, tools: &Root, set: &BTreeSet<String>, folder: &Path) -> Result<()> {
    for (ending, program) in [(".xz", "xz"), (".zst", "zstd")] {
        let files: Vec<&String> = set.iter().filter(|path| path.ends_with(ending)).collect();
        for some in files.chunks(500) {
            let mut command = tools.command(program)?;
            command
                .args(["-d", "-q", "-f"])
                .args(if program == "zstd" { &["--rm"][..] } else { &[] })
                .arg("--")
                .args(some)
                .current_dir(folder);
            run::logged("uncompressing kernel modules", &mut command, &cache.log("modules"))?;
        }
    }
    Ok(())
}

fn depmod(tools: &Root, base: &Path, release: &str, cache: &Cache) -> Result<()> {
    let mut command = tools.command("depmod")?;
    command.arg("-b").arg(base).arg(release);
    run::logged("indexing kernel modules", &mut command, &cache.log("depmod"))
}
