//! A factory reset: the order that is left on data, and what it leaves there.

use std::fmt;
use std::path::Path;

/// The order's name in the tree.
pub const MARK: &str = "reset";

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All is removed.
    Everything,
    /// All but the owner's configuration.
    KeepConfig,
}

/// Where the owner's configuration lies in the tree.
const CONFIG: [&str; 7] = [
    "system",
    "k3os/system",
    "var/lib/skerry/config.yaml",
    "var/lib/skerry/config.d",
    "var/lib/skerry/media",
    "var/lib/rancher/k3os/config.yaml",
    "var/lib/rancher/k3os/config.d",
];

/// What becomes of an entry of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays, with all that is in it.
    Kept,
    /// It stays for something in it; the rest of it goes.
    HoldsKept,
    /// It goes.
    Removed,
}

impl Order {
    /// Reads an order; `None` where this version does not know it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Everything, Self::KeepConfig]
            .into_iter()
            .find(|order| order.to_string() == text)
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::KeepConfig => "keep-config",
        }
    }
}

/// The mark's content, version 1.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "skerry-reset 1 {}", self.word())
    }
}

/// What becomes of this path of the tree.
pub fn fate(path: &Path, order: Order) -> Fate {
    let kept: &[&str] = match order {
        Order::Everything => &[],
        Order::KeepConfig => &CONFIG,
    };
    // The mark goes last, by other means; fsck's folder is the file system's.
    if path == Path::new(MARK) || path == Path::new("lost+found") || kept.iter().any(|k| path.starts_with(k)) {
        Fate::Kept
    } else if kept.iter().any(|k| Path::new(k).starts_with(path)) {
        Fate::HoldsKept
    } else {
        Fate::Removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_go_both_ways() {
        for order in [Order::Everything, Order::KeepConfig] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        assert_eq!(Order::Everything.to_string(), "skerry-reset 1 everything\n");
        for text in ["", "skerry-reset 2 everything\n", "skerry-reset 1 everything"] {
            assert_eq!(Order::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn fates() {
        use Fate::{HoldsKept, Kept, Removed};
        for (path, everything, keep_config) in [
            ("reset", Kept, Kept),
            ("lost+found", Kept, Kept),
            ("system", Removed, Kept),
            ("system/config.yaml", Removed, Kept),
            ("var", Removed, HoldsKept),
            ("var/lib/skerry", Removed, HoldsKept),
            ("var/lib/skerry/config.yaml", Removed, Kept),
            ("var/lib/skerry/config.yaml.new", Removed, Removed),
            ("var/lib/skerry/last-good", Removed, Removed),
            ("etc", Removed, Removed),
            ("version", Removed, Removed),
        ] {
            assert_eq!(fate(Path::new(path), Order::Everything), everything, "{path}");
            assert_eq!(fate(Path::new(path), Order::KeepConfig), keep_config, "{path}");
        }
    }
}
