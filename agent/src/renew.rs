//! On workers: the node's certificate is renewed at half of its life, by the node itself and with the same key.
//!
//! Order: the units that hold it are noted, `kubelet.conf` is replaced, the units are restarted, the note is removed. Wherever that
//! ends, the next start of the agent goes on.

use crate::client::{self, now};
use crate::csr::{self, Answer};
use crate::identity::Identity;
use crate::issue::Credentials;
use crate::places::Places;
use crate::trouble::Trouble;
use crate::x509::{self, Certificate};
use crate::{control, kubeconfig};
use anyhow::{Context, Result, bail};
use kube::Client;
use kube::api::Api;
use skerry_sys::file;
use skerry_sys::notify::Notify;
use std::time::Duration;
use tokio::time::sleep;

/// The clock may be set meanwhile: it is looked at again after so long, whatever it said.
const LOOK: Duration = Duration::from_secs(3600);
/// The units that read `kubelet.conf` when they start.
const HOLDERS: &str = "kubelet\nkube-proxy\n";

/// Whether half of its life is over.
pub fn is_due(certificate: &Certificate, now: i64) -> bool {
    let half = certificate.not_before + (certificate.not_after - certificate.not_before) / 2;
    now >= half
}

/// Renews for ever.
pub async fn renew(client: Client, places: &Places, node_name: &str, notify: &Notify) {
    loop {
        if let Err(why) = finish(places).await {
            tracing::warn!("{why:#}");
        }
        match look(&client, places, node_name).await {
            Ok(false) => {}
            Ok(true) => continue,
            Err(why) => {
                let text = format!("renewing this node's certificate: {why}; trying again in an hour");
                tracing::warn!("{text}");
                notify.say(&format!("STATUS={}", text.replace('\n', " ")));
            }
        }
        sleep(LOOK).await;
    }
}

/// Restarts what was noted.
async fn finish(places: &Places) -> Result<()> {
    let note = places.renewed();
    let Ok(units) = file::read_text(&note, 4096) else {
        return Ok(());
    };
    for unit in units.lines() {
        tracing::info!(unit, "restarting what holds the old certificate");
        if let Err(why) = control::restart(&places.control, unit).await {
            tracing::warn!("{why:#}");
        }
    }
    std::fs::remove_file(&note).with_context(|| format!("removing {}", note.display()))
}

/// True if there is a new certificate.
async fn look(client: &Client, places: &Places, node_name: &str) -> Result<bool, Trouble> {
    let held = client::kubelet_conf(places).map_err(Trouble::Here)?;
    let certificate = x509::certificate(held.credentials.certificate.as_bytes());
    if !certificate.is_some_and(|c| is_due(&c, now())) {
        return Ok(false);
    }
    let identity = Identity::from_pem(&held.credentials.key).map_err(Trouble::Here)?;
    let requests = Api::all(client.clone());
    let name = csr::create(&requests, &identity, node_name, None).await?;
    match csr::decided(&requests, &name, |what| tracing::info!("renewing this node's certificate: {what}")).await? {
        Answer::Signed(pem) => replace(places, node_name, &held.ca, &identity, &pem).map_err(Trouble::Here)?,
        Answer::Denied(why) => return Err(Trouble::Denied(why)),
        Answer::Waiting | Answer::Approved | Answer::Gone => return Err(Trouble::Away("the request was deleted".to_owned())),
    }
    Ok(true)
}

fn replace(places: &Places, node_name: &str, ca: &[u8], identity: &Identity, pem: &[u8]) -> Result<()> {
    let fits = x509::certificate(pem).is_some_and(|c| c.key == identity.fingerprint() && !is_due(&c, now()));
    if !fits || !x509::is_signed_by(pem, ca) {
        bail!("the certificate that came is not the one this node asked for");
    }
    let credentials = Credentials {
        certificate: String::from_utf8(pem.to_vec()).context("reading the certificate")?,
        key: identity.pem(),
    };
    file::replace(places.renewed(), HOLDERS.as_bytes(), 0o644)?;
    let text = kubeconfig::of_node(node_name, ca, &credentials);
    file::replace(places.kubelet_conf(), text.as_bytes(), 0o600)?;
    tracing::info!("this node's certificate was renewed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_half_life() {
        let certificate = Certificate {
            not_before: 1000,
            not_after: 3000,
            common_name: String::new(),
            key: String::new(),
        };
        for (now, due) in [
            (0, false),
            (1000, false),
            (1999, false),
            (2000, true),
            (3000, true),
            (i64::MAX, true),
        ] {
            assert_eq!(is_due(&certificate, now), due, "{now}");
        }
    }
}
