//! The ISO of a release: GRUB made for it, and the room `iso` does the rest.

use crate::cache::Cache;
use crate::grub::{self, Target};
use crate::run;
use crate::tools::Root;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use skerry_installer::release::Release;
use skerry_iso::plan::{self, Loader, Owner};
use skerry_iso::write::{self, Options, Report};
use std::fs;
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub struct Request {
    /// The folder of the release
    #[arg(long, default_value = "out")]
    pub release: PathBuf,
    /// Where to
    #[arg(long, default_value = "out/skerry-amd64.iso")]
    pub out: PathBuf,
    /// A config.yaml for the top of the ISO: the weakest source of the configuration
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// More words for the kernel's command line: "skerry.install.device=/dev/sda skerry.install.silent=true"
    #[arg(long, default_value = "")]
    pub words: String,
    /// What starts by itself
    #[arg(long, default_value = "live")]
    pub mode: Mode,
}

/// What the ISO's menu starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The system, from the ISO
    Live,
    /// The installer
    Install,
}

impl From<Mode> for plan::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Live => Self::Live,
            Mode::Install => Self::Install,
        }
    }
}

/// Files of the cache's entry, in the order of [`Loader`]'s fields.
const MBR: &str = "boot_hybrid.img";
const CORE: &str = "eltorito.img";
const EFI: &str = "BOOTX64.EFI";

/// GRUB for the ISO reads ISO 9660, and its menu from the medium.
const TARGETS: [Target; 2] = [
    Target {
        format: "i386-pc-eltorito",
        file: CORE,
        prefix: "/boot/grub",
        modules: &["biosdisk", "iso9660"],
    },
    Target {
        format: "x86_64-efi",
        file: EFI,
        prefix: "/boot/grub",
        modules: &["all_video", "efi_gop", "efifwsetup", "iso9660"],
    },
];

/// Makes it; gives what a person wants to know of it.
pub fn iso(cache: &Cache, tools: &Root, request: &Request) -> Result<String> {
    let loader = loader(cache, tools)?;
    let owner = Owner {
        config: request
            .config
            .as_ref()
            .map(|path| fs::read(path).with_context(|| format!("reading {}", path.display())))
            .transpose()?,
        words: request.words.clone(),
        mode: request.mode.into(),
    };
    let release = Release::read(&request.release)?;
    let plan = plan::plan(&release, &loader, &owner)?;
    let xorriso = tools.command("xorriso")?;
    let options = Options {
        xorriso: std::iter::once(xorriso.get_program())
            .chain(xorriso.get_args())
            .map(ToOwned::to_owned)
            .collect(),
        work: cache.work("iso")?,
    };
    run::say("making the ISO");
    let report = write::write(&plan, &options, &request.out)?;
    Ok(shown(&request.out, &report))
}

fn loader(cache: &Cache, tools: &Root) -> Result<Loader> {
    let key = grub::key_of(tools, &TARGETS, &[skerry_iso::START]);
    let entry = cache.entry("grub-iso", &key, |fresh| {
        grub::cores(cache, tools, fresh, &TARGETS, &[("start.cfg", skerry_iso::START)])?;
        grub::first_sector(tools, MBR, &fresh.join(MBR))
    })?;
    let read = |name: &str| {
        let path = entry.join(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    Ok(Loader {
        mbr: read(MBR)?,
        core: read(CORE)?,
        efi: read(EFI)?,
    })
}

fn shown(out: &Path, report: &Report) -> String {
    let tenths = |bytes: u64, unit: &str, power: u32| {
        let tenths = bytes.saturating_mul(10).div_ceil(1 << power);
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    };
    let size = |bytes: u64| {
        if bytes < 1 << 20 {
            tenths(bytes, "KiB", 10)
        } else {
            tenths(bytes, "MiB", 20)
        }
    };
    let mut lines = vec![format!(
        "{}  {}  label {}, UUID {}",
        out.display(),
        size(report.bytes),
        skerry_iso::LABEL,
        report.uuid
    )];
    lines.extend(
        report
            .files
            .iter()
            .map(|(path, bytes)| format!("  {path:<30} {:>11}", size(*bytes))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_is_in_it() {
        let report = Report {
            bytes: 3 << 20,
            uuid: "2026-11-21-16-51-54-07".into(),
            files: vec![("/skerry/root.img".into(), 2 << 20), ("/skerry/slot.cfg".into(), 300)],
        };
        let text = shown(Path::new("x.iso"), &report);
        assert!(
            text.starts_with("x.iso  3.0 MiB  label SKERRY, UUID 2026-11-21-16-51-54-07\n"),
            "{text}"
        );
        assert!(text.ends_with("0.3 KiB"), "{text}");
    }
}
