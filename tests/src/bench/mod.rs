//! The figures of `make bench`: ours beside others', from the same kernel, root and computer, in turns.

pub mod cluster;
pub mod disk;
pub mod install;
pub mod others;
pub mod ours;
pub mod systemd;

use std::fmt::Write as _;

/// Bytes as MiB.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The parts of `make bench`, and what each measures.
pub const PARTS: [(&str, &str); 9] = [
    ("pid1", "PID 1 beside a static C floor and busybox init"),
    ("config", "reading a configuration"),
    ("install", "skerry install beside dd and RAUC"),
    ("size", "what is downloaded"),
    ("disk", "boots from a flashed disk"),
    ("node", "a node up to its first pod"),
    (
        "worker",
        "a worker beside a server, what it weighs, its load balancer, and the same worker under systemd",
    ),
    ("servers", "three servers from nothing"),
    ("tunnels", "VXLAN and WireGuard beside plain routes"),
];

/// Which parts run: all, or those that `only` names, with commas between. `Err` names what is no part.
pub fn chosen(only: Option<&str>) -> Result<Vec<&'static str>, String> {
    let all = || PARTS.iter().map(|(name, _)| *name);
    let Some(only) = only.filter(|only| !only.trim().is_empty()) else {
        return Ok(all().collect());
    };
    let words: Vec<&str> = only.split([',', ' ']).filter(|word| !word.is_empty()).collect();
    match words.iter().find(|word| !all().any(|name| name == **word)) {
        Some(word) => Err((*word).to_owned()),
        None => Ok(all().filter(|name| words.contains(name)).collect()),
    }
}

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
    fn parts_are_chosen() {
        assert_eq!(chosen(None).unwrap().len(), PARTS.len());
        assert_eq!(chosen(Some("")).unwrap().len(), PARTS.len());
        assert_eq!(chosen(Some("disk,install")).unwrap(), ["install", "disk"]);
        assert_eq!(chosen(Some("install,rauc")), Err("rauc".to_owned()));
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
