//! Services that behave badly, by the stand-in program `fake`: PID 1 stays up and says what is wrong.

use super::Bench;
use super::check::Checks;
use super::start::{NONE_DISK, none_machine, to_login};
use crate::machine::disk::Seed;
use anyhow::Result;

pub fn faults(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("faults", &Seed::config("").copy("var/lib/skerry/fake", &bench.fake), NONE_DISK)?;
    let machine = to_login(bench, &none_machine("faults", Some(&data)))?;
    checks.is("it is up", !machine.serial.text(0).is_empty(), "");
    Ok(())
}
