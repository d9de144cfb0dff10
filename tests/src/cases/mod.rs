//! The machine tests: one table, each row a function over a [`Lab`] that asserts many things of few boots.

mod add_ons;
mod broken;
mod buses;
pub mod check;
mod clock;
mod cuts;
mod cuts_log;
mod cuts_real;
mod datastore;
pub(crate) mod disk;
mod disks;
mod distributions;
mod farewell;
mod faults;
mod firewall;
pub mod grub;
mod install;
mod iso;
mod join;
mod late;
mod media;
mod network;
mod node;
mod none;
mod one_image;
mod renumbered;
mod root;
mod slots;
pub mod start;
mod upgrade;
mod volumes;
mod wifi;

use crate::machine::{Lab, Machine, release};
use anyhow::Result;
use check::Checks;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// When a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every `make test`.
    Always,
    /// Only when asked for by `--torture`: slow, and rarely the one that finds something.
    Torture,
    /// Written, but never seen to pass: counted as skipped, and run by `--torture` or when asked for by its whole name.
    Unproven,
}

/// One machine test.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, and that of its folder under `target/machine/`.
    pub name: &'static str,
    /// What it proves, for a person.
    pub what: &'static str,
    /// When it runs.
    pub when: When,
    /// Expected seconds by TCG on two cores.
    pub seconds: u32,
    /// The test.
    pub run: fn(&Bench, &mut Checks) -> Result<()>,
}

/// Those that run Kubernetes: they want both cores, and their limits are for a computer that does nothing else.
const ALONE: &[&str] = &[
    "slots-kubelet",
    "disk-ready-bios",
    "kubelet",
    "farewell",
    "full-farewell",
    "datastore",
    "late",
    "servers-later",
    "add-ons",
    "volumes",
    "servers",
    "join",
    "one-image",
    "join-refused",
    "pods-vxlan",
    "pods-wireguard",
    "pods-both",
    "renumbered",
    "full-config",
    "second-boot",
    "address-changed",
    "renumbered-server",
    "disk-full-node",
    "clock-later",
    "live",
    "broken-to-ready",
    "cut-while-starting",
];

impl Case {
    /// Whether nothing may run beside it.
    pub fn is_alone(&self) -> bool {
        ALONE.contains(&self.name)
    }
}

const fn always(name: &'static str, seconds: u32, what: &'static str, run: fn(&Bench, &mut Checks) -> Result<()>) -> Case {
    Case {
        name,
        what,
        when: When::Always,
        seconds,
        run,
    }
}

const fn torture(name: &'static str, seconds: u32, what: &'static str, run: fn(&Bench, &mut Checks) -> Result<()>) -> Case {
    Case {
        name,
        what,
        when: When::Torture,
        seconds,
        run,
    }
}

