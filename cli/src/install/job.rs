//! A wish and what there is, to a plan; and the plan, done.

use super::k3os;
use super::wish::{MEDIUM, Onto, Settings, Wish};
use crate::machine::Refused;
use crate::progress::Progress;
use crate::settings;
use crate::stop::Stop;
use crate::watched::Watched;
use anyhow::{Context, Result, ensure};
use skerry_installer::choose::{Disk as Found, Holds, Purpose, choose};
use skerry_installer::device::{Device, Disk, table};
use skerry_installer::facts::{Root, disks, mounts};
use skerry_installer::layout::{Ids, Layout, MIB, Medium, Request, Sizes};
use skerry_installer::perform::{Options, Phase, Report, perform};
use skerry_installer::plan::{Extras, Plan, again, boot_state, check_medium, new};
use skerry_installer::release::Release;
use skerry_upgrade::{signature, trust};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much is written at once: with two of these and one for reading back the whole stays below 8 MiB.
const CHUNK: usize = 512 << 10;

/// What will be done, all of it decided.
#[derive(Debug)]
pub struct Job {
    /// The steps.
    pub plan: Plan,
    /// The disk, where it is one.
    pub disk: Option<Found>,
    /// The disk, or the file that will be there.
    pub path: PathBuf,
    /// Its data stay.
    pub keeps_data: bool,
    /// What the owner should know of the configuration.
    pub notes: Vec<String>,
    is_verbose: bool,
    /// What the data partition begins with; the plan refers to it.
    tree: Option<Tree>,
}

/// Every disk of this machine.
pub fn look() -> Result<Vec<Found>> {
    Ok(disks(&Root("/".into()), &mounts()?)?)
}

/// Whom to believe.
#[derive(Debug, Clone)]
pub struct Trust {
    /// A folder with public keys.
    pub keys: PathBuf,
    /// A signature is not asked for.
    pub unsigned: bool,
}

/// Checks the release: who made it, and every byte of it. Nothing is written before.
pub fn release(folder: &Path, trust: &Trust, progress: &mut Progress<'_>) -> Result<Release> {
    if !folder.join("manifest.json").exists() {
        let why = format!(
            "looking for a release in {}: there is none / try: --from FOLDER, with a release's manifest.json in it",
            folder.display()
        );
        return Err(anyhow::anyhow!(why));
    }
    let (keys, bad) = signature::keys(&trust.keys);
    for why in &bad {
        eprintln!("note: {why}");
    }
    let facts = trust::Facts {
        // Disks may be made for other machines.
        arch: Release::read(folder)?.arch,
        running: None,
        slot: None,
        failed: vec![],
    };
    let told = trust::Told {
        unsigned: trust.unsigned || runs(folder),
        ..trust::Told::default()
    };
    let checked = trust::check(folder, &keys, &facts, told, &mut |done, total| {
        progress.see("checking the release", done, total);
    });
    progress.end();
    let checked = checked.map_err(|why| Refused(format!("{why}\nnothing was written")))?;
    match &checked.signed_by {
        Some(name) => eprintln!("The release {} is signed by {name}.", checked.release.version),
        None => eprintln!("note: nobody's signature was asked for"),
    }
    Ok(checked.release)
}

/// Whether a release is the one that runs, on the medium that was booted: what was believed at the start of the machine may be
/// installed on it. A copy elsewhere may have another kernel beside the same root.
fn runs(folder: &Path) -> bool {
    if !folder.canonicalize().is_ok_and(|at| at == Path::new(MEDIUM)) {
        return false;
    }
    let root_hash = || {
        let text = skerry_sys::file::read_bounded(folder.join("manifest.json"), 64 << 10).ok()?;
        let manifest: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(manifest.get("roothash")?.as_str()?.to_owned())
    };
    let line = skerry_sys::file::read_text("/proc/cmdline", 1 << 16).unwrap_or_default();
    is_named(&line, root_hash().as_deref())
}

fn is_named(cmdline: &str, root_hash: Option<&str>) -> bool {
    let is_it = |word: &str| word.strip_prefix("skerry.roothash=").is_some_and(|hash| Some(hash) == root_hash);
    std::path::Path::new("/run/skerry").exists() && cmdline.split_whitespace().any(is_it)
}

