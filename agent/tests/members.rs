//! Three etcds as three servers run them: they join as learners, one is cut off, one loses its disk, one is deleted from the cluster, and
//! the last one goes on alone.
//!
//! `SKERRY_KUBERNETES=PATH` names the multi-call program of a release; without it nothing is tested here, and it says so.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "a test's own scratch files")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/wait.rs"]
mod wait;

use cluster::{Cluster, Store};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use skerry_agent::client;
use skerry_agent::issue::Credentials;
use skerry_agent::members;
use skerry_agent::places::Places;
use skerry_distribution::kubernetes::datastore::{self, Start, peer_url};
use skerry_distribution::kubernetes::member::{self, Ask, Member, Next};
use skerry_distribution::kubernetes::settings;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wait::{program, until};

const NAMES: [&str; 3] = ["s1", "s2", "s3"];

/// One server's etcd.
struct Server {
    name: &'static str,
    address: Ipv4Addr,
    dir: PathBuf,
    running: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Server {
    fn new(at: u8, dir: &Path) -> Self {
        Self {
            name: NAMES[usize::from(at)],
            address: Ipv4Addr::new(127, 0, 0, at + 1),
            dir: dir.to_owned(),
            running: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join(format!("etcd-{}", self.name))
    }

    /// With the flags of a real server; only files and addresses are the test's.
    fn start(&mut self, start: &Start) {
        let facts = skerry_distribution::facts::Facts {
            node_name: self.name.into(),
            ..Default::default()
        };
        let (settings, _) = settings(&skerry_config::types::Config::default(), &facts);
        let (argv, _) = datastore::etcd(&settings, self.address, start);
        let pki = self.dir.join("etc/kubernetes/pki").display().to_string();
        let own = |flag: &String| {
            flag.replace("/etc/kubernetes/pki", &pki)
                .replace("/var/lib/skerry/kube/etcd", &self.data().display().to_string())
                .replace("listen-client-urls=https://127.0.0.1:2379,", "listen-client-urls=")
        };
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("log/{}.log", self.name)))
            .unwrap();
        let child = Command::new(self.dir.join("bin/etcd"))
            .args(argv.iter().skip(1).map(own))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    fn cut(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn client(&self) -> Client {
        let read = |name: &str| std::fs::read_to_string(self.dir.join("etc/kubernetes/pki").join(name)).unwrap();
        let credentials = Credentials {
            certificate: read("apiserver-etcd-client.crt"),
            key: read("apiserver-etcd-client.key"),
        };
        let mut config = client::config(&format!("https://{}:2379", self.address), Some(read("etcd/ca.crt").as_bytes())).unwrap();
        config.tls_server_name = None;
        client::connect(config, Some(&credentials)).unwrap()
    }

    async fn ask(&self, what: &Ask) -> Option<Value> {
        let request = http::Request::post(what.path).body(what.body.to_string().into_bytes()).unwrap();
        let client = self.client();
        let asked = tokio::time::timeout(Duration::from_secs(8), client.request::<Value>(request));
        asked.await.ok()?.ok()
    }

    async fn members(&self) -> Option<Vec<Member>> {
        member::members(&self.ask(&member::list()).await?)
    }

    /// Writes; none while there is no majority.
    async fn put(&self) -> Option<()> {
        let body = json!({ "key": "L3Rlc3Q=", "value": "MQ==" });
        self.ask(&Ask { path: "/v3/kv/put", body }).await.map(drop)
    }

    /// As `setup kube run etcd` and `setup kube member` do it.
    async fn join(&mut self, by: &Server) {
        let url = peer_url(self.address);
        let start = until("it is a member", async || {
            match member::next(&by.members().await?, self.name, &url) {
                Next::Ask(what) => {
                    by.ask(&what).await;
                    None
                }
                Next::Start(all) => Some(all),
            }
        })
        .await;
        self.start(&Start::Joining(start));
        until("it has a vote", async || match member::promote(&by.members().await?, &url) {
            Some(what) => {
                by.ask(&what).await;
                None
            }
            None => Some(()),
        })
        .await;
    }
}

fn voting(members: &[Member]) -> Vec<&str> {
    let mut names: Vec<&str> = members.iter().filter(|m| !m.learner).map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn three_servers_hold_the_objects() {
    let Some(program) = program() else { return };
    let dir = std::env::temp_dir().join(format!("skerry-members-{}", std::process::id()));
    let mut cluster = Cluster::prepare(&program, &dir, Store::Members);
    let [mut one, mut two, mut three] = [0, 1, 2].map(|at| Server::new(at, &dir));
    one.start(&Start::New);
    until("the first answers", async || one.put().await).await;
    two.join(&one).await;
    three.join(&one).await;
    assert_eq!(voting(&one.members().await.unwrap()), NAMES);

    // The API server, and the agent that follows deleted nodes.
    cluster.begin("kube-apiserver");
    cluster.ready().await;
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    for name in NAMES {
        let node = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }
    let mut places = Places::below(&dir);
    places.local_etcd = (two.address, 2379).into();
    let admin = cluster.admin.clone();
    tokio::spawn(async move { members::follow(admin, &places, "s2").await });

    // The one that made the cluster is cut off: writes go on.
    one.cut();
    until("the others take writes", async || two.put().await).await;
    one.start(&Start::Again);
    until("it is back", async || one.put().await).await;

    // One loses its disk, and joins by the same words.
    three.cut();
    std::fs::remove_dir_all(three.data()).unwrap();
    three.join(&two).await;
    assert_eq!(voting(&two.members().await.unwrap()), NAMES);

    // One is gone for good: its Node is deleted, and two of two can lose nobody, but three of three can be had again.
    three.cut();
    std::fs::remove_dir_all(three.data()).unwrap();
    nodes.delete("s3", &DeleteParams::default()).await.unwrap();
    until("the deleted one is no member", async || {
        (voting(&one.members().await?) == ["s1", "s2"]).then_some(())
    })
    .await;
    three.join(&one).await;

    // All but one are lost: nothing can be written, until it goes on alone.
    two.cut();
    three.cut();
    assert_eq!(one.put().await, None);
    one.cut();
    one.start(&Start::Alone);
    until("it goes on alone", async || one.put().await).await;
    assert_eq!(voting(&one.members().await.unwrap()), ["s1"]);
    one.cut();
    one.start(&Start::Again);
    until("and so after the next start", async || one.put().await).await;
    assert_eq!(voting(&one.members().await.unwrap()), ["s1"]);
    let kept: Vec<String> = until("the objects are there", async || {
        Some(nodes.list(&kube::api::ListParams::default()).await.ok()?.items)
    })
    .await
    .into_iter()
    .filter_map(|n| n.metadata.name)
    .collect();
    assert_eq!(kept, ["s1", "s2"]);

    // Another joins what is left of it.
    std::fs::remove_dir_all(two.data()).unwrap();
    two.join(&one).await;
    assert_eq!(voting(&one.members().await.unwrap()), ["s1", "s2"]);
    drop((cluster, one, two, three));
    std::fs::remove_dir_all(&dir).unwrap();
}
