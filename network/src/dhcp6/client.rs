//! The client's state machine (RFC 8415 §18.2): what happened and what time it is go in, what to do comes out.
//!
//! | state | sends | an answer leads to | silence leads to | a refusal leads to |
//! |---|---|---|---|---|
//! | `Stopped` | – | – | – (a link that is ready: by the wish, `Soliciting` or `Asking`) | – |
//! | `Asking` | information request | `Told` | itself, slower and slower | – |
//! | `Told` | – | – | after a day, or as told, `Asking` | – |
//! | `Soliciting` | solicit | offer: `Requesting`; rapid reply: `Bound` | itself, slower and slower | – |
//! | `Requesting` | request to that server | `Bound` | `Soliciting`, after 4 | `Soliciting` |
//! | `Bound` | – | – | at T1 `Renewing` | – |
//! | `Renewing` | renew to the server | `Bound` | at T2 `Rebinding` | `Soliciting`, lease lost |
//! | `Rebinding` | rebind to anybody | `Bound` | at the end `Soliciting`, lease lost | `Soliciting`, lease lost |
//!
//! Without a link a lease is kept beyond its end, as the one of IPv4 is; when the link is back it is confirmed by `Rebinding`. The first
//! question is sent at once and the first offer is taken: boot time counts. Nothing is kept for the next boot: servers know us by our
//! hardware address.

use crate::dhcp6::lease::Lease6;
use crate::dhcp6::message::{Ask, Kind, Message, Question, duid};
use skerry_config::address::Mac;
use std::net::Ipv6Addr;
use std::time::Duration;

/// The slowest pace, as a power of two of seconds: of questions to nobody in particular, and of renewals.
const SLOWEST: u32 = 10;
const SLOWEST_RENEWAL: u32 = 6;

/// What is wanted of servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    #[default]
    Nothing,
    /// What they know besides addresses.
    Information,
    /// An address.
    Address,
}

/// Where the client stands. `since` is when the question that got the lease was sent; times are counted from there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Stopped,
    Asking { known: Option<Lease6>, tries: u32 },
    Told { lease: Lease6 },
    Soliciting { tries: u32 },
    Requesting { offer: Lease6, tries: u32 },
    Bound { lease: Lease6, since: Duration },
    Renewing { lease: Lease6, since: Duration, tries: u32 },
    Rebinding { lease: Lease6, since: Duration, tries: u32 },
}

