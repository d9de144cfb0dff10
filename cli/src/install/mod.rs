//! `skerry install`: a release onto a disk, or a file. By words, by questions ([`crate::wizard`]), or by a configuration alone.

pub mod job;
mod k3os;
mod unattended;
pub mod wish;

pub use unattended::merged;

use crate::machine::Refused;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::terminal;
use crate::wizard;
use anyhow::{Context, Result, bail};
use job::{Job, Trust};
use serde_json::json;
use skerry_config::size::bytes;
use skerry_installer::choose::{Disk as Found, Holds, Purpose, Wanted};
use skerry_installer::step::Size;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wish::{End, MEDIUM, Onto, Settings, Wish};

/// What to install, and onto what. Without DISK, on a terminal: questions.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "these are a command's flags")]
pub struct Args {
    /// /dev/sda, or words with commas between: smallest, largest, empty,
    /// fixed, transport=usb|nvme|sata|mmc|virtio|scsi, model=…, serial=…,
    /// size>=64G, size<=2T
    #[arg(value_name = "DISK|RULE")]
    disk: Option<String>,
    /// The release's folder
    #[arg(long, value_name = "FOLDER", default_value = MEDIUM)]
    from: PathBuf,
    /// A folder with the public keys of those whose releases are believed
    #[arg(long, value_name = "FOLDER", default_value = skerry_upgrade::signature::KEYS)]
    keys: PathBuf,
    /// Take a release that nobody whose key is known has signed
    #[arg(long)]
    unsigned: bool,
    /// The installed machine's config.yaml
    #[arg(long, value_name = "FILE|URL", conflicts_with = "take_over")]
    config: Option<String>,
    /// Take over the configuration of the k3OS on the disk
    #[arg(long)]
    take_over: bool,
    /// Show what would be done; nothing is written
    #[arg(long)]
    plan: bool,
    /// JSON documents instead of text
    #[arg(long)]
    json: bool,
    /// A disk that holds something may be taken; all of it is lost
    #[arg(long, conflicts_with = "keep_data")]
    erase: bool,
    /// Onto a disk with Skerry: into its other slot, and its data stay
    #[arg(long, conflicts_with_all = ["config", "take_over", "image"])]
    keep_data: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Switch the machine off at the end
    #[arg(long, conflicts_with = "image")]
    power_off: bool,
    /// Onto a new file instead of a disk
    #[arg(long, value_name = "FILE", requires = "size", conflicts_with = "disk")]
    image: Option<PathBuf>,
    /// How long that file is, such as 8G
    #[arg(long, requires = "image")]
    size: Option<String>,
    /// Ask what the file's configuration is to be
    #[arg(long, requires = "image", conflicts_with_all = ["config", "plan"])]
    ask: bool,
    /// As the machine's configuration says, in its section install
    #[arg(long, conflicts_with_all = ["disk", "image", "config", "take_over", "erase", "keep_data"])]
    unattended: bool,
    /// Ask, and be the only program on this console
    #[arg(long, hide = true, conflicts_with_all = ["unattended", "disk", "image"])]
    console: bool,
}

/// Installs.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stop = Stop::watch()?;
    if args.unattended {
        return unattended::run(args.plan, args.json, &args.trust(), &stop);
    }
    let asks = args.disk.is_none() && args.image.is_none() && !args.plan && !args.yes;
    if args.console || args.ask || asks && terminal::is_there() {
        let setting = wizard::Setting {
            from: args.from.clone(),
            trust: args.trust(),
            file: args.file()?,
            is_console: args.console,
            end: args.end(),
        };
        return wizard::run(&setting, &stop);
    }
    let mut wish = args.wish()?;
    let release = job::release(&args.from, &args.trust(), &mut Progress::new(args.json))?;
    let disks = if args.image.is_some() { vec![] } else { job::look()? };
    if !args.yes && !args.plan && terminal::is_there() {
        offer(&mut wish, &disks, job::needed(&release))?;
    }
    let job = job::prepare(&wish, &release, &disks, &stop)?;
    for note in &job.notes {
        eprintln!("{note}");
    }
    if args.plan {
        if args.json {
            println!("{:#}", json!({ "onto": job.path, "disk": job.disk, "plan": job.plan }));
        } else {
            println!("{}\n\n{}", onto(&job), job.plan);
        }
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{}\n\n{}", onto(&job), job.plan);
    confirm(&job, args.yes)?;
    let began = Instant::now();
    let report = job.perform(&stop, &mut Progress::new(args.json))?;
    if args.json {
        let document = json!({
            "onto": job.path, "disk": job.disk, "version": job.plan.version, "written": report.written,
            "seconds": began.elapsed().as_secs(), "kept_data": job.keeps_data, "read_back": true,
            "milliseconds": {
                "checking": millis(report.checking), "writing": millis(report.writing), "reading_back": millis(report.reading_back),
            },
        });
        println!("{document:#}");
    } else {
        eprintln!("{}", last_words(&job));
    }
    end(wish.end)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Args {
    fn wish(&self) -> Result<Wish> {
        let onto = match (&self.disk, self.file()?) {
            (_, Some(file)) => file,
            (Some(disk), _) => Onto::Disk(Wanted::parse(disk)?),
            _ => bail!("installing: no DISK was named / try: `skerry install --help`; on a terminal, `skerry install` asks"),
        };
        Ok(Wish {
            onto,
            from: self.from.clone(),
            settings: match &self.config {
                Some(config) => Settings::Address(address(config)?),
                None if self.take_over => Settings::K3os,
                None => Settings::None,
            },
            purpose: if self.keep_data {
                Purpose::Again
            } else {
                Purpose::New { erase: self.erase }
            },
            spares_skerry: false,
            end: self.end(),
            is_verbose: false,
        })
    }

    fn file(&self) -> Result<Option<Onto>> {
        let (Some(path), Some(size)) = (&self.image, &self.size) else {
            return Ok(None);
        };
        let bytes = bytes(size).with_context(|| format!("reading --size {size}: it is no size / try: 8G, or 8GiB"))?;
        Ok(Some(Onto::File(path.clone(), bytes)))
    }

    fn trust(&self) -> Trust {
        Trust {
            keys: self.keys.clone(),
            unsigned: self.unsigned,
        }
    }

    fn end(&self) -> End {
        if self.power_off { End::PowerOff } else { End::Stay }
    }
}

/// A path that is typed counts from where one is; a URL is what it is.
fn address(text: &str) -> Result<String> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text).with_context(|| format!("looking for {text}"))?;
    Ok(path.display().to_string())
}

