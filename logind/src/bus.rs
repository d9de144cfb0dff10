//! `org.freedesktop.DBus`: what a client expects of a bus, where there is none.
//!
//! Every client is alone with us, so names and matches mean nothing: each gets a name of its own, and every signal.
#![allow(clippy::used_underscore_binding, reason = "the macro reads the arguments of every method")]

use crate::manager::NAME;
use zbus::fdo;
use zbus::interface;

/// Where it lies.
pub const PATH: &str = "/org/freedesktop/DBus";
/// The bus's own name.
const BUS: &str = "org.freedesktop.DBus";
/// Our unique name.
const OURS: &str = ":1.0";

/// The bus, as one client sees it.
pub struct Bus {
    /// The client's unique name.
    pub client: String,
}

impl Bus {
    fn owner(&self, name: &str) -> Option<String> {
        match name {
            NAME | OURS => Some(OURS.to_owned()),
            BUS => Some(BUS.to_owned()),
            _ if name == self.client => Some(self.client.clone()),
            _ => None,
        }
    }
}

#[interface(name = "org.freedesktop.DBus")]
impl Bus {
    fn hello(&self) -> String {
        self.client.clone()
    }

    /// All signals are sent to all.
    #[allow(clippy::unused_self, reason = "the interface's methods are those of an object")]
    fn add_match(&self, _rule: &str) {}

    #[allow(clippy::unused_self, reason = "the interface's methods are those of an object")]
    fn remove_match(&self, _rule: &str) {}

    fn get_name_owner(&self, name: &str) -> fdo::Result<String> {
        self.owner(name)
            .ok_or_else(|| fdo::Error::NameHasNoOwner(format!("{name} is not on this machine: there is no D-Bus daemon")))
    }

    fn name_has_owner(&self, name: &str) -> bool {
        self.owner(name).is_some()
    }

    fn list_names(&self) -> Vec<String> {
        [BUS, NAME, OURS, &self.client].map(str::to_owned).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there() {
        let bus = Bus { client: ":1.7".into() };
        for (name, owner) in [
            (NAME, Some(":1.0")),
            (":1.0", Some(":1.0")),
            (":1.7", Some(":1.7")),
            (":1.8", None),
            ("org.freedesktop.systemd1", None),
            (BUS, Some(BUS)),
        ] {
            assert_eq!(bus.owner(name).as_deref(), owner, "{name}");
        }
    }
}
