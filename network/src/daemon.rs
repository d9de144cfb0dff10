//! The daemon: one thread that waits, looks, compares and acts, for ever.

use crate::dhcp::client::{Client, Command, Event};
use crate::dhcp::lease::Lease;
use crate::dhcp::message;
use crate::dhcp::socket::Socket;
use crate::dhcp::store;
use crate::facts::{Facts, Link, Owner};
use crate::netlink::{Changes, Netlink};
use crate::nft::Nft;
use crate::outputs::Outputs;
use crate::plan::plan;
use crate::request::{Assigned, Request, Settings, assign};
use crate::state::{More, Wall};
use crate::wanted::{Leases, limited, wanted};
use crate::{dhcp6, firewall, look, ready, trial};
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skerry_sys::notify::Notify;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// `network.json` is no larger.
const LARGEST: usize = 1024 * 1024;
/// Looking, acting and looking again ends after this many rounds even if something does not come out as ordered …
const MOST_ROUNDS: usize = 8;
/// … and is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);

/// Where files are.
#[derive(Debug, Clone)]
pub struct Places {
    /// `network.json` is read here; the report and resolv.conf are written here.
    pub run: PathBuf,
    /// Leases are kept here.
    pub state: PathBuf,
    /// Time servers are written here.
    pub chrony: PathBuf,
    /// The control group of the system's own services.
    pub group: String,
}

/// Everything the daemon holds.
#[derive(Debug)]
pub struct Daemon {
    places: Places,
    notify: Notify,
    netlink: Netlink,
    changes: Changes,
    signals: SignalFd,
    outputs: Outputs,
    request: Request,
    clients: BTreeMap<u32, Dhcp>,
    six: dhcp6::clients::Clients,
    nft: Nft,
    /// When the request on trial is over, by the kernel's clock.
    trial: Option<Duration>,
    start: Instant,
    ready: bool,
    status: String,
    /// What has been logged as wrong, so that it is logged once.
    complained: BTreeSet<String>,
    /// When to try again what did not come out as ordered.
    retry: Option<Duration>,
}

/// DHCP on one interface.
#[derive(Debug)]
struct Dhcp {
    name: String,
    client: Client,
    socket: Option<Socket>,
    /// Its lease changed since it was last kept.
    unkept: bool,
    /// The interface had settled when it was last looked at.
    settled: bool,
    /// Questions in a row that the kernel did not take.
    unsent: u32,
}

