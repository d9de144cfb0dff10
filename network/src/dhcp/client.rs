//! The client's state machine (RFC 2131 §4.4): what happened and what time it is go in, what to do comes out.
//!
//! | state | sends | an answer leads to | silence leads to | refusal (NAK) leads to |
//! |---|---|---|---|---|
//! | `Stopped` | – | – | – (a carrier: `Rebooting` with a remembered lease, else `Selecting`) | – |
//! | `Rebooting` | request for the remembered address | `Bound` | `Selecting`; `Bound` again if the lease is still in force | `Selecting` |
//! | `Selecting` | discover | offer: `Requesting`; rapid ACK: `Bound` | itself, slower and slower | – |
//! | `Requesting` | request for the first offer | `Bound` | `Selecting`, after 3 | `Selecting` |
//! | `Bound` | – | – | at T1 `Renewing` | – |
//! | `Renewing` | request to the server | `Bound` | at T2 `Rebinding` | `Selecting`, lease lost |
//! | `Rebinding` | request to anybody | `Bound` | at the end `Selecting`, lease lost | `Selecting`, lease lost |
//!
//! Without a carrier a lease is kept beyond its end (nobody can be disturbed by it, and a single node keeps its address through a dead
//! switch); it is confirmed when the carrier is back. The first question is sent at once and the first offer is taken: boot time counts.

use crate::dhcp::lease::Lease;
use crate::dhcp::message::{Kind, Message, Question};
use skerry_config::address::Mac;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Where the client stands. `since` is when the request that got the lease was sent; times are counted from there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Stopped,
    Rebooting { lease: Lease, since: Option<Duration>, tries: u32 },
    Selecting { tries: u32 },
    Requesting { offer: Lease, tries: u32 },
    Bound { lease: Lease, since: Duration },
    Renewing { lease: Lease, since: Duration },
    Rebinding { lease: Lease, since: Duration },
}

/// How old the lease was when it was last looked at: before T1, before T2, after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Old,
    Older,
}

