//! `run NAME`: becomes a component whose command line needs the node's address, or what the cluster says.

use super::{certs, look, member};
use anyhow::{Context, Result, bail};
use skerry_distribution::kubernetes::{self, argv, datastore};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Never returns if all goes well.
pub fn run(name: &str) -> Result<()> {
    let m = look::machine()?;
    if name == "kine" {
        return become_(argv::kine(&m.settings));
    }
    let address = look::address()?;
    let (argv, env) = match name {
        "kube-apiserver" => argv::api_server(&m.settings, address.four),
        "kubelet" => {
            certs::resolv_conf(&m)?;
            argv::kubelet(&m.settings, address)
        }
        "etcd" => datastore::etcd(&m.settings, address.four, &member::start(&m, address.four)?),
        "kube-proxy" => argv::proxy(&m.settings),
        other => bail!("running {other}: it needs no help to start"),
    };
    become_((argv, env))
}

fn become_((argv, env): kubernetes::Command) -> Result<()> {
    let Some((program, rest)) = argv.split_first() else {
        bail!("running nothing: no program")
    };
    Err(Command::new(program).args(rest).envs(env).exec()).with_context(|| format!("running {program}"))
}
