//! Netlink: interfaces, addresses, routes and rules, asked for and changed. This file and [`crate::rtnetlink`] alone know its messages.

use crate::device::{Device, Kind, Made, Options};
use crate::facts::{Address, Link, MAIN, Owner, Route, Rule};
use crate::plan::{Action, Where};
use crate::rtnetlink::{Message, Verb};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, Inet6IfaceFlags, InfoBond, InfoBridge, InfoData, InfoKind, InfoVlan, InfoVrf, LinkAttribute, LinkFlags,
    LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use skerry_config::address::{IpNet, Mac};
use skerry_sys::{Doing, Result};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Our marks on addresses (`IFA_PROTO`): "S" and "D". Routes carry the kernel's own numbers for static and DHCP.
const STATIC: u8 = b'S';
const DHCP: u8 = b'D';
/// Our mark on interfaces that we make: a group (`IFLA_GROUP`), "SKER".
const GROUP: u32 = 0x534b_4552;
/// The groups of changes we listen to: links, IPv4 addresses, IPv6 addresses, and what routers say of an interface.
const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x800;
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

    /// All addresses, each with its interface's number. Those of IPv6 that a router no longer announces come last: they are still
    /// valid for what began with them.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Address)>> {
        let (mut addresses, mut fading) = (Vec::new(), Vec::new());
        self.ask(Message::Address(Verb::Get, AddressMessage::default()), NLM_F_DUMP, |message| {
            if let Message::Address(_, message) = message {
                let list = if is_deprecated(&message) { &mut fading } else { &mut addresses };
                list.extend(address(&message).map(|address| (message.header.index, address)));
            }
        })
        .doing("listing", "addresses")?;
        addresses.append(&mut fading);
        Ok(addresses)
    }

    /// The unicast routes of the main table, and those of ours in others.
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

    /// Our rules of policy routing; none where the kernel has no such thing.
    pub fn rules(&mut self) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        let asked = self.ask(Message::Rule(Verb::Get, RuleMessage::default()), NLM_F_DUMP, |message| {
            if let Message::Rule(_, message) = message {
                rules.extend(rule(&message));
            }
        });
        match asked {
            Err(error) if error.raw_os_error() == Some(libc_codes::EOPNOTSUPP) => Ok(Vec::new()),
            asked => asked.doing("listing", "rules of policy routing").map(|()| rules),
        }
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
                Some(libc_codes::ENOENT | libc_codes::ESRCH | libc_codes::EADDRNOTAVAIL | libc_codes::ENODEV)
            )
        };
        match self.ask(message, NLM_F_ACK | flags, drop) {
            // What was to be removed is gone: the kernel took it away with something else.
            Err(error) if gone(&error) && is_removal(action) => Ok(()),
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
    pub const ENODEV: i32 = nix::errno::Errno::ENODEV as i32;
    pub const EOPNOTSUPP: i32 = nix::errno::Errno::EOPNOTSUPP as i32;
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
            LinkAttribute::Group(group) => link.ours = *group == GROUP,
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Link(index) => link.base = Some(*index),
            LinkAttribute::LinkInfo(infos) => link.made = infos.iter().find_map(made),
            LinkAttribute::AfSpecUnspec(families) => announced(families, &mut link),
            _ => {}
        }
    }
    link
}

/// The two flags of the last router's announcement (RFC 4861 §4.2).
fn announced(families: &[AfSpecUnspec], link: &mut Link) {
    for family in families {
        let AfSpecUnspec::Inet6(attributes) = family else { continue };
        for attribute in attributes {
            if let AfSpecInet6::Flags(flags) = attribute {
                link.managed = flags.contains(Inet6IfaceFlags::RaManaged);
                link.informed = flags.contains(Inet6IfaceFlags::Otherconf);
            }
        }
    }
}

fn made(info: &LinkInfo) -> Option<Made> {
    let LinkInfo::Data(data) = info else { return None };
    let (kind, options) = match data {
        InfoData::Bond(list) => (Kind::Bond, numbers(list)),
        InfoData::Bridge(list) => (Kind::Bridge, numbers(list)),
        InfoData::Vlan(list) => (Kind::Vlan, numbers(list)),
        InfoData::Vrf(list) => (Kind::Vrf, numbers(list)),
        _ => return None,
    };
    Some(Made { kind, options })
}

/// The attributes that are numbers of up to four bytes.
fn numbers<T: Nla>(list: &[T]) -> Options {
    let number = |attribute: &T| {
        let mut bytes = vec![0; attribute.value_len()];
        attribute.emit_value(&mut bytes);
        match *bytes.as_slice() {
            [a] => Some(u32::from(a)),
            [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
            [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d])),
            _ => None,
        }
    };
    list.iter().filter_map(|a| Some((a.kind(), number(a)?))).collect()
}

const fn is_removal(action: &Action) -> bool {
    matches!(
        action,
        Action::RemoveAddress(..) | Action::RemoveRoute(..) | Action::RemoveRule(..) | Action::RemoveLink(..)
    )
}

fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let mut ours = false;
    let mut rule = Rule {
        priority: 0,
        six: header.family == AddressFamily::Inet6,
        from: None,
        to: None,
        mark: None,
        table: header.table.into(),
    };
    let at = |ip: &IpAddr, prefix| IpNet::new(*ip, prefix).ok();
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::Static,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Source(ip) => rule.from = at(ip, header.src_len),
            RuleAttribute::Destination(ip) => rule.to = at(ip, header.dst_len),
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
            RuleAttribute::Table(table) => rule.table = *table,
            _ => {}
        }
    }
    (ours && header.action == RuleAction::ToTable).then_some(rule)
}

fn rule_order(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.six { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let attributes = &mut message.attributes;
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        attributes.push(RuleAttribute::Destination(to.addr()));
    }
    attributes.extend(rule.mark.map(RuleAttribute::FwMark));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Static));
    message
}

/// What is said of a device, in the kernel's order of bytes.
fn info(kind: Kind, options: &Options) -> LinkAttribute {
    let each = options.iter().map(|(attribute, value)| {
        let number = value.to_ne_bytes();
        let bytes = match kind.width(*attribute) {
            1 => u8::try_from(*value).unwrap_or(u8::MAX).to_ne_bytes().to_vec(),
            2 => u16::try_from(*value).unwrap_or(u16::MAX).to_ne_bytes().to_vec(),
            _ => number.to_vec(),
        };
        DefaultNla::new(*attribute, bytes)
    });
    let (word, data) = match kind {
        Kind::Bond => (InfoKind::Bond, InfoData::Bond(each.map(InfoBond::Other).collect())),
        Kind::Bridge => (InfoKind::Bridge, InfoData::Bridge(each.map(InfoBridge::Other).collect())),
        Kind::Vlan => (InfoKind::Vlan, InfoData::Vlan(each.map(InfoVlan::Other).collect())),
        Kind::Vrf => (InfoKind::Vrf, InfoData::Vrf(each.map(InfoVrf::Other).collect())),
    };
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(word), LinkInfo::Data(data)])
}

fn device_order(device: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(device.name.clone()));
    message.attributes.push(LinkAttribute::Group(GROUP));
    message.attributes.extend(device.base.map(LinkAttribute::Link));
    message.attributes.push(info(device.kind, &device.options));
    message
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn is_deprecated(message: &AddressMessage) -> bool {
    let is = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Flags(set) if set.contains(AddressFlags::Deprecated));
    message.attributes.iter().any(is)
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
        cidr: IpNet::new(ip, message.header.prefix_len).ok()?,
        owner: owner.unwrap_or(if announced { Owner::Router } else { Owner::Other }),
        global,
        usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
    })
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut to = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut via, mut link, mut metric, mut source, mut table) = (None, None, 0, None, u32::from(header.table));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => to = plain(ip)?,
            RouteAttribute::Gateway(ip) => via = plain(ip),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::PrefSource(ip) => source = plain(ip),
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let to = IpNet::new(to, header.destination_prefix_length).ok()?;
    let owner = match header.protocol {
        RouteProtocol::Static => Owner::Static,
        RouteProtocol::Dhcp => Owner::Dhcp,
        RouteProtocol::Ra => Owner::Router,
        _ => Owner::Other,
    };
    // The tables of others are not looked at; what the kernel put beside our routes does not count there.
    if table != MAIN && !matches!(owner, Owner::Static | Owner::Dhcp) {
        return None;
    }
    Some(Route {
        to,
        via,
        link: link?,
        metric,
        table,
        source,
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
        Action::AddRule(rule) => (Message::Rule(Verb::New, rule_order(rule)), NLM_F_CREATE | NLM_F_EXCL),
        Action::RemoveRule(rule) => (Message::Rule(Verb::Remove, rule_order(rule)), 0),
        Action::AddLink(device) => (Message::Link(Verb::New, device_order(device)), NLM_F_CREATE | NLM_F_EXCL),
        Action::RemoveLink(at) => {
            let mut message = LinkMessage::default();
            message.header.index = at.index;
            (Message::Link(Verb::Remove, message), 0)
        }
        Action::SetOptions(at, kind, options) => (Message::Link(Verb::New, set(at, info(*kind, options))), 0),
        Action::SetMaster(at, master) => {
            let index = master.as_ref().map_or(0, |master| master.index);
            (Message::Link(Verb::Set, set(at, LinkAttribute::Controller(index))), 0)
        }
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

fn address_order(index: u32, cidr: IpNet, owner: Option<Owner>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(cidr.addr());
    message.header.prefix_len = cidr.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(cidr.addr()));
    message.attributes.push(AddressAttribute::Address(cidr.addr()));
    if let (IpAddr::V4(ip), 1..=30) = (cidr.addr(), cidr.prefix_len()) {
        let broadcast = ip.to_bits() | (u32::MAX >> cidr.prefix_len());
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
    message.header.address_family = family(route.to.addr());
    message.header.destination_prefix_length = route.to.prefix_len();
    // The header's number has one byte; larger ones are an attribute (rtnetlink(7)).
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = if route.owner == Owner::Dhcp {
        RouteProtocol::Dhcp
    } else {
        RouteProtocol::Static
    };
    message.header.scope = if route.via.is_some() || route.to.addr().is_ipv6() {
        RouteScope::Universe
    } else {
        RouteScope::Link
    };
    message.header.kind = RouteType::Unicast;
    if on_link {
        message.header.flags = RouteFlags::Onlink;
    }
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.to.addr().into()));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(via.into()));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    message.attributes.push(RouteAttribute::Table(route.table));
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
