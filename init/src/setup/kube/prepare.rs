//! `prepare`: what needs no network, so that everything else can start as early as possible.

use super::{change, look};
use anyhow::{Result, bail};
use skerry_distribution::kubernetes::held::conflict;
use skerry_distribution::kubernetes::paths::{
    ADD_ONS, AGENT_JSON, CHARTS, CONFLIST, DATASTORE, ETCD_DATA, JOIN, KINE_DIR, MANIFESTS, OWNER_IMAGES, RUN, STATE, TOKEN,
};
use skerry_distribution::kubernetes::registries::{REGISTRIES, hosts};
use skerry_distribution::kubernetes::role::Role;
use skerry_distribution::kubernetes::settings::Token;
use skerry_distribution::kubernetes::{cluster, files};
use skerry_sys::file;
use std::io::Read;
use std::path::Path;

/// Directory, permissions.
const DIRS: &[(&str, u32)] = &[
    (RUN, 0o755),
    (KINE_DIR, 0o700),
    (STATE, 0o700),
    (DATASTORE, 0o700),
    (ETCD_DATA, 0o700),
    ("/etc/kubernetes", 0o700),
    ("/etc/cni/net.d", 0o755),
    ("/etc/rancher/k3s", 0o755),
    ("/run/cni/networks", 0o755),
    ("/run/containerd", 0o711),
    ("/var/lib/containerd", 0o711),
    ("/var/lib/kubelet", 0o700),
    ("/var/log/pods", 0o755),
    ("/var/log/containers", 0o755),
    (OWNER_IMAGES, 0o755),
    (ADD_ONS, 0o755),
    (CHARTS, 0o755),
];

/// Directories, files, the secret.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    if let Some(why) = conflict(&m.settings.role, &m.settings.datastore, change::held()) {
        bail!("starting Kubernetes: {why}");
    }
    for (dir, mode) in DIRS.iter().copied().chain(MANIFESTS.map(|m| (m, 0o755))) {
        file::make_dir(dir, mode)?;
    }
    for f in skerry_distribution::plan(&m.config, &m.facts).files {
        if look::text(&f.path) != f.text && !(f.path == CONFLIST && is_kept(&f.path)) {
            file::replace(&f.path, f.text.as_bytes(), f.mode)?;
        }
    }
    if m.settings.role == Role::First && m.settings.token == Token::Random && look::text(TOKEN).trim().is_empty() {
        file::replace(TOKEN, format!("{}\n", random()?).as_bytes(), 0o600)?;
        println!("no token is configured: 128 random bits were made, see {TOKEN}");
    }
    if m.settings.role != Role::First {
        // Without a token only a node that joined already starts; `agent join` says so.
        let token = look::token(&m.settings.token).unwrap_or_else(|why| {
            println!("{why:#}");
            String::new()
        });
        file::replace(JOIN, files::pretty(&cluster::join(&m.settings, &token)).as_bytes(), 0o600)?;
    }
    agent(&m)?;
    registries()?;
    if m.settings.network {
        name_foreign_networks();
    } else if Path::new(CONFLIST).exists() {
        // Switched off: what an earlier boot left would still be read.
        std::fs::remove_file(CONFLIST)?;
    }
    Ok(())
}

/// For `agent run`.
pub fn agent(m: &look::Machine) -> Result<()> {
    Ok(file::replace(
        AGENT_JSON,
        files::pretty(&cluster::agent(&m.settings)).as_bytes(),
        0o644,
    )?)
}

/// What k3s's file says of registries, for containerd. A file that the owner wrote for containerd itself counts more.
pub fn registries() -> Result<()> {
    let text = look::text(REGISTRIES);
    if text.trim().is_empty() {
        return Ok(());
    }
    let read = match skerry_config::plain(&text) {
        Ok(read) => read,
        Err(why) => {
            println!("reading {REGISTRIES}: {why}: no registry is set up by it");
            return Ok(());
        }
    };
    let (files, without) = hosts(&read);
    for line in without {
        println!("{REGISTRIES}: {line}");
    }
    for f in files.iter().filter(|f| !Path::new(&f.path).exists()) {
        if let Some(dir) = Path::new(&f.path).parent() {
            file::make_dir(dir, 0o755)?;
        }
        file::replace(&f.path, f.text.as_bytes(), f.mode)?;
    }
    Ok(())
}

/// Ours of an earlier boot holds the range that the cluster gave the node (`ready` sees to that): it stays.
fn is_kept(path: &str) -> bool {
    look::text(path).contains("\"name\": \"skerry\"")
}

/// Another CNI's configuration is left alone; containerd takes the first by name.
fn name_foreign_networks() {
    let ours = Path::new(CONFLIST);
    let Some(entries) = ours.parent().and_then(|d| std::fs::read_dir(d).ok()) else {
        return;
    };
    let mut foreign: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p != ours).collect();
    foreign.retain(|p| p.extension().is_some_and(|e| e == "conflist" || e == "conf" || e == "json"));
    if let Some(first) = foreign.iter().min() {
        let which = if first.as_path() < ours { first } else { ours };
        println!(
            "the pod network is the one of {}: it is the first of several by name",
            which.display()
        );
    }
}

fn random() -> Result<String> {
    let mut bytes = [0u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(look::hex(&bytes))
}
