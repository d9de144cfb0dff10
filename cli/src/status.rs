//! `skerry status` and `skerry services`: what runs, since when, what waits for what, and why.

use crate::machine;
use serde_json::{Value, json};
use skerry_control::reply::{Machine, State, UnitStatus};
use std::fmt::Write;
use std::process::ExitCode;

/// Small facts that other programs left in `/run/skerry`; `Null` where there are none or they may not be read.
#[derive(Debug, Default)]
struct Facts {
    node: Value,
    network: Value,
    wifi: Value,
    storage: Value,
    problems: Value,
    manifests: Value,
    release: Value,
    slots: Value,
}

fn look() -> Facts {
    let read = |path: &str| {
        std::fs::read(path)
            .ok()
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or(Value::Null)
    };
    Facts {
        node: read("/run/skerry/facts.json"),
        network: read("/run/skerry/network-state.json"),
        wifi: read("/run/skerry/wifi-state.json"),
        storage: read("/run/skerry/storage.json"),
        problems: read("/run/skerry/problems.json"),
        manifests: read("/run/skerry/kube/manifests.json"),
        release: read("/usr/share/skerry/release.json"),
        slots: read("/run/skerry/slots.json"),
    }
}

/// Prints how the node is. Exit status 0 even when it is not well: the question was answered.
pub fn status(as_json: bool) -> anyhow::Result<ExitCode> {
    let (machine, units) = machine::status()?;
    let facts = look();
    if as_json {
        println!("{:#}", document(&machine, &units, &facts));
    } else {
        print!("{}", page(&machine, &units, &facts));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints every unit.
pub fn services(as_json: bool) -> anyhow::Result<ExitCode> {
    let (machine, units) = machine::status()?;
    if as_json {
        println!("{:#}", Value::Array(units.iter().map(unit_json).collect()));
    } else {
        print!("{}", table(&machine, &units.iter().collect::<Vec<_>>()));
    }
    Ok(ExitCode::SUCCESS)
}

fn document(machine: &Machine, units: &[UnitStatus], f: &Facts) -> Value {
    json!({
        "state": machine.state,
        "uptime_ms": machine.uptime,
        "plan": machine.plan,
        "notes": machine.notes,
        "release": f.release,
        "node": f.node,
        "storage": f.storage,
        "network": f.network,
        "wifi": f.wifi,
        "problems": f.problems,
        "manifests": f.manifests.get("files"),
        "slots": f.slots,
        "units": units.iter().map(unit_json).collect::<Vec<_>>(),
    })
}

fn unit_json(u: &UnitStatus) -> Value {
    json!({
        "name": u.name, "title": u.title, "state": u.state.word(), "kind": if u.one_shot { "one-shot" } else { "service" },
        "pid": u.pid, "since_ms": u.since, "restarts": u.restarts, "waits_for": u.waits_for, "why": u.why, "first_up_ms": u.first_up,
    })
}

fn page(machine: &Machine, units: &[UnitStatus], f: &Facts) -> String {
    let mut out = String::new();
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let _ = writeln!(
        out,
        "Skerry {} on {}: {}, up {}",
        text(&f.release, "version"),
        text(&f.node, "node_name"),
        machine.state,
        span(machine.uptime)
    );
    let mode = text(&f.storage, "mode");
    let why = f.storage.get("why").and_then(Value::as_str).filter(|w| !w.is_empty());
    let _ = writeln!(
        out,
        "  state      {}",
        match (mode.as_str(), why) {
            ("disk", _) => format!("on disk ({})", text(&f.storage, "device")),
            ("live", _) => "in memory: nothing is kept (live)".to_owned(),
            (other, Some(why)) => format!("{other}: {why}"),
            (other, None) => other.to_owned(),
        }
    );
    out.push_str(&slots(&f.slots));
    // PID 1 knows that it fell back; `setup plan` knows that it chose the last good configuration by itself.
    let plan = match (machine.plan.as_str(), f.node.get("plan").and_then(Value::as_str)) {
        ("config", Some(chosen)) => chosen,
        (plan, _) => plan,
    };
    if plan != "config" {
        let _ = writeln!(out, "  config     the {plan} plan runs, not the present configuration");
    }
    for link in f.network.as_array().into_iter().flatten() {
        let addresses: Vec<String> = link
            .get("addresses")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|a| format!("{} ({})", text(a, "address"), text(a, "origin")))
            .collect();
        let _ = writeln!(
            out,
            "  {:<10} {}",
            text(link, "name"),
            if addresses.is_empty() {
                "no address".to_owned()
            } else {
                addresses.join(", ")
            }
        );
    }
    for says in f
        .wifi
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|radio| radio.get("says")?.as_str())
    {
        let _ = writeln!(out, "  waits      {says}");
    }
    let all: Vec<&Value> = f.problems.as_array().into_iter().flatten().collect();
    let (notes, problems): (Vec<&Value>, Vec<&Value>) = all.into_iter().partition(|p| text(p, "severity") == "note");
    let problems = problems.len();
    if problems > 0 {
        let _ = writeln!(
            out,
            "  problems   {problems} in the configuration; `skerry config check` lists them"
        );
    }
    // What does not come with the system, and nobody said is not wanted.
    for note in notes.iter().filter(|n| text(n, "path") == "skerry.distribution") {
        let _ = writeln!(out, "  without    {}", text(note, "what"));
        let _ = writeln!(out, "             {}", text(note, "done_instead"));
    }
    out.push_str(&manifests(&f.manifests));
    for note in &machine.notes {
        let _ = writeln!(out, "  note       {note}");
    }
    let rows: Vec<&UnitStatus> = units.iter().filter(|u| !u.one_shot || !matches!(u.state, State::Done)).collect();
    out.push('\n');
    out.push_str(&table(machine, &rows));
    let done = units.len() - rows.len();
    if done > 0 {
        let _ = writeln!(out, "and {done} steps that are done (`skerry services`)");
    }
    out
}

