//! A machine without a clock of its own: it waits for the network's time, but not for ever, and says so.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::Seed;
use anyhow::Result;

pub fn unset(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("clock-unset", &Seed::config(none_config(bench, "")), NONE_DISK)?;
    let request = Request {
        clock: Some("1970-01-01T00:00:00".to_owned()),
        ..none_machine("clock-unset", Some(&data))
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "it is never before the release was made",
                "test $(date +%s) -ge $(grep -o '\"built\": *[0-9]*' /usr/share/skerry/release.json | tr -dc 0-9) && echo sane",
                Expect::Is("sane"),
            ),
            (
                "the wait ends by itself",
                "for i in $(seq 120); do skerry services | grep -E '^ *clock ' | grep failed && break; sleep 1; done",
                Expect::Has("failed"),
            ),
            (
                "it says what it waits for, and how long",
                "skerry logs clock",
                Expect::Has("waiting for a time server: this machine has no clock of its own (5 of 60 s)"),
            ),
            (
                "and that it goes on",
                "skerry logs clock",
                Expect::Has("going on with the time at which this machine last ran"),
            ),
            (
                "what waits for a clock has begun",
                "for i in $(seq 30); do test -s /var/lib/skerry/clock && break; sleep 1; done; test -s /var/lib/skerry/clock",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(240))?;
        switch_off(bench, machine)
    })?;
    // The time at which it was switched off is the next boot's floor.
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [(
            "the clock goes on from where it was",
            "test $(date +%s) -ge $(cat /var/lib/skerry/clock) && echo sane",
            Expect::Is("sane"),
        )];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))
    })
}
