//! A client for each interface that wants one, and its socket.

use crate::dhcp6::client::{Client, Command, Event, Wish};
use crate::dhcp6::lease::Lease6;
use crate::dhcp6::message;
use crate::dhcp6::socket::Socket;
use crate::facts::{Facts, Link, Owner};
use crate::look;
use crate::request::{Assigned, Settings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// All of them, by the interface's number.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<u32, One>);

#[derive(Debug)]
struct One {
    name: String,
    client: Client,
    socket: Option<Socket>,
    /// Questions in a row that the kernel did not take.
    unsent: u32,
}

/// What is wanted of servers on an interface.
pub fn wish(settings: &Settings, link: &Link) -> Wish {
    match settings.dhcp6 {
        _ if settings.is_port() => Wish::Nothing,
        Some(true) => Wish::Address,
        None if settings.accept_ra && link.managed => Wish::Address,
        None if settings.accept_ra && link.informed => Wish::Information,
        Some(false) | None => Wish::Nothing,
    }
}

/// Whether questions can leave: there must be an address to send from.
fn is_linked(link: &Link) -> bool {
    let can_send =
        |address: &crate::facts::Address| address.usable && matches!(address.cidr.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    link.up && link.carrier && link.addresses.iter().any(can_send)
}

/// The address that an earlier `netd` put there for a server.
fn held(link: &Link) -> Option<Ipv6Addr> {
    link.addresses.iter().find_map(|address| match address.cidr.addr() {
        IpAddr::V6(ip) if address.owner == Owner::Dhcp => Some(ip),
        _ => None,
    })
}

impl Clients {
    /// Lets each interface that wants something have its client, and tells the clients what is.
    pub fn meet(&mut self, facts: &Facts, assigned: &Assigned, now: Duration, random: u32) {
        let wants: Vec<(Wish, &Link)> = assigned
            .links
            .iter()
            .filter_map(|settings| facts.link(settings.index).map(|link| (wish(settings, link), link)))
            .filter(|(wish, link)| *wish != Wish::Nothing && link.mac.is_some())
            .collect();
        self.0.retain(|index, one| {
            let is_it = |link: &Link| link.index == *index && link.mac == Some(one.client.mac()) && link.name == one.name;
            wants.iter().any(|(_, link)| is_it(link))
        });
        for (wish, link) in wants {
            let Some(mac) = link.mac else { continue };
            self.0.entry(link.index).or_insert_with(|| One {
                name: link.name.clone(),
                client: match held(link).filter(|_| wish == Wish::Address) {
                    Some(ip) => Client::holding(mac, look::host_name(), ip, now),
                    None => Client::new(mac, look::host_name()),
                },
                socket: None,
                unsent: 0,
            });
            self.step(link.index, now, random, Event::Link(is_linked(link), wish));
        }
    }

    /// The interfaces on which an answer is waited for.
    pub fn ears(&self) -> impl Iterator<Item = (u32, &Socket)> {
        self.0.iter().filter_map(|(index, one)| Some((*index, one.socket.as_ref()?)))
    }

    /// Hears what servers said on an interface; whether a lease changed.
    pub fn hear(&mut self, index: u32, now: Duration, random: u32) -> bool {
        let heard = self
            .0
            .get(&index)
            .and_then(|one| one.socket.as_ref().map(|socket| socket.heard(one.client.mac())))
            .unwrap_or_default();
        let mut changed = false;
        for message in heard {
            tracing::debug!(index, ?message, "heard");
            changed |= self.step(index, now, random, Event::Heard(&message));
        }
        changed
    }

    /// What is due by the clock; whether a lease changed.
    pub fn tick(&mut self, now: Duration, random: u32) -> bool {
        let due: Vec<u32> = self.0.keys().copied().collect();
        let mut changed = false;
        for index in due {
            changed |= self.step(index, now, random, Event::Tick);
        }
        changed
    }

    /// When one of them wants to be told the time.
    pub fn deadline(&self) -> Option<Duration> {
        self.0.values().filter_map(|one| one.client.deadline()).min()
    }

    /// The leases in force.
    pub fn leases(&self) -> BTreeMap<u32, Lease6> {
        let lease = |(index, one): (&u32, &One)| Some((*index, one.client.lease()?.clone()));
        self.0.iter().filter_map(lease).collect()
    }

    /// One step of an interface's client, done; whether its lease changed.
    fn step(&mut self, index: u32, now: Duration, random: u32, event: Event<'_>) -> bool {
        let Some(one) = self.0.get_mut(&index) else { return false };
        let mut changed = false;
        for command in one.client.step(now, random, event) {
            match &command {
                Command::Send(question) => {
                    tracing::debug!(interface = one.name, ?question, "asking everybody");
                    let sent = one.ear(index).and_then(|ear| ear.send(&message::encode(question)));
                    one.sent(now, sent);
                }
                Command::Granted => {
                    one.granted();
                    changed = true;
                }
                Command::Lost(why) => {
                    tracing::warn!("{}: giving the IPv6 address up: {why}", one.name);
                    changed = true;
                }
            }
        }
        if !one.client.is_listening() {
            one.socket = None;
        }
        changed
    }
}

impl One {
    fn ear(&mut self, index: u32) -> skerry_sys::Result<&Socket> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open(&self.name, index)?,
        };
        Ok(self.socket.insert(socket))
    }

    /// A queue that is not open yet takes datagrams a moment later. One that stays shut is asked again at the usual pace.
    fn sent(&mut self, now: Duration, sent: skerry_sys::Result<()>) {
        match sent {
            Ok(()) => self.unsent = 0,
            Err(error) => {
                tracing::debug!(interface = self.name, %error, "asking");
                self.unsent += 1;
                if self.unsent <= 10 {
                    self.client.hasten(now, Duration::from_millis(100));
                }
            }
        }
    }

    fn granted(&self) {
        match self.client.lease() {
            Some(Lease6 {
                address: Some(ip),
                seconds,
                ..
            }) => tracing::info!("{}: {ip} for {seconds} s by DHCPv6", self.name),
            Some(_) => tracing::info!("{}: told more by DHCPv6", self.name),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Request, assign};

    #[test]
    fn what_is_wanted_of_servers() {
        for (interface, (managed, informed), expected) in [
            (r#"{"dhcp4":true}"#, (false, false), Wish::Nothing),
            (r#"{"dhcp4":true}"#, (true, true), Wish::Address),
            (r#"{"dhcp4":true}"#, (false, true), Wish::Information),
            (r#"{"accept-ra":false}"#, (true, true), Wish::Nothing),
            (r#"{"dhcp6":false}"#, (true, true), Wish::Nothing),
            (r#"{"dhcp6":true}"#, (false, false), Wish::Address),
            (r#"{"dhcp6":true,"accept-ra":false}"#, (false, false), Wish::Address),
        ] {
            let link = Link {
                index: 2,
                name: "eth0".into(),
                ethernet: true,
                hardware: true,
                managed,
                informed,
                ..Link::default()
            };
            let facts = Facts {
                links: vec![link.clone()],
                ..Facts::default()
            };
            let request: Request =
                serde_json::from_str(&format!(r#"{{"network":{{"version":2,"ethernets":{{"eth0":{interface}}}}}}}"#)).unwrap();
            let assigned = assign(&request, &facts);
            assert_eq!(wish(&assigned.links[0], &link), expected, "{interface} {managed} {informed}");
        }
    }
}
