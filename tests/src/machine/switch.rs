//! An Ethernet switch for machines: it learns which address is behind which cable, so that a frame reaches the one that it is for.
//!
//! The cables are QEMU's `stream` sockets: each frame comes after its length, four bytes, the most significant first (QEMU,
//! `docs/system/devices/net.rst`). A hub would do for the machines, but QEMU's router answers for every address it hears of.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// No frame is longer: a jumbo frame with all its tags.
const LONGEST: usize = 65_536;
/// A machine that takes nothing for so long is unplugged; QEMU plugs itself in again.
const DEAF: Duration = Duration::from_secs(5);

type Address = [u8; 6];

#[derive(Debug, Default)]
struct Table {
    cables: HashMap<u64, UnixStream>,
    behind: HashMap<Address, u64>,
    next: u64,
}

/// Switches until the process ends; a cable is a connection to `path`.
pub fn open(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path).with_context(|| format!("opening {}", path.display()))?;
    let table = Arc::new(Mutex::new(Table::default()));
    std::thread::spawn(move || {
        for cable in listener.incoming().map_while(std::io::Result::ok) {
            let table = table.clone();
            std::thread::spawn(move || plug(&table, cable));
        }
    });
    Ok(())
}

fn plug(table: &Mutex<Table>, cable: UnixStream) {
    let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(out) = cable.try_clone() else { return };
    if out.set_write_timeout(Some(DEAF)).is_err() {
        return;
    }
    let id = {
        let mut table = lock();
        table.next += 1;
        let id = table.next;
        table.cables.insert(id, out);
        id
    };
    let mut cable = std::io::BufReader::new(cable);
    while let Some(frame) = frame(&mut cable) {
        lock().carry(id, &frame);
    }
    lock().unplug(id);
}

/// The next frame, with its length before it; none at the end.
fn frame(cable: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    cable.read_exact(&mut length).ok()?;
    let bytes = usize::try_from(u32::from_be_bytes(length))
        .ok()
        .filter(|n| (12..=LONGEST).contains(n))?;
    let mut frame = length.to_vec();
    frame.resize(4 + bytes, 0);
    cable.read_exact(frame.get_mut(4..)?).ok()?;
    Some(frame)
}

impl Table {
    fn carry(&mut self, from: u64, frame: &[u8]) {
        let address = |at: usize| frame.get(at..at + 6).and_then(|a| Address::try_from(a).ok());
        let (Some(to), Some(source)) = (address(4), address(10)) else {
            return;
        };
        self.behind.insert(source, from);
        // The lowest bit of the first byte: for many (IEEE 802-2014, 8.2.2).
        let known = self.behind.get(&to).copied().filter(|_| to.first().is_some_and(|b| b & 1 == 0));
        let deaf: Vec<u64> = self
            .cables
            .iter_mut()
            .filter(|(id, _)| **id != from && known.is_none_or(|k| k == **id))
            .filter_map(|(id, cable)| cable.write_all(frame).is_err().then_some(*id))
            .collect();
        for id in deaf {
            self.unplug(id);
        }
    }

    fn unplug(&mut self, id: u64) {
        if let Some(cable) = self.cables.remove(&id) {
            let _ = cable.shutdown(Shutdown::Both); // it may have ended
        }
        self.behind.retain(|_, behind| *behind != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(cable: &mut UnixStream, to: u8, from: u8) {
        let mut frame = 14u32.to_be_bytes().to_vec();
        frame.extend([to, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0]);
        cable.write_all(&frame).unwrap();
    }

    fn heard(cable: &mut UnixStream) -> Option<u8> {
        cable.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        frame(cable).map(|f| f[15])
    }

    #[test]
    fn a_frame_reaches_the_one_it_is_for() {
        let path = std::env::temp_dir().join(format!("skerry-switch-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        open(&path).unwrap();
        let mut cables: Vec<UnixStream> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        // Each says where it is, to all; the first has to be plugged in before it is heard by the others.
        for (n, from) in [(0, 10), (1, 11), (2, 12)] {
            loop {
                send(&mut cables[n], 0xff, from);
                let others: Vec<_> = (0..3).filter(|o| *o != n).map(|o| heard(&mut cables[o])).collect();
                if others.iter().all(|h| *h == Some(from)) {
                    break;
                }
            }
        }
        send(&mut cables[0], 2, 10); // nobody's: to all
        assert_eq!((heard(&mut cables[1]), heard(&mut cables[2])), (Some(10), Some(10)));
        let mut frame = 14u32.to_be_bytes().to_vec();
        frame.extend([2, 0, 0, 0, 0, 12, 2, 0, 0, 0, 0, 10, 8, 0]);
        cables[0].write_all(&frame).unwrap();
        assert_eq!((heard(&mut cables[2]), heard(&mut cables[1])), (Some(10), None));
        std::fs::remove_file(path).unwrap();
    }
}
