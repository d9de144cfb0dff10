//! The kernel's word that a device came or went.

use crate::{Doing, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with, sockopt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the kernel said about one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uevent {
    /// `add`, `change`, `remove`, `bind`…
    pub action: String,
    /// The path below `/sys`.
    pub path: String,
    /// `block`, `pci`, `net`…
    pub subsystem: String,
    /// The name below `/dev`, if it has one.
    pub name: Option<String>,
    /// What drivers are looked up by, if it has one.
    pub modalias: Option<String>,
}

/// What a [`Listener`] hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// One device changed.
    Event(Uevent),
    /// The kernel spoke faster than we listened; look at everything again.
    Lost,
}

/// Reads one message of the kernel; `None` for what is not one.
pub fn parse(message: &[u8]) -> Option<Uevent> {
    let mut fields = message.split(|b| *b == 0).map(String::from_utf8_lossy);
    // "ACTION@DEVPATH"; udevd's own messages start with "libudev".
    let (action, path) = fields.next()?.split_once('@').map(|(a, p)| (a.to_owned(), p.to_owned()))?;
    let mut event = Uevent {
        action,
        path,
        ..Uevent::default()
    };
    for field in fields {
        match field.split_once('=') {
            Some(("SUBSYSTEM", value)) => value.clone_into(&mut event.subsystem),
            Some(("DEVNAME", value)) => event.name = Some(value.to_owned()),
            Some(("MODALIAS", value)) => event.modalias = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(event)
}

/// Hears every device that comes or goes from its opening on.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Starts to listen.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::KOBJECT_UEVENT))
            .doing("listening to", "the kernel's device events")?;
        // A burst at cold-plug is some thousand messages; only root may go over the limit, and a lost message is no harm.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, 2 << 20);
        bind(&socket, &SocketAddrNetlink::new(0, 1)).doing("listening to", "the kernel's device events")?;
        Ok(Self { socket })
    }

    /// The next thing heard, `None` when there is nothing more now. Never waits.
    pub fn next(&self) -> Result<Option<News>> {
        let mut buffer = [0u8; 8192];
        loop {
            let (length, sender) = match recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, length, sender)) => (length, sender),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => return Ok(Some(News::Lost)),
                Err(why) => return Err(why).doing("hearing", "the kernel's device events"),
            };
            // Only the kernel has port 0; other root processes may multicast too.
            let from_kernel = sender
                .and_then(|s| SocketAddrNetlink::try_from(s).ok())
                .is_some_and(|s| s.pid() == 0);
            if let Some(event) = buffer.get(..length).filter(|_| from_kernel).and_then(parse) {
                return Ok(Some(News::Event(event)));
            }
        }
    }

    /// Waits until there is something to hear; false when `timeout` passed first.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(why) => Err(why).doing("waiting for", "the kernel's device events"),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let said = b"add@/devices/pci0000:00/0000:00:02.0/virtio0/block/vda/vda1\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=block\0MAJOR=254\0DEVNAME=vda1\0DEVTYPE=partition\0PARTNAME=data\0SEQNUM=1200\0";
        let event = parse(said).unwrap();
        assert_eq!(
            (event.action.as_str(), event.subsystem.as_str(), event.name.as_deref()),
            ("add", "block", Some("vda1"))
        );
        assert!(event.path.ends_with("/vda1"));
        let said = b"add@/devices/pci0000:00/0000:00:02.0\0SUBSYSTEM=pci\0MODALIAS=pci:v00001AF4d00001001\0";
        assert_eq!(parse(said).unwrap().modalias.as_deref(), Some("pci:v00001AF4d00001001"));
    }

    #[test]
    fn other_messages_are_not_heard() {
        for bytes in [&b""[..], b"\0\0", b"libudev\0\xfe\xed", b"\xff\xff\xff"] {
            assert_eq!(parse(bytes), None);
        }
    }
}
