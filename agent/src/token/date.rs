//! Times as tokens have them, and spans as people write them.

use std::time::Duration;

/// Seconds since 1970 as RFC 3339, in UTC.
pub fn rfc3339(seconds: i64) -> String {
    // Past the year 9999 there is no such form.
    let seconds = seconds.clamp(0, 253_402_300_799);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date: https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

/// `90s`, `30m`, `24h`, `7d`, and sums of them (`1d12h`); `0` is no end.
pub fn span(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{text:?} is no span of time: write 30m, 24h, 7d, or 0 for no end");
    if text == "0" {
        return Ok(None);
    }
    let (mut total, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail.get(1..).unwrap_or_default();
    }
    if total == 0 {
        return Err(wrong());
    }
    Ok(Some(Duration::from_secs(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with `date -u -d @N +%FT%TZ`.
    #[test]
    fn dates() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-5, "1970-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), wanted);
        }
    }

    #[test]
    fn spans() {
        let seconds = |text| span(text).unwrap().map(|d| d.as_secs());
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("1d12h30m5s"), Some(131_405));
        assert_eq!(seconds("0"), None);
        for text in [
            "",
            "h",
            "24",
            "-1h",
            "1w",
            "0h",
            "1 h",
            "99999999999999999999h",
            "18446744073709551615d",
            "1hä",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
