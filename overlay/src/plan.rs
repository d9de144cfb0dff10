//! Which steps stack the running root. Pure: the same facts, the same steps.

use crate::table::{self, FILE, Kind, ROWS, Row};
use crate::{STATE, version};
use std::collections::BTreeSet;
use std::fmt;

/// What was seen before the plan is made. The state is mounted already, as a disk or as a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The image's directories among [`looked_for`].
    pub image: BTreeSet<String>,
    /// Targets that something is mounted at.
    pub mounted: BTreeSet<String>,
    /// The tree has a version file.
    pub has_version: bool,
}

/// Which of the image's directories the plan wants to know of.
pub fn looked_for() -> impl Iterator<Item = &'static str> {
    ROWS.iter()
        .filter(|row| row.kind != Kind::InPlace)
        .map(|row| row.target)
        .chain(["/etc", "/tmp"])
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a directory with this mode where absent; where it is 0700, close one that is open.
    Directory {
        /// Absolute.
        path: String,
        /// Exact.
        mode: u32,
    },
    /// Write a small file, durably.
    File {
        /// Absolute.
        path: String,
        /// All of it.
        content: String,
    },
    /// Copy what is in `from` and not in `to`.
    Fill {
        /// A directory of the image.
        from: String,
        /// A directory of the state.
        to: String,
    },
    /// Mount a tmpfs.
    Tmpfs {
        /// Where.
        target: String,
        /// Its options.
        options: &'static str,
    },
    /// Lay a tmpfs over a directory of the image, which stays visible where nothing is written.
    Over {
        /// A directory of the image, and where the result is shown.
        target: String,
        /// Where what is written goes; holds `upper` and `work`.
        on: String,
    },
    /// Show a directory at a second place.
    Bind {
        /// In the state.
        source: String,
        /// In the root.
        target: String,
    },
    /// A row that cannot be shown: the image has no such directory, and is read-only.
    LeaveOut {
        /// The row's target.
        target: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, mode } => write!(f, "directory {path} {mode:04o}"),
            Self::File { path, content } => write!(f, "file {path} {content:?}"),
            Self::Fill { from, to } => write!(f, "fill {to} from {from}"),
            Self::Tmpfs { target, options } => write!(f, "tmpfs {target} {options}"),
            Self::Over { target, on } => write!(f, "over {target} by {on}"),
            Self::Bind { source, target } => write!(f, "bind {target} to {source}"),
            Self::LeaveOut { target } => write!(f, "leave out {target}: the image has no such directory"),
        }
    }
}

/// The steps, in order. What is mounted already is not mounted again, so that the plan can be performed twice.
pub fn plan(facts: &Facts) -> Vec<Step> {
    let mut steps = vec![];
    if !facts.has_version {
        steps.push(Step::File {
            path: format!("{STATE}/{}", "version"),
            content: version::write(),
        });
    }
    for row in ROWS.iter().filter(|row| row.mode != FILE) {
        steps.extend(parent_of(row));
        steps.push(Step::Directory {
            path: in_state(row),
            mode: row.mode,
        });
    }
    if facts.image.contains("/tmp") && !facts.mounted.contains("/tmp") {
        steps.push(Step::Tmpfs {
            target: "/tmp".into(),
            options: "mode=1777,size=50%",
        });
    }
    if !facts.mounted.contains("/etc") {
        steps.push(Step::Over {
            target: "/etc".into(),
            on: "/run/skerry/etc".into(),
        });
    }
    for row in ROWS
        .iter()
        .filter(|row| row.kind != Kind::InPlace && !facts.mounted.contains(row.target))
    {
        steps.extend(show(row, facts));
    }
    steps
}

fn show(row: &Row, facts: &Facts) -> Vec<Step> {
    let is_in_image = facts.image.contains(row.target);
    let bind = Step::Bind {
        source: in_state(row),
        target: row.target.into(),
    };
    match row.kind {
        Kind::BindFilled if is_in_image => vec![
            Step::Fill {
                from: row.target.into(),
                to: in_state(row),
            },
            bind,
        ],
        _ if is_in_image => vec![bind],
        // /etc can be written by now, and is new at each boot.
        _ if table::is_in_etc(row.target) => vec![
            Step::Directory {
                path: row.target.into(),
                mode: 0o755,
            },
            bind,
        ],
        _ => vec![Step::LeaveOut { target: row.target.into() }],
    }
}

/// A directory between the state's root and the row that is no row itself, such as `etc` or `var/lib`.
fn parent_of(row: &Row) -> Vec<Step> {
    let mut parents: Vec<&str> = vec![];
    let mut rest = row.source;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        parents.insert(0, parent);
        rest = parent;
    }
    let is_row = |path: &str| ROWS.iter().any(|row| row.source == path);
    // Only before the first row that lies in it.
    let is_first = |path: &str| {
        ROWS.iter()
            .find(|r| r.source.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
            .is_some_and(|r| r.source == row.source)
    };
    parents
        .into_iter()
        .filter(|parent| !is_row(parent) && is_first(parent))
        .map(|parent| Step::Directory {
            path: format!("{STATE}/{parent}"),
            mode: 0o755,
        })
        .collect()
}

fn in_state(row: &Row) -> String {
    format!("{STATE}/{}", row.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn all_there() -> BTreeSet<String> {
        looked_for().map(str::to_owned).collect()
    }

    /// Compares with `tests/golden/NAME`; `BLESS=1` writes it.
    #[allow(clippy::disallowed_methods, reason = "a golden file in the source tree, written on request")]
    fn golden(name: &str, facts: &Facts) {
        let text = plan(facts).iter().map(Step::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).unwrap_or_default(),
            "{name} differs; BLESS=1 accepts the new text"
        );
    }

    #[test]
    fn a_fresh_state() {
        golden(
            "fresh.txt",
            &Facts {
                image: all_there(),
                ..Facts::default()
            },
        );
    }

    #[test]
    fn a_second_boot_writes_no_version() {
        let facts = Facts {
            image: all_there(),
            has_version: true,
            ..Facts::default()
        };
        assert!(!plan(&facts).iter().any(|step| matches!(step, Step::File { .. })));
    }

    #[test]
    fn an_image_without_the_directories() {
        golden(
            "bare-image.txt",
            &Facts {
                image: ["/etc".to_owned(), "/var".to_owned()].into(),
                has_version: true,
                ..Facts::default()
            },
        );
    }

    #[test]
    fn what_is_mounted_is_left_alone() {
        let facts = Facts {
            image: all_there(),
            mounted: all_there(),
            has_version: true,
        };
        assert!(plan(&facts).iter().all(|step| matches!(step, Step::Directory { .. })));
    }

    #[test]
    fn a_place_exists_before_it_is_used() {
        let facts = Facts {
            image: all_there(),
            ..Facts::default()
        };
        let mut made = BTreeSet::from([STATE.to_owned()]);
        for step in plan(&facts) {
            match step {
                Step::Directory { path, .. } if path.starts_with(STATE) => {
                    let parent = path.rsplit_once('/').unwrap().0.to_owned();
                    assert!(made.contains(&parent), "{path} before {parent}");
                    assert!(made.insert(path.clone()), "{path} twice");
                }
                Step::Bind { source, .. } => assert!(made.contains(&source), "{source}"),
                _ => {}
            }
        }
    }
}