/// All machine tests, cheapest first.
pub const TABLE: &[Case] = &[
    always(
        "verity-wrong-hash",
        18,
        "a wrong root hash is refused before the root is used, and says so",
        root::wrong_hash,
    ),
    always(
        "first-login",
        33,
        "status, services, logs, sudo and both user names, as a new user tries them",
        none::first_login,
    ),
    always(
        "grub-bios",
        135,
        "BIOS: GRUB boots and writes what the model of it says, in 52 states",
        grub::bios,
    ),
    torture(
        "grub-uefi",
        105,
        "UEFI: GRUB boots and writes what the model of it says, in 26 states",
        grub::uefi,
    ),
    torture(
        "disk-bios",
        75,
        "BIOS boots the disk image to a login, with the config on its ESP; data grows, once",
        disk::bios,
    ),
    always(
        "disk-uefi",
        45,
        "UEFI boots the disk image to a login, with the config on its ESP; data grows, once",
        disk::uefi,
    ),
    always(
        "iso-bios-cd",
        33,
        "BIOS boots the ISO from a disc to a login in memory, with the config on it",
        iso::bios_cd,
    ),
    torture(
        "iso-uefi-cd",
        60,
        "UEFI boots the ISO from a disc to a login in memory, with the config on it",
        iso::uefi_cd,
    ),
    torture(
        "iso-bios-usb",
        60,
        "BIOS boots the ISO from a stick (a SCSI disk where the kernel has no USB) to a login in memory",
        iso::bios_usb,
    ),
    always(
        "iso-uefi-usb",
        30,
        "UEFI boots the ISO from a stick (a SCSI disk where the kernel has no USB) to a login in memory",
        iso::uefi_usb,
    ),
    always(
        "data-damaged",
        25,
        "a data partition that is no file system any more: a login by the ESP's key, degraded, and nothing is formatted",
        disk::data_damaged,
    ),
    torture(
        "two-disks",
        100,
        "beside another disk with Skerry everything comes from the booted one; beside its own copy it stops and names both",
        disk::two_disks,
    ),
    always(
        "install-unattended",
        75,
        "the ISO installs by itself as its config says, and the disk boots without it",
        install::unattended,
    ),
    always(
        "install-wizard",
        70,
        "the ISO installs by answers on the serial console, and the disk boots without it",
        install::wizard,
    ),
    always(
        "upgrade",
        125,
        "skerry upgrade moves to a signed release and refuses a damaged one; support, reset and rescue",
        upgrade::upgrade,
    ),
    always(
        "guest-agent",
        15,
        "the host of a virtual machine asks its guest agent for addresses, and for a clean end",
        buses::guest_agent,
    ),
    torture(
        "full-virtio-bios",
        35,
        "BIOS boots the image with the full kernel from a virtual disk to a login",
        buses::virtio_bios,
    ),
    torture(
        "full-virtio-uefi",
        35,
        "UEFI boots the image with the full kernel from a virtual disk to a login",
        buses::virtio_uefi,
    ),
    torture(
        "full-sata-bios",
        60,
        "BIOS boots the image with the full kernel from a SATA disk to a login",
        buses::sata_bios,
    ),
    torture(
        "full-sata-uefi",
        35,
        "UEFI boots the image with the full kernel from a SATA disk to a login",
        buses::sata_uefi,
    ),
    torture(
        "full-nvme-bios",
        60,
        "BIOS boots the image with the full kernel from an NVMe disk to a login",
        buses::nvme_bios,
    ),
    torture(
        "full-nvme-uefi",
        60,
        "UEFI boots the image with the full kernel from an NVMe disk to a login",
        buses::nvme_uefi,
    ),
    torture(
        "full-usb-bios",
        70,
        "BIOS boots the image with the full kernel from a USB stick to a login",
        buses::usb_bios,
    ),
    torture(
        "full-usb-uefi",
        70,
        "UEFI boots the image with the full kernel from a USB stick to a login",
        buses::usb_uefi,
    ),
    torture(
        "full-uas-bios",
        65,
        "BIOS boots the image with the full kernel from a USB disk that speaks UAS to a login",
        buses::uas_bios,
    ),
    torture(
        "full-sd-bios",
        50,
        "BIOS boots the image with the full kernel from an SD card to a login",
        buses::sd_bios,
    ),
    torture(
        "full-iso-bios-usb",
        35,
        "BIOS boots the ISO with the full kernel from a USB stick to a login in memory",
        iso::full_bios_usb,
    ),
    torture(
        "full-iso-uefi-usb",
        35,
        "UEFI boots the ISO with the full kernel from a USB stick to a login in memory",
        iso::full_uefi_usb,
    ),
    torture(
        "full-iso-bios-sata",
        35,
        "BIOS boots the ISO with the full kernel from a disc in a SATA drive to a login in memory",
        iso::full_bios_sata,
    ),
    torture(
        "full-iso-uefi-sata",
        35,
        "UEFI boots the ISO with the full kernel from a disc in a SATA drive to a login in memory",
        iso::full_uefi_sata,
    ),
    torture(
        "full-wifi",
        255,
        "radios without hardware and a real access point: WPA2, WPA3, open and hidden networks are joined, lost and joined again; a wrong \
         passphrase is named",
        wifi::joins,
    ),
    always(
        "slots",
        200,
        "a candidate proves itself; one that fails is left, remembered and not forgotten; a damaged boot state is repaired",
        slots::life,
    ),
    torture(
        "good-damaged",
        90,
        "a good slot whose root is damaged is left for the other one, by a trial",
        slots::good_is_damaged,
    ),
    torture(
        "slots-faults",
        480,
        "candidates that panic, restart, hang, fill the disk, lose their root or their network are left by themselves",
        slots::faults,
    ),
    torture(
        "slots-kubelet",
        300,
        "UEFI, the disk image, Kubernetes: Ready; a candidate whose kubelet is never healthy is left; Ready again",
        slots::kubelet,
    ),
    torture(
        "disk-ready-bios",
        150,
        "BIOS, the disk image, Kubernetes: Ready, and Ready again after a restart",
        disk::ready,
    ),
    always(
        "cuts",
        270,
        "40 power cuts of growth, upgrade, mark-good, rollback and reinstallation: the model's slot boots to its verified root",
        cuts::few,
    ),
    torture("cuts-many", 600, "the same with up to 40 cuts of each", cuts::many),
    torture(
        "cuts-log",
        150,
        "every write of a machine's life by QEMU's blklogwrites: at every cut something boots, and others find no fault",
        cuts_log::logged,
    ),
    torture(
        "cuts-real",
        1800,
        "QEMU killed at 60 random times of first boots and upgrades: always a login, of the old system or the new (N=, SEED=)",
        cuts_real::random,
    ),
    torture(
        "stick",
        120,
        "a stick configures an empty machine, stays in effect without it, and later ones are ignored unless trusted",
        media::stick,
    ),
    torture(
        "seed",
        40,
        "a cloud-init seed configures an empty machine: user-data, meta-data and network-config",
        media::seed,
    ),
    torture(
        "per-machine",
        70,
        "one stick for many machines: the file of this one's address counts; of two sticks none does",
        media::per_machine,
    ),
    torture(
        "grub-mixes",
        1700,
        "GRUB and the model agree on 200 mixes of torn sectors, on BIOS and UEFI",
        grub::mixes,
    ),
    always("power", 32, "reboot and poweroff from inside, and the power button", none::power),
    always(
        "verity-damage",
        12,
        "a damaged root block is an I/O error, never wrong bytes",
        root::damage,
    ),
    torture(
        "clock-unset",
        90,
        "a clock at 1970: never before the release was made, waits for the network's time, says so, and goes on",
        clock::unset,
    ),
    always("watchdog", 60, "a stopped PID 1 is reset by the hardware watchdog", none::watchdog),
    always(
        "last-good",
        20,
        "a bad edit boots the last good configuration, and says so",
        none::last_good,
    ),
    always(
        "pipe-as-config",
        20,
        "a pipe in the place of a configuration file does not hold up the boot, and is named",
        none::pipe_as_config,
    ),
    always(
        "disk-full",
        38,
        "a data disk filled to the last byte still boots to a login and says what is wrong",
        disks::full,
    ),
    always(
        "disk-read-only",
        10,
        "a data disk that cannot be written still boots to a login and says so",
        disks::read_only,
    ),
    always(
        "faults",
        70,
        "crash loops, deafness, orphans and a fork bomb: PID 1 stays up and says what is wrong",
        faults::faults,
    ),
    always(
        "broken-configs",
        75,
        "eight broken configurations come up to a login, with what was good in them",
        broken::logins,
    ),
    always("full-config", 115, "every k3OS key takes effect, and the node is Ready", node::full),
    torture(
        "second-boot",
        165,
        "after a power cut: same CA, state kept, pod back; DNS, a Service, containerd restarted",
        node::second_boot,
    ),
    torture(
        "farewell",
        350,
        "pods are told of a shutdown and end before it, bounded; a second order forces it; the Node says how its machine is",
        farewell::farewell,
    ),
    torture(
        "full-farewell",
        400,
        "the same on a node with Wi-Fi, where logind is on a real D-Bus",
        farewell::beside_wifi,
    ),
    always(
        "network-devices",
        18,
        "bond, VLAN, bridge, VRF, tables and rules, as netplan says them",
        network::devices,
    ),
    always(
        "network-firewall",
        24,
        "another machine reaches SSH and what is open, and nothing else that listens, but pods",
        firewall::ports,
    ),
    always(
        "network-trial",
        52,
        "a change of the network is undone by itself, unless it is confirmed; and by a power cut",
        firewall::trial,
    ),
    torture(
        "metadata",
        60,
        "a cloud's metadata at its real address configures an empty machine",
        network::metadata,
    ),
    always(
        "join",
        340,
        "a worker joins by two lines; pods of both nodes reach each other; each starts without the other",
        join::join,
    ),
    torture(
        "pods-vxlan",
        220,
        "pods of three nodes: two share a link, the third is reached through VXLAN; TCP and UDP",
        join::vxlan,
    ),
    torture(
        "pods-wireguard",
        200,
        "pods of three nodes reach each other encrypted, by keys that the nodes made; TCP and UDP",
        join::wireguard,
    ),
    torture(
        "pods-both",
        230,
        "pods and Services with IPv4 and IPv6, on nodes that have only IPv4 among themselves",
        join::both,
    ),
    torture(
        "renumbered",
        300,
        "a DHCP server gives a worker another address while it runs: the cluster is told, and its pods are reached",
        renumbered::worker,
    ),
    torture(
        "add-ons",
        290,
        "k3s's add-ons: a claim is bound and written, kubectl top, a LoadBalancer from outside, charts from three places",
        add_ons::add_ons,
    ),
    torture(
        "volumes",
        510,
        "NFS and iSCSI volumes in a pod, through a restart, a power cut, and servers that fall silent",
        volumes::volumes,
    ),
    torture(
        "one-image",
        420,
        "one image on three disks: by the files of their hardware addresses the first becomes the server, the others join it",
        one_image::three,
    ),
    torture(
        "join-refused",
        300,
        "a wrong token, a name that is taken, a server's name: refused, and told what to do",
        join::refused,
    ),
    torture(
        "servers",
        600,
        "three servers with etcd; the first is cut off, another loses its disk, and the API goes on",
        join::servers,
    ),
    torture(
        "datastore",
        250,
        "a snapshot and back, SQLite moved to etcd by --cluster-init, a snapshot of etcd and back",
        datastore::life,
    ),
    torture(
        "late",
        380,
        "workers with another cluster's token, with a clock of 1970, after a year in a drawer",
        late::late,
    ),
    torture(
        "servers-later",
        600,
        "two servers with etcd, one in a drawer while the other renews its certificates: both Ready, with what was written",
        late::servers,
    ),
    torture(
        "address-changed",
        200,
        "the machine's address changed: Ready, and the certificate is right",
        node::address_changed,
    ),
    torture(
        "renumbered-server",
        330,
        "a DHCP server gives the only server another address while it runs: Ready under it, its certificate right, its pods reached",
        renumbered::server,
    ),
    torture(
        "disk-full-node",
        120,
        "a full data disk of a node that was Ready: Ready again, and the datastore is written",
        disks::full_node,
    ),
    torture(
        "clock-later",
        400,
        "300 and 400 days later: certificates renewed, Ready",
        node::clock_later,
    ),
    torture("live", 135, "without a data disk: Ready, in memory", node::live),
    torture(
        "broken-to-ready",
        215,
        "two broken configurations come up to Ready",
        broken::clusters,
    ),
    torture(
        "distributions",
        100,
        "k3s (fetched over a bad line), k0s and edgecore by a stand-in that checks its surroundings against their contracts",
        distributions::stand_ins,
    ),
    torture(
        "kubelet",
        200,
        "the embedded kubelet joins a control plane that knows only kubeadm's ways, by kubeadm's command; a pod, a power cut",
        distributions::kubelet,
    ),
    torture(
        "cut-while-starting",
        900,
        "power cuts while Kubernetes starts for the first time: Ready in the end",
        node::cut_while_starting,
    ),
];

