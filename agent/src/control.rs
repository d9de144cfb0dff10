//! Asking PID 1.

use anyhow::{Context, Result, bail};
use skerry_control::reply::Reply;
use skerry_control::request::Request;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// PID 1 answers at once, or is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is not read further, bytes.
const LARGEST: u64 = 1 << 20;

/// Restarts a unit.
pub async fn restart(socket: &Path, unit: &str) -> Result<()> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(Request::Restart(unit.to_owned()).encode().as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = vec![];
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let doing = || format!("restarting {unit}");
    let answer = timeout(PATIENCE, exchange).await.with_context(doing)?.with_context(doing)?;
    match Reply::decode(&answer).with_context(doing)? {
        Reply::Refused(why) => bail!("restarting {unit}: {why}"),
        _ => Ok(()),
    }
}
