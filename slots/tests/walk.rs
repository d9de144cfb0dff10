//! Every reachable state, every event, a cut after every sector write: always one good slot, always a slot that boots.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "how much was walked is the result")]

use skerry_slots::grub::{self, Medium};
use skerry_slots::pair::{Env, Pair, Source, Write};
use skerry_slots::state::{Slot, State, Tries};
use skerry_slots::why::Why;
use skerry_slots::{SECTOR, Sector, rules};
use std::collections::{HashMap, HashSet, VecDeque};

/// What lies in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Content {
    Empty,
    /// Being written: GRUB may or may not be able to start it.
    Partial,
    /// A release that works, or one that never comes up.
    Whole {
        works: bool,
    },
}

/// A machine, as far as slots are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    pair: Pair,
    /// What runs; none: the power is off.
    running: Option<(Slot, Why)>,
    slots: [Content; 2],
    /// Which slots have passed the health rule since they were written.
    is_proven: [bool; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    Boot {
        is_writable: [bool; 2],
    },
    Menu(Slot),
    PowerOff,
    /// The medium loses a copy.
    Decay(Env),
    Repair,
    MarkGood,
    Try,
    Condemn,
    ClearTrial,
    RollBack,
    StageBegin,
    StageWrite,
    StageEnd {
        works: bool,
    },
}

const WRITABLE: [[bool; 2]; 4] = [[true, true], [true, false], [false, true], [false, false]];

fn events() -> Vec<Event> {
    use Event::{ClearTrial, Condemn, MarkGood, PowerOff, Repair, RollBack, StageBegin, StageWrite, Try};
    let boots = WRITABLE.map(|is_writable| Event::Boot { is_writable });
    let with_argument = Slot::ALL.map(Event::Menu).into_iter().chain(Env::ALL.map(Event::Decay));
    let ends = [true, false].map(|works| Event::StageEnd { works });
    let plain = [
        PowerOff, Repair, MarkGood, Try, Condemn, ClearTrial, RollBack, StageBegin, StageWrite,
    ];
    boots.into_iter().chain(with_argument).chain(ends).chain(plain).collect()
}

fn index(slot: Slot) -> usize {
    usize::from(slot == Slot::B)
}

/// What an event does: writes in order, then the world as it is with all of them done.
struct Done {
    writes: Vec<Write>,
    then: World,
}

fn apply(pair: &Pair, writes: &[Write]) -> Pair {
    let mut pair = *pair;
    for write in writes {
        *pair.get_mut(write.env) = write.sector;
    }
    pair
}

impl World {
    fn fresh() -> Self {
        Self {
            pair: Pair::of(State::settled(Slot::A)),
            running: None,
            slots: [Content::Whole { works: true }, Content::Empty],
            is_proven: [true, false],
        }
    }

    fn content(&self, slot: Slot) -> Content {
        self.slots[index(slot)]
    }

    /// What GRUB may find bootable: a half-written slot counts as both.
    fn media(&self, is_writable: [bool; 2]) -> Vec<Medium> {
        let can = |slot| match self.content(slot) {
            Content::Empty => vec![false],
            Content::Partial => vec![false, true],
            Content::Whole { .. } => vec![true],
        };
        let pairs = can(Slot::A).into_iter().flat_map(|a| can(Slot::B).into_iter().map(move |b| [a, b]));
        pairs.map(|is_bootable| Medium { is_writable, is_bootable }).collect()
    }

    fn acts(&self, writes: &[Write]) -> Done {
        let then = Self {
            pair: apply(&self.pair, writes),
            ..self.clone()
        };
        Done {
            writes: writes.to_vec(),
            then,
        }
    }