/// How long a disk has to be, in bytes.
pub fn needed(release: &Release) -> u64 {
    Sizes::default().needed(release.arch)
}

/// The disk that was wished for.
pub fn chosen(wish: &Wish, disks: &[Found], needed: u64) -> Result<Option<Found>> {
    let Onto::Disk(wanted) = &wish.onto else { return Ok(None) };
    let disk = choose(wanted, disks, needed, wish.purpose).map_err(|why| Refused(format!("{why}\nnothing was written")))?;
    if wish.spares_skerry && disk.holds == Holds::Skerry && wish.purpose != Purpose::Again {
        return Err(Refused(format!(
            "choosing {disk}: it has Skerry already, and is left as it is: nothing was written / try: take the medium out; or no_format: \
             true, which keeps its data; or, to lose them, `skerry install {} --erase`",
            disk.path.display()
        ))
        .into());
    }
    Ok(Some(disk.clone()))
}

/// Decides everything. Nothing is written to the disk.
pub fn prepare(wish: &Wish, release: &Release, disks: &[Found], stop: &Stop) -> Result<Job> {
    let disk = chosen(wish, disks, needed(release))?;
    let (config, notes) = config(wish, disk.as_ref())?;
    let tree = config.map(|text| Tree::new(&text, stop)).transpose()?;
    let (path, medium) = match (&wish.onto, &disk) {
        (Onto::File(path, bytes), _) => (
            path.clone(),
            Medium {
                bytes: bytes / MIB * MIB,
                sector_bytes: 512,
            },
        ),
        (Onto::Disk(_), Some(disk)) => (
            disk.path.clone(),
            Medium {
                bytes: disk.bytes,
                sector_bytes: disk.sector_bytes,
            },
        ),
        (Onto::Disk(_), None) => anyhow::bail!("choosing a disk: none was chosen"),
    };
    let keeps_data = wish.purpose == Purpose::Again;
    let plan = if keeps_data {
        let mut device = Disk::open_to_read(&path).with_context(|| format!("opening {}", path.display()))?;
        over(release, &mut device).with_context(|| format!("looking at {}", path.display()))?
    } else {
        let request = Request {
            sizes: Sizes::default(),
            arch: release.arch,
            ids: random_ids()?,
            is_image: false,
        };
        let extras = Extras {
            config: None,
            data_tree: tree.as_ref().map(|t| t.0.clone()),
        };
        new(release, &request, &medium, &extras)?
    };
    Ok(Job {
        plan,
        disk,
        path,
        keeps_data,
        notes,
        is_verbose: wish.is_verbose,
        tree,
    })
}

/// The plan for a disk whose data stay.
fn over(release: &Release, device: &mut dyn Device) -> Result<Plan> {
    // What is remembered of it may be older than what another program wrote.
    device.forget().context("looking at the disk")?;
    let found = table(device);
    let table = found.table().context("its partition table cannot be read")?;
    let layout = Layout::of(table, release.arch).context("it has not the partitions of Skerry, so there are no data to keep")?;
    let pair = boot_state(&layout, device)?;
    again(release, table, device.bytes(), &pair)
}

fn config(wish: &Wish, disk: Option<&Found>) -> Result<(Option<Vec<u8>>, Vec<String>)> {
    let untouched = "nothing was written";
    Ok(match (&wish.settings, disk) {
        (Settings::None, _) => (None, vec![]),
        (Settings::Text(text), _) => (Some(text.clone()), vec![]),
        (Settings::Address(address), _) => {
            let (text, notes) = settings::of_address(address).context(untouched)?;
            (Some(text), notes)
        }
        (Settings::K3os, Some(disk)) => {
            ensure!(disk.holds == Holds::K3os, "looking at {disk}: it holds no k3OS: {untouched}");
            (Some(k3os::config(&disk.name).context(untouched)?), vec![])
        }
        (Settings::K3os, None) => anyhow::bail!("a new file holds no k3OS: {untouched}"),
    })
}

