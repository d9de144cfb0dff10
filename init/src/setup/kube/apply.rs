//! `setup`, `manifests`: what is put into the cluster.

use super::look::{self, Machine};
use super::program::run_kubectl;
use super::{api, certs};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skerry_distribution::kubernetes::manifests::Tokens;
use skerry_distribution::kubernetes::paths::{PKI, STATE};
use skerry_distribution::kubernetes::settings::Token;
use skerry_distribution::kubernetes::{files, manifests, token};
use skerry_sys::file;

/// What was applied last, so that a boot that would apply the same does not wait for it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Applied {
    digest: String,
    token_id: String,
    agent_token_id: String,
}

/// Rights and the bootstrap token: before anything depends on them.
pub fn system() -> Result<()> {
    let m = look::machine()?;
    let (objects, now) = rights(&m)?;
    let path = format!("{STATE}/applied.json");
    let earlier: Applied = serde_json::from_str(&look::text(&path)).unwrap_or_default();
    if earlier == now {
        println!("nothing new; all of it is applied again when the node is Ready");
        return Ok(());
    }
    api::apply(&objects)?;
    // A secret that was changed in the configuration: the old one must not open anything.
    for id in [&earlier.token_id, &earlier.agent_token_id] {
        if id.is_empty() || *id == now.token_id || *id == now.agent_token_id {
            continue;
        }
        let secret = format!("bootstrap-token-{id}");
        run_kubectl(
            &["--namespace=kube-system", "delete", "secret", &secret, "--ignore-not-found"],
            None,
        )?;
    }
    Ok(file::replace(path, serde_json::to_string(&now)?.as_bytes(), 0o600)?)
}

fn rights(m: &Machine) -> Result<(Vec<Value>, Applied)> {
    let address = look::address()?.four;
    let names = files::names(&m.settings, address, &[]);
    let derive = |token: &Token| token::bootstrap(&look::token(token)?).context("deriving the bootstrap token: too little memory");
    let tokens = Tokens {
        server: derive(&m.settings.token)?,
        agent: m.settings.agent_token.as_ref().map(derive).transpose()?,
        bundle: certs::sealed(m, &look::token(&m.settings.token)?),
    };
    let ca = look::text(format!("{PKI}/ca.crt"));
    let objects = manifests::system(&m.settings, &m.facts, address, &names, &tokens, &ca);
    let digest = look::hex(&Sha256::digest(Value::from(objects.clone()).to_string()));
    Ok((
        objects,
        Applied {
            digest,
            token_id: tokens.server.id,
            agent_token_id: tokens.agent.map(|t| t.id).unwrap_or_default(),
        },
    ))
}

/// CoreDNS, and ours once more. The owner's manifests are the agent's business: it keeps them applied.
pub fn add_ons() -> Result<()> {
    let m = look::machine()?;
    let mut objects = rights(&m)?.0;
    objects.extend(manifests::add_ons(&m.settings, &m.facts));
    api::apply(&objects)
}
