//! `datastore`: before the datastore starts, it is made what was ordered (a snapshot put back) or what follows from the configuration
//! (SQLite's objects moved to etcd). And the orders themselves.

use super::look::{self, Machine};
use super::program;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use skerry_distribution::kubernetes::change::{self, Order, Step};
use skerry_distribution::kubernetes::datastore::{Datastore, peer_url};
use skerry_distribution::kubernetes::held::Held;
use skerry_distribution::kubernetes::paths::{CLUSTER, COMPLETE, DATASTORE, ETCD_DATA, ORDER, PROGRAMS, RESTORE};
use skerry_sys::file;
use std::fs;
use std::path::Path;

/// What this machine holds of a cluster.
pub fn held() -> Held {
    let is_there = |path: &str| Path::new(path).exists();
    Held {
        keys: is_there(COMPLETE),
        cluster: is_there(CLUSTER),
        sqlite: is_there(&format!("{DATASTORE}/state.db")),
        etcd: is_there(&format!("{ETCD_DATA}/member/snap/db")),
    }
}

/// What was ordered and is not done yet.
pub fn ordered() -> Result<Option<Order>> {
    let text = look::text(ORDER);
    if text.is_empty() {
        return Ok(None);
    }
    let order = serde_json::from_str(&text).with_context(|| format!("reading {ORDER}: remove it to take the order back"))?;
    Ok(Some(order))
}

/// Every step that is left to do.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let fresh = change::place(&m.settings.datastore).is_some_and(|(folder, _)| Path::new(&format!("{folder}.new")).exists());
    let steps = change::steps(&m.settings.role, &m.settings.datastore, held(), ordered()?, fresh);
    for step in &steps {
        perform(&m, step)?;
    }
    Ok(())
}

fn perform(m: &Machine, step: &Step) -> Result<()> {
    match step {
        Step::Make { from, to, replaced } => make(m, from, to, replaced.as_deref()),
        Step::Note(order) => note(*order),
        Step::Rename { from, to } => {
            println!("{from} becomes {to}");
            remove(to)?;
            fs::rename(from, to).with_context(|| format!("renaming {from} to {to}"))?;
            flush_beside(to)
        }
        Step::Forget => forget(),
    }
}

fn make(m: &Machine, from: &str, to: &str, replaced: Option<&str>) -> Result<()> {
    println!("making the datastore of {from}");
    remove(to)?;
    let replaced: Vec<&str> = replaced.into_iter().collect();
    let made = match &m.settings.datastore {
        Datastore::Sqlite => {
            file::make_dir(to, 0o700)?;
            let database = format!("{to}/state.db");
            applet(&[&["to-sqlite", from, &database], replaced.as_slice()].concat())
        }
        Datastore::Etcd => {
            let (name, url) = (&m.settings.node_name, peer_url(look::address()?.four));
            applet(&[&["to-etcd", from, to, name, &url], replaced.as_slice()].concat())
        }
        Datastore::External(_) => bail!("making the datastore: it is the owner's own"),
    };
    made?;
    // The applet has flushed its files; their names count only with their folders.
    file::flush_file_system(Path::new(to))?;
    Ok(())
}

fn note(order: Order) -> Result<()> {
    Ok(file::replace(ORDER, serde_json::to_string(&order)?.as_bytes(), 0o600)?)
}

/// The order first: what was to be restored is needed as long as it stands.
pub fn forget() -> Result<()> {
    for path in [ORDER, RESTORE] {
        match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(|| format!("removing {path}")),
            _ => flush_beside(path)?,
        }
    }
    Ok(())
}

fn remove(folder: &str) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("removing {folder}")),
        _ => Ok(()),
    }
}

fn flush_beside(path: &str) -> Result<()> {
    if let Some(parent) = Path::new(path).parent() {
        file::flush_dir(parent)?;
    }
    Ok(())
}

/// What a snapshot holds, as the applet says it.
#[derive(Debug, Deserialize)]
pub struct Content {
    /// `sqlite` or `etcd`.
    pub kind: String,
    /// The last revision.
    pub revision: i64,
    /// How many objects there are.
    pub objects: u64,
}

/// Reads a snapshot, or a datastore that is not in use, to its end.
pub fn content(path: &str) -> Result<Content> {
    let said = applet(&["look", path])?;
    serde_json::from_str(&said).with_context(|| format!("reading what {path} holds"))
}

/// Runs the part of Kubernetes' program that knows both kinds of store.
pub fn applet(words: &[&str]) -> Result<String> {
    program::output(&[&[PROGRAMS, "datastore"], words].concat(), None)
}

/// Orders that a snapshot is put back at the next boot.
pub fn restore(path: &str) -> Result<()> {
    let m = look::machine()?;
    let kind = match m.settings.datastore {
        _ if !m.settings.role.is_server() => bail!("restoring {path}: this machine is a worker; the objects are on the servers"),
        Datastore::Sqlite => "sqlite",
        Datastore::Etcd => "etcd",
        Datastore::External(_) => bail!("restoring {path}: the objects are in a database of yours; restore it by its own tools"),
    };
    is_free()?;
    // The copy is looked at, and is the one that counts.
    let part = format!("{RESTORE}.part");
    let mut source = fs::File::open(path).with_context(|| format!("opening {path}"))?;
    let mut copy = fs::File::create(&part).with_context(|| format!("writing {part}"))?;
    std::io::copy(&mut source, &mut copy).with_context(|| format!("copying {path} to {part}"))?;
    copy.sync_all().with_context(|| format!("writing {part}"))?;
    let found = content(&part).with_context(|| format!("looking at {path}: nothing was changed"))?;
    if kind == "sqlite" && found.kind != kind {
        bail!("restoring {path}: it holds etcd's objects, and this server keeps SQLite's / try: write --cluster-init first, then restore");
    }
    // An order that stands already takes its snapshot along.
    forget()?;
    fs::rename(&part, RESTORE).with_context(|| format!("renaming {part}"))?;
    flush_beside(RESTORE)?;
    note(Order::Restore)?;
    println!(
        "{path} holds {} objects at revision {}; the next restart puts it back, and what is there now stays beside it",
        found.objects, found.revision
    );
    Ok(())
}

/// Orders that etcd goes on with this server alone.
pub fn alone() -> Result<()> {
    let m = look::machine()?;
    if m.settings.datastore != Datastore::Etcd || !held().etcd {
        bail!("ordering that this server goes on alone: it keeps no objects in etcd");
    }
    is_free()?;
    forget()?;
    note(Order::Alone)?;
    println!("the next restart makes this server the only member of etcd; the others must be reset before they come back");
    Ok(())
}

/// Takes an order back.
pub fn cancel() -> Result<()> {
    is_free()?;
    if ordered()?.is_none() {
        bail!("taking the order back: there is none");
    }
    forget()
}

/// An order that is half performed is performed to its end.
fn is_free() -> Result<()> {
    if ordered()? == Some(Order::Made) {
        bail!("changing the order: a snapshot is being put back; restart the machine, then order something else");
    }
    Ok(())
}
