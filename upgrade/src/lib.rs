//! How does the machine move to the next release, and back? It works without any cluster.

pub mod health;
pub mod now;
pub mod running;
pub mod slots;
pub mod trial;
