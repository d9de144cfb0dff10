//! Copies of the cluster's objects: their names, when the next one is due, and which of them are too many.

use super::paths::SNAPSHOTS;
use super::schedule::Schedule;

/// What the owner asks for, in k3s's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// When (`--etcd-snapshot-schedule-cron`); none where they are switched off.
    pub schedule: Option<Schedule>,
    /// How many of the scheduled ones stay (`--etcd-snapshot-retention`).
    pub keep: usize,
    /// Where they lie (`--etcd-snapshot-dir`).
    pub folder: String,
    /// What the scheduled ones are called (`--etcd-snapshot-name`).
    pub name: String,
}

/// k3s's: at noon and at midnight.
pub const TWICE_A_DAY: &str = "0 */12 * * *";
/// The name of those that are made when somebody asks.
pub const ON_DEMAND: &str = "on-demand";

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            schedule: Schedule::parse(TWICE_A_DAY),
            keep: 5,
            folder: SNAPSHOTS.to_owned(),
            name: "snapshot".to_owned(),
        }
    }
}

/// One file of the folder that is a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its file's name.
    pub file: String,
    /// What it was called, with the node's name.
    pub of: String,
    /// When it was made, in seconds since 1970.
    pub made: i64,
}

/// A file's name: what it is called, the node, the second.
pub fn file_name(name: &str, node: &str, now: i64) -> String {
    format!("{name}-{node}-{now}.db")
}

/// Those among the names of a folder, oldest first. What is still being written begins with a dot.
pub fn read(files: &[String]) -> Vec<Snapshot> {
    let one = |file: &String| {
        let (of, made) = file.strip_suffix(".db")?.rsplit_once('-')?;
        let made = made.parse().ok().filter(|_| !of.starts_with('.') && !made.starts_with('+'))?;
        Some(Snapshot {
            file: file.clone(),
            of: of.to_owned(),
            made,
        })
    };
    let mut all: Vec<Snapshot> = files.iter().filter_map(one).collect();
    all.sort_by(|a, b| (a.made, &a.file).cmp(&(b.made, &b.file)));
    all
}

impl Snapshots {
    fn scheduled<'a>(&self, all: &'a [Snapshot], node: &str) -> Vec<&'a Snapshot> {
        let of = format!("{}-{node}", self.name);
        all.iter().filter(|s| s.of == of).collect()
    }

    /// Whether one is to be made now: the first at once, and each that was missed while the machine was off. One from the future (the
    /// clock was wrong then) does not count.
    pub fn is_due(&self, all: &[Snapshot], node: &str, now: i64) -> bool {
        let Some(schedule) = &self.schedule else { return false };
        let newest = self
            .scheduled(all, node)
            .into_iter()
            .map(|s| s.made)
            .filter(|made| *made <= now)
            .max();
        newest.is_none_or(|made| schedule.next(made).is_some_and(|next| next <= now))
    }

    /// The scheduled ones of this node that are too many, oldest first.
    pub fn surplus(&self, all: &[Snapshot], node: &str) -> Vec<String> {
        let ours = self.scheduled(all, node);
        let over = ours.len().saturating_sub(self.keep.max(1));
        ours.into_iter().take(over).map(|s| s.file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-26 17:39 UTC.
    const NOW: i64 = 1_795_714_740;
    const NOON: i64 = NOW - (5 * 60 + 39) * 60;

    fn those(made: &[i64]) -> Vec<Snapshot> {
        read(&made.iter().map(|m| file_name("snapshot", "node-1", *m)).collect::<Vec<_>>())
    }

    #[test]
    fn when_one_is_due() {
        let s = Snapshots::default();
        for (made, due) in [
            (vec![], true),
            (vec![NOON], false),
            (vec![NOON + 1], false),
            (vec![NOON - 1], true),
            (vec![NOON - 1, NOON + 30], false),
            // Of a day when the clock was ahead.
            (vec![NOW + 90 * 86_400], true),
            (vec![NOON - 90 * 86_400], true),
        ] {
            assert_eq!(s.is_due(&those(&made), "node-1", NOW), due, "{made:?}");
        }
        // Another node's, or one that was asked for, does not count.
        assert!(s.is_due(&those(&[NOON]), "node-2", NOW));
        assert!(s.is_due(&read(&[file_name(ON_DEMAND, "node-1", NOW)]), "node-1", NOW));
        let off = Snapshots { schedule: None, ..s };
        assert!(!off.is_due(&[], "node-1", NOW));
    }

    #[test]
    fn the_oldest_scheduled_ones_go() {
        let s = Snapshots {
            keep: 2,
            ..Snapshots::default()
        };
        let mut all = those(&[30, 10, 20, 40]);
        all.extend(read(&[file_name(ON_DEMAND, "node-1", 1), file_name("snapshot", "node-2", 1)]));
        assert_eq!(s.surplus(&all, "node-1"), ["snapshot-node-1-10.db", "snapshot-node-1-20.db"]);
        // The newest always stays.
        let none = Snapshots { keep: 0, ..s };
        assert_eq!(none.surplus(&those(&[1]), "node-1"), [""; 0]);
    }

    #[test]
    fn what_is_no_snapshot() {
        let files = [
            ".snapshot-a-5.db",
            "snapshot-a-5.db.part",
            "snapshot-a.db",
            "x-+5.db",
            "5.db",
            "README",
        ];
        assert_eq!(read(&files.map(str::to_owned)), []);
    }
}
