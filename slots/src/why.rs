//! Why GRUB booted this slot: the word `skerry.why=` of the kernel's command line.

use crate::state::{Slot, Tries};
use core::fmt;

/// What GRUB tells the system that it boots. Words that begin with `try` mean a trial: stage 1 is strict then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// `good`: the good slot, and no other is on trial.
    Good,
    /// `try-left-N`: a candidate, with N boots left after this one.
    Try(Tries),
    /// `fallback-from-X`: the good slot, because the candidate X has no tries left.
    Fallback(Slot),
    /// `unsaved-X`: the good slot, because the try of candidate X could not be written down.
    Unsaved(Slot),
    /// `unbootable-X`: the other slot than X, whose kernel or initramfs could not be read.
    Unbootable(Slot),
    /// `damaged`: neither copy of the boot state is valid.
    Damaged,
    /// `menu`: a person chose it.
    Menu,
}

impl Why {
    /// Reads the word's value.
    pub fn parse(text: &str) -> Option<Self> {
        let slot = |prefix| Slot::parse(text.strip_prefix(prefix)?);
        match text {
            "good" => Some(Self::Good),
            "damaged" => Some(Self::Damaged),
            "menu" => Some(Self::Menu),
            _ => slot("fallback-from-")
                .map(Self::Fallback)
                .or_else(|| slot("unsaved-").map(Self::Unsaved))
                .or_else(|| slot("unbootable-").map(Self::Unbootable))
                .or_else(|| Some(Self::Try(Tries::new(text.strip_prefix("try-left-")?.parse().ok()?)?))),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Try(left) => write!(f, "try-left-{}", left.get()),
            Self::Fallback(slot) => write!(f, "fallback-from-{slot}"),
            Self::Unsaved(slot) => write!(f, "unsaved-{slot}"),
            Self::Unbootable(slot) => write!(f, "unbootable-{slot}"),
            Self::Damaged => f.write_str("damaged"),
            Self::Menu => f.write_str("menu"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn words_go_both_ways() {
        let tries = (0..=3).filter_map(Tries::new).map(Why::Try);
        let slots = Slot::ALL
            .into_iter()
            .flat_map(|s| [Why::Fallback(s), Why::Unsaved(s), Why::Unbootable(s)]);
        for why in tries.chain(slots).chain([Why::Good, Why::Damaged, Why::Menu]) {
            assert_eq!(Why::parse(&why.to_string()), Some(why));
        }
        for text in ["", "try-left-4", "try-left-", "fallback-from-c", "Good", "unsaved-"] {
            assert_eq!(Why::parse(text), None, "{text}");
        }
    }
}
