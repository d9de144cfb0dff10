//! Two namespaces with a cable (veth) between them: `dnsmasq` answers in one, `netd` runs in the other.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Why this machine cannot run these tests.
fn unable() -> Option<&'static str> {
    let runs = |program: &str, word: &str| {
        Command::new(program)
            .arg(word)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    if !rustix::process::geteuid().is_root() {
        Some("not root")
    } else if !runs("ip", "-V") {
        Some("no `ip` (Debian package iproute2)")
    } else if !runs("dnsmasq", "--version") {
        Some("no `dnsmasq` (Debian package dnsmasq-base)")
    } else if !Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success()) {
        Some("the kernel gives no network namespaces")
    } else {
        None
    }
}

/// A node and a server in namespaces, a folder for their files, and their programs. Everything ends with it.
pub struct Lab {
    pub id: String,
    pub dir: PathBuf,
    pub children: Vec<Child>,
    pub notify: UnixDatagram,
}

impl Lab {
    pub fn new(name: &str) -> Option<Self> {
        if let Some(reason) = unable() {
            remark(&format!("skipped: {reason}"));
            return None;
        }
        let id = format!("sk{name}{}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir_all(dir.join("state")).unwrap();
        let notify = UnixDatagram::bind(dir.join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let lab = Self {
            id,
            dir,
            children: Vec::new(),
            notify,
        };
        for side in ["n", "s"] {
            ip(&["netns", "add", &lab.space(side)]);
        }
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &lab.space("n"),
            "address",
            "02:00:00:00:00:01",
            "type",
            "veth",
            "peer",
            "name",
            "up0",
            "netns",
            &lab.space("s"),
        ]);
        lab.on("s", "ip addr add 10.77.0.1/24 dev up0; ip link set up0 up; ip link set lo up");
        Some(lab)
    }

    pub fn space(&self, side: &str) -> String {
        format!("{}{side}", self.id)
    }

    /// Runs shell words in a namespace; gives what they print.
    pub fn on(&self, side: &str, script: &str) -> String {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.space(side), "sh", "-c", script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn start(&mut self, side: &str, program: &str, words: &[&str]) -> usize {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.space(side), program])
            .args(words)
            .env("NOTIFY_SOCKET", self.dir.join("notify"))
            .env("NETD_DEBUG", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.children.push(child);
        self.children.len() - 1
    }

    pub fn server(&mut self, range: &str, more: &[&str]) -> usize {
        let leases = format!("--dhcp-leasefile={}", self.path("leases"));
        let range = format!("--dhcp-range={range}");
        let pid = format!("--pid-file={}", self.path("dnsmasq.pid"));
        let words = [
            "-k",
            "-C",
            "/dev/null",
            "-p",
            "0",
            "-i",
            "up0",
            "--log-dhcp",
            "--dhcp-authoritative",
            "--no-ping",
            "--log-facility=-",
            &leases,
            &range,
            &pid,
        ];
        let index = self.start("s", "dnsmasq", &[&words, more].concat());
        self.wait("the server", |lab| lab.on("s", "ss -lun").contains(":67 ").then_some(()));
        index
    }

    pub fn node(&mut self, network: &str) -> usize {
        self.configure(network);
        self.netd(&[])
    }

    pub fn netd(&mut self, more: &[&str]) -> usize {
        let (run, state, chrony) = (self.path("run"), self.path("state"), self.path("chrony"));
        let words = ["--run", &run, "--state", &state, "--chrony", &chrony];
        self.start("n", env!("CARGO_BIN_EXE_netd"), &[&words, more].concat())
    }

    pub fn configure(&self, network: &str) {
        self.write("run/network.json", &asked(network, "null"));
    }

    #[allow(clippy::disallowed_methods, reason = "a test's file need not outlive a power cut")]
    pub fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.dir.join("run")).unwrap();
        fs::write(self.dir.join(name), text).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Waits until READY=1 comes; gives all that was said until then.
    pub fn ready(&self) -> String {
        let mut said = String::new();
        let mut buffer = [0; 4096];
        while !said.contains("READY=1") {
            let length = match self.notify.recv(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.unwrap_or_else(|e| panic!("{e}; so far: {said}\n{}", self.read("log"))),
            };
            said += &String::from_utf8_lossy(&buffer[..length]);
            said.push('\n');
        }
        said
    }

    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waiting for {what}\n{}\n{}",
                self.on("n", "ip addr; ip route; ip -6 route"),
                self.read("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn end(&mut self, index: usize, signal: rustix::process::Signal) {
        let child = &mut self.children[index];
        // `ip netns exec` execs: its pid is the program's.
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).unwrap();
        if signal != rustix::process::Signal::HUP {
            child.wait().unwrap();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for side in ["n", "s"] {
            let _ = Command::new("ip").args(["netns", "del", &self.space(side)]).status();
        }
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => eprintln!("removing {}: {e}", self.dir.display()),
            _ => {}
        }
    }
}

/// The content of `network.json`.
pub fn asked(network: &str, firewall: &str) -> String {
    format!(r#"{{"network":{network},"dns_nameservers":["9.9.9.9"],"ntp_servers":["ntp.example"],"firewall":{firewall}}}"#)
}

pub fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

pub const DHCP: &str = r#"{"version":2,"ethernets":{"eth0":{"dhcp4":true}}}"#;

pub const POOL: &str = "10.77.0.50,10.77.0.60,255.255.255.0,1h";

/// To whoever reads whether anything was skipped, from whom println! is kept.
pub fn remark(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}"); // nobody reads
}
