//! A good slot whose root is refused: the other one is put on trial, instead of starting this one for ever.
//!
//! The boot state says only which slot was good once. What lies on a worn card may not be: then the other slot, if it holds a system,
//! gets the three tries of any candidate. If it fails too, GRUB comes back with `fallback-from-X`, and nothing is tried again.

use super::root::{Place, Slot};
use skerry_slots::pair::Pair;
use skerry_slots::partition::PLACES;
use skerry_slots::why::Why;
use skerry_slots::{SECTOR, Sector, rules, state};
use skerry_sys::block;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const BOOT_STATE: u32 = 2;

/// What was looked at.
struct Facts {
    /// Why GRUB started this slot.
    why: Option<Why>,
    /// This slot.
    slot: state::Slot,
    /// Both copies of the boot state.
    pair: Pair,
    /// The first sector of the other slot's boot partition: it is written last, so that it vouches for the rest.
    first: Sector,
}

/// Decides: what to write, or why nothing.
fn decide(facts: &Facts) -> Result<skerry_slots::pair::Writes, String> {
    match facts.why {
        Some(Why::Good) => {}
        Some(Why::Try(_)) => return Err("this is a trial already, and ends with its tries".to_owned()),
        Some(Why::Fallback(other) | Why::Unbootable(other)) => return Err(format!("slot {other} was tried, and failed too")),
        _ => return Err("it is not known which slot is good".to_owned()),
    }
    let is_fat = facts.first.ends_with(&[0x55, 0xaa]) && matches!(facts.first.first(), Some(0xeb | 0xe9));
    rules::try_slot(&facts.pair, facts.slot, facts.slot.other(), is_fat).map_err(|why| format!("{why:?}"))
}

/// The name of the slot that the next start tries.
pub fn try_it(place: &Place, why: Option<&str>) -> Result<state::Slot, String> {
    let Place::Slot { boot, slot } = place else {
        return Err("it is not a slot of a disk that GRUB started".to_owned());
    };
    let (slot, other_boot) = match slot {
        Slot::A => (state::Slot::A, 5),
        Slot::B => (state::Slot::B, 3),
    };
    let text = |e: skerry_sys::Error| e.to_string();
    let devices = block::with_guids(block::devices().map_err(text)?);
    let disk = devices
        .iter()
        .find(|d| d.guid.as_ref().is_some_and(|guid| guid.eq_ignore_ascii_case(boot)))
        .and_then(|d| d.disk.as_deref())
        .ok_or("the disk is not there")?;
    let partition = |number| block::partition_of(&devices, disk, number).map(|d| d.path.clone());
    let (state, other) = partition(BOOT_STATE)
        .zip(partition(other_boot))
        .ok_or("its partitions are not there")?;
    let doing = |what: &str, why: io::Error| format!("{what}: {why}");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::DSYNC.bits()).unwrap_or_default())
        .open(&state)
        .map_err(|why| doing("opening the boot state", why))?;
    let read = |file: &File, number: u64| -> io::Result<Sector> {
        let mut sector = [0; SECTOR];
        file.read_exact_at(&mut sector, number * SECTOR as u64)?;
        Ok(sector)
    };
    let [zero, one] = PLACES;
    let mut pair = Pair::of(state::State::settled(slot));
    for (env, number) in [(skerry_slots::pair::Env::Zero, zero), (skerry_slots::pair::Env::One, one)] {
        *pair.get_mut(env) = read(&file, number).map_err(|why| doing("reading the boot state", why))?;
    }
    let first = File::open(&other)
        .and_then(|f| read(&f, 0))
        .map_err(|why| doing("reading the other slot", why))?;
    let facts = Facts {
        why: why.and_then(Why::parse),
        slot,
        pair,
        first,
    };
    for write in decide(&facts)?.iter() {
        let number = if write.env == skerry_slots::pair::Env::Zero { zero } else { one };
        file.write_all_at(&write.sector, number * SECTOR as u64)
            .and_then(|()| file.sync_data())
            .map_err(|why| doing("writing the boot state", why))?;
    }
    Ok(slot.other())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_slots::state::{Slot, State, Tries};

    fn fat() -> Sector {
        let mut sector = [0; SECTOR];
        sector[0] = 0xeb;
        sector[510] = 0x55;
        sector[511] = 0xaa;
        sector
    }

    #[test]
    fn the_other_one_gets_its_tries_once() {
        for slot in Slot::ALL {
            let facts = |why, first| Facts {
                why: Some(why),
                slot,
                pair: Pair::of(State::settled(slot)),
                first,
            };
            let mut pair = Pair::of(State::settled(slot));
            for write in decide(&facts(Why::Good, fat())).unwrap().iter() {
                *pair.get_mut(write.env) = write.sector;
            }
            let state = pair.read().state;
            assert_eq!((state.good, state.candidate()), (slot, Some(slot.other())));
            assert!(decide(&facts(Why::Good, [0; SECTOR])).is_err(), "an empty slot");
            let tries = Tries::new(2).unwrap();
            for why in [
                Why::Try(tries),
                Why::Fallback(slot.other()),
                Why::Unbootable(slot.other()),
                Why::Damaged,
                Why::Menu,
                Why::Unsaved(slot),
            ] {
                assert!(decide(&facts(why, fat())).is_err(), "{why}");
            }
        }
    }
}
