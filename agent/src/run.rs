//! `agent run`: all that goes on at the same time.
//!
//! ```text
//!  pod network · conditions of the machine · server: manifests, addresses of Services, volumes, charts ─ until the end
//!  worker: balancer ────────────────────────────────────────────────── until the end
//!  duties, each round with the node's credentials as they are now: worker: refresh, renew · server: approve
//! ```

use crate::balancer::{self, Pool};
use crate::client::{self, now};
use crate::files::{self, Agent, Role, Servers};
use crate::issue::LIFE;
use crate::places::Places;
use crate::{approve, conditions, helm, local_path, manifests, members, moved, pods, renew, service_lb};
use anyhow::{Context, Result};
use kube::Client;
use skerry_distribution::kubernetes::paths::{METRICS_CRT, METRICS_KEY};
use skerry_sys::file;
use skerry_sys::notify::Notify;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// How often `kubelet.conf` is compared with what the duties use, and how long is waited after they could not begin.
const LOOK: Duration = Duration::from_secs(60);

/// Until SIGTERM.
pub async fn run(places: &Places, notify: &Notify) -> Result<()> {
    let agent: Agent = files::read(&places.agent())?;
    let mut end = signal(SignalKind::terminate()).context("listening to SIGTERM")?;
    // First: pods of a node without any cluster reach the outside by it.
    tokio::spawn(network(places.clone(), agent.clone()));
    let pool = match agent.role {
        Role::Worker => Some(balance(places, &agent).await?),
        Role::Server => {
            tokio::spawn(manifests::run(places.clone(), agent.clone(), manifests::Pace::default()));
            if agent.metrics_server {
                metrics(places)?;
            }
            if agent.helm {
                tokio::spawn(helm::run(places.clone(), agent.node_name.clone()));
            }
            if let Some(folder) = agent.local_storage.clone() {
                tokio::spawn(local_path::run(places.clone(), agent.node_name.clone(), folder));
            }
            if agent.service_lb {
                tokio::spawn(service_lb::run(places.clone(), agent.node_name.clone()));
            }
            None
        }
    };
    tokio::spawn(conditions::run(places.clone(), agent.node_name.clone()));
    tokio::spawn(moved(places.clone()));
    tracing::info!(node = agent.node_name, role = ?agent.role, "the node's agent is up");
    notify.say("READY=1");
    loop {
        if Box::pin(round(places, &agent, pool.as_ref(), notify, &mut end)).await == Next::End {
            return Ok(());
        }
    }
}

/// metrics-server's certificate, in memory; it is read again by its holder when it changes.
fn metrics(places: &Places) -> Result<()> {
    let made = client::metrics_server(places)?;
    let (crt, key) = (places.at(METRICS_CRT), places.at(METRICS_KEY));
    if let Some(folder) = key.parent() {
        file::make_dir(folder, 0o700)?;
    }
    file::replace(&key, made.key.as_bytes(), 0o600)?;
    Ok(file::replace(&crt, made.certificate.as_bytes(), 0o600)?)
}

/// The pod network; a node goes on without.
async fn network(places: Places, agent: Agent) {
    while let Err(why) = pods::run(places.clone(), agent.clone()).await {
        tracing::error!("keeping the pod network: {why:#}; trying again");
        sleep(LOOK).await;
    }
}

/// A node goes on without: then a new address is seen within a minute.
async fn moved(places: Places) {
    while let Err(why) = moved::follow(&places.control).await {
        tracing::warn!("following the machine's addresses: {why:#}; trying again");
        sleep(LOOK).await;
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Round,
    End,
}

async fn balance(places: &Places, agent: &Agent) -> Result<Pool> {
    let list: Servers = files::read(&places.servers())?;
    let pool = Pool::new(&agent.node_name, list);
    let listener = balancer::listen(places.local_api).await?;
    tokio::spawn(balancer::serve(listener, pool.clone()));
    let ca = file::read_bounded(places.ca(), 1 << 20)?;
    tokio::spawn(balancer::check::check(pool.clone(), ca));
    Ok(pool)
}

/// The duties with one set of credentials.
async fn round(places: &Places, agent: &Agent, pool: Option<&Pool>, notify: &Notify, end: &mut Signal) -> Next {
    let before = conf(places);
    let begun = now();
    let duties = async {
        let done = match (agent.role, pool) {
            (Role::Worker, Some(pool)) => worker(places, agent, pool, notify).await,
            _ => Box::pin(server(places, agent)).await,
        };
        if let Err(why) = done {
            tracing::warn!("{why:#}; trying again");
            sleep(LOOK).await;
        }
    };
    let stale = async {
        let half = i64::try_from(LIFE.as_secs() / 2).unwrap_or(i64::MAX);
        while conf(places) == before && now().abs_diff(begun) < half.unsigned_abs() {
            sleep(LOOK).await;
        }
        tracing::info!("going on with new credentials");
    };
    tokio::select! {
        _ = end.recv() => Next::End,
        () = duties => Next::Round,
        () = stale => Next::Round,
    }
}

fn conf(places: &Places) -> Option<Vec<u8>> {
    file::read_bounded(places.kubelet_conf(), 1 << 20).ok()
}

/// Ends only if it cannot begin.
async fn worker(places: &Places, agent: &Agent, pool: &Pool, notify: &Notify) -> Result<()> {
    let node: Client = client::node(places)?;
    let servers = places.servers();
    tokio::join!(
        balancer::refresh::refresh(node.clone(), pool.clone(), &servers),
        renew::renew(node, places, &agent.node_name, notify),
    );
    Ok(())
}

/// Ends only if it cannot begin.
async fn server(places: &Places, agent: &Agent) -> Result<()> {
    if agent.metrics_server {
        metrics(places)?;
    }
    let server = client::server(places)?;
    let members = async {
        if agent.etcd {
            members::follow(server.clone(), places, &agent.node_name).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = approve::approve(server.clone()) => {}
        () = members => {}
    }
    Ok(())
}
