//! One question to PID 1, one answer.

use anyhow::{Context, bail};
use skerry_control::reply::{Machine, Reply, State, UnitStatus};
use skerry_control::request::Request;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// It was understood, and the answer is no: PID 1's, or ours.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Asks, and waits at most 10 s for the answer.
pub fn ask(request: &Request) -> anyhow::Result<Reply> {
    let path = skerry_control::SOCKET;
    let mut stream = UnixStream::connect(path).with_context(|| {
        format!("connecting to PID 1 at {path} (this command is for a running Skerry machine; `skerry config` works anywhere)")
    })?;
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    stream.write_all(request.encode().as_bytes()).context("asking PID 1")?;
    stream.shutdown(std::net::Shutdown::Write).context("asking PID 1")?;
    let mut answer = vec![];
    let most = u64::try_from(skerry_control::record::MAX_BYTES).unwrap_or(u64::MAX);
    stream.take(most).read_to_end(&mut answer).context("reading PID 1's answer")?;
    match Reply::decode(&answer).context("reading PID 1's answer")? {
        Reply::Refused(why) => Err(Refused(why).into()),
        reply => Ok(reply),
    }
}

/// Gives an order.
pub fn order(request: &Request) -> anyhow::Result<ExitCode> {
    ask(request)?;
    Ok(ExitCode::SUCCESS)
}

/// How long `stop` watches; PID 1 kills what is deaf long before.
const PATIENCE: Duration = Duration::from_secs(120);

/// Stops a service, and returns when it has stopped.
pub fn stop(service: &str) -> anyhow::Result<ExitCode> {
    ask(&Request::Stop(service.to_owned()))?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (_, units) = status()?;
        if !units.iter().any(|u| u.name == service && u.state == State::Stopping) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(50)); // the protocol answers questions; it tells nothing unasked
    }
    bail!(
        "stopping {service}: it has not ended within {} s / see skerry logs {service}",
        PATIENCE.as_secs()
    )
}

/// Every unit, as PID 1 sees it.
pub fn status() -> anyhow::Result<(Machine, Vec<UnitStatus>)> {
    match ask(&Request::Status)? {
        Reply::Status(machine, units) => Ok((machine, units)),
        other => bail!("asking PID 1 for its status: it answered {other:?}"),
    }
}
