//! Joining, approval, renewal and tokens against a real control plane.
//!
//! `SKERRY_KUBERNETES=PATH` names the multi-call program of a release (`/usr/bin/kube-apiserver` on a node); without it nothing is
//! tested here, and it says so.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "real/wait.rs"]
mod wait;

use cluster::{Cluster, SECRET, free_port};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use skerry_agent::client::{self, now};
use skerry_agent::files::Servers;
use skerry_agent::identity::Identity;
use skerry_agent::issue::Credentials;
use skerry_agent::places::Places;
use skerry_agent::{files, join, kubeconfig, run, token, x509};
use skerry_control::request::Request;
use skerry_sys::notify::Notify;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wait::{PATIENCE, program, until};

/// A machine's files, and the ear of its PID 1.
struct Machine {
    places: Places,
    name: String,
    ear: UnixDatagram,
    notify: Notify,
}

#[allow(clippy::disallowed_methods, reason = "a test's own scratch files")]
impl Machine {
    fn new(dir: &Path, name: &str) -> Self {
        let root = dir.join("machines").join(name);
        for sub in ["run/skerry/kube", "var/lib/skerry"] {
            std::fs::create_dir_all(root.join(sub)).unwrap();
        }
        let socket = root.join("notify.sock");
        let _ = std::fs::remove_file(&socket);
        let ear = UnixDatagram::bind(&socket).unwrap();
        ear.set_nonblocking(true).unwrap();
        let mut places = Places::below(&root);
        places.local_api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self {
            notify: Notify::new(Some(socket.as_os_str())),
            places,
            name: name.to_owned(),
            ear,
        }
    }

    fn told(&self, node_name: &str, server: &str, token: &str) {
        let join = json!({ "servers": [server], "token": token, "node_name": node_name });
        std::fs::write(self.places.join(), join.to_string()).unwrap();
    }

    async fn join(&self) {
        let joined = tokio::time::timeout(PATIENCE, join::join(&self.places, &self.notify)).await;
        joined
            .unwrap_or_else(|_| panic!("{} did not join: {:?}", self.name, self.said()))
            .unwrap();
    }

    /// What PID 1 heard since the last time.
    fn said(&self) -> Vec<String> {
        let mut all = vec![];
        let mut bytes = [0; 4096];
        while let Ok(n) = self.ear.recv(&mut bytes) {
            all.push(String::from_utf8_lossy(&bytes[..n]).into_owned());
        }
        all
    }

