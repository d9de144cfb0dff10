//! Which kernel modules a node needs: two tables, a reason a row, and the pure rules that read them.

use std::collections::{BTreeMap, BTreeSet};

/// Whether what lies below a folder of `kernel/` goes into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In the image.
    Keep,
    /// Left out.
    Drop,
}
use Fate::{Drop, Keep};

/// The longest prefix that matches a module's path below `kernel/` decides. A row without a match: kept.
pub const SUBSET: &[(&str, Fate, &str)] = &[
    ("", Keep, "servers and boards: what is not known to be useless stays"),
    ("sound/", Drop, "a node makes no sound"),
    ("drivers/accel/", Drop, "accelerators come with their operator's own driver"),
    ("drivers/accessibility/", Drop, "no screen reader"),
    ("drivers/ata/pata_", Drop, "parallel ATA is gone"),
    ("drivers/ata/pata_acpi", Keep, "and yet some old boards boot by it"),
    ("drivers/atm/", Drop, "no ATM cards"),
    ("drivers/bluetooth/", Drop, "no user space for it"),
    ("drivers/comedi/", Drop, "laboratory cards"),
    ("drivers/firewire/", Drop, "no FireWire"),
    ("drivers/fpga/", Drop, "needs vendor software"),
    ("drivers/gnss/", Drop, "receivers speak over serial ports without it"),
    ("drivers/gpu/", Drop, "the console is EFI or VGA text; GPU operators bring drivers"),
    ("drivers/gpu/drm/tiny/", Keep, "simple frame buffers and QEMU's displays"),
    ("drivers/gpu/drm/drm", Keep, "the core they need"),
    ("drivers/gpu/drm/virtio/", Keep, "the console of a virtual machine"),
    ("drivers/greybus/", Drop, "no such hardware"),
    ("drivers/hid/", Drop, "special input devices"),
    ("drivers/hid/hid.ko", Keep, "keyboards on the console"),
    ("drivers/hid/hid-generic", Keep, "keyboards on the console"),
    ("drivers/hid/hid-hyperv", Keep, "keyboard of a Hyper-V machine"),
    ("drivers/hid/usbhid/", Keep, "keyboards on the console, serial UPS"),
    (
        "drivers/hwmon/pmbus/",
        Drop,
        "power supplies of racks, read by their own controllers",
    ),
    ("drivers/iio/", Drop, "sensors are read by user space over I2C and SPI"),
    ("drivers/infiniband/", Drop, "RDMA comes with its operator"),
    ("drivers/input/gameport/", Drop, "no games"),
    ("drivers/input/joystick/", Drop, "no games"),
    ("drivers/input/tablet/", Drop, "no desktop"),
    ("drivers/input/touchscreen/", Drop, "no desktop"),
    ("drivers/isdn/", Drop, "no ISDN"),
    ("drivers/leds/", Drop, "board LEDs come with boards"),
    ("drivers/media/", Drop, "no TV"),
    ("drivers/media/usb/uvc/", Keep, "cameras are an edge workload"),
    ("drivers/media/v4l2-core/", Keep, "cameras"),
    ("drivers/media/common/videobuf2/", Keep, "cameras"),
    ("drivers/media/common/uvc", Keep, "cameras"),
    ("drivers/media/mc/", Keep, "cameras"),
    ("drivers/most/", Drop, "car networks"),
    ("drivers/mtd/", Drop, "raw flash is the firmware's"),
    ("drivers/net/arcnet/", Drop, "old networks"),
    ("drivers/net/fddi/", Drop, "old networks"),
    ("drivers/net/hamradio/", Drop, "no radio"),
    ("drivers/net/ieee802154/", Drop, "no user space for it"),
    ("drivers/net/wan/", Drop, "leased lines"),
    ("drivers/net/wireless/", Drop, "few chips have their firmware here"),
    ("drivers/net/wireless/ath/", Keep, "common Wi-Fi"),
    ("drivers/net/wireless/broadcom/brcm80211/", Keep, "the Pi's Wi-Fi"),
    ("drivers/net/wireless/intel/iwlwifi/", Keep, "common Wi-Fi"),
    ("drivers/net/wireless/mediatek/", Keep, "common Wi-Fi"),
    ("drivers/net/wireless/realtek/", Keep, "common Wi-Fi"),
    (
        "drivers/net/wireless/virtual/mac80211_hwsim",
        Keep,
        "radios without hardware, by which Wi-Fi is tested: 0.1 MB, loaded by nobody else",
    ),
    ("drivers/nfc/", Drop, "no user space for it"),
    ("drivers/ntb/", Drop, "bridges between two hosts"),
    ("drivers/parport/", Drop, "no parallel ports"),
    ("drivers/pcmcia/", Drop, "no PC cards"),
    ("drivers/platform/x86/", Drop, "laptops' keys and lids"),
    ("drivers/platform/x86/wmi", Keep, "others depend on it"),
    ("drivers/power/supply/", Drop, "batteries"),
    ("drivers/rapidio/", Drop, "no such hardware"),
    ("drivers/scsi/", Drop, "old and rare adapters"),
    ("drivers/scsi/aacraid/", Keep, "common RAID adapter"),
    ("drivers/scsi/device_handler/", Keep, "multipath"),
    ("drivers/scsi/hpsa", Keep, "common RAID adapter"),
    ("drivers/scsi/hv_storvsc", Keep, "disk of a Hyper-V machine"),
    ("drivers/scsi/isci/", Keep, "SAS ports of Intel's server boards"),
    ("drivers/scsi/iscsi", Keep, "open-iscsi"),
    ("drivers/scsi/libiscsi", Keep, "open-iscsi"),
    ("drivers/scsi/libsas/", Keep, "SAS adapters"),
    ("drivers/scsi/megaraid/", Keep, "common RAID adapter"),
    ("drivers/scsi/mpi3mr/", Keep, "common RAID adapter"),
    ("drivers/scsi/mpt3sas/", Keep, "common SAS adapter"),
    ("drivers/scsi/scsi_", Keep, "the core"),
    ("drivers/scsi/sd_mod", Keep, "disks"),
    ("drivers/scsi/sg", Keep, "smartctl and the like"),
    ("drivers/scsi/smartpqi/", Keep, "common RAID adapter"),
    ("drivers/scsi/sr_mod", Keep, "the ISO"),
    ("drivers/scsi/virtio_scsi", Keep, "disks of virtual machines"),
    ("drivers/scsi/vmw_pvscsi", Keep, "disks of VMware machines"),
    ("drivers/siox/", Drop, "no such hardware"),
    ("drivers/soundwire/", Drop, "a node makes no sound"),
    ("drivers/staging/", Drop, "not ready by its own word"),
    ("drivers/video/", Drop, "frame buffers"),
    ("drivers/video/fbdev/core/", Keep, "the core that consoles need"),
    ("drivers/w1/", Drop, "read by user space where it is used at all"),
    ("drivers/w1/masters/w1-gpio", Keep, "the Pi's thermometers"),
    ("drivers/w1/slaves/w1_therm", Keep, "the Pi's thermometers"),
    ("drivers/w1/wire", Keep, "the core of both"),
    ("fs/", Drop, "file systems that no volume uses"),
    ("fs/9p/", Keep, "shared folders of virtual machines"),
    ("fs/autofs/", Keep, "kubelet and hosts that mount on demand"),
    ("fs/binfmt_misc", Keep, "images of foreign architectures"),
    ("fs/btrfs/", Keep, "volumes of storage systems"),
    ("fs/ceph/", Keep, "CephFS volumes"),
    ("fs/configfs/", Keep, "iSCSI targets"),
    ("fs/efivarfs/", Keep, "EFI variables"),
    ("fs/erofs/", Keep, "the root"),
    ("fs/exfat/", Keep, "sticks"),
    ("fs/ext4/", Keep, "the data partition"),
    ("fs/fat/", Keep, "the ESP, sticks"),
    ("fs/fuse/", Keep, "CSI drivers, virtiofs"),
    ("fs/isofs/", Keep, "the ISO, cloud-init media"),
    ("fs/jbd2/", Keep, "ext4"),
    ("fs/lockd/", Keep, "NFS"),
    ("fs/mbcache", Keep, "ext4"),
    ("fs/netfs/", Keep, "NFS, 9p"),
    ("fs/nfs/", Keep, "NFS volumes"),
    ("fs/nfs_common/", Keep, "NFS volumes"),
    ("fs/nfsd/", Keep, "Longhorn's shared volumes serve NFS from a pod"),
    ("fs/nls/", Keep, "names on FAT"),
    ("fs/overlayfs/", Keep, "containers, /etc"),
    ("fs/pstore/", Keep, "the last words of a crash"),
    ("fs/smb/", Keep, "SMB volumes"),
    ("fs/squashfs/", Keep, "media of others"),
    ("fs/udf/", Keep, "cloud-init media"),
    ("fs/vboxsf/", Drop, "no desktop"),
    ("fs/xfs/", Keep, "volumes"),
    ("kernel/time/test", Drop, "tests"),
    ("lib/test", Drop, "tests"),
    ("lib/kunit/", Drop, "tests"),
    ("net/6lowpan/", Drop, "no user space for it"),
    ("net/appletalk/", Drop, "old networks"),
    ("net/atm/", Drop, "old networks"),
    ("net/ax25/", Drop, "radio"),
    ("net/batman-adv/", Drop, "mesh networks"),
    ("net/bluetooth/", Drop, "no user space for it"),
    ("net/caif/", Drop, "modems of phones"),
    ("net/dccp/", Drop, "unused, and a history of holes"),
    ("net/hsr/", Drop, "plant rings: to be asked for"),
    ("net/ieee802154/", Drop, "no user space for it"),
    ("net/lapb/", Drop, "old networks"),
    ("net/mac802154/", Drop, "no user space for it"),
    ("net/netrom/", Drop, "radio"),
    ("net/nfc/", Drop, "no user space for it"),
    ("net/phonet/", Drop, "modems of phones"),
    ("net/rds/", Drop, "unused, and a history of holes"),
    ("net/rose/", Drop, "radio"),
    ("net/smc/", Drop, "mainframes"),
    ("net/tipc/", Drop, "unused, and a history of holes"),
    ("net/x25/", Drop, "old networks"),
];

