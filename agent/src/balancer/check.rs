//! Whether the servers answer: each is asked for `/readyz`, by its own address, by somebody who checks its certificate.

use super::Pool;
use crate::client;
use futures_util::future::join_all;
use kube::Client;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(6);
/// One answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks for ever. A power cut is found within two rounds.
pub async fn check(pool: Pool, ca: Vec<u8>) {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let addresses = pool.addresses();
        clients.retain(|address, _| addresses.contains(address));
        for address in addresses {
            if let Entry::Vacant(place) = clients.entry(address) {
                if let Some(client) = client_of(place.key(), &ca) {
                    place.insert(client);
                }
            }
        }
        join_all(clients.iter().map(|(address, client)| async {
            pool.heard(address, is_ready(client).await);
        }))
        .await;
    }
}

/// Nobody in particular: `/readyz` is for everybody.
fn client_of(address: &str, ca: &[u8]) -> Option<Client> {
    let config = client::config(&format!("https://{address}"), Some(ca)).ok()?;
    client::connect(config, None).ok()
}

async fn is_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(kube::client::Body::empty()) else {
        return false;
    };
    matches!(timeout(PATIENCE, client.send(request)).await, Ok(Ok(answer)) if answer.status().is_success())
}
