//! Which device holds the data: the partition of the disk that was booted; else the one labelled so, and two are none.

use crate::booted::{Booted, DATA};
use anyhow::Result;
use skerry_overlay::LABEL;
use skerry_sys::block::{self, Device};
use skerry_sys::module::{self, Index};
use skerry_sys::uevent::{Listener, News};
use std::path::Path;
use std::time::{Duration, Instant};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The data, on the disk that was booted.
    Booted(Device),
    /// The disk that was booted has none.
    Missing(String),
    /// The data, on a disk of its own.
    Data(Device),
    /// None, and why that is fine.
    Live(String),
    /// More than one: to choose would be to guess.
    Ambiguous(Vec<Device>),
}

/// The longest wait for a disk that nobody promised.
const LIMIT: Duration = Duration::from_secs(3);
/// So long nothing must have happened before we take the disks to be complete.
const QUIET: Duration = Duration::from_millis(100);
/// The same where disks come by themselves, some time after their driver.
const QUIET_ON_SLOW_BUSES: Duration = Duration::from_millis(1500);

/// Looks for the data. Waits only when there is none, for disks that may still be on their way.
pub fn find(cmdline: &str, say: &impl Fn(&str)) -> Result<Found> {
    if is_live_asked_for(cmdline) {
        return Ok(Found::Live("the command line asks for it".to_owned()));
    }
    if let Some(booted) = Booted::look()? {
        return Ok(on(&booted));
    }
    let listener = Listener::open()?;
    if let Some(found) = choose(block::labelled(LABEL)?) {
        return Ok(found);
    }
    // The initramfs has drivers for the root's disk; the data may be on another.
    match Index::of_running_kernel() {
        Ok(index) => {
            let report = module::coldplug(&index);
            report.failed.iter().for_each(|why| say(&why.to_string()));
            settle(&listener, Some(&index))
        }
        Err(_) => settle(&listener, None),
    }
}

/// Another disk's data would be another machine's: it is not looked for.
fn on(booted: &Booted) -> Found {
    match booted.partition(DATA) {
        Some(data) => Found::Booted(data.clone()),
        None => Found::Missing(format!("the disk that was booted, {}, has no partition {DATA}", booted.disk)),
    }
}

/// Listens until there is data, or nothing more is to be expected.
fn settle(listener: &Listener, index: Option<&Index>) -> Result<Found> {
    let (start, quiet) = (Instant::now(), quiet_time());
    loop {
        while let Some(news) = listener.next()? {
            if let (News::Event(event), Some(index)) = (news, index) {
                for name in event.modalias.iter().flat_map(|alias| index.lookup(alias)) {
                    // A driver that does not load brings no disk; cold-plug says so later, with its reason.
                    let _ = module::load(index, name, "");
                }
            }
        }
        if let Some(found) = choose(block::labelled(LABEL)?) {
            return Ok(found);
        }
        let left = LIMIT.saturating_sub(start.elapsed());
        if left.is_zero() || !listener.wait(quiet.min(left))? {
            return Ok(Found::Live(format!("there is no file system labelled {LABEL}")));
        }
    }
}

fn quiet_time() -> Duration {
    let has_entries = |dir: &str| std::fs::read_dir(Path::new(dir)).is_ok_and(|mut entries| entries.next().is_some());
    let slow = ["/sys/bus/usb/devices", "/sys/class/scsi_host", "/sys/class/mmc_host"];
    if slow.into_iter().any(has_entries) {
        QUIET_ON_SLOW_BUSES
    } else {
        QUIET
    }
}

/// `None`: nothing yet.
fn choose(mut labelled: Vec<Device>) -> Option<Found> {
    match labelled.len() {
        0 => None,
        1 => labelled.pop().map(Found::Data),
        _ => Some(Found::Ambiguous(labelled)),
    }
}

/// `skerry.live`, `skerry.mode=live` and k3OS's `k3os.mode=live`; of a repeated word the last counts. The installer's own state is in
/// memory too: a disk that it may be about to overwrite is not its data.
fn is_live_asked_for(cmdline: &str) -> bool {
    let mut is_live = false;
    for word in cmdline.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "skerry.live" => is_live = !["0", "false", "no", "off"].contains(&value),
            "skerry.mode" | "k3os.mode" => is_live = ["live", "install"].contains(&value),
            _ => {}
        }
    }
    is_live
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device {
            name: name.into(),
            path: Path::new("/dev").join(name),
            bytes: 1,
            partition_label: None,
            partition: None,
            guid: None,
            disk: None,
            is_read_only: false,
        }
    }

    #[test]
    fn two_are_none() {
        assert_eq!(choose(vec![]), None);
        assert_eq!(choose(vec![device("vdb")]), Some(Found::Data(device("vdb"))));
        assert_eq!(
            choose(vec![device("vdb"), device("sda1")]),
            Some(Found::Ambiguous(vec![device("vdb"), device("sda1")]))
        );
    }

    #[test]
    fn live_can_be_asked_for() {
        for (cmdline, is_live) in [
            ("quiet", false),
            ("skerry.live quiet", true),
            ("skerry.live=1", true),
            ("skerry.live skerry.live=false", false),
            ("skerry.mode=live", true),
            ("k3os.mode=live", true),
            ("skerry.mode=install", true),
            ("k3os.mode=disk", false),
            ("skerry.livelong", false),
        ] {
            assert_eq!(is_live_asked_for(cmdline), is_live, "{cmdline}");
        }
    }
}
