//! A virtual Ethernet for several machines: a switch, and a QEMU without a machine in it as its router.
//!
//! It outlives each of the machines, so that any of them can be cut. Its router (QEMU's user network) is 10.0.2.2, its name server
//! 10.0.2.3; machine `n` is meant to have 10.0.2.(20 + n), and its ports 22 and 6443 are open on 127.0.0.1.

use super::qmp::Qmp;
use super::{Lab, forwarded, limit};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The network.
#[derive(Debug)]
pub struct Wire {
    child: Arc<Mutex<Child>>,
    over: Sender<()>,
    /// For each machine: its cable, and its ports 22 and 6443 on this computer.
    plugs: Vec<Plug>,
    // Its end is QEMU's.
    _control: Qmp,
}

/// One machine's place on the network.
#[derive(Debug, Clone)]
pub struct Plug {
    /// The switch's socket.
    pub socket: PathBuf,
    /// The card's address.
    pub mac: String,
    /// The address that the machine is meant to have.
    pub address: String,
    /// Its SSH port on 127.0.0.1.
    pub ssh_port: u16,
    /// Its API server's port on 127.0.0.1.
    pub api_port: u16,
}

impl Wire {
    /// Makes one for `machines` machines; it ends by itself after `lives`.
    pub fn new(lab: &Lab, name: &str, machines: u8, lives: Duration) -> Result<Self> {
        let mut command = lab.tools.qemu()?;
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "none"]);
        command.args(["-chardev", "socket,id=control,fd=0", "-mon", "chardev=control,mode=control"]);
        let socket = lab.scratch.0.join(format!("{name}.wire"));
        let _ = fs::remove_file(&socket); // of an earlier network of that name
        super::switch::open(&socket)?;
        let mut user = "user,id=user,net=10.0.2.0/24".to_owned();
        for address in (1..=machines).map(address) {
            for port in [22, 6443] {
                let _ = write!(user, ",hostfwd=tcp:127.0.0.1:0-{address}:{port}"); // a string takes everything
            }
        }
        command.args(["-netdev", &user, "-netdev", "hubport,id=router,hubid=0,netdev=user"]);
        command.args([
            "-netdev",
            &cable("cable", &socket),
            "-netdev",
            "hubport,id=port,hubid=0,netdev=cable",
        ]);
        let (control, qemu_control) = UnixStream::pair().context("making a control line")?;
        let log = lab.folder(name)?.join("wire.log");
        let mut command = lab.tools.bound(&command);
        command.stdin(OwnedFd::from(qemu_control)).stdout(Stdio::null());
        command.stderr(fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?);
        let child = Arc::new(Mutex::new(command.spawn().context("starting the network (QEMU)")?));
        drop(command);
        let over = limit(child.clone(), lives);
        let said = || {
            format!(
                "starting the network (QEMU): {}",
                fs::read_to_string(&log).unwrap_or_default().trim()
            )
        };
        let mut control = Qmp::open(control).with_context(said)?;
        let table = control.monitor("info usernet")?;
        let plugs = (1..=machines).map(|n| {
            let address = address(n);
            let port =
                |guest| forwarded(&only(&table, &address), guest).with_context(|| format!("reading the ports of {address} in {table:?}"));
            Ok(Plug {
                socket: socket.clone(),
                mac: format!("52:54:00:53:4b:{:02x}", 0x20 + n),
                ssh_port: port(22)?,
                api_port: port(6443)?,
                address,
            })
        });
        Ok(Self {
            plugs: plugs.collect::<Result<_>>()?,
            child,
            over,
            _control: control,
        })
    }

    /// The place of machine `n`, from 1 on.
    pub fn plug(&self, n: u8) -> Result<&Plug> {
        self.plugs
            .get(usize::from(n).wrapping_sub(1))
            .with_context(|| format!("plugging machine {n}: the network has {} places", self.plugs.len()))
    }
}

impl Plug {
    /// QEMU's words for the machine's end of the cable.
    pub fn words(&self) -> String {
        cable("net", &self.socket)
    }
}

fn cable(id: &str, socket: &Path) -> String {
    let path = socket.display().to_string().replace(',', ",,");
    format!("stream,id={id},server=off,addr.type=unix,addr.path={path},reconnect-ms=500")
}

/// The address of machine `n`.
pub fn address(n: u8) -> String {
    format!("10.0.2.{}", 20 + u16::from(n))
}

/// The lines of a table that name an address.
fn only(table: &str, address: &str) -> String {
    let named = |l: &&str| l.split_whitespace().any(|w| w == address);
    table.lines().filter(named).fold(String::new(), |text, line| text + line + "\n")
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill(); // it may have ended
        let _ = self.over.send(());
    }
}
