//! Sending and receiving: whole frames while there is no address, the kernel's UDP to renew one.

use crate::dhcp::frame;
use crate::dhcp::message::{self, Message};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use skerry_config::address::Mac;
use skerry_sys::Doing;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// The most frames that are read at once, so that a flood does not stop the daemon.
const MOST: usize = 32;

/// One interface's ear and mouth.
#[derive(Debug)]
pub struct Socket {
    packets: File,
    /// Held while renewing, so that the kernel does not answer "port unreachable" to the server.
    port: Option<UdpSocket>,
}

impl Socket {
    /// Opens it on the interface with this number.
    pub fn open(index: u32) -> skerry_sys::Result<Self> {
        Ok(Self {
            packets: skerry_sys::packet::open_udp4(index, frame::CLIENT)?,
            port: None,
        })
    }

    /// Sends to everybody on the link.
    pub fn broadcast(&mut self, mac: Mac, own: Option<Ipv4Addr>, bytes: &[u8]) -> skerry_sys::Result<()> {
        let bytes = frame::wrap(mac, own.unwrap_or(Ipv4Addr::UNSPECIFIED), bytes);
        self.packets.write_all(&bytes).doing("sending a DHCP message to", "everybody")
    }

    /// Sends to a server from the address we have.
    pub fn unicast(&mut self, interface: &str, own: Ipv4Addr, server: Ipv4Addr, bytes: &[u8]) -> skerry_sys::Result<()> {
        let from = match self.port.take() {
            Some(port) => port,
            None => bound(interface, own).doing("opening the DHCP port of", own)?,
        };
        let sent = from
            .send_to(bytes, SocketAddrV4::new(server, frame::SERVER))
            .doing("sending a DHCP message to", server);
        self.port = Some(from);
        sent.map(drop)
    }

    /// The messages that have come, decoded; whatever is none is dropped.
    pub fn heard(&mut self) -> Vec<Message> {
        let mut buffer = [0; 2048];
        let mut messages = Vec::new();
        for _ in 0..MOST {
            match self.packets.read(&mut buffer) {
                Ok(length) => messages.extend(buffer.get(..length).and_then(frame::unwrap).and_then(message::decode)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Nothing more, or the interface is down: the carrier tells.
                Err(_) => break,
            }
        }
        if let Some(port) = &self.port {
            // The same datagrams once more, through the kernel: read away, at most as many.
            for _ in 0..MOST {
                if port.recv(&mut buffer).is_err() {
                    break;
                }
            }
        }
        messages
    }
}

fn bound(interface: &str, own: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(own, frame::CLIENT))?;
    socket.set_nonblocking(true)?;
    // Best effort: it only matters where two interfaces lead to the same network.
    let _ = setsockopt(&socket, BindToDevice, &interface.into());
    Ok(socket)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}
