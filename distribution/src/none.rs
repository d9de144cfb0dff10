//! No Kubernetes: a machine to log in to.

use crate::plan::Plan;
use skerry_config::types::Config;

/// No units, no files; keys that are meant for Kubernetes are simply not used.
pub fn plan(_config: &Config) -> Plan {
    Plan::default()
}
