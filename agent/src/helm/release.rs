//! What helm has made so far, and running it.

use super::chart::{Chart, Name};
use super::plan::{self, Files, Step};
use crate::client;
use crate::places::Places;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;
use skerry_distribution::kubernetes::paths::RUN;
use skerry_sys::file;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What of a complaint is repeated. Bytes.
const SAID: usize = 1500;
/// helm's own limit is for one operation; a chart may have several.
const MARGIN: Duration = Duration::from_secs(300);

/// Further values: secrets that `valuesSecrets` names, in their order.
pub async fn secrets(client: &Client, name: &Name, chart: &Chart, config: Option<&Value>) -> Result<Vec<String>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &name.0);
    let mut texts = vec![];
    for (secret, keys) in plan::secrets(&[Some(&chart.spec), config]) {
        let found = api
            .get(&secret)
            .await
            .with_context(|| format!("reading Secret {}/{secret}", name.0))?;
        for (key, bytes) in found.data.unwrap_or_default() {
            if keys.is_empty() || keys.contains(&key) {
                texts.push(String::from_utf8(bytes.0).with_context(|| format!("reading key {key} of Secret {}/{secret}", name.0))?);
            }
        }
    }
    Ok(texts)
}

/// The state of the last revision, from the labels that helm puts on what it keeps.
async fn state(client: &Client, target: &str, release: &str) -> Result<Option<String>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), target);
    let listed = api
        .list_metadata(&ListParams::default().labels(&format!("owner=helm,name={release}")))
        .await
        .with_context(|| format!("looking for release {target}/{release}"))?;
    let revision = |labels: &std::collections::BTreeMap<String, String>| {
        let number: u64 = labels.get("version")?.parse().ok()?;
        Some((number, labels.get("status")?.clone()))
    };
    let last = listed.items.iter().filter_map(|s| revision(s.metadata.labels.as_ref()?)).max();
    Ok(last.map(|(_, state)| state))
}

/// Installs, or brings to what is asked for.
pub async fn install(
    client: &Client,
    places: &Places,
    name: &Name,
    chart: &Chart,
    config: Option<&Value>,
    secrets: &[String],
) -> Result<()> {
    let room = Room::open(places, name)?;
    let (args, files) = plan::upgrade(name, chart, config, secrets, &room.path)?;
    room.fill(&files)?;
    let target = chart.target(name);
    let limit = plan::timeout(chart) + MARGIN;
    for step in plan::steps(state(client, target, &name.1).await?.as_deref()) {
        match step {
            Step::Uninstall => room.helm(&removal(name, target), limit).await?,
            Step::Rollback => {
                let args = ["rollback", &format!("--namespace={target}"), "--", &name.1].map(str::to_owned);
                room.helm(&args, limit).await?;
            }
            Step::Upgrade => room.helm(&args, limit).await?,
        }
    }
    Ok(())
}

/// Removes the release; one that is not there is as it should be.
pub async fn uninstall(places: &Places, name: &Name, chart: &Chart) -> Result<()> {
    let room = Room::open(places, name)?;
    room.helm(&removal(name, chart.target(name)), plan::timeout(chart) + MARGIN).await
}

fn removal(name: &Name, target: &str) -> Vec<String> {
    let namespace = format!("--namespace={target}");
    ["uninstall", "--ignore-not-found", &namespace, "--", &name.1]
        .map(str::to_owned)
        .to_vec()
}

/// A folder in memory for one release, gone afterwards: credentials and values are in it.
struct Room {
    path: String,
    at: PathBuf,
    program: PathBuf,
}

impl Room {
    fn open(places: &Places, name: &Name) -> Result<Self> {
        let path = format!("{RUN}/helm/{}_{}", name.0, name.1);
        let at = places.at(&path);
        file::make_dir(places.at(&format!("{RUN}/helm")), 0o700)?;
        file::make_dir(&at, 0o700)?;
        file::replace(at.join("kubeconfig"), client::server_kubeconfig(places)?.as_bytes(), 0o600)?;
        let path = at.display().to_string();
        let program = places.helm.clone();
        Ok(Self { path, at, program })
    }

    fn fill(&self, files: &Files) -> Result<()> {
        for (name, content) in files {
            file::replace(self.at.join(name), content, 0o600)?;
        }
        Ok(())
    }

    async fn helm(&self, args: &[String], limit: Duration) -> Result<()> {
        let word = args.first().map_or("", String::as_str);
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.at)
            .env("KUBECONFIG", self.at.join("kubeconfig"))
            .env("HELM_NO_PLUGINS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, &self.at);
        }
        let mut child = command.spawn().with_context(|| format!("running {}", self.program.display()))?;
        let mut pipe = child.stderr.take();
        let end = async {
            let mut said = vec![];
            let mut part = [0; 4096];
            while let Some(pipe) = pipe.as_mut() {
                match pipe.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => said.extend_from_slice(part.get(..n).unwrap_or_default()),
                }
                // The last words say why.
                let from = said.len().saturating_sub(SAID);
                said.drain(..from);
            }
            (said, child.wait().await)
        };
        let Ok((said, status)) = tokio::time::timeout(limit, end).await else {
            bail!("helm {word}: no end after {} s", limit.as_secs());
        };
        let status = status.with_context(|| format!("helm {word}"))?;
        if !status.success() {
            bail!("helm {word}: {}", String::from_utf8_lossy(&said).trim().replace('\n', "; "));
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let gone: &Path = &self.at;
        if let Err(why) = std::fs::remove_dir_all(gone) {
            tracing::warn!("removing {}: {why}", gone.display());
        }
    }
}
