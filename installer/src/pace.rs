//! How fast, and how much longer? From bytes and the clock, which the caller passes.

use crate::step::Size;
use std::fmt;
use std::time::Duration;

/// Over how long the rate is taken: long enough for a flash disk's pauses, short enough to see it slow down.
const WINDOW: Duration = Duration::from_secs(8);

/// Follows a work of known length.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Points of time, and the bytes that were done then; the oldest that counts comes first.
    seen: Vec<(Duration, u64)>,
    done: u64,
    total: u64,
}

impl Pace {
    /// Tells how far it is, at a time since the beginning.
    pub fn see(&mut self, now: Duration, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        let is_new = self.seen.last().is_none_or(|(at, _)| now.saturating_sub(*at) >= WINDOW / 32);
        if is_new {
            self.seen.push((now, done));
        }
        let old = self.seen.iter().take_while(|(at, _)| now.saturating_sub(*at) > WINDOW).count();
        // One point before the window stays, to measure from.
        self.seen.drain(..old.saturating_sub(1));
    }

    /// Bytes in a second; none before there is something to measure.
    pub fn rate(&self) -> Option<u64> {
        let ((from, before), (to, after)) = (*self.seen.first()?, *self.seen.last()?);
        let millis = u64::try_from(to.saturating_sub(from).as_millis()).ok().filter(|m| *m > 0)?;
        after.checked_sub(before)?.checked_mul(1000)?.checked_div(millis).filter(|r| *r > 0)
    }

    /// How much longer.
    pub fn left(&self) -> Option<Duration> {
        Some(Duration::from_secs((self.total - self.done.min(self.total)).div_ceil(self.rate()?)))
    }

    /// How much is done, of a hundred.
    pub fn percent(&self) -> u64 {
        self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100)
    }
}

/// `63 %  41 MiB/s  0:12 left`
impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3} %", self.percent())?;
        if let (Some(rate), Some(left)) = (self.rate(), self.left()) {
            write!(f, "  {}/s  {}:{:02} left", Size(rate), left.as_secs() / 60, left.as_secs() % 60)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left() {
        let mut pace = Pace::default();
        pace.see(Duration::ZERO, 0, 1000 << 20);
        assert_eq!(pace.to_string(), "  0 %");
        for second in 1..=10 {
            pace.see(Duration::from_secs(second), (second * 50) << 20, 1000 << 20);
        }
        assert_eq!(pace.to_string(), " 50 %  50 MiB/s  0:10 left");
        // It becomes slow: after the window only the new rate counts.
        for second in 11..=30 {
            pace.see(Duration::from_secs(second), (500 + second - 10) << 20, 1000 << 20);
        }
        assert_eq!(pace.to_string(), " 52 %  1 MiB/s  8:00 left");
        assert!(pace.seen.len() < 40);
        pace.see(Duration::from_secs(31), 1000 << 20, 1000 << 20);
        assert_eq!((pace.percent(), pace.left()), (100, Some(Duration::ZERO)));
        assert_eq!(Pace::default().to_string(), "100 %");
    }
}
