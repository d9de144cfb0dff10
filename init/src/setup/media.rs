//! Configuration that somebody plugs in: a stick labelled `SKERRYCFG`, a cloud-init seed labelled `cidata`, or a cloud's config
//! drive labelled `config-2`.
//!
//! ```text
//! candidates (sysfs) ──▶ `setup media` in a process of its own ──▶ Report ──▶ decide (pure) ──▶ counted: copied to data, and a source
//!                         labels; waits; mounts read-only, reads          └─▶ ignored: why, and how to trust it
//! ```
//!
//! A stranger's stick must neither be root on a machine that is configured, nor hold up the boot: what it is read by can be given up.

use crate::booted::Booted;
use crate::esp;
use crate::folder::{Folder, Place};
use crate::root::Root;
use crate::store;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use skerry_sys::block::{self, Device};
use skerry_sys::module::{self, Index};
use skerry_sys::mount::{self, MountFlags};
use skerry_sys::uevent::{Listener, News};
use skerry_sys::volume::{self, Kind};
use skerry_sys::{file, process};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Copies of what was taken, a folder a label.
pub const COPIES: &str = "/var/lib/skerry/media";
/// What was read in this boot, before it is decided upon.
const READ: &str = "/run/skerry/media";
/// Mounted there while it is read.
const AT: &str = "/run/skerry/stick";
const SETUP: &str = "/usr/lib/skerry/setup";
/// The longest wait for a stick that nobody promised.
const WAIT: Duration = Duration::from_secs(2);
/// So long nothing must have happened; longer where devices come by themselves, some time after their driver.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_ON_SLOW_BUSES: Duration = Duration::from_millis(1500);
/// Then it is given up. Planning as a whole has 20 s.
const LIMIT: Duration = Duration::from_secs(12);

/// The labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// A cloud-init seed.
    Cidata,
    /// A cloud's config drive.
    ConfigDrive,
    /// A stick of ours.
    Skerrycfg,
}

impl Label {
    /// The weaker one first.
    pub const ALL: [Self; 3] = [Self::Cidata, Self::ConfigDrive, Self::Skerrycfg];

    /// As it is written on the volume; case does not count.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cidata => "cidata",
            Self::ConfigDrive => "config-2",
            Self::Skerrycfg => "SKERRYCFG",
        }
    }

    /// What kind of place it is.
    pub fn place(self) -> Place {
        match self {
            Self::Cidata | Self::ConfigDrive => Place::Seed,
            Self::Skerrycfg => Place::Stick,
        }
    }

    /// Where the copy is kept.
    pub fn copy(self) -> String {
        format!("{COPIES}/{}", self.text().to_ascii_lowercase())
    }

    fn read_at(self) -> String {
        format!("{READ}/{}", self.text().to_ascii_lowercase())
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.text().eq_ignore_ascii_case(text))
    }
}

/// A label that some volume has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which.
    pub label: Label,
    /// The volumes that have it: `/dev/sda1`.
    pub devices: Vec<String>,
    /// Why it could not be read, if so.
    pub error: Option<String>,
}

/// What is known when a stick is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Data holds no configuration of the owner's, and no boot was good.
    pub is_first: bool,
    /// The data partition could not be used: nobody knows whether this machine is configured.
    pub is_degraded: bool,
    /// `skerry.trust_media: true`, by a source that is no stick.
    pub is_trusted: bool,
}

/// Whether sticks count now; if not, why.
pub fn may_count(state: State) -> Result<&'static str, &'static str> {
    match state {
        State { is_trusted: true, .. } => Ok("skerry.trust_media says so, or data_sources"),
        State { is_degraded: true, .. } => Err("the data partition cannot be used, so it is not known whether this machine is configured"),
        State { is_first: true, .. } => Ok("this machine was not configured before"),
        State { .. } => Err("this machine is configured; to let it count: skerry.trust_media: true"),
    }
}

/// Two volumes with one label are none: to choose would be to guess.
pub fn ambiguous(seen: &Seen) -> Option<String> {
    (seen.devices.len() > 1).then(|| {
        let devices = seen.devices.join(" and ");
        format!(
            "{devices} are all labelled {}, and none of them counts; take away all but one",
            seen.label.text()
        )
    })
}

/// Devices on which a stick's file system may lie: not the disk that was booted, nor the data, nor what is made of others.
fn candidates(devices: Vec<Device>, booted: Option<&str>, ours: &[String]) -> Vec<Device> {
    let is_made = |d: &Device| ["loop", "ram", "zram", "dm-", "md", "nbd"].iter().any(|p| d.name.starts_with(p));
    let is_ours = |d: &Device| {
        let on = |name: &str| d.name == name || d.disk.as_deref() == Some(name);
        booted.is_some_and(on) || ours.contains(&d.name)
    };
    devices.into_iter().filter(|d| d.bytes > 0 && !is_made(d) && !is_ours(d)).collect()
}