fn random_ids() -> Result<Ids> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(Ids(bytes))
}

/// A folder with what the data partition begins with, gone when this is dropped: it holds secrets.
#[derive(Debug)]
struct Tree(PathBuf);

impl Tree {
    fn new(config: &[u8], stop: &Stop) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("skerry-tree-{:08x}", random_ids()?.serial("tree")));
        let doing = || format!("making {}", path.display());
        let folder = |path: &Path, mode| DirBuilder::new().mode(mode).create(path).with_context(doing);
        stop.removes(&path);
        // Never one that is there already: it may be somebody else's.
        folder(&path, 0o755)?;
        let tree = Self(path.clone());
        folder(&path.join("system"), 0o700)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path.join("system/config.yaml"))
            .with_context(doing)?;
        file.write_all(config).with_context(doing)?;
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_dir_all(&self.0) {
            eprintln!("note: removing {}: {why}", self.0.display());
        }
    }
}

impl Job {
    /// Which state the disk is in, should it end in the middle.
    fn halfway(&self) -> String {
        let path = self.path.display();
        if self.keeps_data {
            format!("the installation onto {path} is not complete; the disk boots, the old system or the new one, and its data are whole")
        } else {
            format!("the installation onto {path} is not complete, and the disk does not boot now; start the installation again")
        }
    }

    /// Does it.
    pub fn perform(&self, stop: &Stop, progress: &mut Progress<'_>) -> Result<Report> {
        if self.disk.is_none() {
            return self.to_file(stop, progress);
        }
        let mut device = Disk::open(&self.path).with_context(|| format!("opening {}: nothing was written", self.path.display()))?;
        let medium = Medium {
            bytes: device.bytes(),
            sector_bytes: device.sector_bytes(),
        };
        check_medium(&self.plan, &medium)?;
        let report = self.write(&mut device, stop, progress)?;
        // The partitions' nodes are for whoever comes next; the disk itself is whole.
        if let Err(why) = device.read_table_again() {
            eprintln!("note: {why}");
        }
        Ok(report)
    }

    /// Beside it first, and then under its name: never half an image.
    fn to_file(&self, stop: &Stop, progress: &mut Progress<'_>) -> Result<Report> {
        let path = self.path.display();
        ensure!(!self.path.exists(), "making {path}: it is there already: nothing was written");
        let mut unfinished = self.path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        stop.removes(&unfinished);
        let done = Disk::create(&unfinished, self.plan.disk_bytes)
            .and_then(|device| {
                if self.tree.is_some() {
                    // The configuration's secrets are in it.
                    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
                }
                Ok(device)
            })
            .with_context(|| format!("making {}", unfinished.display()))
            .and_then(|mut device| self.write(&mut device, stop, progress))
            .and_then(|report| {
                std::fs::rename(&unfinished, &self.path).with_context(|| format!("naming {path}"))?;
                Ok(report)
            });
        if done.is_err() {
            // It may not be there; the error that counts is the other one.
            let _ = std::fs::remove_file(&unfinished);
        }
        done
    }

    fn write(&self, device: &mut dyn Device, stop: &Stop, progress: &mut Progress<'_>) -> Result<Report> {
        let mut watched = Watched::new(device, || stop.says(&self.halfway()));
        let mut at = None;
        let options = Options {
            // `release` has read every byte of it; each file is compared once more while it is written, or read back.
            check_first: false,
            chunk: CHUNK,
            ..Options::default()
        };
        let done = perform(&self.plan, &mut watched, &options, &mut |p| {
            if self.is_verbose && at != Some(p.step) && p.phase == Phase::Write {
                at = Some(p.step);
                eprintln!("{}. {}", p.step + 1, p.what);
            }
            progress.see(word(p.phase), p.done, p.total);
        });
        progress.end();
        let is_touched = watched.is_touched();
        done.with_context(|| {
            if is_touched {
                self.halfway()
            } else {
                format!("installing onto {}", self.path.display())
            }
        })
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Check => "checking the release",
        Phase::Write => "writing",
        Phase::ReadBack => "reading back",
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