    /// The event's effects; none where it cannot happen or is refused.
    fn happen(&self, event: Event) -> Vec<Done> {
        let list = |writes: skerry_slots::pair::Writes| writes.iter().copied().collect::<Vec<_>>();
        let one =
            |result: Result<skerry_slots::pair::Writes, rules::Refused>| result.map(|w| vec![self.acts(&list(w))]).unwrap_or_default();
        if let Event::Decay(env) = event {
            if self.pair.read().is_damaged[index_of(env.other())] {
                return vec![]; // one copy at a time; both are the last test's
            }
            let mut then = self.clone();
            *then.pair.get_mut(env) = [0; SECTOR];
            return vec![Done { writes: vec![], then }];
        }
        let Some((running, why)) = self.running else {
            let (is_writable, chosen) = match event {
                Event::Boot { is_writable } => (is_writable, None),
                Event::Menu(slot) => ([true; 2], Some(slot)),
                _ => return vec![],
            };
            let boots = self
                .media(is_writable)
                .into_iter()
                .map(|medium| (medium, grub::boot(&self.pair, medium, chosen)));
            return boots
                .map(|(medium, boot)| {
                    let (slot, why) = boot.started.unwrap_or_else(|| panic!("nothing boots with {medium:?}: {self:?}"));
                    if chosen.is_none() {
                        assert!(
                            matches!(self.content(slot), Content::Whole { .. }),
                            "GRUB starts a half-written slot: {self:?}"
                        );
                    }
                    let mut done = self.acts(&list(boot.writes));
                    done.then.running = Some((slot, why));
                    done
                })
                .collect();
        };
        let works = self.content(running) == Content::Whole { works: true };
        let idle = running.other();
        let idle_is_whole = matches!(self.content(idle), Content::Whole { .. });
        match event {
            Event::PowerOff => vec![Done {
                writes: vec![],
                then: Self {
                    running: None,
                    ..self.clone()
                },
            }],
            Event::Repair => vec![self.acts(&list(rules::repair(&self.pair, running)))],
            Event::MarkGood if works => {
                let mut proven = self.clone();
                proven.is_proven[index(running)] = true;
                vec![proven.acts(&list(rules::mark_good(&self.pair, running)))]
            }
            Event::Try => one(rules::try_slot(&self.pair, running, idle, idle_is_whole)),
            Event::Condemn => one(rules::condemn(&self.pair)),
            Event::ClearTrial => one(rules::clear_trial(&self.pair, running)),
            Event::RollBack => one(rules::roll_back(&self.pair, running, idle_is_whole)),
            Event::StageBegin => one(rules::begin_write(&self.pair, running).map(|(slot, writes)| {
                assert_eq!(slot, idle);
                writes
            })),
            Event::StageWrite if rules::may_write(&self.pair, running, idle).is_ok() => {
                let good = self.pair.read().state.good;
                assert!(idle != running && idle != good, "writing into {idle}: {self:?}, {why}");
                let mut then = self.clone();
                then.slots[index(idle)] = Content::Partial;
                then.is_proven[index(idle)] = false;
                vec![Done { writes: vec![], then }]
            }
            Event::StageEnd { works } if self.content(idle) == Content::Partial => {
                let mut then = self.clone();
                then.slots[index(idle)] = Content::Whole { works };
                vec![Done { writes: vec![], then }]
            }
            _ => vec![],
        }
    }

    /// Everything that must hold whenever the power goes.
    fn check(&self) {
        let view = self.pair.read();
        assert!(view.is_known(), "no valid copy: {self:?}");
        let good = view.state.good;
        assert!(self.is_proven[index(good)], "the good slot {good} is not proven: {self:?}");
        assert!(
            matches!(self.content(good), Content::Whole { .. }),
            "the good slot {good} is not whole: {self:?}"
        );
        if let (Some(candidate), Some(1..)) = (view.state.candidate(), view.state.trial.map(Tries::get)) {
            assert!(
                matches!(self.content(candidate), Content::Whole { .. }),
                "{candidate} on trial is not whole: {self:?}"
            );
        }
        for is_writable in WRITABLE {
            for medium in self.media(is_writable) {
                self.leaves_a_bad_candidate(medium);
            }
        }
    }

    /// However often the candidate dies, GRUB boots the good slot soon; at once if it cannot count.
    fn leaves_a_bad_candidate(&self, medium: Medium) {
        let mut pair = self.pair;
        let good = pair.read().state.good;
        let limit = if medium.is_writable == [false; 2] { 1 } else { 4 };
        for _ in 0..limit {
            let boot = grub::boot(&pair, medium, None);
            if boot.started.unwrap().0 == good {
                return;
            }
            pair = apply(&pair, &boot.writes.iter().copied().collect::<Vec<_>>());
        }
        panic!("{limit} boots and not back on {good}: {self:?} {medium:?}");
    }
}

fn index_of(env: Env) -> usize {
    usize::from(env == Env::One)
}

/// What a sector means, whether it is spelled as we spell it, and what GRUB would still read from it alone.
type Class = (Option<State>, bool, Source, Slot);

fn class(sector: &Sector) -> Class {
    let state = State::decode(sector);
    let is_canonical = state.is_some_and(|state| state.encode() == *sector);
    let alone = Pair {
        zero: *sector,
        one: [0; SECTOR],
    };
    let named = alone.read();
    (state, is_canonical, named.source, named.state.good)
}

/// What a sector may hold if the power goes while it is written: the old, the new, or a mix of both; one of each class.
struct Torn {
    classes: HashMap<Sector, Class>,
    mixes: HashMap<(Sector, Sector), (Vec<Sector>, u64)>,
}

impl Torn {
    fn class(&mut self, sector: &Sector) -> Class {
        *self.classes.entry(*sector).or_insert_with(|| class(sector))
    }

    /// One sector of each class, and how many different ones there were.
    fn mixes(&mut self, old: &Sector, new: &Sector) -> (Vec<Sector>, u64) {
        if let Some(known) = self.mixes.get(&(*old, *new)) {
            return known.clone();
        }
        let mut all = HashSet::from([*old, *new]);
        for at in (1..64).chain([128, 256, 384, 511]) {
            let mix = |head: &Sector, tail: &[u8]| {
                let mut sector = *head;
                sector[at..].copy_from_slice(tail);
                sector
            };
            all.extend([mix(new, &old[at..]), mix(old, &new[at..])]);
            all.extend([0, 0xff].map(|fill| mix(new, &vec![fill; SECTOR - at]))); // erased behind the cut
        }
        let mut sorted: Vec<Sector> = all.into_iter().collect();
        sorted.sort_unstable();
        let count = sorted.len() as u64;
        let mut seen = HashSet::new();
        sorted.retain(|sector| seen.insert(self.class(sector)));
        self.mixes.insert((*old, *new), (sorted.clone(), count));
        (sorted, count)
    }
}

