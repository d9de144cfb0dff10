//! Interfaces that are made: VLANs, bonds, bridges and VRFs; what the owner wrote as numbers of the kernel's.
//!
//! Numbers and widths of attributes are those of the kernel's `if_link.h`.

use crate::facts::Facts;
use skerry_config::Interface;
use skerry_config::parameters::{self, Meaning, meaning};
use std::collections::BTreeMap;

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Several interfaces as one.
    Bond,
    /// A switch.
    Bridge,
    /// What carries a tag on another interface.
    Vlan,
    /// A routing table of its own.
    Vrf,
}

/// Attributes of a device by their numbers.
pub type Options = BTreeMap<u16, u32>;

/// `IFLA_VLAN_ID`.
pub const VLAN_ID: u16 = 1;
/// `IFLA_VRF_TABLE`.
pub const VRF_TABLE: u16 = 1;
/// `IFLA_BOND_MODE`.
const BOND_MODE: u16 = 1;
/// `IFLA_BOND_MIIMON`: looking for a carrier, in milliseconds.
const BOND_MIIMON: u16 = 3;
/// `IFLA_BR_STP_STATE`.
const BRIDGE_STP: u16 = 5;
/// A bond that never looks for a carrier does not see a dead cable; the kernel's default is never. As its documentation advises.
const MIIMON: u32 = 100;

/// Name by netplan, number, bytes, and whether the kernel takes another value only at the making.
const PARAMETERS: &[(Kind, &str, u16, usize, bool)] = &[
    (Kind::Bond, "mode", BOND_MODE, 1, true),
    (Kind::Bond, "mii-monitor-interval", BOND_MIIMON, 4, false),
    (Kind::Bond, "up-delay", 4, 4, false),
    (Kind::Bond, "down-delay", 5, 4, false),
    (Kind::Bond, "primary", 11, 4, false),
    (Kind::Bond, "primary-reselect-policy", 12, 1, false),
    (Kind::Bond, "fail-over-mac-policy", 13, 1, true),
    (Kind::Bond, "transmit-hash-policy", 14, 1, false),
    (Kind::Bond, "all-members-active", 17, 1, false),
    (Kind::Bond, "all-slaves-active", 17, 1, false),
    (Kind::Bond, "min-links", 18, 4, false),
    (Kind::Bond, "lacp-rate", 21, 1, true),
    (Kind::Bond, "ad-select", 22, 1, true),
    (Kind::Bridge, "forward-delay", 1, 4, false),
    (Kind::Bridge, "hello-time", 2, 4, false),
    (Kind::Bridge, "max-age", 3, 4, false),
    (Kind::Bridge, "ageing-time", 4, 4, false),
    (Kind::Bridge, "aging-time", 4, 4, false),
    (Kind::Bridge, "stp", BRIDGE_STP, 4, false),
    (Kind::Bridge, "priority", 6, 2, false),
];

impl Kind {
    /// The kernel's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bond => "bond",
            Self::Bridge => "bridge",
            Self::Vlan => "vlan",
            Self::Vrf => "vrf",
        }
    }

    /// How many bytes an attribute has.
    pub fn width(self, attribute: u16) -> usize {
        match self {
            Self::Vlan => 2,
            Self::Vrf => 4,
            Self::Bond | Self::Bridge => PARAMETERS
                .iter()
                .find(|(kind, _, number, ..)| *kind == self && *number == attribute)
                .map_or(4, |(.., width, _)| *width),
        }
    }

    /// Whether an attribute can only be said when the device is made.
    fn is_for_the_making(self, attribute: u16) -> bool {
        matches!(self, Self::Vlan | Self::Vrf)
            || PARAMETERS
                .iter()
                .any(|(kind, _, number, _, making)| *kind == self && *number == attribute && *making)
    }

    /// Whether what is a member of it has addresses of its own.
    pub const fn leaves_addresses(self) -> bool {
        matches!(self, Self::Vrf)
    }
}

/// An interface to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The number of the interface it is made on (of VLANs).
    pub base: Option<u32>,
    /// What is said of it.
    pub options: Options,
}

/// What a device is, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What it is.
    pub kind: Kind,
    /// All its attributes that are numbers.
    pub options: Options,
}

/// How what is there differs from what is wanted.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// In these attributes, which can be changed.
    Options(Options),
    /// In its nature: it must be made anew.
    Nature,
}

impl Device {
    /// Compares. `base` is that of what is there.
    pub fn differs(&self, made: &Made, base: Option<u32>) -> Difference {
        if self.kind != made.kind || (self.base.is_some() && self.base != base) {
            return Difference::Nature;
        }
        let other: Options = self
            .options
            .iter()
            .filter(|(attribute, value)| made.options.get(attribute) != Some(value))
            .map(|(attribute, value)| (*attribute, *value))
            .collect();
        if other.keys().any(|attribute| self.kind.is_for_the_making(*attribute)) {
            Difference::Nature
        } else if other.is_empty() {
            Difference::None
        } else {
            Difference::Options(other)
        }
    }
}

