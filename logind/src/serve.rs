//! One thread: clients come, take inhibitors and let them go; PID 1 says that the machine goes down.

use crate::bus::{self, Bus};
use crate::manager::{self, Manager, Taken, locked};
use crate::shutdown::{Event, MOST, Shutdown, Step};
use anyhow::{Context, Result, bail};
use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::StreamExt;
use futures_lite::future::or;
use skerry_sys::event::Signals;
use skerry_sys::{machine, notify::Notify, socket};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::connection::Builder;
use zbus::{Connection, Guid, MessageStream};

/// The most clients at a time.
const MOST_CLIENTS: usize = 8;
/// A client that has not made itself known by then is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

/// What it was started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients look for the system bus.
    pub socket: PathBuf,
    /// Join the bus that is there, instead of being it.
    pub bus: bool,
    /// Nobody is waited for longer.
    pub limit: Duration,
}

/// What wakes the loop.
enum Wake {
    /// A client took an inhibitor.
    Taken(Taken),
    /// It let go.
    Released(u32),
    /// The machine goes down.
    Leave,
    /// We are to end.
    End,
    Time,
}

/// The clients that are there, by number; none: it has not made itself known yet.
type Clients = Rc<RefCell<BTreeMap<u64, Option<Connection>>>>;

/// Serves until the machine may go down, or SIGTERM.
pub fn run(options: &Options, notify: &Notify) -> Result<()> {
    // First: later threads are to leave signals alone.
    let signals = Signals::take(&[SIGUSR1, SIGTERM])?;
    let executor = Rc::new(LocalExecutor::new());
    async_io::block_on(executor.run(serve(&executor, options, notify, signals)))
}

async fn serve(executor: &Rc<LocalExecutor<'static>>, options: &Options, notify: &Notify, signals: Signals) -> Result<()> {
    let shutdown = Arc::new(Mutex::new(Shutdown::new(options.limit)));
    let (wakes, woken) = async_channel::bounded(64);
    let (taken, inhibitors) = async_channel::bounded(MOST);
    let manager = Manager {
        shutdown: shutdown.clone(),
        taken,
    };
    let clients = Clients::default();
    executor.spawn(hear(signals, wakes.clone())).detach();
    executor.spawn(pass(inhibitors, wakes.clone())).detach();
    if options.bus {
        let connection = join(options, manager).await?;
        clients.borrow_mut().insert(0, Some(connection.clone()));
        let wakes = wakes.clone();
        executor
            .spawn(async move {
                follow(&connection).await;
                tracing::warn!("the system bus has gone away");
                let _ = wakes.send(Wake::End).await; // PID 1 starts us again, and we join the next one
            })
            .detach();
    } else {
        let listener = socket::listen_at(&options.socket, 0o600)?;
        let door = Rc::new(Door {
            manager,
            clients: clients.clone(),
        });
        executor.spawn(accept(executor.clone(), listener, door)).detach();
    }
    tracing::info!(socket = %options.socket.display(), bus = options.bus, "kubelet is told of a shutdown here");
    notify.say("READY=1");
    loop {
        let due = locked(&shutdown).due();
        let event = match or(next(&woken), time(due)).await {
            Wake::Taken((number, pipe)) => {
                executor.spawn(watch(number, pipe, wakes.clone())).detach();
                None
            }
            Wake::Released(number) => Some(Event::Released(number)),
            Wake::Leave => Some(Event::Leave),
            Wake::Time => Some(Event::Tick),
            Wake::End => return Ok(()),
        };
        let steps = event
            .map(|event| locked(&shutdown).step(event, machine::uptime()))
            .unwrap_or_default();
        notify.say(&format!("STATUS={}", locked(&shutdown).words()));
        for step in steps {
            match step {
                Step::Announce => announce(&clients).await,
                Step::End(left) => {
                    if left.is_empty() {
                        tracing::info!("nobody is to be waited for");
                    } else {
                        let limit = options.limit.as_secs();
                        tracing::warn!(holds = left.join(", "), limit, "time is up; the machine goes down nevertheless");
                    }
                    return Ok(());
                }
            }
        }
    }
}

async fn next(woken: &Receiver<Wake>) -> Wake {
    woken.recv().await.unwrap_or(Wake::End)
}

