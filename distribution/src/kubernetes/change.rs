//! How the datastore becomes another one at a boot: a snapshot is put back, or SQLite's objects move to etcd.
//!
//! ```text
//!  restore: ordered ──(made beside)── made ──(old one aside, new one in its place)── done
//!  SQLite → etcd:      (made beside, in its place)── (SQLite aside)── done
//! ```
//!
//! Nothing of it runs while anything uses the datastore. Whatever it finds, it goes on from there: a cut leaves the old one or the new.

use super::datastore::Datastore;
use super::held::Held;
use super::paths::{DATASTORE, ETCD_DATA, RESTORE};
use super::role::Role;
use serde::{Deserialize, Serialize};

/// What the owner ordered, kept on data until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Put back what lies at [`RESTORE`].
    Restore,
    /// The same, and the new one is whole, beside the old one.
    Made,
    /// etcd goes on with this server as its only member (the others are lost).
    Alone,
}

/// One step. All may be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a folder for this kind of store of a file; revisions go on after those of `replaced`.
    Make {
        /// A snapshot, or SQLite's own file.
        from: String,
        /// The folder, made anew.
        to: String,
        /// The file of the store that it replaces.
        replaced: Option<String>,
    },
    /// Writes the order anew.
    Note(Order),
    /// Renames a folder; what was there under the new name goes.
    Rename {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Removes the order, and what was to be restored.
    Forget,
}

/// The folder of a store of ours, and the file in it.
pub fn place(datastore: &Datastore) -> Option<(&'static str, String)> {
    match datastore {
        Datastore::Sqlite => Some((DATASTORE, format!("{DATASTORE}/state.db"))),
        Datastore::Etcd => Some((ETCD_DATA, format!("{ETCD_DATA}/member/snap/db"))),
        Datastore::External(_) => None,
    }
}

