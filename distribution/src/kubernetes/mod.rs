//! The embedded upstream Kubernetes: one supervised unit a component.
use crate::{Facts, Plan};
use skerry_config::types::Config;
use std::net::IpAddr;

/// Plans one server: every component as a unit of its own.
pub fn plan(_config: &Config, _facts: &Facts) -> Plan {
    Plan {
        ready: Some("kube-ready".to_owned()),
        ..Plan::default()
    }
}

/// A command line: arguments (program first) and environment.
pub type Command = (Vec<String>, Vec<(String, String)>);

/// The command line of a component that must know the node's address; none if there is no such component.
pub fn argv(_name: &str, _config: &Config, _facts: &Facts, _address: IpAddr) -> Option<Command> {
    None
}
