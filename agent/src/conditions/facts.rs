//! What this machine knows of itself: small files that others left in `/run/skerry`, and a few of the kernel's.

use crate::places::Places;
use crate::pods::tool;
use serde_json::Value;
use skerry_sys::{file, verity};
use std::path::Path;

/// No file of these is larger.
const LARGEST: usize = 1 << 20;
/// The mapped device under `/`, as stage 1 names it.
const ROOT: &str = "root";

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The slot that runs; none: the machine was not booted from one.
    pub slot: Option<Slot>,
    /// The version that runs.
    pub version: String,
    /// Whether a block of the root was not what it was built as.
    pub root_damaged: bool,
    /// Keys of the configuration that were left out.
    pub dropped: Vec<String>,
    /// What the plan was made from, if not from the present configuration.
    pub other_plan: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// Where the state is: `disk`, `live` or `degraded`, and why.
    pub storage: Option<(String, String)>,
    /// The most worn flash, and how much of its life is used up, in percent.
    pub wear: Option<(String, u8)>,
    /// File systems that met errors, and how many.
    pub file_systems: Vec<(String, u64)>,
}

/// A slot that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slot {
    /// `a` or `b`.
    pub name: String,
    /// `good`, `on trial`, `unproven`.
    pub state: String,
    /// The last update that was left.
    pub left: Option<Left>,
}

/// An update that the machine came back from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// The version that was left.
    pub from: String,
    /// The slot and the version that it went back to.
    pub to: (String, String),
    /// The check that failed, and how.
    pub why: String,
}

/// How far the clock can be relied on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// It follows a time server.
    Follows,
    /// It does not, but went on while the machine was off.
    #[default]
    Kept,
    /// It does not, and had to be set by guess at this boot.
    Guessed,
}

/// Looks.
pub async fn look(places: &Places) -> Facts {
    let json = |path: &str| -> Value {
        let bytes = file::read_bounded(places.at(path), LARGEST).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    };
    let guessed = places.at("/run/skerry/clock-guessed").exists();
    Facts {
        slot: slot(&json("/run/skerry/slots.json")),
        version: word(&json("/usr/share/skerry/release.json"), "/version"),
        root_damaged: verity::is_damaged(ROOT).unwrap_or(false),
        dropped: dropped(&json("/run/skerry/problems.json")),
        other_plan: Some(word(&json("/run/skerry/facts.json"), "/plan")).filter(|plan| !["", "config"].contains(&plan.as_str())),
        clock: clock(&tracking().await, guessed),
        storage: storage(&json("/run/skerry/storage.json")),
        wear: wear(&places.at("/sys/block")),
        file_systems: file_systems(&places.at("/sys/fs/ext4")),
    }
}

fn word(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn slot(report: &Value) -> Option<Slot> {
    report.get("slot")?;
    let left = report.get("rolled_back").filter(|r| r.is_object()).map(|r| Left {
        from: word(r, "/from/version"),
        to: (word(r, "/to/slot"), word(r, "/to/version")),
        why: format!("{}: {}", word(r, "/failed/check"), word(r, "/failed/why")),
    });
    Some(Slot {
        name: word(report, "/slot"),
        state: word(report, "/state"),
        left,
    })
}

/// Only keys: what was written there may be secret.
fn dropped(problems: &Value) -> Vec<String> {
    let mut keys: Vec<String> = problems
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["drops"] == true)
        .map(|p| p["path"].as_str().filter(|k| !k.is_empty()).unwrap_or("a whole source").to_owned())
        .collect();
    keys.dedup();
    keys
}

fn storage(report: &Value) -> Option<(String, String)> {
    report.get("mode")?;
    Some((word(report, "/mode"), word(report, "/why")))
}

/// What chrony says of itself, as comma-separated values.
async fn tracking() -> String {
    tool::output("/usr/bin/chronyc", &["-n", "-c", "tracking"], "")
        .await
        .unwrap_or_default()
}

/// The last value is the leap status, which is `Not synchronised` until there is a source to follow.
fn clock(tracking: &str, guessed: bool) -> Clock {
    let leap = tracking.trim().rsplit(',').next().unwrap_or_default();
    match (["Normal", "Insert second", "Delete second"].contains(&leap), guessed) {
        (true, _) => Clock::Follows,
        (false, true) => Clock::Guessed,
        (false, false) => Clock::Kept,
    }
}