fn look_for_candidates() -> Result<Vec<Device>> {
    let booted = Booted::look().context("looking for the disk that was booted")?;
    let below = block::below_root().ok().flatten().map(|d| d.name);
    let storage: serde_json::Value = file::read_text("/run/skerry/storage.json", 1 << 16)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let data = storage.get("device").and_then(|d| d.as_str()).and_then(|d| d.strip_prefix("/dev/"));
    let ours: Vec<String> = below.into_iter().chain(data.map(str::to_owned)).collect();
    Ok(candidates(block::devices()?, booted.as_ref().map(|b| b.disk.as_str()), &ours))
}

/// Asks for labels, and with `read` for what lies there, in a process of its own. With `wait`, sticks that are still on their way are
/// waited for.
pub fn look(wait: bool, read: bool) -> Result<Vec<Seen>> {
    if !wait && look_for_candidates()?.is_empty() {
        return Ok(vec![]);
    }
    let words = [("--wait", wait), ("--read", read)];
    let mut child = Command::new(SETUP)
        .arg("media")
        .args(words.iter().filter(|(_, on)| *on).map(|(word, _)| *word))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("looking for media: starting {SETUP}"))?;
    let pid = child.id();
    let out = child.stdout.take().context("looking for media: no pipe")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let text = std::io::read_to_string(std::io::Read::take(out, 1 << 16));
        sender.send((text, child.wait()))
    });
    match receiver.recv_timeout(LIMIT) {
        Ok((Ok(text), Ok(status))) if status.success() => serde_json::from_str(&text).context("looking for media: reading the report"),
        Ok(_) => bail!("looking for media: it ended without a report"),
        Err(_) => {
            // In the kernel's hands it may live on; it has written nothing that counts.
            let _ = process::kill(pid, 9);
            bail!(
                "looking for media takes longer than {} s, and is given up; is a stick broken?",
                LIMIT.as_secs()
            );
        }
    }
}

/// `setup media [--wait] [--read]`: the report goes to standard output.
pub fn run(args: &[String]) -> Result<()> {
    let has = |word: &str| args.iter().any(|a| a == word);
    let found = if has("--wait") {
        settle()?
    } else {
        labelled(&look_for_candidates()?)
    };
    let mut seen = by_label(&found);
    if has("--read") {
        for one in seen.iter_mut().filter(|s| s.devices.len() == 1) {
            one.error = take(one).err().map(|why| crate::said::said(&why));
        }
    }
    let report: Vec<&Seen> = seen.iter().collect();
    println!("{}", serde_json::to_string(&report).context("writing the report")?);
    Ok(())
}

fn labelled(devices: &[Device]) -> Vec<(Label, Device)> {
    let label = |d: &Device| match volume::on(&d.path) {
        Ok(found) => Label::of(&found?.label),
        Err(why) => {
            eprintln!("{why}");
            None
        }
    };
    devices.iter().filter_map(|d| Some((label(d)?, d.clone()))).collect()
}

/// One row a label. A partition that shows the file system of its whole disk (a hybrid ISO) is the same volume.
fn by_label(found: &[(Label, Device)]) -> Vec<Seen> {
    let of = |label: Label| -> Vec<String> {
        let here: Vec<&Device> = found.iter().filter(|(l, _)| *l == label).map(|(_, d)| d).collect();
        let is_part = |d: &&&Device| here.iter().any(|whole| d.disk.as_ref() == Some(&whole.name));
        let volumes = here.iter().filter(|d| !is_part(d));
        volumes.map(|d| d.path.display().to_string()).collect()
    };
    let rows = Label::ALL.map(|label| Seen {
        label,
        devices: of(label),
        error: None,
    });
    rows.into_iter().filter(|s| !s.devices.is_empty()).collect()
}

