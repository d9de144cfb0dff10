//! One machine: started, watched, asked, cut off.
//!
//! ```text
//! Lab (tools, release, key) + Request ──start──▶ Machine ──▶ serial lines, SSH output, QEMU's events
//! ```
//!
//! QEMU's console is a socket on its standard output, its control line (QMP) one on its standard input: nothing to clean up, and no
//! name that two runs could share. The machine is killed when its [`Machine`] is dropped, when its time is over, and when the process
//! that started it dies.

pub mod accel;
pub mod disk;
pub mod qmp;
pub mod release;
pub mod serial;
pub mod ssh;
mod switch;
pub mod tools;
pub mod wire;

use accel::Accel;
use anyhow::{Context, Result, bail};
use qmp::Qmp;
use release::Release;
use serde_json::json;
use serial::{Found, Serial};
use ssh::{Key, Output, Ssh};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tools::Tools;

/// The hardware address of the first network card.
pub const MAC: &str = "52:54:00:53:4b:01";

/// A limit for a slow or busy computer: `SKERRY_PATIENCE=3` makes each three times as long.
pub fn patient(within: Duration) -> Duration {
    let factor = std::env::var("SKERRY_PATIENCE").ok().and_then(|f| f.parse().ok());
    within * factor.filter(|f| (1..=100).contains(f)).unwrap_or(1)
}

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF.
    Uefi,
}

impl Firmware {
    /// Reads `bios` or `uefi`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "bios" => Some(Self::Bios),
            "uefi" => Some(Self::Uefi),
            _ => None,
        }
    }
}

/// What a disk that firmware boots hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio, as in most clouds.
    Virtio,
    /// SATA, by AHCI.
    Sata,
    /// `NVMe`.
    Nvme,
    /// USB 3, as a stick.
    Usb,
    /// USB 2, as a disk in a case that speaks UAS. `SeaBIOS` has no streams, which UAS takes on USB 3; EDK II has no UAS at all.
    Uas,
    /// An SD card in a reader on PCI, which only `SeaBIOS` boots from: Debian's OVMF is built without it.
    Sd,
}

impl Bus {
    /// QEMU's devices for it; the last of them is the disk.
    fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Virtio => &["virtio-blk-pci,bootindex=1"],
            Self::Sata => &["ich9-ahci,id=sata", "ide-hd,bus=sata.0,bootindex=1"],
            Self::Nvme => &["nvme,serial=skerry,bootindex=1"],
            Self::Usb => &[
                "qemu-xhci,id=usb",
                "usb-kbd,bus=usb.0",
                "usb-storage,bus=usb.0,removable=on,bootindex=1",
            ],
            Self::Uas => &["usb-ehci,id=usb", "usb-uas,bus=usb.0,id=case", "scsi-hd,bus=case.0,bootindex=1"],
            Self::Sd => &["sdhci-pci", "sd-card"],
        }
    }
}

/// How the machine sees an ISO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// As a disc in a SCSI drive.
    Cd,
    /// As a stick: on USB where the release's kernel knows USB, else a SCSI disk (Debian's cloud kernel has no USB).
    Stick,
    /// As a disc in a SATA drive: for releases with the full kernel.
    Sata,
    /// As a stick on USB: the same.
    Usb,
}

/// What every machine of a run shares.
#[derive(Debug, Clone)]
pub struct Lab {
    /// Where programs come from.
    pub tools: Tools,
    /// The release under test.
    pub release: Release,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// The key that may log in.
    pub key: Key,
    /// Folders of machines, one each, by name.
    pub artifacts: PathBuf,
    scratch: Arc<Scratch>,
}

/// A folder of temporary files, which goes with the last that uses it.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // if it cannot be removed, it is one of many temporary files
    }
}

