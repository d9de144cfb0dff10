//! What the running system may do with the slots. Each action gives the writes that do it, or says why it must not be done.

use crate::pair::{Env, Pair, Source, Writes};
use crate::state::{Slot, State, Tries};
use crate::why::Why;
use core::fmt;

/// Why an action is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// This slot is running.
    Running(Slot),
    /// This slot is the only good one.
    Good(Slot),
    /// This slot may be booted at any restart.
    OnTrial(Slot),
    /// This slot was not written to its end and read back.
    NotWhole(Slot),
    /// No slot is on trial.
    NoTrial,
    /// Neither copy of the boot state is valid.
    Unknown,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(slot) => write!(f, "slot {slot} is running"),
            Self::Good(slot) => write!(f, "slot {slot} is the good one"),
            Self::OnTrial(slot) => write!(f, "slot {slot} is on trial: a restart may boot it"),
            Self::NotWhole(slot) => write!(f, "slot {slot} holds no whole release"),
            Self::NoTrial => f.write_str("no slot is on trial"),
            Self::Unknown => f.write_str("both copies of the boot state are damaged, so no slot is known to be good"),
        }
    }
}

impl core::error::Error for Refused {}

/// What the running slot is to the boot state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The good one.
    Good,
    /// The candidate: it must prove itself, or be left for the good one.
    Trial,
    /// Neither, or the candidate because the good slot cannot be read: a restart leads here again. It may prove itself.
    Stray,
}

/// The role of the slot that GRUB booted for this reason.
pub fn role(state: State, running: Slot, why: Why) -> Role {
    if running == state.good {
        Role::Good
    } else if state.candidate() == Some(running) && why != Why::Unbootable(state.good) {
        Role::Trial
    } else {
        Role::Stray
    }
}

/// Whether the bytes of `slot` may be changed now. Ask again before each write of an update.
///
/// Both copies are asked: after a cut the older one may still name the slot, and it counts as soon as the other is lost.
pub fn may_write(pair: &Pair, running: Slot, slot: Slot) -> Result<(), Refused> {
    if slot == running {
        return Err(Refused::Running(slot));
    }
    known(pair)?;
    for state in Env::ALL.into_iter().filter_map(|env| State::decode(pair.get(env))) {
        if slot == state.good {
            return Err(Refused::Good(slot));
        } else if state.trial.is_some() {
            return Err(Refused::OnTrial(slot));
        }
    }
    Ok(())
}

/// Makes ready to write the slot that is not running: takes it off trial in both copies. Only then [`may_write`] allows it.
///
/// Whoever writes wipes the first sector of the boot partition first and writes it last: should both copies be lost or the good slot be
/// unreadable, GRUB then passes over a half-written slot.
pub fn begin_write(pair: &Pair, running: Slot) -> Result<(Slot, Writes), Refused> {
    let (state, slot) = (known(pair)?, running.other());
    if slot == state.good {
        return Err(Refused::Good(slot));
    }
    Ok((slot, pair.writes(State::settled(running))))
}

/// Puts a slot on trial from the next restart on. `is_whole`: it was written to its end, flushed and read back.
pub fn try_slot(pair: &Pair, running: Slot, slot: Slot, is_whole: bool) -> Result<Writes, Refused> {
    let state = known(pair)?;
    if slot == state.good {
        Err(Refused::Good(slot))
    } else if slot == running {
        Err(Refused::Running(slot))
    } else if !is_whole {
        Err(Refused::NotWhole(slot))
    } else {
        Ok(pair.writes(on_trial(state.good, Tries::ALL)))
    }
}

/// The running slot has proven itself. On the good slot this repairs a copy at most: a candidate that waits for its restart stays.
pub fn mark_good(pair: &Pair, running: Slot) -> Writes {
    match known(pair) {
        Ok(state) if state.good == running => pair.writes(state),
        _ => pair.writes(State::settled(running)),
    }
}

/// The candidate has failed: it is not booted again, and the good slot is told by `fallback-from-X`.
pub fn condemn(pair: &Pair) -> Result<Writes, Refused> {
    let state = known(pair)?;
    state.trial.ok_or(Refused::NoTrial)?;
    Ok(pair.writes(on_trial(state.good, Tries::NONE)))
}

/// Takes the candidate off trial, once its failure is recorded or nobody wants it any more.
pub fn clear_trial(pair: &Pair, running: Slot) -> Result<Writes, Refused> {
    let state = known(pair)?;
    if state.candidate() == Some(running) {
        return Err(Refused::Running(running)); // condemn it instead
    }
    Ok(pair.writes(State::settled(state.good)))
}