/// The owner's manifests that could not be applied, and why.
fn manifests(report: &Value) -> String {
    const SHOWN: usize = 5;
    let files = report.get("files").and_then(Value::as_array).into_iter().flatten();
    let failed: Vec<(&str, &str)> = files
        .filter_map(|f| Some((f.get("file")?.as_str()?, f.get("problem")?.as_str()?)))
        .collect();
    let mut out = String::new();
    for (file, why) in failed.iter().take(SHOWN) {
        let why: String = why.lines().next().unwrap_or_default().chars().take(200).collect();
        let _ = writeln!(out, "  manifest   {file}: {why}");
    }
    if failed.len() > SHOWN {
        let _ = writeln!(out, "             and {} more (`skerry logs kube-agent`)", failed.len() - SHOWN);
    }
    out
}

/// Which slot runs, and how the last trial ended if it ended badly.
fn slots(report: &Value) -> String {
    let text = |key: &str| report.get(key).and_then(Value::as_str);
    let (Some(slot), Some(state)) = (text("slot"), text("state")) else {
        return String::new();
    };
    let mut out = format!("  slot       {slot}, {state}\n");
    let last = report.get("rolled_back").cloned().unwrap_or_default();
    if let Ok(last) = serde_json::from_value::<skerry_upgrade::trial::RolledBack>(last) {
        let _ = writeln!(out, "  rollback   {last}");
        for line in last.lines.iter().rev().take(3).rev() {
            let _ = writeln!(out, "             | {line}");
        }
    }
    out
}

