//! The kernel's word that links, addresses or routes changed. What, is looked up: a lost message then does no harm.

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::netlink::{ROUTE, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// rtnetlink(7): `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40;

/// Hears of changes from its opening on.
#[derive(Debug)]
pub struct Kernel(AsyncFd<OwnedFd>);

impl Kernel {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = || {
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(ROUTE))?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(socket)
        };
        let socket = open().map_err(|e: Errno| std::io::Error::from(e)).context("listening to netlink")?;
        Ok(Self(AsyncFd::new(socket).context("listening to netlink")?))
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        while !self.drain() {
            match self.0.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                // The runtime ends.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Forgets what has come; whether anything has.
    pub fn drain(&self) -> bool {
        let mut any = false;
        // Only that a message came counts, so its beginning is enough.
        let mut scrap = [0u8; 64];
        for _ in 0..4096 {
            match recv(self.0.get_ref(), &mut scrap[..], RecvFlags::empty()) {
                Err(Errno::AGAIN) => break,
                // A message, or NOBUFS: more came than fits. Something changed, then.
                Ok(_) | Err(_) => any = true,
            }
        }
        any
    }
}