/// Two worlds with the same key behave the same: a damaged sector counts only by what can still be read from it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key([Class; 2], Option<(Slot, Why)>, [Content; 2], [bool; 2]);

fn key(world: &World, torn: &mut Torn) -> Key {
    let copies = [torn.class(&world.pair.zero), torn.class(&world.pair.one)];
    Key(copies, world.running, world.slots, world.is_proven)
}

#[test]
fn every_state_every_event_every_cut() {
    let events = events();
    let mut torn = Torn {
        classes: HashMap::new(),
        mixes: HashMap::new(),
    };
    let mut known = HashSet::from([key(&World::fresh(), &mut torn)]);
    let mut todo = VecDeque::from([World::fresh()]);
    let (mut edges, mut cuts) = (0_u64, 0_u64);
    while let Some(world) = todo.pop_front() {
        world.check();
        let before = world.pair.read().state;
        for event in &events {
            for Done { writes, then } in world.happen(*event) {
                edges += 1;
                let after = then.pair.read().state;
                if *event == Event::Repair {
                    assert_eq!(
                        (before, then.pair.zero),
                        (after, then.pair.one),
                        "repairing changed the state: {world:?}"
                    );
                }
                let mut cut = World {
                    running: None,
                    pair: world.pair,
                    ..then.clone()
                };
                for write in &writes {
                    let old = *cut.pair.get(write.env);
                    let (mixes, count) = torn.mixes(&old, &write.sector);
                    cuts += count;
                    for sector in mixes {
                        *cut.pair.get_mut(write.env) = sector;
                        if known.insert(key(&cut, &mut torn)) {
                            todo.push_back(cut.clone());
                        }
                        let view = cut.pair.read();
                        assert!(view.is_known(), "{event:?} cut: no valid copy: {world:?}");
                        let is_one = [before, after].contains(&view.state);
                        assert!(is_one || class(&old).0.is_none(), "{event:?} cut: neither old nor new: {world:?}");
                    }
                    *cut.pair.get_mut(write.env) = write.sector;
                }
                if known.insert(key(&then, &mut torn)) {
                    todo.push_back(then);
                }
            }
        }
    }
    println!("walked {} states, {edges} edges, {cuts} cuts", known.len());
    assert!(
        known.len() >= 4_000 && edges >= 30_000 && cuts >= 1_000_000,
        "the walk became too small"
    );
}

/// Not by a cut, but by a dying medium: nothing valid at all. Whatever is left, a slot boots, proves itself or is left again.
#[test]
fn with_both_copies_lost_a_slot_boots_and_a_bad_one_is_left() {
    let mut lost = vec![
        [0; SECTOR],
        [0xff; SECTOR],
        *b"# GRUB Environment Block\n"
            .iter()
            .chain([b'#'; 487].iter())
            .copied()
            .collect::<Vec<_>>()
            .first_chunk::<SECTOR>()
            .unwrap(),
    ];
    for state in State::ALL {
        let whole = state.encode();
        lost.extend([26, 30, 38, 46].into_iter().map(|at| {
            let mut sector = whole;
            sector[at] ^= 0x40;
            sector
        }));
    }
    lost.retain(|sector| State::decode(sector).is_none());
    let mut cases = 0;
    for pair in lost.iter().flat_map(|zero| lost.iter().map(|one| Pair { zero: *zero, one: *one })) {
        for works in [[true, false], [false, true], [true, true]] {
            for is_bootable in [[true, true], works] {
                cases += 1;
                comes_up(&pair, works, is_bootable);
            }
        }
    }
    println!("{cases} ways to lose both copies");
    assert!(cases >= 5_000);
}

/// Boots, repairs and dies or proves itself, until a slot that works was marked good.
fn comes_up(start: &Pair, works: [bool; 2], is_bootable: [bool; 2]) {
    let medium = Medium {
        is_bootable,
        ..Medium::HEALTHY
    };
    let mut pair = *start;
    for _ in 0..6 {
        let boot = grub::boot(&pair, medium, None);
        pair = apply(&pair, &boot.writes.iter().copied().collect::<Vec<_>>());
        let (running, _) = boot.started.unwrap();
        let repair = rules::repair(&pair, running);
        pair = apply(&pair, &repair.iter().copied().collect::<Vec<_>>());
        if works[index(running)] {
            let good = rules::mark_good(&pair, running);
            pair = apply(&pair, &good.iter().copied().collect::<Vec<_>>());
            assert_eq!(pair.read().state.good, running);
            return;
        }
        let salvaged_good = pair.read().state == State::settled(running);
        if salvaged_good {
            return; // it was marked good once, and is what the node has
        }
    }
    panic!("six boots and no slot that works: {start:?} {works:?} {is_bootable:?}");
}
