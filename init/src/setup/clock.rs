//! The clock: never before this release was made or the machine last ran; and, where it was, a bounded wait for the network's time.

use crate::root::Root;
use anyhow::{Context, Result, bail};
use skerry_sys::machine;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 at which the machine was last seen running.
const SAVED: &str = "/var/lib/skerry/clock";
/// There if the clock of this boot had to be set by guess.
const GUESSED: &str = "/run/skerry/clock-guessed";
/// How long a boot waits for the network's time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it says that it waits.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// `setup clock floor|wait|save`.
pub fn run(args: &[String]) -> Result<()> {
    let root = Root::system();
    match args {
        [word] if word == "floor" => floor(&root),
        [word] if word == "wait" => wait(&root),
        [word] if word == "save" => save(&root),
        _ => bail!("reading the arguments: expected `setup clock floor`, `wait` or `save`"),
    }
}

/// Sets the clock to its floor, if it is below.
pub fn floor(root: &Root) -> Result<()> {
    let built = crate::facts::Release::read(root).built;
    let saved = root.word(SAVED).and_then(|t| t.parse().ok()).unwrap_or(0);
    let Some(to) = floor_of(seconds(machine::clock_now()), built, saved) else {
        return Ok(());
    };
    root.write(GUESSED, &format!("{to}\n"), 0o644)?;
    eprintln!("the clock was before the time this machine last ran, and is set to that; the network's time will correct it");
    if root.is_system() {
        machine::clock_set(UNIX_EPOCH + Duration::from_secs(to))?;
    }
    Ok(())
}

/// What the clock must be set to; none if it can be right.
fn floor_of(now: u64, built: u64, saved: u64) -> Option<u64> {
    let floor = built.max(saved);
    (now < floor).then_some(floor)
}

/// Certificates that are made with a wrong clock are wrong for ever: waits until the clock is known, but not without end.
fn wait(root: &Root) -> Result<()> {
    if !root.at(GUESSED).exists() {
        return Ok(());
    }
    let start = Instant::now();
    let mut said = 0;
    while start.elapsed() < PATIENCE {
        if is_synchronised(&tracking()) {
            let _ = std::fs::remove_file(root.at(GUESSED));
            return Ok(());
        }
        let waited = start.elapsed();
        if waited >= SAY_EVERY * (said + 1) {
            said += 1;
            eprintln!(
                "waiting for a time server: this machine has no clock of its own ({} of {} s)",
                waited.as_secs(),
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!(
        "asking for the time: no time server answered in {} s; going on with the time at which this machine last ran",
        PATIENCE.as_secs()
    )
}

/// What chrony says of itself, as comma-separated values.
fn tracking() -> String {
    let out = Command::new("/usr/bin/chronyc").args(["-n", "-c", "tracking"]).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}

/// The last value is the leap status, which is `Not synchronised` until there is a source to follow.
fn is_synchronised(tracking: &str) -> bool {
    tracking
        .trim()
        .rsplit(',')
        .next()
        .is_some_and(|leap| ["Normal", "Insert second", "Delete second"].contains(&leap))
}

/// Saves the time as the next boot's floor.
fn save(root: &Root) -> Result<()> {
    root.write(SAVED, &format!("{}\n", seconds(machine::clock_now())), 0o644)
        .context("saving the time")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn floors() {
        for (now, built, saved, expected) in [(10, 5, 0, None), (3, 5, 0, Some(5)), (7, 5, 9, Some(9)), (9, 5, 9, None)] {
            assert_eq!(floor_of(now, built, saved), expected, "{now} {built} {saved}");
        }
    }

    #[test]
    fn what_chrony_says() {
        let synced = "C0A80001,192.168.0.1,3,1785000000.1,0.00001,0.00002,0.00003,1.2,0.0,0.1,0.02,0.001,64.4,Normal\n";
        assert!(is_synchronised(synced));
        assert!(!is_synchronised(&synced.replace("Normal", "Not synchronised")));
        assert!(!is_synchronised("506 Cannot talk to daemon\n"));
        assert!(!is_synchronised(""));
    }

    #[test]
    fn a_saved_future_is_the_floor() {
        let root = scratch("clock");
        save(&root).unwrap();
        floor(&root).unwrap();
        assert!(!root.at(GUESSED).exists());
        root.write(SAVED, "99999999999\n", 0o644).unwrap();
        floor(&root).unwrap();
        assert!(root.at(GUESSED).exists());
    }
}