/// Modules of the initramfs, with what depends on them: enough to find, check and mount the root, wherever it lies.
pub const INITRAMFS: &[(&str, &str)] = &[
    ("aacraid", "RAID adapter of servers"),
    ("ahci", "SATA disks"),
    ("ata_piix", "IDE of old boards and of QEMU's default machine"),
    ("crc32c_generic", "ext4's checksums"),
    ("crc32c_intel", "ext4's checksums, fast"),
    ("dm_mod", "device mapper"),
    ("dm_verity", "the root is checked on every read"),
    ("ehci_pci", "USB 2 sticks"),
    ("erofs", "the root's file system"),
    ("ext4", "the data partition"),
    ("hpsa", "RAID adapter of servers"),
    ("hv_storvsc", "disks of Hyper-V machines"),
    ("hv_vmbus", "their bus"),
    ("i6300esb", "watchdog of virtual machines"),
    ("hyperv_keyboard", "a keyboard for the rescue shell"),
    ("isci", "SAS ports of Intel's server boards"),
    ("iTCO_wdt", "watchdog of Intel boards"),
    ("loop", "a root in a file"),
    ("megaraid_sas", "RAID adapter of servers"),
    ("mmc_block", "SD cards and eMMC"),
    ("mpi3mr", "RAID adapter of servers"),
    ("mpt3sas", "SAS adapter of servers"),
    ("mptsas", "disks of VMware machines"),
    ("mptspi", "disks of VMware machines"),
    ("nls_ascii", "FAT names"),
    ("nls_cp437", "FAT names"),
    ("nls_utf8", "FAT names"),
    ("nvme", "NVMe disks"),
    ("ohci_pci", "keyboards on USB 1"),
    ("overlay", "/etc, and later containers"),
    ("rtsx_pci_sdmmc", "card readers of small PCs"),
    ("rtsx_usb_sdmmc", "card readers of small PCs"),
    ("sd_mod", "SCSI, SATA and USB disks"),
    ("sdhci_acpi", "SD cards and eMMC of PCs"),
    ("sdhci_pci", "SD cards and eMMC of PCs"),
    ("sha256_ssse3", "dm-verity's hash, fast"),
    ("smartpqi", "RAID adapter of servers"),
    ("softdog", "a watchdog where there is no hardware one"),
    ("sp5100_tco", "watchdog of AMD boards"),
    ("sr_mod", "the ISO"),
    ("isofs", "the ISO"),
    ("uas", "USB disks"),
    ("ufshcd_pci", "UFS of small PCs"),
    ("uhci_hcd", "keyboards on USB 1"),
    ("usb_storage", "USB sticks"),
    ("usbhid", "a keyboard for the rescue shell"),
    ("hid_generic", "a keyboard for the rescue shell"),
    ("vfat", "the ESP"),
    ("virtio_blk", "disks of virtual machines"),
    ("virtio_console", "the guest agent's port, which the plan of the boot looks for"),
    ("virtio_mmio", "virtio of micro machines"),
    ("virtio_pci", "virtio"),
    ("virtio_rng", "entropy early"),
    ("virtio_scsi", "disks of virtual machines"),
    ("vmd", "NVMe disks behind Intel's controller"),
    ("vmw_pvscsi", "disks of VMware machines"),
    ("wdat_wdt", "watchdog named by ACPI"),
    ("xen_blkfront", "disks of Xen machines"),
    ("xhci_pci", "USB 3 sticks"),
];