    /// Joins in vain until it says `words`; gives that line.
    async fn says(&self, words: &str) -> String {
        let mut heard = vec![];
        let found = async {
            loop {
                heard.extend(self.said());
                if let Some(line) = heard.iter().find(|l| l.contains(words)) {
                    return line.clone();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let line = tokio::select! {
            line = found => line,
            joined = join::join(&self.places, &self.notify) => panic!("{} joined: {joined:?}", self.name),
            () = tokio::time::sleep(PATIENCE) => panic!("{}: {words:?} was not said", self.name),
        };
        assert!(!line.contains('\n'), "{line}");
        eprintln!("{}: {line}", self.name);
        line
    }

    fn conf(&self) -> String {
        std::fs::read_to_string(self.places.kubelet_conf()).unwrap()
    }

    /// The program itself, once it is ready: it holds less than 20 MiB of its own, and ends when it is told to.
    async fn is_small(&self) {
        let mut agent = std::process::Command::new(env!("CARGO_BIN_EXE_agent"))
            .arg("--root")
            .arg(self.places.at("/"))
            .args(["--local-api", &self.places.local_api.to_string(), "run"])
            .env("NOTIFY_SOCKET", self.places.at("/notify.sock"))
            .spawn()
            .unwrap();
        until("the agent is ready", async || {
            self.said().iter().any(|l| l == "READY=1").then_some(())
        })
        .await;
        // Long enough for each watch and check to have begun.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
        let kib = |key: &str| -> u64 {
            let line = status.lines().find(|l| l.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        eprintln!("{}: {} KiB resident, {} of its own", self.name, kib("VmRSS:"), kib("RssAnon:"));
        assert!(kib("RssAnon:") < 20 << 10);
        let pid = rustix::process::Pid::from_child(&agent);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(agent.wait().unwrap().success());
    }

    fn runs(&self, role: &str) {
        let agent = json!({ "role": role, "node_name": self.name, "pods": "10.42.0.0/16", "backend": "none" });
        std::fs::write(self.places.agent(), agent.to_string()).unwrap();
    }
}

fn node(name: &str) -> Node {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

/// A certificate of this node with the given dates, signed by the cluster's authority.
fn issue(ca: &str, ca_key: &str, identity: &Identity, name: &str, (from, to): (i64, i64)) -> String {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    let issuer = skerry_agent::issue::issuer(ca, ca_key).unwrap();
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    wanted.distinguished_name.push(DnType::CommonName, format!("system:node:{name}"));
    wanted.not_before = skerry_agent::issue::date(from);
    wanted.not_after = skerry_agent::issue::date(to);
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    wanted
        .signed_by(&KeyPair::from_pem(&identity.pem()).unwrap(), &issuer)
        .unwrap()
        .pem()
}

#[allow(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test]
async fn a_cluster_is_joined() {
    let Some(program) = program() else { return };
    let dir = std::env::temp_dir().join(format!("skerry-agent-{}", std::process::id()));
    let mut cluster = Cluster::start(&program, &dir).await;
    let url = cluster.url();
    let pinned = |secret: &str| format!("K10{}::server:{secret}", join::discovery::hash(&cluster.ca()));
    let (ca_text, long) = (String::from_utf8(cluster.ca()).unwrap(), pinned(SECRET));
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    let secrets: Api<Secret> = Api::namespaced(cluster.admin.clone(), "kube-system");
    let record = "w1.node-identity.skerry.io";

    // The server: its agent runs in this process, with the authority's key and nothing else.
    let mut server = Machine::new(&dir, "s1");
    server.places = Places::below(&dir);
    server.places.local_api = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port));
    server.runs("server");
    nodes.create(&PostParams::default(), &node("s1")).await.unwrap();
    let (places, notify) = (server.places.clone(), Notify::new(None));
    tokio::spawn(async move { run::run(&places, &notify).await.unwrap() });

    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), "kube-public");
    until("cluster-info is signed", async || {
        let data = maps.get("cluster-info").await.unwrap().data?;
        data.keys().find(|k| k.starts_with("jws-kubeconfig-")).cloned()
    })
    .await;

    // Every way to be wrong is one line, and none of them leaves anything behind.
    let lost = Machine::new(&dir, "lost");
    lost.told("lost", &format!("https://127.0.0.1:{}", free_port()), &long);
    lost.says("Connection refused").await;
    lost.told("lost", &url, "some other secret");
    lost.says("it does not know the token").await;
    lost.told("lost", &url, &format!("K10{}::server:{SECRET}", "ab".repeat(32)));
    lost.says("it belongs to another cluster: its authority is").await;
    let id = skerry_distribution::kubernetes::token::bootstrap(SECRET).unwrap().id;
    lost.told("lost", &url, &format!("{id}.0123456789abcdef"));
    lost.says("is not signed with our token").await;
    assert!(!lost.places.kubelet_conf().exists() && !lost.places.ca().exists());

    // The first join.
    let w1 = Machine::new(&dir, "w1");
    w1.told("w1", &url, &long);
    let begun = Instant::now();
    w1.join().await;
    eprintln!("joined after {:.1} s: {:?}", begun.elapsed().as_secs_f32(), w1.said());
    assert_eq!(std::fs::read(w1.places.ca()).unwrap(), cluster.ca());
    let kept: Servers = files::read(&w1.places.servers()).unwrap();
    assert_eq!(kept.given, [format!("{}:{}", cluster.address, cluster.port)]);
    assert_eq!(kept.servers, kept.given);
    assert_eq!(
        files::read::<files::Cluster>(&w1.places.cluster()).unwrap().dns,
        std::net::Ipv4Addr::new(10, 43, 0, 10)
    );
    assert!(secrets.get_opt(record).await.unwrap().is_some(), "its key is recorded");

    // Later boots ask nobody.
    w1.told("w1", "https://127.0.0.1:1", &long);
    w1.join().await;
    assert!(w1.said().is_empty());

    // Its credentials are a node's: kubelet registers with them.
    let mut at_server = w1.places.clone();
    at_server.local_api = server.places.local_api;
    let own: Api<Node> = Api::all(client::node(&at_server).unwrap());
    own.create(&PostParams::default(), &node("w1")).await.unwrap();
    assert!(own.create(&PostParams::default(), &node("other")).await.is_err());
    until("the record knows its Node", async || {
        secrets.get(record).await.unwrap().metadata.annotations.map(drop)
    })
    .await;

    // Another machine of that name; and one that would be the server.
    let twin = Machine::new(&dir, "twin");
    twin.told("w1", &url, &long);
    let line = twin.says("belongs to a node with another key").await;
    assert!(line.contains("`kubectl delete node w1` frees the name"));
    let thief = Machine::new(&dir, "thief");
    thief.told("s1", &url, &long);
    thief.says("the name s1 belongs to a node with another key").await;

    // In a drawer for a year: joins anew, with the same key.
    let identity = Identity::read(&w1.places.identity_key()).unwrap().unwrap();
    let ca_key = std::fs::read_to_string(server.places.ca_key()).unwrap();
    let with = |from: i64, to: i64| {
        let credentials = Credentials {
            certificate: issue(&ca_text, &ca_key, &identity, "w1", (from, to)),
            key: identity.pem(),
        };
        let text = kubeconfig::of_node("w1", ca_text.as_bytes(), &credentials);
        skerry_sys::file::replace(w1.places.kubelet_conf(), text.as_bytes(), 0o600).unwrap();
    };
    with(now() - 400 * 86_400, now() - 35 * 86_400);
    w1.told("w1", &url, &long);
    w1.join().await;
    let certificate = |m: &Machine| {
        let pem = skerry_distribution::kubernetes::kubeconfig::client_certificate(&m.conf()).unwrap();
        x509::certificate(&pem).unwrap()
    };
    assert!(certificate(&w1).not_after > now());
    assert_eq!(certificate(&w1).key, identity.fingerprint());

    // The worker's agent: the way to the servers, and renewal at half life.
    with(now() - 86_400, now() + 3600);
    w1.runs("worker");
    let control = w1.places.control.clone();
    let pid_1 = tokio::net::UnixListener::bind(&control).unwrap();
    let (places, notify) = (w1.places.clone(), Notify::new(None));
    let agent = tokio::spawn(async move { run::run(&places, &notify).await.unwrap() });
    let mut restarted = vec![];
    for _ in 0..2 {
        let (mut stream, _) = tokio::time::timeout(PATIENCE, pid_1.accept()).await.unwrap().unwrap();
        let mut bytes = vec![];
        stream.read_to_end(&mut bytes).await.unwrap();
        restarted.push(Request::decode(&bytes).unwrap());
        stream
            .write_all(skerry_control::reply::Reply::Accepted.encode().as_bytes())
            .await
            .unwrap();
    }
    assert_eq!(
        restarted,
        [Request::Restart("kubelet".into()), Request::Restart("kube-proxy".into())]
    );
    assert!(certificate(&w1).not_after > now() + 86_400, "it is good for longer");
    assert_eq!(certificate(&w1).key, identity.fingerprint());
    until("the note is gone", async || (!w1.places.renewed().exists()).then_some(())).await;

    // The API server loses its power and comes back: the worker's way is there again, and nothing else changed.
    let by_balancer: Api<Node> = Api::all(client::node(&w1.places).unwrap());
    assert!(by_balancer.get("w1").await.is_ok());
    cluster.kill("kube-apiserver");
    assert!(by_balancer.get("w1").await.is_err());
    cluster.begin("kube-apiserver");
    cluster.ready().await;
    until("the worker reaches the API again", async || by_balancer.get("w1").await.ok()).await;
    agent.abort();

    // The owner frees the name; the twin, which was waiting, gets it.
    nodes.delete("w1", &DeleteParams::default()).await.unwrap();
    twin.join().await;
    assert_ne!(certificate(&twin).key, identity.fingerprint());

    // A token for one machine: made, used, deleted.
    let made = token::create(&server.places, Some(Duration::from_secs(3600)), "for w2")
        .await
        .unwrap();
    assert_eq!(made.server_url, url);
    let w2 = Machine::new(&dir, "w2");
    w2.told("w2", &made.server_url, &made.token);
    w2.join().await;
    let ids = |all: Vec<token::Listed>| all.into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert!(ids(token::list(&server.places).await.unwrap()).contains(&made.id));
    token::delete(&server.places, &made.token).await.unwrap();
    assert!(!ids(token::list(&server.places).await.unwrap()).contains(&made.id));
    let late = Machine::new(&dir, "late");
    late.told("late", &made.server_url, &made.token);
    let line = late.says("the token").await;
    assert!(line.contains("skerry token create"));

    // As programs of their own.
    w2.runs("worker");
    w2.is_small().await;
    let mut second = Machine::new(&dir, "second");
    for path in ["etc", "var"] {
        let _ = std::fs::remove_dir_all(second.places.at(path));
        std::os::unix::fs::symlink(dir.join(path), second.places.at(path)).unwrap();
    }
    second.places.local_api = server.places.local_api;
    second.runs("server");
    second.is_small().await;
    let _ = std::fs::remove_dir_all(&dir);
}
