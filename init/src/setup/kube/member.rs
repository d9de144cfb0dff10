//! `member`, and what `run etcd` asks of the other servers: how this server's etcd becomes one of several.
//!
//! The others are asked through etcd's gRPC gateway, by curl with the API server's certificate. Nothing is asked where there is data
//! and a vote: later boots need nobody.

use super::change;
use super::look::{self, Machine};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use skerry_distribution::kubernetes::change::Order;
use skerry_distribution::kubernetes::datastore::{Start, etcd_client, peer_url};
use skerry_distribution::kubernetes::member::{self, Ask, Member, Next};
use skerry_distribution::kubernetes::paths::LEARNER;
use skerry_distribution::kubernetes::role::Role;
use skerry_sys::file;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A removal, an addition, a start: and one of each again, where somebody else was at it.
const STEPS: usize = 6;

/// How etcd is to be started. A further server without data is made a member first.
pub fn start(m: &Machine, address: Ipv4Addr) -> Result<Start> {
    if change::held().etcd {
        let alone = change::ordered()? == Some(Order::Alone);
        return Ok(if alone { Start::Alone } else { Start::Again });
    }
    if m.settings.role == Role::First {
        return Ok(Start::New);
    }
    let url = peer_url(address);
    // Before the others know of it: a power cut in between costs one question.
    file::replace(LEARNER, b"1\n", 0o600)?;
    for _ in 0..STEPS {
        match member::next(&members(m)?, &m.settings.node_name, &url) {
            Next::Start(all) => {
                println!("joining {} servers", all.len().saturating_sub(1));
                return Ok(Start::Joining(all));
            }
            Next::Ask(what) => {
                println!("asking the servers: {}", what.path);
                ask(m, &what)?;
            }
        }
    }
    bail!("joining the other servers' etcd: they change their members without end; it is tried again")
}

/// The vote, once this etcd has the data.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    if change::ordered()? == Some(Order::Alone) {
        println!("this server is the only member of etcd now");
        change::forget()?;
    }
    if !Path::new(LEARNER).exists() {
        return Ok(());
    }
    let url = peer_url(look::address()?.four);
    if let Some(what) = member::promote(&members(&m)?, &url) {
        ask(&m, &what).context("giving this server its vote: it may not have all of the data yet")?;
        println!("this server has a vote now");
    }
    std::fs::remove_file(LEARNER).with_context(|| format!("removing {LEARNER}"))
}

fn members(m: &Machine) -> Result<Vec<Member>> {
    member::members(&ask(m, &member::list())?).context("reading the list of etcd's members")
}

/// Asks each server that is to be joined, until one answers.
fn ask(m: &Machine, what: &Ask) -> Result<Value> {
    let mut last = None;
    for server in m.settings.role.servers() {
        match ask_one(&server.host, what) {
            Ok(answer) => return Ok(answer),
            Err(why) => last = Some(why),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("asking etcd: no server is configured")))
}

fn ask_one(host: &str, what: &Ask) -> Result<Value> {
    let doing = || format!("asking etcd of {host} for {}", what.path);
    let [ca, cert, key] = etcd_client();
    let done = Command::new("/usr/bin/curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--max-filesize",
            "1048576",
        ])
        .args(["--cacert", &ca, "--cert", &cert, "--key", &key, "--data", &what.body.to_string()])
        .arg(format!("https://{host}:2379{}", what.path))
        .stdin(Stdio::null())
        .output()
        .with_context(doing)?;
    if !done.status.success() {
        bail!("{}: {}", doing(), String::from_utf8_lossy(&done.stderr).trim());
    }
    let answer: Value = serde_json::from_slice(&done.stdout).with_context(doing)?;
    match answer.get("message").or_else(|| answer.get("error")).and_then(Value::as_str) {
        Some(why) => bail!("{}: {why}", doing()),
        None => Ok(answer),
    }
}
