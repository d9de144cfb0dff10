//! `org.freedesktop.login1.Manager`: what kubelet asks of it.
#![allow(
    missing_docs,
    reason = "the macro makes a trait of the signal and functions of the properties, without any"
)]

use crate::shutdown::{Inhibitor, Shutdown};
use skerry_sys::process;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use zbus::fdo;
use zbus::interface;
use zbus::object_server::SignalEmitter;

/// Where it lies on the bus.
pub const PATH: &str = "/org/freedesktop/login1";
/// Its interface.
pub const INTERFACE: &str = "org.freedesktop.login1.Manager";
/// Its name on a bus.
pub const NAME: &str = "org.freedesktop.login1";

/// No text of a caller's is kept longer, bytes.
const LONGEST: usize = 256;

/// An inhibitor that was taken: its number, and the pipe's end that hears when it lets go.
pub type Taken = (u32, OwnedFd);

/// The object. One a connection, all with one state.
#[derive(Clone)]
pub struct Manager {
    /// Who is waited for.
    pub shutdown: Arc<Mutex<Shutdown>>,
    /// Where what is taken is watched.
    pub taken: async_channel::Sender<Taken>,
}

/// A panic elsewhere leaves the state as good as it was.
pub(crate) fn locked(shutdown: &Mutex<Shutdown>) -> std::sync::MutexGuard<'_, Shutdown> {
    shutdown.lock().unwrap_or_else(PoisonError::into_inner)
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    /// Whoever holds the descriptor is told of a shutdown and waited for; closing it lets go.
    async fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> fdo::Result<zbus::zvariant::OwnedFd> {
        let failed = |e: &dyn std::fmt::Display| fdo::Error::Failed(e.to_string());
        let (ours, theirs) = process::pipe().map_err(|e| failed(&e))?;
        let inhibitor = Inhibitor {
            who: bounded(who),
            why: bounded(why),
        };
        let number = locked(&self.shutdown)
            .take(what, mode, inhibitor)
            .map_err(|refusal| fdo::Error::NotSupported(refusal.words().to_owned()))?;
        self.taken.send((number, ours)).await.map_err(|e| failed(&e))?;
        Ok(theirs.into())
    }

    /// What, who, why, mode, user and process of each inhibitor. Users and processes are not told apart here.
    fn list_inhibitors(&self) -> Vec<(String, String, String, String, u32, u32)> {
        let shutdown = locked(&self.shutdown);
        let row = |h: &Inhibitor| ("shutdown".to_owned(), h.who.clone(), h.why.clone(), "delay".to_owned(), 0, 0);
        shutdown.holders().map(row).collect()
    }

    /// How long a shutdown is delayed at most. kubelet must find at least its own grace period here, else it tries to configure
    /// systemd's logind.
    #[zbus(property(emits_changed_signal = "const"), name = "InhibitDelayMaxUSec")]
    fn inhibit_delay_max_usec(&self) -> u64 {
        u64::try_from(locked(&self.shutdown).limit().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether the machine goes down.
    #[zbus(property(emits_changed_signal = "false"))]
    fn preparing_for_shutdown(&self) -> bool {
        locked(&self.shutdown).is_leaving()
    }

    /// The machine is about to go down.
    #[zbus(signal)]
    async fn prepare_for_shutdown(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

/// Tells everybody on a connection.
pub async fn announce(connection: &zbus::Connection) -> zbus::Result<()> {
    Manager::prepare_for_shutdown(&SignalEmitter::new(connection, PATH)?, true).await
}

fn bounded(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    let mut kept = String::new();
    for c in plain {
        if kept.len() + c.len_utf8() > LONGEST {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_say_is_bounded() {
        for (text, kept) in [("kubelet", "kubelet"), ("a\nb\u{1b}[2J", "ab[2J")] {
            assert_eq!(bounded(text), kept);
        }
        assert_eq!(bounded(&"é".repeat(1000)).len(), LONGEST);
    }
}
