//! Stands in for k3s, k0s and edgecore: looks whether the system keeps its part of their contract, says what it does not keep, and then
//! behaves as far as the system could tell like the real one.
//!
//! It refuses to start (exit code 3) where the contract is broken. Otherwise it leaves a "shim" behind, answers as an API server that
//! knows one Ready node, says in its own way that it is ready, and ends with 0 on SIGTERM, having written so.

#![allow(clippy::disallowed_methods, reason = "what a stand-in writes need not survive a power cut")]

use skerry_sys::event::{Interest, Poller, Signals};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, thread};

const CONFIG: &str = "/etc/rancher/k3s/config.yaml.d/00-os.yaml";
const EDGECORE: &str = "/etc/kubeedge/config/edgecore.yaml";
/// What must not be in the environment.
const DENIED: [&str; 5] = ["INVOCATION_ID", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "JOURNAL_STREAM"];
/// What k3s's preflight and kubelet's `--protect-kernel-defaults` look at.
const PARAMETERS: [(&str, &str); 8] = [
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/ipv4/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];
const PROGRAMS: [&str; 6] = ["mount", "umount", "iptables", "ip6tables", "modprobe", "ip"];

/// Whether this is the name of a program that is stood in for.
pub fn is_known(program: &str) -> bool {
    ["k3s", "k0s", "edgecore"].contains(&name(program))
}

fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default()
}

