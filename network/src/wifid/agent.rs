//! iwd's questions: it asks for a passphrase when the one in its file was refused.

use skerry_config::Secret;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use zbus::zvariant::OwnedObjectPath;

use super::daemon::Event;

/// Where it is served.
pub const PATH: &str = "/io/skerry/wifid";

/// What can be answered, by iwd's object of the network: its name, and its passphrase.
pub type Answers = Arc<Mutex<BTreeMap<String, (String, Option<Secret<String>>)>>>;

/// The object that iwd asks.
pub struct Agent {
    pub answers: Answers,
    pub events: SyncSender<Event>,
}

/// No answer.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "net.connman.iwd.Agent.Error")]
enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    Canceled(String),
}

#[allow(clippy::needless_pass_by_value, reason = "the interface's own form")]
#[zbus::interface(name = "net.connman.iwd.Agent")]
impl Agent {
    #[allow(clippy::unused_self, reason = "the interface's own form")]
    fn release(&self) {}

    #[allow(clippy::unused_self, reason = "the interface's own form")]
    fn cancel(&self, reason: &str) {
        tracing::debug!(reason, "iwd asks no more");
    }

    fn request_passphrase(&self, network: OwnedObjectPath) -> Result<String, Refusal> {
        let answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((name, secret)) = answers.get(network.as_str()) else {
            return Err(Refusal::Canceled("the configuration does not name this network".to_owned()));
        };
        // The daemon reads all it is sent; it is gone only when this process ends.
        let _ = self.events.send(Event::Asked(name.clone()));
        // The owner may have made the access point's passphrase the right one meanwhile. A key is no passphrase.
        let secret = secret.as_ref().filter(|secret| secret.0.len() < 64);
        secret
            .map(|secret| secret.0.clone())
            .ok_or_else(|| Refusal::Canceled("the configuration has no passphrase for it".to_owned()))
    }
}
