//! Which disks are there, and what is on each? Read from sysfs and from the disks.

use crate::choose::{Disk, Holds, Transport};
use crate::layout::{Arch, Layout, MIB};
use skerry_sys::block::Ext4;
use skerry_sys::file::{read_bounded, read_text};
use skerry_sys::gpt::{SECTOR, find};
use skerry_sys::mount::mounted;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where to look: `/` but for tests.
#[derive(Debug, Clone)]
pub struct Root(pub PathBuf);

/// What is mounted, by the device's numbers (`8:1`) and by its path (`/dev/sda1`): where.
pub type Mounts = BTreeMap<String, Vec<String>>;

/// What is mounted, and what is swapped to.
pub fn mounts() -> skerry_sys::Result<Mounts> {
    let mut found = Mounts::new();
    for mount in mounted()? {
        let (major, minor) = mount.device;
        let target = mount.target.display().to_string();
        found.entry(format!("{major}:{minor}")).or_default().push(target.clone());
        // File systems on several devices (btrfs) have numbers of their own.
        if mount.source.starts_with("/dev/") {
            found.entry(mount.source).or_default().push(target);
        }
    }
    Ok(found)
}

/// All disks, by name. What cannot be read of one is left empty; a disk whose content cannot be read counts as holding something.
pub fn disks(root: &Root, mounts: &Mounts) -> skerry_sys::Result<Vec<Disk>> {
    use skerry_sys::Doing;
    let block = root.0.join("sys/block");
    let swaps = read_text(root.0.join("proc/swaps"), 65536).unwrap_or_default();
    let links = links(root);
    let mut found = vec![];
    for entry in std::fs::read_dir(&block).doing("listing", block.display())? {
        let name = entry.doing("listing", block.display())?.file_name().to_string_lossy().into_owned();
        // Neither of these is a disk that one installs onto.
        if ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"]
            .iter()
            .any(|p| name.starts_with(p))
        {
            continue;
        }
        found.extend(disk(root, &name, mounts, &swaps, &links));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn disk(root: &Root, name: &str, mounts: &Mounts, swaps: &str, links: &[(PathBuf, PathBuf)]) -> Option<Disk> {
    let at = root.0.join("sys/block").join(name);
    let word = |file: &str| read_text(at.join(file), 4096).unwrap_or_default().trim().to_owned();
    let bytes = word("size").parse::<u64>().ok()?.checked_mul(512).filter(|b| *b > 0)?;
    let first = |files: &[&str]| files.iter().map(|f| word(f)).find(|w| !w.is_empty()).unwrap_or_default();
    let partitions: Vec<String> = std::fs::read_dir(&at)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().join("partition").exists())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    let mut used_by = BTreeSet::new();
    for part in [name.to_owned()].iter().chain(&partitions) {
        users(root, part, mounts, swaps, &mut used_by, 0);
    }
    let path = Path::new("/dev").join(name);
    let real = std::fs::canonicalize(&at).unwrap_or_else(|_| at.clone());
    Some(Disk {
        holds: holds(&root.0.join("dev").join(name), &partitions, root),
        links: links.iter().filter(|(_, to)| *to == path).map(|(link, _)| link.clone()).collect(),
        path,
        name: name.to_owned(),
        bytes,
        sector_bytes: word("queue/logical_block_size").parse().unwrap_or(512),
        model: first(&["device/model", "device/name"]),
        serial: [first(&["serial", "device/serial"]), page_80(&at), first(&["wwid", "device/wwid"])]
            .into_iter()
            .find(|s| !s.is_empty())
            .unwrap_or_default(),
        transport: transport(&real.to_string_lossy(), name),
        is_removable: word("removable") == "1",
        is_read_only: word("ro") == "1",
        is_running: used_by
            .iter()
            .any(|u| ["/", "/var", "/usr", "/sysroot"].contains(&u.as_str()) || u.starts_with("/run/skerry/")),
        used_by: used_by.into_iter().collect(),
    })
}

/// Who uses a device: what is mounted from it, swap, and the same of what is made of it (`holders`: dm-verity, LVM, RAID).
fn users(root: &Root, name: &str, mounts: &Mounts, swaps: &str, into: &mut BTreeSet<String>, depth: u32) {
    let at = root.0.join("sys/class/block").join(name);
    let numbers = read_text(at.join("dev"), 64).unwrap_or_default();
    let path = format!("/dev/{name}");
    for key in [numbers.trim(), &path] {
        into.extend(mounts.get(key).into_iter().flatten().cloned());
    }
    let is_swap = |line: &str| line.split_whitespace().next() == Some(path.as_str());
    if swaps.lines().any(is_swap) {
        into.insert("swap".to_owned());
    }
    for holder in std::fs::read_dir(at.join("holders")).into_iter().flatten().flatten() {
        let holder = holder.file_name().to_string_lossy().into_owned();
        into.insert(holder.clone());
        // Devices are not stacked deeper than this; a loop among them must not be followed for ever.
        if depth < 8 {
            users(root, &holder, mounts, swaps, into, depth + 1);
        }
    }
}

/// SCSI's page of the unit's serial number: SPC-4, 7.8.15: four bytes, then text.
fn page_80(at: &Path) -> String {
    let page = read_bounded(at.join("device/vpd_pg80"), 4096).unwrap_or_default();
    String::from_utf8_lossy(page.get(4..).unwrap_or_default())
        .trim_matches(['\0', ' '])
        .to_owned()
}

/// By the place in the tree of devices.
fn transport(real: &str, name: &str) -> Transport {
    let passes = |part: &str| {
        real.split('/')
            .any(|p| p.strip_prefix(part).is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())))
    };
    if passes("usb") {
        Transport::Usb
    } else if name.starts_with("nvme") {
        Transport::Nvme
    } else if name.starts_with("mmcblk") {
        Transport::Mmc
    } else if passes("ata") {
        Transport::Sata
    } else if passes("virtio") {
        Transport::Virtio
    } else {
        Transport::Scsi
    }
}

