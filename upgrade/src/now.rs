//! How the running system is, at one look: PID 1's units, the routes, what became of the configuration.

use crate::health::{Baseline, Look, Plan, Unit};
use anyhow::{Context, Result, bail};
use skerry_control::reply::{Machine, Reply, State, UnitStatus};
use skerry_control::request::Request;
use skerry_sys::file;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest that PID 1 takes to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Units that say nothing of this system: what says or proves that the rest is up, and what waits for others' servers, whose silence
/// must not undo an update.
const NOT_ASKED: [&str; 6] = ["health", "confirm", "banner", "banner-ready", "ssh-keys", "clock"];

/// Our own folder on the data partition.
const DATA: &str = "/var/lib/skerry";
/// With less room than this the partition is full, in bytes; what ext4 keeps back for root counts as room, and so does our reserve.
const ROOM: u64 = 4 << 20;

/// Asks and reads.
pub fn look() -> Result<Look> {
    let (machine, units) = status()?;
    Ok(Look {
        has_route: has_route(
            &file::read_text("/proc/net/route", 1 << 20).unwrap_or_default(),
            &file::read_text("/proc/net/ipv6_route", 1 << 20).unwrap_or_default(),
        ),
        dropped: dropped(&file::read_text("/run/skerry/problems.json", 1 << 22).unwrap_or_default()),
        has_room: file::space(Path::new(DATA)).is_ok_and(|space| has_room(space.free, has_reserve())),
        ..of(&machine, &units)
    })
}

fn has_reserve() -> bool {
    Path::new(skerry_overlay::STATE).join(skerry_overlay::RESERVE).exists()
}

/// A disk whose reserve was given up lives on it, and is full all the same.
fn has_room(free: u64, has_reserve: bool) -> bool {
    let reserve = if has_reserve { skerry_overlay::RESERVE_BYTES } else { 0 };
    free + reserve >= ROOM + skerry_overlay::RESERVE_BYTES
}

/// What is up now, to measure another system by.
pub fn baseline() -> Result<Baseline> {
    let look = look()?;
    Ok(Baseline {
        plan: look.plan.unwrap_or(Plan::BuiltIn),
        up: look.units.into_iter().filter(|u| u.is_up).map(|u| u.name).collect(),
        has_route: look.has_route,
        dropped: look.dropped,
        has_room: look.has_room,
    })
}

fn status() -> Result<(Machine, Vec<UnitStatus>)> {
    let doing = "asking PID 1 how the system is";
    let mut stream = UnixStream::connect(skerry_control::SOCKET).context(doing)?;
    stream.set_read_timeout(Some(PATIENCE)).context(doing)?;
    stream.set_write_timeout(Some(PATIENCE)).context(doing)?;
    stream.write_all(Request::Status.encode().as_bytes()).context(doing)?;
    stream.shutdown(std::net::Shutdown::Write).context(doing)?;
    let mut answer = vec![];
    let most = u64::try_from(skerry_control::record::MAX_BYTES).unwrap_or(u64::MAX);
    stream.take(most).read_to_end(&mut answer).context(doing)?;
    match Reply::decode(&answer).context(doing)? {
        Reply::Status(machine, units) => Ok((machine, units)),
        other => bail!("{doing}: it answered {other:?}"),
    }
}

fn of(machine: &Machine, units: &[UnitStatus]) -> Look {
    let is_planned = units
        .iter()
        .any(|u| !["storage", "plan", "plan-last-good", "health", "logd"].contains(&u.name.as_str()));
    let asked = units
        .iter()
        .filter(|u| !NOT_ASKED.contains(&u.name.as_str()) && !u.name.starts_with("getty-"));
    Look {
        plan: is_planned.then(|| Plan::from_word(&machine.plan)),
        units: asked
            .map(|u| Unit {
                name: u.name.clone(),
                is_up: is_up(u),
                waits: matches!(u.state, State::Waiting),
                restarts: u.restarts,
                why: said(u),
            })
            .collect(),
        ..Look::default()
    }
}

