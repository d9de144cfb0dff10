//! The figures of `make bench`: ours beside others', from the same kernel, root and computer, in turns.

pub mod others;
pub mod ours;

use std::fmt::Write as _;

/// The middle of some figures.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (
        sorted.len() % 2,
        sorted.get(middle),
        middle.checked_sub(1).and_then(|m| sorted.get(m)),
    ) {
        (1, Some(m), _) => *m,
        (_, Some(b), Some(a)) => (a + b) / 2.0,
        _ => f64::NAN,
    }
}

/// One row of the table that is printed in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// What came out.
    pub measured: String,
    /// What it is held against.
    pub goal: String,
    /// Whether the goal was met; none where there is none.
    pub is_met: Option<bool>,
}

impl Row {
    /// A figure with a limit.
    pub fn limited(figure: &str, value: f64, unit: &str, limit: f64) -> Self {
        Self {
            figure: figure.to_owned(),
            measured: format!("{value:.2} {unit}"),
            goal: format!("≤ {limit} {unit}"),
            is_met: Some(value <= limit),
        }
    }
    /// A figure that is only shown.
    pub fn shown(figure: &str, measured: String, beside: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            measured,
            goal: beside.to_owned(),
            is_met: None,
        }
    }
}

/// The table as text.
pub fn table(rows: &[Row]) -> String {
    let wide = |f: fn(&Row) -> &str| rows.iter().map(|r| f(r).chars().count()).max().unwrap_or(0);
    let (a, b) = (wide(|r| &r.figure), wide(|r| &r.measured));
    let mut out = String::new();
    for r in rows {
        let met = match r.is_met {
            Some(true) => "  met",
            Some(false) => "  NOT MET",
            None => "",
        };
        let _ = writeln!(out, "  {:<a$}  {:>b$}  {}{met}", r.figure, r.measured, r.goal); // writing to a String cannot fail
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle() {
        for (values, middle) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0], 2.5), (vec![7.0], 7.0)] {
            assert!((median(&values) - middle).abs() < 1e-9, "{values:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_table_is_aligned() {
        let rows = [
            Row::limited("a", 1.0, "s", 2.0),
            Row::limited("long", 3.0, "MiB", 2.5),
            Row::shown("x", "1 / 2".into(), "prototype 3"),
        ];
        assert_eq!(
            table(&rows),
            "  a       1.00 s  ≤ 2 s  met\n  long  3.00 MiB  ≤ 2.5 MiB  NOT MET\n  x        1 / 2  prototype 3\n"
        );
    }
}