/// The names in `/dev/disk/by-*`, and what they lead to.
fn links(root: &Root) -> Vec<(PathBuf, PathBuf)> {
    let mut found = vec![];
    for folder in ["by-id", "by-path", "by-diskseq"] {
        let at = Path::new("/dev/disk").join(folder);
        let entries = std::fs::read_dir(root.0.join("dev/disk").join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let to = Path::new("/dev").join(target.file_name().unwrap_or_default());
            found.push((at.join(entry.file_name()), to));
        }
    }
    found.sort();
    found
}

fn holds(node: &Path, partitions: &[String], root: &Root) -> Holds {
    match look(node) {
        Ok(Holds::Nothing) if !partitions.is_empty() => Holds::Other("partitions".to_owned()),
        Ok(Holds::Other(what)) => {
            let labels: Vec<String> = partitions.iter().filter_map(|p| label(&root.0.join("dev").join(p))).collect();
            if labels.iter().any(|l| l == "K3OS_STATE") {
                return Holds::K3os;
            }
            let named: Vec<String> = labels.into_iter().filter(|l| !l.is_empty()).collect();
            Holds::Other(if named.is_empty() {
                what
            } else {
                format!("{what}: {}", named.join(", "))
            })
        }
        Ok(holds) => holds,
        Err(why) => Holds::Other(format!("something that cannot be read ({why})")),
    }
}

fn label(node: &Path) -> Option<String> {
    skerry_sys::block::ext4(node).ok().flatten().map(|e| e.label)
}

