//! When something is to be done again: cron's five fields, or a span. Times are UTC: a machine's zone may change, its past may not.

use std::time::Duration;

const DAY: i64 = 86_400;
/// A schedule that fits no day of so many years (30 February) never comes.
const LONGEST: i64 = 5 * 366;

/// A rule for instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Minutes, hours, days, months and weekdays that fit, a bit each.
    Cron(Fields),
    /// So long after the last time.
    Every(Duration),
}

/// cron's fields, a bit for each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Neither of the two was a star: then one of them is enough (crontab(5)).
    either: bool,
}

impl Schedule {
    /// Reads `MINUTE HOUR DAY MONTH WEEKDAY`, `@daily` and its kin, or `@every 6h`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let cron = match words.as_slice() {
            ["@every", span] => return Some(Self::Every(duration(span)?)),
            ["@hourly"] => ["0", "*", "*", "*", "*"],
            ["@daily" | "@midnight"] => ["0", "0", "*", "*", "*"],
            ["@weekly"] => ["0", "0", "*", "*", "0"],
            ["@monthly"] => ["0", "0", "1", "*", "*"],
            ["@yearly" | "@annually"] => ["0", "0", "1", "1", "*"],
            [minute, hour, day, month, weekday] => [*minute, hour, day, month, weekday],
            _ => return None,
        };
        let [minute, hour, day, month, weekday] = cron;
        let weekdays = field(weekday, 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"])?;
        let months = [
            "", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        let is_star = |text: &str| text.starts_with(['*', '?']);
        Some(Self::Cron(Fields {
            minutes: field(minute, 0, 59, &[])?,
            hours: field(hour, 0, 23, &[])?,
            days: field(day, 1, 31, &[])?,
            months: field(month, 1, 12, &months)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either: !is_star(day) && !is_star(weekday),
        }))
    }

    /// The first instant after `last` (seconds since 1970); none if there is none in years.
    pub fn next(&self, last: i64) -> Option<i64> {
        let fields = match self {
            Self::Every(span) => return last.checked_add(i64::try_from(span.as_secs()).ok()?),
            Self::Cron(fields) => fields,
        };
        let first = last.checked_add(60)?.div_euclid(60) * 60;
        let today = first.div_euclid(DAY);
        let later = |minute: i64, day: i64| (day > today || day * DAY + minute * 60 >= first).then_some(day * DAY + minute * 60);
        let fits = |set: u64, value: i64| u32::try_from(value).is_ok_and(|v| v < 64 && set & (1 << v) != 0);
        (today..today.checked_add(LONGEST)?)
            .filter(|day| fields.has_day(*day))
            .flat_map(|day| (0..24 * 60).map(move |minute| (minute, day)))
            .filter(|(minute, _)| fits(fields.hours, minute / 60) && fits(fields.minutes, minute % 60))
            .find_map(|(minute, day)| later(minute, day))
    }
}

impl Fields {
    fn has_day(&self, day: i64) -> bool {
        let (month, date) = civil(day);
        let fits = |set: u64, value: i64| set & (1 << value) != 0;
        // 1 January 1970 was a Thursday.
        let (by_date, by_weekday) = (fits(self.days, date), fits(self.weekdays, (day + 4).rem_euclid(7)));
        let day = if self.either {
            by_date || by_weekday
        } else {
            by_date && by_weekday
        };
        day && fits(self.months, month)
    }
}

/// Month and day of the month of a day since 1970, in the Gregorian calendar: <https://howardhinnant.github.io/date_algorithms.html>.
fn civil(day: i64) -> (i64, i64) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// `*`, `5`, `1-5`, `*/15`, `0-30/10`, and several of them.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let number = |word: &str| {
        let at = names.iter().position(|n| !n.is_empty() && n.eq_ignore_ascii_case(word));
        let value = match at {
            Some(at) => u32::try_from(at).ok()?,
            None => word.parse().ok()?,
        };
        (low..=high).contains(&value).then_some(value)
    };
    text.split(',').try_fold(0, |set, part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            // A star means each day of the week once.
            None if range == "*" || range == "?" => (low, if high == 7 { 6 } else { high }),
            None if step.is_some() => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Some(1), |s| s.parse().ok().filter(|s| *s > 0))?;
        (from <= to).then(|| (from..=to).step_by(step).fold(set, |set, value| set | 1 << value))
    })
}

/// `90m`, `1h30m`, `45s`; a minute at least.
fn duration(text: &str) -> Option<Duration> {
    let (mut total, mut digits) = (0u64, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && (60..=366 * 86_400).contains(&total)).then(|| Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // date -u -d '2026-11-26 17:39' +%s: a Thursday.
    const NOW: i64 = 1_795_714_740;
    const HOUR: i64 = 3600;

    #[test]
    fn what_comes_next() {
        let midnight = NOW - NOW % DAY;
        for (text, want) in [
            ("0 */12 * * *", midnight + DAY),
            ("*/5 * * * *", NOW + 60),
            ("40 17 * * *", NOW + 60),
            ("39 17 * * *", NOW + DAY),
            ("15,45 8-18/2 * * *", midnight + 18 * HOUR + 15 * 60),
            ("0 3 * * sun", midnight + 3 * DAY + 3 * HOUR),
            ("0 3 * * 7", midnight + 3 * DAY + 3 * HOUR),
            ("0 0 1 * *", midnight + 5 * DAY),
            ("0 0 1 * 5", midnight + DAY),
            ("0 0 29 2 *", midnight + 460 * DAY),
            ("@daily", midnight + DAY),
            ("@hourly", midnight + 18 * HOUR),
            ("@every 1h30m", NOW + 5400),
        ] {
            assert_eq!(Schedule::parse(text).and_then(|s| s.next(NOW)), Some(want), "{text}");
        }
        assert_eq!(Schedule::parse("0 0 30 2 *").unwrap().next(NOW), None);
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "@never",
            "@every 5s",
            "@every x",
            "@every 5",
            "a * * * *",
            "* * * * * *",
        ] {
            assert_eq!(Schedule::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_time(text in "[0-9*/,@ a-z-]{0,24}", last in any::<i64>()) {
            if let Some(next) = Schedule::parse(&text).and_then(|s| s.next(last)) {
                prop_assert!(next > last);
            }
        }
        #[test]
        fn it_comes_at_the_minute(minute in 0i64..60, hour in 0i64..24, last in 0i64..4_000_000_000) {
            let next = Schedule::parse(&format!("{minute} {hour} * * *")).unwrap().next(last).unwrap();
            prop_assert_eq!((next % DAY, next > last, next - last <= DAY), (hour * HOUR + minute * 60, true, true));
        }
    }
}
