//! Room kept back, so that a machine whose disk is full comes up and its datastore can write.

use skerry_overlay::{RESERVE, RESERVE_BYTES, RESERVE_NEEDED_BELOW, STATE};
use skerry_sys::file::{self, Space};
use std::fs;
use std::path::{Path, PathBuf};

fn path() -> PathBuf {
    Path::new(STATE).join(RESERVE)
}

/// Deletes the reserve if the disk is (almost) full. Called at each boot, and whenever somebody notices a full disk.
pub fn give_up_if_needed(say: &impl Fn(&str)) -> Vec<String> {
    let result = file::space(Path::new(STATE)).map_err(|why| why.to_string()).and_then(|space| {
        if !path().exists() || !is_needed(space) {
            return Ok(());
        }
        say(&format!(
            "the data disk is full ({} KiB left): the reserve of {} MiB is given up, so that the machine can write while you make room",
            space.free >> 10,
            RESERVE_BYTES >> 20
        ));
        fs::remove_file(path()).map_err(|why| format!("deleting {}: {why}", path().display()))
    });
    result.err().into_iter().collect()
}

/// Makes the reserve where there is none and room enough: not while the machine comes up, which waits for every write.
pub fn make_if_there_is_room() -> Vec<String> {
    let exists = path().exists();
    let done = file::space(Path::new(STATE)).and_then(|space| match decide(exists, space) {
        Next::Make => file::preallocate(&path(), RESERVE_BYTES),
        // Said once, at the start.
        Next::Nothing | Next::Warn(_) => Ok(()),
    });
    done.err().map(|why| why.to_string()).into_iter().collect()
}

/// Says so where the disk lives on a reserve that was given up.
pub fn warn_if_used_up() -> Vec<String> {
    let exists = path().exists();
    let problem = file::space(Path::new(STATE)).map(|space| match decide(exists, space) {
        Next::Warn(problem) => Some(problem),
        Next::Nothing | Next::Make => None,
    });
    problem.unwrap_or_else(|why| Some(why.to_string())).into_iter().collect()
}

/// What is to be done about the reserve once the machine has come up.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Make,
    Warn(String),
}

fn decide(exists: bool, space: Space) -> Next {
    if exists {
        Next::Nothing
    } else if is_affordable(space) {
        Next::Make
    } else if space.free < 2 * RESERVE_BYTES {
        Next::Warn(format!(
            "the data disk is almost full ({} MiB left) and its reserve is used up: make room, or the next full disk stops the datastore",
            space.free >> 20
        ))
    } else {
        Next::Nothing
    }
}

/// Blocks kept back from pods count as left: our services may use them.
fn is_needed(space: Space) -> bool {
    space.free < RESERVE_NEEDED_BELOW
}

fn is_affordable(space: Space) -> bool {
    space.available >= 4 * RESERVE_BYTES + RESERVE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_on_the_reserve_is_said() {
        let at = |mib: u64| Space {
            free: mib << 20,
            available: mib << 20,
        };
        assert_eq!(decide(true, at(0)), Next::Nothing);
        assert_eq!(decide(false, at(1000)), Next::Make);
        assert_eq!(decide(false, at(200)), Next::Nothing);
        assert!(matches!(decide(false, at(60)), Next::Warn(problem) if problem.contains("almost full (60 MiB left)")));
    }

    #[test]
    fn it_is_not_given_up_and_made_again_in_turn() {
        for free in (0..600).map(|mib| mib << 20) {
            let space = Space { free, available: free };
            assert!(!(is_needed(space) && is_affordable(space)));
            if is_affordable(space) {
                let after = Space {
                    free: free - RESERVE_BYTES,
                    available: free - RESERVE_BYTES,
                };
                assert!(!is_needed(after));
            }
        }
    }
}
