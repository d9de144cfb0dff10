//! `skerry reset`: the machine as it was when it was flashed, at the next restart.

use anyhow::{Context, Result, bail};
use skerry_control::request::Request;
use skerry_overlay::STATE;
use skerry_overlay::reset::{MARK, Order};
use skerry_sys::file;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Forget everything this machine has kept, at the next restart
///
/// The cluster's data, images, volumes, logs, home folders and the machine's
/// identity are removed before anything uses them; both slots and the ESP (with
/// its config.yaml) stay. A power cut on the way does no harm: the next start
/// finishes it.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word on the command line")]
pub struct Args {
    /// Keep the owner's configuration
    #[arg(long)]
    keep_config: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Restart at once
    #[arg(long)]
    reboot: bool,
    /// Take the order back, before the restart
    #[arg(long, conflicts_with_all = ["keep_config", "yes", "reboot"])]
    cancel: bool,
}

/// Leaves the order, or takes it back.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mark = Path::new(STATE).join(MARK);
    if args.cancel {
        std::fs::remove_file(&mark).with_context(|| format!("taking the reset back: removing {}", mark.display()))?;
        file::flush_dir(Path::new(STATE))?;
        println!("The reset is taken back.");
        return Ok(ExitCode::SUCCESS);
    }
    let order = if args.keep_config { Order::KeepConfig } else { Order::Everything };
    if !args.yes && !is_confirmed(order)? {
        bail!("resetting: not confirmed, nothing was done");
    }
    file::replace(&mark, order.to_string().as_bytes(), 0o600).context("ordering the reset (this needs root: try sudo)")?;
    if args.reboot {
        println!("The machine restarts and is reset.");
        return crate::machine::order(&Request::Reboot);
    }
    println!("The next restart resets the machine. Restart: skerry reboot. Take it back: skerry reset --cancel");
    Ok(ExitCode::SUCCESS)
}

fn is_confirmed(order: Order) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("resetting: nobody is there to confirm it / try: --yes");
    }
    let what = match order {
        Order::Everything => "everything it has kept, its configuration too",
        Order::KeepConfig => "everything it has kept but its configuration",
    };
    print!("This machine loses {what}. Type reset to go on: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "reset")
}
