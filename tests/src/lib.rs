//! Does the whole thing work, on a disk, in a machine, through a power cut?
//!
//! This room boots the real image in a real machine (QEMU) and looks at it from outside: at its serial console, by SSH, by its power
//! button. It must not reach into another room: what it knows of the system is what a person can see of it. The power-cut tests do, for
//! they record the writes of our own plans.
//!
//! * [`machine`]: one machine: started, watched, asked, cut off.
//! * [`cases`]: the table of machine tests, each a function over a [`machine::Lab`].
//! * [`suite`]: the tiers of `make test`, and how their results are counted.
//! * [`cluster`]: several machines on one network.
//! * [`node`]: one node with one pod, from power-on to the pod's log.
//! * [`tape`]: a disk that remembers its writes, to be cut at any of them.
//! * [`writelog`]: what QEMU kept of a machine's writes.
//! * [`bench`]: the figures of `make bench`.
//!
//! Invariants: nothing sleeps where it can wait for an event; every machine has a time limit and dies with whoever started it; what a
//! failed test saw stays in `target/machine/TEST/MACHINE/`, disks and all; of one that passed the disks go.

pub mod bench;
pub mod cases;
pub mod cluster;
pub mod machine;
pub mod node;
pub mod suite;
pub mod tape;
pub mod writelog;
