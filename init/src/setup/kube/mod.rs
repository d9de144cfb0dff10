//! The steps of the embedded Kubernetes that need facts of the running machine. (Placeholder.)

use anyhow::Result;

/// `setup kube …`.
pub fn run(args: &[String]) -> Result<()> {
    anyhow::bail!("running setup kube {}: not in this build", args.join(" "))
}
