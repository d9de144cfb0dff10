//! `skerry support`: one archive that tells others what they need to help, and no secret.
//!
//! Gathered into a folder in memory, cleaned there, packed by tar. What cannot be gathered is named in the archive.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use skerry_sys::file;
use skerry_sys::mount::{self, MountFlags};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// One archive with logs, states and configuration, secrets removed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: a file, or a folder for one with a name of its own
    #[arg(short, long, value_name = "PATH", default_value = "/tmp", conflicts_with = "stick")]
    output: PathBuf,
    /// Onto a stick: the device of a FAT or ext4 file system, as /dev/sdb1
    #[arg(long, value_name = "DEVICE")]
    stick: Option<PathBuf>,
}

/// Files that are taken as they are: path, and the longest that is taken of it, in bytes.
const FILES: [(&str, usize); 16] = [
    ("/proc/cmdline", 1 << 16),
    ("/proc/meminfo", 1 << 16),
    ("/proc/mounts", 1 << 20),
    ("/proc/partitions", 1 << 16),
    ("/proc/modules", 1 << 20),
    ("/proc/pressure/io", 4096),
    ("/proc/pressure/memory", 4096),
    ("/run/skerry/facts.json", 1 << 20),
    ("/run/skerry/storage.json", 1 << 20),
    ("/run/skerry/problems.json", 1 << 22),
    ("/run/skerry/explain.json", 1 << 22),
    ("/run/skerry/network-state.json", 1 << 20),
    ("/run/skerry/wifi-state.json", 1 << 20),
    ("/run/skerry/slots.json", 1 << 20),
    ("/var/lib/skerry/upgrade/rolled-back.json", 1 << 20),
    ("/usr/share/skerry/release.json", 1 << 20),
];

/// What is asked: name in the archive, program and arguments. Each has ten seconds.
const COMMANDS: [(&str, &[&str]); 13] = [
    ("status.txt", &["skerry", "status"]),
    ("status.json", &["skerry", "status", "--json"]),
    ("services.txt", &["skerry", "services"]),
    ("slots.json", &["skerry", "slots", "--json"]),
    ("dmesg.txt", &["dmesg"]),
    ("addresses.txt", &["ip", "address"]),
    ("routes.txt", &["ip", "route"]),
    ("disk-use.txt", &["df", "-h"]),
    ("processes.txt", &["ps", "-eo", "pid,ppid,rss,stat,etimes,comm"]),
    ("time.txt", &["chronyc", "-n", "tracking"]),
    ("nodes.txt", &["kubectl", "get", "nodes", "-o", "wide"]),
    ("pods.txt", &["kubectl", "get", "pods", "-A", "-o", "wide"]),
    ("events.txt", &["kubectl", "get", "events", "-A"]),
];

const LOGS: &str = "/var/log/skerry";
/// The most that is taken of one log, in bytes; its end counts.
const LOG_BYTES: usize = 4 << 20;
/// What init works from; the one place where all secrets are.
const CONFIG: &str = "/run/skerry/config.json";
/// Where a cluster's token is that nobody configured: the embedded Kubernetes's, k3s's.
const TOKENS: [&str; 2] = ["/var/lib/skerry/kube/token", "/var/lib/rancher/k3s/server/token"];
/// A word shorter than this is no secret worth the name, and would be found everywhere.
const SHORTEST: usize = 6;
const REMOVED: &[u8] = b"(removed)";

/// Makes it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let secrets = secrets().context("looking for the secrets to leave out (this needs root: try sudo)")?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let name = format!("skerry-support-{}-{seconds}", hostname());
    let folder = PathBuf::from("/run/skerry").join(&name);
    file::make_dir(&folder, 0o700)?;
    let packed = gather(&folder, &secrets).and_then(|()| match &args.stick {
        Some(device) => on_stick(device, &folder, &name),
        None => pack(&folder, &target(&args.output, &name)),
    });
    // It is memory, and was packed.
    let _ = std::fs::remove_dir_all(&folder);
    println!("{}", packed?.display());
    eprintln!("Configured secrets were removed; look through it before you give it away.");
    Ok(ExitCode::SUCCESS)
}

fn hostname() -> String {
    let text = file::read_text("/proc/sys/kernel/hostname", 256).unwrap_or_default();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    text.trim().chars().filter(is_plain).collect()
}

fn target(output: &Path, name: &str) -> PathBuf {
    if output.is_dir() {
        output.join(format!("{name}.tar.gz"))
    } else {
        output.to_owned()
    }
}

fn gather(folder: &Path, secrets: &BTreeSet<Vec<u8>>) -> Result<()> {
    let mut missing = String::new();
    let keep = |name: &str, bytes: &[u8]| -> Result<()> {
        let at = folder.join(name);
        if let Some(parent) = at.parent() {
            file::make_dir(parent, 0o700)?;
        }
        Ok(file::replace(at, &clean(bytes, secrets), 0o600)?)
    };
    for (path, most) in FILES {
        match file::read_bounded(path, most) {
            Ok(bytes) => keep(&format!("files{path}"), &bytes)?,
            Err(why) => _ = writeln!(missing, "{why}"),
        }
    }
    for (name, words) in COMMANDS {
        match ask(words) {
            Ok(bytes) => keep(name, &bytes)?,
            Err(why) => _ = writeln!(missing, "running {}: {why:#}", words.join(" ")),
        }
    }
    for entry in std::fs::read_dir(LOGS).into_iter().flatten().flatten() {
        match tail(&entry.path()) {
            Ok(bytes) => keep(&format!("logs/{}", entry.file_name().to_string_lossy()), &bytes)?,
            Err(why) => _ = writeln!(missing, "reading {}: {why}", entry.path().display()),
        }
    }
    keep("missing.txt", missing.as_bytes())
}