/// What is to be done before the datastore starts. `is_fresh`: a new one lies beside.
pub fn steps(role: &Role, datastore: &Datastore, held: Held, order: Option<Order>, is_fresh: bool) -> Vec<Step> {
    let Some((folder, file)) = place(datastore) else {
        return vec![];
    };
    let is_there = match datastore {
        Datastore::Sqlite => held.sqlite,
        _ => held.etcd,
    };
    let fresh = format!("{folder}.new");
    let rename = |from: &str, to: &str| Step::Rename {
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let aside = || is_there.then(|| rename(folder, &format!("{folder}.before")));
    match order {
        Some(Order::Restore) => {
            let mut steps = vec![
                Step::Make {
                    from: RESTORE.to_owned(),
                    to: fresh.clone(),
                    replaced: is_there.then_some(file),
                },
                Step::Note(Order::Made),
            ];
            steps.extend(aside());
            steps.extend([rename(&fresh, folder), Step::Forget]);
            steps
        }
        Some(Order::Made) if is_fresh => aside().into_iter().chain([rename(&fresh, folder), Step::Forget]).collect(),
        // `run etcd` does it; where there is nothing to go on with, it was ordered in vain.
        Some(Order::Alone) if is_there && *datastore == Datastore::Etcd => vec![],
        Some(Order::Made | Order::Alone) => vec![Step::Forget],
        None if *datastore != Datastore::Etcd || !held.sqlite || *role != Role::First => vec![],
        None => {
            let make = Step::Make {
                from: format!("{DATASTORE}/state.db"),
                to: fresh.clone(),
                replaced: None,
            };
            let move_in = (!held.etcd).then(|| [make, rename(&fresh, folder)]);
            let mut steps: Vec<Step> = move_in.into_iter().flatten().collect();
            steps.push(rename(DATASTORE, &format!("{DATASTORE}.converted")));
            steps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A data partition: folder → whose objects it holds. A cut while one is made leaves it torn.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Disk {
        folders: BTreeMap<String, &'static str>,
        order: Option<Order>,
        given: bool,
    }

    impl Disk {
        fn held(&self) -> Held {
            Held {
                keys: true,
                cluster: false,
                sqlite: self.folders.contains_key(DATASTORE),
                etcd: self.folders.contains_key(ETCD_DATA),
            }
        }

        fn plan(&self, datastore: &Datastore) -> Vec<Step> {
            let (folder, _) = place(datastore).unwrap();
            let fresh = self.folders.contains_key(&format!("{folder}.new"));
            steps(&Role::First, datastore, self.held(), self.order, fresh)
        }

        fn perform(&mut self, step: &Step) {
            match step {
                Step::Make { from, to, .. } => {
                    let what = if from == RESTORE {
                        assert!(self.given, "what is to be restored is still there");
                        "snapshot"
                    } else {
                        self.folders[DATASTORE]
                    };
                    self.folders.insert(to.clone(), what);
                }
                Step::Note(order) => self.order = Some(*order),
                Step::Rename { from, to } => {
                    let what = self.folders.remove(from).expect("what is renamed is there");
                    assert_ne!(what, "torn");
                    self.folders.insert(to.clone(), what);
                }
                Step::Forget => (self.order, self.given) = (None, false),
            }
        }
    }

    /// Every sequence of at most three cuts, the first at every step; each may fall into the middle of making.
    fn cut_everywhere(start: &Disk, datastore: &Datastore, cuts: usize, end: &dyn Fn(&Disk)) -> usize {
        let mut disk = start.clone();
        let mut seen = 1;
        for step in disk.plan(datastore) {
            if cuts > 0 {
                let mut torn = disk.clone();
                if let Step::Make { to, .. } = &step {
                    torn.folders.insert(to.clone(), "torn");
                }
                seen += cut_everywhere(&torn, datastore, cuts - 1, end);
            }
            disk.perform(&step);
            let old_or_new = disk.folders.values().any(|w| *w == "old" || *w == "snapshot");
            assert!(old_or_new, "{disk:?}");
        }
        assert_eq!(disk.plan(datastore), [], "nothing is left to do: {disk:?}");
        end(&disk);
        seen
    }

    fn disk(folders: &[(&str, &'static str)], order: Option<Order>) -> Disk {
        Disk {
            folders: folders.iter().map(|(f, w)| ((*f).to_owned(), *w)).collect(),
            order,
            given: order == Some(Order::Restore),
        }
    }

    #[test]
    fn a_restore_survives_every_cut() {
        for (datastore, folder) in [(Datastore::Sqlite, DATASTORE), (Datastore::Etcd, ETCD_DATA)] {
            let before = format!("{folder}.before");
            for folders in [vec![(folder, "old")], vec![(folder, "old"), (before.as_str(), "older")]] {
                let start = disk(&folders, Some(Order::Restore));
                let end = |d: &Disk| assert_eq!((d.folders[folder], d.folders[&before]), ("snapshot", "old"));
                assert!(cut_everywhere(&start, &datastore, 3, &end) > 50);
            }
            // Onto a server that lost all.
            let mut start = disk(&[], Some(Order::Restore));
            start.perform(&Step::Note(Order::Restore));
            assert!(
                start
                    .plan(&datastore)
                    .iter()
                    .all(|s| !matches!(s, Step::Make { replaced: Some(_), .. }))
            );
        }
    }

    #[test]
    fn the_move_to_etcd_survives_every_cut() {
        let start = disk(&[(DATASTORE, "old")], None);
        let end = |d: &Disk| {
            let kept = d.folders.get(&format!("{DATASTORE}.converted"));
            assert_eq!((d.folders[ETCD_DATA], kept), ("old", Some(&"old")));
            assert!(!d.folders.contains_key(DATASTORE));
        };
        assert!(cut_everywhere(&start, &Datastore::Etcd, 3, &end) > 10);
        // Who joins others moves nothing.
        assert_eq!(steps(&Role::Server(vec![]), &Datastore::Etcd, start.held(), None, false), []);
        assert_eq!(steps(&Role::First, &Datastore::Sqlite, start.held(), None, true), []);
    }

    #[test]
    fn alone_is_etcds_own_business() {
        let etcd = disk(&[(ETCD_DATA, "old")], Some(Order::Alone));
        assert_eq!(etcd.plan(&Datastore::Etcd), []);
        let sqlite = disk(&[(DATASTORE, "old")], Some(Order::Alone));
        assert_eq!(sqlite.plan(&Datastore::Sqlite), [Step::Forget]);
    }
}
