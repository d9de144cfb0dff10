//! The four kinds of netlink messages we speak: of links, addresses, routes, rules.
//!
//! The library has one type for all kinds; with it, the readers of all of them (queues, neighbours …) would be in the program.

use netlink_packet_core::{DecodeError, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable, Parseable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;

/// The kernel's numbers (rtnetlink(7)): of the first of a kind, and what is added to it.
const LINK: u16 = 16;
const ADDRESS: u16 = 20;
const ROUTE: u16 = 24;
const RULE: u16 = 32;
const SET_LINK: u16 = 19;

/// What is to be done with a thing, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Make, or: there is.
    New,
    /// Remove, or: there is no longer.
    Remove,
    /// Say.
    Get,
    /// Change (of links).
    Set,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Of an interface.
    Link(Verb, LinkMessage),
    /// Of an address.
    Address(Verb, AddressMessage),
    /// Of a route.
    Route(Verb, RouteMessage),
    /// Of a rule of policy routing.
    Rule(Verb, RuleMessage),
}

impl Message {
    fn body(&self) -> &dyn Emitable {
        match self {
            Self::Link(_, body) => body,
            Self::Address(_, body) => body,
            Self::Route(_, body) => body,
            Self::Rule(_, body) => body,
        }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        let (first, verb) = match self {
            Self::Link(Verb::Set, _) => return SET_LINK,
            Self::Link(verb, _) => (LINK, verb),
            Self::Address(verb, _) => (ADDRESS, verb),
            Self::Route(verb, _) => (ROUTE, verb),
            Self::Rule(verb, _) => (RULE, verb),
        };
        first
            + match verb {
                Verb::New | Verb::Set => 0,
                Verb::Remove => 1,
                Verb::Get => 2,
            }
    }
    fn buffer_len(&self) -> usize {
        self.body().buffer_len()
    }
    fn serialize(&self, buffer: &mut [u8]) {
        self.body().emit(buffer);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;
    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match header.message_type {
            LINK => LinkMessage::parse(payload).map(|body| Self::Link(Verb::New, body)),
            ADDRESS => AddressMessage::parse(payload).map(|body| Self::Address(Verb::New, body)),
            ROUTE => RouteMessage::parse(payload).map(|body| Self::Route(Verb::New, body)),
            RULE => RuleMessage::parse(payload).map(|body| Self::Rule(Verb::New, body)),
            other => Err(format!("a message of kind {other}, which was not asked for").into()),
        }
    }
}

impl From<Message> for NetlinkPayload<Message> {
    fn from(message: Message) -> Self {
        Self::InnerMessage(message)
    }
}
