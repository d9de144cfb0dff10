//! PID 1 on this host: the real program in namespaces of its own, with `fake` for everything it runs. Needs root and cgroup 2.
//!
//! Nothing of the host is mounted in there: the root is a tmpfs with two static programs, so that going down cannot touch the host.
#![allow(clippy::disallowed_methods, reason = "what is written is a throw-away root in memory")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and a skip is told"
)]

use skerry_control::reply::{Machine, Reply, State, UnitStatus};
use skerry_control::request::Request;
use skerry_control::unit::{self, Kind, Ready, Scope, Unit};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

const FAKE: &str = "/usr/bin/fake";

/// What `setup` is always asked for.
const ALWAYS: [(&str, &str); 5] = [
    ("storage", ""),
    ("health", ""),
    ("coldplug-network", ""),
    ("host-keys", ""),
    ("apply-boot", ""),
];

/// In the new namespaces, before PID 1: `$1` root, `$2` programs, `$3` plans.
const PREPARE: &str = r#"
set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir -p dev proc sys run tmp sbin usr/bin usr/lib/skerry fake var/log etc root
cp "$2/init" usr/lib/skerry/init; ln -s /usr/lib/skerry/init sbin/init
cp "$2/fake" usr/bin/fake; ln -s /usr/bin/fake usr/lib/skerry/setup
cp "$3"/* fake/
mount -t tmpfs tmpfs dev
mkdir dev/pts dev/shm dev/mqueue
for n in "null 1 3" "zero 1 5" "urandom 1 9"; do set -- "$1" "$2" "$3" $n; mknod -m 666 "dev/$4" c "$5" "$6"; done
touch dev/console; mount --bind "$3/../console" dev/console
exec chroot . /sbin/init
"#;

/// Builds both programs, static, once.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_BIN_EXE_fake"))
            .parent()
            .and_then(Path::parent)
            .expect("a target folder")
            .join("static");
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let done = Command::new(env!("CARGO"))
            .args([
                "build",
                "-q",
                "-p",
                "skerry-init",
                "--bin",
                "init",
                "-p",
                "skerry-tests",
                "--bin",
                "fake",
                "--target",
                &triple,
            ])
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status();
        assert!(done.is_ok_and(|s| s.success()), "building init and fake");
        target.join(triple).join("debug")
    })
}

/// Where a version 2 tree is mounted on the host.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts
        .lines()
        .map(|l| l.split(' ').collect::<Vec<_>>())
        .find(|w| w.get(2) == Some(&"cgroup2"))
        .map(|w| PathBuf::from(w[1]))
}

struct Booted {
    child: Child,
    dir: PathBuf,
    group: PathBuf,
    lines: Mutex<Receiver<String>>,
    heard: Mutex<Vec<String>>,
}

impl Booted {
    /// Boots with these plans: what the file `plan` and the like say. None: this host cannot (told).
    fn boot(name: &str, files: &[(&str, &str)]) -> Option<Self> {
        let root = fs::metadata("/proc/self").ok().map(|m| std::os::unix::fs::MetadataExt::uid(&m));
        let (Some(0), Some(above)) = (root, cgroup2()) else {
            println!("SKIPPED: needs root and a cgroup 2 tree");
            return None;
        };
        // In memory: what going down cannot unmount it makes read-only, and that must not be a disk of the host.
        let dir = Path::new("/dev/shm").join(format!("skerry-pid1-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("plans")).unwrap();
        fs::create_dir_all(dir.join("root")).unwrap();
        for (file, text) in ALWAYS.iter().chain(files) {
            fs::write(dir.join("plans").join(file), text).unwrap();
        }
        assert!(Command::new("mkfifo").arg(dir.join("console")).status().unwrap().success());
        let group = above.join(format!("skerry-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        // Read and write, so that it never ends while nobody writes.
        let console = fs::File::options()
            .read(true)
            .write(true)
            .custom_flags(0)
            .open(dir.join("console"))
            .unwrap();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(console).lines().map_while(Result::ok) {
                if send.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        let inner = format!(
            "echo $$ > {}/cgroup.procs; exec unshare -C -m -u -i -n -p -f --kill-child sh -c '{PREPARE}' sh \"$@\"",
            group.display()
        );
        let child = Command::new("sh")
            .args(["-c", &inner, "sh"])
            .args([&dir.join("root"), programs(), &dir.join("plans")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            child,
            dir,
            group,
            lines: Mutex::new(lines),
            heard: Mutex::new(vec![]),
        })
    }

    /// The number that PID 1 has on the host; waits until it is our program that has it.
    fn pid(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let children = fs::read_to_string(&path).unwrap_or_default();
            let pid = children.split_whitespace().next().and_then(|p| p.parse::<u32>().ok());
            let is_init = |p: &u32| fs::read_to_string(format!("/proc/{p}/comm")).is_ok_and(|c| c.trim() == "init");
            if let Some(pid) = pid.filter(is_init) {
                return pid;
            }
            assert!(Instant::now() < until, "PID 1 does not run");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn hears(&self, text: &str, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.lock().unwrap().recv_timeout(left);
            let Ok(line) = line else {
                panic!("{text:?} was not heard within {seconds} s")
            };
            self.heard.lock().unwrap().push(line.clone());
            if line.contains(text) {
                return;
            }
        }
    }

    fn connect(&self, socket: &str) -> UnixStream {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            match UnixStream::connect(format!("/proc/{}/root{socket}", self.pid())) {
                Ok(s) => return s,
                Err(why) => assert!(Instant::now() < until, "connecting to {socket}: {why}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, request: &Request) -> Reply {
        let mut s = self.connect(skerry_control::SOCKET);
        s.write_all(request.encode().as_bytes()).unwrap();
        s.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = vec![];
        s.read_to_end(&mut answer).unwrap();
        Reply::decode(&answer).unwrap()
    }

    fn status(&self) -> (Machine, Vec<UnitStatus>) {
        match self.ask(&Request::Status) {
            Reply::Status(m, units) => (m, units),
            other => panic!("{other:?}"),
        }
    }

    fn unit(&self, name: &str) -> UnitStatus {
        self.status()
            .1
            .into_iter()
            .find(|u| u.name == name)
            .unwrap_or_else(|| panic!("{name} is no unit"))
    }

    /// Waits until it is so; panics with the state after so many seconds.
    fn until(&self, seconds: u64, what: &str, is: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while !is(self) {
            assert!(Instant::now() < until, "{what}: not within {seconds} s: {:#?}", self.status());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self, name: &str) -> String {
        let mut s = self.connect(skerry_control::LOG_SOCKET);
        writeln!(s, "tail {name} 50").unwrap();
        let mut text = String::new();
        s.read_to_string(&mut text).unwrap();
        text
    }

    /// How many processes are there, zombies too.
    fn processes(&self) -> usize {
        let count = |dir: fs::ReadDir| {
            dir.flatten()
                .filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok())
                .count()
        };
        fs::read_dir(format!("/proc/{}/root/proc", self.pid())).map_or(0, count)
    }

    /// Orders the end and waits for it; `reboot` in a namespace ends it by SIGHUP, `poweroff` by SIGINT.
    fn goes_down(mut self, request: &Request, seconds: u64) {
        assert_eq!(self.ask(request), Reply::Accepted);
        let until = Instant::now() + Duration::from_secs(seconds);
        let status = loop {
            if let Some(s) = self.child.try_wait().unwrap() {
                break s;
            }
            assert!(Instant::now() < until, "it did not go down: {:?}", self.heard.lock().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        };
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).or(status.code().map(|c| c - 128));
        assert_eq!(signal, Some(if *request == Request::Reboot { 1 } else { 2 }), "{status}");
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.heard.lock().unwrap().extend(self.lines.lock().unwrap().try_iter());
            eprintln!("--- console\n{}\n---", self.heard.lock().unwrap().join("\n"));
        }
        let _ = self.child.kill(); // and with it, by --kill-child, PID 1
        let _ = self.child.wait();
        std::thread::sleep(Duration::from_millis(100)); // until its namespace is gone, and the groups are empty
        for below in ["system", "init.scope"] {
            let dir = self.group.join(below);
            for e in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(e.path());
            }
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_dir(&self.group);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn service(name: &str, words: &[&str]) -> Unit {
    let argv: Vec<&str> = [FAKE].into_iter().chain(words.iter().copied()).collect();
    Unit::service(name, name, &argv)
}

fn one_shot(name: &str, words: &[&str]) -> Unit {
    Unit {
        kind: Kind::OneShot { retry: false, every: None },
        ..service(name, words)
    }
}

fn is(booted: &Booted, name: &str, state: State) -> bool {
    booted.status().1.iter().any(|u| u.name == name && u.state == state)
}

#[test]
fn boots_tells_and_goes_down_in_reverse() {
    let mut net = service("net", &["ready", "300", "looking", "for", "an", "address"]);
    net.ready = Ready::Notify;
    let plan = [
        one_shot("setup1", &["exit", "0", "10"]),
        net.after(&["setup1"]),
        service("ssh", &["never"]).after(&["net"]),
    ];
    let Some(b) = Booted::boot("boots", &[("plan", &unit::encode(&plan))]) else {
        return;
    };
    b.hears("Storage", 60);
    b.hears("Configuration", 10);
    b.hears("net                          ready", 10);
    b.hears("ssh                          ready", 10);
    let (machine, units) = b.status();
    assert_eq!((machine.state.as_str(), machine.plan.as_str()), ("running", "config"));
    let names: Vec<_> = units.iter().map(|u| (u.name.as_str(), u.state)).collect();
    let want = [
        ("storage", State::Done),
        ("plan", State::Done),
        ("health", State::Done),
        ("network-drivers", State::Done),
        ("host-keys", State::Done),
        ("setup1", State::Done),
        ("net", State::Running),
        ("ssh", State::Running),
    ];
    assert_eq!(names, want);
    assert!(b.log("net").contains("READY=1"), "{}", b.log("net"));
    let rss = fs::read_to_string(format!("/proc/{}/smaps_rollup", b.pid())).unwrap();
    println!("PID 1: {}", rss.lines().find(|l| l.starts_with("Rss")).unwrap());
    b.goes_down(&Request::PowerOff, 20);
}

#[test]
fn a_crash_loop_is_told_and_bounded() {
    let Some(b) = Booted::boot(
        "crash",
        &[(
            "plan",
            &unit::encode(&[service("bad", &["exit", "3", "0"]), service("good", &["never"])]),
        )],
    ) else {
        return;
    };
    b.hears("FAILED: ended with exit code 3; again in 0.2 s", 60);
    b.hears("| about to end with 3", 5);
    b.hears("again in 0.8 s", 10);
    let bad = b.unit("bad");
    assert!((3..6).contains(&bad.restarts) && bad.why == "ended with exit code 3", "{bad:?}");
    assert_eq!((b.unit("good").state, b.status().0.state.as_str()), (State::Running, "degraded"));
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn what_waits_says_so_and_can_be_stopped() {
    let mut slow = service("slow", &["never", "no", "carrier"]);
    slow.ready = Ready::Notify;
    let Some(b) = Booted::boot(
        "waits",
        &[("plan", &unit::encode(&[slow, service("later", &["never"]).after(&["slow"])]))],
    ) else {
        return;
    };
    b.hears("still starting after 5 s: no carrier", 60);
    assert_eq!(b.unit("later").waits_for, ["slow"]);
    assert_eq!(b.ask(&Request::Stop("slow".into())), Reply::Accepted);
    b.until(5, "stopped", |b| is(b, "slow", State::Stopped));
    assert!(matches!(b.ask(&Request::Stop("absent".into())), Reply::Refused(_)));
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn a_stubborn_tree_is_killed_whole() {
    let mut stubborn = service("stubborn", &["bomb", "7"]);
    stubborn.stop.grace = Duration::from_secs(1);
    let Some(b) = Booted::boot("stubborn", &[("plan", &unit::encode(&[stubborn, service("good", &["never"])]))]) else {
        return;
    };
    b.until(60, "128 processes", |b| b.processes() > 128);
    assert_eq!(b.ask(&Request::Stop("stubborn".into())), Reply::Accepted);
    b.hears("did not stop when told to, and was killed", 10);
    b.until(10, "stopped", |b| is(b, "stubborn", State::Stopped));
    b.until(5, "none left", |b| b.processes() <= 4);
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn ten_thousand_orphans_are_reaped() {
    let many = one_shot("orphans", &["orphans", "10000"]);
    let Some(b) = Booted::boot("orphans", &[("plan", &unit::encode(&[many, service("good", &["never"])]))]) else {
        return;
    };
    b.until(120, "all left behind", |b| is(b, "orphans", State::Done));
    b.until(30, "all reaped", |b| b.processes() <= 4);
    assert_eq!(b.unit("good").restarts, 0);
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn a_plan_that_hangs_gives_way_to_the_last_good_one() {
    let good = unit::encode(&[service("good", &["never"])]);
    let Some(b) = Booted::boot("hangs", &[("plan", "hang"), ("plan---last-good", &good)]) else {
        return;
    };
    b.hears("takes longer than 20 s", 90);
    b.hears("The last good one is used", 10);
    b.hears("good                         ready", 10);
    assert_eq!(b.status().0.plan, "last-good");
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn without_any_plan_there_is_still_a_way_in() {
    let Some(b) = Booted::boot("none", &[("plan", "nonsense")]) else {
        return;
    };
    b.hears("Login, network and SSH are started", 60);
    b.until(5, "built in", |b| b.status().0.plan == "built-in");
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn the_keeper_of_logs_may_die() {
    let Some(b) = Booted::boot("logd", &[("plan", &unit::encode(&[service("talker", &["print", "line", "20"])]))]) else {
        return;
    };
    b.hears("talker", 60);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", b.pid())).unwrap();
    let keeper = children
        .split_whitespace()
        .find(|p| fs::read_to_string(format!("/proc/{p}/comm")).is_ok_and(|c| c.trim() == "logd"))
        .unwrap();
    assert!(Command::new("kill").args(["-9", keeper]).status().unwrap().success());
    b.hears("The keeper of logs killed by SIGKILL", 5);
    let talker = b.unit("talker");
    b.until(10, "lines come again", |b| b.log("talker").lines().any(|l| l.starts_with("line ")));
    let before = b.log("talker");
    b.until(10, "more lines", |b| b.log("talker") != before);
    assert_eq!((talker.restarts, b.unit("talker").pid), (0, talker.pid));
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn a_reload_changes_only_what_changed() {
    let plan = |argument| unit::encode(&[service("same", &["never"]), service("changed", &["never", argument])]);
    let Some(b) = Booted::boot("reload", &[("plan", &plan("a"))]) else {
        return;
    };
    b.until(60, "running", |b| b.status().0.state == "running");
    let (same, changed) = (b.unit("same").pid, b.unit("changed").pid);
    fs::write(format!("/proc/{}/root/fake/plan", b.pid()), plan("b")).unwrap();
    assert_eq!(b.ask(&Request::Reload), Reply::Accepted);
    b.until(10, "changed", |b| b.unit("changed").pid.is_some_and(|p| Some(p) != changed));
    assert_eq!(b.unit("same").pid, same);
    fs::write(format!("/proc/{}/root/fake/plan", b.pid()), "nonsense").unwrap();
    assert_eq!(b.ask(&Request::Reload), Reply::Accepted);
    b.hears("What runs goes on", 10);
    assert_eq!(b.unit("same").pid, same);
    b.goes_down(&Request::Reboot, 20);
}

#[test]
fn main_only_services_leave_their_children() {
    let mut shimmed = service("containerd", &["bomb", "2"]);
    shimmed.stop.scope = Scope::MainOnly;
    shimmed.stop.grace = Duration::from_secs(1);
    let Some(b) = Booted::boot("shims", &[("plan", &unit::encode(&[shimmed]))]) else {
        return;
    };
    b.until(60, "4 processes", |b| b.processes() >= 6);
    b.until(5, "running", |b| is(b, "containerd", State::Running));
    assert_eq!(b.ask(&Request::Stop("containerd".into())), Reply::Accepted);
    b.until(10, "stopped", |b| is(b, "containerd", State::Stopped));
    assert!(b.processes() >= 5, "the children are there");
    b.goes_down(&Request::Reboot, 30);
}
