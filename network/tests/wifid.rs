//! `wifid` on a bus of its own (dbus-daemon) with a stand-in for iwd that speaks as iwd's doc/*-api.txt says.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::unused_self, clippy::needless_pass_by_value, reason = "the interfaces' own form")]
#![allow(clippy::disallowed_methods, reason = "a folder of temporary files")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::blocking::{Connection, connection};
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

/// What is in the air, and what iwd knows.
#[derive(Debug, Default)]
struct World {
    /// The networks in range, the strongest first: iwd's objects.
    in_range: Vec<String>,
    /// The passphrases that the access points take.
    taken: BTreeMap<String, String>,
    /// The passphrases that iwd has read from its files.
    files: BTreeMap<String, String>,
    /// iwd asks for these the next time.
    asks: Vec<String>,
    state: String,
    joined: Option<String>,
    agent: Option<(String, OwnedObjectPath)>,
    registered: u32,
}

type Shared = Arc<Mutex<World>>;

const ADAPTER: &str = "/net/connman/iwd/0";
const DEVICE: &str = "/net/connman/iwd/0/3";

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "net.connman.iwd")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    Failed(String),
    AlreadyExists(String),
}

struct Manager(Shared);

#[zbus::interface(name = "net.connman.iwd.AgentManager")]
impl Manager {
    fn register_agent(&self, path: OwnedObjectPath, #[zbus(header)] header: zbus::message::Header<'_>) -> Result<(), Error> {
        let mut world = self.0.lock().unwrap();
        let sender = header.sender().unwrap().to_string();
        if world.agent.as_ref().is_some_and(|(known, _)| *known == sender) {
            return Err(Error::AlreadyExists("Object already exists".to_owned()));
        }
        world.agent = Some((sender, path));
        world.registered += 1;
        Ok(())
    }
}

struct Adapter;

#[zbus::interface(name = "net.connman.iwd.Adapter")]
impl Adapter {
    #[zbus(property)]
    fn powered(&self) -> bool {
        true
    }
}

struct Device;

#[zbus::interface(name = "net.connman.iwd.Device")]
impl Device {
    #[zbus(property)]
    fn name(&self) -> String {
        "wlan0".to_owned()
    }
    #[zbus(property)]
    fn address(&self) -> String {
        "02:00:00:00:00:00".to_owned()
    }
    #[zbus(property)]
    fn adapter(&self) -> OwnedObjectPath {
        OwnedObjectPath::try_from(ADAPTER).unwrap()
    }
    #[zbus(property)]
    fn powered(&self) -> bool {
        true
    }
}

struct Station(Shared);

#[zbus::interface(name = "net.connman.iwd.Station")]
impl Station {
    fn get_ordered_networks(&self) -> Vec<(OwnedObjectPath, i16)> {
        let world = self.0.lock().unwrap();
        let path = |path: &String| (OwnedObjectPath::try_from(path.as_str()).unwrap(), -4000);
        world.in_range.iter().map(path).collect()
    }
    #[zbus(property)]
    fn state(&self) -> String {
        self.0.lock().unwrap().state.clone()
    }
    #[zbus(property)]
    fn connected_network(&self) -> OwnedObjectPath {
        let world = self.0.lock().unwrap();
        // iwd leaves the property out; a path that is no network's says the same.
        OwnedObjectPath::try_from(world.joined.as_deref().unwrap_or("/")).unwrap()
    }
}

struct Network {
    world: Shared,
    name: String,
    kind: String,
    path: String,
}