/// What becomes of a module, by its path below `kernel/`.
pub fn fate(path: &str) -> Fate {
    let matching = SUBSET.iter().filter(|(prefix, _, _)| path.starts_with(prefix));
    matching
        .max_by_key(|(prefix, _, _)| prefix.len())
        .map_or(Keep, |(_, fate, _)| *fate)
}

/// A module's name from its path: no folder, no `.ko…`, dashes as underscores.
pub fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// `modules.dep`: path → paths it needs.
pub fn dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let row = |line: &str| {
        let (path, needs) = line.split_once(':')?;
        Some((path.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
    };
    text.lines().filter_map(row).collect()
}

/// The modules to keep and all they need: what a kept module needs is kept, whatever the table says.
pub fn subset(all: &BTreeMap<String, Vec<String>>, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    let mut pending: Vec<&String> = all.keys().filter(|path| wanted(path)).collect();
    while let Some(path) = pending.pop() {
        if kept.insert(path.clone()) {
            pending.extend(all.get(path).into_iter().flatten());
        }
    }
    kept
}

/// Whether the image keeps a module of `modules.dep`.
pub fn in_image(path: &str) -> bool {
    fate(path.strip_prefix("kernel/").unwrap_or(path)) == Keep
}

/// Whether the initramfs holds a module of `modules.dep`.
pub fn in_initramfs(path: &str) -> bool {
    let name = name(path);
    INITRAMFS.iter().any(|(wanted, _)| *wanted == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_needs_is_kept() {
        for path in [
            "fs/overlayfs/overlay.ko.xz",
            "net/bridge/br_netfilter.ko.xz",
            "net/netfilter/nft_masq.ko.xz",
            "net/netfilter/xt_comment.ko.xz",
            "net/netfilter/ipset/ip_set.ko.xz",
            "net/netfilter/ipvs/ip_vs_rr.ko.xz",
            "net/ipv4/netfilter/iptable_nat.ko.xz",
            "net/sched/sch_tbf.ko.xz",
            "drivers/net/ifb.ko.xz",
            "drivers/net/veth.ko.xz",
            "drivers/net/vxlan/vxlan.ko.xz",
            "drivers/net/wireguard/wireguard.ko.xz",
            "drivers/net/dummy.ko.xz",
            "drivers/net/tun.ko.xz",
            "drivers/scsi/iscsi_tcp.ko.xz",
            "drivers/usb/serial/ftdi_sio.ko.xz",
            "drivers/watchdog/i6300esb.ko.xz",
            "fs/nfs/nfsv4.ko.xz",
            "fs/fat/vfat.ko.xz",
            "drivers/media/usb/uvc/uvcvideo.ko.xz",
        ] {
            assert_eq!(fate(path), Keep, "{path}");
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        assert_eq!(fate("sound/core/snd.ko.xz"), Drop);
        assert_eq!(fate("drivers/gpu/drm/amd/amdgpu.ko.xz"), Drop);
        assert_eq!(fate("drivers/gpu/drm/virtio/virtio-gpu.ko.xz"), Keep);
        assert_eq!(fate("fs/ocfs2/ocfs2.ko.xz"), Drop);
        assert_eq!(fate("drivers/scsi/qla2xxx/qla2xxx.ko.xz"), Drop);
        assert_eq!(fate("something/new.ko"), Keep);
    }

    #[test]
    fn what_a_kept_module_needs_comes_with_it() {
        let all = dependencies(
            "kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko.xz\nkernel/b.ko.xz: kernel/d.ko.xz\nkernel/c.ko.xz:\nkernel/d.ko.xz:\nkernel/e.ko.xz:\n",
        );
        let kept = subset(&all, |path| path == "kernel/a.ko.xz");
        assert_eq!(kept.iter().map(|path| name(path)).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_circle_of_needs_ends() {
        let all = dependencies("kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\n");
        assert_eq!(subset(&all, |_| true).len(), 2);
    }

    #[test]
    fn names_and_tables() {
        assert!(in_initramfs("kernel/drivers/pci/controller/vmd.ko.xz"));
        assert_eq!(name("kernel/drivers/usb/storage/usb-storage.ko.xz"), "usb_storage");
        assert!(in_initramfs("kernel/arch/x86/crypto/sha256-ssse3.ko.xz"));
        let prefixes: BTreeSet<&str> = SUBSET.iter().map(|row| row.0).collect();
        assert_eq!(prefixes.len(), SUBSET.len(), "a prefix stands once");
        assert!(SUBSET.iter().all(|row| !row.2.is_empty()) && INITRAMFS.iter().all(|row| !row.1.is_empty()));
    }
}
