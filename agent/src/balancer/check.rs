//! Whether the servers answer: each is asked for `/readyz`, by its own address, by somebody who checks its certificate.

use super::Pool;
use crate::client;
use crate::trouble::innermost;
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

async fn is_ready(client: &Client) -> Result<(), String> {
    let request = http::Request::get("/readyz")
        .body(kube::client::Body::empty())
        .map_err(|why| why.to_string())?;
    match timeout(PATIENCE, client.send(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("it is not ready: {}", answer.status())),
        Ok(Err(why)) => Err(advice(innermost(&why))),
        Err(_) => Err(format!("no answer for {} s", PATIENCE.as_secs())),
    }
}

/// The one case that does not pass by itself. The words are those of rustls' `CertificateError`.
fn advice(why: String) -> String {
    if ["UnknownIssuer", "BadSignature"].iter().any(|word| why.contains(word)) {
        return format!(
            "{why}: another authority signed its certificate; if the cluster was made anew, give this node a `token` that \
             `skerry token create` made there"
        );
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_was_made_anew() {
        assert!(advice("invalid peer certificate: UnknownIssuer".into()).contains("another authority"));
        assert_eq!(advice("Connection refused".into()), "Connection refused");
    }
}