/// eMMC and SD say how much of their life is used up, in tenths (JESD84-B51, `DEVICE_LIFE_TIME_EST`).
fn wear(block: &Path) -> Option<(String, u8)> {
    let disks = std::fs::read_dir(block).ok()?.flatten();
    let worn = disks.filter_map(|disk| {
        let text = file::read_text(disk.path().join("device/life_time"), 64).ok()?;
        Some((disk.file_name().to_string_lossy().into_owned(), life_used(&text)?))
    });
    worn.max_by_key(|(_, used)| *used)
}

/// `0x01 0x02`: of two kinds of memory; 1 is up to 10 %, 11 is more than was promised, 0 is not said.
fn life_used(text: &str) -> Option<u8> {
    let tenths = text
        .split_ascii_whitespace()
        .filter_map(|n| u8::from_str_radix(n.trim_start_matches("0x"), 16).ok());
    let most = tenths.filter(|t| (1..=11).contains(t)).max()?;
    Some(most * 10)
}

fn file_systems(ext4: &Path) -> Vec<(String, u64)> {
    let mounted = std::fs::read_dir(ext4).into_iter().flatten().flatten();
    let errors = mounted.filter_map(|fs| {
        let text = file::read_text(fs.path().join("errors_count"), 64).ok()?;
        let count = text.trim().parse().ok().filter(|count| *count > 0)?;
        Some((fs.file_name().to_string_lossy().into_owned(), count))
    });
    let mut errors: Vec<_> = errors.collect();
    errors.sort();
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slots() {
        assert_eq!(slot(&Value::Null), None);
        let report = json!({ "slot": "a", "state": "good", "why": "good", "rolled_back": null });
        assert_eq!(slot(&report).unwrap().left, None);
        let report = json!({ "slot": "a", "state": "good", "rolled_back": {
            "from": { "slot": "b", "version": "2", "root_hash": "" }, "to": { "slot": "a", "version": "1", "root_hash": "" },
            "failed": { "check": "kubelet", "why": "exited with 1" }, "lines": [], "starts": 2 } });
        let left = slot(&report).unwrap().left.unwrap();
        assert_eq!(
            (left.from.as_str(), left.to, left.why.as_str()),
            ("2", ("a".into(), "1".into()), "kubelet: exited with 1")
        );
    }

    #[test]
    fn only_keys_of_what_was_left_out() {
        let problems = json!([
            { "path": "skerry.k3s_args", "what": "--tokn=secret", "drops": true },
            { "path": "skerry.k3s_args", "what": "--again", "drops": true },
            { "path": "hostname", "what": "odd", "drops": false },
            { "path": "", "what": "not YAML", "drops": true },
        ]);
        assert_eq!(dropped(&problems), ["skerry.k3s_args", "a whole source"]);
        assert_eq!(dropped(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn clocks() {
        let synced = "C0A80001,192.168.0.1,3,1785000000.1,0.00001,0.00002,0.00003,1.2,0.0,0.1,0.02,0.001,64.4,Normal\n";
        for (tracking, guessed, expected) in [
            (synced, false, Clock::Follows),
            (synced, true, Clock::Follows),
            ("506 Cannot talk to daemon\n", true, Clock::Guessed),
            ("0,,0,0,0,0,0,0,0,0,0,0,0,Not synchronised\n", false, Clock::Kept),
            ("", true, Clock::Guessed),
        ] {
            assert_eq!(clock(tracking, guessed), expected, "{tracking}");
        }
    }

    #[test]
    fn flash() {
        for (text, used) in [
            ("0x01 0x02\n", Some(20)),
            ("0x00 0x00\n", None),
            ("0x0b 0x01\n", Some(110)),
            ("0xff 0x03\n", Some(30)),
            ("", None),
        ] {
            assert_eq!(life_used(text), used, "{text:?}");
        }
        let root = std::env::temp_dir().join(format!("skerry-conditions-{}", std::process::id()));
        for (path, text) in [
            ("block/mmcblk0/device/life_time", "0x02 0x03\n"),
            ("block/mmcblk1/device/life_time", "0x09 0x01\n"),
            ("block/sda/device/model", "x\n"),
            ("ext4/vda7/errors_count", "3\n"),
            ("ext4/vda1/errors_count", "0\n"),
            ("ext4/features/lazy", "\n"),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            file::replace(path, text.as_bytes(), 0o644).unwrap();
        }
        assert_eq!(wear(&root.join("block")), Some(("mmcblk1".into(), 90)));
        assert_eq!(file_systems(&root.join("ext4")), [("vda7".to_owned(), 3)]);
        assert_eq!((wear(&root.join("none")), file_systems(&root.join("none"))), (None, vec![]));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
