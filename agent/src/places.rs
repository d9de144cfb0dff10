//! Where things lie. Under a root, so that tests have one of their own.

use skerry_distribution::kubernetes::paths::{BUNDLE, COMPLETE, CONF, PKI, RUN, STATE};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Every path that the agent reads or writes.
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
    /// Where the API is reached from this node.
    pub local_api: SocketAddr,
    /// Where this server's etcd is reached.
    pub local_etcd: SocketAddr,
    /// Where PID 1 takes requests.
    pub control: PathBuf,
    /// The program that installs charts.
    pub helm: PathBuf,
}

impl Places {
    /// With `/` as root: the machine's own.
    pub fn below(root: &Path) -> Self {
        let mut places = Self {
            root: root.to_owned(),
            local_api: SocketAddr::from((Ipv4Addr::LOCALHOST, 6443)),
            local_etcd: SocketAddr::from((Ipv4Addr::LOCALHOST, 2379)),
            control: PathBuf::new(),
            helm: PathBuf::from("/usr/bin/helm"),
        };
        places.control = places.at(skerry_control::SOCKET);
        places
    }

    /// An absolute path, below the root.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What `join` is told: [`crate::files::Join`].
    pub fn join(&self) -> PathBuf {
        self.at(&format!("{RUN}/join.json"))
    }

    /// The cluster's authorities, sealed: what a further server is given.
    pub fn bundle(&self) -> PathBuf {
        self.at(BUNDLE)
    }

    /// There once a server's first set of keys is whole.
    pub fn complete(&self) -> PathBuf {
        self.at(COMPLETE)
    }

    /// What `run` is told: [`crate::files::Agent`].
    pub fn agent(&self) -> PathBuf {
        self.at(&format!("{RUN}/agent.json"))
    }

    /// Units that hold credentials which were replaced, a name a line, until they are restarted.
    pub fn renewed(&self) -> PathBuf {
        self.at(&format!("{RUN}/renewed"))
    }

    /// [`crate::files::Cluster`].
    pub fn cluster(&self) -> PathBuf {
        self.at(&format!("{STATE}/cluster.json"))
    }

    /// [`crate::files::Servers`].
    pub fn servers(&self) -> PathBuf {
        self.at(&format!("{STATE}/servers.json"))
    }

    /// The node's own key, PKCS#8 as PEM, 0600. It stays when the node joins anew: by it the servers know the node again.
    pub fn identity_key(&self) -> PathBuf {
        self.at(&format!("{STATE}/identity.key"))
    }

    /// The cluster's authority.
    pub fn ca(&self) -> PathBuf {
        self.at(&format!("{PKI}/ca.crt"))
    }

    /// Its key, on servers.
    pub fn ca_key(&self) -> PathBuf {
        self.at(&format!("{PKI}/ca.key"))
    }

    /// The node's credentials.
    pub fn kubelet_conf(&self) -> PathBuf {
        self.at(&format!("{CONF}/kubelet.conf"))
    }
}
