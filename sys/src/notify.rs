//! `sd_notify`: telling the supervisor how far we are.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The supervisor's ear, if it has one.
#[derive(Debug)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// `socket` is the value of `NOTIFY_SOCKET`: a path, or an abstract name that begins with `@`.
    pub fn new(socket: Option<&OsStr>) -> Self {
        let address = socket.and_then(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(name).ok(),
        });
        let socket = UnixDatagram::unbound()
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .ok();
        Self(socket.zip(address))
    }

    /// Says it. A supervisor that does not listen is no reason to stop.
    pub fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.0 {
            if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
                tracing::debug!(%error, "telling the supervisor");
            }
        }
    }
}