#[zbus::interface(name = "net.connman.iwd.Network")]
impl Network {
    #[zbus(property)]
    fn name(&self) -> String {
        self.name.clone()
    }
    #[zbus(property, name = "Type")]
    fn kind(&self) -> String {
        self.kind.clone()
    }
    async fn connect(&self, #[zbus(connection)] bus: &zbus::Connection) -> Result<(), Error> {
        let (asks, agent) = {
            let world = self.world.lock().unwrap();
            (world.asks.contains(&self.name), world.agent.clone())
        };
        let passphrase = if asks {
            let (sender, path) = agent.unwrap();
            let network = ObjectPath::try_from(self.path.as_str()).unwrap();
            let interface = Some("net.connman.iwd.Agent");
            let answer = bus
                .call_method(Some(sender), path, interface, "RequestPassphrase", &network)
                .await?;
            Some(answer.body().deserialize::<String>()?)
        } else {
            self.world.lock().unwrap().files.get(&self.name).cloned()
        };
        {
            let mut world = self.world.lock().unwrap();
            if self.kind == "psk" && world.taken.get(&self.name) != passphrase.as_ref() {
                world.asks.push(self.name.clone());
                return Err(Error::Failed("Operation failed".to_owned()));
            }
            "connected".clone_into(&mut world.state);
            world.joined = Some(self.path.clone());
        }
        tell(bus).await;
        Ok(())
    }
}

/// iwd tells that the station's properties changed.
async fn tell(bus: &zbus::Connection) {
    let station = bus.object_server().interface::<_, Station>(DEVICE).await.unwrap();
    let emitter = station.signal_emitter();
    station.get().await.state_changed(emitter).await.unwrap();
    station.get().await.connected_network_changed(emitter).await.unwrap();
}

/// A bus, iwd's stand-in on it, and wifid.
struct Room {
    folder: PathBuf,
    address: String,
    world: Shared,
    iwd: Option<Connection>,
    ear: UnixDatagram,
    children: Vec<Child>,
}

