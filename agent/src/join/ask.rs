//! One attempt to become a member, by one server.

use super::discovery;
use crate::client::{self, now};
use crate::csr::{self, Answer, PATIENCE, patiently};
use crate::files::{Cluster, Join, Servers};
use crate::identity::Identity;
use crate::issue::Credentials;
use crate::trouble::{Trouble, innermost};
use crate::{servers, x509};
use anyhow::anyhow;
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, ListParams};
use skerry_distribution::kubernetes::token::BootstrapToken;
use std::collections::BTreeMap;
use tokio::time::timeout;

/// An unknown server's answer is not read further, bytes.
const LARGEST: usize = 1 << 20;
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// What does not change from attempt to attempt, and the request that is pending.
pub struct Asking<'a> {
    /// What the owner asked for.
    pub join: &'a Join,
    /// See [`discovery::pin`].
    pub pin: Option<&'a str>,
    /// By which both sides know each other.
    pub token: &'a BootstrapToken,
    /// Who asks.
    pub identity: &'a Identity,
    /// Name of the request for a certificate that was made and not decided.
    pub pending: Option<String>,
}

/// All that a member knows.
pub struct Member {
    /// The authority's file.
    pub ca: Vec<u8>,
    /// What all nodes agree on.
    pub cluster: Cluster,
    /// Where the servers are.
    pub servers: Servers,
    /// The node's certificate, PEM.
    pub certificate: String,
}

impl Asking<'_> {
    /// Asks one server; `say` is told what is waited for.
    pub async fn ask(&mut self, server: &str, say: impl FnMut(&str)) -> Result<Member, Trouble> {
        let info = cluster_info(server).await?;
        let ca = discovery::authority(&info, self.pin, self.token)?;
        clock(&ca, now())?;
        let config = client::config(server, Some(&ca)).map_err(Trouble::Here)?;
        let bearer = format!("{}.{}", self.token.id, self.token.secret);
        let joining = client::with_token(config.clone(), bearer).map_err(Trouble::Here)?;
        let certificate = self.certificate(Api::all(joining), say).await?;
        self.is_ours(&certificate, &ca)?;
        let credentials = Credentials {
            certificate,
            key: self.identity.pem(),
        };
        let member = client::connect(config, Some(&credentials)).map_err(Trouble::Here)?;
        let cluster = cluster(member.clone()).await?;
        let given = self.join.servers.iter().filter_map(|url| servers::of_url(url)).collect();
        let before = Servers { servers: vec![], given };
        Ok(Member {
            ca,
            cluster,
            servers: servers::merge(&before, endpoints(member).await?),
            certificate: credentials.certificate,
        })
    }

    async fn certificate(&mut self, api: Api<CertificateSigningRequest>, say: impl FnMut(&str)) -> Result<String, Trouble> {
        let id = Some(self.token.id.as_str());
        let name = match self.pending.clone() {
            Some(name) => name,
            None => csr::create(&api, self.identity, &self.join.node_name, id).await?,
        };
        self.pending = Some(name.clone());
        let answer = csr::decided(&api, &name, say).await?;
        self.pending = None;
        match answer {
            Answer::Signed(pem) => String::from_utf8(pem).map_err(|_| Trouble::Refused("a certificate that is no text".to_owned())),
            Answer::Denied(why) => Err(Trouble::Denied(why)),
            Answer::Waiting | Answer::Approved | Answer::Gone => Err(Trouble::Away(
                "the request for this node's certificate was deleted before it was decided".to_owned(),
            )),
        }
    }

    fn is_ours(&self, certificate: &str, ca: &[u8]) -> Result<(), Trouble> {
        let read = x509::certificate(certificate.as_bytes());
        let wanted = format!("system:node:{}", self.join.node_name);
        let fits = read.is_some_and(|c| c.key == self.identity.fingerprint() && c.common_name == wanted);
        if fits && x509::is_signed_by(certificate.as_bytes(), ca) {
            Ok(())
        } else {
            Err(Trouble::Refused("a certificate that is not the one this node asked for".to_owned()))
        }
    }
}

/// Anonymously, and from whoever answers.
async fn cluster_info(server: &str) -> Result<BTreeMap<String, String>, Trouble> {
    let config = client::config(server, None).map_err(Trouble::Here)?;
    let anyone = client::connect(config, None).map_err(Trouble::Here)?;
    let request = http::Request::get(CLUSTER_INFO)
        .body(kube::client::Body::empty())
        .map_err(|why| Trouble::Here(anyhow!(why)))?;
    let exchange = async {
        let response = anyone.send(request).await.map_err(|why| Trouble::Away(innermost(&why)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|why| Trouble::Refused(format!("cluster-info cannot be read: {why}")))?;
        Ok((status, body.to_bytes()))
    };
    let (status, body) = timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(Trouble::Away(format!("no answer for {} s", PATIENCE.as_secs()))))?;
    if status.is_server_error() {
        return Err(Trouble::Away(format!("it is not ready: {status}")));
    }
    if !status.is_success() {
        // A server that has just started has none yet.
        return Err(discovery::Doubt::NoAuthority.into());
    }
    let object: ConfigMap = serde_json::from_slice(&body).map_err(|_| discovery::Doubt::NoAuthority)?;
    Ok(object.data.unwrap_or_default())
}

/// Before the authority begins and after it ends, nothing can be verified.
fn clock(ca: &[u8], now: i64) -> Result<(), Trouble> {
    let Some(ca) = x509::certificate(ca) else {
        return Err(discovery::Doubt::NoAuthority.into());
    };
    if now < ca.not_before {
        return Err(Trouble::Clock(format!(
            "this machine's clock is {} before the cluster's authority begins; waiting for the time (from the network, or `date -s`)",
            days(ca.not_before - now)
        )));
    }
    if now >= ca.not_after {
        return Err(Trouble::Clock(format!(
            "the cluster's authority ended {} ago by this machine's clock; set the clock, or make a new cluster",
            days(now - ca.not_after)
        )));
    }
    Ok(())
}

fn days(seconds: i64) -> String {
    match seconds / 86_400 {
        0 => format!("{seconds} seconds"),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

async fn cluster(member: Client) -> Result<Cluster, Trouble> {
    let api: Api<ConfigMap> = Api::namespaced(member, "kube-system");
    let map = patiently(api.get("skerry-cluster"), None).await?;
    let text = map.data.as_ref().and_then(|d| d.get("cluster.json"));
    text.and_then(|t| serde_json::from_str(t).ok()).ok_or_else(|| {
        Trouble::Refused("ConfigMap kube-system/skerry-cluster cannot be read; is the server of an older release?".to_owned())
    })
}

async fn endpoints(member: Client) -> Result<Vec<String>, Trouble> {
    let api: Api<EndpointSlice> = Api::namespaced(member, "default");
    let slices = patiently(api.list(&ListParams::default().labels(servers::SELECTOR)), None).await?;
    Ok(servers::of_slices(&slices.items))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("../../../init/tests/certificates/ca.crt");

    #[test]
    fn clocks() {
        let ca = x509::certificate(CA.as_bytes()).unwrap();
        let said = |now| clock(CA.as_bytes(), now).err().map(|t| t.to_string()).unwrap_or_default();
        assert!(said(0).contains("days before the cluster's authority begins; waiting for the time"));
        assert!(said(ca.not_before - 60).contains("60 seconds before"));
        assert_eq!(said(ca.not_before), "");
        assert_eq!(said(ca.not_after - 1), "");
        assert!(said(ca.not_after + 86_400).contains("ended 1 day ago"));
    }
}
