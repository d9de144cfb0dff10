//! `setup distribution …`: the steps of distributions whose program is brought, and of a node that joins a cluster of kubeadm's.
//!
//! | step | unit | what |
//! |---|---|---|
//! | `prepare` | distribution-files | directories and configuration files |
//! | `join` | kubelet-join | `kubeadm join`, up to the start of kubelet |
//! | `ready node KUBECONFIG NAME` | distribution-ready | waits until the node is Ready |
//! | `ready file PATH` | distribution-ready | whether the cluster took the node in |
//! | `ready socket SOCKET PATH` | a readiness probe | asks a server on a socket once |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a step says is its log")]

mod join;
mod prepare;
mod ready;

use anyhow::{Result, bail};

/// Performs one step.
pub fn run(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare"] => prepare::run(),
        ["join"] => join::run(),
        ["ready", "node", kubeconfig, name] => ready::node(kubeconfig, name),
        ["ready", "file", path] => ready::file(path),
        ["ready", "socket", socket, path] => ready::socket(socket, path),
        _ => bail!(
            "reading the arguments: expected setup distribution prepare|join|ready node KUBECONFIG NAME|ready file PATH|ready socket SOCKET PATH"
        ),
    }
}