/// What a disk holds as a whole, by its own bytes.
fn look(node: &Path) -> io::Result<Holds> {
    let mut file = File::open(node)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    let mut head = vec![0; usize::try_from(MIB.min(bytes)).unwrap_or(0)];
    file.read_exact_at(&mut head, 0)?;
    if let Some(ext4) = head.get(1024..2048).and_then(Ext4::parse) {
        return Ok(if ext4.label == "K3OS_STATE" {
            Holds::K3os
        } else {
            Holds::Other(format!("a file system {:?}", ext4.label))
        });
    }
    let found = find(bytes / SECTOR, |at, into| file.read_exact_at(into, at));
    if let Some(table) = found.table() {
        let is_ours = [Arch::Amd64, Arch::Arm64].iter().any(|arch| Layout::of(table, *arch).is_some());
        return Ok(match table.partitions.len() {
            0 => Holds::Nothing,
            _ if is_ours => Holds::Skerry,
            1 => Holds::Other("a partition".to_owned()),
            n => Holds::Other(format!("{n} partitions")),
        });
    }
    let mut tail = vec![0; head.len()];
    let at = bytes - tail.len() as u64;
    file.read_exact_at(&mut tail, at)?;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    if is_zero(&head) && is_zero(&tail) {
        return Ok(Holds::Nothing);
    }
    let has_mbr = head.get(510..512) == Some(&[0x55, 0xAA]);
    Ok(Holds::Other(
        if has_mbr {
            "an MBR's partitions, or a boot sector"
        } else {
            "data of an unknown kind"
        }
        .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    struct Tree(PathBuf);

    impl Tree {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("skerry-facts-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("sys/class/block")).unwrap();
            fs::create_dir_all(path.join("sys/block")).unwrap();
            fs::create_dir_all(path.join("dev/disk/by-id")).unwrap();
            Self(path)
        }

        fn put(&self, path: &str, bytes: &[u8]) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().write_all(bytes).unwrap();
        }

        /// A disk under a path of devices, with files in its folder of sysfs.
        fn disk(&self, device: &str, name: &str, files: &[(&str, &str)], content: &[u8]) {
            let folder = format!("sys/devices/{device}/block/{name}");
            self.put(&format!("{folder}/size"), b"8192\n");
            for (file, text) in files {
                self.put(&format!("{folder}/{file}"), text.as_bytes());
            }
            for place in ["sys/block", "sys/class/block"] {
                symlink(self.0.join(&folder), self.0.join(place).join(name)).unwrap();
            }
            let mut bytes = content.to_vec();
            bytes.resize(4 << 20, 0);
            self.put(&format!("dev/{name}"), &bytes);
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ext4(label: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        bytes[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]);
        bytes[1024 + 0x78..1024 + 0x78 + label.len()].copy_from_slice(label);
        bytes
    }

    #[test]
    fn disks_are_told_apart() {
        let tree = Tree::new();
        tree.disk(
            "pci0/ata3/host2",
            "sda",
            &[
                ("device/model", "SuperDisk 9  \n"),
                ("device/vpd_pg80", "\0\u{1}\0\u{4}AB12  "),
                ("sda1/partition", "1"),
                ("dev", "8:0"),
                ("sda1/dev", "8:1"),
                ("sda1/holders/dm-0/x", ""),
            ],
            &[1; 512],
        );
        let class = tree.0.join("sys/class/block");
        symlink(tree.0.join("sys/block/sda/sda1"), class.join("sda1")).unwrap();
        tree.put("sys/class/block/dm-0/dev", b"254:0\n");
        tree.put("dev/sda1", &ext4(b"root"));
        tree.disk(
            "pci0/usb1/1-2/host5",
            "sdb",
            &[("removable", "1"), ("ro", "1")],
            &ext4(b"K3OS_STATE"),
        );
        tree.disk(
            "pci0/nvme/nvme0",
            "nvme0n1",
            &[("wwid", "eui.1"), ("queue/logical_block_size", "4096")],
            &[],
        );
        tree.disk(
            "pci0/virtio2",
            "vda",
            &[("serial", "V1"), ("vda3/partition", "3")],
            &[0x55, 0xAA].repeat(256),
        );
        tree.put("dev/vda3", &ext4(b"K3OS_STATE"));
        tree.disk("virtual/loop", "loop0", &[], &[]);
        symlink("../../nvme0n1", tree.0.join("dev/disk/by-id/nvme-x")).unwrap();
        tree.put("proc/swaps", b"Filename Type\n/dev/vda3 partition 1 2 3\n");

        let mounts = Mounts::from([("254:0".to_owned(), vec!["/".to_owned()])]);
        let disks = disks(&Root(tree.0.clone()), &mounts).unwrap();
        let [nvme, sda, sdb, vda] = disks.as_slice() else {
            panic!("{disks:?}")
        };
        assert_eq!(
            (sda.model.as_str(), sda.serial.as_str(), sda.transport),
            ("SuperDisk 9", "AB12", Transport::Sata)
        );
        assert_eq!(
            (sda.is_running, sda.used_by.as_slice()),
            (true, ["/".to_owned(), "dm-0".to_owned()].as_slice())
        );
        assert_eq!(sda.holds, Holds::Other("data of an unknown kind: root".to_owned()));
        assert_eq!(
            (&sdb.holds, sdb.transport, sdb.is_removable, sdb.is_read_only),
            (&Holds::K3os, Transport::Usb, true, true)
        );
        assert_eq!(
            (&nvme.holds, nvme.sector_bytes, nvme.serial.as_str()),
            (&Holds::Nothing, 4096, "eui.1")
        );
        assert_eq!(nvme.links, [PathBuf::from("/dev/disk/by-id/nvme-x")]);
        assert_eq!(
            (&vda.holds, vda.transport, vda.used_by.as_slice()),
            (&Holds::K3os, Transport::Virtio, ["swap".to_owned()].as_slice())
        );
    }

    #[test]
    fn this_machine_is_read() {
        let root = Root(PathBuf::from("/"));
        for disk in disks(&root, &mounts().unwrap()).unwrap() {
            assert!(disk.bytes > 0 && !disk.name.is_empty());
        }
    }
}
