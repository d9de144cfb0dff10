//! How does kubelet hear of a shutdown?
//!
//! `org.freedesktop.login1`, no more of it than kubelet's graceful node shutdown uses. There is no D-Bus daemon on a wired node: this
//! program itself listens where the system bus is expected, and answers the few calls to the bus that a client makes (`bus`). Where a
//! real bus runs it joins that under its name instead (`--bus`).
//!
//! ```text
//!  kubelet                       logind                          PID 1
//!     │ Hello, Get InhibitDelayMaxUSec                              │
//!     │ Inhibit("shutdown", …, "delay") ── a pipe's end ──►         │
//!     │ AddMatch                  │                                 │
//!     │                           │ ◄──────── SIGUSR1: the machine goes down (its farewell; all else still runs)
//!     │ ◄── PrepareForShutdown(true)                                │
//!     │ ends the pods, by priority, each group within its time      │
//!     │ closes the pipe ────────► │ ends ──────────────────────────►│ stops everything else
//! ```
//!
//! It waits for nobody longer than `--limit`, and PID 1 not for it. It never stops, starts or refuses anything by itself; a shutdown is
//! PID 1's to begin, and cannot be called off (`PrepareForShutdown(false)` is never said). SIGTERM ends it at once: kubelet then
//! comes back to the next one. What is decided is in [`shutdown`], pure.

pub mod bus;
pub mod manager;
pub mod serve;
pub mod shutdown;