impl Daemon {
    /// Opens what it needs. `SIGTERM` and its kin are no longer deadly from here on.
    pub fn new(places: Places, notify: Notify) -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            set.add(signal);
        }
        set.thread_block().context("blocking signals")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("opening a signalfd")?;
        // Listening begins before the first look, so that no change falls between.
        let changes = Changes::open()?;
        Ok(Self {
            outputs: Outputs::new(&places),
            netlink: Netlink::open()?,
            places,
            notify,
            changes,
            signals,
            request: Request::default(),
            clients: BTreeMap::new(),
            six: dhcp6::clients::Clients::default(),
            nft: Nft::default(),
            trial: None,
            start: Instant::now(),
            ready: false,
            status: String::new(),
            complained: BTreeSet::new(),
            retry: None,
        })
    }

    /// Works until `SIGTERM`. Addresses and routes stay.
    pub fn run(mut self) -> Result<()> {
        self.read_request();
        let mut dirty = true;
        loop {
            if dirty {
                self.round()?;
            }
            let woken = self.wait()?;
            dirty = woken.changed;
            if woken.signal {
                while let Ok(Some(info)) = self.signals.read_signal() {
                    match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                        Ok(Ok(Signal::SIGHUP)) => self.read_request(),
                        Ok(Ok(Signal::SIGCHLD)) => {
                            self.outputs.reap();
                            self.nft.reap(self.now());
                        }
                        _ => return Ok(()),
                    }
                    dirty = true;
                }
            }
            for index in woken.heard {
                dirty |= self.hear(index);
            }
            for index in woken.heard6 {
                dirty |= self.six.hear(index, self.now(), random());
            }
            dirty |= self.tick();
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Reads what is asked for: what is on trial, or else what is in force.
    fn read_request(&mut self) {
        self.trial = None;
        let path = self.places.run.join(trial::NAME);
        match skerry_sys::file::read_bounded(&path, LARGEST) {
            Ok(bytes) => match trial::read(&bytes, trial::clock()) {
                Ok(Some(on_trial)) => {
                    tracing::info!("a configuration is on trial");
                    self.trial = Some(Duration::from_millis(on_trial.until_ms));
                    self.request = on_trial.request;
                    return;
                }
                Ok(None) => self.end_trial(),
                Err(error) => {
                    tracing::warn!("reading {}: {error}; going on without it", path.display());
                    self.end_trial();
                }
            },
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{error}; going on without it"),
        }
        let path = self.places.run.join("network.json");
        let read = skerry_sys::file::read_bounded(&path, LARGEST)
            .map_err(anyhow::Error::from)
            .and_then(|b| Ok(serde_json::from_slice(&b)?));
        match read {
            Ok(request) => self.request = request,
            Err(error) => tracing::warn!(
                "reading {}: {error:#}; going on with {}",
                path.display(),
                if self.ready {
                    "what was known"
                } else {
                    "DHCP on every wired interface"
                }
            ),
        }
    }

    /// Takes what is on trial away. If that fails, its time is over all the same.
    fn end_trial(&self) {
        let path = self.places.run.join(trial::NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!("removing {}: {error}", path.display()),
            _ => {}
        }
    }

    /// Goes back to what is in force when the time of a trial is over; whether it was.
    fn revert(&mut self) -> bool {
        let is_over = self.trial.is_some_and(|until| until <= trial::clock());
        if is_over {
            if self.places.run.join(trial::NAME).exists() {
                tracing::warn!("nobody confirmed the configuration on trial: the one before it counts again");
            }
            self.end_trial();
            self.read_request();
        }
        is_over
    }

    /// Gives the firewall to the kernel, if anything was said of one, and says how things stand.
    fn guard(&mut self, facts: &Facts, assigned: &Assigned) {
        let wall = self.request.firewall.as_ref().map(|asked| {
            let text = firewall::ruleset(asked, facts, assigned, &self.places.group);
            self.nft.want(text, self.start.elapsed());
            Wall {
                on: asked.on,
                done: self.nft.is_done(),
                outside: firewall::outside(facts, assigned).into_iter().collect(),
                open: firewall::open(asked, facts).into_iter().cloned().collect(),
                problem: self.nft.problem().map(str::to_owned),
            }
        });
        if let Some(problem) = wall.as_ref().and_then(|wall| wall.problem.clone()) {
            self.complain(&problem);
        }
        self.outputs.tell(&More {
            firewall: wall,
            trial_until_ms: self.trial.and_then(|until| u64::try_from(until.as_millis()).ok()),
        });
    }

    /// Looks, decides and acts until all is as it should be; then tells the others.
    fn round(&mut self) -> Result<()> {
        self.retry = None;
        let mut seen = None;
        for round in 0..=MOST_ROUNDS {
            let facts = look::look(&mut self.netlink)?;
            let assigned = assign(&self.request, &facts);
            self.meet(&facts, &assigned);
            self.six.meet(&facts, &assigned, self.now(), random());
            let leases = self.leases(&assigned);
            let actions = plan(&facts, &wanted(&facts, &assigned, &leases));
            let done = round < MOST_ROUNDS && self.perform(&actions) > 0;
            if !actions.is_empty() && !done {
                self.retry = Some(self.now() + RETRY);
            }
            seen = Some((facts, assigned, leases));
            if !done {
                break;
            }
        }
        if let Some((facts, assigned, leases)) = seen {
            for problem in &assigned.problems {
                self.complain(problem);
            }
            let elapsed = self.now();
            self.outputs.write(&self.request, &facts, &assigned, &leases, elapsed);
            self.guard(&facts, &assigned);
            self.report(&facts, &assigned);
            self.keep_leases();
            self.outputs.tell_chrony();
        }
        Ok(())
    }

    /// Does what a plan says; returns how many steps came out.
    fn perform(&mut self, actions: &[crate::plan::Action]) -> usize {
        let mut done = 0;
        for action in actions {
            match self.netlink.perform(action) {
                Ok(()) => {
                    tracing::info!("{action}");
                    done += 1;
                }
                Err(error) => self.complain(&error.to_string()),
            }
        }
        done
    }

    fn complain(&mut self, about: &str) {
        // Bounded: what is complained about holds names and addresses from outside.
        if self.complained.len() < 256 && self.complained.insert(about.to_owned()) {
            tracing::warn!("{about}");
        }
    }

    /// Lets each interface that wants DHCP have its client, and tells the clients about carriers.
    fn meet(&mut self, facts: &Facts, assigned: &Assigned) {
        let fits = |settings: &Settings, link: &Link| settings.mac.is_none_or(|mac| link.mac == Some(mac));
        let wants: Vec<(&Settings, &Link)> = assigned
            .links
            .iter()
            .filter(|settings| settings.dhcp4)
            .filter_map(|settings| Some((settings, facts.link(settings.index)?)))
            .filter(|(settings, link)| fits(settings, link))
            .collect();
        self.clients.retain(|index, dhcp| {
            wants
                .iter()
                .any(|(_, link)| link.index == *index && link.mac == Some(dhcp.client.mac()))
        });
        for (_, link) in wants {
            let Some(mac) = link.mac else { continue };
            if !self.clients.contains_key(&link.index) {
                let remembered = store::read(&store::path(&self.places.state, &link.name), mac);
                let is_held = |lease: &Lease| link.addresses.iter().any(|a| a.owner == Owner::Dhcp && a.cidr == lease.address);
                let client = match remembered {
                    Some(lease) if is_held(&lease) => Client::holding(mac, look::host_name(), lease, self.now()),
                    remembered => Client::new(mac, look::host_name(), remembered),
                };
                self.clients.insert(
                    link.index,
                    Dhcp {
                        name: link.name.clone(),
                        client,
                        socket: None,
                        unkept: false,
                        settled: link.settled,
                        unsent: 0,
                    },
                );
            }
            // The first question is sent with the carrier, a little too early for some drivers: once more when it surely leaves.
            let now = self.now();
            if let Some(dhcp) = self.clients.get_mut(&link.index) {
                if link.settled && !dhcp.settled {
                    dhcp.client.hasten(now, Duration::ZERO);
                }
                dhcp.settled = link.settled;
            }
            self.step(link.index, Event::Carrier(link.up && link.carrier));
        }
    }

    /// One step of an interface's client, done; whether its lease changed.
    fn step(&mut self, index: u32, event: Event<'_>) -> bool {
        let now = self.now();
        let Some(dhcp) = self.clients.get_mut(&index) else { return false };
        let before = dhcp.client.state();
        let mut changed = false;
        for command in dhcp.client.step(now, random(), event) {
            let sent = match &command {
                Command::Broadcast(question) => {
                    tracing::debug!(interface = dhcp.name, ?question, "asking everybody");
                    dhcp.ear(index)
                        .and_then(|ear| ear.broadcast(question.mac, question.own, &message::encode(question)))
                }
                Command::Unicast(question, server) => {
                    let (name, own) = (dhcp.name.clone(), question.own.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED));
                    dhcp.ear(index)
                        .and_then(|ear| ear.unicast(&name, own, *server, &message::encode(question)))
                }
                Command::Granted => {
                    if let Some(lease) = dhcp.client.lease() {
                        tracing::info!(
                            "{}: {} for {} s from {}",
                            dhcp.name,
                            lease.address,
                            lease.seconds,
                            lease.server.map_or("a server without a name".into(), |ip| ip.to_string())
                        );
                    }
                    (dhcp.unkept, changed) = (true, true);
                    Ok(())
                }
                Command::Lost(why) => {
                    tracing::warn!("{}: giving the address up: {why}", dhcp.name);
                    changed = true;
                    Ok(())
                }
            };
            // A queue that is not open yet takes frames a moment later. One that stays shut is asked again at the usual pace.
            match sent {
                Ok(()) => dhcp.unsent = 0,
                Err(error) => {
                    tracing::debug!(interface = dhcp.name, %error, "asking");
                    dhcp.unsent += 1;
                    if dhcp.unsent <= 10 {
                        dhcp.client.hasten(now, Duration::from_millis(100));
                    }
                }
            }
        }
        if before != dhcp.client.state() {
            tracing::debug!(interface = dhcp.name, before, now = dhcp.client.state(), "DHCP");
        }
        if !dhcp.client.is_listening() {
            dhcp.socket = None;
        }
        changed
    }

    /// Hears what servers said on an interface; whether a lease changed.
    fn hear(&mut self, index: u32) -> bool {
        let heard = self
            .clients
            .get_mut(&index)
            .and_then(|dhcp| dhcp.socket.as_mut())
            .map(Socket::heard)
            .unwrap_or_default();
        let mut changed = false;
        for message in heard {
            tracing::debug!(index, ?message, "heard");
            changed |= self.step(index, Event::Heard(&message));
        }
        changed
    }

    /// What is due by the clock; whether another round is.
    fn tick(&mut self) -> bool {
        let due: Vec<u32> = self.clients.keys().copied().collect();
        let mut changed = false;
        for index in due {
            changed |= self.step(index, Event::Tick);
        }
        let now = self.now();
        changed |= self.six.tick(now, random());
        changed |= self.revert();
        changed |= self.nft.deadline().is_some_and(|retry| retry <= now);
        changed || self.retry.is_some_and(|retry| retry <= now) || (!self.ready && ready::turns(now))
    }

    /// The leases in force, as far as the owner wants them.
    fn leases(&self, assigned: &Assigned) -> Leases {
        let of = |index: u32| assigned.links.iter().find(|settings| settings.index == index);
        let four = self.clients.iter();
        Leases {
            four: four
                .filter_map(|(index, dhcp)| Some((*index, limited(dhcp.client.lease()?.clone(), &of(*index)?.overrides))))
                .collect(),
            six: self.six.leases(),
        }
    }

    /// Tells the supervisor, when there is something new to say.
    fn report(&mut self, facts: &Facts, assigned: &Assigned) {
        let waiting = ready::waiting(facts, assigned, self.now());
        let late = self.now() >= ready::LONGEST;
        let status = match &waiting {
            Some(why) if late && !self.ready => format!("going on without the network: {why}"),
            Some(why) => why.clone(),
            None => ready::summary(facts, assigned),
        };
        let now_ready = !self.ready && (waiting.is_none() || late);
        if now_ready {
            self.ready = true;
            self.notify.say(&format!("READY=1\nSTATUS={status}"));
            tracing::info!("{status} ({} ms after the start)", self.now().as_millis());
        } else if status != self.status {
            self.notify.say(&format!("STATUS={status}"));
            tracing::info!("{status}");
        }
        self.status = status;
    }

    /// Keeps new leases for the next boot: last, as flash may be slow.
    fn keep_leases(&mut self) {
        for dhcp in self.clients.values_mut().filter(|dhcp| dhcp.unkept) {
            dhcp.unkept = false;
            let Some(lease) = dhcp.client.lease() else { continue };
            if let Err(error) = store::keep(&store::path(&self.places.state, &dhcp.name), dhcp.client.mac(), lease) {
                tracing::warn!("keeping the lease of {} for the next boot: {error}", dhcp.name);
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&self) -> Result<Woken> {
        let now = self.now();
        let deadlines = self.clients.values().filter_map(|dhcp| dhcp.client.deadline());
        let boot = (!self.ready).then(|| ready::next_turn(now));
        let clock = trial::clock();
        let trial = self.trial.map(|until| now + until.saturating_sub(clock));
        let others = [self.six.deadline(), self.nft.deadline(), self.retry, boot, trial];
        let next = deadlines.chain(others.into_iter().flatten()).min();
        let timeout = next.map(|next| {
            // A millisecond more: waking early means to wait again.
            let left = next.saturating_sub(now) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let ears: Vec<(u32, &Socket)> = self
            .clients
            .iter()
            .filter_map(|(index, dhcp)| Some((*index, dhcp.socket.as_ref()?)))
            .collect();
        let mut fds = vec![PollFd::new(&self.changes, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(ears.iter().map(|(_, ear)| PollFd::new(*ear, PollFlags::IN)));
        let ears6: Vec<_> = self.six.ears().collect();
        fds.extend(ears6.iter().map(|(_, ear)| PollFd::new(*ear, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for something to happen"),
        }
        let woken: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let is = |at: usize| woken.get(at).copied().unwrap_or(false);
        let heard = ears
            .iter()
            .zip(2..)
            .filter(|(_, at)| is(*at))
            .map(|((index, _), _)| *index)
            .collect();
        let heard6 = ears6
            .iter()
            .zip(2 + ears.len()..)
            .filter(|(_, at)| is(*at))
            .map(|((index, _), _)| *index)
            .collect();
        Ok(Woken {
            changed: is(0) && self.changes.drain(),
            signal: is(1),
            heard,
            heard6,
        })
    }
}

/// What happened.
struct Woken {
    changed: bool,
    signal: bool,
    heard: Vec<u32>,
    heard6: Vec<u32>,
}

impl Dhcp {
    fn ear(&mut self, index: u32) -> skerry_sys::Result<&mut Socket> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open(index)?,
        };
        Ok(self.socket.insert(socket))
    }
}

/// Random bits that need not be secret, and must not wait for the kernel to have gathered any.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE);
    u32::from_ne_bytes(bytes)
}
