//! A request on trial: it counts until its time is over, unless it is confirmed; then the one before it counts again.
//!
//! It lies beside `network.json`, in memory: a restart of the machine ends it, and so does its time. Whoever confirms it writes the
//! configuration first, lets `network.json` be made from that, and takes the trial away.

use crate::request::Request;
use serde::Deserialize;
use std::time::Duration;

/// The file's name.
pub const NAME: &str = "network-trial.json";

/// A request, and how long it counts.
#[derive(Debug, Clone, Deserialize)]
pub struct Trial {
    /// Milliseconds of the kernel's clock that only goes forward (`CLOCK_MONOTONIC`).
    pub until_ms: u64,
    /// What counts until then.
    pub request: Request,
}

/// Reads one; none if its time is over. `now` is of the same clock.
pub fn read(bytes: &[u8], now: Duration) -> serde_json::Result<Option<Trial>> {
    let trial: Trial = serde_json::from_slice(bytes)?;
    Ok(left(&trial, now).map(|_| trial))
}

/// How long it still counts.
pub fn left(trial: &Trial, now: Duration) -> Option<Duration> {
    Duration::from_millis(trial.until_ms)
        .checked_sub(now)
        .filter(|left| !left.is_zero())
}

/// The kernel's clock.
pub fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_until_its_time_is_over() {
        let bytes = br#"{"until_ms":90000,"request":{"network":null,"ntp_servers":["a"]}}"#;
        let at = |seconds| read(bytes, Duration::from_secs(seconds)).unwrap();
        let trial = at(30).unwrap();
        assert_eq!(trial.request.ntp_servers, ["a"]);
        assert_eq!(left(&trial, Duration::from_secs(30)), Some(Duration::from_secs(60)));
        assert!(at(90).is_none() && at(1000).is_none());
        assert!(read(b"{", Duration::ZERO).is_err());
    }
}
