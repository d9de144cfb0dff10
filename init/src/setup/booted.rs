//! The disk this system was booted from: all that is ours comes from it, whatever other disks say of themselves.

use anyhow::Result;
use skerry_sys::block::{self, Device};

/// The numbers of its partitions.
pub const ESP: u32 = 1;
/// See [`ESP`].
pub const DATA: u32 = 7;

/// That disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booted {
    /// Its name: `vda`.
    pub disk: String,
    devices: Vec<Device>,
}

impl Booted {
    /// Looks for it below `/`. `None`: the root is not in a slot of a disk (an image of its own, a medium).
    pub fn look() -> Result<Option<Self>> {
        Ok(Self::of(block::below_root()?, block::devices()?))
    }

    fn of(root: Option<Device>, devices: Vec<Device>) -> Option<Self> {
        let root = root.filter(|d| matches!(d.partition_label.as_deref(), Some("root-a" | "root-b")))?;
        Some(Self { disk: root.disk?, devices })
    }

    /// One of its partitions.
    pub fn partition(&self, number: u32) -> Option<&Device> {
        block::partition_of(&self.devices, &self.disk, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn partition(disk: &str, number: u32, label: &str) -> Device {
        let name = format!("{disk}{number}");
        Device {
            path: Path::new("/dev").join(&name),
            name,
            bytes: 1,
            is_read_only: false,
            partition_label: Some(label.to_owned()),
            partition: Some(number),
            guid: None,
            disk: Some(disk.to_owned()),
        }
    }

    #[test]
    fn a_second_disk_does_not_matter() {
        let devices = vec![
            partition("sda", 4, "root-a"),
            partition("sda", 7, "data"),
            partition("sdb", 4, "root-a"),
            partition("sdb", 7, "data"),
        ];
        let booted = Booted::of(devices.get(2).cloned(), devices.clone()).unwrap();
        assert_eq!(booted.partition(DATA).unwrap().name, "sdb7");
        assert_eq!(booted.partition(ESP), None);
    }

    #[test]
    fn what_is_no_slot_is_not_our_disk() {
        let whole = Device {
            disk: None,
            partition: None,
            partition_label: None,
            ..partition("vda", 0, "")
        };
        assert_eq!(Booted::of(Some(whole), vec![]), None);
        assert_eq!(Booted::of(Some(partition("sda", 2, "rootfs")), vec![]), None);
        assert_eq!(Booted::of(None, vec![]), None);
    }
}
