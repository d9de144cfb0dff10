//! The date of a volume, which is also its UUID.

use std::fmt;

/// A second since 1970 (UTC), and hundredths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Seconds since 1970; years after 9999 count as 9999's last day.
    pub seconds: u64,
    /// 0 to 99. Not a time here: it tells media of one release apart.
    pub hundredths: u8,
}

impl Date {
    /// As blkid and GRUB show it: `2026-11-21-16-52-00-07`.
    pub fn uuid(self) -> String {
        let [year, month, day] = self.day();
        let second = self.seconds % 86400;
        format!(
            "{year:04}-{month:02}-{day:02}-{:02}-{:02}-{:02}-{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.hundredths.min(99)
        )
    }

    /// Year, month, day (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
    fn day(self) -> [u64; 3] {
        const LAST: u64 = 2_932_896;
        let days = (self.seconds / 86400).min(LAST) + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        [era * 400 + year_of_era + u64::from(month <= 2), month, day]
    }
}

/// Sixteen digits, as a volume descriptor has them (ECMA-119 §8.4.26.1).
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uuid().replace('-', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_calendars() {
        for (seconds, uuid) in [
            (0, "1970-01-01-00-00-00-07"),
            (951_782_399, "2000-02-28-23-59-59-07"),
            (951_782_400, "2000-02-29-00-00-00-07"),
            (951_868_800, "2000-03-01-00-00-00-07"),
            (1_795_279_914, "2026-11-21-16-51-54-07"),
            (4_107_542_400, "2100-03-01-00-00-00-07"),
            (253_402_300_799, "9999-12-31-23-59-59-07"),
        ] {
            let date = Date { seconds, hundredths: 7 };
            assert_eq!(date.uuid(), uuid);
            assert_eq!(date.to_string().len(), 16);
        }
        let far = Date {
            seconds: u64::MAX,
            hundredths: 200,
        };
        assert!(far.uuid().starts_with("9999-12-31-") && far.uuid().ends_with("-99"));
    }
}
