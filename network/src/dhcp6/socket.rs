//! Sending and receiving: the kernel's UDP from the interface's link-local address.

use crate::dhcp6::message::{self, Message};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use skerry_config::address::Mac;
use skerry_sys::Doing;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// The client's port and the servers'.
const CLIENT: u16 = 546;
const SERVERS: u16 = 547;
/// All servers, and relays to them, on the link.
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// The most datagrams that are read at once, so that a flood does not stop the daemon.
const MOST: usize = 32;

/// One interface's ear and mouth.
#[derive(Debug)]
pub struct Socket {
    udp: UdpSocket,
    index: u32,
}

impl Socket {
    /// Opens it on the interface with this name and number.
    pub fn open(name: &str, index: u32) -> skerry_sys::Result<Self> {
        let udp = bound(name).doing("opening the DHCPv6 port of", name)?;
        Ok(Self { udp, index })
    }

    /// Sends to all servers on the link.
    pub fn send(&self, bytes: &[u8]) -> skerry_sys::Result<()> {
        let to = SocketAddrV6::new(EVERYBODY, SERVERS, 0, self.index);
        self.udp
            .send_to(bytes, to)
            .map(drop)
            .doing("sending a DHCPv6 message to", "everybody")
    }

    /// The answers that have come, decoded; whatever is none, or comes from beyond the link, is dropped.
    pub fn heard(&self, mac: Mac) -> Vec<Message> {
        let mut buffer = [0; 2048];
        let mut messages = Vec::new();
        for _ in 0..MOST {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, std::net::SocketAddr::V6(from))) if from.ip().is_unicast_link_local() => {
                    messages.extend(buffer.get(..length).and_then(|bytes| message::decode(bytes, mac)));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Nothing more, or the interface is down: the carrier tells.
                Err(_) => break,
            }
        }
        messages
    }
}

/// The interface is said before the port, so that each has the port for itself.
fn bound(name: &str) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
    sockopt::set_ipv6_v6only(&fd, true)?;
    setsockopt(&fd, BindToDevice, &name.into())?;
    bind(&fd, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, CLIENT, 0, 0))?;
    Ok(fd.into())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}
