//! How do the pods of one node reach those of another?
//!
//! | file | answers |
//! |---|---|
//! | [`nodes`] | what the Node objects say |
//! | [`machine`] | what is, as the kernel's tools say it |
//! | [`wanted`] | what should be |
//! | [`plan`] | the steps between the two |
//! | [`perform`], [`tool`], [`kernel`] | looking, doing, hearing of changes |
//! | [`masquerade`] | how pods reach the outside |
//! | [`conflist`] | what the runtime is told |
//! | [`watch`] | following the Node objects |
//!
//! Ours are: the routes with protocol 83, the links `skerry-vxlan` and `skerry-wg`, the nftables table `skerry-pods`. All of it is
//! put right whenever the cluster's nodes or the kernel's state change, and looked at once a minute. As long as the cluster was not
//! heard, nothing is changed: what an earlier run left goes on working.

pub mod conflist;
pub mod kernel;
pub mod machine;
pub mod masquerade;
pub mod nodes;
pub mod perform;
pub mod plan;
pub mod tool;
pub mod wanted;
pub mod watch;

use crate::files::{Agent, Backend};
use crate::places::Places;
use anyhow::{Context, Result, bail};
use kernel::Kernel;
use nodes::{Node, PublicKey};
use serde_json::json;
use skerry_config::address::net;
use skerry_distribution::kubernetes::paths::{CONFLIST, RUN, STATE};
use skerry_sys::file;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch as latest;
use tokio::time::Instant;
use wanted::{Request, Wanted};

/// A look although nobody said anything: `nft` and `wg` say nothing.
const EVERY: Duration = Duration::from_secs(60);
/// Changes come in bursts (a pod is a dozen). So much later they are looked at together.
const BURST: Duration = Duration::from_millis(300);
/// After a failure, twice as long each time.
const SOONEST: Duration = Duration::from_secs(1);

/// Keeps the pod network as the cluster's nodes need it, for ever. Ends only when it is asked for what cannot be.
pub async fn run(places: Places, agent: Agent) -> Result<()> {
    let network = |text: &str, is_v4: bool| {
        let network = net(text).filter(|net| net.addr().is_ipv4() == is_v4);
        network.with_context(|| {
            format!(
                "reading the pods' addresses {text:?}: not an {} network",
                if is_v4 { "IPv4" } else { "IPv6" }
            )
        })
    };
    let pods = network(&agent.pods, true)?;
    let pods6 = agent.pods6.as_deref().map(|text| network(text, false)).transpose()?;
    let request = Request {
        name: agent.node_name.clone(),
        backend: agent.backend,
        pods,
        pods6,
    };
    let (send, nodes) = latest::channel(None);
    let mut network = Network {
        files: Files::of(&places),
        request,
        nodes,
        known: plan::Known::default(),
        rules: None,
        said: vec![],
        shown: String::new(),
    };
    // Before anything of the cluster is asked: pods of a node without one reach the outside at once.
    if let Err(why) = network.masquerade().await {
        tracing::warn!("{why:#}");
    }
    if network.request.backend == Backend::None {
        return network.alone().await;
    }
    let key = if network.request.backend == Backend::Wireguard {
        Some(network.key().await)
    } else {
        None
    };
    network.known.key.clone_from(&key);
    let name = network.request.name.clone();
    let watching = watch::run(&places, &name, key, send);
    tokio::select! {
        done = network.run() => done,
        () = watching => Ok(()),
    }
}

struct Files {
    key: PathBuf,
    conflist: PathBuf,
    shown: PathBuf,
}

impl Files {
    fn of(places: &Places) -> Self {
        Self {
            key: places.at(&format!("{STATE}/wireguard.key")),
            conflist: places.at(CONFLIST),
            shown: places.at(&format!("{RUN}/pods.json")),
        }
    }
}

struct Network {
    files: Files,
    request: Request,
    /// None: not heard yet.
    nodes: latest::Receiver<Option<Vec<Node>>>,
    known: plan::Known,
    /// What `nft` showed after ours were given to it.
    rules: Option<String>,
    /// What was logged last.
    said: Vec<String>,
    /// What `pods.json` says.
    shown: String,
}

