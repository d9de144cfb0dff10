//! `make bench`: our figures beside others', in one run; the table comes last. `ONLY=install,disk` for some of it, `N` rounds, `NODES`
//! rounds of those that run Kubernetes.

#![allow(clippy::print_stdout, reason = "printing figures is this program's job")]

use anyhow::{Context, Result};
use skerry_tests::bench::others::{self, Other};
use skerry_tests::bench::{PARTS, Row, chosen, cluster, disk, install, median, ours, table};
use skerry_tests::cases::Bench;
use skerry_tests::machine::Lab;
use skerry_tests::machine::release;
use skerry_tests::suite::{space, step, tiers};
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        println!("bench: our figures beside others', in one run; the table comes last.\n\nIt is told by the environment:");
        println!("  ONLY=PART,…  some of it (default: all)\n  N=5          rounds\n  NODES=3      rounds of node and worker\n\nParts:");
        for (name, what) in PARTS {
            println!("  {name:<8} {what}");
        }
        return ExitCode::SUCCESS;
    }
    let rounds = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let nodes = std::env::var("NODES").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let parts = match chosen(std::env::var("ONLY").ok().as_deref()) {
        Ok(parts) => parts,
        Err(word) => {
            eprintln!("bench: ONLY={word} is no part; these are:");
            for (name, what) in PARTS {
                eprintln!("  {name:<8} {what}");
            }
            return ExitCode::from(2);
        }
    };
    match run(&parts, rounds, nodes) {
        Ok((rows, failed)) => {
            println!("\n{}", table(&rows));
            for (part, why) in &failed {
                eprintln!("bench: {part}: {why:#}");
            }
            if failed.is_empty() {
                space::tidy(&release::target().join("machine/bench"));
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// What of several machines could not be measured, and why.
type Failed = Vec<(&'static str, anyhow::Error)>;

fn run(parts: &[&str], rounds: usize, nodes: usize) -> Result<(Vec<Row>, Failed)> {
    let lab = Lab::open()?.within("bench");
    let does = |part: &str| parts.contains(&part);
    let mut rows = vec![];
    if does("install") {
        println!("The same bytes installed, {rounds} rounds in turns:");
        rows.extend(install::rows(&lab, rounds, &mut |line| println!("  {line}"))?);
    }
    if does("size") {
        rows.extend(disk::sizes(&lab.release));
    }
    if does("config") {
        rows.push(config()?);
    }
    if !["pid1", "disk", "node", "worker", "servers", "tunnels"].into_iter().any(does) {
        return Ok((rows, vec![]));
    }
    let hello = release::hello()?;
    let fake = tiers::make_fake(|line| println!("  {line}"))?;
    let bench = Bench::new(lab, hello, fake);
    if does("pid1") {
        println!(
            "PID 1's start → DHCP lease + sshd + first service, {rounds} rounds in turns ({:?}):",
            bench.lab.accel
        );
        rows.splice(0..0, pid1(&bench, rounds)?);
    }
    if does("disk") {
        println!(
            "Boots of a flashed disk, {rounds} times by BIOS and by UEFI ({:?}):",
            bench.lab.accel
        );
        rows.extend(disk::rows(&bench, rounds, &mut |line| println!("  {line}"))?);
    }
    if does("node") && nodes > 0 {
        println!("Power-on → a pod's log, {nodes} times:");
        rows.extend(node(&bench, nodes)?);
    }
    let tell = &mut |line: &str| println!("  {line}");
    let mut failed = vec![];
    // An hour's figures are not lost by the last one.
    let mut take = |part, done: Result<Vec<Row>>| match done {
        Ok(more) => rows.extend(more),
        Err(why) => failed.push((part, why)),
    };
    if does("worker") {
        println!("A worker beside a server:");
        take("worker", cluster::worker(&bench, nodes, tell));
    }
    if does("servers") {
        println!("Three servers:");
        take("servers", cluster::servers(&bench, tell));
    }
    if does("tunnels") {
        println!("Between two machines:");
        take("tunnels", cluster::tunnels(&bench, tell));
    }
    Ok((rows, failed))
}

fn pid1(bench: &Bench, rounds: usize) -> Result<Vec<Row>> {
    let initrd = others::initrd(&bench.lab, &bench.hello)?;
    let (mut floor, mut busybox, mut own) = (vec![], vec![], vec![]);
    for round in 1..=rounds {
        floor.push(others::boot(&bench.lab, &initrd, Other::Floor).context("booting the floor")?.0);
        busybox.push(others::boot(&bench.lab, &initrd, Other::Busybox).context("booting busybox init")?.0);
        own.push(ours::boot(bench).context("booting ours")?);
        let last = |v: &[f64]| v.last().copied().unwrap_or(f64::NAN);
        let ours = own.last().map_or(f64::NAN, |o| o.later);
        println!(
            "  {round}: floor {:.3} s, busybox {:.3} s, ours {ours:.3} s",
            last(&floor),
            last(&busybox)
        );
    }
    if let Some(last) = own.last() {
        let words: Vec<String> = last.units.iter().map(|(name, at)| format!("{name} {at:.2}")).collect();
        println!("  ours, the last time, up after: {}", words.join(", "));
    }
    let exec: Vec<f64> = own.iter().map(|o| o.later).collect();
    let first: Vec<f64> = own.iter().map(|o| o.first).collect();
    let ratios: Vec<f64> = exec.iter().zip(&floor).map(|(o, f)| o / f).collect();
    let of = |f: fn(&ours::Boot) -> f64| median(&own.iter().map(f).collect::<Vec<_>>()) / 1024.0;
    Ok(vec![
        Row::shown(
            "PID 1 → lease + sshd + service: static C floor",
            format!("{:.3} s", median(&floor)),
            "(the measure)",
        ),
        Row::shown(
            "  busybox init + udhcpc",
            format!("{:.3} s", median(&busybox)),
            &format!("{:.1} × floor", median(&busybox) / median(&floor)),
        ),
        Row::shown(
            "  skerry",
            format!("{:.3} s", median(&exec)),
            &format!("a first boot, which makes keys and state: {:.3} s", median(&first)),
        ),
        Row::limited("  skerry, beside the floor (paired)", median(&ratios), "× floor", 2.5),
        Row::limited("resident, idle: PID 1", of(|o| o.pid1_kib), "MiB", 1.5),
        Row::limited("resident, idle: all our programs", of(|o| o.all_kib), "MiB", 6.0),
    ])
}

/// Runs the config room's own benchmark, which prints `… N ms` last.
fn config() -> Result<Row> {
    let mut command = release::cargo();
    command.args(["run", "--quiet", "--release", "-p", "skerry-config", "--example", "bench"]);
    let ended = step::run("bench-config", &mut command, |line| println!("  {line}"))?;
    let ms = ended
        .output
        .split_whitespace()
        .zip(ended.output.split_whitespace().skip(1))
        .filter(|(_, unit)| unit.starts_with("ms"));
    let last = ms.filter_map(|(n, _)| n.parse::<f64>().ok()).last();
    let value = last.with_context(|| format!("reading the config benchmark:\n{}", ended.last_lines(10)))?;
    Ok(Row::limited("config: 200 lines read, merged and planned", value, "ms", 10.0))
}

fn node(bench: &Bench, times: usize) -> Result<Vec<Row>> {
    let mut runs = vec![];
    for round in 1..=times {
        let (at, memory) = ours::node(&bench.lab, &bench.hello, |_, _| {})?;
        println!(
            "  {round}: API {:.1} s, Ready {:.1} s, pod's log {:.1} s, {memory} MiB",
            at.api, at.ready, at.pod
        );
        runs.push((at, memory));
    }
    let of = |f: fn(&skerry_tests::node::Milestones) -> f32| median(&runs.iter().map(|(m, _)| f64::from(f(m))).collect::<Vec<_>>());
    let memory = median(
        &runs
            .iter()
            .map(|(_, m)| f64::from(u32::try_from(*m).unwrap_or(u32::MAX)))
            .collect::<Vec<_>>(),
    );
    Ok(vec![
        Row::shown("power-on → API ready", format!("{:.1} s", of(|m| m.api)), "prototype 33"),
        Row::shown("power-on → node Ready", format!("{:.1} s", of(|m| m.ready)), "prototype 36–41"),
        Row::shown("power-on → pod's log read", format!("{:.1} s", of(|m| m.pod)), "prototype 62–65"),
        Row::shown(
            "memory of the whole machine, 3 minutes after Ready",
            format!("{memory:.0} MiB"),
            "prototype 440–475 MB",
        ),
    ])
}