/// Loads the drivers of what disks and sticks hang on, and listens until there is a stick, or nothing more is to be expected.
fn settle() -> Result<Vec<(Label, Device)>> {
    let listener = Listener::open()?;
    let found = labelled(&look_for_candidates()?);
    if !found.is_empty() {
        return Ok(found);
    }
    let index = Index::of_running_kernel().ok();
    let load = |alias: &str| {
        for name in index.iter().flat_map(|i| i.lookup(alias).into_iter().map(move |name| (i, name))) {
            // A driver that does not load brings no stick; cold-plug says so later, with its reason.
            let _ = module::load(name.0, name.1, "");
        }
    };
    module::present_aliases().iter().filter(|a| carries_disks(a)).for_each(|a| load(a));
    let (start, quiet) = (Instant::now(), quiet_time());
    loop {
        while let Some(news) = listener.next()? {
            if let News::Event(event) = news {
                event.modalias.iter().filter(|a| carries_disks(a)).for_each(|a| load(a));
            }
        }
        let found = labelled(&look_for_candidates()?);
        let left = WAIT.saturating_sub(start.elapsed());
        if !found.is_empty() || left.is_zero() || !listener.wait(quiet.min(left))? {
            return Ok(found);
        }
    }
}

fn quiet_time() -> Duration {
    let has_entries = |dir: &str| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    let slow = ["/sys/bus/usb/devices", "/sys/class/scsi_host", "/sys/class/mmc_host"];
    if slow.into_iter().any(has_entries) {
        QUIET_ON_SLOW_BUSES
    } else {
        QUIET
    }
}

/// Storage, USB and SD controllers of PCI; virtio's disks; USB storage and hubs; cards; SCSI; and what a device tree calls so.
fn carries_disks(alias: &str) -> bool {
    let pci = alias.starts_with("pci:") && ["bc01sc", "bc0Csc03", "bc08sc05"].iter().any(|class| alias.contains(class));
    let virtio = alias.starts_with("virtio:d00000002v") || alias.starts_with("virtio:d00000008v");
    let usb = alias.starts_with("usb:") && ["ic08", "dc09", "ic09"].iter().any(|class| alias.contains(class));
    let tree = alias.starts_with("of:") && ["usb", "mmc", "sdhc", "pcie"].iter().any(|word| alias.contains(word));
    pci || virtio || usb || tree || alias.starts_with("mmc:") || alias.starts_with("scsi:")
}

/// Mounts a volume, read-only, and leaves what it holds below [`READ`].
fn take(seen: &Seen) -> Result<()> {
    let Some(device) = seen.devices.first().map(Path::new) else {
        return Ok(());
    };
    let kind = volume::on(device)?.context("the label is gone")?.kind;
    let (drivers, options): (&[&str], &str) = match kind {
        Kind::Fat => (&esp::DRIVERS, esp::OPTIONS),
        Kind::Iso => (&["isofs"], "mode=0400,dmode=0500"),
        // A journal that is not in order stays so: nothing is written to what is not ours.
        Kind::Ext => (&["ext4"], "noload"),
    };
    esp::load_drivers(drivers);
    file::make_dir(AT, 0o700)?;
    mount::mount(device, AT, kind.fstype(), esp::FLAGS | MountFlags::RDONLY | no_links(), options)?;
    let folder = Folder::read(Path::new(AT), seen.label.place());
    mount::unmount_lazy(AT)?;
    for (path, why) in &folder.unread {
        eprintln!("reading {path} of {}: {why}; this boot goes on without it", seen.label.text());
    }
    if folder.files.is_empty() {
        bail!(
            "reading {}: it holds {}",
            device.display(),
            match seen.label {
                Label::Cidata => "none of user-data, meta-data and network-config",
                Label::ConfigDrive => "neither openstack/latest/meta_data.json nor openstack/latest/user_data",
                Label::Skerrycfg => "neither config.yaml nor config.d",
            }
        );
    }
    write_folder(&Root::system(), &seen.label.read_at(), &folder)
}

/// `MS_NOSYMFOLLOW` (mount(2)): a link on a stick must not lead to the machine's own files.
fn no_links() -> MountFlags {
    MountFlags::from_bits_retain(256)
}

/// What [`take`] has left of a label; none if it has left nothing.
pub fn taken(root: &Root, label: Label) -> Option<Folder> {
    let at = root.at(label.read_at());
    at.is_dir().then(|| Folder::read(&at, label.place()))
}

/// The copy of what was taken in an earlier boot; none if there is none.
pub fn copied(root: &Root, label: Label) -> Option<Folder> {
    let at = root.at(label.copy());
    at.is_dir().then(|| Folder::read(&at, label.place()))
}

/// Keeps a copy for boots without the stick: after a power cut the old one is there or the new one, whole.
pub fn keep(root: &Root, label: Label, folder: &Folder) -> Result<()> {
    if copied(root, label).is_some_and(|there| there.files == folder.files) {
        return Ok(());
    }
    root.dir(COPIES, 0o700)?;
    write_folder(root, &label.copy(), folder)
}