/// One interface's client.
#[derive(Debug, Clone)]
pub struct Client {
    mac: Mac,
    host_name: Option<String>,
    state: State,
    carrier: bool,
    /// The lease to ask for first when there is a carrier.
    remembered: Option<Lease>,
    transaction: u32,
    /// When this exchange began, and when its last question was sent.
    began: Duration,
    asked: Duration,
    /// When `Tick` does something again.
    next: Option<Duration>,
    /// Refusals in a row.
    refusals: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The carrier came or went (or is as it was).
    Carrier(bool),
    /// A server said this.
    Heard(&'a Message),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send to everybody, in a frame of our own.
    Broadcast(Question),
    /// Send to this server, through the kernel (which knows its hardware address).
    Unicast(Question, Ipv4Addr),
    /// The lease is new or prolonged; [`Client::lease`] says it.
    Granted,
    /// The address must not be used any more.
    Lost(&'static str),
}

impl Client {
    /// A client that has not asked yet; `remembered` is the lease of an earlier boot.
    pub fn new(mac: Mac, host_name: Option<String>, remembered: Option<Lease>) -> Self {
        Self {
            mac,
            host_name,
            state: State::Stopped,
            carrier: false,
            remembered,
            transaction: 0,
            began: Duration::ZERO,
            asked: Duration::ZERO,
            next: None,
            refusals: 0,
        }
    }

    /// A client whose lease is on the interface already: an earlier `netd` put it there. It counts until a server says otherwise.
    pub fn holding(mac: Mac, host_name: Option<String>, lease: Lease, now: Duration) -> Self {
        Self {
            remembered: Some(lease.clone()),
            state: State::Bound { lease, since: now },
            ..Self::new(mac, host_name, None)
        }
    }

    /// The hardware address it asks for.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The lease that is in force.
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease, .. }
            | State::Renewing { lease, .. }
            | State::Rebinding { lease, .. }
            | State::Rebooting { lease, since: Some(_), .. } => Some(lease),
            _ => None,
        }
    }

    /// When it wants to be told the time.
    pub const fn deadline(&self) -> Option<Duration> {
        if self.carrier { self.next } else { None }
    }

    /// Whether an answer is waited for.
    pub const fn is_listening(&self) -> bool {
        self.carrier && !matches!(self.state, State::Stopped | State::Bound { .. })
    }

    /// The state's name, for logs.
    pub const fn state(&self) -> &'static str {
        match self.state {
            State::Stopped => "stopped",
            State::Rebooting { .. } => "rebooting",
            State::Selecting { .. } => "selecting",
            State::Requesting { .. } => "requesting",
            State::Bound { .. } => "bound",
            State::Renewing { .. } => "renewing",
            State::Rebinding { .. } => "rebinding",
        }
    }

    /// The last question may not have left: asks again after `pause`, if an answer is waited for.
    pub fn hasten(&mut self, now: Duration, pause: Duration) {
        if self.is_listening() {
            let soon = now.saturating_add(pause);
            self.next = self.next.map(|next| next.min(soon));
        }
    }

    /// The next step. `random` is 32 fresh random bits; `now` never goes backwards.
    pub fn step(&mut self, now: Duration, random: u32, event: Event<'_>) -> Vec<Command> {
        match event {
            Event::Carrier(carrier) => self.carrier(now, random, carrier),
            Event::Heard(message) => self.heard(now, random, message),
            Event::Tick if self.deadline().is_some_and(|deadline| deadline <= now) => self.tick(now, random),
            Event::Tick => Vec::new(),
        }
    }

    fn carrier(&mut self, now: Duration, random: u32, carrier: bool) -> Vec<Command> {
        if std::mem::replace(&mut self.carrier, carrier) == carrier {
            return Vec::new();
        }
        let state = std::mem::replace(&mut self.state, State::Stopped);
        match (carrier, state) {
            (true, State::Bound { lease, since } | State::Renewing { lease, since } | State::Rebinding { lease, since }) => {
                self.reboot(now, random, lease, Some(since))
            }
            (true, _) => match self.remembered.clone() {
                Some(lease) => self.reboot(now, random, lease, None),
                None => self.select(now, random),
            },
            (
                false,
                State::Rebooting {
                    lease, since: Some(since), ..
                },
            ) => {
                self.state = State::Bound { lease, since };
                Vec::new()
            }
            (false, state @ (State::Bound { .. } | State::Renewing { .. } | State::Rebinding { .. })) => {
                self.state = state;
                Vec::new()
            }
            (false, _) => Vec::new(),
        }
    }

    fn heard(&mut self, now: Duration, random: u32, message: &Message) -> Vec<Command> {
        if !self.is_listening() || message.transaction != self.transaction || message.mac != Some(self.mac.0) {
            return Vec::new();
        }
        match (message.kind, &self.state) {
            (Some(Kind::Offer), State::Selecting { .. }) => match Lease::from_message(message) {
                Some(offer) if offer.server.is_some() => {
                    self.state = State::Requesting { offer, tries: 0 };
                    self.ask(now, random)
                }
                _ => Vec::new(),
            },
            (Some(Kind::Ack), state) => {
                let meant = match state {
                    State::Selecting { .. } => message.rapid,
                    State::Requesting { offer, .. } => offer.server == message.server || message.server.is_none(),
                    _ => true,
                };
                match Lease::from_message(message) {
                    Some(lease) if meant => self.bind(lease),
                    _ => Vec::new(),
                }
            }
            (Some(Kind::Nak), State::Requesting { offer, .. }) if offer.server != message.server => Vec::new(),
            (Some(Kind::Nak), State::Selecting { .. }) => Vec::new(),
            (Some(Kind::Nak), _) => self.refused(now, random),
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Duration, random: u32) -> Vec<Command> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => Vec::new(),
            State::Rebooting { lease, since, tries } if tries < 2 => {
                self.state = State::Rebooting { lease, since, tries };
                self.ask(now, random)
            }
            State::Rebooting {
                lease, since: Some(since), ..
            } if end(&lease, since).is_none_or(|end| now < end) => self.hold(lease, since),
            State::Rebooting { since, .. } => {
                self.remembered = None;
                let mut commands = if since.is_some() {
                    vec![Command::Lost("the lease has ended and no server answers")]
                } else {
                    Vec::new()
                };
                commands.extend(self.select(now, random));
                commands
            }
            State::Selecting { tries } => {
                self.state = State::Selecting { tries };
                self.ask(now, random)
            }
            State::Requesting { offer, tries } if tries < 3 => {
                self.state = State::Requesting { offer, tries };
                self.ask(now, random)
            }
            State::Requesting { .. } => self.select(now, random),
            State::Bound { lease, since } => self.age(now, random, lease, since, Age::Fresh),
            State::Renewing { lease, since } => self.age(now, random, lease, since, Age::Old),
            State::Rebinding { lease, since } => self.age(now, random, lease, since, Age::Older),
        }
    }

    /// What the age of a lease asks for: nothing yet, T1, T2, or the end.
    fn age(&mut self, now: Duration, random: u32, lease: Lease, since: Duration, before: Age) -> Vec<Command> {
        let at = |seconds: u32| since.saturating_add(Duration::from_secs(u64::from(seconds)));
        if lease.is_forever() {
            self.hold(lease, since)
        } else if now >= at(lease.seconds) {
            self.remembered = Some(lease);
            let mut commands = vec![Command::Lost("the lease has ended and no server answers")];
            commands.extend(self.select(now, random));
            commands
        } else if now >= at(lease.rebind) || (now >= at(lease.renew) && lease.server.is_none()) {
            self.begin_unless(before == Age::Older, now, random);
            self.state = State::Rebinding { lease, since };
            self.ask(now, random)
        } else if now >= at(lease.renew) {
            self.begin_unless(before == Age::Old, now, random);
            self.state = State::Renewing { lease, since };
            self.ask(now, random)
        } else {
            self.hold(lease, since)
        }
    }

    /// Waits in `Bound` for T1.
    fn hold(&mut self, lease: Lease, since: Duration) -> Vec<Command> {
        self.next = if lease.is_forever() {
            None
        } else {
            Some(since.saturating_add(Duration::from_secs(u64::from(lease.renew))))
        };
        self.state = State::Bound { lease, since };
        Vec::new()
    }

    fn bind(&mut self, lease: Lease) -> Vec<Command> {
        self.refusals = 0;
        self.remembered = Some(lease.clone());
        let since = self.asked;
        self.hold(lease, since);
        vec![Command::Granted]
    }

    fn refused(&mut self, now: Duration, random: u32) -> Vec<Command> {
        let mut commands = if self.lease().is_some() {
            vec![Command::Lost("the server refuses it")]
        } else {
            Vec::new()
        };
        self.remembered = None;
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == 1 {
            commands.extend(self.select(now, random));
        } else {
            // A server that refuses everything must not be answered as fast as it can refuse.
            self.begin(now, random);
            self.state = State::Selecting { tries: 0 };
            self.next = Some(now.saturating_add(pause(self.refusals - 2, random)));
        }
        commands
    }

    fn select(&mut self, now: Duration, random: u32) -> Vec<Command> {
        self.begin(now, random);
        self.state = State::Selecting { tries: 0 };
        self.ask(now, random)
    }

    fn reboot(&mut self, now: Duration, random: u32, lease: Lease, since: Option<Duration>) -> Vec<Command> {
        self.begin(now, random);
        self.state = State::Rebooting { lease, since, tries: 0 };
        self.ask(now, random)
    }

    /// Begins an exchange: a new transaction number.
    fn begin(&mut self, now: Duration, random: u32) {
        self.transaction = random;
        self.began = now;
    }

    fn begin_unless(&mut self, under_way: bool, now: Duration, random: u32) {
        if !under_way {
            self.begin(now, random);
        }
    }

    /// Sends the question of the present state, and sets when to send it again.
    fn ask(&mut self, now: Duration, random: u32) -> Vec<Command> {
        let mut question = Question {
            kind: Kind::Request,
            transaction: self.transaction,
            elapsed: u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX),
            mac: self.mac,
            own: None,
            wish: None,
            server: None,
            host_name: self.host_name.clone(),
        };
        self.asked = now;
        let mut to = None;
        let wait = match &mut self.state {
            State::Stopped | State::Bound { .. } => return Vec::new(),
            State::Selecting { tries } => {
                question.kind = Kind::Discover;
                *tries += 1;
                pause(*tries - 1, random)
            }
            State::Requesting { offer, tries } => {
                (question.wish, question.server) = (offer.ip(), offer.server);
                *tries += 1;
                pause(*tries - 1, random)
            }
            State::Rebooting { lease, tries, .. } => {
                question.wish = lease.ip();
                *tries += 1;
                pause(*tries - 1, random) / 2
            }
            State::Renewing { lease, since } => {
                (question.own, to) = (lease.ip(), lease.server);
                patience(now, *since, lease.rebind)
            }
            State::Rebinding { lease, since } => {
                question.own = lease.ip();
                patience(now, *since, lease.seconds)
            }
        };
        self.next = Some(now.saturating_add(wait));
        match to {
            Some(server) => vec![Command::Unicast(question, server)],
            None => vec![Command::Broadcast(question)],
        }
    }
}

fn end(lease: &Lease, since: Duration) -> Option<Duration> {
    (!lease.is_forever()).then(|| since.saturating_add(Duration::from_secs(u64::from(lease.seconds))))
}

/// 1, 2, 4 … 64 s, an eighth more or less, so that machines that start together do not go on asking together.
fn pause(tries: u32, random: u32) -> Duration {
    let base = 1000 << tries.min(6);
    Duration::from_millis(u64::from(base - base / 8 + random % (base / 4)))
}

/// Half of what is left until `limit`, at least a minute, and never past it (RFC 2131 §4.4.5).
fn patience(now: Duration, since: Duration, limit: u32) -> Duration {
    let left = since.saturating_add(Duration::from_secs(u64::from(limit))).saturating_sub(now);
    (left / 2).max(Duration::from_secs(60)).min(left)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