/// A device of the owner's; none as long as its base is not there. `index_of` gives the number of the interface with an id.
pub fn device(
    kind: Kind,
    name: &str,
    interface: &Interface,
    index_of: impl Fn(&str) -> Option<u32>,
    problems: &mut Vec<String>,
) -> Option<Device> {
    let mut options = Options::new();
    let mut base = None;
    match kind {
        Kind::Vlan => {
            base = Some(index_of(interface.link.as_deref()?)?);
            options.insert(VLAN_ID, interface.id?);
        }
        Kind::Vrf => {
            options.insert(VRF_TABLE, interface.table?);
        }
        Kind::Bond => {
            options.insert(BOND_MODE, 0);
            options.insert(BOND_MIIMON, MIIMON);
            parameters(kind, parameters::Device::Bond, name, interface, index_of, &mut options, problems);
        }
        Kind::Bridge => {
            // As netplan: a bridge that closes a circle must not take the network down.
            options.insert(BRIDGE_STP, 1);
            parameters(kind, parameters::Device::Bridge, name, interface, index_of, &mut options, problems);
        }
    }
    let name = name.to_owned();
    Some(Device { name, kind, base, options })
}

fn parameters(
    kind: Kind,
    of: parameters::Device,
    name: &str,
    interface: &Interface,
    index_of: impl Fn(&str) -> Option<u32>,
    options: &mut Options,
    problems: &mut Vec<String>,
) {
    for (key, value) in &interface.parameters {
        let number = PARAMETERS.iter().find(|(k, known, ..)| *k == kind && known == key);
        match (number, meaning(of, key, value)) {
            (Some((_, _, attribute, ..)), Some(Meaning::Number(value))) => {
                options.insert(*attribute, value);
            }
            (Some((_, _, attribute, ..)), Some(Meaning::Member(id))) => {
                // Not there yet: said when it is.
                if let Some(index) = index_of(id) {
                    options.insert(*attribute, index);
                }
            }
            _ => problems.push(format!("network: leaving out parameter {key}: {value:?} of {} {name}", kind.word())),
        }
    }
}

/// The number of the device with this name, if it is of this kind.
pub fn made(facts: &Facts, name: &str, kind: Kind) -> Option<u32> {
    let is = |link: &&crate::facts::Link| link.name == name && link.made.as_ref().is_some_and(|made| made.kind == kind);
    facts.links.iter().find(is).map(|link| link.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: Kind, json: &str) -> (Option<Device>, Vec<String>) {
        let interface: Interface = serde_json::from_str(json).unwrap();
        let mut problems = vec![];
        let index_of = |id: &str| (id == "eth0").then_some(2);
        (device(kind, "x0", &interface, index_of, &mut problems), problems)
    }

    #[test]
    fn what_the_owner_wrote_as_numbers() {
        let options = |kind, json| wanted(kind, json).0.map(|d| (d.base, d.options.into_iter().collect::<Vec<_>>()));
        assert_eq!(options(Kind::Vlan, r#"{"id":10,"link":"eth0"}"#), Some((Some(2), vec![(1, 10)])));
        assert_eq!(
            options(Kind::Vlan, r#"{"id":10,"link":"eth7"}"#),
            None,
            "not before its base is there"
        );
        assert_eq!(options(Kind::Vrf, r#"{"table":100}"#), Some((None, vec![(1, 100)])));
        assert_eq!(options(Kind::Bond, "{}"), Some((None, vec![(1, 0), (3, 100)])));
        assert_eq!(
            options(
                Kind::Bond,
                r#"{"parameters":{"mode":"802.3ad","lacp-rate":"fast","mii-monitor-interval":"50","primary":"eth0"}}"#
            ),
            Some((None, vec![(1, 4), (3, 50), (11, 2), (21, 1)]))
        );
        assert_eq!(
            options(Kind::Bridge, r#"{"parameters":{"stp":"false","forward-delay":"4"}}"#),
            Some((None, vec![(1, 400), (5, 0)]))
        );
        let (_, problems) = wanted(Kind::Bridge, r#"{"parameters":{"mode":"802.3ad"}}"#);
        assert_eq!(problems, ["network: leaving out parameter mode: \"802.3ad\" of bridge x0"]);
    }

    /// Each parameter that the configuration knows has a number here.
    #[test]
    fn no_parameter_is_known_and_not_done() {
        for (kind, of) in [(Kind::Bond, parameters::Device::Bond), (Kind::Bridge, parameters::Device::Bridge)] {
            for name in parameters::of(of) {
                assert!(PARAMETERS.iter().any(|(k, known, ..)| *k == kind && *known == name), "{name}");
            }
        }
    }

    #[test]
    fn what_can_be_changed_is_and_the_rest_is_made_anew() {
        let device = |options: &[(u16, u32)]| Device {
            name: "x0".into(),
            kind: Kind::Bond,
            base: None,
            options: options.iter().copied().collect(),
        };
        let made = Made {
            kind: Kind::Bond,
            options: Options::from([(1, 0), (3, 0), (4, 0)]),
        };
        assert_eq!(device(&[(1, 0), (3, 0)]).differs(&made, None), Difference::None);
        assert_eq!(
            device(&[(1, 0), (3, 100)]).differs(&made, None),
            Difference::Options(Options::from([(3, 100)]))
        );
        assert_eq!(device(&[(1, 1), (3, 100)]).differs(&made, None), Difference::Nature);
        let vlan = Device {
            kind: Kind::Vlan,
            base: Some(2),
            ..device(&[(1, 10)])
        };
        let made = Made {
            kind: Kind::Vlan,
            options: Options::from([(1, 10)]),
        };
        assert_eq!(vlan.differs(&made, Some(2)), Difference::None);
        assert_eq!(vlan.differs(&made, Some(3)), Difference::Nature);
    }
}