/// One interface's client.
#[derive(Debug, Clone)]
pub struct Client {
    mac: Mac,
    host_name: Option<String>,
    state: State,
    wish: Wish,
    is_linked: bool,
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
    /// The link came or went (or is as it was), and this is wanted.
    Link(bool, Wish),
    /// A server said this.
    Heard(&'a Message),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send to all servers on the link.
    Send(Question),
    /// The lease is new or prolonged; [`Client::lease`] says it.
    Granted,
    /// The address must not be used any more.
    Lost(&'static str),
}

impl Client {
    /// A client that has not asked yet.
    pub const fn new(mac: Mac, host_name: Option<String>) -> Self {
        Self {
            mac,
            host_name,
            state: State::Stopped,
            wish: Wish::Nothing,
            is_linked: false,
            transaction: 0,
            began: Duration::ZERO,
            asked: Duration::ZERO,
            next: None,
            refusals: 0,
        }
    }

    /// A client whose address is on the interface already: an earlier `netd` put it there. It counts until a server says otherwise, or
    /// none says anything.
    pub fn holding(mac: Mac, host_name: Option<String>, ip: Ipv6Addr, now: Duration) -> Self {
        let lease = Lease6::held(ip);
        Self {
            state: State::Bound { lease, since: now },
            wish: Wish::Address,
            ..Self::new(mac, host_name)
        }
    }

    /// The hardware address it asks for.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The lease that is in force.
    pub const fn lease(&self) -> Option<&Lease6> {
        match &self.state {
            State::Told { lease }
            | State::Bound { lease, .. }
            | State::Renewing { lease, .. }
            | State::Rebinding { lease, .. }
            | State::Asking { known: Some(lease), .. } => Some(lease),
            _ => None,
        }
    }

    /// When it wants to be told the time.
    pub const fn deadline(&self) -> Option<Duration> {
        if self.is_linked { self.next } else { None }
    }

    /// Whether an answer is waited for.
    pub const fn is_listening(&self) -> bool {
        self.is_linked && !matches!(self.state, State::Stopped | State::Told { .. } | State::Bound { .. })
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
            Event::Link(is_linked, wish) => self.link(now, random, is_linked, wish),
            Event::Heard(message) => self.heard(now, random, message),
            Event::Tick if self.deadline().is_some_and(|deadline| deadline <= now) => self.tick(now, random),
            Event::Tick => Vec::new(),
        }
    }

    fn link(&mut self, now: Duration, random: u32, is_linked: bool, wish: Wish) -> Vec<Command> {
        let came = !std::mem::replace(&mut self.is_linked, is_linked) && is_linked;
        if std::mem::replace(&mut self.wish, wish) != wish {
            let lost = self.lease().is_some_and(|lease| lease.address.is_some());
            self.state = State::Stopped;
            let mut commands: Vec<Command> = lost.then_some(Command::Lost("it is not wanted any more")).into_iter().collect();
            commands.extend(self.begin(now, random));
            return commands;
        }
        if !is_linked {
            // Granted is granted; a question that is under way is asked anew when the link is back.
            self.state = match std::mem::replace(&mut self.state, State::Stopped) {
                State::Renewing { lease, since, .. } | State::Rebinding { lease, since, .. } => State::Bound { lease, since },
                State::Asking { known: Some(lease), .. } => State::Told { lease },
                State::Asking { .. } | State::Soliciting { .. } | State::Requesting { .. } => State::Stopped,
                kept => kept,
            };
            return Vec::new();
        }
        if !came {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Bound { lease, since } => {
                self.transact(now, random);
                self.state = State::Rebinding { lease, since, tries: 0 };
                self.ask(now, random)
            }
            State::Told { lease } => self.inform(now, random, Some(lease)),
            _ => self.begin(now, random),
        }
    }

    /// Begins with nothing, as the wish says.
    fn begin(&mut self, now: Duration, random: u32) -> Vec<Command> {
        (self.state, self.next) = (State::Stopped, None);
        match self.wish {
            _ if !self.is_linked => Vec::new(),
            Wish::Nothing => Vec::new(),
            Wish::Information => self.inform(now, random, None),
            Wish::Address => self.solicit(now, random),
        }
    }

    fn heard(&mut self, now: Duration, random: u32, message: &Message) -> Vec<Command> {
        if !self.is_listening() || message.transaction != self.transaction || message.client != duid(self.mac) {
            return Vec::new();
        }
        match (&self.state, message.kind) {
            (State::Asking { .. }, Kind::Reply) => match Lease6::information(message) {
                Some(lease) => {
                    self.hold_information(lease);
                    vec![Command::Granted]
                }
                None => Vec::new(),
            },
            (State::Soliciting { .. }, Kind::Advertise) => match Lease6::address(message) {
                Some(offer) => {
                    self.state = State::Requesting { offer, tries: 0 };
                    self.transact(now, random);
                    self.ask(now, random)
                }
                None => Vec::new(),
            },
            (State::Soliciting { .. }, Kind::Reply) if message.rapid => Lease6::address(message).map_or_else(Vec::new, |l| self.bind(l)),
            (State::Requesting { offer, .. }, Kind::Reply) if offer.server == message.server => match Lease6::address(message) {
                Some(lease) => self.bind(lease),
                None => self.refused(now, random),
            },
            (State::Renewing { lease, .. } | State::Rebinding { lease, .. }, Kind::Reply) => match Lease6::address(message) {
                Some(new) if new.address == lease.address => self.bind(new),
                _ => self.refused(now, random),
            },
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Duration, random: u32) -> Vec<Command> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => {
                self.next = None;
                Vec::new()
            }
            State::Told { lease } => self.inform(now, random, Some(lease)),
            State::Requesting { tries: 4.., .. } => self.solicit(now, random),
            State::Bound { lease, since } => self.age(now, random, lease, since, None),
            State::Renewing { lease, since, tries } => self.age(now, random, lease, since, Some((false, tries))),
            State::Rebinding { lease, since, tries } => self.age(now, random, lease, since, Some((true, tries))),
            asking => {
                self.state = asking;
                self.ask(now, random)
            }
        }
    }

    /// What the age of a lease asks for: nothing yet, T1, T2, or the end. `under_way`: whether anybody is asked already, and how often.
    fn age(&mut self, now: Duration, random: u32, lease: Lease6, since: Duration, under_way: Option<(bool, u32)>) -> Vec<Command> {
        let at = |seconds: u32| since.saturating_add(Duration::from_secs(u64::from(seconds)));
        if !lease.is_forever() && now >= at(lease.seconds) {
            let mut commands = vec![Command::Lost("the lease has ended and no server answers")];
            commands.extend(self.solicit(now, random));
            return commands;
        }
        let anybody = matches!(under_way, Some((true, _))) || (!lease.is_forever() && now >= at(lease.rebind));
        let tries = match under_way {
            Some((already, tries)) if already == anybody => tries,
            _ => {
                self.transact(now, random);
                0
            }
        };
        self.state = if anybody {
            State::Rebinding { lease, since, tries }
        } else {
            State::Renewing { lease, since, tries }
        };
        self.ask(now, random)
    }

