//! The arrows between the rooms, and what PID 1 may not bring along, read from `cargo metadata` and `cargo tree`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The rooms from top to bottom; arrows point down. The last row is the pure rules and the kernel: no arrows among them but those
/// of [`AMONG_RULES`].
const ROWS: [&[&str]; 8] = [
    &["tests"],
    &["images"],
    &["iso"],
    &["cli", "init", "agent", "network", "logind"],
    &["upgrade"],
    &["installer"],
    &["fetch", "overlay"],
    &["config", "distribution", "slots", "control", "sys"],
];

/// Rules look only at the configuration; a distribution's plan is made of units for PID 1.
const AMONG_RULES: [(&str, &str); 2] = [("distribution", "config"), ("distribution", "control")];

/// Async runtimes, HTTP, TLS and D-Bus.
const NOT_IN_PID_1: [&str; 22] = [
    "tokio",
    "async-std",
    "async-executor",
    "async-io",
    "smol",
    "mio",
    "futures-executor",
    "reqwest",
    "hyper",
    "h2",
    "http",
    "ureq",
    "curl",
    "rustls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "aws-lc-rs",
    "zbus",
    "dbus",
    "kube",
];

struct Graph {
    /// Package name → names of what it links (not what its tests or build scripts use).
    links: BTreeMap<String, BTreeSet<String>>,
    rooms: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let arguments = ["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"];
        let out = Command::new(cargo)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
        let list = |v: &Value, key: &str| v[key].as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let names: BTreeMap<String, String> = list(&metadata, "packages")
            .iter()
            .map(|p| (text(&p["id"]), text(&p["name"])))
            .collect();
        let rooms = list(&metadata, "workspace_members")
            .iter()
            .map(|id| names[id.as_str().unwrap()].clone())
            .collect();
        let mut links: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"], "nodes") {
            let linked = |d: &Value| list(d, "dep_kinds").iter().any(|k| k["kind"].is_null());
            let to = list(&node, "deps")
                .iter()
                .filter(|d| linked(d))
                .map(|d| names[d["pkg"].as_str().unwrap()].clone())
                .collect::<Vec<_>>();
            links.entry(names[node["id"].as_str().unwrap()].clone()).or_default().extend(to);
        }
        Self { links, rooms }
    }
}

/// All that `package` links, itself included. From `cargo tree`: `cargo metadata` also follows features that only apply to optional
/// packages which nobody turned on.
fn tree(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = [
        "tree",
        "--edges=normal",
        "--prefix=none",
        "--target=x86_64-unknown-linux-gnu",
        "--package",
        package,
    ];
    let out = Command::new(cargo)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn room(package: &str) -> &str {
    package
        .strip_prefix("skerry-")
        .unwrap_or_else(|| panic!("{package} is no room: rooms are named skerry-…"))
}

fn row(room: &str) -> usize {
    ROWS.iter()
        .position(|r| r.contains(&room))
        .unwrap_or_else(|| panic!("{room} has no place among the rooms"))
}

#[test]
fn arrows_point_down() {
    let graph = Graph::read();
    let mut wrong = vec![];
    for from in &graph.rooms {
        for to in graph.links[from].intersection(&graph.rooms) {
            let (a, b) = (room(from), room(to));
            if row(a) >= row(b) && !AMONG_RULES.contains(&(a, b)) {
                wrong.push(format!("{a} → {b}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down: {wrong:?}");
}

#[test]
fn pid_1_brings_no_runtime_http_tls_or_dbus() {
    for package in ["skerry-control", "skerry-sys", "skerry-init"] {
        let linked = tree(package);
        assert!(linked.contains(package), "{linked:?}");
        let found: Vec<_> = linked.into_iter().filter(|p| NOT_IN_PID_1.contains(&p.as_str())).collect();
        assert!(found.is_empty(), "{package} links {found:?}");
    }
}

#[test]
fn only_fetch_speaks_http() {
    let graph = Graph::read();
    for from in graph.rooms.iter().filter(|r| room(r) != "fetch") {
        assert!(!graph.links[from].contains("reqwest"), "{from} links reqwest");
    }
}

#[test]
fn only_agent_speaks_to_kubernetes() {
    let graph = Graph::read();
    for from in graph.rooms.iter().filter(|r| room(r) != "agent") {
        assert!(!graph.links[from].contains("kube"), "{from} links kube");
    }
}

/// `logind` for kubelet, `network` for iwd.
#[test]
fn only_logind_and_network_speak_dbus() {
    let graph = Graph::read();
    for from in graph.rooms.iter().filter(|r| !["logind", "network"].contains(&room(r))) {
        assert!(!graph.links[from].contains("zbus"), "{from} links zbus");
    }
}

/// The package of PID 1 has a second program, `setup`, which parses; PID 1 itself does not so much as name a parser.
#[test]
fn pid_1_names_no_parser() {
    const PARSERS: [&str; 9] = [
        "skerry_installer",
        "gpt",
        "skerry_config",
        "skerry_distribution",
        "skerry_overlay",
        "serde",
        "serde_json",
        "anyhow",
        "clap",
    ];
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("../init/src");
    let mut files = vec![];
    sources(&init, &mut files);
    assert!(!files.is_empty(), "no sources in {}", init.display());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for parser in PARSERS {
            let named = text
                .lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(&format!("{parser}::")));
            assert!(!named, "{} names {parser}", file.display());
        }
    }
}

fn sources(dir: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "setup") {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}
