//! `datastore due|save|list|delete`: copies of the cluster's objects, made while they are in use.
//!
//! A copy is written under a name with a dot, read to its end, and renamed: what has a snapshot's name is whole.

use super::change::{applet, content};
use super::look::{self, Machine};
use anyhow::{Context, Result, bail};
use serde_json::json;
use skerry_distribution::kubernetes::datastore::{Datastore, etcd_client};
use skerry_distribution::kubernetes::paths::DATASTORE;
use skerry_distribution::kubernetes::snapshots::{self, ON_DEMAND, Snapshot};
use skerry_sys::file;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One, if it is time; and what is too many goes.
pub fn due() -> Result<()> {
    let m = look::machine()?;
    let (settings, node) = (&m.settings.snapshots, &m.settings.node_name);
    file::make_dir(&settings.folder, 0o700)?;
    if !settings.is_due(&there(&m)?, node, now()?) {
        return Ok(());
    }
    save(&m, &settings.name)?;
    for name in settings.surplus(&there(&m)?, node) {
        println!("{name} is one too many and is removed");
        remove(&m, &name)?;
    }
    Ok(())
}

/// One, now.
pub fn on_demand(name: Option<&str>) -> Result<()> {
    let m = look::machine()?;
    let name = name.unwrap_or(ON_DEMAND);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with('.') || name.is_empty() || !name.chars().all(is_plain) {
        bail!("saving a snapshot under the name {name:?}: letters, digits, dashes and dots only");
    }
    if !m.settings.role.is_server() {
        bail!("saving a snapshot: this machine is a worker; the objects are on the servers");
    }
    file::make_dir(&m.settings.snapshots.folder, 0o700)?;
    save(&m, name)
}

fn save(m: &Machine, name: &str) -> Result<()> {
    let folder = &m.settings.snapshots.folder;
    let file = snapshots::file_name(name, &m.settings.node_name, now()?);
    let part = format!("{folder}/.{file}");
    // Of earlier attempts that a cut ended.
    for left in names(folder)?.iter().filter(|n| n.starts_with('.') && n.contains(".db")) {
        fs::remove_file(Path::new(folder).join(left)).with_context(|| format!("removing {folder}/{left}"))?;
    }
    match &m.settings.datastore {
        Datastore::Sqlite => applet(&["save-sqlite", &format!("{DATASTORE}/state.db"), &part])?,
        Datastore::Etcd => {
            let [ca, cert, key] = etcd_client();
            applet(&["save-etcd", "https://127.0.0.1:2379", &ca, &cert, &key, &part])?
        }
        Datastore::External(_) => bail!("saving a snapshot: the objects are in a database of yours; save it by its own tools"),
    };
    let found = content(&part).context("reading the snapshot again")?;
    let path = format!("{folder}/{file}");
    fs::rename(&part, &path).with_context(|| format!("renaming {part} to {path}"))?;
    file::flush_dir(Path::new(folder))?;
    println!("{path}: {} objects at revision {}", found.objects, found.revision);
    Ok(())
}

/// All, oldest first.
pub fn list(as_json: bool) -> Result<()> {
    let m = look::machine()?;
    let folder = &m.settings.snapshots.folder;
    let all: Vec<(Snapshot, u64)> = there(&m)?
        .into_iter()
        .map(|s| {
            let size = fs::metadata(Path::new(folder).join(&s.file)).map(|f| f.len()).unwrap_or_default();
            (s, size)
        })
        .collect();
    if as_json {
        let rows: Vec<_> = all
            .iter()
            .map(|(s, size)| json!({ "name": s.file, "path": format!("{folder}/{}", s.file), "made": s.made, "bytes": size }))
            .collect();
        println!("{:#}", json!(rows));
        return Ok(());
    }
    for (s, size) in &all {
        println!("{folder}/{} {size} bytes", s.file);
    }
    if all.is_empty() {
        println!("no snapshots in {folder} yet");
    }
    Ok(())
}

/// Those with these names, or paths in the folder.
pub fn delete(wanted: &[&str]) -> Result<()> {
    let m = look::machine()?;
    let all = there(&m)?;
    for name in wanted {
        let plain = name.strip_prefix(&format!("{}/", m.settings.snapshots.folder)).unwrap_or(name);
        if !all.iter().any(|s| s.file == plain) {
            bail!("deleting {name}: there is no such snapshot; `skerry datastore list` shows all");
        }
        remove(&m, plain)?;
        println!("{plain} is deleted");
    }
    Ok(())
}

fn remove(m: &Machine, name: &str) -> Result<()> {
    let path = Path::new(&m.settings.snapshots.folder).join(name);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

fn there(m: &Machine) -> Result<Vec<Snapshot>> {
    Ok(snapshots::read(&names(&m.settings.snapshots.folder)?))
}

fn names(folder: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        other => other.with_context(|| format!("reading {folder}"))?,
    };
    Ok(entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
}

fn now() -> Result<i64> {
    Ok(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    )?)
}