/// One machine to start.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Request {
    /// Its name, and that of its folder.
    pub name: String,
    /// Memory, in MiB.
    pub memory: u32,
    /// Processors.
    pub processors: u8,
    /// The release to boot, if not the one under test: the one with the full kernel.
    pub release: Option<Release>,
    /// The initramfs, if not the release's.
    pub initrd: Option<PathBuf>,
    /// The root image, if not the release's.
    pub root: Option<PathBuf>,
    /// The root hash to give, if not the release's.
    pub roothash: Option<String>,
    /// The data disk; none: a live boot.
    pub data: Option<PathBuf>,
    /// The data disk cannot be written.
    pub data_is_read_only: bool,
    /// Further disks, which can only be read: sticks, for instance.
    pub more_disks: Vec<PathBuf>,
    /// A disk that firmware boots, in the place of kernel, initramfs, root and data.
    pub disk: Option<(Firmware, PathBuf)>,
    /// What that disk hangs on.
    pub bus: Bus,
    /// An empty file that takes a log of all writes onto it: see [`crate::writelog`].
    pub disk_log: Option<PathBuf>,
    /// What the machine writes onto `disk` stays there when it ends.
    pub disk_is_kept: bool,
    /// An ISO that firmware boots before anything else, in the place of kernel, initramfs and root. A `disk` may be there too.
    pub iso: Option<(Firmware, Drive, PathBuf)>,
    /// The network card: the name of a PCI device of QEMU.
    pub nic: &'static str,
    /// Its place on a network of several machines, instead of a network of its own.
    pub plug: Option<wire::Plug>,
    /// Addresses with a port on its own network, each with a program that is started for every connection and is its other end.
    pub served: Vec<(String, PathBuf)>,
    /// A port for the guest agent: see [`Machine::agent`].
    pub agent: bool,
    /// More words for the kernel command line.
    pub words: Vec<String>,
    /// The hardware clock, `2027-09-17T10:00:00`; none: now.
    pub clock: Option<String>,
    /// The first three numbers of the network's addresses.
    pub network: String,
    /// A restart starts the machine again instead of ending it.
    pub restarts: bool,
    /// It is killed after this.
    pub limit: Duration,
}

impl Request {
    /// A machine with the defaults: 1 GiB, no data disk, `10.0.2.0/24`, ended by a restart, ten minutes.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            memory: 1024,
            processors: 2,
            release: None,
            initrd: None,
            root: None,
            roothash: None,
            data: None,
            data_is_read_only: false,
            more_disks: vec![],
            disk: None,
            bus: Bus::Virtio,
            disk_log: None,
            disk_is_kept: true,
            iso: None,
            nic: "virtio-net-pci",
            plug: None,
            served: vec![],
            agent: false,
            words: vec![],
            clock: None,
            network: "10.0.2".to_owned(),
            restarts: false,
            limit: Duration::from_secs(600),
        }
    }
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    /// Its console.
    pub serial: Serial,
    /// QEMU's control line.
    pub qmp: Qmp,
    /// Its folder: console log and disks.
    pub dir: PathBuf,
    /// Its SSH port on 127.0.0.1.
    pub ssh_port: u16,
    /// Its API server's port on 127.0.0.1.
    pub api_port: u16,
    keyboard: UnixStream,
    agent: PathBuf,
    child: Arc<Mutex<Child>>,
    scratch: PathBuf,
    ssh: Option<Ssh>,
    over: Sender<()>,
}

impl Lab {
    /// Finds all that is needed.
    pub fn open() -> Result<Self> {
        Self::with(Release::read()?)
    }

