//! What does each Kubernetes need from the operating system?
//!
//! Pure adapters: ([`Config`], [`Facts`]) → [`Plan`]: units for PID 1, files, problems. No files, sockets, clocks, processes or
//! randomness in this crate; `setup kube …` performs what is decided here.
//!
//! | adapter | what it plans |
//! |---|---|
//! | [`kubernetes`] | the embedded upstream Kubernetes, one supervised unit a component |
//! | [`none`] | nothing: a machine to log in to |
//! | [`fake`] | services made of the tests' stand-in program, to try supervision in seconds |

pub mod facts;
pub mod fake;
pub mod kubernetes;
pub mod none;
pub mod plan;

pub use facts::{Facts, Release};
pub use plan::{File, Plan, Problem, Severity};

use skerry_config::types::{Config, Distribution};

/// Decides what the configured distribution needs.
pub fn plan(config: &Config, facts: &Facts) -> Plan {
    match config.skerry.distribution {
        Distribution::Kubernetes => kubernetes::plan(config, facts),
        Distribution::None => none::plan(config),
        Distribution::Fake => fake::plan(config),
    }
}
