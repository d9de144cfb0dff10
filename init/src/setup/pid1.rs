//! One question to PID 1, one answer.

use anyhow::{Context, Result, bail};
use skerry_control::SOCKET;
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Asks, and waits at most 10 s for the answer. `doing` says what for.
pub fn ask(request: &Request, doing: &'static str) -> Result<Reply> {
    let mut socket = UnixStream::connect(SOCKET).context(doing)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(request.encode().as_bytes()).context(doing)?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = vec![];
    socket.take(1 << 20).read_to_end(&mut answer).context(doing)?;
    match Reply::decode(&answer)? {
        Reply::Refused(why) => bail!("{doing}: {why}"),
        reply => Ok(reply),
    }
}
