//! `init logd`: keeps what services print. A small process of its own, so that PID 1 never waits for a disk.
//!
//! PID 1 makes a pipe for each unit and keeps both ends; this process gets a copy of the read end over the socket it finds as
//! descriptor 3, with messages of one line each ([`Order`]). If it dies, the pipes keep, and the next one goes on reading: no
//! service notices.
//!
//! For each unit there is a ring in memory, and a file once `/var/log` is there ([`Order::Files`]). A file that cannot be written is
//! no reason to lose a line: the ring grows then, and the file is tried again.

mod clients;
mod ring;
mod store;
mod unit;

use clients::Clients;
use skerry_sys::event::{Interest, Poller, Ready};
use skerry_sys::kmsg::Console;
use skerry_sys::machine::monotonic;
use skerry_sys::socket::{self, Received};
use skerry_sys::{Result, process};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use unit::UnitLog;

/// Where the files lie.
pub const DIRECTORY: &str = "/var/log/skerry";
/// The longest message between PID 1 and this process.
pub const MAX_MESSAGE: usize = 1024;

const FROM_PID1: u64 = 0;
const LISTENER: u64 = 1;
const FIRST_UNIT: u64 = 1 << 16;
const FIRST_CLIENT: u64 = 1 << 32;
/// How often files that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What PID 1 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Here is the read end of this unit's pipe. Small ones (one-shots) get less memory.
    Unit {
        /// Its name.
        name: String,
        /// It will print little.
        small: bool,
    },
    /// Put this line into the unit's log.
    Note(String, String),
    /// Print the last lines of this run of the unit on the console, at most so many.
    Show(String, usize),
    /// The unit is gone for good.
    Gone(String),
    /// `/var/log` is on its disk now.
    Files,
}

impl Order {
    /// Writes it.
    pub fn encode(&self) -> String {
        let mut text = match self {
            Self::Unit { name, small } => format!("unit {name} {}", if *small { "small" } else { "large" }),
            Self::Note(name, text) => format!("note {name} {text}"),
            Self::Show(name, lines) => format!("show {name} {lines}"),
            Self::Gone(name) => format!("gone {name} -"),
            Self::Files => "files - -".to_owned(),
        };
        while text.len() > MAX_MESSAGE {
            text.pop();
        }
        text
    }

    /// Reads one.
    pub fn decode(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (verb, name, rest) = (words.next()?, words.next()?.to_owned(), words.next()?);
        match verb {
            "unit" => Some(Self::Unit {
                name,
                small: rest == "small",
            }),
            "note" => Some(Self::Note(name, rest.to_owned())),
            "show" => Some(Self::Show(name, rest.parse().ok()?)),
            "gone" => Some(Self::Gone(name)),
            "files" => Some(Self::Files),
            _ => None,
        }
    }
}

/// Runs until PID 1 is gone.
pub fn run() -> Result<()> {
    let Some(pid1) = process::passed(3) else { return Ok(()) };
    process::set_name("logd");
    let mut keeper = Keeper {
        poller: Poller::new()?,
        console: Console::open(),
        units: BTreeMap::new(),
        next_token: FIRST_UNIT,
        files: false,
        retry_at: Duration::ZERO,
        clients: Clients::default(),
    };
    keeper.poller.add(&pid1, FROM_PID1, Interest::Read)?;
    // Without its socket it still keeps the logs.
    let listener = socket::listen_at(Path::new(skerry_control::LOG_SOCKET), 0o666).ok();
    if let Some(l) = &listener {
        keeper.poller.add(l, LISTENER, Interest::Read)?;
    }
    loop {
        for ready in keeper.poller.wait(Some(RETRY))? {
            match ready.token {
                FROM_PID1 => {
                    if !keeper.take_orders(&pid1) {
                        return Ok(());
                    }
                }
                LISTENER => {
                    if let Some(l) = &listener {
                        keeper.clients.accept(l, &keeper.poller, FIRST_CLIENT);
                    }
                }
                token if token >= FIRST_CLIENT => keeper.serve(ready),
                token => keeper.collect(token),
            }
        }
        if monotonic() >= keeper.retry_at {
            keeper.retry_at = monotonic() + RETRY;
            keeper.open_files();
        }
    }
}