fn write_folder(root: &Root, dir: &str, folder: &Folder) -> Result<()> {
    let dir = root.at(dir);
    let new = store::beside(&dir, "new");
    if new.exists() {
        std::fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
    }
    file::make_dir(&new, 0o700)?;
    for (path, bytes) in &folder.files {
        let at = new.join(path);
        if let Some(parent) = at.parent() {
            file::make_dir(parent, 0o700)?;
        }
        file::replace(&at, bytes, 0o600)?;
    }
    store::swap(&new, &dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    fn device(name: &str, disk: Option<&str>) -> Device {
        Device {
            name: name.into(),
            path: Path::new("/dev").join(name),
            bytes: 1,
            is_read_only: false,
            partition_label: None,
            partition: disk.map(|_| 1),
            guid: None,
            disk: disk.map(str::to_owned),
        }
    }

    #[test]
    fn when_a_stick_counts() {
        let state = |is_first, is_degraded, is_trusted| State {
            is_first,
            is_degraded,
            is_trusted,
        };
        for first in [false, true] {
            for degraded in [false, true] {
                assert!(may_count(state(first, degraded, true)).is_ok());
                assert_eq!(may_count(state(first, degraded, false)).is_ok(), first && !degraded);
            }
        }
        assert!(may_count(state(false, false, false)).unwrap_err().contains("trust_media: true"));
    }

    #[test]
    fn two_volumes_with_one_label_are_none_and_a_hybrid_is_one() {
        let found = vec![
            (Label::Skerrycfg, device("sda1", Some("sda"))),
            (Label::Cidata, device("sr0", None)),
            (Label::Skerrycfg, device("sdb", None)),
            (Label::Skerrycfg, device("sdb1", Some("sdb"))),
        ];
        let seen = by_label(&found);
        assert_eq!(seen.iter().map(|s| s.label).collect::<Vec<_>>(), [Label::Cidata, Label::Skerrycfg]);
        assert_eq!(seen[0].devices, ["/dev/sr0"]);
        assert_eq!(ambiguous(&seen[0]), None);
        let said = ambiguous(&seen[1]).unwrap();
        assert!(
            said.starts_with("/dev/sda1 and /dev/sdb are all labelled SKERRYCFG, and none"),
            "{said}"
        );
    }

    #[test]
    fn the_machines_own_disks_are_no_sticks() {
        let mut empty = device("sr0", None);
        empty.bytes = 0;
        let all = vec![
            device("vda", None),
            device("vda1", Some("vda")),
            device("vdb", None),
            device("loop0", None),
            device("dm-0", None),
            empty,
            device("sda", None),
            device("sda1", Some("sda")),
        ];
        let names: Vec<String> = candidates(all, Some("vda"), &["vdb".to_owned()])
            .into_iter()
            .map(|d| d.name)
            .collect();
        assert_eq!(names, ["sda", "sda1"]);
    }

    #[test]
    fn labels_are_compared_without_case() {
        for (text, expected) in [
            ("cidata", Some(Label::Cidata)),
            ("CIDATA", Some(Label::Cidata)),
            ("CONFIG-2", Some(Label::ConfigDrive)),
            ("skerrycfg", Some(Label::Skerrycfg)),
            ("SKERRYCFG2", None),
            ("", None),
        ] {
            assert_eq!(Label::of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_was_taken_stays_and_is_closed() {
        use std::os::unix::fs::PermissionsExt;
        let root = scratch("media");
        assert_eq!(copied(&root, Label::Skerrycfg), None);
        let folder = |text: &str| Folder {
            files: vec![
                ("config.yaml".into(), text.into()),
                ("config.d/by-mac/525400000001.yaml".into(), b"x".to_vec()),
            ],
            unread: vec![],
        };
        for text in ["a", "b", "b"] {
            keep(&root, Label::Skerrycfg, &folder(text)).unwrap();
            assert_eq!(copied(&root, Label::Skerrycfg), Some(folder(text)));
        }
        for (path, mode) in [("", 0o700), ("/skerrycfg", 0o700), ("/skerrycfg/config.yaml", 0o600)] {
            let found = std::fs::metadata(root.at(format!("{COPIES}{path}"))).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{path}");
        }
        assert_eq!(std::fs::read_dir(root.at(COPIES)).unwrap().count(), 1);
    }

    #[test]
    fn drivers_of_disks_only() {
        for (alias, expected) in [
            ("pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", true),
            ("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true),
            ("pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", false),
            ("virtio:d00000002v00001AF4", true),
            ("virtio:d00000001v00001AF4", false),
            ("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00", true),
            ("usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00", false),
            ("scsi:t-0x05", true),
            ("cpu:type:x86", false),
        ] {
            assert_eq!(carries_disks(alias), expected, "{alias}");
        }
    }
}
