//! The boot state, and its one spelling as a sector. There are ten states.

use crate::envblk::{self, SIGNATURE};
use crate::{SECTOR, Sector};
use core::fmt;

/// One of the two places for a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `boot-a` and `root-a`.
    A,
    /// `boot-b` and `root-b`.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// Reads `a` or `b`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == text)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many boots a candidate has left, 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tries(u8);

impl Tries {
    /// What a new candidate gets.
    pub const ALL: Self = Self(3);
    /// None left: GRUB boots the good slot.
    pub const NONE: Self = Self(0);

    /// One less; none if there is none to take.
    #[must_use]
    pub const fn spend(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// From a number, 0 to 3.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::ALL.0 { Some(Self(number)) } else { None }
    }

    /// One digit.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "0",
            1 => "1",
            2 => "2",
            _ => "3",
        }
    }
}

/// The boot state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The slot that has proven itself.
    pub good: Slot,
    /// Whether the other slot is on trial, and for how many boots more. With [`Tries::NONE`] it has failed, or was condemned.
    pub trial: Option<Tries>,
}

impl State {
    /// Every state there is.
    pub const ALL: [Self; 10] = {
        const fn of(good: Slot, trial: Option<Tries>) -> State {
            State { good, trial }
        }
        let (a, b) = (Slot::A, Slot::B);
        [
            of(a, None),
            of(a, Some(Tries(0))),
            of(a, Some(Tries(1))),
            of(a, Some(Tries(2))),
            of(a, Some(Tries(3))),
            of(b, None),
            of(b, Some(Tries(0))),
            of(b, Some(Tries(1))),
            of(b, Some(Tries(2))),
            of(b, Some(Tries(3))),
        ]
    };

    /// A state without a trial: that of a fresh install.
    pub const fn settled(good: Slot) -> Self {
        Self { good, trial: None }
    }

    /// The slot on trial, whether or not it has tries left.
    pub fn candidate(self) -> Option<Slot> {
        self.trial.map(|_| self.good.other())
    }

    /// The four values: `good`, `try`, `tries`, and `v`, which repeats the other three.
    ///
    /// A sector that was torn in the middle of a write has a `v` of one state and values of another, so it equals neither.
    pub const fn words(self) -> Words {
        let (a, b) = (Slot::A, Slot::B);
        let (candidate, tries, v) = match (self.good, self.trial) {
            (a, None) => ("", "0", if matches!(a, Slot::A) { "a--0" } else { "b--0" }),
            (Slot::A, Some(tries)) => (b.name(), tries.name(), ["a-b-0", "a-b-1", "a-b-2", "a-b-3"][tries.0 as usize & 3]),
            (Slot::B, Some(tries)) => (a.name(), tries.name(), ["b-a-0", "b-a-1", "b-a-2", "b-a-3"][tries.0 as usize & 3]),
        };
        Words([("good", self.good.name()), ("try", candidate), ("tries", tries), ("v", v)])
    }

    /// The sector, exactly as every writer writes it.
    pub fn encode(self) -> Sector {
        let mut sector = [b'#'; SECTOR];
        let words = self.words();
        let text = words
            .0
            .iter()
            .flat_map(|(name, value)| [name, "=", value, "\n"])
            .flat_map(str::bytes);
        for (place, byte) in sector.iter_mut().zip(SIGNATURE.iter().copied().chain(text)) {
            *place = byte;
        }
        sector
    }

    /// Reads a sector; none if it is not exactly one state's values. Unknown names are skipped.
    pub fn decode(sector: &Sector) -> Option<Self> {
        let read = envblk::load(sector, ["good", "try", "tries", "v"]).map(Option::unwrap_or_default);
        let says = |words: &Words| {
            let mut both = read.iter().zip(words.0);
            both.all(|(read, (_, value))| read.get() == Some(value.as_bytes()))
        };
        Self::ALL.into_iter().find(|state| says(&state.words()))
    }
}

/// Names and values of a state, in the order of the sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(pub [(&'static str, &'static str); 4]);

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn the_format_is_this_forever() {
        let text = "# GRUB Environment Block\ngood=a\ntry=b\ntries=3\nv=a-b-3\n";
        let state = State {
            good: Slot::A,
            trial: Some(Tries::ALL),
        };
        let sector = state.encode();
        assert_eq!(String::from_utf8_lossy(&sector), String::from(text) + &"#".repeat(512 - text.len()));
        let fresh = State::settled(Slot::B).encode();
        assert!(fresh.starts_with(b"# GRUB Environment Block\ngood=b\ntry=\ntries=0\nv=b--0\n##"));
    }

    #[test]
    fn every_state_survives_its_sector() {
        for state in State::ALL {
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
    }

    #[test]
    fn one_changed_byte_never_makes_another_state() {
        for state in State::ALL {
            let whole = state.encode();
            for at in (0..60).chain([60, 255, 256, 511]) {
                for byte in 0..=255 {
                    let mut sector = whole;
                    sector[at] = byte;
                    assert!(
                        State::decode(&sector).is_none_or(|read| read == state),
                        "{state:?} byte {at} = {byte}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_torn_sector_is_the_old_state_the_new_one_or_none() {
        for (old, new) in State::ALL.into_iter().flat_map(|old| State::ALL.map(|new| (old, new))) {
            let (before, after) = (old.encode(), new.encode());
            for at in 0..=SECTOR {
                let head: std::vec::Vec<u8> = after[..at].iter().chain(&before[at..]).copied().collect();
                let tail: std::vec::Vec<u8> = before[..at].iter().chain(&after[at..]).copied().collect();
                for torn in [head, tail] {
                    let read = State::decode(&torn.try_into().unwrap());
                    assert!(
                        [Some(old), Some(new), None].contains(&read),
                        "{old:?} → {new:?} torn at {at}: {read:?}"
                    );
                }
            }
        }
    }
}
