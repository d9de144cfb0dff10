//! `skerry logs`: the last lines of a service, from the bounded ring that `logd` keeps.

use anyhow::{Context, bail};
use skerry_control::unit::is_name;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The last log lines of a service or step
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name, as in `skerry services`
    service: String,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: u32,
    /// Go on with new lines as they come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Prints them.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !is_name(&args.service) {
        bail!(
            "reading the log of {:?}: that is no service's name; `skerry services` lists them",
            args.service
        );
    }
    let path = skerry_control::LOG_SOCKET;
    let mut stream = UnixStream::connect(path).with_context(|| format!("connecting to the log keeper at {path}"))?;
    let verb = if args.follow { "follow" } else { "tail" };
    writeln!(stream, "{verb} {} {}", args.service, args.lines).context("asking the log keeper")?;
    let mut out = std::io::stdout().lock();
    let mut buffer = [0; 8192];
    loop {
        let n = stream.read(&mut buffer).context("reading the log")?;
        if n == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        // Whoever reads us may have read enough (`| head`).
        if out
            .write_all(buffer.get(..n).unwrap_or_default())
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
