//! Swap in a file on the data partition: made once, used at every boot, and removed when nobody asks for it any more.

use super::{Failures, Settings, one};
use crate::root::Root;
use anyhow::{Context, Result, bail, ensure};
use skerry_config::size::bytes;
use std::fs;
use std::process::Command;

const FILE: &str = "/var/lib/skerry/swap";
/// It becomes [`FILE`] when it is whole: a power cut leaves one or the other.
const NEW: &str = "/var/lib/skerry/swap.new";
/// The kernel's unit of swap.
const PAGE: u64 = 4096;
/// What is left on the data partition, at least: the datastore and images need it more.
const LEFT: u64 = 512 << 20;

/// What there is, and what is asked for.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Bytes.
    wanted: u64,
    /// The state is on a disk.
    on_disk: bool,
    /// The file's length.
    is: Option<u64>,
    /// The kernel uses it.
    used: bool,
    /// Bytes that may be taken of the partition.
    room: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Stop,
    Remove,
    Make(u64),
    Use,
}

/// Decides; what cannot be is an error, and nothing is changed.
fn plan(seen: Seen) -> Result<Vec<Step>> {
    let wanted = seen.wanted / PAGE * PAGE;
    let away = seen.used.then_some(Step::Stop).into_iter().chain(seen.is.map(|_| Step::Remove));
    if wanted == 0 {
        return Ok(away.collect());
    }
    if !seen.on_disk {
        bail!("making swap: there is no data partition to put it on / install onto a disk, or remove skerry.swap");
    }
    if seen.is == Some(wanted) {
        return Ok(if seen.used { vec![] } else { vec![Step::Use] });
    }
    let room = seen.room.saturating_add(seen.is.unwrap_or(0));
    ensure!(
        room >= wanted.saturating_add(LEFT),
        "making swap of {} MiB: {} MiB are free on the data partition, and {} MiB of it must stay / write a smaller skerry.swap",
        wanted >> 20,
        room >> 20,
        LEFT >> 20
    );
    Ok(away.chain([Step::Make(wanted), Step::Use]).collect())
}

/// As `skerry.swap` says.
pub fn apply(s: &Settings) -> Failures {
    one(provide(s))
}

fn provide(s: &Settings) -> Result<()> {
    let wanted = &s.config.skerry.swap;
    let file = s.root.at(FILE);
    let is = fs::metadata(&file).ok().map(|m| m.len());
    let _ = fs::remove_file(s.root.at(NEW)); // of a boot that was cut off
    if wanted.is_empty() && is.is_none() {
        return Ok(());
    }
    let seen = Seen {
        wanted: bytes(wanted).unwrap_or(0),
        on_disk: s.facts.mode == "disk",
        is,
        used: used(&s.root),
        room: file
            .parent()
            .and_then(|dir| skerry_sys::file::space(dir).ok())
            .map_or(0, |space| space.available),
    };
    plan(seen)?.into_iter().try_for_each(|step| perform(&s.root, step))
}

/// proc(5), `/proc/swaps`: the first word of each line but the first is the file.
fn used(root: &Root) -> bool {
    let swaps = root.text("/proc/swaps").unwrap_or_default();
    swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .any(|name| name.ends_with(FILE))
}

fn perform(root: &Root, step: Step) -> Result<()> {
    let (file, new) = (root.at(FILE), root.at(NEW));
    match step {
        Step::Stop => Ok(skerry_sys::machine::swapoff(&file)?),
        Step::Remove => fs::remove_file(&file).with_context(|| format!("removing {FILE}")),
        Step::Make(size) => {
            skerry_sys::file::preallocate(&new, size)?;
            run(Command::new("/usr/sbin/mkswap").arg("--quiet").arg(&new), "mkswap")?;
            let open = fs::File::open(&new).and_then(|file| file.sync_all());
            open.with_context(|| format!("writing {NEW} to the disk"))?;
            fs::rename(&new, &file).with_context(|| format!("renaming {NEW}"))?;
            Ok(file.parent().map_or(Ok(()), skerry_sys::file::flush_dir)?)
        }
        Step::Use => run(Command::new("/usr/sbin/swapon").arg(&file), "swapon"),
    }
}

fn run(command: &mut Command, name: &str) -> Result<()> {
    let out = command.output().with_context(|| format!("starting {name}"))?;
    ensure!(
        out.status.success(),
        "{name} {FILE} ({}): {}",
        out.status,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use skerry_config::types::Config;

    const MIB: u64 = 1 << 20;
    const NOTHING: Seen = Seen {
        wanted: 0,
        on_disk: true,
        is: None,
        used: false,
        room: 2048 * MIB,
    };

    #[test]
    fn every_state_leads_to_what_is_wanted() {
        use Step::{Make, Remove, Stop, Use};
        let steps = |wanted: u64, is: Option<u64>, used: bool| {
            plan(Seen {
                wanted: wanted * MIB,
                is: is.map(|m| m * MIB),
                used,
                ..NOTHING
            })
            .unwrap()
        };
        assert_eq!(steps(0, None, false), []);
        assert_eq!(steps(0, Some(64), false), [Remove]);
        assert_eq!(steps(0, Some(64), true), [Stop, Remove]);
        assert_eq!(steps(64, None, false), [Make(64 * MIB), Use]);
        assert_eq!(steps(64, Some(64), false), [Use]);
        assert_eq!(steps(64, Some(64), true), []);
        assert_eq!(steps(64, Some(32), false), [Remove, Make(64 * MIB), Use]);
        assert_eq!(steps(64, Some(96), true), [Stop, Remove, Make(64 * MIB), Use]);
        let odd = plan(Seen {
            wanted: 64 * MIB + 1,
            ..NOTHING
        });
        assert_eq!(odd.unwrap(), [Make(64 * MIB), Use], "whole pages");
    }

    #[test]
    fn what_cannot_be_is_said_and_nothing_is_changed() {
        let live = plan(Seen {
            wanted: 64 * MIB,
            on_disk: false,
            ..NOTHING
        });
        assert!(live.unwrap_err().to_string().contains("no data partition"));
        let full = |is, room| {
            plan(Seen {
                wanted: 1024 * MIB,
                is,
                room: room * MIB,
                ..NOTHING
            })
        };
        assert!(full(None, 1535).unwrap_err().to_string().contains("1535 MiB are free"));
        assert!(full(None, 1536).is_ok());
        assert!(full(Some(512 * MIB), 1024).is_ok(), "what the old one takes is free again");
    }

    #[test]
    fn what_a_power_cut_left_half_made_is_removed() {
        let root = crate::root::scratch("swap-cut");
        root.write(NEW, "half", 0o600).unwrap();
        let s = Settings {
            config: Config::default(),
            facts: Facts::bare(&root),
            root: root.clone(),
        };
        provide(&s).unwrap();
        assert!(!root.at(NEW).exists() && !root.at(FILE).exists());
    }

    #[test]
    fn what_the_kernel_says_it_uses() {
        let root = crate::root::scratch("swap");
        assert!(!used(&root));
        root.write(
            "/proc/swaps",
            "Filename\tType\n/skerry/var/lib/skerry/swap file 65532 0 -2\n",
            0o644,
        )
        .unwrap();
        assert!(used(&root));
        root.write("/proc/swaps", "Filename\tType\n/dev/sda2 partition 65532 0 -2\n", 0o644)
            .unwrap();
        assert!(!used(&root));
    }
}
