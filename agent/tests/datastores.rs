//! The cluster's objects in every store that there is, under a real API server: SQLite, etcd, Debian's PostgreSQL and `MariaDB`; saved,
//! put back, and moved from SQLite to etcd.
//!
//! `SKERRY_KUBERNETES=PATH` names the multi-call program of a release; without it, or without the database's own programs
//! (`apt-get install postgresql mariadb-server-core mariadb-client-core`), nothing is tested here, and it says so. `make test` names the
//! program and counts what was skipped.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "a test's own scratch files")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/cluster.rs"]
mod cluster;
#[path = "real/database.rs"]
mod database;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/wait.rs"]
mod wait;

use cluster::{Cluster, Store, free_port};
use database::Database;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use wait::program;

#[allow(clippy::print_stdout, reason = "the suite counts these lines")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("skerry-datastores-{name}-{}", std::process::id()))
}

fn maps(cluster: &Cluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.admin.clone(), "default")
}

async fn create(cluster: &Cluster, name: &str) -> u64 {
    let map = serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "is": name } })).unwrap();
    revision(&maps(cluster).create(&PostParams::default(), &map).await.unwrap())
}

fn revision(map: &ConfigMap) -> u64 {
    map.resource_version().unwrap().parse().unwrap()
}

/// Those of ours that are there, each with the revision of its last change.
async fn there(cluster: &Cluster) -> Vec<(String, u64)> {
    let all = maps(cluster).list(&ListParams::default()).await.unwrap();
    let ours = all.items.iter().filter(|m| m.name_any() != "kube-root-ca.crt");
    ours.map(|m| (m.name_any(), revision(m))).collect()
}

fn names(there: &[(String, u64)]) -> Vec<&str> {
    there.iter().map(|(name, _)| name.as_str()).collect()
}

/// Who saw `revision` and asks what happened since is sent back to the beginning, and not told that nothing did.
async fn is_too_old(cluster: &Cluster, revision: u64) -> bool {
    let path = format!("/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=5&resourceVersion={revision}");
    let request = http::Request::get(path).body(vec![]).unwrap();
    let said = cluster.admin.request_text(request).await;
    match said {
        Ok(text) => text.contains("\"code\":410"),
        Err(kube::Error::Api(why)) => why.code == 410,
        Err(why) => panic!("{why}"),
    }
}

fn datastore(cluster: &Cluster, words: &[&str]) -> Output {
    Command::new(cluster.dir.join("bin/datastore")).args(words).output().unwrap()
}

