//! A control plane of real programs, on this machine, in a directory of its own.

use kube::Client;
use serde_json::{Value, json};
use skerry_agent::client;
use skerry_agent::issue::Credentials;
use skerry_distribution::kubernetes::{argv, kubeconfig, manifests, settings, token};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The cluster's secret.
pub const SECRET: &str = "a secret for a test of joining";
const PROGRAMS: [&str; 8] = [
    "datastore",
    "etcd",
    "kine",
    "kube-apiserver",
    "kube-controller-manager",
    "kubeadm",
    "helm",
    "metrics-server",
];

/// What keeps the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// kine with SQLite, below `db`.
    Sqlite,
    /// etcd with one member, below `etcd`; its port.
    Etcd(u16),
    /// kine with another database, by its address.
    Database(String),
    /// etcds of the test's own on 127.0.0.1 and so on, port 2379, with the certificates that kubeadm makes for them.
    Members,
}

pub struct Cluster {
    pub dir: PathBuf,
    pub port: u16,
    /// By which others reach it.
    pub address: IpAddr,
    pub admin: Client,
    /// May be changed while nothing of it runs.
    pub store: Store,
    running: Vec<(&'static str, Child)>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The address of the default route; endpoints may not be loopback addresses.
fn address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    match socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()) {
        Ok(local) => local.ip(),
        Err(_) => IpAddr::from([198, 18, 0, 1]),
    }
}

impl Cluster {
    /// Starts it; `program` is the multi-call program.
    pub async fn start(program: &Path, dir: &Path) -> Self {
        let mut cluster = Self::prepare(program, dir, Store::Sqlite);
        cluster.begin("kine");
        cluster.begin("kube-apiserver");
        cluster.ready().await;
        cluster.apply().await;
        cluster.begin("kube-controller-manager");
        cluster
    }

    /// Programs and certificates; nothing runs.
    pub fn prepare(program: &Path, dir: &Path, store: Store) -> Self {
        let _ = std::fs::remove_dir_all(dir);
        for sub in ["bin", "log", "etc/kubernetes/pki", "var/lib/skerry/kube", "run/skerry/kube", "db"] {
            std::fs::create_dir_all(dir.join(sub)).unwrap();
        }
        for name in PROGRAMS {
            symlink(program, dir.join("bin").join(name)).unwrap();
        }
        let (port, address) = (free_port(), address());
        certificates(dir, port, address, &store);
        let super_admin = std::fs::read_to_string(dir.join("etc/kubernetes/super-admin.conf")).unwrap();
        Self {
            dir: dir.to_owned(),
            port,
            address,
            admin: admin(&super_admin, port),
            store,
            running: vec![],
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("etc/kubernetes/pki/ca.crt")).unwrap()
    }