    fn bind(&mut self, lease: Lease6) -> Vec<Command> {
        self.refusals = 0;
        let since = self.asked;
        self.next = (!lease.is_forever()).then(|| since.saturating_add(Duration::from_secs(u64::from(lease.renew))));
        self.state = State::Bound { lease, since };
        vec![Command::Granted]
    }

    fn hold_information(&mut self, lease: Lease6) {
        self.next = Some(self.asked.saturating_add(Duration::from_secs(u64::from(lease.renew))));
        self.state = State::Told { lease };
    }

    fn refused(&mut self, now: Duration, random: u32) -> Vec<Command> {
        let mut commands: Vec<Command> = self.lease().map(|_| Command::Lost("the server refuses it")).into_iter().collect();
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == 1 {
            commands.extend(self.solicit(now, random));
        } else {
            // A server that refuses everything must not be answered as fast as it can refuse.
            self.transact(now, random);
            self.state = State::Soliciting { tries: 0 };
            self.next = Some(now.saturating_add(pause(self.refusals - 2, random, SLOWEST)));
        }
        commands
    }

    fn solicit(&mut self, now: Duration, random: u32) -> Vec<Command> {
        self.transact(now, random);
        self.state = State::Soliciting { tries: 0 };
        self.ask(now, random)
    }

    fn inform(&mut self, now: Duration, random: u32, known: Option<Lease6>) -> Vec<Command> {
        self.transact(now, random);
        self.state = State::Asking { known, tries: 0 };
        self.ask(now, random)
    }

    /// Begins an exchange: a new transaction number.
    fn transact(&mut self, now: Duration, random: u32) {
        self.transaction = random & 0x00ff_ffff;
        self.began = now;
    }

    /// Sends the question of the present state, and sets when to send it again.
    fn ask(&mut self, now: Duration, random: u32) -> Vec<Command> {
        let (ask, server, address, wait) = match &mut self.state {
            State::Stopped | State::Told { .. } | State::Bound { .. } => return Vec::new(),
            State::Asking { tries, .. } => (Ask::Information, None, None, slower(tries, random, SLOWEST)),
            State::Soliciting { tries } => (Ask::Solicit, None, None, slower(tries, random, SLOWEST)),
            State::Requesting { offer, tries } => (
                Ask::Request,
                Some(offer.server.clone()),
                offer.address,
                slower(tries, random, SLOWEST),
            ),
            State::Renewing { lease, since, tries } => {
                let left = left(now, *since, lease.rebind);
                let wait = slower(tries, random, SLOWEST_RENEWAL) * 10;
                (Ask::Renew, Some(lease.server.clone()), lease.address, wait.min(left))
            }
            State::Rebinding { lease, since, tries } => {
                let left = left(now, *since, lease.seconds);
                // The first ones soon: after a break of the link somebody waits.
                let wait = slower(tries, random, SLOWEST_RENEWAL) * if *tries < 4 { 1 } else { 10 };
                (Ask::Rebind, None, lease.address, wait.min(left))
            }
        };
        self.asked = now;
        self.next = Some(now.saturating_add(wait));
        let elapsed = now.saturating_sub(self.began).as_millis() / 10;
        vec![Command::Send(Question {
            ask,
            transaction: self.transaction,
            elapsed: u16::try_from(elapsed).unwrap_or(u16::MAX),
            mac: self.mac,
            server,
            address,
            host_name: self.host_name.clone(),
        })]
    }
}

fn left(now: Duration, since: Duration, limit: u32) -> Duration {
    if limit == u32::MAX {
        return Duration::MAX;
    }
    since.saturating_add(Duration::from_secs(u64::from(limit))).saturating_sub(now)
}

fn slower(tries: &mut u32, random: u32, slowest: u32) -> Duration {
    let wait = pause(*tries, random, slowest);
    *tries = tries.saturating_add(1);
    wait
}

/// 1, 2, 4 … s, an eighth more or less, so that machines that start together do not go on asking together.
fn pause(tries: u32, random: u32, slowest: u32) -> Duration {
    let base = 1000 << tries.min(slowest);
    Duration::from_millis(u64::from(base - base / 8 + random % (base / 4)))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
