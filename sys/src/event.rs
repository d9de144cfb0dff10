//! epoll and signalfd: what PID 1 waits on.

use crate::{Doing, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What is awaited of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// That it can be read.
    Read,
    /// That it can be written.
    Write,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
            Self::Write => epoll::EventFlags::OUT,
        }
    }
}

/// One descriptor that can be read or written, has hung up, or is in error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number it was added under.
    pub token: u64,
    /// There may still be something to read.
    pub readable: bool,
    /// The other side is gone.
    pub hung_up: bool,
}

/// A set of descriptors to wait on.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).doing("opening", "an epoll set")?,
        })
    }

    /// Adds a descriptor. It leaves the set by itself when its last copy is closed.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())
            .doing("waiting on", format_args!("descriptor {token}"))
    }

    /// Changes what is awaited.
    pub fn change(&self, fd: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())
            .doing("waiting on", format_args!("descriptor {token}"))
    }

    /// Takes a descriptor out.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, fd).doing("no longer waiting on", "a descriptor")
    }

    /// Waits, at most for `timeout`, and returns up to 32 that are ready. An interrupted wait returns none.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Ready>> {
        // Rounded up: a wait that ends just before its deadline would spin until it is reached.
        let timeout = timeout.map(|t| rustix::time::Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: (t.subsec_nanos().div_ceil(1_000_000) * 1_000_000).min(999_999_999).into(),
        });
        let mut events = Vec::with_capacity(32);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).doing("waiting on", "an epoll set"),
        }
        Ok(events
            .iter()
            .map(|e| {
                let (data, flags) = (e.data, e.flags); // the kernel's struct is packed
                Ready {
                    token: data.u64(),
                    readable: flags.contains(epoll::EventFlags::IN),
                    hung_up: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR),
                }
            })
            .collect())
    }
}

/// A signal, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// The sender; 0 for the kernel.
    pub pid: u32,
}

/// Signals as something to wait on: they are blocked, and read here.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals but the synchronous ones (SIGSEGV and its kind), and gathers those given.
    pub fn take(numbers: &[i32]) -> Result<Self> {
        let mut wanted = SigSet::empty();
        for n in numbers {
            wanted.add(Signal::try_from(*n).doing("waiting on", format_args!("signal {n}"))?);
        }
        let mut blocked = SigSet::all();
        for s in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGABRT,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ] {
            blocked.remove(s);
        }
        blocked.thread_set_mask().doing("blocking", "signals")?;
        SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .doing("waiting on", "signals")
    }

    /// The next one, if any came.
    pub fn next(&self) -> Option<Received> {
        let info = self.0.read_signal().ok().flatten()?;
        Some(Received {
            signal: i32::try_from(info.ssi_signo).ok()?,
            pid: info.ssi_pid,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_awaited() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&read, 7, Interest::Read).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), []);
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(
            poller.wait(None).unwrap(),
            [Ready {
                token: 7,
                readable: true,
                hung_up: false
            }]
        );
        drop(write);
        poller.remove(&read).unwrap();
        assert_eq!(poller.wait(Some(Duration::from_millis(1))).unwrap(), []);
    }
}