fn table(machine: &Machine, units: &[&UnitStatus]) -> String {
    let mut out = String::new();
    let name = units.iter().map(|u| u.name.len()).max().unwrap_or(0).max(7);
    let _ = writeln!(out, "{:<name$}  {:<8}  {:>6}  {:>8}  WHAT", "SERVICE", "STATE", "PID", "FOR");
    for u in units {
        let pid = u.pid.map_or_else(|| "-".to_owned(), |p| p.to_string());
        let age = span(machine.uptime.saturating_sub(u.since));
        let mut what = u.title.clone();
        if !u.waits_for.is_empty() {
            let _ = write!(what, "; waits for {}", u.waits_for.join(", "));
        }
        if !u.why.is_empty() {
            let _ = write!(what, "; {}", u.why);
        }
        if u.restarts > 0 {
            let _ = write!(what, "; restarted {} times", u.restarts);
        }
        let _ = writeln!(out, "{:<name$}  {:<8}  {pid:>6}  {age:>8}  {what}", u.name, u.state.word());
    }
    out
}

/// A span of milliseconds in the two largest units a person wants.
fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86400, s % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, state: State) -> UnitStatus {
        UnitStatus {
            name: name.into(),
            title: format!("The {name}"),
            state,
            one_shot: false,
            pid: Some(42),
            since: 1000,
            restarts: 0,
            waits_for: vec![],
            why: String::new(),
            first_up: None,
        }
    }

    #[test]
    fn spans() {
        for (ms, text) in [
            (0, "0s"),
            (59_999, "59s"),
            (61_000, "1m01s"),
            (3_600_000, "1h00m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn the_page_says_what_waits_and_why() {
        let machine = Machine {
            state: "degraded".into(),
            uptime: 61_000,
            plan: "last-good".into(),
            notes: vec!["config.yaml has no key".into()],
        };
        let mut waiting = unit("kubelet", State::Waiting);
        waiting.waits_for = vec!["containerd".into()];
        waiting.pid = None;
        let mut failed = unit("containerd", State::Backoff);
        failed.why = "exited with 1".into();
        failed.restarts = 3;
        let mut done = unit("apply-boot", State::Done);
        done.one_shot = true;
        let facts = Facts {
            node: json!({"node_name": "rock"}),
            release: json!({"version": "0.1.0"}),
            storage: json!({"mode": "live"}),
            network: json!([{"name": "eth0", "addresses": [{"address": "10.0.2.15/24", "origin": "dhcp4"}]}]),
            problems: json!([{}, {"severity": "note", "path": "skerry.distribution", "what": "no x comes", "done_instead": "install one"}]),
            manifests: json!({"files": [{"file": "/m/good.yaml", "state": "applied", "objects": 1}, {"file": "/m/bad.yaml", "state": "failed", "problem": "no YAML\nat all"}]}),
            wifi: json!([{"device": "wlan0", "network": null, "says": "wifi wlan0: looking for home"}, {"device": "wlan1", "network": "x", "says": null}]),
            slots: json!({"slot": "a", "state": "good", "rolled_back": {
                "from": {"slot": "b", "version": "2", "root_hash": ""}, "to": {"slot": "a", "version": "1", "root_hash": ""},
                "failed": {"check": "sshd", "why": "it is not up"}, "lines": ["no key"], "starts": 1,
            }}),
        };
        assert_eq!(
            page(&machine, &[waiting, failed, done], &facts),
            "Skerry 0.1.0 on rock: degraded, up 1m01s\n  \
               state      in memory: nothing is kept (live)\n  \
               slot       a, good\n  \
               rollback   went back from 2 (slot b) to 1 (slot a): sshd: it is not up\n             | no key\n  \
               config     the last-good plan runs, not the present configuration\n  \
               eth0       10.0.2.15/24 (dhcp4)\n  \
               waits      wifi wlan0: looking for home\n  \
               problems   1 in the configuration; `skerry config check` lists them\n  \
               without    no x comes\n             install one\n  \
               manifest   /m/bad.yaml: no YAML\n  \
               note       config.yaml has no key\n\n\
             SERVICE     STATE        PID       FOR  WHAT\n\
             kubelet     waiting        -     1m00s  The kubelet; waits for containerd\n\
             containerd  backoff       42     1m00s  The containerd; exited with 1; restarted 3 times\n\
             and 1 steps that are done (`skerry services`)\n"
        );
    }
}
