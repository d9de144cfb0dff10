//! Which ISO 9660 file system is on a device? Told by its label, and by the second in which it was made.
//!
//! Format: ECMA-119 §8.4 (the primary volume descriptor, in sector 16). The UUID is what blkid and GRUB make of its dates.

use crate::{Doing, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the descriptor is, in bytes, and how much of it is read.
const AT: u64 = 16 * 2048;
const BYTES: usize = 2048;

/// What the file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `SKERRY`.
    pub label: String,
    /// When it was last changed, or else made: `2026-11-21-16-52-00-00`. None if it says neither.
    pub uuid: Option<String>,
}

impl Volume {
    /// Reads a descriptor; `None` when it is not a primary one.
    pub fn parse(sector: &[u8]) -> Option<Self> {
        // Type 1, standard identifier, version 1.
        if sector.get(..7)? != b"\x01CD001\x01" {
            return None;
        }
        let label = sector.get(40..72)?;
        let (made, changed) = (sector.get(813..829)?, sector.get(830..846)?);
        Some(Self {
            label: String::from_utf8_lossy(label).trim_end_matches([' ', '\0']).to_owned(),
            uuid: date(changed).or_else(|| date(made)),
        })
    }
}

/// Sixteen digits: year, month, day, hour, minute, second, hundredths. All zeros is no date.
fn date(digits: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|b| b.is_ascii_digit()) || text.bytes().all(|b| b == b'0') {
        return None;
    }
    let (year, rest) = text.split_at_checked(4)?;
    let pairs = (0..6).map(|i| rest.get(2 * i..2 * i + 2)).collect::<Option<Vec<_>>>()?;
    Some(format!("{year}-{}", pairs.join("-")))
}

/// The ISO 9660 file system on a device, if it holds one.
pub fn volume(device: &Path) -> Result<Option<Volume>> {
    let mut sector = [0u8; BYTES];
    match File::open(device).and_then(|f| f.read_exact_at(&mut sector, AT)) {
        Ok(()) => Ok(Volume::parse(&sector)),
        // Too short for a file system, or a drive without a medium (perhaps not yet).
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof || why.raw_os_error() == Some(nix::libc::ENOMEDIUM) => Ok(None),
        Err(why) => Err(why).doing("reading", device.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(label: &str, made: &[u8; 16], changed: &[u8; 16]) -> Vec<u8> {
        let mut sector = vec![0; BYTES];
        sector[..7].copy_from_slice(b"\x01CD001\x01");
        sector[40..72].fill(b' ');
        sector[40..40 + label.len()].copy_from_slice(label.as_bytes());
        sector[813..829].copy_from_slice(made);
        sector[830..846].copy_from_slice(changed);
        sector
    }

    #[test]
    fn a_volume_is_read() {
        let none = b"0000000000000000";
        for (made, changed, uuid) in [
            (b"2026112116520007", none, Some("2026-11-21-16-52-00-07")),
            (b"2026112116520007", b"2027010203040506", Some("2027-01-02-03-04-05-06")),
            (none, none, None),
            (none, b"2027 10203040506", None),
        ] {
            let volume = Volume::parse(&sector("SKERRY", made, changed)).unwrap();
            assert_eq!((volume.label.as_str(), volume.uuid.as_deref()), ("SKERRY", uuid));
        }
    }

    #[test]
    fn what_is_no_volume_is_none() {
        let good = sector("SKERRY", b"2026112116520007", b"2026112116520007");
        for cut in 0..846 {
            assert_eq!(Volume::parse(&good[..cut]), None, "{cut}");
        }
        for at in 0..7 {
            let mut wrong = good.clone();
            wrong[at] ^= 0x40;
            assert_eq!(Volume::parse(&wrong), None, "{at}");
        }
        assert_eq!(volume(Path::new("/proc/self/comm")).unwrap(), None);
        assert!(
            volume(Path::new("/nowhere"))
                .unwrap_err()
                .to_string()
                .starts_with("reading /nowhere: ")
        );
    }
}
