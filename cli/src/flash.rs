//! `skerry flash`: an image onto a card, a stick or a disk, on any computer with Linux.

use crate::machine::Refused;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::watched::Watched;
use crate::{settings, terminal};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use skerry_installer::choose::{Disk as Found, Holds};
use skerry_installer::device::{Device, Disk, table};
use skerry_installer::facts::{Root, disks, mounts};
use skerry_installer::fat::add::add;
use skerry_installer::flash::{Image, flash};
use skerry_installer::layout::{Arch, Layout, Part};
use skerry_installer::perform::Phase;
use skerry_installer::step::Size;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to write, and onto what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// x.img or x.img.zst; its map, x.img.bmap, is taken from beside it
    image: PathBuf,
    /// The card, stick or disk, such as /dev/sdb; or a file
    device: PathBuf,
    /// Put this file onto it as config.yaml, which the first boot reads
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Unmount what is mounted from DEVICE first
    #[arg(long)]
    unmount: bool,
    /// Do not ask; what is on DEVICE is lost
    #[arg(short, long)]
    yes: bool,
    /// A JSON document at the end
    #[arg(long)]
    json: bool,
}

/// Flashes.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stop = Stop::watch()?;
    let image = Image::open(&args.image)?;
    let config = args.config.as_deref().map(settings::of_file).transpose()?;
    let path = std::fs::canonicalize(&args.device).with_context(|| format!("looking for {}", args.device.display()))?;
    let found = find(&path)?;
    if let Some(disk) = &found {
        may(disk, args.unmount)?;
    }
    confirm(args, &path, found.as_ref(), image.map.mapped_bytes())?;
    if let Some(disk) = found.as_ref().filter(|_| args.unmount) {
        unmount(disk)?;
    }

    let mut disk = Disk::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let mut progress = Progress::new(args.json);
    let began = std::time::Instant::now();
    let halfway = format!("{} is half written and does not boot now; flash it again", path.display());
    let (is_touched, done) = {
        let mut watched = Watched::new(&mut disk, || stop.says(&halfway));
        let done = flash(&image, &mut watched, &mut |p| progress.see(word(p.phase), p.done, p.total));
        (watched.is_touched(), done)
    };
    progress.end();
    done.with_context(|| {
        if is_touched {
            halfway.clone()
        } else {
            format!("flashing {}", path.display())
        }
    })?;
    if let Some(text) = &config {
        stop.says(&format!("{} boots, but config.yaml may not be on it", path.display()));
        put_config(&mut disk, text)?;
    }
    // Its partitions may be looked at at once; that they cannot be is no fault of the image.
    if let Err(why) = disk.read_table_again() {
        eprintln!("note: {why}; take the disk out and put it in again before its partitions are used");
    }
    if args.json {
        let document = json!({
            "device": path, "image": args.image, "bytes": image.map.mapped_bytes(), "of": image.map.bytes,
            "seconds": began.elapsed().as_secs(), "config": args.config, "read_back": true,
        });
        println!("{document:#}");
    } else {
        eprintln!("{}", last_words(&path, args.config.is_some()));
    }
    Ok(ExitCode::SUCCESS)
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Check => "checking",
        Phase::Write => "writing",
        Phase::ReadBack => "reading back",
    }
}

/// The disk; none for a file, and for what is no disk to install onto (a loop device, for instance).
fn find(path: &Path) -> Result<Option<Found>> {
    let kind = std::fs::metadata(path)
        .with_context(|| format!("looking at {}", path.display()))?
        .file_type();
    if kind.is_file() {
        return Ok(None);
    }
    ensure!(
        kind.is_block_device(),
        "looking at {}: it is neither a disk nor a file",
        path.display()
    );
    let name = path.file_name().unwrap_or_default();
    let is_partition = Path::new("/sys/class/block").join(name).join("partition").exists();
    ensure!(
        !is_partition,
        "looking at {}: it is a partition / try: the whole disk, which `lsblk` shows above it",
        path.display()
    );
    Ok(disks(&Root("/".into()), &mounts()?)?.into_iter().find(|d| d.path == path))
}

