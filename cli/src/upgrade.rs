//! `skerry upgrade`: a release folder into the slot that does not run, and on trial from the next restart on.

use crate::machine;
use crate::progress::Progress;
use crate::slots::Terms;
use anyhow::{Context, Result};
use serde_json::json;
use skerry_control::request::Request;
use skerry_installer::content::Digest;
use skerry_installer::device::Disk;
use skerry_installer::perform::Phase;
use skerry_upgrade::machine::{Machine, hold};
use skerry_upgrade::now;
use skerry_upgrade::signature::{KEYS, keys};
use skerry_upgrade::stage::{Facts, Plan, Report, plan};
use skerry_upgrade::trial::{Memory, System, Trial};
use skerry_upgrade::trust::{Told, check};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How much is written at once.
const CHUNK: usize = 1 << 20;

/// What to do.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word on the command line")]
pub struct Args {
    /// The folder of the release: it holds manifest.json
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Take a release that is older than what runs
    #[arg(long)]
    allow_downgrade: bool,
    /// Take a release that nobody signed whom this machine knows
    #[arg(long)]
    unsigned: bool,
    /// Take a release that failed on this machine before
    #[arg(long)]
    again: bool,
    /// Check the release and print what would be done; write nothing
    #[arg(long)]
    plan: bool,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    terms: Terms,
    /// Leave the restart to you, as is done without this word too
    #[arg(long, conflicts_with = "reboot")]
    no_reboot: bool,
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let machine = Machine::look()?;
    let _held = if args.plan { None } else { Some(hold()?) };
    let mut disk = Disk::open_running(&machine.disk).with_context(|| format!("opening {}", machine.disk.display()))?;
    let found = Facts::look(&disk, machine.arch, machine.running)?;
    let (known, bad) = keys(Path::new(KEYS));
    for key in bad {
        eprintln!("skerry: {key}: left out");
    }
    let told = Told {
        unsigned: args.unsigned,
        downgrade: args.allow_downgrade,
        again: args.again,
        whole_tree: false,
    };
    let mut progress = Progress::new(args.json);
    let memory = Memory::system();
    let facts = machine.facts(&found.layout, failed(&memory));
    let checked = check(&args.from, &known, &facts, told, &mut |done, total| {
        progress.see("checking the release", done, total);
    })
    .with_context(|| format!("looking at the release in {}: nothing was written", args.from.display()))?;
    progress.end();
    let plan = plan(&checked, &found)?;
    if args.plan {
        show_plan(&plan, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        println!("{plan}\n");
    }
    // Before the first byte: what is measured is the system that nobody disturbs.
    let baseline = now::baseline().context("looking at how healthy this system is: nothing was written")?;
    memory
        .begin(&Trial::new(runs(&machine)?, candidate(&plan), baseline, args.terms.rule()))
        .context("remembering what is tried: nothing was written")?;
    let mut progress = Progress::new(args.json);
    let report = plan.perform(&mut disk, CHUNK, &mut |p| {
        let doing = match p.phase {
            Phase::Check => "checking",
            Phase::Write => "",
            Phase::ReadBack => "reading back: ",
        };
        progress.see(&format!("{doing}{}", p.what), p.done, p.total);
    })?;
    progress.end();
    show_report(&report, &machine, args)?;
    if args.terms.reboot {
        return machine::order(&Request::Reboot);
    }
    Ok(ExitCode::SUCCESS)
}

/// The systems that did not prove themselves here.
fn failed(memory: &Memory) -> Vec<Digest> {
    let left = memory.left().unwrap_or_else(|why| {
        eprintln!("skerry: {why:#}: releases that failed here are not known");
        vec![]
    });
    left.iter().filter_map(|r| Digest::parse(&r.from.root_hash)).collect()
}

fn runs(machine: &Machine) -> Result<System> {
    let cmdline = skerry_sys::file::read_text("/proc/cmdline", 1 << 16)?;
    let hash = cmdline.split_whitespace().find_map(|word| word.strip_prefix("skerry.roothash="));
    Ok(System {
        slot: machine.running.name().to_owned(),
        version: machine.version.to_string(),
        root_hash: hash.unwrap_or_default().to_owned(),
    })
}

fn candidate(plan: &Plan) -> System {
    System {
        slot: plan.slot.name().to_owned(),
        version: plan.version.clone(),
        root_hash: plan.root_hash.clone(),
    }
}

fn show_plan(plan: &Plan, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(plan)?);
    } else {
        println!("{plan}");
    }
    Ok(())
}

fn show_report(report: &Report, machine: &Machine, args: &Args) -> Result<()> {
    if args.json {
        let mut value = serde_json::to_value(report)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("from".into(), json!(machine.version.to_string()));
            fields.insert("next".into(), json!(if args.terms.reboot { "rebooting" } else { "reboot" }));
        }
        println!("{value:#}");
        return Ok(());
    }
    println!(
        "Skerry {} is in slot {}, read back, and on trial from the next restart on.",
        report.version, report.slot
    );
    println!(
        "If it does not prove itself, the machine goes back to {} by itself.",
        machine.version
    );
    println!("{}", if args.terms.reboot { "Restarting." } else { "next: skerry reboot" });
    Ok(())
}
