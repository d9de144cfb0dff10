//! Services that behave badly, by the stand-in program `fake`: PID 1 stays up and says what is wrong.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use anyhow::{Context, Result};

/// One unit an item; the words are those of the distribution `fake` and of `fake` itself.
const UNITS: [&str; 7] = [
    "crash -- exit 7 50",
    "deaf grace=1000 -- stubborn",
    "never notify deadline=4000 -- never waiting for the tide",
    "late after=never -- ready 0",
    "bomb pids=150 -- bomb 12",
    "orphans once -- orphans 300",
    "well notify -- ready 100",
];

pub fn faults(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let units = UNITS.map(|u| format!("  - {u:?}")).join("\n");
    let config = format!(
        "ssh_authorized_keys: [{:?}]\nhostname: tested\nskerry:\n  distribution: fake\n  k3s_args:\n{units}",
        bench.lab.key.public
    );
    let seed = Seed::config(config).copy("var/lib/skerry/fake", &bench.fake);
    let data = bench.lab.data_disk("faults", &seed, NONE_DISK)?;
    let machine = to_login(bench, &none_machine("faults", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        machine
            .serial
            .wait_any(&["not ready after"], 0, seconds(60))
            .context("waiting for the service that never gets ready to be named")?;
        checks.probe(machine.ssh(&bench.lab)?, &EACH, seconds(60))?;
        checks.probe(machine.ssh(&bench.lab)?, &STOPPED, seconds(90))?;
        // A hundred parents end before the hundred children of each were waited for.
        let orphans = "for i in {1..100}; do ( for j in {1..100}; do : & done ); done";
        checks.that("10,000 orphans", machine.root_within(&bench.lab, orphans, seconds(180)));
        checks.probe(machine.ssh(&bench.lab)?, &AFTERWARDS, seconds(60))?;
        let console = machine.serial.text(0);
        checks.has("the console says how the crashing one ends", &console, "ended with exit code 7");
        checks.has(
            "the console says who had to be killed",
            &console,
            "did not stop when told to, and was killed",
        );
        checks.that("it switches itself off all the same", switch_off(bench, machine));
        Ok(())
    })
}

const EACH: [(&str, &str, Expect<'static>); 9] = [
    ("the good one runs", "skerry services | grep -w well", Expect::Has("running")),
    (
        "the crashing one is tried again",
        "skerry services --json | tr -d '\\n' | grep -oE '\"name\": *\"crash\"' | head -1",
        Expect::Has("crash"),
    ),
    (
        "with its last words",
        "skerry status; skerry services; skerry logs crash",
        Expect::Has("about to end with 7"),
    ),
    (
        "and with growing pauses",
        "skerry logs crash | grep -c 'about to end'",
        Expect::Success,
    ),
    (
        "what never gets ready says why",
        "skerry status",
        Expect::Has("waiting for the tide"),
    ),
    (
        "who waits for it is named",
        "skerry services | grep -w late",
        Expect::Has("waiting"),
    ),
    (
        "the fork bomb is held",
        "test $(cat /sys/fs/cgroup/system/bomb/pids.current) -le 150 && echo held",
        Expect::Is("held"),
    ),
    (
        "the machine is answered in time",
        "s=$(date +%s); skerry status >/dev/null; test $(($(date +%s) - s)) -le 5 && echo soon",
        Expect::Is("soon"),
    ),
    (
        "what the orphans' parent left is gone",
        "for i in $(seq 60); do z=$(ps -eo stat | grep -c ^Z); [ $z = 0 ] && break; sleep 0.5; done; echo $z",
        Expect::Is("0"),
    ),
];

const STOPPED: [(&str, &str, Expect<'static>); 4] = [
    (
        "what heeds no SIGTERM is killed",
        "skerry stop deaf; for i in $(seq 40); do skerry services | grep -w deaf | grep -q stopped && echo stopped && break; sleep 0.5; done",
        Expect::Is("stopped"),
    ),
    (
        "the fork bomb is ended as a whole",
        "skerry stop bomb; for i in $(seq 60); do skerry services | grep -w bomb | grep -q stopped && echo stopped && break; sleep 0.5; done",
        Expect::Is("stopped"),
    ),
    ("nothing of it is left", "pgrep -fc 'fake bomb'", Expect::Is("0")),
    (
        "a good one is restarted",
        "skerry stop crash; skerry restart well; for i in $(seq 40); do skerry services | grep -w well | grep -q running && echo running && break; sleep 0.5; done",
        Expect::Is("running"),
    ),
];

const AFTERWARDS: [(&str, &str, Expect<'static>); 4] = [
    (
        "none of them is left",
        "for i in $(seq 20); do z=$(ps -eo stat | grep -c ^Z); [ $z = 0 ] && break; sleep 0.5; done; echo $z",
        Expect::Is("0"),
    ),
    ("PID 1 answers", "skerry status", Expect::Has("tested")),
    (
        "PID 1 stays under 2 MiB",
        "awk '/^Rss:/ {print ($2 < 2048) ? \"small\" : $2}' /proc/1/smaps_rollup",
        Expect::Is("small"),
    ),
    (
        "PID 1 holds no files open",
        "test $(ls /proc/1/fd | wc -l) -lt 100 && echo few",
        Expect::Is("few"),
    ),
];
