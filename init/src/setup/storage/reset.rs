//! A factory reset, ordered by `skerry reset` with a mark on data and done at the next start, before anything uses what is there.
//!
//! The mark is the last thing to go: a reset that was cut is finished at the next start.

use skerry_overlay::reset::{Fate, MARK, Order, fate};
use skerry_sys::{Doing, Result, file};
use std::fs;
use std::path::Path;

/// Does what the mark says, if there is one. Returns what went wrong.
pub fn finish_if_ordered(state: &Path, say: &impl Fn(&str)) -> Vec<String> {
    let mark = state.join(MARK);
    let order = match file::read_bounded(&mark, 4096) {
        Ok(bytes) => Order::parse(&String::from_utf8_lossy(&bytes)),
        Err(_) if !mark.exists() => return vec![],
        Err(why) => return vec![why.to_string()],
    };
    let Some(order) = order else {
        return vec![format!(
            "{} is not an order that this version knows; nothing was reset / remove it: skerry reset --cancel",
            mark.display()
        )];
    };
    say(match order {
        Order::KeepConfig => "resetting this machine: all but its configuration is removed",
        Order::Everything => "resetting this machine: everything that it kept is removed",
    });
    let mut problems = vec![];
    clear(state, Path::new(""), order, &mut problems);
    // What was removed must be gone before the mark is: else a cut brings half of it back with no order to finish.
    let done = file::flush_file_system(state)
        .and_then(|()| fs::remove_file(&mark).doing("removing", mark.display()))
        .and_then(|()| file::flush_dir(state));
    problems.extend(done.err().map(|why| why.to_string()));
    if problems.is_empty() {
        say("the machine is reset");
    }
    problems
}

fn clear(state: &Path, at: &Path, order: Order, problems: &mut Vec<String>) {
    let entries = match fs::read_dir(state.join(at)) {
        Ok(entries) => entries,
        Err(why) => return problems.push(format!("resetting: listing /{}: {why}", at.display())),
    };
    for entry in entries.flatten() {
        let path = at.join(entry.file_name());
        match fate(&path, order) {
            Fate::Kept => {}
            Fate::HoldsKept if entry.file_type().is_ok_and(|t| t.is_dir()) => clear(state, &path, order, problems),
            Fate::HoldsKept | Fate::Removed => problems.extend(remove(&state.join(&path)).err().map(|why| why.to_string())),
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).doing("looking at", path.display())?;
    let done = if found.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    done.doing("removing", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str) -> std::path::PathBuf {
        let state = std::env::temp_dir().join(format!("skerry-reset-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        for path in [
            "version",
            "system/config.yaml",
            "k3os/system/config.yaml",
            "var/lib/skerry/config.yaml",
            "var/lib/skerry/config.d/by-mac/x.yaml",
            "var/lib/skerry/upgrade/trial.json",
            "var/lib/containerd/io/blob",
            "etc/kubernetes/pki/ca.key",
            "etc/machine-id",
            "lost+found/x",
        ] {
            fs::create_dir_all(state.join(path).parent().unwrap()).unwrap();
            file::replace(state.join(path), b"x", 0o600).unwrap();
        }
        state
    }

    fn left(state: &Path) -> Vec<String> {
        fn walk(state: &Path, at: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(at).unwrap().flatten() {
                if entry.path().is_dir() {
                    walk(state, &entry.path(), into);
                } else {
                    into.push(entry.path().strip_prefix(state).unwrap().display().to_string());
                }
            }
        }
        let mut all = vec![];
        walk(state, state, &mut all);
        all.sort();
        all
    }

    #[test]
    fn without_an_order_nothing_happens() {
        let state = tree("none");
        let before = left(&state);
        assert!(finish_if_ordered(&state, &|_| {}).is_empty());
        file::replace(state.join(MARK), b"skerry-reset 9\n", 0o600).unwrap();
        assert!(finish_if_ordered(&state, &|_| {})[0].contains("is not an order"));
        fs::remove_file(state.join(MARK)).unwrap();
        assert_eq!(left(&state), before);
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn everything_or_all_but_the_configuration() {
        for (order, kept) in [
            (Order::Everything, &["lost+found/x"][..]),
            (
                Order::KeepConfig,
                &[
                    "k3os/system/config.yaml",
                    "lost+found/x",
                    "system/config.yaml",
                    "var/lib/skerry/config.d/by-mac/x.yaml",
                    "var/lib/skerry/config.yaml",
                ],
            ),
        ] {
            let state = tree(order.word());
            file::replace(state.join(MARK), order.to_string().as_bytes(), 0o600).unwrap();
            assert_eq!(finish_if_ordered(&state, &|_| {}), Vec::<String>::new());
            assert_eq!(left(&state), kept);
            fs::remove_dir_all(&state).unwrap();
        }
    }

    /// Wherever it is cut, the next start finishes it.
    #[test]
    fn a_cut_is_finished() {
        for removed_before in 0..8 {
            let state = tree("cut");
            file::replace(state.join(MARK), Order::Everything.to_string().as_bytes(), 0o600).unwrap();
            for path in left(&state).into_iter().filter(|p| p != MARK).take(removed_before) {
                fs::remove_file(state.join(path)).unwrap();
            }
            assert_eq!(finish_if_ordered(&state, &|_| {}), Vec::<String>::new());
            assert!(left(&state).iter().all(|p| p.starts_with("lost+found")));
            fs::remove_dir_all(&state).unwrap();
        }
    }
}
