//! Drivers for the hardware that is there already.

use anyhow::{Result, bail};
use skerry_sys::module::{self, Index};

/// `setup coldplug`, or `setup coldplug network` for drivers of network interfaces only.
pub fn run(args: &[String]) -> Result<()> {
    match args {
        [] => everything(),
        [word] if word == "network" => network(),
        _ => bail!("reading the arguments: expected `setup coldplug` or `setup coldplug network`"),
    }
}

fn everything() -> Result<()> {
    let report = module::coldplug(&Index::of_running_kernel()?);
    eprintln!("{} modules fit the hardware", report.loaded.len());
    // A driver that refuses its device is common, and the machine works without: it is said, and no more.
    for failure in report.failed {
        eprintln!("{failure}");
    }
    Ok(())
}

/// Drivers of network interfaces only: the first interface gives the machine its name.
pub fn network() -> Result<()> {
    let index = Index::of_running_kernel()?;
    for alias in module::present_aliases().iter().filter(|a| is_network(a)) {
        for name in index.lookup(alias) {
            if let Err(why) = module::load(&index, name, "") {
                eprintln!("{why}");
            }
        }
    }
    Ok(())
}

/// A PCI device of class 2, or virtio's network device.
fn is_network(alias: &str) -> bool {
    alias.starts_with("virtio:d00000001v") || alias.starts_with("pci:") && alias.contains("bc02sc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_devices() {
        for (alias, expected) in [
            ("virtio:d00000001v00001AF4", true),
            ("virtio:d00000002v00001AF4", false),
            ("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", true),
            ("pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00", false),
        ] {
            assert_eq!(is_network(alias), expected, "{alias}");
        }
    }
}
