//! Who reads logs: a few connections at a time, of root and the owner.

use skerry_control::unit::is_name;
use skerry_sys::event::{Interest, Poller, Ready};
use skerry_sys::socket;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

/// The most at a time.
const MAX_CLIENTS: usize = 16;
/// The most that waits to be sent to one.
const MAX_BACKLOG: usize = 1 << 20;
/// The most lines that one may ask for.
const MAX_LINES: usize = 10_000;
/// The owner's group.
const OWNER: u32 = 1000;

#[derive(Debug)]
struct Client {
    fd: OwnedFd,
    asked: Vec<u8>,
    /// What is to be sent.
    backlog: Vec<u8>,
    follows: Option<String>,
    answered: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    open: BTreeMap<u64, Client>,
    count: u64,
}

impl Clients {
    /// Takes connections that wait.
    pub fn accept(&mut self, listener: impl AsFd, poller: &Poller, first_token: u64) {
        while let Some((fd, peer)) = socket::accept(&listener) {
            let allowed = peer.uid == 0 || peer.gid == OWNER;
            if !allowed || self.open.len() >= MAX_CLIENTS {
                let why: &[u8] = if allowed {
                    b"too many read logs now\n"
                } else {
                    b"only root and group skerry may read logs\n"
                };
                let _ = socket::write(&fd, why); // it is closed anyway
                continue;
            }
            self.count += 1;
            let token = first_token + self.count;
            if poller.add(&fd, token, Interest::Read).is_ok() {
                self.open.insert(
                    token,
                    Client {
                        fd,
                        asked: vec![],
                        backlog: vec![],
                        follows: None,
                        answered: false,
                    },
                );
            }
        }
    }

    /// Reads or writes one connection; returns what it asks for, once that is known.
    pub fn serve(&mut self, ready: Ready, poller: &Poller) -> Option<(String, usize)> {
        let client = self.open.get_mut(&ready.token)?;
        let mut buffer = [0; 256];
        if !client.backlog.is_empty() && !ready.hung_up {
            self.flush(ready.token, poller);
            return None;
        }
        match socket::read(&client.fd, &mut buffer) {
            Ok(n) if n > 0 && !client.answered => client.asked.extend(buffer.get(..n)?),
            Ok(n) if n > 0 => {} // asked already
            Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
            _ => {
                self.open.remove(&ready.token);
                return None;
            }
        }
        if client.answered {
            return None;
        }
        if !client.asked.contains(&b'\n') {
            if client.asked.len() > 200 {
                self.open.remove(&ready.token);
            }
            return None;
        }
        client.answered = true;
        let Some((follow, name, lines)) = parse(&client.asked) else {
            self.answer(ready.token, b"expected: tail NAME LINES, or follow NAME LINES\n", poller);
            return None;
        };
        client.follows = follow.then(|| name.clone());
        Some((name, lines))
    }

    /// Sends an answer; closes after it, unless more is to follow.
    pub fn answer(&mut self, token: u64, bytes: &[u8], poller: &Poller) {
        if let Some(client) = self.open.get_mut(&token) {
            client.backlog.extend(bytes);
            self.flush(token, poller);
        }
    }

    /// Sends new lines to those that follow a unit. Who does not keep up is cut off.
    pub fn pass_on(&mut self, name: &str, bytes: &[u8], poller: &Poller) {
        let following: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, c)| c.follows.as_deref() == Some(name))
            .map(|(t, _)| *t)
            .collect();
        for token in following {
            if let Some(client) = self.open.get_mut(&token) {
                client.backlog.extend(bytes);
                if client.backlog.len() > MAX_BACKLOG {
                    self.open.remove(&token);
                    continue;
                }
            }
            self.flush(token, poller);
        }
    }

    fn flush(&mut self, token: u64, poller: &Poller) {
        let Some(client) = self.open.get_mut(&token) else { return };
        while !client.backlog.is_empty() {
            match socket::write(&client.fd, &client.backlog) {
                Ok(n) => drop(client.backlog.drain(..n.min(client.backlog.len()))),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let _ = poller.change(&client.fd, token, Interest::Write); // it is in the set
                    return;
                }
                Err(_) => {
                    self.open.remove(&token);
                    return;
                }
            }
        }
        client.backlog.shrink_to(4096);
        if client.follows.is_some() {
            let _ = poller.change(&client.fd, token, Interest::Read); // it is in the set
        } else {
            self.open.remove(&token);
        }
    }
}

fn parse(line: &[u8]) -> Option<(bool, String, usize)> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.lines().next()?.split_ascii_whitespace().collect();
    let [verb @ ("tail" | "follow"), name, lines] = words[..] else {
        return None;
    };
    let lines = lines.parse::<usize>().ok()?.min(MAX_LINES);
    is_name(name).then(|| (verb == "follow", name.to_owned(), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        assert_eq!(parse(b"tail netd 5\n"), Some((false, "netd".into(), 5)));
        assert_eq!(parse(b"follow netd 999999\n"), Some((true, "netd".into(), MAX_LINES)));
        for bad in ["", "\n", "tail\n", "tail ../x 5\n", "tail a -1\n", "fly a 1\n", "tail a 1 2\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
