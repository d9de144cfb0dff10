//! Looking and acting: the conversation with iwd on D-Bus (iwd's doc/*-api.txt).

use super::agent::{self, Agent};
use super::daemon::Event;
use anyhow::{Context, Result};
use skerry_network::wifi::plan::{Outcome, Seen, State, Station};
use std::collections::HashMap;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use zbus::blocking::{Connection, MessageIterator, connection};
use zbus::zvariant::{OwnedObjectPath, OwnedValue};
use zbus::{MatchRule, message};

/// iwd's name.
const IWD: &str = "net.connman.iwd";
/// The longest that iwd takes for an answer: joining, with all access points of a network tried.
const LONGEST: Duration = Duration::from_secs(90);

type Properties = HashMap<String, OwnedValue>;
type Objects = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

/// The bus, with our object on it for iwd to ask.
#[derive(Debug, Clone)]
pub struct Bus(Connection);

/// A radio, with iwd's objects.
#[derive(Debug)]
pub struct Radio {
    /// What the plan needs.
    pub station: Station,
    /// Its hardware address.
    pub address: String,
    /// iwd's object of the interface …
    device: OwnedObjectPath,
    /// … and of the radio that it belongs to.
    adapter: Option<OwnedObjectPath>,
}

impl Bus {
    /// Joins the bus, and has every word of iwd's, its coming and its going, told as an event.
    pub fn join(address: &str, agent: Agent) -> Result<Self> {
        let events = agent.events.clone();
        let connection = connection::Builder::address(address)
            .and_then(|builder| builder.serve_at(agent::PATH, agent))
            .and_then(|builder| builder.method_timeout(LONGEST).build())
            .with_context(|| format!("joining the bus at {address}"))?;
        let of_iwd = MatchRule::builder().msg_type(message::Type::Signal).sender(IWD)?.build();
        let of_names = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .arg(0, IWD)?
            .build();
        for (rule, event) in [(of_iwd, Event::Changed), (of_names, Event::Owner)] {
            let messages = MessageIterator::for_match_rule(rule, &connection, Some(64)).context("listening to iwd")?;
            listen(messages, event, events.clone());
        }
        Ok(Self(connection))
    }

    fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> zbus::Result<zbus::Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.0.call_method(Some(IWD), path, Some(interface), method, body)
    }

    /// Offers to answer iwd's questions.
    pub fn register(&self) -> zbus::Result<()> {
        let path = OwnedObjectPath::try_from(agent::PATH)?;
        let done = self.call("/net/connman/iwd", "net.connman.iwd.AgentManager", "RegisterAgent", &path);
        match done {
            // Its coming was told after it had been asked.
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == "net.connman.iwd.AlreadyExists" => Ok(()),
            done => done.map(drop),
        }
    }

    /// Looks at everything.
    pub fn look(&self) -> zbus::Result<Vec<Radio>> {
        let answer = self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &())?;
        let objects: Objects = answer.body().deserialize()?;
        let mut radios = vec![];
        for (path, interfaces) in &objects {
            let Some(device) = interfaces.get("net.connman.iwd.Device") else {
                continue;
            };
            let station = interfaces.get("net.connman.iwd.Station");
            let seen = match station {
                Some(_) => self.in_range(path)?,
                None => vec![],
            };
            let networks: HashMap<&str, &Properties> = objects
                .iter()
                .filter_map(|(path, interfaces)| Some((path.as_str(), interfaces.get("net.connman.iwd.Network")?)))
                .collect();
            let named = |path: &str| networks.get(path).and_then(|network| text(network, "Name"));
            radios.push(Radio {
                station: Station {
                    device: text(device, "Name").unwrap_or_default(),
                    state: station.map_or(State::Off, |s| State::of(&text(s, "State").unwrap_or_default())),
                    network: station
                        .and_then(|s| object(s, "ConnectedNetwork"))
                        .and_then(|path| named(path.as_str())),
                    seen: seen
                        .iter()
                        .filter_map(|path| {
                            let network = networks.get(path.as_str())?;
                            Some(Seen {
                                name: text(network, "Name")?,
                                kind: text(network, "Type")?,
                                path: path.as_str().to_owned(),
                            })
                        })
                        .collect(),
                },
                address: text(device, "Address").unwrap_or_default(),
                device: path.clone(),
                adapter: object(device, "Adapter"),
            });
        }
        radios.sort_by(|a, b| a.station.device.cmp(&b.station.device));
        Ok(radios)
    }

    /// The networks that a radio hears, the best first.
    fn in_range(&self, device: &OwnedObjectPath) -> zbus::Result<Vec<OwnedObjectPath>> {
        let answer = self.call(device.as_str(), "net.connman.iwd.Station", "GetOrderedNetworks", &())?;
        let networks: Vec<(OwnedObjectPath, i16)> = answer.body().deserialize()?;
        Ok(networks.into_iter().map(|(path, _)| path).collect())
    }

    /// Switches a radio on.
    pub fn switch_on(&self, radio: &Radio) -> zbus::Result<()> {
        let on = |path: &OwnedObjectPath, interface: &str| {
            let value = zbus::zvariant::Value::from(true);
            self.call(
                path.as_str(),
                "org.freedesktop.DBus.Properties",
                "Set",
                &(interface, "Powered", value),
            )
            .map(drop)
        };
        if let Some(adapter) = &radio.adapter {
            on(adapter, "net.connman.iwd.Adapter")?;
        }
        on(&radio.device, "net.connman.iwd.Device")
    }

    /// Leaves the network.
    pub fn leave(&self, radio: &Radio) -> zbus::Result<()> {
        self.call(radio.device.as_str(), "net.connman.iwd.Station", "Disconnect", &())
            .map(drop)
    }

    /// Joins a network: this takes its time, so it is done beside, and how it ended comes as an event.
    pub fn begin_to_join(&self, device: &str, name: &str, path: &str, events: SyncSender<Event>) {
        let (bus, device, name, path) = (self.clone(), device.to_owned(), name.to_owned(), path.to_owned());
        std::thread::spawn(move || {
            let done = bus.call(&path, "net.connman.iwd.Network", "Connect", &());
            let outcome = outcome(&done);
            match done {
                Ok(_) => tracing::info!(device, network = name, "joined"),
                Err(error) => tracing::warn!(device, network = name, %error, "joining"),
            }
            let _ = events.send(Event::Tried(device, name, outcome)); // nobody listens only when the process ends
        });
    }
}

/// iwd's errors: of these it has not tried.
fn outcome(done: &zbus::Result<zbus::Message>) -> Outcome {
    const NOT_TRIED: [&str; 6] = ["Busy", "InProgress", "NotFound", "NotAvailable", "NotConnected", "NotSupported"];
    match done {
        Ok(_) => Outcome::Joined,
        Err(zbus::Error::MethodError(name, ..)) => match name.strip_prefix("net.connman.iwd.") {
            Some(word) if !NOT_TRIED.contains(&word) => Outcome::Failed,
            _ => Outcome::NotTried,
        },
        Err(_) => Outcome::NotTried,
    }
}

fn listen(messages: MessageIterator, event: Event, events: SyncSender<Event>) {
    std::thread::spawn(move || {
        for message in messages {
            if message.is_err() {
                break;
            }
            if matches!(event, Event::Changed) {
                // Where there is no room, others wait to be read: that something changed need not be told twice.
                let _ = events.try_send(event.clone());
            } else if events.send(event.clone()).is_err() {
                return;
            }
        }
        let _ = events.send(Event::BusGone);
    });
}

fn text(properties: &Properties, key: &str) -> Option<String> {
    properties.get(key).and_then(|value| value.try_clone().ok()?.try_into().ok())
}

fn object(properties: &Properties, key: &str) -> Option<OwnedObjectPath> {
    properties.get(key).and_then(|value| value.try_clone().ok()?.try_into().ok())
}
