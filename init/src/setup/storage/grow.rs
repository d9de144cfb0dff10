//! Grows data to the end of its disk: at the first boot of a flashed image, and on a disk that became longer.
//!
//! A process of its own does it, while data is mounted, and is waited for a bounded time. What fails is said and passed over: a small
//! data partition boots, and the next boot goes on where this one stopped.

use crate::booted::{Booted, DATA};
use anyhow::{Context, Result, ensure};
use skerry_installer::device::{Device as _, Disk, table};
use skerry_installer::grow::{Facts, ext4_bytes, grow_data, plan, should_grow};
use skerry_installer::layout::{Ids, Layout, MIB, Part};
use skerry_installer::perform::{Options, perform};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

const SETUP: &str = "/usr/lib/skerry/setup";
/// A card of 128 GB takes some seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Lets `setup storage grow` do it; returns what went wrong.
pub fn within_limit(say: &impl Fn(&str)) -> Vec<String> {
    let started = Command::new(SETUP)
        .args(["storage", "grow"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(why) => return vec![format!("growing data: starting {SETUP}: {why}")],
    };
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(LIMIT) {
        Ok(Ok(output)) => {
            String::from_utf8_lossy(&output.stdout).lines().for_each(say);
            let failed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.success() {
                vec![]
            } else {
                vec![format!(
                    "{failed}; this boot goes on with the room there is, and the next one tries again"
                )]
            }
        }
        Ok(Err(why)) => vec![format!("growing data: waiting for {SETUP}: {why}")],
        Err(_) => vec![format!(
            "growing data takes longer than {} s and is not waited for; what is left of it, the next boot does",
            LIMIT.as_secs()
        )],
    }
}

/// `setup storage grow`: the table, then the partition and its file system. What it did goes to standard output.
#[allow(clippy::print_stdout, reason = "read by the process that started it")]
pub fn run() -> Result<()> {
    let Some(booted) = Booted::look().context("growing data: looking for the disk that was booted")? else {
        return Ok(());
    };
    let node = booted.partition(DATA).context("growing data: looking for its partition")?;
    let path = Path::new("/dev").join(&booted.disk);
    let mut disk = Disk::open_running(&path).with_context(|| format!("growing data: opening {}", path.display()))?;
    let facts = Facts::of(&disk).context("growing data")?;
    if let Some(plan) = plan(&facts, &random_ids()?).context("growing data")? {
        perform(&plan, &mut disk, &Options::default(), &mut |_| {}).context("growing data: changing the partition table")?;
        println!("the partition table now reaches to the end of {}", path.display());
    }
    let found = table(&disk);
    let table = found.table().context("growing data: reading the partition table again")?.clone();
    let ours = table.partition(Part::Data.number()).is_some_and(|p| p.name == Part::Data.name());
    ensure!(
        ours,
        "growing data: partition {} of {} is not ours",
        Part::Data.number(),
        path.display()
    );
    let place = Layout { table }.place(Part::Data).context("growing data: looking for its place")?;
    let mut superblock = [0; 1024];
    disk.read_at(place.at + 1024, &mut superblock)
        .context("growing data: reading its superblock")?;
    let bytes = ext4_bytes(&superblock).context("growing data: it holds no ext4 file system")?;
    if should_grow(bytes, place.bytes) {
        grow_data(&disk, place, &node.path)?;
        println!("data grew from {} to {} MiB", bytes / MIB, place.bytes / MIB);
    }
    Ok(())
}

fn random_ids() -> Result<Ids> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("growing data: reading random bytes")?;
    Ok(Ids(bytes))
}
