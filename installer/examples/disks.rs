//! `cargo run --example disks [RULE]`: the disks of this machine, and which of them a new installation would take.

use skerry_installer::choose::{Purpose, Wanted, choose};
use skerry_installer::facts::{Root, disks, mounts};
use skerry_installer::layout::{Arch, Sizes};

fn main() -> anyhow::Result<()> {
    let found = disks(&Root("/".into()), &mounts()?)?;
    eprintln!("{}", serde_json::to_string_pretty(&found)?);
    if let Some(rule) = std::env::args().nth(1) {
        let needed = Sizes::default().needed(Arch::Amd64);
        eprintln!("{}", choose(&Wanted::parse(&rule)?, &found, needed, Purpose::New { erase: false })?);
    }
    Ok(())
}
