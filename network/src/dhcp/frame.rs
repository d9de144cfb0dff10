//! Frames: a DHCP message in UDP in IPv4 in Ethernet, there and back.

use skerry_config::address::Mac;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::Ipv4Addr;

/// The port of DHCP's clients.
pub const CLIENT: u16 = 68;
/// The port of DHCP's servers.
pub const SERVER: u16 = 67;

const HEADERS: usize = 14 + 20 + 8;

/// A broadcast frame to the servers, from `mac` and `ip` (0.0.0.0 as long as we have none).
pub fn wrap(mac: Mac, ip: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(mac.0),
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Ipv4,
    };
    let udp = UdpRepr {
        src_port: CLIENT,
        dst_port: SERVER,
    };
    let ipv4 = Ipv4Repr {
        src_addr: ip,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: 8 + message.len(),
        hop_limit: 64,
    };

    let mut bytes = vec![0; HEADERS + message.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut *bytes);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ipv4.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let (from, to) = (IpAddress::Ipv4(ip), IpAddress::Ipv4(Ipv4Addr::BROADCAST));
    udp.emit(
        &mut datagram,
        &from,
        &to,
        message.len(),
        |payload| payload.copy_from_slice(message),
        &checksums,
    );
    bytes
}

/// The message in a frame from a server; none if the frame holds anything else, or is torn.
///
/// The UDP checksum is not looked at: a server on the same host (or a virtual machine's host) leaves it to hardware that is not there.
pub fn unwrap(bytes: &[u8]) -> Option<&[u8]> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let whole = packet.version() == 4 && packet.header_len() >= 20 && !packet.more_frags() && packet.frag_offset() == 0;
    if !whole || packet.next_header() != IpProtocol::Udp || !packet.verify_checksum() {
        return None;
    }
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    if (datagram.src_port(), datagram.dst_port()) != (SERVER, CLIENT) {
        return None;
    }
    Some(datagram.payload())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame the other way: from a server to a client.
    fn answer(message: &[u8]) -> Vec<u8> {
        let mut bytes = wrap(Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1), message);
        bytes[35] = 67;
        bytes[37] = 68;
        bytes
    }

    #[test]
    fn a_message_survives_the_wire() {
        assert_eq!(unwrap(&answer(b"hello")), Some(&b"hello"[..]));
        assert_eq!(
            unwrap(&wrap(Mac([0; 6]), Ipv4Addr::UNSPECIFIED, b"hello")),
            None,
            "our own question is no answer"
        );
    }

    #[test]
    fn padding_behind_a_short_frame_is_cut() {
        let mut bytes = answer(b"hi");
        bytes.resize(60, 0xaa);
        assert_eq!(unwrap(&bytes), Some(&b"hi"[..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn a_damaged_frame_never_panics(at in 0..60_usize, value: u8, cut in 0..70_usize) {
            let mut bytes = answer(&[7; 24]);
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            let _ = unwrap(&bytes);
        }
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unwrap(&bytes);
        }
    }
}
