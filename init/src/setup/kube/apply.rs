//! `setup`, `manifests`: what is put into the cluster.

use super::look::{self, Machine};
use super::program::run_kubectl;
use super::{api, certs};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skerry_distribution::kubernetes::manifests::Tokens;
use skerry_distribution::kubernetes::paths::{MANIFESTS, PKI, RUN, STATE};
use skerry_distribution::kubernetes::settings::Token;
use skerry_distribution::kubernetes::{files, manifests, token};
use skerry_sys::file;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Fields are owned by name; ours win over what somebody changed by hand.
const APPLY: [&str; 4] = ["apply", "--server-side", "--force-conflicts", "--field-manager=skerry"];

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
    let address = look::address()?;
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

/// CoreDNS and ours once more, then the owner's: once at each boot. A file that cannot be applied is named and tried again; the rest goes on.
pub fn owner() -> Result<()> {
    let m = look::machine()?;
    let path = format!("{RUN}/manifests.json");
    let mut done: BTreeSet<PathBuf> = serde_json::from_str(&look::text(&path)).unwrap_or_default();
    let ours = Path::new("-").to_owned();
    if !done.contains(&ours) {
        let mut objects = rights(&m)?.0;
        objects.extend(manifests::add_ons(&m.settings, &m.facts));
        api::apply(&objects)?;
        done.insert(ours);
    }
    let files: Vec<PathBuf> = MANIFESTS
        .iter()
        .flat_map(|d| manifests_in(Path::new(d)))
        .filter(|f| !done.contains(f))
        .collect();
    let failed = apply_files(&files);
    done.extend(files.into_iter().filter(|f| !failed.iter().any(|(path, _)| path == f)));
    file::replace(path, serde_json::to_string(&done)?.as_bytes(), 0o600)?;
    for (path, why) in &failed {
        eprintln!("applying {}: {why}", path.display());
    }
    match failed.first() {
        Some((first, _)) => bail!(
            "applying {} of the owner's manifests, {} first: see above; they are tried again",
            failed.len(),
            first.display()
        ),
        None => Ok(()),
    }
}

/// All in one program start; each by itself only if that failed.
fn apply_files(files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let apply = |files: &[&str]| {
        let mut args = APPLY.to_vec();
        args.push("--validate=warn");
        args.extend(files.iter().flat_map(|f| ["-f", f]));
        run_kubectl(&args, None).map(|said| print!("{said}"))
    };
    let (named, unnamed): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|f| f.to_str().is_some());
    let mut failed: Vec<_> = unnamed
        .into_iter()
        .map(|f| (f.clone(), "its name is not UTF-8".to_owned()))
        .collect();
    let texts: Vec<&str> = named.iter().filter_map(|f| f.to_str()).collect();
    if texts.is_empty() || apply(&texts).is_ok() {
        return failed;
    }
    for file in texts {
        if let Err(why) = apply(&[file]) {
            failed.push((PathBuf::from(file), format!("{why:#}")));
        }
    }
    failed
}

/// YAML and JSON files below a directory, by name. `NAME.skip` beside a file leaves it out, as in k3s.
fn manifests_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    let mut found = vec![];
    for path in paths {
        let is_manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        let mut skip = path.clone().into_os_string();
        skip.push(".skip");
        if path.is_dir() && !path.is_symlink() {
            found.extend(manifests_in(&path));
        } else if is_manifest && path.is_file() && !Path::new(&skip).exists() {
            found.push(path);
        }
    }
    found
}