/// What is on the disk may be of use: a Skerry's data, a k3OS's configuration.
fn offer(wish: &mut Wish, disks: &[Found], needed: u64) -> Result<()> {
    let Onto::Disk(wanted) = &wish.onto else { return Ok(()) };
    let every = Purpose::New { erase: true };
    let Ok(disk) = skerry_installer::choose::choose(wanted, disks, needed, every) else {
        // Why not is said when it is chosen in earnest.
        return Ok(());
    };
    match (&disk.holds, wish.purpose) {
        (Holds::Skerry, Purpose::New { erase: false }) if wish.settings == Settings::None => {
            eprintln!("{disk} holds a Skerry.");
            if yes("Keep its data and its configuration, and replace the system? [Y/n] ")? {
                wish.purpose = Purpose::Again;
            }
        }
        (Holds::K3os, Purpose::New { erase: true }) if wish.settings == Settings::None => {
            eprintln!("{disk} holds a k3OS.");
            if yes("Take over its configuration? [Y/n] ")? {
                wish.settings = Settings::K3os;
            }
        }
        _ => {}
    }
    Ok(())
}

fn yes(question: &str) -> Result<bool> {
    match terminal::ask(question, false)? {
        Some(answer) => Ok(!matches!(answer.to_lowercase().as_str(), "n" | "no")),
        None => Err(unconfirmed().into()),
    }
}

fn unconfirmed() -> Refused {
    Refused("installing: it was not confirmed: nothing was written".to_owned())
}

/// The disk, and what it loses.
pub fn onto(job: &Job) -> String {
    let version = &job.plan.version;
    let Some(disk) = &job.disk else {
        return format!(
            "Skerry {version} into the new file {} ({})",
            job.path.display(),
            Size(job.plan.disk_bytes)
        );
    };
    let loses = match (&disk.holds, job.keeps_data) {
        (_, true) => "It holds Skerry, whose data and configuration stay.".to_owned(),
        (Holds::Nothing, _) => "It is empty.".to_owned(),
        (Holds::Skerry, _) => "It holds Skerry, and ALL ITS DATA ARE LOST.".to_owned(),
        (Holds::K3os, _) => "It holds k3OS, and ALL ITS DATA ARE LOST.".to_owned(),
        (Holds::Other(what), _) => format!("It holds {what}, and ALL OF IT IS LOST."),
    };
    format!("Skerry {version} onto {disk}. {loses}")
}

fn confirm(job: &Job, is_told: bool) -> Result<()> {
    let Some(disk) = job.disk.as_ref().filter(|_| !is_told) else {
        return Ok(());
    };
    if !terminal::is_there() {
        return Err(Refused("installing: nobody is there to confirm it: nothing was written / try: --yes".to_owned()).into());
    }
    let question = format!("Ctrl-C is safe until you do: to begin, write the disk's name, {}: ", disk.name);
    match terminal::ask(&question, false)? {
        Some(answer) if answer == disk.name => Ok(()),
        _ => Err(unconfirmed().into()),
    }
}

/// What was done, and what comes next.
pub fn last_words(job: &Job) -> String {
    let done = format!("Skerry {} is on {}, read back and whole.", job.plan.version, job.path.display());
    if job.disk.is_none() {
        return done;
    }
    if job.keeps_data {
        return format!("{done} Its data and configuration are as they were. Next: take this medium out, and `skerry reboot`.");
    }
    format!("{done} Next: take this medium out, and `skerry reboot`; the first boot grows the data partition.")
}

/// What was wished for at the end.
pub fn end(end: End) -> Result<ExitCode> {
    use skerry_control::request::Request;
    match end {
        End::Stay => Ok(ExitCode::SUCCESS),
        End::Reboot => crate::machine::order(&Request::Reboot),
        End::PowerOff => crate::machine::order(&Request::PowerOff),
    }
}