/// Whether this disk may be written over; decided on what was seen.
fn may(disk: &Found, unmount: bool) -> Result<(), Refused> {
    let refused = |why: String| Err(Refused(format!("flashing {disk}: {why}: nothing was written")));
    if disk.is_running {
        return refused("this computer runs from it".to_owned());
    }
    if disk.is_read_only {
        return refused("it is read-only; some cards have a switch for that".to_owned());
    }
    let (places, others): (Vec<_>, Vec<_>) = disk.used_by.iter().partition(|user| user.starts_with('/'));
    if !others.is_empty() {
        let others: Vec<&str> = others.into_iter().map(String::as_str).collect();
        return refused(format!("it is used by {}", others.join(", ")));
    }
    if !places.is_empty() && !unmount {
        let places: Vec<&str> = places.into_iter().map(String::as_str).collect();
        return refused(format!("it is mounted at {} / try: --unmount", places.join(", ")));
    }
    Ok(())
}

/// The innermost first.
fn unmount(disk: &Found) -> Result<()> {
    let mut places = disk.used_by.clone();
    places.sort();
    for place in places.iter().rev() {
        skerry_sys::mount::unmount(place)?;
    }
    Ok(())
}

fn confirm(args: &Args, path: &Path, disk: Option<&Found>, bytes: u64) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let (shown, holds) = match disk {
        Some(disk) => (disk.to_string(), holds(&disk.holds)),
        None => (path.display().to_string(), "what is in it".to_owned()),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    eprintln!("{}: {} to write\nonto {shown}\nLost: {holds}.", args.image.display(), Size(bytes));
    if !terminal::is_there() {
        return Err(Refused("flashing: nobody is there to confirm it: nothing was written / try: --yes".to_owned()).into());
    }
    match terminal::ask(&format!("To begin, write the disk's name, {name}: "), false)? {
        Some(answer) if answer == name => Ok(()),
        _ => Err(Refused("flashing: it was not confirmed: nothing was written".to_owned()).into()),
    }
}

fn holds(holds: &Holds) -> String {
    match holds {
        Holds::Nothing => "nothing, it is empty".to_owned(),
        Holds::Skerry => "a Skerry and all its data".to_owned(),
        Holds::K3os => "a k3OS and all its data".to_owned(),
        Holds::Other(what) => what.clone(),
    }
}

fn put_config(disk: &mut Disk, text: &[u8]) -> Result<()> {
    let doing = "putting config.yaml onto the ESP";
    disk.forget().context(doing)?;
    let found = table(disk);
    // The backup is where the image ends, not where the disk does: the first boot moves it.
    let table = found.primary.context(doing)?;
    let layout = [Arch::Amd64, Arch::Arm64].into_iter().find_map(|arch| Layout::of(&table, arch));
    let esp = layout.and_then(|l| l.place(Part::Esp));
    let esp = esp.with_context(|| format!("{doing}: the image is none of Skerry's; it is flashed, without the file"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    add(disk, esp.at, "config.yaml", text, now).context(doing)
}

fn last_words(path: &Path, has_config: bool) -> String {
    let config = if has_config {
        "config.yaml is on it."
    } else {
        "To configure it, open its first partition (SKERRY) on any computer and put a config.yaml there; config.yaml.example shows how."
    };
    format!("{} is ready: written, read back and bootable. {config}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_installer::choose::Transport;

    fn disk() -> Found {
        Found {
            name: "sdz".into(),
            path: "/dev/sdz".into(),
            links: vec![],
            bytes: 1 << 34,
            sector_bytes: 512,
            model: "Stick".into(),
            serial: String::new(),
            transport: Transport::Usb,
            is_removable: true,
            is_read_only: false,
            holds: Holds::Nothing,
            is_running: false,
            used_by: vec![],
        }
    }

    #[test]
    fn the_own_disk_never_and_a_mounted_one_only_when_told() {
        let mounted = Found {
            used_by: vec!["/media/a".into()],
            ..disk()
        };
        let own = Found {
            is_running: true,
            used_by: vec!["/".into()],
            ..disk()
        };
        let swap = Found {
            used_by: vec!["swap".into(), "/media/a".into()],
            ..disk()
        };
        let locked = Found {
            is_read_only: true,
            ..disk()
        };
        for (disk, unmount, why) in [
            (&disk(), false, None),
            (&mounted, false, Some("mounted at /media/a")),
            (&mounted, true, None),
            (&own, true, Some("runs from it")),
            (&swap, true, Some("used by swap")),
            (&locked, false, Some("read-only")),
        ] {
            let said = may(disk, unmount).err().map(|why| why.to_string());
            match why {
                None => assert_eq!(said, None),
                Some(why) => assert!(said.as_ref().is_some_and(|s| s.contains(why)), "{said:?}"),
            }
        }
    }
}
