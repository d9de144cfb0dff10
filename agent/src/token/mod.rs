//! `agent token`: bootstrap tokens for machines that are to join, on a server.
//!
//! A token is a Secret `kube-system/bootstrap-token-ID`:
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#bootstrap-token-secret-format>. The
//! controller-manager signs cluster-info with it a moment after it is made, and removes it when it has ended.

pub mod date;

use crate::client::{self, now};
use crate::csr::patiently;
use crate::join::discovery;
use crate::places::Places;
use crate::servers;
use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use skerry_sys::file;
use std::collections::BTreeMap;
use std::time::Duration;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";
/// The group that may join: the same as that of the cluster's own token.
const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// Description of the token that the servers derive from the cluster's.
const DERIVED: &str = "derived from the cluster's token";

/// What a person needs to let a machine join.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The token's public half, by which it is deleted.
    pub id: String,
    /// To be written into the new machine's configuration.
    pub server_url: String,
    /// As well. It also says which cluster's authority to believe.
    pub token: String,
    /// When it ends: RFC 3339; none if never.
    pub expires: Option<String>,
}

/// One token, without what must stay secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its public half.
    pub id: String,
    /// In its maker's words.
    pub description: String,
    /// When it ends: RFC 3339; none if never.
    pub expires: Option<String>,
    /// Whether a machine can join with it.
    pub can_join: bool,
}

/// Makes a token. It ends after `ttl`; none: never.
pub async fn create(places: &Places, ttl: Option<Duration>, description: &str) -> Result<Made> {
    let client = client::server(places)?;
    let ca = file::read_bounded(places.ca(), 1 << 20)?;
    let server_url = server_url(client.clone()).await?;
    let mut random = [0; 22];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| anyhow!("asking the kernel for random bits"))?;
    let (id, secret) = words(&random);
    let expires = ttl.map(|ttl| date::rfc3339(now().saturating_add_unsigned(ttl.as_secs())));
    let api: Api<Secret> = Api::namespaced(client, "kube-system");
    let object = object(&id, &secret, expires.as_deref(), description);
    patiently(api.create(&PostParams::default(), &object), None)
        .await
        .map_err(|why| anyhow!("making a token: {why}"))?;
    Ok(Made {
        token: format!("K10{}::server:{id}.{secret}", discovery::hash(&ca)),
        id,
        server_url,
        expires,
    })
}

/// All tokens.
pub async fn list(places: &Places) -> Result<Vec<Listed>> {
    let api: Api<Secret> = Api::namespaced(client::server(places)?, "kube-system");
    let all = patiently(api.list(&ListParams::default().fields(&format!("type={TYPE}"))), None)
        .await
        .map_err(|why| anyhow!("reading the tokens: {why}"))?;
    Ok(all.items.iter().filter_map(listed).collect())
}

/// Deletes a token, named by its id or by the whole of it. Nodes that joined with it stay.
pub async fn delete(places: &Places, token: &str) -> Result<()> {
    let id = id_of(token).with_context(|| format!("deleting the token {token:?}: a token's id is six letters and digits"))?;
    let api: Api<Secret> = Api::namespaced(client::server(places)?, "kube-system");
    match api.delete(&format!("{PREFIX}{id}"), &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(said)) if said.code == 404 => bail!("deleting the token {id}: there is none; `skerry token list` shows all"),
        Err(why) => Err(why).with_context(|| format!("deleting the token {id}")),
    }
}

async fn server_url(client: Client) -> Result<String> {
    let api: Api<EndpointSlice> = Api::namespaced(client, "default");
    let slices = patiently(api.list(&ListParams::default().labels(servers::SELECTOR)), None)
        .await
        .map_err(|why| anyhow!("looking for the servers' addresses: {why}"))?;
    let first = servers::of_slices(&slices.items).into_iter().next();
    Ok(format!(
        "https://{}",
        first.context("looking for the servers' addresses: the cluster names none")?
    ))
}

/// Six and sixteen characters. 32 letters, so that each byte gives five even bits.
fn words(random: &[u8; 22]) -> (String, String) {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letter = |b: &u8| char::from(LETTERS.get(usize::from(*b) % LETTERS.len()).copied().unwrap_or(b'a'));
    let mut letters = random.iter().map(letter);
    (letters.by_ref().take(6).collect(), letters.collect())
}

fn object(id: &str, secret: &str, expires: Option<&str>, description: &str) -> Secret {
    let mut data = vec![
        ("token-id", id),
        ("token-secret", secret),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
        ("auth-extra-groups", GROUP),
    ];
    data.extend(expires.map(|e| ("expiration", e)));
    if !description.is_empty() {
        data.push(("description", description));
    }
    let data = data
        .into_iter()
        .map(|(k, v)| (k.to_owned(), ByteString(v.as_bytes().to_vec())))
        .collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(format!("{PREFIX}{id}")),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn listed(object: &Secret) -> Option<Listed> {
    let empty = BTreeMap::new();
    let data = object.data.as_ref().unwrap_or(&empty);
    let field = |key: &str| data.get(key).map(|v| String::from_utf8_lossy(&v.0).into_owned());
    let description = field("description").unwrap_or_default();
    Some(Listed {
        id: object.metadata.name.as_deref()?.strip_prefix(PREFIX)?.to_owned(),
        description: if description == DERIVED {
            "the cluster's own".to_owned()
        } else {
            description
        },
        expires: field("expiration"),
        can_join: ["usage-bootstrap-authentication", "usage-bootstrap-signing"]
            .iter()
            .all(|u| field(u).as_deref() == Some("true")),
    })
}

fn id_of(token: &str) -> Option<&str> {
    let secret = skerry_distribution::kubernetes::token::secret_part(token.trim());
    let id = secret.split('.').next()?;
    (id.len() == 6 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_a_token() {
        let (id, secret) = words(&[255; 22]);
        assert_eq!((id.as_str(), secret.as_str()), ("999999", "9999999999999999"));
        let all: Vec<u8> = (0..=255).collect();
        for window in all.windows(22) {
            let (id, secret) = words(window.try_into().unwrap());
            let token = format!("{id}.{secret}");
            let read = skerry_distribution::kubernetes::token::bootstrap(&token).unwrap();
            assert_eq!((read.id, read.secret), (id, secret), "taken as it is");
        }
    }

    #[test]
    fn what_is_listed_holds_no_secret() {
        let made = object("abcdef", "0123456789abcdef", Some("2026-11-22T00:00:00Z"), "for the mast");
        let shown = listed(&made).unwrap();
        assert_eq!(
            shown,
            Listed {
                id: "abcdef".into(),
                description: "for the mast".into(),
                expires: Some("2026-11-22T00:00:00Z".into()),
                can_join: true,
            }
        );
        assert!(!serde_json::to_string(&shown).unwrap().contains("0123456789abcdef"));
        let never = listed(&object("abcdef", "0123456789abcdef", None, DERIVED)).unwrap();
        assert_eq!((never.description.as_str(), never.expires), ("the cluster's own", None));
    }

    #[test]
    fn ids() {
        for (text, wanted) in [
            ("abcdef", Some("abcdef")),
            ("abcdef.0123456789abcdef", Some("abcdef")),
            ("K10aa::server:abcdef.0123456789abcdef", Some("abcdef")),
            ("ABCDEF", None),
            ("abc", None),
            ("../../x", None),
            ("", None),
        ] {
            assert_eq!(id_of(text), wanted, "{text}");
        }
    }
}
