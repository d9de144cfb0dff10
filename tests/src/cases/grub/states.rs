//! What is put before the real GRUB: each of the ten states, what cuts and dying media leave, slots that cannot be read, keys.

#![allow(clippy::large_types_passed_by_value, reason = "a table reads better without borrows")]

use super::disk::Content;
use skerry_slots::Sector;
use skerry_slots::envblk::SIGNATURE;
use skerry_slots::pair::Pair;
use skerry_slots::state::{Slot, State, Tries};

/// What a person does while GRUB waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Nothing.
    None,
    /// Presses Esc, then this key of the menu, on the serial line or on the keyboard.
    Menu {
        /// The key.
        key: char,
        /// Which slot it stands for; none: the usual choice.
        slot: Option<Slot>,
        /// Whether the keyboard is used, and not the serial line.
        on_screen: bool,
    },
}

/// One start of GRUB.
#[derive(Debug, Clone)]
pub struct Start {
    /// What it is, for a person.
    pub what: String,
    /// Both copies.
    pub pair: Pair,
    /// What lies in a and b.
    pub slots: [Content; 2],
    /// Which copies take writes.
    pub is_writable: [bool; 2],
    /// Whether `grub.cfg` on the ESP is whole.
    pub is_config_whole: bool,
    /// The keys.
    pub keys: Keys,
}

impl Start {
    fn new(what: impl Into<String>, pair: Pair) -> Self {
        Self {
            what: what.into(),
            pair,
            slots: [Content::Whole; 2],
            is_writable: [true; 2],
            is_config_whole: true,
            keys: Keys::None,
        }
    }

    fn slots(mut self, a: Content, b: Content) -> Self {
        self.slots = [a, b];
        self
    }

    fn writable(mut self, zero: bool, one: bool) -> Self {
        self.is_writable = [zero, one];
        self
    }

    fn menu(mut self, key: char, slot: Option<Slot>, on_screen: bool) -> Self {
        self.keys = Keys::Menu { key, slot, on_screen };
        self
    }
}

const ZEROS: Sector = [0; 512];

fn state(good: Slot, tries: Option<u8>) -> State {
    State {
        good,
        trial: tries.and_then(Tries::new),
    }
}

fn of(state: State) -> Sector {
    state.encode()
}

/// A block with any text in it.
fn block(text: &str) -> Sector {
    let mut sector = [b'#'; 512];
    for (place, byte) in sector.iter_mut().zip(SIGNATURE.iter().chain(text.as_bytes())) {
        *place = *byte;
    }
    sector
}

fn torn(new: State, old: State, at: usize) -> Sector {
    let mut sector = old.encode();
    for (place, byte) in sector.iter_mut().zip(new.encode()).take(at) {
        *place = byte;
    }
    sector
}

fn pair(zero: Sector, one: Sector) -> Pair {
    Pair { zero, one }
}

/// `count` starts: those that were thought of, then mixes of them.
pub fn starts(count: usize) -> Vec<Start> {
    let mut all = chosen();
    let mut dice = 0x5eed_u64;
    while all.len() < count {
        all.push(mix(&mut dice));
    }
    all.truncate(count);
    all
}

fn chosen() -> Vec<Start> {
    let mut all: Vec<Start> = State::ALL.map(|s| Start::new(format!("{s:?}"), Pair::of(s))).into();
    for group in [cut, lost, odd, unreadable, keys, stubborn] {
        all.extend(group());
    }
    all
}

const A: Slot = Slot::A;
const B: Slot = Slot::B;
const FRESH: State = State::settled(A);
const TRIED: State = State {
    good: A,
    trial: Some(Tries::ALL),
};

/// What cuts between and inside of writes leave, and one lost copy.
fn cut() -> Vec<Start> {
    vec![
        Start::new("env0 lost, no trial", pair(ZEROS, of(state(B, None)))),
        Start::new("env0 lost, a trial", pair(ZEROS, of(TRIED))),
        Start::new(
            "env0 torn, a trial",
            pair(torn(state(A, Some(2)), TRIED, 46), of(state(A, Some(2)))),
        ),
        Start::new("env1 lost, a trial", pair(of(TRIED), ZEROS)),
        Start::new("env1 lost, no trial", pair(of(state(B, None)), ZEROS)),
        Start::new("cut between the writes of a new trial", pair(of(FRESH), of(TRIED))),
        Start::new("cut between the writes of a spent try", pair(of(TRIED), of(state(A, Some(2))))),
        Start::new("a trial of b over one of a", pair(of(state(B, Some(3))), of(FRESH))),
    ]
}