impl Drop for Room {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn room(name: &str, config: &str, world: World) -> Room {
    let folder = std::env::temp_dir().join(format!("skerry-wifid-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("network.json"), config).unwrap();
    let mut bus = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--print-address"])
        .arg(format!("--address=unix:path={}", folder.join("bus").display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let world = World {
        state: "disconnected".to_owned(),
        ..world
    };
    let mut room = Room {
        ear: UnixDatagram::bind(folder.join("notify")).unwrap(),
        address: address.trim().to_owned(),
        world: Arc::new(Mutex::new(world)),
        iwd: None,
        children: vec![bus],
        folder,
    };
    room.ear.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let wifid = Command::new(env!("CARGO_BIN_EXE_wifid"))
        .arg("--run")
        .arg(&room.folder)
        .args(["--bus", &room.address])
        .env("NOTIFY_SOCKET", room.folder.join("notify"))
        .spawn()
        .unwrap();
    room.children.push(wifid);
    room
}

impl Room {
    fn start_iwd(&mut self) {
        let network = |path: &str| {
            let (name, kind) = path.rsplit('/').next().unwrap().split_once('_').unwrap();
            Network {
                world: self.world.clone(),
                name: name.to_owned(),
                kind: kind.to_owned(),
                path: path.to_owned(),
            }
        };
        let iwd = connection::Builder::address(self.address.as_str())
            .and_then(|b| b.serve_at("/", zbus::fdo::ObjectManager))
            .and_then(|b| b.serve_at("/net/connman/iwd", Manager(self.world.clone())))
            .and_then(|b| b.serve_at(ADAPTER, Adapter))
            .and_then(|b| b.serve_at(DEVICE, Device))
            .and_then(|b| b.serve_at(DEVICE, Station(self.world.clone())))
            .and_then(|b| b.serve_at(HOME, network(HOME)))
            .and_then(|b| b.serve_at(YARD, network(YARD)))
            .and_then(|b| b.name("net.connman.iwd"))
            .and_then(connection::Builder::build)
            .unwrap();
        self.iwd = Some(iwd);
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
        let bus = self.iwd.as_ref().unwrap().inner().clone();
        zbus::block_on(tell(&bus));
    }

    /// Hears what wifid tells PID 1 until it is this; all that it told.
    fn until(&self, status: &str) -> Vec<String> {
        let mut told = vec![];
        let mut buffer = [0; 4096];
        loop {
            let length = self.ear.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; told: {told:?}"));
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            if told.last().unwrap().lines().any(|line| line == format!("STATUS={status}")) {
                return told;
            }
        }
    }
}

const HOME: &str = "/net/connman/iwd/0/3/home_psk";
const YARD: &str = "/net/connman/iwd/0/3/yard_open";
const CONFIG: &str = r#"{"wifi":[{"name":"home","passphrase":"long enough"},{"name":"yard","passphrase":""}]}"#;

fn words(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// Whether there is a bus to try it on; without one the test says that it is skipped.
fn has_bus() -> bool {
    let has = Command::new("dbus-daemon").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has {
        // Not by eprintln!, which is kept from who reads whether anything was skipped.
        let _ = writeln!(std::io::stderr(), "skipped: Wi-Fi on a real bus: there is no dbus-daemon here"); // nobody reads
    }
    has
}

#[test]
fn joins_loses_and_joins_the_next_one_and_meets_iwd_again() {
    if !has_bus() {
        return;
    }
    let world = World {
        in_range: vec![YARD.to_owned(), HOME.to_owned()],
        taken: words(&[("home", "long enough")]),
        files: words(&[("home", "long enough")]),
        ..World::default()
    };
    let mut room = room("joins", CONFIG, world);
    room.until("wifi: waiting for iwd");
    room.start_iwd();
    let told = room.until("wifi wlan0: in home");
    assert!(told.last().unwrap().starts_with("READY=1\n"), "{told:?}");
    let report = || std::fs::read_to_string(room.folder.join("wifi-state.json")).unwrap();
    assert_eq!(report(), "[{\"device\":\"wlan0\",\"network\":\"home\",\"says\":null}]\n");
    // The access point goes: the next one is joined, and not left when the first comes back.
    room.change(|world| {
        world.in_range = vec![YARD.to_owned()];
        (world.state, world.joined) = ("disconnected".to_owned(), None);
    });
    room.until("wifi wlan0: in yard");
    room.change(|world| world.in_range = vec![YARD.to_owned(), HOME.to_owned()]);
    // All go, the first comes back.
    room.change(|world| {
        world.in_range.clear();
        (world.state, world.joined) = ("disconnected".to_owned(), None);
    });
    let told = room.until("wifi wlan0: looking for home, yard");
    assert!(told.iter().all(|line| !line.contains("in home")), "{told:?}");
    room.change(|world| world.in_range = vec![HOME.to_owned()]);
    room.until("wifi wlan0: in home");
    // iwd is started anew.
    assert_eq!(room.world.lock().unwrap().registered, 1);
    room.iwd.take().unwrap().close().unwrap();
    room.until("wifi: waiting for iwd");
    room.world.lock().unwrap().agent = None;
    room.start_iwd();
    room.until("wifi wlan0: in home");
    assert_eq!(room.world.lock().unwrap().registered, 2);
}

#[test]
fn a_wrong_passphrase_is_named_and_a_network_of_another_kind_is_not_joined() {
    if !has_bus() {
        return;
    }
    let world = World {
        in_range: vec![HOME.to_owned()],
        taken: words(&[("home", "another one")]),
        files: words(&[("home", "long enough")]),
        ..World::default()
    };
    let mut room = room("refused", CONFIG, world);
    room.start_iwd();
    let told = room.until("wifi wlan0: home: the passphrase is not accepted");
    let once = "STATUS=wifi wlan0: home: the access point refuses; is the passphrase right?";
    assert!(told.iter().any(|line| line == once), "{told:?}");
    assert!(told.iter().all(|line| !line.contains("READY=1")), "{told:?}");
    // Another network is no worse for it; the refused one is still named when that is gone.
    room.change(|world| world.in_range.push(YARD.to_owned()));
    room.until("wifi wlan0: in yard");
    // The owner makes the access point's passphrase the configuration's.
    room.change(|world| {
        world.taken = words(&[("home", "long enough")]);
        world.in_range = vec![HOME.to_owned()];
        (world.state, world.joined) = ("disconnected".to_owned(), None);
    });
    room.until("wifi wlan0: in home");
}