impl Network {
    async fn run(&mut self) -> Result<()> {
        let kernel = Kernel::open()?;
        let mut wait = SOONEST;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                changed = self.nodes.changed() => changed.context("following the nodes")?,
                () = kernel.changed() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            tokio::time::sleep(BURST).await;
            kernel.drain();
            match self.settle().await {
                Ok(changed) => {
                    if changed {
                        // That was us.
                        kernel.drain();
                    }
                    wait = SOONEST;
                    next = Instant::now() + EVERY;
                }
                Err(why) => {
                    self.say(&[format!("{why:#}; tried again")]);
                    next = Instant::now() + wait;
                    wait = (wait * 2).min(EVERY);
                    // Not by its own noise.
                    tokio::time::sleep_until(next).await;
                }
            }
        }
    }

    /// A foreign network: what an earlier run made is removed, once.
    async fn alone(&mut self) -> Result<()> {
        let mut wait = SOONEST;
        while let Err(why) = self.put_right(&Wanted::default()).await {
            self.say(&[format!("{why:#}; tried again")]);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(EVERY);
        }
        std::future::pending().await
    }

    /// Puts everything right. Whether anything was wrong.
    async fn settle(&mut self) -> Result<bool> {
        let ruled = self.masquerade().await;
        let Some(nodes) = self.nodes.borrow_and_update().clone() else {
            return ruled.map(|()| false);
        };
        let machine = perform::look().await?;
        let wanted = wanted::wanted(&self.request, &nodes, &machine);
        self.conflist(&nodes, &wanted)?;
        let changed = self.put_right(&wanted).await?;
        self.say(&wanted.problems);
        self.show(&wanted)?;
        ruled?;
        Ok(changed)
    }

    async fn put_right(&mut self, wanted: &Wanted) -> Result<bool> {
        self.known.now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let steps = plan::plan(&perform::look().await?, wanted, &self.known);
        if steps.is_empty() {
            return Ok(false);
        }
        tracing::debug!(?steps, "pod network");
        let done = perform::perform(&steps, &self.files.key).await;
        self.known.told = wanted.peers.iter().map(|(key, peer)| (key.clone(), peer.address)).collect();
        // What counts is how it is now: a program that removed what was gone by then complains, too.
        let left = plan::plan(&perform::look().await?, wanted, &self.known);
        if !left.is_empty() {
            done.context("changing the pod network")?;
            bail!(
                "changing the pod network: {} steps had no effect, {:?} first",
                left.len(),
                left.first()
            );
        }
        tracing::info!(steps = steps.len(), routes = wanted.routes.len(), "pod network changed");
        Ok(true)
    }

    /// The table is as we gave it to the kernel, or it is given again.
    async fn masquerade(&mut self) -> Result<()> {
        let show = || tool::output("nft", &["list", "table", masquerade::TABLE[0], masquerade::TABLE[1]], "");
        let is = show().await.ok();
        if self.request.backend == Backend::None {
            if is.is_some() {
                tool::output("nft", &["-f", "-"], &masquerade::removal()).await?;
            }
            return Ok(());
        }
        if is.is_none() || is != self.rules {
            tool::output("nft", &["-f", "-"], &masquerade::rules(self.request.pods, self.request.pods6)).await?;
            self.rules = Some(show().await?);
        }
        Ok(())
    }

    fn conflist(&self, nodes: &[Node], wanted: &Wanted) -> Result<()> {
        const LARGEST: usize = 1 << 20;
        let Some(me) = nodes.iter().find(|n| n.name == self.request.name) else {
            return Ok(());
        };
        let Some(mine) = me.pods else { return Ok(()) };
        let now = file::read_text(&self.files.conflist, LARGEST).unwrap_or_default();
        if let Some(text) = conflist::wanted(&conflist::base(mine, me.pods6), wanted.mtu, &now) {
            if let Some(dir) = self.files.conflist.parent() {
                file::make_dir(dir, 0o755)?;
            }
            file::replace(&self.files.conflist, text.as_bytes(), 0o644)?;
            tracing::info!(pods = %mine, pods6 = ?me.pods6.map(|p| p.to_string()), mtu = ?wanted.mtu, "the runtime is told");
        }
        Ok(())
    }

    /// The key by which the others know this node.
    async fn key(&mut self) -> PublicKey {
        let mut wait = SOONEST;
        loop {
            match perform::key(&self.files.key).await {
                Ok(key) => return key,
                Err(why) => self.say(&[format!("{why:#}; tried again")]),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(EVERY);
        }
    }

    /// Each thing once.
    fn say(&mut self, problems: &[String]) {
        for problem in problems.iter().filter(|p| !self.said.contains(p)) {
            tracing::warn!("{problem}");
        }
        self.said = problems.to_vec();
    }

    /// For people: `/run/skerry/kube/pods.json`.
    fn show(&mut self, wanted: &Wanted) -> Result<()> {
        let routes = wanted
            .routes
            .iter()
            .map(|(to, hop)| json!({ "pods": to.to_string(), "via": hop.via.map(|v| v.to_string()), "link": hop.link }));
        let text = json!({
            "backend": self.request.backend,
            "mtu": wanted.mtu,
            "routes": routes.collect::<Vec<_>>(),
            "problems": wanted.problems,
        })
        .to_string();
        if text != self.shown {
            file::replace(&self.files.shown, text.as_bytes(), 0o644)?;
            self.shown = text;
        }
        Ok(())
    }
}