/// What a dying medium leaves.
fn lost() -> Vec<Start> {
    let operators = block("good=!\ntry=(\ntries==\nv=!-(-=\n");
    vec![
        Start::new("both lost", pair(ZEROS, [0xff; 512])),
        Start::new(
            "both lost, env0 names b",
            pair(torn(FRESH, state(B, Some(1)), 20).map(|x| if x == b'1' { b'7' } else { x }), ZEROS),
        ),
        Start::new("both lost, env1 names b", pair(ZEROS, torn(state(B, None), state(A, Some(2)), 31))),
        Start::new(
            "no such slot",
            Pair {
                zero: block("good=c\ntry=\ntries=0\nv=c--0\n"),
                one: ZEROS,
            },
        ),
        Start::new("on trial against itself", pair(block("good=b\ntry=b\ntries=3\nv=b-b-3\n"), ZEROS)),
        Start::new(
            "more tries than there are",
            pair(block("good=b\ntry=a\ntries=4\nv=b-a-4\n"), of(FRESH)),
        ),
        Start::new("values that look like operators", pair(operators, operators)),
    ]
}

/// Spellings that are not ours.
fn odd() -> Vec<Start> {
    vec![
        Start::new(
            "repeated and unknown names",
            pair(block("good=b\nx=y\ngood=a\ntry=b\ntries=2\nv=a-b-2\n"), of(TRIED)),
        ),
        Start::new(
            "escaped values",
            pair(block("good=\\a\ntry=\\b\ntries=\\1\nv=a-b-\\1\n"), of(TRIED)),
        ),
        Start::new(
            "no newline before the padding",
            pair(block("good=a\ntry=b\ntries=3\nv=a-b-3\nx"), of(TRIED)),
        ),
    ]
}

/// Slots that cannot be read.
fn unreadable() -> Vec<Start> {
    vec![
        Start::new("candidate wiped", Pair::of(TRIED)).slots(Content::Whole, Content::Wiped),
        Start::new("candidate without slot.cfg", Pair::of(TRIED)).slots(Content::Whole, Content::Empty),
        Start::new("candidate without kernel", Pair::of(state(B, Some(1)))).slots(Content::NoKernel, Content::Whole),
        Start::new("candidate without initramfs", Pair::of(TRIED)).slots(Content::Whole, Content::NoInitramfs),
        Start::new("candidate's kernel is garbage", Pair::of(TRIED)).slots(Content::Whole, Content::NoMagic),
        Start::new("candidate's slot.cfg is garbage", Pair::of(TRIED)).slots(Content::Whole, Content::Garbage),
        Start::new("good slot wiped", Pair::of(FRESH)).slots(Content::Wiped, Content::Whole),
        Start::new("good slot wiped after a failed trial", Pair::of(state(B, Some(0)))).slots(Content::Whole, Content::Wiped),
        Start::new("good slot without kernel, both lost", pair(ZEROS, ZEROS)).slots(Content::NoKernel, Content::Whole),
        Start::new("neither slot can be read", Pair::of(TRIED)).slots(Content::NoKernel, Content::Empty),
    ]
}

/// A person, and a damaged ESP.
fn keys() -> Vec<Start> {
    vec![
        Start::new("Esc b on the serial line", Pair::of(FRESH)).menu('b', Some(B), false),
        Start::new("Esc b, the candidate", Pair::of(TRIED)).menu('b', Some(B), false),
        Start::new("Esc a on the screen", Pair::of(state(B, Some(2)))).menu('a', Some(A), true),
        Start::new("Esc r, rescue from the good slot", Pair::of(state(B, Some(2)))).menu('r', Some(B), false),
        Start::new("Esc s, the usual choice", Pair::of(TRIED)).menu('s', None, true),
        Start::new("Esc b, which is wiped", Pair::of(FRESH))
            .slots(Content::Whole, Content::Wiped)
            .menu('b', Some(B), false),
        Start {
            is_config_whole: false,
            ..Start::new("grub.cfg damaged on the ESP", Pair::of(TRIED))
        },
    ]
}

/// Disks that take no writes.
fn stubborn() -> Vec<Start> {
    vec![
        Start::new("disk read-only, a trial", Pair::of(TRIED)).writable(false, false),
        Start::new("disk read-only, no trial", Pair::of(state(B, None))).writable(false, false),
        Start::new("disk read-only, a trial of a", Pair::of(state(B, Some(1)))).writable(false, false),
        Start::new("env1 takes no writes", Pair::of(TRIED)).writable(true, false),
        Start::new("env1 takes no writes, but says it already", pair(of(TRIED), of(state(A, Some(2))))).writable(true, false),
        Start::new("env0 takes no writes", Pair::of(TRIED)).writable(false, true),
        Start::new("env0 takes no writes, last try", Pair::of(state(B, Some(1)))).writable(false, true),
    ]
}

/// Any two sectors that a cut may leave, and any slots.
fn mix(dice: &mut u64) -> Start {
    let mut roll = |sides: usize| {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*dice >> 33).unwrap_or(0) % sides
    };
    let mut states = || State::ALL.get(roll(10)).copied().unwrap_or(State::settled(Slot::A));
    let four = [states(), states(), states(), states()];
    let [zero, old, one, older] = four;
    let mut at = |old: State, new: State| {
        if roll(2) == 0 {
            new.encode()
        } else {
            torn(new, old, 25 + roll(30))
        }
    };
    let pair = pair(at(old, zero), at(older, one));
    let mut content = || Content::ALL.get(roll(10)).copied().unwrap_or(Content::Whole);
    Start::new("a mix", pair).slots(content(), content())
}