    pub fn begin(&mut self, name: &'static str) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("log/{name}.log")))
            .unwrap();
        // An address with a password stands in no command line.
        let endpoint = match &self.store {
            Store::Database(address) => Some(("KINE_ENDPOINT", address)),
            _ => None,
        };
        let child = Command::new(self.dir.join("bin").join(name))
            .envs(endpoint)
            .args(self.arguments(name).iter().map(|a| format!("--{a}")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push((name, child));
    }

    /// The program of the store.
    pub fn daemon(&self) -> &'static str {
        if matches!(self.store, Store::Etcd(_)) { "etcd" } else { "kine" }
    }

    /// As a power cut would.
    pub fn kill(&mut self, name: &str) {
        let at = self.running.iter().position(|(n, _)| *n == name).unwrap();
        let (_, mut child) = self.running.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn arguments(&self, name: &str) -> Vec<String> {
        let mut arguments = self.flags(name);
        let certificates = match self.store {
            Store::Etcd(_) => Some(("ca.crt", "apiserver-kubelet-client")),
            Store::Members => Some(("etcd/ca.crt", "apiserver-etcd-client")),
            _ => None,
        };
        if let ("kube-apiserver", Some((ca, client))) = (name, certificates) {
            let pki = self.dir.join("etc/kubernetes/pki").display().to_string();
            arguments.extend([
                format!("etcd-cafile={pki}/{ca}"),
                format!("etcd-certfile={pki}/{client}.crt"),
                format!("etcd-keyfile={pki}/{client}.key"),
            ]);
        }
        arguments
    }

    fn flags(&self, name: &str) -> Vec<String> {
        let (dir, port) = (self.dir.display(), self.port);
        let pki = format!("{dir}/etc/kubernetes/pki");
        let conf = format!("{dir}/etc/kubernetes/controller-manager.conf");
        let etcd = match &self.store {
            Store::Etcd(port) => format!("https://127.0.0.1:{port}"),
            Store::Members => "https://127.0.0.1:2379,https://127.0.0.2:2379,https://127.0.0.3:2379".to_owned(),
            _ => format!("unix://{dir}/kine.sock"),
        };
        match name {
            "etcd" => vec![
                format!("advertise-client-urls={etcd}"),
                format!("cert-file={pki}/apiserver.crt"),
                "client-cert-auth=true".into(),
                format!("data-dir={dir}/etcd"),
                format!("key-file={pki}/apiserver.key"),
                format!("listen-client-urls={etcd}"),
                "listen-peer-urls=http://127.0.0.1:0".into(),
                "log-level=warn".into(),
                "name=s1".into(),
                format!("trusted-ca-file={pki}/ca.crt"),
            ],
            "kine" if matches!(self.store, Store::Database(_)) => {
                vec![format!("listen-address=unix://{dir}/kine.sock"), "metrics-bind-address=0".into()]
            }
            "kine" => vec![
                format!("endpoint=sqlite://{dir}/db/state.db?_journal_mode=WAL&_busy_timeout=30000&_synchronous=OFF&_txlock=immediate"),
                format!("listen-address=unix://{dir}/kine.sock"),
                "metrics-bind-address=0".into(),
            ],
            "kube-apiserver" => vec![
                format!("advertise-address={}", self.address),
                "authorization-mode=Node,RBAC".into(),
                format!("client-ca-file={pki}/ca.crt"),
                "enable-admission-plugins=NodeRestriction".into(),
                "enable-bootstrap-token-auth=true".into(),
                format!("etcd-servers={etcd}"),
                format!("proxy-client-cert-file={pki}/front-proxy-client.crt"),
                format!("proxy-client-key-file={pki}/front-proxy-client.key"),
                "requestheader-allowed-names=front-proxy-client".into(),
                format!("requestheader-client-ca-file={pki}/front-proxy-ca.crt"),
                "requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
                "requestheader-group-headers=X-Remote-Group".into(),
                "requestheader-username-headers=X-Remote-User".into(),
                format!("secure-port={port}"),
                "service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
                format!("service-account-key-file={pki}/sa.pub"),
                format!("service-account-signing-key-file={pki}/sa.key"),
                "service-cluster-ip-range=10.43.0.0/16".into(),
                format!("tls-cert-file={pki}/apiserver.crt"),
                format!("tls-private-key-file={pki}/apiserver.key"),
            ],
            // As on a node, but for where the files are.
            "metrics-server" => {
                let facts = skerry_distribution::facts::Facts::default();
                let (settings, _) = settings(&skerry_config::types::Config::default(), &facts);
                let here = |flag: &String| flag.trim_start_matches("--").replace("=/", &format!("={dir}/"));
                argv::metrics_server(&settings).0.iter().skip(1).map(here).collect()
            }
            _ => vec![
                format!("authentication-kubeconfig={conf}"),
                format!("authorization-kubeconfig={conf}"),
                "bind-address=127.0.0.1".into(),
                format!("secure-port={}", free_port()),
                format!("client-ca-file={pki}/ca.crt"),
                format!("cluster-signing-cert-file={pki}/ca.crt"),
                format!("cluster-signing-key-file={pki}/ca.key"),
                "controllers=*,bootstrapsigner,tokencleaner".into(),
                format!("kubeconfig={conf}"),
                "leader-elect=false".into(),
                format!("requestheader-client-ca-file={pki}/front-proxy-ca.crt"),
                format!("root-ca-file={pki}/ca.crt"),
                format!("service-account-private-key-file={pki}/sa.key"),
                "use-service-account-credentials=true".into(),
            ],
        }
    }

    pub async fn ready(&self) {
        let begun = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(vec![]).unwrap();
            if self.admin.request_text(request).await.is_ok() {
                break;
            }
            let log = || std::fs::read_to_string(self.dir.join("log/kube-apiserver.log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(240), "the API server is not ready: {}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        eprintln!("API server ready after {:.1} s", begun.elapsed().as_secs_f32());
    }

    /// What `setup kube setup` puts into a cluster.
    async fn apply(&self) {
        let facts = skerry_distribution::facts::Facts {
            node_name: "s1".into(),
            ..Default::default()
        };
        let (settings, _) = settings(&skerry_config::types::Config::default(), &facts);
        let tokens = manifests::Tokens {
            server: token::bootstrap(SECRET).unwrap(),
            agent: None,
            bundle: None,
        };
        let ca = String::from_utf8(self.ca()).unwrap();
        let objects = manifests::system(&settings, &facts, Ipv4Addr::new(10, 0, 0, 1), &[], &tokens, &ca);
        for object in &objects {
            let path = manifests::path(object).unwrap();
            let request = http::Request::patch(format!("{path}?fieldManager=skerry&force=true"))
                .header("content-type", "application/apply-patch+yaml")
                .body(serde_json::to_vec(object).unwrap())
                .unwrap();
            self.admin.request::<Value>(request).await.unwrap();
        }
    }
}
fn admin(text: &str, port: u16) -> Client {
    let certificate = kubeconfig::client_certificate(text).unwrap();
    let both = kubeconfig::identity(text).unwrap();
    let credentials = Credentials {
        key: String::from_utf8(both[certificate.len()..].to_vec()).unwrap(),
        certificate: String::from_utf8(certificate).unwrap(),
    };
    let config = client::config(&format!("https://127.0.0.1:{port}"), kubeconfig::authority(text).as_deref()).unwrap();
    client::connect(config, Some(&credentials)).unwrap()
}

/// As kubeadm makes them on a server.
#[allow(clippy::disallowed_methods, reason = "a test's own scratch file")]
fn certificates(dir: &Path, port: u16, address: IpAddr, store: &Store) {
    let etcd = if *store == Store::Members {
        let names = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        json!({ "local": { "serverCertSANs": names, "peerCertSANs": names } })
    } else {
        json!({ "external": { "endpoints": ["http://127.0.0.1:2379"] } })
    };
    let conf = dir.join("etc/kubernetes");
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": address, "bindPort": port },
        "nodeRegistration": { "name": "s1", "criSocket": "unix:///none" },
    });
    let cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "certificatesDir": conf.join("pki"),
        "apiServer": { "certSANs": ["127.0.0.1"] }, "controlPlaneEndpoint": format!("127.0.0.1:{port}"),
        "encryptionAlgorithm": "ECDSA-P256", "etcd": etcd,
        "kubernetesVersion": "v1.36.3", "networking": { "serviceSubnet": "10.43.0.0/16" },
    });
    let file = dir.join("kubeadm.yaml");
    std::fs::write(&file, format!("{init}\n---\n{cluster}\n")).unwrap();
    let phases: [&[&str]; 2] = [&["certs", "all"], &["kubeconfig", "all"]];
    for phase in phases {
        let mut command = Command::new(dir.join("bin/kubeadm"));
        command.args(["init", "phase"]).args(phase).arg("--config").arg(&file);
        if phase[0] == "kubeconfig" {
            command.arg("--kubeconfig-dir").arg(&conf);
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
