//! What others read: resolv.conf, time servers, the report. Each is written when it changed, whole.

use crate::daemon::Places;
use crate::facts::Facts;
use crate::names::{chrony_sources, resolv_conf, time_servers};
use crate::request::{Assigned, Request};
use crate::state::{More, state};
use crate::wanted::Leases;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where chronyd listens, when it runs.
const CHRONY_SOCKET: &str = "/run/chrony/chronyd.sock";

/// The files, and what stands in them.
#[derive(Debug)]
pub struct Outputs {
    resolv: File,
    report: File,
    more: File,
    sources: File,
    /// chronyd has not been told about its sources yet.
    untold: bool,
    children: Vec<Child>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    content: Option<String>,
}

impl Outputs {
    /// Knows where to write; what is there is read, so that a restart changes nothing.
    pub fn new(places: &Places) -> Self {
        let file = |dir: &Path, name: &str| {
            let path = dir.join(name);
            let content = skerry_sys::file::read_bounded(&path, 1024 * 1024)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            File { path, content }
        };
        Self {
            resolv: file(&places.run, "resolv.conf"),
            report: file(&places.run, "network-state.json"),
            more: file(&places.run, "netd.json"),
            sources: file(&places.chrony, "skerry.sources"),
            untold: false,
            children: Vec::new(),
        }
    }

    /// Writes what changed. The report is last: who sees it finds the rest done.
    pub fn write(&mut self, request: &Request, facts: &Facts, assigned: &Assigned, leases: &Leases, elapsed: Duration) {
        self.resolv.write(resolv_conf(request, assigned, leases));
        let servers = chrony_sources(&time_servers(request, leases));
        if !(servers.is_empty() && self.sources.content.is_none()) {
            self.untold |= self.sources.write(servers);
        }
        self.report
            .write(serde_json::to_string(&state(facts, assigned, leases, elapsed)).unwrap_or_default() + "\n");
    }

    /// Writes what `skerry network` shows besides interfaces.
    pub fn tell(&mut self, more: &More) {
        self.more.write(serde_json::to_string(more).unwrap_or_default() + "\n");
    }

    /// Tells chronyd, if it runs, that its sources changed. If it does not, it will read them when it starts.
    pub fn tell_chrony(&mut self) {
        if !std::mem::take(&mut self.untold) || !Path::new(CHRONY_SOCKET).exists() {
            return;
        }
        let child = Command::new("chronyc")
            .args(["reload", "sources"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => self.children.push(child),
            Err(error) => tracing::debug!(%error, "telling chronyd"),
        }
    }

    /// Collects programs that have ended.
    pub fn reap(&mut self) {
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

impl File {
    /// Replaces the content if it is another; whether it was.
    fn write(&mut self, content: String) -> bool {
        if self.content.as_ref() == Some(&content) {
            return false;
        }
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let made = std::fs::create_dir_all(dir).map_err(|source| skerry_sys::Error {
            doing: "making",
            on: dir.display().to_string(),
            source,
        });
        match made.and_then(|()| skerry_sys::file::replace(&self.path, content.as_bytes(), 0o644)) {
            Ok(()) => self.content = Some(content),
            Err(error) => tracing::warn!("{error}"),
        }
        true
    }
}