fn ask(words: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("timeout")
        .args(["-k", "1", "10"])
        .args(words)
        .stdin(Stdio::null())
        .output()?;
    ensure!(
        output.status.success() || !output.stdout.is_empty(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok([output.stdout, output.stderr].concat())
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut log = std::fs::File::open(path)?;
    let length = log.metadata()?.len();
    let most = u64::try_from(LOG_BYTES).unwrap_or(u64::MAX);
    log.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = vec![];
    log.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every secret value of the configuration: tokens, passwords, and what stands in files whose names say that they hold some.
fn secrets() -> Result<BTreeSet<Vec<u8>>> {
    let bytes = file::read_bounded(CONFIG, 1 << 24)?;
    let config: Value = serde_json::from_slice(&bytes).with_context(|| format!("reading {CONFIG}"))?;
    let mut found = BTreeSet::new();
    collect(&config, false, &mut found);
    for path in TOKENS {
        if let Ok(text) = file::read_text(path, 4096) {
            found.insert(text.trim().as_bytes().to_vec());
        }
    }
    found.retain(|s| s.len() >= SHORTEST);
    Ok(found)
}

/// Words in a key that make its value a secret.
const SECRET: [&str; 8] = ["token", "password", "passphrase", "secret", "psk", "private", "credential", "proxy"];

fn collect(value: &Value, is_secret: bool, into: &mut BTreeSet<Vec<u8>>) {
    match value {
        Value::String(text) if is_secret => {
            into.insert(text.clone().into_bytes());
            // It may be logged as it stands in a URL or in a file.
            into.extend(text.lines().map(|l| l.trim().as_bytes().to_vec()));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, is_secret, into)),
        Value::Object(fields) => {
            for (key, v) in fields {
                let key = key.to_ascii_lowercase();
                collect(v, is_secret || SECRET.iter().any(|s| key.contains(s)), into);
            }
        }
        _ => {}
    }
}

/// The bytes without the secrets; the longest are looked for first, since one may lie in another.
fn clean(bytes: &[u8], secrets: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    let mut ordered: Vec<&Vec<u8>> = secrets.iter().filter(|s| !s.is_empty()).collect();
    ordered.sort_by_key(|s| std::cmp::Reverse(s.len()));
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let (written, length) = match ordered.iter().find(|s| rest.starts_with(s)) {
            Some(secret) => (REMOVED, secret.len()),
            None => (std::slice::from_ref(first), 1),
        };
        out.extend_from_slice(written);
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

fn pack(folder: &Path, to: &Path) -> Result<PathBuf> {
    let (parent, name) = folder.parent().zip(folder.file_name()).context("packing: the folder has no name")?;
    let status = Command::new("tar")
        .arg("-czf")
        .arg(to)
        .arg("-C")
        .arg(parent)
        .arg(name)
        .status()
        .context("starting tar")?;
    ensure!(status.success(), "packing {}: tar ended with {status}", to.display());
    Ok(to.to_owned())
}

fn on_stick(device: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    let at = Path::new("/run/skerry/stick");
    file::make_dir(at, 0o700)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = ["vfat", "ext4", "exfat"]
        .iter()
        .any(|kind| mount::mount(device, at, kind, flags, "").is_ok());
    if !mounted {
        bail!(
            "mounting {}: it holds no FAT, ext4 or exFAT file system that this machine can write",
            device.display()
        );
    }
    let packed = pack(folder, &at.join(format!("{name}.tar.gz"))).and_then(|_| Ok(file::flush_file_system(at)?));
    mount::unmount_lazy(at)?;
    packed?;
    Ok(PathBuf::from(format!("{}:/{name}.tar.gz", device.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_their_keys() {
        let config = serde_json::json!({
            "hostname": "edge-hostname",
            "k3os": {"token": "K10abcdef", "wifi": [{"name": "home", "passphrase": "long enough"}], "password": "abc"},
            "env": {"HTTP_PROXY": "http://me:pass@proxy"},
        });
        let mut found = BTreeSet::new();
        collect(&config, false, &mut found);
        let text = |s: &str| found.contains(s.as_bytes());
        assert!(text("K10abcdef") && text("long enough") && text("http://me:pass@proxy"));
        assert!(!text("edge-hostname") && !text("home"));
    }

    #[test]
    fn secrets_are_removed_wherever_they_stand() {
        let secrets: BTreeSet<Vec<u8>> = ["secret", "secret-longer"].iter().map(|s| s.as_bytes().to_vec()).collect();
        assert_eq!(clean(b"a secret-longer, a secret.\xff", &secrets), b"a (removed), a (removed).\xff");
        assert_eq!(clean(b"", &secrets), b"");
    }
}