/// Checks, and then behaves.
pub fn run(program: &str, words: &[&str]) -> ExitCode {
    let name = name(program);
    println!("stand-in {name}: {}", words.join(" "));
    let mut broken = host(name);
    broken.extend(match name {
        "k3s" => k3s(words),
        "k0s" => k0s(words),
        _ => edgecore(words),
    });
    if !broken.is_empty() {
        for line in broken {
            println!("contract broken: {line}");
        }
        return ExitCode::from(3);
    }
    println!("the contract holds");
    match behave(name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("stand-in {name}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What every one of them needs.
fn host(name: &str) -> Vec<String> {
    let mut broken = vec![];
    let mut must = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    for variable in DENIED {
        must(env::var_os(variable).is_none(), format!("{variable} is in the environment"));
    }
    let group = text("/proc/self/cgroup");
    must(text("/proc/1/cgroup") == "0::/init.scope", "PID 1 is not in /init.scope".into());
    must(group == format!("0::/system/{name}"), format!("the control group is {group}"));
    let group = format!("/sys/fs/cgroup{}", group.trim_start_matches("0::"));
    for limit in ["pids.max", "memory.max"] {
        let is = text(&format!("{group}/{limit}"));
        must(is == "max", format!("{limit} is {is:?}"));
    }
    let controllers = text("/sys/fs/cgroup/cgroup.subtree_control");
    for wanted in ["cpu", "cpuset", "memory", "pids"] {
        must(
            controllers.split(' ').any(|c| c == wanted),
            format!("controller {wanted} is not passed on: {controllers}"),
        );
    }
    let limits = text("/proc/self/limits");
    let limit = |row: &str| {
        limits
            .lines()
            .find(|l| l.starts_with(row))
            .map(|l| l.split_whitespace().rev().nth(1).unwrap_or_default().to_owned())
    };
    must(
        limit("Max open files").is_some_and(|l| l.contains("1048576")),
        format!("open files: {limits}"),
    );
    must(
        limit("Max processes").is_some_and(|l| l.contains("unlimited")),
        format!("processes: {limits}"),
    );
    must(text("/proc/self/oom_score_adj") == "-999", "oom_score_adj is not -999".into());
    let status = text("/proc/self/status");
    for row in ["SigBlk:", "SigIgn:"] {
        let set = status.lines().find_map(|l| l.strip_prefix(row)).unwrap_or_default().trim();
        // SIGPIPE is Rust's own doing.
        let bits = u64::from_str_radix(set, 16).unwrap_or(u64::MAX) & !(1 << 12);
        must(bits == 0, format!("{row} {set}"));
    }
    let mounts = text("/proc/self/mountinfo");
    let is_shared = |at: &str| mounts.lines().any(|l| l.split(' ').nth(4) == Some(at) && l.contains(" shared:"));
    must(is_shared("/"), "/ is not a shared mount".into());
    for (parameter, wanted) in PARAMETERS {
        let is = text(&format!("/proc/sys/{parameter}"));
        must(is == wanted, format!("{parameter} is {is:?}, not {wanted}"));
    }
    must(text("/proc/filesystems").contains("overlay"), "no overlay file system".into());
    let path = env::var("PATH").unwrap_or_default();
    for program in PROGRAMS {
        must(
            path.split(':').any(|p| Path::new(p).join(program).exists()),
            format!("no {program} in PATH={path}"),
        );
    }
    let hosts = text("/etc/hosts");
    let own = text("/proc/sys/kernel/hostname");
    must(
        hosts.contains("localhost") && hosts.contains(&own),
        "/etc/hosts lacks localhost or the own name".into(),
    );
    must(text("/etc/machine-id").len() == 32, "no machine-id".into());
    must(Path::new("/dev/kmsg").exists(), "no /dev/kmsg".into());
    broken
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).map_or(0, |m| m.permissions().mode() & 0o777)
}

/// Writes into the folders that it owns; says which it cannot.
fn folders(paths: &[&str]) -> Vec<String> {
    let writable = |path: &&&str| {
        fs::create_dir_all(path)
            .and_then(|()| fs::write(format!("{path}/.written"), "x"))
            .err()
    };
    paths.iter().filter_map(|p| writable(&p).map(|e| format!("{p}: {e}"))).collect()
}

/// A file that must be the same at each start: the first start makes it.
fn identity(path: &str) -> Vec<String> {
    if text(path).is_empty() {
        let made = fs::write(path, text("/proc/sys/kernel/random/uuid")).err();
        println!("a new identity in {path}");
        return made.map(|e| format!("{path}: {e}")).into_iter().collect();
    }
    println!("the identity in {path} is kept");
    vec![]
}

fn k3s(words: &[&str]) -> Vec<String> {
    let mut broken = folders(&[
        "/var/lib/rancher/k3s/server",
        "/var/lib/rancher/k3s/agent",
        "/etc/rancher/node",
        "/run/k3s",
    ]);
    broken.extend(identity("/etc/rancher/node/password"));
    if !matches!(words.first(), Some(&"server" | &"agent")) {
        broken.push("the first argument is neither server nor agent".into());
    }
    if words.iter().any(|w| w.starts_with("--log")) {
        broken.push("--log is given".into());
    }
    if env::var_os("NOTIFY_SOCKET").is_none() {
        broken.push("no NOTIFY_SOCKET".into());
    }
    let settings: serde_json::Value = serde_json::from_str(text(CONFIG).trim_start_matches(|c| c != '{')).unwrap_or_default();
    if mode(CONFIG) != 0o600 || settings["node-name"] != text("/proc/sys/kernel/hostname").as_str() {
        broken.push(format!("{CONFIG}: mode {:o}, {settings}", mode(CONFIG)));
    }
    if settings["token"] != "a token for stand-ins" || !settings["node-label+"].to_string().contains("region=eu") {
        broken.push(format!("{CONFIG}: {settings}"));
    }
    let volumes = "volume-plugin-dir=/var/lib/kubelet/volumeplugins";
    if !settings["kubelet-arg+"].to_string().contains(volumes) {
        broken.push("no volume-plugin-dir".into());
    }
    if !text("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-skerry.conf").contains("KubeletConfiguration") {
        broken.push("no drop-in for kubelet".into());
    }
    broken
}

fn k0s(words: &[&str]) -> Vec<String> {
    let mut broken = folders(&["/var/lib/k0s", "/etc/k0s", "/run/k0s"]);
    let token = words.iter().find_map(|w| w.strip_prefix("--token-file=")).unwrap_or_default();
    match words.first() {
        Some(&"worker") if text(token) == "a token for stand-ins" && mode(token) == 0o600 => {}
        other => broken.push(format!("{other:?} with the token {:?} of mode {:o}", text(token), mode(token))),
    }
    let own = text("/proc/sys/kernel/hostname");
    if !words
        .iter()
        .any(|w| w.starts_with("--kubelet-extra-args=") && w.contains(&format!("--hostname-override={own}")))
    {
        broken.push("kubelet is not told its name".into());
    }
    if !words.iter().any(|w| w.starts_with("--labels=") && w.contains("region=eu")) {
        broken.push("no labels".into());
    }
    broken
}

/// Its token stands in its configuration until it has its certificate; then it takes it out.
fn edgecore(words: &[&str]) -> Vec<String> {
    let mut broken = folders(&["/etc/kubeedge/certs", "/var/lib/kubeedge"]);
    if words.first() != Some(&format!("--config={EDGECORE}").as_str()) {
        broken.push(format!("{words:?}"));
    }
    if std::os::unix::net::UnixStream::connect("/run/containerd/containerd.sock").is_err() {
        broken.push("containerd does not answer".into());
    }
    let read: Result<serde_json::Value, _> = serde_json::from_str(&text(EDGECORE));
    match read {
        Err(why) => broken.push(format!("{EDGECORE}: {why}")),
        Ok(mut settings) => {
            let hub = &settings["modules"]["edgeHub"];
            let joined = Path::new("/etc/kubeedge/certs/server.crt").exists();
            let wanted = if joined { "" } else { "a token for stand-ins" };
            if hub["token"] != wanted || hub["websocket"]["server"] != "cloud.example.org:10000" {
                broken.push(format!("{EDGECORE}: {hub}"));
            }
            println!(
                "the token is {}",
                if joined {
                    "gone from the configuration"
                } else {
                    "in the configuration"
                }
            );
            settings["modules"]["edgeHub"]["token"] = "".into();
            let done = fs::write(EDGECORE, settings.to_string()).and_then(|()| fs::write("/etc/kubeedge/certs/server.crt", "certificate"));
            broken.extend(done.err().map(|e| format!("{EDGECORE} cannot be rewritten: {e}")));
        }
    }
    broken
}

/// Runs until SIGTERM.
fn behave(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    if pids_of_shims().is_empty() {
        let mut shim = Command::new(env::current_exe()?);
        shim.arg0("containerd-shim-stand-in").arg("shim").process_group(0);
        shim.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    } else {
        println!("the pods of an earlier start are still there");
    }
    // Before any thread: one that does not hold SIGTERM back would be ended by it.
    let (signals, poller) = (Signals::take(&[15])?, Poller::new()?);
    poller.add(&signals, 0, Interest::Read)?;
    let kubeconfig = match name {
        "k3s" => Some("/var/lib/rancher/k3s/agent/kubelet.kubeconfig"),
        "k0s" => Some("/var/lib/k0s/kubelet.conf"),
        _ => None,
    };
    if let Some(path) = kubeconfig {
        fs::write(path, KUBECONFIG)?;
        let listener = TcpListener::bind("127.0.0.1:6443")?;
        thread::spawn(move || api_server(&listener));
    }
    match name {
        "k3s" => super::notify("READY=1"),
        "k0s" => {
            let _ = fs::remove_file("/run/k0s/status.sock"); // of an earlier start
            let listener = UnixListener::bind("/run/k0s/status.sock")?;
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let _ = head(&mut stream).and_then(|_| stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
                }
            });
        }
        _ => {}
    }
    loop {
        poller.wait(None)?;
        if signals.next().is_some() {
            println!("SIGTERM: ending well");
            return Ok(());
        }
    }
}

fn pids_of_shims() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names
        .filter(|n| text(&format!("/proc/{n}/cmdline")).starts_with("containerd-shim-stand-in"))
        .collect()
}

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: 'http://127.0.0.1:6443'}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
users: [{name: a, user: {}}]
";

fn head(stream: &mut impl Read) -> std::io::Result<String> {
    let (mut text, mut byte) = (vec![], [0]);
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        text.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One node, which is Ready by the kubelet of this boot; whoever watches it goes on watching.
fn api_server(listener: &TcpListener) {
    let boot = text("/proc/sys/kernel/random/boot_id");
    let node = serde_json::json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": { "name": text("/proc/sys/kernel/hostname") },
        "status": { "nodeInfo": { "bootID": boot }, "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    let event = serde_json::json!({ "type": "ADDED", "object": node });
    let mut held = BTreeMap::new();
    for (number, mut stream) in listener.incoming().flatten().enumerate() {
        let asked = head(&mut stream).unwrap_or_default();
        println!("asked: {}", asked.lines().next().unwrap_or_default());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{event}\n");
        if stream.write_all(answer.as_bytes()).is_ok() {
            held.insert(number, stream);
        }
    }
}
