//! The two copies of the boot state: which one is believed, and in which order both become new.
//!
//! `env0` is the truth if it is valid, else `env1`. A writer first writes the copy that is *not* the truth, then the truth: at every
//! instant one copy is whole. (With a healthy pair that is env1, then env0. With a damaged env0 it is the other way round: writing
//! env1 first would put the only valid copy at risk.)

use crate::Sector;
use crate::envblk;
use crate::state::{Slot, State};

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Env {
    /// The file `env0`.
    Zero,
    /// The file `env1`.
    One,
}

impl Env {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Zero, Self::One];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }

    /// The file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zero => "env0",
            Self::One => "env1",
        }
    }
}

/// Both copies as they were read; a sector that cannot be read is all zeros here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// `env0`.
    pub zero: Sector,
    /// `env1`.
    pub one: Sector,
}

/// Where the believed state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A valid copy.
    Copy(Env),
    /// Neither is valid, but one still names a good slot.
    Salvaged,
    /// Neither is valid, and neither names one: slot a.
    Guessed,
}

/// What a pair means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The state that counts.
    pub state: State,
    /// Where it comes from.
    pub source: Source,
    /// Which copies are damaged: `env0`, `env1`.
    pub is_damaged: [bool; 2],
}

impl View {
    /// Whether a valid copy says so.
    pub fn is_known(&self) -> bool {
        matches!(self.source, Source::Copy(_))
    }
}

/// One sector to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Which copy; [`crate::partition::PLACES`] says where it lies.
    pub env: Env,
    /// Its new bytes.
    pub sector: Sector,
}

/// Up to two writes, in their order.
///
/// After each: flush the disk, read the sector back past every cache, compare. At the first that fails, stop: nothing has changed
/// yet, or the next boot reads either the old or the new state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes([Option<Write>; 2]);

impl Writes {
    pub(crate) fn push(&mut self, env: Env, sector: &Sector) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(Write { env, sector: *sector });
        }
    }

    /// The writes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Write> {
        self.0.iter().flatten()
    }

    /// Whether the disk says it already.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Pair {
    /// Both copies of a state.
    pub fn of(state: State) -> Self {
        let sector = state.encode();
        Self { zero: sector, one: sector }
    }

    /// One copy.
    pub fn get(&self, env: Env) -> &Sector {
        match env {
            Env::Zero => &self.zero,
            Env::One => &self.one,
        }
    }

    /// One copy, to change.
    pub fn get_mut(&mut self, env: Env) -> &mut Sector {
        match env {
            Env::Zero => &mut self.zero,
            Env::One => &mut self.one,
        }
    }

    /// What the pair means, to us and to GRUB.
    pub fn read(&self) -> View {
        let decoded = Env::ALL.map(|env| State::decode(self.get(env)));
        let is_damaged = decoded.map(|state| state.is_none());
        let valid = Env::ALL.into_iter().zip(decoded).find_map(|(env, state)| Some((env, state?)));
        let (state, source) = match valid {
            Some((env, state)) => (state, Source::Copy(env)),
            None => match Env::ALL.into_iter().find_map(|env| names_good(self.get(env))) {
                Some(good) => (State::settled(good), Source::Salvaged),
                None => (State::settled(Slot::A), Source::Guessed),
            },
        };
        View { state, source, is_damaged }
    }

    /// The copy that is written first, and the one that is written last: the truth.
    pub fn order(&self) -> [Env; 2] {
        match self.read().source {
            Source::Copy(Env::One) => [Env::Zero, Env::One],
            _ => [Env::One, Env::Zero],
        }
    }

    /// The writes that make both copies say `state`.
    pub fn writes(&self, state: State) -> Writes {
        let sector = state.encode();
        let mut writes = Writes::default();
        for env in self.order().into_iter().filter(|env| *self.get(*env) != sector) {
            writes.push(env, &sector);
        }
        writes
    }
}

/// The good slot that a damaged copy still names. `good` is its first line, so that most damage leaves it.
fn names_good(sector: &Sector) -> Option<Slot> {
    let [value] = envblk::load(sector, ["good"]);
    let value = value?;
    Slot::ALL.into_iter().find(|slot| value.get() == Some(slot.name().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Tries;

    const OLD: State = State::settled(Slot::A);
    const NEW: State = State {
        good: Slot::A,
        trial: Some(Tries::ALL),
    };

    #[test]
    fn the_truth_is_written_last() {
        let order = |pair: &Pair| pair.writes(NEW).iter().map(|w| w.env).collect::<std::vec::Vec<_>>();
        let healthy = Pair::of(OLD);
        assert_eq!(order(&healthy), [Env::One, Env::Zero]);
        let without_zero = Pair { zero: [0; 512], ..healthy };
        assert_eq!(order(&without_zero), [Env::Zero, Env::One]);
        let half_done = Pair {
            one: NEW.encode(),
            ..healthy
        };
        assert_eq!(order(&half_done), [Env::Zero]);
        assert!(Pair::of(NEW).writes(NEW).is_empty());
    }

    #[test]
    fn what_is_left_of_two_damaged_copies_is_used() {
        let mut torn = State::settled(Slot::B).encode();
        torn[50] = b'?';
        let none = [0; 512];
        for (zero, one, good, source) in [
            (torn, none, Slot::B, Source::Salvaged),
            (none, torn, Slot::B, Source::Salvaged),
            (none, none, Slot::A, Source::Guessed),
        ] {
            let view = Pair { zero, one }.read();
            assert_eq!((view.state, view.source), (State::settled(good), source));
            assert!(!view.is_known() && view.is_damaged == [true, true]);
        }
    }
}
