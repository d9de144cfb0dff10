//! The short-lived helpers of a boot: each looks, decides, does one thing, and ends.

use std::process::ExitCode;

mod kube;
mod storage;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> anyhow::Result<()> {
    let (verb, rest) = args.split_first().ok_or_else(|| anyhow::anyhow!("reading the arguments: no sub-command given"))?;
    match verb.as_str() {
        "storage" => storage::run(),
        "kube" => kube::run(rest),
        other => anyhow::bail!("reading the arguments: setup has no sub-command {other:?}"),
    }
}
