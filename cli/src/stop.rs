//! Ctrl-C: what is said, and what is cleaned up, when a person stops a work in its middle.
//!
//! Everything that writes disks is made for the power to go at any instant, so stopping is no more than that; what the person needs is
//! to be told which state the disk is in.

use crate::terminal;
use anyhow::{Context, Result};
use skerry_sys::event::{Interest, Poller, Signals};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// SIGHUP, SIGINT, SIGTERM.
const SIGNALS: [i32; 3] = [1, 2, 15];
/// As shells say of a program that SIGINT ended.
const STATUS: i32 = 130;

#[derive(Debug, Default)]
struct State {
    says: String,
    remove: Vec<PathBuf>,
}

/// Waits for such a signal, in a thread of its own.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Mutex<State>>);

impl Stop {
    /// Begins to wait. To be called before other threads are begun: they take over which signals are blocked.
    pub fn watch() -> Result<Self> {
        let stop = Self::default();
        stop.says("nothing was written");
        let signals = Signals::take(&SIGNALS)?;
        let poller = Poller::new()?;
        poller.add(&signals, 0, Interest::Read)?;
        let state = stop.clone();
        std::thread::Builder::new()
            .name("stop".to_owned())
            .spawn(move || {
                while signals.next().is_none() {
                    // An error here would be one of every call: without a watcher, nobody is told, and nothing else changes.
                    if poller.wait(None).is_err() {
                        return;
                    }
                }
                state.stop();
            })
            .context("waiting for Ctrl-C")?;
        Ok(stop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this is what is said.
    pub fn says(&self, text: &str) {
        text.clone_into(&mut self.state().says);
    }

    /// From now on, this file or folder is removed.
    pub fn removes(&self, path: &Path) {
        self.state().remove.push(path.to_owned());
    }

    fn stop(&self) {
        terminal::show_again();
        // Held to the end: nothing is begun meanwhile that waits for it.
        let state = self.state();
        for path in &state.remove {
            // It may not be there any more, or not yet.
            let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
        }
        eprintln!("\nstopped: {}", state.says);
        std::process::exit(STATUS);
    }
}