/// Back to the other slot, with the next restart: a candidate is condemned; the good slot puts the other on trial, for only what
/// boots is good; a stray one leaves all as it is, for GRUB prefers the good slot anyway.
pub fn roll_back(pair: &Pair, running: Slot, other_is_whole: bool) -> Result<Writes, Refused> {
    let state = known(pair)?;
    if state.candidate() == Some(running) {
        condemn(pair)
    } else if state.good == running {
        try_slot(pair, running, running.other(), other_is_whole)
    } else {
        Ok(pair.writes(state))
    }
}

/// Makes both copies whole and equal again; to be done at each boot.
///
/// With neither valid nobody knows which slot has proven itself. If the running one is still named good, it is good. Else it is put
/// on trial against the other: it proves itself, or the other gets its chance.
pub fn repair(pair: &Pair, running: Slot) -> Writes {
    let view = pair.read();
    match view.source {
        Source::Copy(_) => pair.writes(view.state),
        Source::Salvaged if view.state.good == running => pair.writes(view.state),
        Source::Salvaged | Source::Guessed => {
            let left = Tries::ALL.spend().unwrap_or(Tries::NONE); // this boot is one
            pair.writes(on_trial(running.other(), left))
        }
    }
}

fn known(pair: &Pair) -> Result<State, Refused> {
    let view = pair.read();
    if view.is_known() { Ok(view.state) } else { Err(Refused::Unknown) }
}

fn on_trial(good: Slot, tries: Tries) -> State {
    State { good, trial: Some(tries) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Slot::{A, B};

    fn after(pair: &Pair, writes: &Writes) -> State {
        let mut pair = *pair;
        for write in writes.iter() {
            *pair.get_mut(write.env) = write.sector;
        }
        assert_eq!(pair.zero, pair.one);
        pair.read().state
    }

    #[test]
    fn an_update_and_its_proof() {
        let fresh = Pair::of(State::settled(A));
        let (slot, writes) = begin_write(&fresh, A).unwrap();
        assert_eq!((slot, writes.is_empty()), (B, true));
        assert_eq!(may_write(&fresh, A, B), Ok(()));
        assert_eq!(try_slot(&fresh, A, B, false), Err(Refused::NotWhole(B)));
        let tried = Pair::of(after(&fresh, &try_slot(&fresh, A, B, true).unwrap()));
        assert_eq!(may_write(&tried, A, B), Err(Refused::OnTrial(B)));
        assert_eq!(
            tried.read().state,
            after(&tried, &mark_good(&tried, A)),
            "the waiting candidate stays"
        );
        assert_eq!(after(&tried, &mark_good(&tried, B)), State::settled(B));
        assert_eq!(begin_write(&tried, B).unwrap_err(), Refused::Good(A));
    }

    #[test]
    fn a_failure_and_its_record() {
        let tried = Pair::of(on_trial(A, Tries::ALL));
        let failed = after(&tried, &condemn(&tried).unwrap());
        assert_eq!(failed, on_trial(A, Tries::NONE));
        assert_eq!(after(&tried, &roll_back(&tried, B, true).unwrap()), failed);
        let failed = Pair::of(failed);
        assert_eq!(clear_trial(&failed, B), Err(Refused::Running(B)));
        let settled = Pair::of(after(&failed, &clear_trial(&failed, A).unwrap()));
        assert_eq!(condemn(&settled), Err(Refused::NoTrial));
        assert_eq!(after(&settled, &roll_back(&settled, A, true).unwrap()), on_trial(A, Tries::ALL));
        assert_eq!(roll_back(&settled, A, false), Err(Refused::NotWhole(B)));
    }

    #[test]
    fn roles() {
        let state = on_trial(A, Tries::NONE);
        for (running, why, is) in [
            (A, Why::Fallback(B), Role::Good),
            (B, Why::Try(Tries::NONE), Role::Trial),
            (B, Why::Unbootable(A), Role::Stray),
            (B, Why::Menu, Role::Trial),
        ] {
            assert_eq!(role(state, running, why), is, "{running} {why}");
        }
        assert_eq!(role(State::settled(A), B, Why::Menu), Role::Stray);
    }

    #[test]
    fn with_both_copies_lost_the_running_slot_must_prove_itself() {
        let lost = Pair {
            zero: [0; 512],
            one: [0xff; 512],
        };
        for (running, other) in [(A, B), (B, A)] {
            assert_eq!(begin_write(&lost, running), Err(Refused::Unknown));
            assert_eq!(after(&lost, &repair(&lost, running)), on_trial(other, Tries::new(2).unwrap()));
            assert_eq!(after(&lost, &mark_good(&lost, running)), State::settled(running));
        }
        let mut named = State::settled(B).encode();
        named[50] = b'?';
        let salvaged = Pair { one: named, ..lost };
        assert_eq!(after(&salvaged, &repair(&salvaged, B)), State::settled(B));
        assert_eq!(after(&salvaged, &repair(&salvaged, A)), on_trial(B, Tries::new(2).unwrap()));
    }
}
