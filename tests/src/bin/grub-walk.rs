//! Compares the real GRUB with the model in `slots`: `grub-walk [--firmware bios|uefi] [--states N] [--boot FOLDER] [--only WORDS]`.

#![allow(clippy::print_stdout, reason = "telling what was compared is this program's job")]

use anyhow::{Context, Result, bail};
use skerry_tests::cases::grub::{self, Firmware, states};
use skerry_tests::machine::release;
use skerry_tests::machine::tools::Tools;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("grub-walk: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let mut firmware = vec![Firmware::Bios, Firmware::Uefi];
    let (mut states, mut boot, mut only) = (52, None, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("reading {name}: a value is missing"))?;
        match name.as_str() {
            "--firmware" => firmware = vec![Firmware::parse(&value).context("reading --firmware: bios or uefi")?],
            "--states" => states = value.parse().context("reading --states: a number")?,
            "--boot" => boot = Some(PathBuf::from(value)),
            "--only" => only = value,
            _ => bail!("reading {name}: there are --firmware, --states, --boot and --only"),
        }
    }
    let tools = Tools::find()?;
    let folder = release::target().join("machine/grub-walk");
    let boot = match boot {
        Some(boot) => boot,
        None => grub::make_loader(&folder)?,
    };
    let mut starts = states::starts(states);
    starts.retain(|start| start.what.contains(&only));
    let mut is_well = true;
    for firmware in firmware {
        let started = Instant::now();
        let report = grub::walk(&tools, firmware, &boot, &folder, &starts, &mut |line| {
            println!("{line}");
        })?;
        let took = started.elapsed().as_secs();
        println!(
            "{firmware:?}: {} of {} starts as the model says, in {took} s",
            report.held,
            starts.len()
        );
        is_well &= report.failed.is_empty();
    }
    Ok(is_well)
}