    /// The same over a given release.
    pub fn with(release: Release) -> Result<Self> {
        let tools = Tools::find()?;
        let scratch = std::env::temp_dir().join(format!("skerry-{}", std::process::id()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&scratch)
            .with_context(|| format!("creating {}", scratch.display()))?;
        let accel = Accel::find(&tools, &release, &scratch)?;
        let key = Key::make(&tools, &scratch, "key")?;
        Ok(Self {
            tools,
            release,
            accel,
            key,
            artifacts: release::target().join("machine"),
            scratch: Arc::new(Scratch(scratch)),
        })
    }

    /// The same, with its machines' folders in this one.
    #[must_use]
    pub fn within(&self, folder: &str) -> Self {
        Self {
            artifacts: self.artifacts.join(folder),
            ..self.clone()
        }
    }

    /// The folder of a machine, made if it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.artifacts.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    /// Makes a data disk in the folder of machine `name`.
    pub fn data_disk(&self, name: &str, seed: &disk::Seed, mebibytes: u32) -> Result<PathBuf> {
        let path = self.folder(name)?.join("data.img");
        seed.make(&self.tools, &path, mebibytes)?;
        Ok(path)
    }

    /// Starts a machine.
    pub fn start(&self, request: &Request) -> Result<Machine> {
        let dir = self.folder(&request.name)?;
        let (console, qemu_console) = UnixStream::pair().context("making a console line")?;
        let (control, qemu_control) = UnixStream::pair().context("making a control line")?;
        let mut command = self.tools.bound(&self.command(request)?);
        let log = dir.join("qemu.log");
        command.stdin(OwnedFd::from(qemu_control)).stdout(OwnedFd::from(qemu_console));
        command.stderr(File::create(&log).with_context(|| format!("creating {}", log.display()))?);
        let started = Instant::now();
        let child = Arc::new(Mutex::new(command.spawn().context("starting QEMU")?));
        drop(command); // and with it our copies of QEMU's ends
        let keyboard = console.try_clone().context("copying the console line")?;
        let serial = Serial::read(console, &dir.join("serial.log"), started)?;
        let over = limit(child.clone(), patient(request.limit));
        let qemu_said = || format!("starting QEMU: {}", fs::read_to_string(&log).unwrap_or_default().trim());
        let mut qmp = Qmp::open(control).with_context(qemu_said)?;
        let (ssh_port, api_port) = if let Some(plug) = &request.plug {
            (plug.ssh_port, plug.api_port)
        } else {
            let table = qmp.monitor("info usernet")?;
            let port = |guest| forwarded(&table, guest).with_context(|| format!("reading the forwarded ports of {table:?}"));
            (port(22)?, port(6443)?)
        };
        Ok(Machine {
            serial,
            qmp,
            dir,
            ssh_port,
            api_port,
            keyboard,
            agent: agent(&self.scratch.0, &request.name),
            child,
            scratch: self.scratch.0.clone(),
            ssh: None,
            over,
        })
    }

    fn command(&self, request: &Request) -> Result<std::process::Command> {
        let drive = |id: &str, path: &Path, read_only: bool| {
            let path = path.display().to_string().replace(',', ",,");
            let read_only = if read_only { "on" } else { "off" };
            [
                "-drive".to_owned(),
                format!("if=none,id={id},format=raw,readonly={read_only},file={path}"),
                "-device".into(),
                format!("virtio-blk-pci,drive={id}"),
            ]
        };
        let more: Vec<String> = (0..)
            .zip(&request.more_disks)
            .flat_map(|(n, path)| drive(&format!("more{n}"), path, true))
            .collect();
        let mut command = self.tools.qemu()?;
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,sata=off"])
            .args(["-smp", &request.processors.to_string()])
            .args(self.accel.arguments());
        command.args(["-m", &request.memory.to_string()]);
        command.args(["-chardev", "socket,id=control,fd=0", "-mon", "chardev=control,mode=control"]);
        command.args(["-chardev", "socket,id=console,fd=1", "-serial", "chardev:console"]);
        command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        let (way, mac) = match &request.plug {
            Some(plug) => (plug.words(), plug.mac.as_str()),
            None => (own_network(request), MAC),
        };
        command.args(["-netdev", &way]);
        command.arg("-device").arg(format!("{},netdev=net,mac={mac},romfile=", request.nic));
        if request.agent {
            // QEMU tells of a port (VSERPORT_CHANGE) only if it has a name.
            let path = agent(&self.scratch.0, &request.name).display().to_string().replace(',', ",,");
            let port = "virtserialport,id=agent-port,chardev=agent,name=org.qemu.guest_agent.0";
            command.args(["-chardev", &format!("socket,id=agent,server=on,wait=off,path={path}")]);
            command.args(["-device", "virtio-serial-pci", "-device", port]);
        }
        if let Some(clock) = &request.clock {
            command.args(["-rtc", &format!("base={clock}")]);
        }
        if !request.restarts {
            command.arg("-no-reboot");
        }
        let booted = request.iso.as_ref().map(|(firmware, _, path)| (firmware, path));
        let booted = booted.or(request.disk.as_ref().map(|(firmware, path)| (firmware, path)));
        if let Some((firmware, path)) = booted {
            if *firmware == Firmware::Uefi {
                self.tools.uefi(&mut command, &path.with_extension("vars"))?;
            }
            if let Some((_, kind, iso)) = &request.iso {
                command.args(self.medium(*kind, iso));
            }
            if let Some((_, disk)) = &request.disk {
                let mut words = drive("disk", disk, false);
                if let (false, Some(word)) = (request.disk_is_kept, words.get_mut(1)) {
                    word.push_str(",snapshot=on");
                }
                if let (Some(log), Some(word)) = (&request.disk_log, words.get_mut(1)) {
                    let [file, log] = [disk, log].map(|path| path.display().to_string().replace(',', ",,"));
                    *word = format!(
                        "if=none,id=disk,driver=blklogwrites,log.driver=file,log.filename={log},\
                         file.driver=raw,file.file.driver=file,file.file.filename={file}"
                    );
                }
                command.args(words.get(..2).unwrap_or_default());
                if let Some((device, before)) = request.bus.devices().split_last() {
                    command.args(before.iter().flat_map(|device| ["-device", device]));
                    command.arg("-device").arg(format!("{device},drive=disk"));
                }
            }
            if let Some(data) = &request.data {
                command.args(drive("data", data, request.data_is_read_only));
            }
            command.args(more);
            return Ok(command);
        }
        let release = request.release.as_ref().unwrap_or(&self.release);
        command.arg("-kernel").arg(release.kernel());
        command
            .arg("-initrd")
            .arg(request.initrd.clone().unwrap_or_else(|| release.initrd()));
        command.args(drive("root", request.root.as_deref().unwrap_or(&release.root()), true));
        if let Some(data) = &request.data {
            command.args(drive("data", data, request.data_is_read_only));
        }
        command.args(more);
        let roothash = request.roothash.clone().map_or_else(|| release.roothash(), Ok)?;
        let mut words = format!(
            "console=ttyS0 skerry.root=/dev/vda skerry.roothash={roothash} skerry.hashoff={} panic=5",
            release.hashoff()?
        );
        words.push_str(self.accel.kernel_words());
        for word in &request.words {
            words.push(' ');
            words.push_str(word);
        }
        command.arg("-append").arg(words);
        Ok(command)
    }
}

impl Lab {
    /// QEMU's words for an ISO that is booted first.
    fn medium(&self, kind: Drive, iso: &Path) -> Vec<String> {
        let path = iso.display().to_string().replace(',', ",,");
        let has_usb = self.release.value(&["kernel"]).is_none_or(|kernel| !kernel.contains("cloud"));
        let (bus, device) = match kind {
            Drive::Cd => ("virtio-scsi-pci", "scsi-cd"),
            Drive::Sata => ("ich9-ahci,id=sata", "ide-cd,bus=sata.0"),
            Drive::Usb => ("qemu-xhci", "usb-storage,removable=on"),
            Drive::Stick if has_usb => ("qemu-xhci", "usb-storage,removable=on"),
            Drive::Stick => ("virtio-scsi-pci", "scsi-hd,removable=on"),
        };
        [
            "-drive",
            &format!("if=none,id=medium,format=raw,readonly=on,file={path}"),
            "-device",
            bus,
            "-device",
            &format!("{device},drive=medium,bootindex=0"),
        ]
        .map(str::to_owned)
        .into()
    }
}

/// Kills the machine when its time is over, unless it ended before.
fn limit(child: Arc<Mutex<Child>>, limit: Duration) -> Sender<()> {
    let (over, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill(); // it may end by itself just now
        }
    });
    over
}

