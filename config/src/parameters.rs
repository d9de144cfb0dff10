//! Parameters of bonds and bridges, by netplan's names: what a value means to the kernel.
//!
//! Names and units are netplan's ("Properties for device type bonds", "… bridges" of its YAML reference), numbers the kernel's
//! (Documentation/networking/bonding.rst; a bridge counts time in hundredths of a second, as sysfs shows it).

/// What has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Several interfaces as one.
    Bond,
    /// A switch.
    Bridge,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One of these; the kernel's number is the place in the list.
    Words(&'static [&'static str]),
    /// A number up to this.
    Number(u32),
    /// Milliseconds, where no unit is written.
    Milliseconds,
    /// Seconds, where no unit is written; the kernel counts hundredths.
    Seconds,
    /// True or false.
    Switch,
    /// The id of a member.
    Member,
}

use Device::{Bond, Bridge};

const MODES: &[&str] = &[
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];
const HASHES: &[&str] = &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"];

const ALL: &[(Device, &str, Form)] = &[
    (Bond, "mode", Form::Words(MODES)),
    (Bond, "mii-monitor-interval", Form::Milliseconds),
    (Bond, "up-delay", Form::Milliseconds),
    (Bond, "down-delay", Form::Milliseconds),
    (Bond, "lacp-rate", Form::Words(&["slow", "fast"])),
    (Bond, "transmit-hash-policy", Form::Words(HASHES)),
    (Bond, "ad-select", Form::Words(&["stable", "bandwidth", "count"])),
    (Bond, "primary-reselect-policy", Form::Words(&["always", "better", "failure"])),
    (Bond, "fail-over-mac-policy", Form::Words(&["none", "active", "follow"])),
    (Bond, "min-links", Form::Number(1024)),
    (Bond, "all-members-active", Form::Switch),
    (Bond, "all-slaves-active", Form::Switch),
    (Bond, "primary", Form::Member),
    (Bridge, "stp", Form::Switch),
    (Bridge, "forward-delay", Form::Seconds),
    (Bridge, "hello-time", Form::Seconds),
    (Bridge, "max-age", Form::Seconds),
    (Bridge, "ageing-time", Form::Seconds),
    (Bridge, "aging-time", Form::Seconds),
    (Bridge, "priority", Form::Number(65_535)),
];

/// What a parameter's value is to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// This number.
    Number(u32),
    /// The number of the interface with this id.
    Member(&'a str),
}

/// The meaning of a parameter; none = the device has no such parameter, or cannot have this value.
pub fn meaning<'a>(device: Device, name: &str, value: &'a str) -> Option<Meaning<'a>> {
    let (.., form) = ALL.iter().find(|(of, known, _)| *of == device && *known == name)?;
    let value = value.trim();
    let number = match form {
        Form::Words(words) => words
            .iter()
            .position(|word| *word == value)
            .and_then(|at| u32::try_from(at).ok())
            .or_else(|| value.parse().ok().filter(|number| (*number as usize) < words.len())),
        Form::Number(most) => value.parse().ok().filter(|number| number <= most),
        Form::Milliseconds => time(value, 1),
        Form::Seconds => time(value, 1000).map(|ms| ms / 10),
        Form::Switch => match value {
            "true" => Some(1),
            "false" => Some(0),
            _ => None,
        },
        Form::Member => return (!value.is_empty()).then_some(Meaning::Member(value)),
    };
    number.map(Meaning::Number)
}

/// Whether some device has a parameter of this name, and one that has it can have this value.
pub(crate) fn is_possible(name: &str, value: &str) -> (bool, bool) {
    let known = ALL.iter().any(|(_, known, _)| *known == name);
    let valid = [Bond, Bridge].into_iter().any(|device| meaning(device, name, value).is_some());
    (known, valid)
}

/// All names of a device's parameters.
pub fn of(device: Device) -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(move |(of, ..)| *of == device).map(|(_, name, _)| *name)
}

/// All names, for "did you mean".
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(_, name, _)| *name)
}

/// A time in milliseconds, at most an hour: `100`, `100ms`, `4s`; `unit` is that of a bare number, in milliseconds.
fn time(text: &str, unit: u32) -> Option<u32> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1)
    } else if let Some(digits) = text.strip_suffix('s') {
        (digits, 1000)
    } else {
        (text, unit)
    };
    let number: u32 = digits.trim().parse().ok()?;
    number.checked_mul(unit).filter(|ms| *ms <= 3_600_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_what_they_are_to_the_kernel() {
        for (device, name, value, expected) in [
            (Bond, "mode", "active-backup", Some(1)),
            (Bond, "mode", "802.3ad", Some(4)),
            (Bond, "mode", "4", Some(4)),
            (Bond, "mode", "7", None),
            (Bond, "mode", "trunk", None),
            (Bond, "mii-monitor-interval", "100", Some(100)),
            (Bond, "up-delay", "2s", Some(2000)),
            (Bond, "down-delay", "200ms", Some(200)),
            (Bond, "lacp-rate", "fast", Some(1)),
            (Bond, "transmit-hash-policy", "layer3+4", Some(1)),
            (Bond, "all-members-active", "true", Some(1)),
            (Bond, "stp", "true", None),
            (Bridge, "stp", "false", Some(0)),
            (Bridge, "stp", "maybe", None),
            (Bridge, "forward-delay", "4", Some(400)),
            (Bridge, "forward-delay", "4000ms", Some(400)),
            (Bridge, "forward-delay", "99999999999", None),
            (Bridge, "forward-delay", "-1", None),
            (Bridge, "priority", "32768", Some(32768)),
            (Bridge, "priority", "65536", None),
            (Bridge, "mode", "802.3ad", None),
        ] {
            assert_eq!(meaning(device, name, value), expected.map(Meaning::Number), "{name}: {value}");
        }
        assert_eq!(meaning(Bond, "primary", "eth0"), Some(Meaning::Member("eth0")));
        assert_eq!(meaning(Bond, "primary", ""), None);
    }
}
