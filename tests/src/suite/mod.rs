//! The tiers of `make test`, cheapest first, and how their results are counted.

pub mod count;
pub mod space;
pub mod step;
pub mod tiers;

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held.
    pub passed: usize,
    /// Did not hold, or could not be run to its end.
    pub failed: usize,
    /// This machine cannot run it.
    pub skipped: usize,
}

impl Tally {
    /// One test that passed or failed.
    pub fn one(passed: bool) -> Self {
        if passed {
            Self {
                passed: 1,
                ..Self::default()
            }
        } else {
            Self {
                failed: 1,
                ..Self::default()
            }
        }
    }
    /// Some that were skipped.
    pub fn skipped(count: usize) -> Self {
        Self {
            skipped: count,
            ..Self::default()
        }
    }
    /// Whether the whole is a success; `all` asks that nothing was skipped.
    pub fn is_success(self, all: bool) -> bool {
        self.failed == 0 && !(all && self.skipped > 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_last_line() {
        let mut tally = Tally::one(true);
        tally += Tally::one(true);
        tally += Tally::skipped(3);
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 3 skipped");
        assert_eq!((tally.is_success(false), tally.is_success(true)), (true, false));
        tally += Tally::one(false);
        assert!(!tally.is_success(false));
    }
}
