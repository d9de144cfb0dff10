//! The kernel's word that links, addresses or routes changed. What, is looked up: a lost message then does no harm.

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io::ErrorKind;
use tokio::net::unix::pipe::Receiver;

/// rtnetlink(7): `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40;

/// Hears of changes from its opening on. To the runtime, what is only read is a pipe.
#[derive(Debug)]
pub struct Kernel(Receiver);

impl Kernel {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = || {
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(socket)
        };
        let socket = open().map_err(|e: Errno| std::io::Error::from(e)).context("listening to netlink")?;
        Ok(Self(Receiver::from_owned_fd_unchecked(socket).context("listening to netlink")?))
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        while !self.drain() {
            if self.0.readable().await.is_err() {
                // The runtime ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Forgets what has come; whether anything has.
    pub fn drain(&self) -> bool {
        let mut any = false;
        // Only that a message came counts, so its beginning is enough.
        let mut scrap = [0u8; 64];
        for _ in 0..4096 {
            match self.0.try_read(&mut scrap) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                // A message, or ENOBUFS: more came than fits. Something changed, then.
                Ok(_) | Err(_) => any = true,
            }
        }
        any
    }
}