/// A network with nobody else, whose router is QEMU: the machine's ports 22 and 6443 are open on 127.0.0.1.
fn own_network(request: &Request) -> String {
    let net = &request.network;
    let mut user = format!("user,id=net,net={net}.0/24,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:6443");
    for (address, program) in &request.served {
        let _ = write!(user, ",guestfwd=tcp:{address}-cmd:{}", program.display()); // a string takes everything
    }
    user
}

/// The host's port that leads to `guest` in the table that QEMU prints.
fn forwarded(table: &str, guest: u16) -> Option<u16> {
    let lines = table.lines().filter(|l| l.contains("HOST_FORWARD"));
    let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = lines.map(words).find(|w| w.get(5) == Some(&guest.to_string()))?;
    line.get(3)?.parse().ok()
}

impl Machine {
    /// A further port of the guest, from now on: this computer's port that leads to it.
    pub fn forward(&mut self, guest: u16) -> Result<u16> {
        let said = self.qmp.monitor(&format!("hostfwd_add tcp:127.0.0.1:0-:{guest}"))?;
        let table = self.qmp.monitor("info usernet")?;
        forwarded(&table, guest).with_context(|| format!("forwarding port {guest}: {said} {table:?}"))
    }

    /// Waits for words on the console, from the machine's start on.
    pub fn wait(&self, words: &str, within: Duration) -> Result<Found> {
        self.serial.wait_any(&[words], 0, within)
    }

    /// The login of user `skerry`, opened if it is not open.
    pub fn ssh(&mut self, lab: &Lab) -> Result<&Ssh> {
        if self.ssh.is_none() {
            self.ssh = Some(self.login(lab, "skerry", Duration::from_secs(90))?);
        }
        self.ssh.as_ref().context("logging in by SSH")
    }

    /// A login of any user.
    pub fn login(&self, lab: &Lab, user: &str, within: Duration) -> Result<Ssh> {
        Ssh::login(&lab.tools, &self.scratch, self.ssh_port, user, &lab.key, &self.serial, within)
    }

