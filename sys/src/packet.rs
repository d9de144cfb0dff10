//! Packet sockets: whole Ethernet frames of one interface, before it has an address.
#![allow(
    unsafe_code,
    reason = "AF_PACKET addresses and socket filters have no safe wrapper in rustix or nix"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "the kernel's constants and the sizes of its structs, all small"
)]

use crate::{Doing, Result};
use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Loads from the frame, absolute and relative to the IPv4 header's length; jumps; ends. In the words of classic BPF.
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ANY_BIT: u16 = 0x45;
const END: u16 = 0x06;

/// Opens a socket that receives the UDP datagrams to `port` that reach interface `index` over IPv4, and sends any frame.
///
/// Reading and writing move one frame, Ethernet header included; both are non-blocking. Fragments are not received.
pub fn open_udp4(index: u32, port: u16) -> Result<File> {
    let on = || format!("interface {index}");
    // Protocol 0 receives nothing, so no frame of another interface slips in before the filter and the interface are set.
    // SAFETY: socket() takes no pointers; the result is checked.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    checked(raw).doing("opening a packet socket on", on())?;
    // SAFETY: `raw` was just opened by us and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };

    let mut program = filter(port);
    let filter = libc::sock_fprog {
        len: 11,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to `program`, which has 11 elements and outlives the call; the kernel copies it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as u32,
        )
    };
    checked(set).doing("filtering a packet socket on", on())?;

    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = i32::try_from(index)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        .doing("binding a packet socket to", on())?;
    // SAFETY: `address` is a whole sockaddr_ll, and its size is given.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) };
    checked(bound).doing("binding a packet socket to", on())?;
    Ok(File::from(socket))
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Accepts unfragmented UDP over IPv4 to `port`, wherever its header ends.
const fn filter(port: u16) -> [libc::sock_filter; 11] {
    const fn step(code: u16, yes: u8, no: u8, value: u32) -> libc::sock_filter {
        libc::sock_filter {
            code,
            jt: yes,
            jf: no,
            k: value,
        }
    }
    [
        step(LOAD_HALF, 0, 0, 12),
        step(JUMP_EQUAL, 0, 8, 0x0800),
        step(LOAD_BYTE, 0, 0, 23),
        step(JUMP_EQUAL, 0, 6, 17),
        step(LOAD_HALF, 0, 0, 20),
        step(JUMP_ANY_BIT, 4, 0, 0x3fff),
        step(LOAD_HEADER_LENGTH, 0, 0, 14),
        step(LOAD_HALF_INDEXED, 0, 0, 16),
        step(JUMP_EQUAL, 0, 1, port as u32),
        step(END, 0, 0, 0xffff),
        step(END, 0, 0, 0),
    ]
}
