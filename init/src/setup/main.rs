//! The short-lived helpers of a boot: each looks, decides, does one thing, and ends.
#![allow(clippy::print_stdout, reason = "the plan and the banner are what these programs are asked for")]

mod apply;
mod asked;
mod authorized;
mod banner;
mod boot;
mod booted;
mod clock;
mod coldplug;
mod command;
mod confirm;
mod distribution;
mod esp;
mod facts;
mod folder;
mod health;
mod host_keys;
mod keys;
mod kube;
mod lines;
mod local_start;
mod looked;
mod media;
mod medium;
mod metadata;
mod mode;
mod network_state;
mod pid1;
mod plan;
mod root;
mod said;
mod seal;
mod sources;
mod storage;
mod store;
mod trial;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", said::said(&why));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let (verb, rest) = args.split_first().context("reading the arguments: no sub-command given")?;
    match verb.as_str() {
        "storage" if rest == ["guard"] => {
            storage::guard();
            Ok(())
        }
        "storage" if rest == ["grow"] => storage::grow(),
        "storage" => storage::run(),
        "plan" => plan::run(rest),
        "apply" => apply::run(rest),
        "command" => command::run(rest),
        "keys" => keys::run(),
        "metadata" => metadata::run(),
        "clock" => clock::run(rest),
        "coldplug" => coldplug::run(rest),
        "host-keys" => host_keys::run(),
        "local-start" => local_start::run(),
        "confirm" => confirm::run(),
        "health" => health::run(),
        "media" => media::run(rest),
        "seal" => seal::run(),
        "trial" => trial::run(rest),
        "banner" => banner::run(rest),
        "kube" => kube::run(rest),
        "distribution" => distribution::run(rest),
        other => bail!("reading the arguments: setup has no sub-command {other:?}"),
    }
}
