//! A model of `images/boot/grub.cfg`: what GRUB boots from a pair of sectors, and what it writes before.
//!
//! | the pair says | GRUB boots | `skerry.why=` |
//! |---|---|---|
//! | no trial | the good slot | `good` |
//! | a trial with tries left; both copies are valid, and one less could be written to both and read back | the candidate | `try-left-N` |
//! | a trial with tries left, and any of that is not so | the good slot | `unsaved-X` |
//! | a trial without tries | the good slot | `fallback-from-X` |
//! | nothing valid | the slot that is still named good, env0's word before env1's; else a | `damaged` |
//! | any of these, but kernel or initramfs of X cannot be read | the other slot | `unbootable-X` |
//! | a person chose a slot in the menu | that slot; no try is spent | `menu` |
//!
//! GRUB never edits a damaged copy, nor the only valid one: a cut in the middle would leave none. The running system can repair, GRUB
//! cannot; so the good slot runs, [`crate::rules::repair`] is done there, and the candidate has lost nothing.

use crate::envblk;
use crate::pair::{Env, Pair, Source, Writes};
use crate::state::{Slot, State};
use crate::why::Why;

/// What the disk allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Medium {
    /// Whether writes to `env0` and `env1` reach the disk.
    pub is_writable: [bool; 2],
    /// Whether `vmlinuz`, `initrd.img` and `slot.cfg` of slots a and b can be read.
    pub is_bootable: [bool; 2],
}

impl Medium {
    /// All is well.
    pub const HEALTHY: Self = Self {
        is_writable: [true; 2],
        is_bootable: [true; 2],
    };

    fn takes(self, env: Env) -> bool {
        let [zero, one] = self.is_writable;
        if env == Env::Zero { zero } else { one }
    }

    fn boots(self, slot: Slot) -> bool {
        let [a, b] = self.is_bootable;
        if slot == Slot::A { a } else { b }
    }
}

/// What one start of GRUB does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// The sectors that reach the disk, in this order, before any kernel starts.
    pub writes: Writes,
    /// The slot whose kernel starts, and the reason given to it; none: neither can be read, and GRUB starts over.
    pub started: Option<(Slot, Why)>,
}

/// Starts GRUB, with what a person chose in its menu, if anyone did.
pub fn boot(pair: &Pair, medium: Medium, chosen: Option<Slot>) -> Boot {
    let (writes, slot, why) = match chosen {
        Some(slot) => (Writes::default(), slot, Why::Menu),
        None => select(pair, medium),
    };
    let other = slot.other();
    let started = if medium.boots(slot) {
        Some((slot, why))
    } else {
        medium.boots(other).then_some((other, Why::Unbootable(slot)))
    };
    Boot { writes, started }
}

fn select(pair: &Pair, medium: Medium) -> (Writes, Slot, Why) {
    let view = pair.read();
    let State { good, trial } = view.state;
    let candidate = good.other();
    let none = Writes::default();
    match (view.source, trial) {
        (Source::Salvaged | Source::Guessed, _) => (none, good, Why::Damaged),
        (_, None) => (none, good, Why::Good),
        (_, Some(tries)) => match tries.spend() {
            None => (none, good, Why::Fallback(candidate)),
            Some(left) => match save(pair, medium, State { good, trial: Some(left) }) {
                (writes, true) => (writes, candidate, Why::Try(left)),
                (writes, false) => (writes, good, Why::Unsaved(candidate)),
            },
        },
    }
}

/// Edits both copies, env1 first, reading each back; gives up at the first that does not say `new` then.
fn save(pair: &Pair, medium: Medium, new: State) -> (Writes, bool) {
    let mut writes = Writes::default();
    if pair.read().is_damaged != [false; 2] {
        return (writes, false);
    }
    for env in pair.order() {
        let mut sector = *pair.get(env);
        let is_edited = new.words().0.iter().all(|(name, value)| envblk::set(&mut sector, name, value));
        let is_written = is_edited && medium.takes(env);
        if is_written {
            writes.push(env, &sector);
        }
        let now = if is_written { &sector } else { pair.get(env) };
        if State::decode(now) != Some(new) {
            return (writes, false);
        }
    }
    (writes, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Tries;

    const ON_TRIAL: State = State {
        good: Slot::A,
        trial: Some(Tries::ALL),
    };
    const LEFT_2: Option<Tries> = Tries::new(2);

    fn started(pair: &Pair, medium: Medium) -> (Slot, Why) {
        boot(pair, medium, None).started.unwrap()
    }

    #[test]
    fn a_try_is_spent_before_the_candidate_starts() {
        let done = boot(&Pair::of(ON_TRIAL), Medium::HEALTHY, None);
        assert_eq!(done.started, Some((Slot::B, Why::Try(LEFT_2.unwrap()))));
        let spent = State { trial: LEFT_2, ..ON_TRIAL }.encode();
        let writes: std::vec::Vec<_> = done.writes.iter().map(|w| (w.env, w.sector)).collect();
        assert_eq!(writes, [(Env::One, spent), (Env::Zero, spent)]);
    }

    #[test]
    fn a_try_that_cannot_be_saved_is_not_taken() {
        for is_writable in [[false, false], [false, true], [true, false]] {
            let medium = Medium {
                is_writable,
                ..Medium::HEALTHY
            };
            assert_eq!(started(&Pair::of(ON_TRIAL), medium), (Slot::A, Why::Unsaved(Slot::B)));
        }
        // With one copy damaged the other is the only one: it stays as it is.
        let pair = Pair {
            zero: [0; 512],
            ..Pair::of(ON_TRIAL)
        };
        let done = boot(&pair, Medium::HEALTHY, None);
        assert_eq!(done.started, Some((Slot::A, Why::Unsaved(Slot::B))));
        assert!(done.writes.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let without = |slot| Medium {
            is_bootable: [slot == Slot::B, slot == Slot::A],
            ..Medium::HEALTHY
        };
        assert_eq!(started(&Pair::of(ON_TRIAL), without(Slot::B)), (Slot::A, Why::Unbootable(Slot::B)));
        assert_eq!(
            started(&Pair::of(State::settled(Slot::A)), without(Slot::A)),
            (Slot::B, Why::Unbootable(Slot::A))
        );
        let nothing = Medium {
            is_bootable: [false; 2],
            ..Medium::HEALTHY
        };
        assert_eq!(boot(&Pair::of(ON_TRIAL), nothing, None).started, None);
    }

    #[test]
    fn a_person_costs_no_try() {
        let done = boot(&Pair::of(ON_TRIAL), Medium::HEALTHY, Some(Slot::B));
        assert_eq!((done.started, done.writes.is_empty()), (Some((Slot::B, Why::Menu)), true));
    }
}
