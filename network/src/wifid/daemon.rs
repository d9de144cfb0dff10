//! The daemon: waits, looks, decides and acts, for ever.

use super::agent::{Agent, Answers};
use super::bus::{Bus, Radio};
use anyhow::{Context, Result, bail};
use skerry_network::facts::Link;
use skerry_network::look;
use skerry_network::wifi::asked::{Asked, Network};
use skerry_network::wifi::plan::{Action, Attempts, Outcome, after, asked_again, decide};
use skerry_network::wifi::state::{self, Radio as Report};
use skerry_sys::notify::Notify;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What did not come out is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// After this it counts as started whether or not a network was joined: a machine with a cable is not unfinished for ever.
const LONGEST: Duration = Duration::from_secs(60);

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// `network.json` is read here; the report is written here.
    pub run: PathBuf,
    /// The bus's address.
    pub bus: String,
}

/// What may happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// iwd said that something changed.
    Changed,
    /// iwd came or went.
    Owner,
    /// iwd asked for the passphrase of this network.
    Asked(String),
    /// An attempt of a radio to join a network ended.
    Tried(String, String, Outcome),
    /// The bus is gone.
    BusGone,
}

/// Everything the daemon holds.
pub struct Daemon {
    places: Places,
    asked: Asked,
    notify: Notify,
    bus: Bus,
    answers: Answers,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    attempts: BTreeMap<String, Attempts>,
    /// The network that a radio is being joined to.
    trying: BTreeMap<String, String>,
    /// iwd knows that we answer.
    is_registered: bool,
    start: Instant,
    is_ready: bool,
    status: String,
    written: Option<Vec<Report>>,
}

impl Daemon {
    /// Joins the bus.
    pub fn new(places: Places, asked: Asked, notify: Notify) -> Result<Self> {
        let (sender, events) = sync_channel(64);
        let answers = Answers::default();
        let agent = Agent {
            answers: answers.clone(),
            events: sender.clone(),
        };
        Ok(Self {
            bus: Bus::join(&places.bus, agent)?,
            places,
            asked,
            notify,
            answers,
            sender,
            events,
            attempts: BTreeMap::new(),
            trying: BTreeMap::new(),
            is_registered: false,
            start: Instant::now(),
            is_ready: false,
            status: String::new(),
            written: None,
        })
    }

    /// Works until it is killed. Radios stay in their networks.
    pub fn run(mut self) -> Result<()> {
        loop {
            let again = self.round().into_iter().chain((!self.is_ready).then_some(LONGEST)).min();
            let now = self.start.elapsed();
            let event = match again {
                Some(again) => match self.events.recv_timeout(again.saturating_sub(now) + Duration::from_millis(1)) {
                    Err(RecvTimeoutError::Disconnected) => bail!("listening to iwd: nobody is left to tell"),
                    event => event.ok(),
                },
                None => Some(self.events.recv().context("listening to iwd")?),
            };
            let more: Vec<Event> = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
            for event in event.into_iter().chain(more) {
                self.take(event)?;
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Changed => {}
            Event::Owner => self.is_registered = false,
            Event::Asked(name) => {
                let trying = self.trying.iter().filter(|(_, network)| **network == name);
                for device in trying.map(|(device, _)| device.clone()) {
                    asked_again(self.attempts.entry(device).or_default(), &name);
                }
            }
            Event::Tried(device, name, outcome) => {
                self.trying.remove(&device);
                let now = self.start.elapsed();
                after(self.attempts.entry(device).or_default(), &name, outcome, now);
            }
            Event::BusGone => bail!("listening to iwd: the bus is gone"),
        }
        Ok(())
    }

    /// Looks, decides, acts, tells; returns when time alone makes another round.
    fn round(&mut self) -> Option<Duration> {
        let looked = self.register().and_then(|()| self.bus.look());
        let radios = match looked {
            Ok(radios) => radios,
            Err(error) => {
                tracing::debug!(%error, "looking");
                self.report(vec![], Some("wifi: waiting for iwd"));
                return Some(self.start.elapsed() + RETRY);
            }
        };
        let ours: Vec<(Radio, Vec<Network>)> = radios
            .into_iter()
            .filter_map(|radio| {
                let networks = self.asked.of_radio(&link(&radio))?.to_vec();
                Some((radio, networks))
            })
            .collect();
        self.prepare_answers(&ours);
        let mut again = vec![];
        let mut reports = vec![];
        for (radio, networks) in &ours {
            let station = &radio.station;
            let attempts = self.attempts.entry(station.device.clone()).or_default();
            let trying = self.trying.get(&station.device).map(String::as_str);
            let decision = decide(station, networks, attempts, trying, self.start.elapsed());
            again.extend(decision.again);
            if let Some(action) = &decision.action {
                again.extend(self.perform(radio, action).err().map(|error| {
                    tracing::debug!(device = station.device, %error, ?action, "acting");
                    self.start.elapsed() + RETRY
                }));
            }
            reports.push(Report {
                device: station.device.clone(),
                network: decision.says.is_none().then(|| station.network.clone()).flatten(),
                says: decision.says,
            });
        }
        self.report(reports, None);
        again.into_iter().min()
    }

    fn register(&mut self) -> zbus::Result<()> {
        if !self.is_registered {
            self.bus.register()?;
            self.is_registered = true;
        }
        Ok(())
    }

    fn prepare_answers(&self, ours: &[(Radio, Vec<Network>)]) {
        let each = ours.iter().flat_map(|(radio, networks)| {
            radio.station.seen.iter().filter_map(|seen| {
                let network = networks.iter().find(|network| network.name == seen.name)?;
                Some((seen.path.clone(), (seen.name.clone(), network.secret.clone())))
            })
        });
        *self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = each.collect();
    }

    fn perform(&mut self, radio: &Radio, action: &Action) -> zbus::Result<()> {
        let device = &radio.station.device;
        match action {
            Action::SwitchOn => self.bus.switch_on(radio),
            Action::Leave => self.bus.leave(radio),
            Action::Join(name, path) => {
                tracing::info!(device, network = name, "joining");
                self.trying.insert(device.clone(), name.clone());
                self.bus.begin_to_join(device, name, path, self.sender.clone());
                Ok(())
            }
        }
    }

    /// Writes the report, then tells PID 1, when there is something new to say.
    fn report(&mut self, reports: Vec<Report>, instead: Option<&str>) {
        let status = instead.map_or_else(|| state::summary(&reports), str::to_owned);
        let is_joined = state::is_joined(&reports);
        let ready = !self.is_ready && (is_joined || self.start.elapsed() >= LONGEST);
        let status = if ready && !is_joined {
            format!("going on without Wi-Fi: {status}")
        } else {
            status
        };
        if self.written.as_ref() != Some(&reports) {
            let path = self.places.run.join("wifi-state.json");
            let text = serde_json::to_string(&reports).unwrap_or_default() + "\n";
            match skerry_sys::file::replace(&path, text.as_bytes(), 0o644) {
                Ok(()) => self.written = Some(reports),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        self.is_ready |= ready;
        if ready || status != self.status {
            let word = if ready { "READY=1\n" } else { "" };
            self.notify.say(&format!("{word}STATUS={status}"));
            tracing::info!("{status}");
            self.status = status;
        }
    }
}

/// The interface as the configuration's entries know it.
fn link(radio: &Radio) -> Link {
    let mut link = Link {
        name: radio.station.device.clone(),
        mac: radio.address.parse().ok(),
        ethernet: true,
        ..Link::default()
    };
    look::describe(&mut link);
    // iwd says so, whatever /sys looks like.
    (link.wireless, link.hardware) = (true, true);
    link
}
