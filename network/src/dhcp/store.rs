//! The last lease of an interface, kept on the data partition for the next boot.
//!
//! Only a hint: the server confirms or refuses it. So an unreadable file is no lease, and nothing more.

use crate::dhcp::lease::Lease;
use serde::{Deserialize, Serialize};
use skerry_config::address::Mac;
use std::path::{Path, PathBuf};

const LARGEST: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The hardware address it was granted to: another card in the same slot is another machine to the server.
    mac: String,
    lease: Lease,
}

/// Where an interface's lease lies.
pub fn path(state: &Path, interface: &str) -> PathBuf {
    state.join(format!("dhcp-{interface}.json"))
}

/// The lease of an earlier boot, if it was this hardware address's.
pub fn read(path: &Path, mac: Mac) -> Option<Lease> {
    decode(&skerry_sys::file::read_bounded(path, LARGEST).ok()?, mac)
}

/// Keeps a lease. Written only when its address or server changed: renewals must not wear flash out.
pub fn keep(path: &Path, mac: Mac, lease: &Lease) -> skerry_sys::Result<()> {
    if read(path, mac).is_some_and(|kept| kept.address == lease.address && kept.server == lease.server) {
        return Ok(());
    }
    let kept = Kept {
        mac: mac.to_string(),
        lease: lease.clone(),
    };
    let text = serde_json::to_vec(&kept).unwrap_or_default();
    skerry_sys::file::replace(path, &text, 0o644)
}

fn decode(bytes: &[u8], mac: Mac) -> Option<Lease> {
    let kept: Kept = serde_json::from_slice(bytes).ok()?;
    (kept.mac == mac.to_string() && kept.lease.ip().is_some()).then_some(kept.lease)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_on_data_stays_readable() {
        let bytes = br#"{"mac":"02:00:00:00:00:01","lease":{"address":"10.0.2.15/24","server":"10.0.2.2","seconds":86400,"renew":43200,
            "rebind":75600,"routes":[["0.0.0.0/0","10.0.2.2"]],"dns":["10.0.2.3"],"search":["lan"],"ntp":[],"mtu":null}}"#;
        let lease = decode(bytes, Mac([2, 0, 0, 0, 0, 1])).unwrap();
        assert_eq!((lease.address.to_string(), lease.seconds), ("10.0.2.15/24".into(), 86400));
        assert_eq!(decode(bytes, Mac([2, 0, 0, 0, 0, 2])), None, "another card's");
        assert_eq!(decode(b"{", Mac([0; 6])), None);
    }
}
