//! Unix sockets: who is on the other side, and descriptors that travel.

use crate::{Doing, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, listen, recvmsg, sendmsg, socket_with, socketpair, sockopt,
};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Who is on the other side of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl From<rustix::net::UCred> for Peer {
    fn from(c: rustix::net::UCred) -> Self {
        Self {
            pid: u32::try_from(c.pid.as_raw_nonzero().get()).unwrap_or(0),
            uid: c.uid.as_raw(),
            gid: c.gid.as_raw(),
        }
    }
}

fn open(path: &Path, kind: SocketType, mode: u32) -> Result<OwnedFd> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).doing("making", dir.display())?;
    }
    let _ = fs::remove_file(path); // left by the program before us
    let fd = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).doing("opening", path.display())?;
    let address = SocketAddrUnix::new(path).doing("naming", path.display())?;
    bind(&fd, &address).doing("binding", path.display())?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing("opening up", path.display())?;
    Ok(fd)
}

/// Listens for connections; never blocks.
pub fn listen_at(path: &Path, mode: u32) -> Result<OwnedFd> {
    let fd = open(path, SocketType::STREAM, mode)?;
    listen(&fd, 16).doing("listening at", path.display())?;
    Ok(fd)
}

/// Receives datagrams, with the sender's credentials; never blocks.
pub fn receive_at(path: &Path, mode: u32) -> Result<OwnedFd> {
    let fd = open(path, SocketType::DGRAM, mode)?;
    sockopt::set_socket_passcred(&fd, true).doing("asking for credentials at", path.display())?;
    Ok(fd)
}

/// Takes one connection, if one waits; it does not block either.
pub fn accept(listener: impl AsFd) -> Option<(OwnedFd, Peer)> {
    let (fd, _) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
    // Not by rustix: a peer outside our pid namespace has the number 0, which its type cannot hold.
    let peer = nix::sys::socket::getsockopt(&fd, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    Some((
        fd,
        Peer {
            pid: u32::try_from(peer.pid()).unwrap_or(0),
            uid: peer.uid(),
            gid: peer.gid(),
        },
    ))
}

/// A connected pair that keeps messages apart; neither side blocks or survives an exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .doing("making", "a socket pair")
}

/// One datagram and its sender. `None`: nothing (more) is there. An oversized one comes with 0 bytes.
pub fn receive_from(fd: impl AsFd, buffer: &mut [u8]) -> Option<(usize, Option<Peer>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        fd,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
    )
    .ok()?;
    let mut peer = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(c) = message {
            peer = Some(c.into()); // descriptors that came along are closed here
        }
    }
    Some((if got.flags.contains(ReturnFlags::TRUNC) { 0 } else { got.bytes }, peer))
}

/// Sends a message, with a descriptor or without.
pub fn send(fd: impl AsFd, bytes: &[u8], with: Option<BorrowedFd>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let with: Vec<BorrowedFd> = with.into_iter().collect();
    if !with.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&with));
    }
    sendmsg(fd, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).doing("sending", "a message")?;
    Ok(())
}

/// What came of [`receive`].
#[derive(Debug)]
pub enum Received {
    /// A message of so many bytes, and the descriptor that came along.
    Message(usize, Option<OwnedFd>),
    /// Nothing is there now.
    Nothing,
    /// The other side is gone.
    Gone,
}

/// Takes one message.
pub fn receive(fd: impl AsFd, buffer: &mut [u8]) -> Received {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = match recvmsg(
        fd,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
    ) {
        Ok(got) => got,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Received::Nothing,
        Err(_) => return Received::Gone,
    };
    let mut taken = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            taken = fds.last();
        }
    }
    if got.bytes == 0 {
        Received::Gone
    } else {
        Received::Message(got.bytes, taken)
    }
}

/// Reads what is there: `Ok(0)` is the end, an error of kind `WouldBlock` means later.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    rustix::io::read(fd, buffer).map_err(io::Error::from)
}

/// Writes what fits: an error of kind `WouldBlock` means later. The other side's end is an error, not a signal.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel() {
        let (a, b) = pair().unwrap();
        let (read_end, write_end) = crate::process::pipe().unwrap();
        send(&a, b"hello", Some(read_end.as_fd())).unwrap();
        let mut buffer = [0; 16];
        let Received::Message(5, Some(travelled)) = receive(&b, &mut buffer) else {
            panic!("no message")
        };
        drop(read_end);
        rustix::io::write(&write_end, b"x").unwrap();
        assert_eq!(read(&travelled, &mut buffer).unwrap(), 1);
        assert!(matches!(receive(&b, &mut buffer), Received::Nothing));
        drop(a);
        assert!(matches!(receive(&b, &mut buffer), Received::Gone));
    }
}