async fn time(due: Option<Duration>) -> Wake {
    match due {
        Some(due) => drop(Timer::after(due.saturating_sub(machine::uptime())).await),
        None => futures_lite::future::pending().await,
    }
    Wake::Time
}

async fn announce(clients: &Clients) {
    let all: Vec<Connection> = clients.borrow().values().flatten().cloned().collect();
    tracing::info!(clients = all.len(), "the machine goes down");
    for connection in all {
        if let Err(why) = manager::announce(&connection).await {
            tracing::warn!("telling a client: {why}");
        }
    }
}

/// PID 1's words.
async fn hear(signals: Signals, wakes: Sender<Wake>) {
    let Ok(signals) = Async::new_nonblocking(signals) else { return };
    while signals.readable().await.is_ok() {
        while let Some(received) = signals.get_ref().next() {
            let wake = if received.signal == SIGUSR1 { Wake::Leave } else { Wake::End };
            let _ = wakes.send(wake).await; // nobody is there to hear it: we end
        }
    }
}

async fn pass(inhibitors: Receiver<Taken>, wakes: Sender<Wake>) {
    while let Ok(taken) = inhibitors.recv().await {
        let _ = wakes.send(Wake::Taken(taken)).await; // we end
    }
}

/// Until the other end is closed.
async fn watch(number: u32, pipe: OwnedFd, wakes: Sender<Wake>) {
    if let Ok(pipe) = Async::new_nonblocking(pipe) {
        let mut byte = [0];
        // Nothing is to be said there; what is said all the same is read over.
        while pipe.readable().await.is_ok() && socket::read(pipe.get_ref(), &mut byte).is_ok_and(|read| read > 0) {}
    }
    let _ = wakes.send(Wake::Released(number)).await; // we end
}

/// On a real bus.
async fn join(options: &Options, manager: Manager) -> Result<Connection> {
    let address = format!("unix:path={}", options.socket.display());
    Builder::address(address.as_str())
        .and_then(|b| b.internal_executor(false).serve_at(manager::PATH, manager))
        .and_then(|b| b.name(manager::NAME))
        .context("preparing for the system bus")?
        .build()
        .await
        .with_context(|| format!("joining the system bus at {}; try: skerry services", options.socket.display()))
}

/// What clients are received with.
struct Door {
    manager: Manager,
    clients: Clients,
}

/// Being the bus: every client has us alone.
async fn accept(executor: Rc<LocalExecutor<'static>>, listener: OwnedFd, door: Rc<Door>) {
    let Ok(listener) = Async::new_nonblocking(listener) else { return };
    let mut number = 0;
    while listener.readable().await.is_ok() {
        while let Some((fd, peer)) = socket::accept(listener.get_ref()) {
            if door.clients.borrow().len() >= MOST_CLIENTS {
                tracing::warn!(process = peer.pid, "too many clients; one is sent away");
                continue;
            }
            number += 1;
            door.clients.borrow_mut().insert(number, None);
            let door = door.clone();
            executor
                .spawn(async move {
                    match or(greet(fd, number, door.manager.clone()), late()).await {
                        Ok(connection) => {
                            door.clients.borrow_mut().insert(number, Some(connection.clone()));
                            follow(&connection).await;
                        }
                        Err(why) => tracing::info!(process = peer.pid, "a client is sent away: {why:#}"),
                    }
                    door.clients.borrow_mut().remove(&number);
                })
                .detach();
        }
    }
}

async fn greet(fd: OwnedFd, number: u64, manager: Manager) -> Result<Connection> {
    let client = format!(":1.{number}");
    Builder::unix_stream(UnixStream::from(fd))
        .p2p()
        .internal_executor(false)
        .server(Guid::generate())
        .and_then(|b| b.serve_at(manager::PATH, manager))
        .and_then(|b| b.serve_at(bus::PATH, Bus { client }))
        .context("preparing for a client")?
        .build()
        .await
        .context("greeting a client")
}

async fn late() -> Result<Connection> {
    Timer::after(PATIENCE).await;
    bail!("it has not made itself known within {} s", PATIENCE.as_secs())
}

/// Does what a connection asks for, until it is closed.
async fn follow(connection: &Connection) {
    let mut messages = MessageStream::from(connection);
    let closed = async { while messages.next().await.is_some_and(|m| m.is_ok()) {} };
    let work = async {
        loop {
            connection.executor().tick().await;
        }
    };
    or(closed, work).await;
}
