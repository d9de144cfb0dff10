//! Netlink: interfaces, addresses and routes, asked for and changed. This file and [`crate::rtnetlink`] alone know its messages.

use crate::address::{Cidr, Mac};
use crate::facts::{Address, Link, Owner, Route};
use crate::plan::{Action, Where};
use crate::rtnetlink::{Message, Verb};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use skerry_sys::{Doing, Result};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Our marks on addresses (`IFA_PROTO`): "S" and "D". Routes carry the kernel's own numbers for static and DHCP.
const STATIC: u8 = b'S';
const DHCP: u8 = b'D';
/// The groups of changes we listen to: links, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// What the kernel writes at most into one datagram of a dump.
const BUFFER: usize = 32 * 1024;
/// No dump is longer, or something is wrong.
const MOST_DATAGRAMS: usize = 10_000;

/// The socket for questions and orders.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Opens it.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).doing("opening", "netlink")?;
        socket.bind_auto().doing("binding", "netlink")?;
        let patience = Some(Duration::from_secs(5));
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, patience)
            .doing("setting the patience of", "netlink")?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER],
            sequence: 0,
        })
    }

    /// All interfaces; addresses and what `/sys` says are not filled in.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        self.ask(Message::Link(Verb::Get, LinkMessage::default()), NLM_F_DUMP, |message| {
            if let Message::Link(_, message) = message {
                links.push(link(&message));
            }
        })
        .doing("listing", "interfaces")?;
        Ok(links)
    }

    /// All addresses, each with its interface's number.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Address)>> {
        let mut addresses = Vec::new();
        self.ask(Message::Address(Verb::Get, AddressMessage::default()), NLM_F_DUMP, |message| {
            if let Message::Address(_, message) = message {
                addresses.extend(address(&message).map(|address| (message.header.index, address)));
            }
        })
        .doing("listing", "addresses")?;
        Ok(addresses)
    }

    /// The unicast routes of the main table.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        self.ask(Message::Route(Verb::Get, RouteMessage::default()), NLM_F_DUMP, |message| {
            if let Message::Route(_, message) = message {
                routes.extend(route(&message));
            }
        })
        .doing("listing", "routes")?;
        Ok(routes)
    }

    /// Does one step of a plan.
    pub fn perform(&mut self, action: &Action) -> Result<()> {
        let (message, flags) = match order(action) {
            Order::Message(message, flags) => (message, flags),
            Order::Setting(at, value) => return accept_ra(at, value),
        };
        let gone = |error: &io::Error| {
            matches!(
                error.raw_os_error(),
                Some(libc_codes::ENOENT | libc_codes::ESRCH | libc_codes::EADDRNOTAVAIL)
            )
        };
        match self.ask(message, NLM_F_ACK | flags, drop) {
            // What was to be removed is gone: the kernel took it away with something else.
            Err(error) if gone(&error) && matches!(action, Action::RemoveAddress(..) | Action::RemoveRoute(..)) => Ok(()),
            done => done.map_err(|source| skerry_sys::Error {
                doing: "asking the kernel for",
                on: action.to_string(),
                source,
            }),
        }
    }

    /// Sends a request and hears the answers to it, to the last.
    fn ask(&mut self, message: Message, flags: u16, mut hear: impl FnMut(Message)) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        for _ in 0..MOST_DATAGRAMS {
            let mut into = self.buffer.as_mut_slice();
            let length = match self.socket.recv(&mut into, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            // The header is read first by itself: one message we cannot read must not hide the others.
            while let Some(size) = rest.first_chunk::<4>().map(|size| u32::from_ne_bytes(*size) as usize) {
                let Some(one) = rest.get(..size.max(16)) else { break };
                rest = rest.get(size.max(16).next_multiple_of(4)..).unwrap_or_default();
                let answer = match NetlinkMessage::<Message>::deserialize(one) {
                    Ok(answer) if answer.header.sequence_number == self.sequence => answer,
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "leaving out a netlink message");
                        continue;
                    }
                };
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return if error.code.is_none() { Ok(()) } else { Err(error.to_io()) },
                    NetlinkPayload::InnerMessage(message) => hear(message),
                    _ => {}
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// The socket on which the kernel says that something changed. What, is looked up: a lost message then does no harm.
#[derive(Debug)]
pub struct Changes(Socket);

impl Changes {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).doing("opening", "netlink")?;
        socket.bind(&SocketAddr::new(0, GROUPS)).doing("listening to", "netlink")?;
        socket.set_non_blocking(true).doing("listening to", "netlink")?;
        Ok(Self(socket))
    }

    /// Forgets what has come; whether anything has.
    pub fn drain(&self) -> bool {
        let mut any = false;
        // Only that a message came counts, so its beginning is enough.
        let mut scrap = [0; 64];
        for _ in 0..4096 {
            match self.0.recv(&mut scrap.as_mut_slice(), 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A message, or ENOBUFS: more came than fits. Something changed, then.
                Ok(_) | Err(_) => any = true,
            }
        }
        any
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Errors that have no name in std.
mod libc_codes {
    pub const ENOENT: i32 = nix::errno::Errno::ENOENT as i32;
    pub const ESRCH: i32 = nix::errno::Errno::ESRCH as i32;
    pub const EADDRNOTAVAIL: i32 = nix::errno::Errno::EADDRNOTAVAIL as i32;
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        loopback: flags.contains(LinkFlags::Loopback),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        settled: flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::PermAddress(bytes) => link.permanent_mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut any, mut owner, mut flags) = (None, None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => any = Some(*ip),
            AddressAttribute::Flags(set) => flags = *set,
            AddressAttribute::Protocol(AddressProtocol::Other(STATIC)) => owner = Some(Owner::Static),
            AddressAttribute::Protocol(AddressProtocol::Other(DHCP)) => owner = Some(Owner::Dhcp),
            _ => {}
        }
    }
    let ip: IpAddr = local.or(any)?;
    // What the kernel made from an announcement has an end; kernels before 5.18 have no mark for it.
    let global = message.header.scope == AddressScope::Universe;
    let announced = ip.is_ipv6() && global && !flags.contains(AddressFlags::Permanent);
    Some(Address {
        cidr: Cidr {
            ip,
            prefix: message.header.prefix_len,
        },
        owner: owner.unwrap_or(if announced { Owner::Router } else { Owner::Other }),
        global,
        usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
    })
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut to = match header.address_family {
        AddressFamily::Inet => Cidr::everything(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AddressFamily::Inet6 => Cidr::everything(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
        _ => return None,
    };
    let (mut via, mut link, mut metric) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => to.ip = plain(ip)?,
            RouteAttribute::Gateway(ip) => via = plain(ip),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    to.prefix = header.destination_prefix_length;
    let owner = match header.protocol {
        RouteProtocol::Static => Owner::Static,
        RouteProtocol::Dhcp => Owner::Dhcp,
        RouteProtocol::Ra => Owner::Router,
        _ => Owner::Other,
    };
    Some(Route {
        to,
        via,
        link: link?,
        metric,
        owner,
    })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// How a step is ordered: by a message with its flags, or by a setting below `/proc`.
enum Order<'a> {
    Message(Message, u16),
    Setting(&'a Where, u8),
}

fn order(action: &Action) -> Order<'_> {
    let (message, flags) = match action {
        Action::AcceptRa(at, value) => return Order::Setting(at, *value),
        Action::Up(at) => (Message::Link(Verb::Set, switch(at, LinkFlags::Up)), 0),
        Action::Down(at) => (Message::Link(Verb::Set, switch(at, LinkFlags::empty())), 0),
        Action::SetMac(at, mac) => (Message::Link(Verb::Set, set(at, LinkAttribute::Address(mac.0.to_vec()))), 0),
        Action::SetMtu(at, mtu) => (Message::Link(Verb::Set, set(at, LinkAttribute::Mtu(*mtu))), 0),
        Action::AddAddress(at, cidr, owner) => (
            Message::Address(Verb::New, address_order(at.index, *cidr, Some(*owner))),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Action::RemoveAddress(at, cidr) => (Message::Address(Verb::Remove, address_order(at.index, *cidr, None)), 0),
        Action::AddRoute(_, route, on_link) => (
            Message::Route(Verb::New, route_order(route, *on_link)),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Action::RemoveRoute(_, route) => (Message::Route(Verb::Remove, route_order(route, false)), 0),
    };
    Order::Message(message, flags)
}

fn switch(at: &Where, flags: LinkFlags) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = at.index;
    message.header.flags = flags;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn set(at: &Where, attribute: LinkAttribute) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = at.index;
    message.attributes.push(attribute);
    message
}

const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address_order(index: u32, cidr: Cidr, owner: Option<Owner>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(cidr.ip);
    message.header.prefix_len = cidr.prefix;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(cidr.ip));
    message.attributes.push(AddressAttribute::Address(cidr.ip));
    if let (IpAddr::V4(ip), 1..=30) = (cidr.ip, cidr.prefix) {
        let broadcast = ip.to_bits() | (u32::MAX >> cidr.prefix);
        message.attributes.push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(broadcast)));
    }
    if let Some(owner) = owner {
        let mark = if owner == Owner::Dhcp { DHCP } else { STATIC };
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(mark)));
    }
    message
}

fn route_order(route: &Route, on_link: bool) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.ip);
    message.header.destination_prefix_length = route.to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = if route.owner == Owner::Dhcp {
        RouteProtocol::Dhcp
    } else {
        RouteProtocol::Static
    };
    message.header.scope = if route.via.is_some() || route.to.ip.is_ipv6() {
        RouteScope::Universe
    } else {
        RouteScope::Link
    };
    message.header.kind = RouteType::Unicast;
    if on_link {
        message.header.flags = RouteFlags::Onlink;
    }
    if route.to.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(route.to.ip.into()));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(via.into()));
    }
    message.attributes.push(RouteAttribute::Oif(route.link));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    message
}

/// Writes the one setting that netlink cannot.
#[allow(
    clippy::disallowed_methods,
    reason = "a kernel setting, not a file: there is nothing to replace or flush"
)]
fn accept_ra(at: &Where, value: u8) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", at.name);
    std::fs::write(&path, value.to_string()).doing("writing", path)
}
