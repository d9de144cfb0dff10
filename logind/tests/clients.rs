//! The program against clients that others wrote: zbus, and `busctl`, `dbus-send` and `gdbus` where they are.
#![allow(clippy::unwrap_used, reason = "a test")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use zbus::zvariant::OwnedFd;
use zbus::{Connection, MessageStream};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
/// Nothing here takes long; a busy computer does.
const PATIENCE: Duration = Duration::from_secs(60);

struct Logind {
    child: Child,
    address: String,
    said: mpsc::Receiver<String>,
    dir: PathBuf,
}

impl Logind {
    /// Started, and ready.
    fn start(test: &str, limit: u32) -> Self {
        let dir = std::env::temp_dir().join(format!("skerry-logind-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let ear = UnixDatagram::bind(dir.join("notify")).unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_logind"))
            .args(["--limit", &limit.to_string(), "--socket"])
            .arg(dir.join("bus"))
            .env("NOTIFY_SOCKET", dir.join("notify"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 64];
        let length = ear.recv(&mut word).unwrap();
        assert_eq!(&word[..length], b"READY=1");
        let (tell, said) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let address = format!("unix:path={}", dir.join("bus").display());
        Self { child, address, said, dir }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it says this.
    fn says(&self, words: &str) {
        while !self.said.recv_timeout(PATIENCE).unwrap().contains(words) {}
    }

    fn ends(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }

    async fn client(&self) -> Connection {
        zbus::connection::Builder::address(self.address.as_str())
            .unwrap()
            .build()
            .await
            .unwrap()
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn inhibit(client: &Connection, what: &str, mode: &str) -> zbus::Result<OwnedFd> {
    let words = (what, "kubelet", "Kubelet needs time to handle node shutdown", mode);
    let reply = client.call_method(Some(NAME), PATH, Some(MANAGER), "Inhibit", &words).await?;
    reply.body().deserialize()
}

/// The next signal of this name.
async fn hears(signals: &mut MessageStream, member: &str) -> bool {
    use futures_lite::StreamExt;
    loop {
        let message = signals.next().await.unwrap().unwrap();
        if message.header().member().is_some_and(|m| m == member) {
            return message.body().deserialize().unwrap();
        }
    }
}

#[test]
fn a_client_is_told_and_waited_for() {
    let mut logind = Logind::start("told", 600);
    async_io::block_on(async {
        let client = logind.client().await;
        let words = (MANAGER, "InhibitDelayMaxUSec");
        let get = client.call_method(Some(NAME), PATH, Some("org.freedesktop.DBus.Properties"), "Get", &words);
        let most: zbus::zvariant::OwnedValue = get.await.unwrap().body().deserialize().unwrap();
        assert_eq!(u64::try_from(most).unwrap(), 600_000_000);
        let first = inhibit(&client, "shutdown", "delay").await.unwrap();
        let second = inhibit(&client, "shutdown", "delay").await.unwrap();
        drop(first); // as kubelet does when it comes back
        assert!(inhibit(&client, "sleep", "delay").await.is_err());
        assert!(inhibit(&client, "shutdown", "block").await.is_err());
        let mut signals = MessageStream::from(&client);
        logind.signal(Signal::USR1);
        assert!(hears(&mut signals, "PrepareForShutdown").await);
        assert!(inhibit(&client, "shutdown", "delay").await.is_err(), "too late");
        assert!(logind.child.try_wait().unwrap().is_none(), "it waits");
        drop(second);
    });
    logind.ends();
    logind.says("nobody is to be waited for");
}

#[test]
fn a_client_that_dies_is_not_waited_for() {
    let mut logind = Logind::start("dies", 600);
    async_io::block_on(async {
        let client = logind.client().await;
        let held = inhibit(&client, "shutdown", "delay").await.unwrap();
        logind.signal(Signal::USR1);
        logind.says("the machine goes down");
        drop((client, held));
    });
    logind.ends();
}

#[test]
fn who_does_not_let_go_is_named_and_left() {
    let mut logind = Logind::start("late", 1);
    let held = async_io::block_on(async { inhibit(&logind.client().await, "shutdown", "delay").await.unwrap() });
    logind.signal(Signal::USR1);
    logind.ends();
    logind.says("time is up");
    drop(held);
}

#[test]
fn sigterm_ends_it_though_somebody_holds_and_the_next_one_takes_its_place() {
    let mut logind = Logind::start("term", 600);
    let held = async_io::block_on(async { inhibit(&logind.client().await, "shutdown", "delay").await.unwrap() });
    logind.signal(Signal::TERM);
    logind.ends();
    drop((held, logind));
    let mut next = Logind::start("term", 600);
    drop(async_io::block_on(next.client()));
    next.signal(Signal::TERM);
    next.ends();
}

/// Each reads the same property; where a tool is not on this computer, that is said.
#[test]
fn other_peoples_clients_understand_it() {
    let logind = Logind::start("others", 7);
    let bus = format!("--bus={}", logind.address);
    let address = format!("--address={}", logind.address);
    let get = "org.freedesktop.DBus.Properties.Get";
    let (typed, property) = (format!("string:{MANAGER}"), "string:InhibitDelayMaxUSec");
    let tools: [&[&str]; 3] = [
        &["busctl", &address, "get-property", NAME, PATH, MANAGER, "InhibitDelayMaxUSec"],
        &[
            "dbus-send",
            &bus,
            "--print-reply",
            "--dest=org.freedesktop.login1",
            PATH,
            get,
            &typed,
            property,
        ],
        &[
            "gdbus",
            "call",
            "--address",
            &logind.address,
            "-d",
            NAME,
            "-o",
            PATH,
            "-m",
            get,
            MANAGER,
            "InhibitDelayMaxUSec",
        ],
    ];
    for words in tools {
        match Command::new(words[0]).args(&words[1..]).output() {
            Ok(out) => {
                let text = String::from_utf8_lossy(&out.stdout).into_owned();
                assert!(out.status.success() && text.contains("7000000"), "{words:?}: {text} {out:?}");
            }
            Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::NotFound, "{words:?}"),
        }
    }
}
