//! `skerry bootloader`: which GRUB is on the disk, and a newer one onto it.

use crate::install::job::{Trust, release};
use crate::install::wish::MEDIUM;
use crate::machine::Refused;
use crate::progress::Progress;
use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use skerry_installer::bootloader::{Found, Seen, Standing};
use skerry_installer::device::{Device, Disk, table};
use skerry_installer::facts::mounts;
use skerry_installer::layout::{Arch, Layout, Part};
use skerry_installer::perform::{Options, perform};
use skerry_installer::release::Release;
use skerry_upgrade::machine::hold;
use skerry_upgrade::running::Running;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What boots the disk: GRUB, for BIOS and for UEFI
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is on the disk, beside what a release has
    Status(Args),
    /// Write a release's boot loader onto the disk
    ///
    /// The new one is written beside the old one, and then named in one
    /// sector each for BIOS and UEFI. Power may go at any instant; run it
    /// again then.
    Update(UpdateArgs),
}

/// Which disk, and which release.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The release's folder; without: that of the medium that was booted
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// A folder with the public keys of those whose releases are believed
    #[arg(long, value_name = "FOLDER", default_value = skerry_upgrade::signature::KEYS)]
    keys: PathBuf,
    /// Take a release that nobody whose key is known has signed
    #[arg(long)]
    unsigned: bool,
    /// Another disk than the one that was booted, or an image
    #[arg(long, value_name = "DISK|FILE")]
    disk: Option<PathBuf>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// What is done.
#[derive(Debug, ClapArgs)]
pub struct UpdateArgs {
    #[command(flatten)]
    args: Args,
    /// Print what would be done; write nothing
    #[arg(long)]
    plan: bool,
}

/// Does it.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Status(args) => status(args),
        Command::Update(args) => update(args),
    }
}

impl Args {
    /// The release; none where none was named and none was booted from.
    fn release(&self) -> Result<Option<Release>> {
        let folder = match &self.from {
            Some(folder) => folder.clone(),
            None if Path::new(MEDIUM).join("manifest.json").exists() => MEDIUM.into(),
            None => return Ok(None),
        };
        let trust = Trust {
            keys: self.keys.clone(),
            unsigned: self.unsigned,
        };
        let mut progress = Progress::new(self.json);
        let found = release(&folder, &trust, &mut progress);
        progress.end();
        Ok(Some(found?))
    }

    fn open(&self, is_written: bool) -> Result<Disk> {
        let (path, opened) = match &self.disk {
            Some(path) if is_written => (path.clone(), Disk::open(path)),
            Some(path) => (path.clone(), Disk::open_to_read(path)),
            None => {
                let running = Running::required()?;
                let esp = running.partition(Part::Esp)?.path.display().to_string();
                if let Some(place) = mounts()?.get(&esp).and_then(|places| places.first()).filter(|_| is_written) {
                    return Err(Refused(format!("the ESP is mounted at {place}: nothing was written / try: umount {place}")).into());
                }
                let opened = if is_written {
                    Disk::open_running(&running.disk)
                } else {
                    Disk::open_to_read(&running.disk)
                };
                (running.disk.clone(), opened)
            }
        };
        opened.with_context(|| format!("opening {}", path.display()))
    }
}

fn look(disk: &mut Disk) -> Result<Found> {
    let doing = format!("looking at {}", disk.path().display());
    disk.forget().with_context(|| doing.clone())?;
    let found = table(disk);
    let table = found.table().with_context(|| doing.clone())?;
    let arch = [Arch::Amd64, Arch::Arm64]
        .into_iter()
        .find_map(|arch| Some((arch, Layout::of(table, arch)?)));
    let (arch, layout) = arch.with_context(|| format!("{doing}: it has not the partitions of Skerry"))?;
    Found::look(disk, &layout, arch.efi_name()).context(doing)
}

fn status(args: &Args) -> Result<ExitCode> {
    let mut disk = args.open(false)?;
    let release = args.release()?;
    let seen = look(&mut disk)?.compare(release.as_ref())?;
    let version = release.as_ref().map(|r| r.version.as_str());
    if args.json {
        let document = json!({ "disk": disk.path(), "release": version, "parts": seen });
        println!("{document:#}");
    } else {
        print!("{}", shown(&seen, version));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(seen: &[Seen], version: Option<&str>) -> String {
    let mut out = String::new();
    for part in seen {
        let digest: String = part
            .sha256
            .map_or_else(|| "-".to_owned(), |d| d.to_string().chars().take(16).collect());
        let is = match (part.is, version) {
            (Standing::Same, Some(version)) => format!("as in {version}"),
            (Standing::Differs, Some(version)) => format!("other than in {version}"),
            (Standing::Missing, _) => "not there".to_owned(),
            (Standing::Owners, _) => "the owner's own, with its checksum: left alone".to_owned(),
            _ => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<28} {digest:<16}  {is}", part.what);
    }
    if version.is_none() {
        out.push_str("To compare it with a release: --from FOLDER\n");
    } else if seen.iter().any(|s| s.is == Standing::Differs) {
        out.push_str("To write the release's: skerry bootloader update --from FOLDER\n");
    }
    out
}

fn update(update: &UpdateArgs) -> Result<ExitCode> {
    let args = &update.args;
    let _held = if update.plan || args.disk.is_some() { None } else { Some(hold()?) };
    let mut disk = args.open(!update.plan)?;
    let release = args
        .release()?
        .context("looking for a release: none was named / try: --from FOLDER")?;
    let path = disk.path().display().to_string();
    let plan = match look(&mut disk)?.plan(&release) {
        Ok(plan) => plan,
        Err(why) if why.is::<skerry_installer::bootloader::Refused>() => {
            return Err(Refused(format!("changing the boot loader of {path}: nothing was written: {why}")).into());
        }
        Err(why) => return Err(why.context(format!("changing the boot loader of {path}: nothing was written"))),
    };
    if update.plan {
        if args.json {
            println!("{}", serde_json::to_string_pretty(&plan)?);
        } else {
            println!("{plan}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new(args.json);
    let report = perform(&plan, &mut disk, &Options::default(), &mut |p| {
        progress.see("writing", p.done, p.total);
    })
    .with_context(|| format!("changing the boot loader of {path}"))?;
    progress.end();
    if args.json {
        let document = json!({ "disk": path, "release": release.version, "steps": plan.steps.len(), "written": report.written });
        println!("{document:#}");
    } else if plan.steps.is_empty() {
        println!("{path} has the boot loader of {} already.", release.version);
    } else {
        println!(
            "{path} boots by the boot loader of {} from the next restart on; it was read back.",
            release.version
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_installer::content::Digest;

    #[test]
    fn a_table() {
        let seen = |what: &str, is, sha256| Seen {
            what: what.to_owned(),
            is,
            sha256,
        };
        let all = [
            seen("BIOS: sector 0", Standing::Same, Some(Digest([0xAB; 32]))),
            seen("UEFI: /EFI/BOOT/BOOTX64.EFI", Standing::Differs, Some(Digest([1; 32]))),
            seen("/boot/grub/grub.cfg", Standing::Missing, None),
        ];
        assert_eq!(
            shown(&all, Some("0.2.0")),
            "BIOS: sector 0               abababababababab  as in 0.2.0\n\
             UEFI: /EFI/BOOT/BOOTX64.EFI  0101010101010101  other than in 0.2.0\n\
             /boot/grub/grub.cfg          -                 not there\n\
             To write the release's: skerry bootloader update --from FOLDER\n"
        );
        assert!(shown(&all, None).ends_with("To compare it with a release: --from FOLDER\n"));
    }
}