struct Keeper {
    poller: Poller,
    console: Console,
    units: BTreeMap<String, UnitLog>,
    next_token: u64,
    files: bool,
    retry_at: Duration,
    clients: Clients,
}

impl Keeper {
    /// Returns whether PID 1 is still there.
    fn take_orders(&mut self, pid1: &OwnedFd) -> bool {
        let mut buffer = [0; MAX_MESSAGE];
        // Bounded, so that the pipes are read too.
        for _ in 0..256 {
            match socket::receive(pid1, &mut buffer) {
                Received::Message(n, fd) => {
                    let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
                    if let Some(order) = Order::decode(&text) {
                        self.obey(order, fd);
                    }
                }
                Received::Nothing => return true,
                Received::Gone => return false,
            }
        }
        true
    }

    fn obey(&mut self, order: Order, fd: Option<OwnedFd>) {
        match order {
            Order::Unit { name, small } => {
                let Some(fd) = fd else { return };
                self.next_token += 1;
                if self.poller.add(fd.as_fd(), self.next_token, Interest::Read).is_ok() {
                    let mut log = UnitLog::new(&name, fd, self.next_token, small);
                    if self.files {
                        log.open_file(Path::new(DIRECTORY));
                    }
                    self.units.insert(name, log);
                }
            }
            Order::Note(name, text) => {
                self.drain(&name);
                if let Some(log) = self.units.get_mut(&name) {
                    log.note(&text);
                    self.clients.pass_on(&name, format!("{text}\n").as_bytes(), &self.poller);
                }
            }
            Order::Show(name, lines) => {
                self.drain(&name);
                if let Some(log) = self.units.get(&name) {
                    for line in log.last_of_run(lines) {
                        self.console.line(&format!("           | {line}"));
                    }
                }
            }
            Order::Gone(name) => {
                self.drain(&name);
                self.units.remove(&name);
            }
            Order::Files => {
                self.files = true;
                self.open_files();
            }
        }
    }

    fn open_files(&mut self) {
        if self.files {
            for log in self.units.values_mut() {
                log.open_file(Path::new(DIRECTORY));
            }
        }
    }

    fn collect(&mut self, token: u64) {
        let found = self.units.iter_mut().find(|(_, u)| u.token == token);
        let Some((name, log)) = found else { return };
        if let Some(bytes) = log.read() {
            self.clients.pass_on(name, &bytes, &self.poller);
        }
    }

    /// Reads what is in a unit's pipe, as far as it can be there already: a pipe holds no more than 1 MiB.
    fn drain(&mut self, name: &str) {
        for _ in 0..128 {
            let Some(bytes) = self.units.get_mut(name).and_then(UnitLog::read) else {
                return;
            };
            self.clients.pass_on(name, &bytes, &self.poller);
        }
    }

    fn serve(&mut self, ready: Ready) {
        if let Some((name, lines)) = self.clients.serve(ready, &self.poller) {
            let answer = match self.units.get(&name) {
                Some(log) => log.tail(lines),
                None => format!("there is no log of {name}\n").into_bytes(),
            };
            self.clients.answer(ready.token, &answer, &self.poller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_round_trip() {
        for order in [
            Order::Unit {
                name: "a".into(),
                small: true,
            },
            Order::Note("a".into(), "b c  d".into()),
            Order::Show("a".into(), 8),
            Order::Gone("a".into()),
            Order::Files,
        ] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        assert_eq!(Order::Note("a".into(), "é".repeat(2000)).encode().len(), MAX_MESSAGE - 1);
        for text in ["", "unit", "unit a", "fly a b", "show a b"] {
            assert_eq!(Order::decode(text), None, "{text}");
        }
    }
}