/// A one-shot that runs every so often is up between its runs too: it has been done once.
fn is_up(unit: &UnitStatus) -> bool {
    match unit.state {
        State::Running | State::Done => true,
        State::Starting | State::Waiting => unit.one_shot && unit.first_up.is_some(),
        State::Backoff | State::Stopping | State::Stopped | State::Failed => false,
    }
}

fn said(unit: &UnitStatus) -> String {
    let state = match unit.state {
        State::Waiting if !unit.waits_for.is_empty() => format!("waiting for {}", unit.waits_for.join(", ")),
        state => state.word().to_owned(),
    };
    if unit.why.is_empty() {
        state
    } else {
        format!("{state}: {}", unit.why)
    }
}

/// Whether there is a default route (proc(5): columns Destination and Mask of `route`; `ipv6_route` begins with destination and
/// prefix length; flag 0x200 is a route that rejects).
fn has_route(v4: &str, v6: &str) -> bool {
    let v4 = v4.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000")
    });
    let v6 = v6.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = words.get(8).and_then(|f| u32::from_str_radix(f, 16).ok()).unwrap_or(u32::MAX);
        words.first().is_some_and(|to| to.bytes().all(|b| b == b'0')) && words.get(1) == Some(&"00") && flags & 0x200 == 0
    });
    v4 || v6
}

fn dropped(problems: &str) -> usize {
    let value: serde_json::Value = serde_json::from_str(problems).unwrap_or_default();
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .filter(|p| p.get("drops").and_then(serde_json::Value::as_bool) == Some(true))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_lives_on_its_reserve_is_full() {
        for (mib, reserve, room) in [(0, true, false), (5, true, true), (64, false, false), (70, false, true)] {
            assert_eq!(has_room(mib << 20, reserve), room, "{mib} MiB, reserve {reserve}");
        }
    }

    fn unit(name: &str, state: State, one_shot: bool, first_up: Option<u64>) -> UnitStatus {
        UnitStatus {
            name: name.into(),
            title: String::new(),
            state,
            one_shot,
            pid: None,
            since: 0,
            restarts: 2,
            waits_for: vec![],
            why: "exited with 1".into(),
            first_up,
        }
    }

    #[test]
    fn units() {
        let machine = Machine {
            plan: "last-good".into(),
            ..Machine::default()
        };
        let all = [
            unit("storage", State::Done, true, Some(1)),
            unit("sshd", State::Running, false, Some(1)),
            unit("clock-save", State::Waiting, true, Some(1)),
            unit("netd", State::Backoff, false, Some(1)),
            unit("getty-tty1", State::Backoff, false, None),
            unit("health", State::Starting, true, None),
        ];
        let look = of(&machine, &all);
        assert_eq!(look.plan, Some(Plan::LastGood));
        let up: Vec<_> = look.units.iter().map(|u| (u.name.as_str(), u.is_up)).collect();
        assert_eq!(up, [("storage", true), ("sshd", true), ("clock-save", true), ("netd", false)]);
        assert_eq!(look.units[3].why, "backoff: exited with 1");
        assert_eq!(of(&machine, &all[..1]).plan, None, "not planned yet");
    }

    #[test]
    fn routes() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
        assert!(has_route(
            &format!("{head}eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"),
            ""
        ));
        assert!(!has_route(
            &format!("{head}eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"),
            ""
        ));
        let zeros = "0".repeat(32);
        let v6 = |flags: &str| format!("{zeros} 00 {zeros} 00 fe80 00000400 00000001 00000000 {flags} eth0\n");
        assert!(has_route(head, &v6("00000003")));
        assert!(!has_route(head, &v6("00200200")), "lo's rejecting one");
    }

    #[test]
    fn keys_that_are_not_understood() {
        assert_eq!(dropped("[{\"drops\":true},{\"drops\":false},{}]"), 1);
        assert_eq!(dropped(""), 0);
    }
}
