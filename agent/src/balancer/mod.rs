//! The way to the servers: on a worker, everything speaks to `127.0.0.1:6443`, and this carries the bytes to a server that answers.
//!
//! No single server's address is special: which ones there are comes from the cluster ([`refresh`]), whether they answer from asking
//! each of them ([`check`]), and which one to try from a rule ([`choose`]). TLS goes through untouched.

pub mod check;
pub mod choose;
pub mod refresh;

use crate::files::Servers;
use anyhow::{Context, Result};
use choose::Server;
use rustix::net::sockopt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// A server that has not taken a connection by then is passed over.
const DIAL: Duration = Duration::from_secs(3);
/// A server that has not confirmed sent bytes for so long is gone: `TCP_USER_TIMEOUT` of tcp(7).
const SILENCE: Duration = Duration::from_secs(15);
/// A node has some twenty connections. More than this wait.
const MOST: usize = 512;
/// Bytes of buffer in each direction.
const BUFFER: usize = 8 << 10;

/// What is known of the servers, and how to cut the connections to one.
#[derive(Clone)]
pub struct Pool {
    node_name: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    servers: Vec<Server>,
    list: Servers,
    /// By address; told when connections to it are to be given up.
    cuts: BTreeMap<String, watch::Sender<u32>>,
}

impl Pool {
    /// Nothing has been asked yet.
    pub fn new(node_name: &str, list: Servers) -> Self {
        let inner = Inner {
            servers: choose::renewed(&[], &list),
            list,
            cuts: BTreeMap::new(),
        };
        Self {
            node_name: node_name.to_owned(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held; and a list is a list.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list as it is kept.
    pub fn list(&self) -> Servers {
        self.inner().list.clone()
    }

    /// Takes another list.
    pub fn renew(&self, list: Servers) {
        let mut inner = self.inner();
        inner.servers = choose::renewed(&inner.servers, &list);
        let Inner { servers, cuts, .. } = &mut *inner;
        // Connections to a server that left the list stay as long as they work.
        cuts.retain(|address, cut| cut.receiver_count() > 0 || servers.iter().any(|s| s.address == *address));
        inner.list = list;
    }

    /// `HOST:PORT` of each server.
    pub fn addresses(&self) -> Vec<String> {
        self.inner().servers.iter().map(|s| s.address.clone()).collect()
    }

    /// In the order of trial.
    fn order(&self) -> Vec<String> {
        let inner = self.inner();
        choose::order(&inner.servers, &self.node_name)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// Takes in whether a server answered, or why not.
    pub fn heard(&self, address: &str, answer: Result<(), String>) {
        let mut inner = self.inner();
        let Some(server) = inner.servers.iter_mut().find(|s| s.address == address) else {
            return;
        };
        let before = server.health;
        let cut = choose::heard(server, answer.is_ok());
        match (before, answer) {
            (choose::Health::Bad, Ok(())) => tracing::info!(server = address, "the server answers again"),
            (choose::Health::Good | choose::Health::Unknown, Err(why)) => {
                tracing::warn!(server = address, "the server does not answer: {why}");
            }
            _ => {}
        }
        if let Some(cuts) = inner.cuts.get(address).filter(|_| cut) {
            cuts.send_modify(|generation| *generation = generation.wrapping_add(1));
        }
    }

    fn cuts(&self, address: &str) -> watch::Receiver<u32> {
        let mut inner = self.inner();
        inner
            .cuts
            .entry(address.to_owned())
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }
}

/// Begins to listen; who connects waits until [`serve`].
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}: does another program use the port?"))
}

/// Carries connections, for ever.
pub async fn serve(listener: TcpListener, pool: Pool) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let pool = pool.clone();
                tokio::spawn(async move {
                    carry(client, &pool).await;
                    drop(permit);
                });
            }
            Err(why) => {
                // Out of file descriptors, most likely: some are free again soon.
                tracing::warn!("accepting a connection: {why}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn carry(mut client: TcpStream, pool: &Pool) {
    let Some((mut server, mut cut)) = dial(pool).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    // An end of either side is the end of both; why, is theirs to say.
    tokio::select! {
        _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER) => {}
        _ = cut.changed() => {}
    }
}

async fn dial(pool: &Pool) -> Option<(TcpStream, watch::Receiver<u32>)> {
    for address in pool.order() {
        let cut = pool.cuts(&address);
        match timeout(DIAL, TcpStream::connect(&address)).await {
            Ok(Ok(server)) => {
                let _ = server.set_nodelay(true);
                notice_silence(&server);
                return Some((server, cut));
            }
            Ok(Err(why)) => pool.heard(&address, Err(why.to_string())),
            Err(_) => pool.heard(&address, Err(format!("not reached within {} s", DIAL.as_secs()))),
        }
    }
    None
}

/// A server that lost its power says nothing. The kernel finds out.
fn notice_silence(server: &TcpStream) {
    let silence = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
    // What the kernel refuses here only makes it later.
    let _ = sockopt::set_tcp_user_timeout(server, silence);
    let _ = sockopt::set_socket_keepalive(server, true);
    let _ = sockopt::set_tcp_keepidle(server, SILENCE);
    let _ = sockopt::set_tcp_keepintvl(server, Duration::from_secs(5));
    let _ = sockopt::set_tcp_keepcnt(server, 3);
}

#[cfg(test)]
mod tests;
