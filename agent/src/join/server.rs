//! `agent join` on a further server: what it needs to make its own certificates.
//!
//! The cluster's authorities lie in a secret that a holder of the server's token may read, sealed with that token
//! ([`skerry_distribution::kubernetes::bundle`]). They are fetched here, and opened by the step that makes the certificates.

use super::{Voice, ask, discovery};
use crate::client::{self, now};
use crate::csr::patiently;
use crate::files::{self, Cluster, Join};
use crate::places::Places;
use crate::trouble::{Trouble, spread};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use skerry_distribution::kubernetes::manifests::BUNDLE;
use skerry_distribution::kubernetes::token::{self, BootstrapToken};
use skerry_sys::file;
use skerry_sys::notify::Notify;
use std::collections::BTreeSet;

/// What a further server is given.
struct Given {
    cluster: Cluster,
    bundle: Vec<u8>,
}

/// Ends when all that is needed lies here. On later boots nobody is asked.
pub async fn join(places: &Places, notify: &Notify, join: &Join, pin: Option<&str>) -> Result<()> {
    if places.complete().exists() && files::read::<Cluster>(&places.cluster()).is_ok() {
        tracing::info!(node = join.node_name, "this server is one of the cluster's already");
        return Ok(());
    }
    if join.servers.is_empty() || join.token.is_empty() {
        bail!("joining as a server: it needs the address of another server and the cluster's `token`");
    }
    let token = token::bootstrap(&join.token).context("deriving the bootstrap token")?;
    let mut voice = Voice {
        notify,
        last: String::new(),
        said: BTreeSet::new(),
    };
    for attempt in 1u32.. {
        for server in &join.servers {
            match ask(server, pin, &token).await {
                Ok(given) => {
                    file::replace(places.cluster(), files::text(&given.cluster).as_bytes(), 0o644)?;
                    file::replace(places.bundle(), &given.bundle, 0o600)?;
                    tracing::info!(node = join.node_name, "this server has what it needs to be one of the cluster's");
                    return Ok(());
                }
                Err(trouble) => {
                    voice.say(&format!("joining by {server}: {trouble}; trying again"));
                    tokio::time::sleep(spread(trouble.pause(attempt), &join.node_name, attempt)).await;
                }
            }
        }
    }
    Ok(())
}

async fn ask(server: &str, pin: Option<&str>, token: &BootstrapToken) -> Result<Given, Trouble> {
    let info = ask::cluster_info(server).await?;
    let ca = discovery::authority(&info, pin, token)?;
    ask::clock(&ca, now())?;
    let config = client::config(server, Some(&ca)).map_err(Trouble::Here)?;
    let joining = client::with_token(config, format!("{}.{}", token.id, token.secret)).map_err(Trouble::Here)?;
    let cluster = ask::cluster(joining.clone()).await?;
    let secrets: Api<Secret> = Api::namespaced(joining, "kube-system");
    let secret = patiently(secrets.get(BUNDLE.0), Some(&token.id)).await?;
    let bundle = secret.data.and_then(|mut d| d.remove(BUNDLE.1)).ok_or_else(|| {
        Trouble::Refused(format!(
            "Secret kube-system/{} holds nothing; is the server one of several (--cluster-init)?",
            BUNDLE.0
        ))
    })?;
    Ok(Given { cluster, bundle: bundle.0 })
}
