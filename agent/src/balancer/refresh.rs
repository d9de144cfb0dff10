//! The list of servers, as the cluster says it, kept for the next boot.

use super::Pool;
use crate::files::{self, Servers};
use crate::servers;
use crate::trouble::innermost;
use anyhow::Result;
use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher, watcher::Event};
use kube::{Client, ResourceExt};
use skerry_sys::file;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;

/// Follows the cluster for ever.
pub async fn refresh(client: Client, pool: Pool, path: &Path) {
    let api: Api<EndpointSlice> = Api::namespaced(client, "default");
    let own = watcher::Config::default().labels(servers::SELECTOR);
    let mut events = pin!(watcher(api, own).default_backoff());
    let (mut slices, mut listing) = (BTreeMap::new(), None);
    let mut complaint = String::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event, &mut slices, &mut listing),
            Err(why) => {
                let why = innermost(&why);
                if why != complaint {
                    tracing::warn!("following where the servers are: {why}; trying again");
                    complaint = why;
                }
                continue;
            }
        }
        complaint.clear();
        if listing.is_none() {
            let list = servers::merge(&pool.list(), servers::of_slices(slices.values()));
            if let Err(why) = keep(&pool, &list, path) {
                tracing::warn!("{why:#}");
            }
        }
    }
}

type Slices = BTreeMap<String, EndpointSlice>;

fn take(event: Event<EndpointSlice>, slices: &mut Slices, listing: &mut Option<Slices>) {
    match event {
        Event::Init => *listing = Some(Slices::new()),
        Event::InitApply(slice) => {
            listing.get_or_insert_default().insert(slice.name_any(), slice);
        }
        Event::InitDone => *slices = listing.take().unwrap_or_default(),
        Event::Apply(slice) => _ = slices.insert(slice.name_any(), slice),
        Event::Delete(slice) => _ = slices.remove(&slice.name_any()),
    }
}

fn keep(pool: &Pool, list: &Servers, path: &Path) -> Result<()> {
    if *list == pool.list() {
        return Ok(());
    }
    tracing::info!(servers = list.servers.join(" "), "the servers are others now");
    pool.renew(list.clone());
    Ok(file::replace(path, files::text(list).as_bytes(), 0o644)?)
}
