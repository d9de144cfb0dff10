//! The control socket: one request, one reply, bounded in number, size and time.

use super::Pid1;
use crate::supervisor::Event;
use skerry_control::reply::{Machine, Reply};
use skerry_control::request::Request;
use skerry_sys::event::{Interest, Poller, Ready};
use skerry_sys::machine::{self, Down};
use skerry_sys::socket::{self, Peer};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The most connections at a time.
const MAX_CLIENTS: usize = 16;
/// The longest request.
const MAX_REQUEST: usize = 4096;
/// Who takes longer than this is cut off.
const PATIENCE: Duration = Duration::from_secs(10);
/// The owner's group.
const OWNER: u32 = 1000;

struct Client {
    fd: OwnedFd,
    peer: Peer,
    until: Duration,
    request: Vec<u8>,
    reply: Option<Vec<u8>>,
}

/// The listener and all connections.
#[derive(Default)]
pub struct Orders {
    listener: Option<OwnedFd>,
    clients: BTreeMap<u64, Client>,
    count: u64,
}

impl Orders {
    /// Listens.
    pub fn open() -> skerry_sys::Result<Self> {
        Ok(Self {
            listener: Some(socket::listen_at(Path::new(skerry_control::SOCKET), 0o666)?),
            ..Self::default()
        })
    }

    /// To wait on.
    pub fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    /// Takes connections that wait.
    pub fn accept(&mut self, poller: &Poller, first_token: u64) {
        let Some(listener) = &self.listener else { return };
        for _ in 0..MAX_CLIENTS {
            let Some((fd, peer)) = socket::accept(listener) else { return };
            if self.clients.len() >= MAX_CLIENTS {
                continue; // closed at once
            }
            self.count += 1;
            let token = first_token + self.count;
            if poller.add(&fd, token, Interest::Read).is_ok() {
                let until = machine::uptime() + PATIENCE;
                self.clients.insert(
                    token,
                    Client {
                        fd,
                        peer,
                        until,
                        request: vec![],
                        reply: None,
                    },
                );
            }
        }
    }

    /// Closes connections that take too long.
    pub fn drop_idle(&mut self, now: Duration) {
        self.clients.retain(|_, c| now < c.until);
    }

    /// When [`Orders::drop_idle`] is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.clients.values().map(|c| c.until).min()
    }

    /// Reads; returns the request once it is whole.
    fn read(&mut self, token: u64) -> Option<(Peer, Vec<u8>)> {
        let client = self.clients.get_mut(&token)?;
        let mut buffer = [0; 1024];
        loop {
            match socket::read(&client.fd, &mut buffer) {
                Ok(0) => return Some((client.peer, std::mem::take(&mut client.request))),
                Ok(n) => client.request.extend(buffer.get(..n)?),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => break,
            }
            if client.request.len() > MAX_REQUEST {
                break;
            }
        }
        self.clients.remove(&token);
        None
    }

    fn write(&mut self, token: u64, poller: &Poller) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if let Some(reply) = &mut client.reply {
            while !reply.is_empty() {
                match socket::write(client.fd.as_fd(), reply) {
                    Ok(n) => drop(reply.drain(..n.min(reply.len()))),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        let _ = poller.change(&client.fd, token, Interest::Write); // it is in the set
                        return;
                    }
                    Err(_) => break,
                }
            }
        }
        self.clients.remove(&token);
    }
}

impl Pid1 {
    pub(super) fn serve(&mut self, ready: Ready) {
        let replying = self.orders.clients.get(&ready.token).is_some_and(|c| c.reply.is_some());
        if !replying {
            let Some((peer, request)) = self.orders.read(ready.token) else {
                return;
            };
            let reply = self.obey(peer, &request).encode().into_bytes();
            if let Some(client) = self.orders.clients.get_mut(&ready.token) {
                client.reply = Some(reply);
            }
        }
        self.orders.write(ready.token, &self.poller);
    }

    fn obey(&mut self, peer: Peer, bytes: &[u8]) -> Reply {
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(why) => return Reply::Refused(why.to_string()),
        };
        if !may(&request, peer) {
            return Reply::Refused("only root and group skerry may do this; try: sudo".to_owned());
        }
        let who = format!("user {} asked for it", peer.uid);
        let refused = match request {
            Request::Status => return self.status(),
            Request::Start(unit) => self.happened(Event::Start(unit)),
            Request::Stop(unit) => self.happened(Event::Stop(unit)),
            Request::Restart(unit) => self.happened(Event::Restart(unit)),
            Request::Reload => self.reload(),
            Request::Reboot => {
                self.go_down(Down::Reboot, &who);
                None
            }
            Request::PowerOff => {
                self.go_down(Down::PowerOff, &who);
                None
            }
        };
        refused.map_or(Reply::Accepted, Reply::Refused)
    }

    fn status(&self) -> Reply {
        let machine = Machine {
            state: self.state.word().to_owned(),
            uptime: u64::try_from(machine::uptime().as_millis()).unwrap_or(u64::MAX),
            plan: self.planning.word().to_owned(),
            notes: self.planning.notes().to_vec(),
        };
        Reply::Status(machine, self.state.status())
    }
}

/// Who may what: anyone may ask how things are, root and the owner's group may give orders.
fn may(request: &Request, peer: Peer) -> bool {
    *request == Request::Status || peer.uid == 0 || peer.gid == OWNER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights() {
        let peer = |uid, gid| Peer { pid: 5, uid, gid };
        assert!(may(&Request::Status, peer(99, 99)));
        assert!(!may(&Request::Reboot, peer(99, 99)));
        assert!(may(&Request::Reboot, peer(0, 0)) && may(&Request::Stop("a".into()), peer(1000, 1000)));
    }
}