    /// Forgets the open login: the machine was restarted.
    pub fn forget_login(&mut self) {
        self.ssh = None;
    }

    /// Runs a script as root, which must end with 0, and returns what it printed.
    pub fn root(&mut self, lab: &Lab, script: &str) -> Result<String> {
        self.root_within(lab, script, Duration::from_secs(60))
    }

    /// The same with a time limit of its own.
    pub fn root_within(&mut self, lab: &Lab, script: &str, within: Duration) -> Result<String> {
        self.ssh(lab)?
            .root(script, within)?
            .ok()
            .with_context(|| format!("running {:?} as root", first_line(script)))
    }

    /// Runs a line as typed by user `skerry`.
    pub fn typed(&mut self, lab: &Lab, line: &str) -> Result<Output> {
        self.ssh(lab)?.typed(line, Duration::from_secs(60))
    }

    /// Types a line at the console.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.type_bytes(format!("{line}\r").as_bytes())
    }

    /// Types bytes at the console.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.keyboard.write_all(bytes).context("typing at the console")
    }

    /// Another end of the console to type at.
    pub fn keyboard(&self) -> Result<UnixStream> {
        self.keyboard.try_clone().context("copying the console line")
    }

    /// Asks the guest agent; none is there before the machine's services are up. `guest-shutdown` is answered by nothing.
    pub fn agent(&self, order: &str, within: Duration) -> Result<String> {
        let doing = || format!("asking the guest agent for {order}");
        let mut line = UnixStream::connect(&self.agent).with_context(doing)?;
        line.set_read_timeout(Some(patient(within))).with_context(doing)?;
        line.write_all(format!("{}\n", json!({ "execute": order })).as_bytes())
            .with_context(doing)?;
        let mut answer = String::new();
        BufReader::new(line).read_line(&mut answer).with_context(doing)?;
        Ok(answer)
    }

    /// Presses the power button.
    pub fn power_button(&mut self) -> Result<()> {
        self.qmp.run("system_powerdown", &json!({})).map(drop)
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.serial.age()
    }

    /// Waits until the machine has switched itself off.
    pub fn wait_end(&mut self, within: Duration) -> Result<()> {
        let within = patient(within);
        if !self.serial.wait_end(within) {
            bail!(
                "waiting for the machine to end: {} s went by; last lines:\n{}",
                within.as_secs(),
                self.serial.last_lines(15)
            );
        }
        Ok(())
    }

    /// Cuts the power.
    pub fn cut(&mut self) {
        self.ssh = None;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill(); // it may have ended by itself
        let _ = child.wait();
    }

    /// Fetches the services' logs into the machine's folder, as far as the machine still answers.
    pub fn keep_logs(&mut self, lab: &Lab) {
        let pack = "cd /; skerry status > /run/skerry/status.txt 2>&1; tar -cf - run/skerry/status.txt var/log/skerry 2>/dev/null | gzip -1 | base64";
        let login = |m: &Self| m.login(lab, "skerry", Duration::from_secs(10));
        let packed = match self
            .ssh
            .take()
            .map_or_else(|| login(self), Ok)
            .and_then(|s| s.root(pack, Duration::from_secs(120)))
        {
            Ok(out) if out.code == Some(0) => out.out,
            _ => return, // a machine that does not answer is what is being reported
        };
        let mut decode = std::process::Command::new("base64");
        decode.arg("-d").stdin(std::process::Stdio::piped());
        if let Ok(file) = File::create(self.dir.join("logs.tar.gz")) {
            if let Ok(mut child) = decode.stdout(file).spawn() {
                let _ = child.stdin.take().map(|mut i| i.write_all(packed.as_bytes())); // best effort, as all here
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut();
        let _ = self.over.send(()); // its time keeper may have ended
    }
}

/// Where the guest agent's port of a machine leads: in the temporary folder, for the name of a socket must be short.
fn agent(scratch: &Path, name: &str) -> PathBuf {
    scratch.join(format!("{name}.agent"))
}

fn first_line(script: &str) -> &str {
    script.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::forwarded;

    #[test]
    fn forwarded_ports_are_read() {
        let table = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n\
                     \x20 TCP[HOST_FORWARD]  12       127.0.0.1 40331       10.0.2.15  6443     0     0\r\n\
                     \x20 TCP[HOST_FORWARD]  11       127.0.0.1 43217       10.0.2.15    22     0     0\r\n";
        assert_eq!(
            (forwarded(table, 22), forwarded(table, 6443), forwarded(table, 80)),
            (Some(43217), Some(40331), None)
        );
    }
}