/// What the cases of one run share.
#[derive(Debug)]
pub struct Bench {
    /// QEMU, the release, the key.
    pub lab: Lab,
    /// The stand-in program of the fault tests.
    pub fake: PathBuf,
    /// The OCI archive with `skerry.local/hello:1`.
    pub hello: PathBuf,
    /// The data disk of a node that was Ready and then lost its power.
    ready: OnceLock<PathBuf>,
    /// The release with the full kernel, or why there is none.
    full: OnceLock<Result<PathBuf, String>>,
}

impl Bench {
    /// Over a lab.
    pub fn new(lab: Lab, hello: PathBuf, fake: PathBuf) -> Self {
        Self {
            lab,
            fake,
            hello,
            ready: OnceLock::new(),
            full: OnceLock::new(),
        }
    }
}

impl Bench {
    /// The folder of the release with the full kernel, or why there is none; made once if `SKERRY_FULL` names none.
    fn full(&self) -> Result<&Path, String> {
        let made = self
            .full
            .get_or_init(|| release::full(&self.lab.release).map_err(|e| format!("{e:#}")));
        made.as_deref().map_err(Clone::clone)
    }
}

/// Runs one case; its machines' console logs are in its folder whatever comes.
pub fn run(case: &Case, bench: &Bench) -> Checks {
    let mut checks = Checks::default();
    if let Err(e) = (case.run)(bench, &mut checks) {
        checks.failed.push(format!("{e:#}"));
    }
    checks
}

/// Runs `body` over a machine; if anything was found wrong, the services' logs are kept.
fn with_machine<T>(
    bench: &Bench,
    checks: &mut Checks,
    mut machine: Machine,
    body: impl FnOnce(&mut Machine, &mut Checks) -> Result<T>,
) -> Result<T> {
    let before = checks.failed.len();
    let done = body(&mut machine, checks);
    if done.is_err() || checks.failed.len() > before {
        machine.keep_logs(&bench.lab);
    }
    done
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_whole_fits_the_budget() {
        let mut names: Vec<_> = TABLE.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(ALONE.iter().all(|name| TABLE.iter().any(|c| c.name == *name)));
        // Two at a time, but for those that are alone.
        let seconds = |c: &Case| if c.is_alone() { c.seconds } else { c.seconds.div_ceil(2) };
        let sum: u32 = TABLE.iter().filter(|c| c.when == When::Always).map(seconds).sum();
        assert!(sum <= 21 * 60, "the machine tests take {sum} s; make one of them torture");
    }
}
