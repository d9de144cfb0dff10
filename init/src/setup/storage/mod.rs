//! Storage: finds the data, makes sure of it, mounts it, and stacks the running root on it.
//!
//! ```text
//! find, on the disk that was booted or by label → check → mount → is the tree ours? → grow → plan (crate overlay) → perform
//!      none: live, state in memory          any trouble: degraded, state in memory, with a copy of who the machine is
//! ```
//!
//! It never formats. Whatever happens, there is a state to write to when it ends, and `/run/skerry/storage.json` says which.

mod check;
mod find;
mod grow;
mod obtain;
mod report;
pub mod reserve;
mod reset;
mod stack;

use anyhow::{Context, Result};
use skerry_sys::kmsg::Console;
use skerry_sys::{file, mount};
use std::path::Path;

/// Checks and mounts the data partition, or state in memory, and what persists.
pub fn run() -> Result<()> {
    let console = Console::open();
    let say = |line: &str| {
        console.line(&format!("storage: {line}"));
        eprintln!("{line}");
    };
    let mounted = mount::mounted().context("looking at what is mounted")?;
    if mounted.iter().any(|m| m.target == Path::new(skerry_overlay::STATE)) {
        // Started again: the state is as it was, and so is its report; but the disk may have become full.
        let mut problems = reserve::give_up_if_needed(&say);
        problems.extend(stack::stack(&mounted));
        tell(&problems, say);
        return Ok(());
    }
    let found = find::find(&file::read_text("/proc/cmdline", 1 << 16).unwrap_or_default(), &say)?;
    let is_on_booted_disk = matches!(found, find::Found::Booted(_));
    let mut report = obtain::obtain(found, &say)?;
    if report.is_on_disk() {
        report
            .problems
            .extend(reset::finish_if_ordered(Path::new(skerry_overlay::STATE), &say));
    }
    if report.is_on_disk() && is_on_booted_disk {
        report.problems.extend(grow::within_limit(&say));
    }
    if report.is_on_disk() {
        report.problems.extend(reserve::give_up_if_needed(&say));
    }
    report.problems.extend(stack::stack(&mounted));
    if report.is_on_disk() {
        report.problems.extend(reserve::make_if_there_is_room());
    }
    tell(&report.problems, say);
    tell(&report.headline(), say);
    report.write().context("writing the report of this step")
}

/// Grows data; run by [`run`], in a process of its own.
pub fn grow() -> Result<()> {
    grow::run()
}

/// Run every minute: a disk that became full while the machine runs gets the reserve back, so that the datastore can write.
pub fn guard() {
    let console = Console::open();
    tell(
        &reserve::give_up_if_needed(&|line: &str| console.line(&format!("storage: {line}"))),
        |line| console.line(&format!("storage: {line}")),
    );
}

fn tell(lines: &[String], say: impl Fn(&str)) {
    for line in lines {
        say(line);
    }
}