fn done(cluster: &Cluster, words: &[&str]) -> String {
    let out = datastore(cluster, words);
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn look(cluster: &Cluster, path: &str) -> Value {
    serde_json::from_str(&done(cluster, &["look", path])).unwrap()
}

/// Power off, `between`, power on.
async fn cut(cluster: &mut Cluster, store: Store, between: impl FnOnce(&Cluster)) {
    cluster.kill("kube-apiserver");
    cluster.kill(cluster.daemon());
    between(cluster);
    cluster.store = store;
    cluster.begin(cluster.daemon());
    cluster.begin("kube-apiserver");
    cluster.ready().await;
}

fn swap(cluster: &Cluster, folder: &str) {
    let at = |name: &str| cluster.dir.join(name);
    let _ = std::fs::remove_dir_all(at(&format!("{folder}.before")));
    if at(folder).exists() {
        std::fs::rename(at(folder), at(&format!("{folder}.before"))).unwrap();
    }
    std::fs::rename(at(&format!("{folder}.new")), at(folder)).unwrap();
}

#[allow(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test]
async fn objects_outlive_their_store() {
    let Some(program) = program() else { return };
    let dir = folder("own");
    let mut cluster = Cluster::prepare(&program, &dir, Store::Sqlite);
    let at = |name: &str| dir.join(name).display().to_string();
    cluster.begin("kine");
    cluster.begin("kube-apiserver");
    cluster.ready().await;

    // A snapshot of SQLite while it is in use, and back.
    create(&cluster, "one").await;
    done(&cluster, &["save-sqlite", &at("db/state.db"), &at("first.db")]);
    let saved = look(&cluster, &at("first.db"));
    assert_eq!(saved["kind"], "sqlite");
    assert!(saved["objects"].as_u64().unwrap() > 50, "{saved}");
    let lost = create(&cluster, "lost").await;
    cut(&mut cluster, Store::Sqlite, |cluster| {
        std::fs::create_dir(at("db.new")).unwrap();
        done(cluster, &["to-sqlite", &at("first.db"), &at("db.new/state.db"), &at("db/state.db")]);
        swap(cluster, "db");
    })
    .await;
    assert_eq!(names(&there(&cluster).await), ["one"]);
    assert!(is_too_old(&cluster, lost).await);
    assert!(create(&cluster, "two").await > lost, "revisions never go back");

    // From SQLite to etcd: the same objects, at the same revisions.
    let before = there(&cluster).await;
    let port = free_port();
    let started = std::time::Instant::now();
    cut(&mut cluster, Store::Etcd(port), |cluster| {
        done(cluster, &["to-etcd", &at("db/state.db"), &at("etcd.new"), "s1", PEER]);
        eprintln!("moved to etcd in {:.1} s", started.elapsed().as_secs_f32());
        swap(cluster, "etcd");
    })
    .await;
    assert_eq!(there(&cluster).await, before);
    assert!(create(&cluster, "three").await > before[1].1);

    // A snapshot of etcd while it is in use, and back.
    let pki = |name: &str| at(&format!("etc/kubernetes/pki/{name}"));
    let ca = pki("ca.crt");
    let [certificate, key] = ["apiserver-kubelet-client.crt", "apiserver-kubelet-client.key"].map(pki);
    let url = format!("https://127.0.0.1:{port}");
    done(&cluster, &["save-etcd", &url, &ca, &certificate, &key, &at("second.db")]);
    assert_eq!(look(&cluster, &at("second.db"))["kind"], "etcd");
    let before = there(&cluster).await;
    let lost = create(&cluster, "lost").await;
    cut(&mut cluster, Store::Etcd(port), |cluster| {
        let replaced = at("etcd/member/snap/db");
        done(cluster, &["to-etcd", &at("second.db"), &at("etcd.new"), "s1", PEER, &replaced]);
        swap(cluster, "etcd");
    })
    .await;
    assert_eq!(there(&cluster).await, before);
    assert!(is_too_old(&cluster, lost).await);
    assert!(create(&cluster, "four").await > lost, "revisions never go back");

    // Power off in the middle of a write: what was answered is there.
    let before = there(&cluster).await;
    cut(&mut cluster, Store::Etcd(port), |_| {}).await;
    assert_eq!(there(&cluster).await, before);

    what_is_damaged_is_refused(&cluster, &at);
    // etcd's objects do not go back to SQLite.
    let out = datastore(&cluster, &["to-sqlite", &at("second.db"), &at("never.db")]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("--cluster-init"));
    drop(cluster);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// No other member ever calls it.
const PEER: &str = "http://127.0.0.1:2380";

fn what_is_damaged_is_refused(cluster: &Cluster, at: &dyn Fn(&str) -> String) {
    for (name, flip) in [("second.db", 9000), ("first.db", 0)] {
        let whole = std::fs::read(at(name)).unwrap();
        let mut bytes = whole.clone();
        bytes[flip] ^= 0x40;
        for content in [&bytes[..], &whole[..whole.len() / 2], b""] {
            std::fs::write(at("damaged.db"), content).unwrap();
            assert!(
                !datastore(cluster, &["look", &at("damaged.db")]).status.success(),
                "{name}: {} bytes",
                content.len()
            );
            let made = datastore(cluster, &["to-etcd", &at("damaged.db"), &at("made"), "s1", PEER]);
            assert!(!made.status.success() && !Path::new(&at("made")).exists());
        }
    }
}

/// A cluster in a database: objects are there after it, kine and the API server lost their power.
async fn lives_in(program: &Path, dir: &Path, mut database: Database) {
    let store = Store::Database(database.endpoint());
    let mut cluster = Cluster::prepare(program, &dir.join("cluster"), store.clone());
    cluster.begin("kine");
    cluster.begin("kube-apiserver");
    cluster.ready().await;
    for n in 0..20 {
        create(&cluster, &format!("map-{n:02}")).await;
    }
    let before = there(&cluster).await;
    assert_eq!(before.len(), 20);
    cut(&mut cluster, store, |_| database.cut()).await;
    assert_eq!(there(&cluster).await, before);
    assert!(create(&cluster, "later").await > before[19].1);
    drop((cluster, database));
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_cluster_lives_in_postgresql() {
    let Some(program) = program() else { return };
    let dir = folder("postgresql");
    match Database::postgresql(&dir) {
        Some(database) => lives_in(&program, &dir, database).await,
        None => skipped("no PostgreSQL is installed (apt-get install postgresql)"),
    }
}

#[tokio::test]
async fn a_cluster_lives_in_mariadb() {
    let Some(program) = program() else { return };
    let dir = folder("mariadb");
    match Database::mariadb(&dir) {
        Some(database) => lives_in(&program, &dir, database).await,
        None => skipped("no MariaDB is installed (apt-get install mariadb-server-core mariadb-client-core)"),
    }
}
