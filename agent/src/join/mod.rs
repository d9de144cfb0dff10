//! `agent join`: from a token to a node's own credentials.
//!
//! ```text
//!  kubelet.conf good ([`kept`]) ──────────────────────────────────────────────────────────► done, nobody was asked
//!  else: cluster-info, anonymously ─► whom to believe ([`discovery`]) ─► request with the node's key ([`crate::csr`])
//!        ─► a server's agent approves ─► certificate ─► what the cluster agreed on ─► files ([`write`]) ─► done
//! ```
//!
//! Whatever goes wrong is said in one line, once, and tried again for ever.

pub mod ask;
pub mod discovery;
pub mod kept;
mod server;
pub mod write;

use crate::client::now;
use crate::files::{self, Cluster, Join, Role, Servers};
use crate::identity::Identity;
use crate::places::Places;
use crate::trouble::{Trouble, spread};
use anyhow::{Context, Result, bail};
use ask::Asking;
use skerry_distribution::kubernetes::token;
use skerry_sys::file;
use skerry_sys::notify::Notify;
use std::collections::BTreeSet;
use std::path::Path;

/// Ends when the node is a member.
pub async fn join(places: &Places, notify: &Notify) -> Result<()> {
    let join: Join = files::read(&places.join())?;
    let pin = discovery::pin(&join.token);
    if join.role == Role::Server {
        return server::join(places, notify, &join, pin.as_deref()).await;
    }
    let Some(why) = why_join(places, &join, pin.as_deref()) else {
        tracing::info!(node = join.node_name, "this node is a member already");
        return Ok(());
    };
    tracing::info!("{why}");
    let token = token::bootstrap(&join.token).context("deriving the bootstrap token")?;
    let identity = Identity::keep(&places.identity_key())?;
    if join.servers.is_empty() {
        bail!("joining: no server is named; write `server_url`");
    }
    let mut voice = Voice {
        notify,
        last: String::new(),
        said: BTreeSet::new(),
    };
    let mut asking = Asking {
        join: &join,
        pin: pin.as_deref(),
        token: &token,
        identity: &identity,
        pending: None,
    };
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        let (server, trouble) = match round(&mut asking, &mut voice).await {
            Ok(member) => {
                write::perform(&write::plan(places, &join.node_name, &member, &identity.pem()))?;
                tracing::info!(node = join.node_name, "this node is a member of the cluster now");
                return Ok(());
            }
            Err(met) => met,
        };
        voice.say(&format!("joining by {server}: {trouble}; trying again"));
        tokio::time::sleep(spread(trouble.pause(attempt), &join.node_name, attempt)).await;
    }
}

/// Every server once. If none is of use: the one that answered, and what it said.
async fn round(asking: &mut Asking<'_>, voice: &mut Voice<'_>) -> Result<ask::Member, (String, Trouble)> {
    let mut met: Option<(String, Trouble)> = None;
    for server in &asking.join.servers {
        match asking.ask(server, |what| voice.say(&format!("{server}: {what}"))).await {
            Ok(member) => return Ok(member),
            Err(trouble) => {
                if met.as_ref().is_none_or(|(_, m)| m.is_away() && !trouble.is_away()) {
                    met = Some((server.clone(), trouble));
                }
            }
        }
    }
    Err(met.unwrap_or_else(|| (String::new(), Trouble::Away("no server is named".to_owned()))))
}

/// For `skerry status`, always what goes on now; for the log, each thing once.
struct Voice<'a> {
    notify: &'a Notify,
    last: String,
    said: BTreeSet<String>,
}

/// So many different things are remembered.
const REMEMBERED: usize = 32;

impl Voice<'_> {
    fn say(&mut self, text: &str) {
        if self.last != text {
            if self.said.len() >= REMEMBERED {
                self.said.clear();
            }
            if self.said.insert(text.to_owned()) {
                tracing::info!("{text}");
            }
            self.notify.say(&format!("STATUS={}", text.replace('\n', " ")));
            text.clone_into(&mut self.last);
        }
    }
}

fn why_join(places: &Places, join: &Join, pin: Option<&str>) -> Option<String> {
    let text = |path: &Path| file::read_text(path, 1 << 20).ok();
    let (conf, ca) = (text(&places.kubelet_conf()), text(&places.ca()));
    let has_cluster = files::read::<Cluster>(&places.cluster()).is_ok() && files::read::<Servers>(&places.servers()).is_ok();
    kept::why_join(&kept::Facts {
        conf: conf.as_deref(),
        ca: ca.as_deref(),
        has_cluster,
        node_name: &join.node_name,
        pin,
        now: now(),
    })
}
