//! Services made of the tests' stand-in program, so that supervision can be tried in seconds.
//!
//! Each item of `k3s_args` is one unit: `NAME [OPTION…] [-- ARGUMENT…]`. Options: `notify` (ready by `sd_notify`), `once`, `retry`
//! (a one-shot, tried until it succeeds), `main-only`, `after=UNIT`, `grace=MILLISECONDS`, `deadline=MILLISECONDS`, `pids=N`,
//! `memory=BYTES`. What follows `--` is for the program.

use crate::plan::{Plan, Problem};
use skerry_config::types::Config;
use skerry_control::unit::{Kind, Ready, Scope, Unit, is_name};
use std::time::Duration;

/// The stand-in program; tests put it on the data partition.
pub const PROGRAM: &str = "/var/lib/skerry/fake";

/// One unit for each item of `k3s_args`; without any, one service that says it is ready. The last one counts as the node.
pub fn plan(config: &Config) -> Plan {
    let mut plan = Plan::default();
    let default = ["fake notify".to_owned()];
    let items = if config.skerry.k3s_args.is_empty() {
        &default[..]
    } else {
        &config.skerry.k3s_args
    };
    for item in items {
        match unit(item) {
            Ok(unit) => plan.units.push(unit),
            Err(what) => plan.problems.push(Problem::ignored(
                "skerry.k3s_args",
                format!("{item:?}: {what}"),
                "NAME [OPTION…] [-- ARGUMENT…]",
            )),
        }
    }
    plan.ready = plan.units.last().map(|u| u.name.clone());
    plan
}

fn unit(item: &str) -> Result<Unit, String> {
    let mut words = item.split_whitespace();
    let name = words.next().filter(|n| is_name(n)).ok_or("no unit name")?;
    let mut unit = Unit::service(name, &format!("Stand-in {name}"), &[PROGRAM]).after(&["apply-boot"]);
    while let Some(word) = words.next() {
        if word == "--" {
            unit.argv.extend(words.by_ref().map(str::to_owned));
            break;
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: no whole number"));
        match key {
            "notify" => unit.ready = Ready::Notify,
            "once" => unit.kind = Kind::OneShot { retry: false, every: None },
            "retry" => unit.kind = Kind::OneShot { retry: true, every: None },
            "main-only" => unit.stop.scope = Scope::MainOnly,
            "after" => unit.after.push(value.to_owned()),
            "grace" => unit.stop.grace = Duration::from_millis(number()?),
            "deadline" => unit.deadline = Some(Duration::from_millis(number()?)),
            "pids" => unit.pids_max = Some(number()?),
            "memory" => unit.memory_max = Some(number()?),
            _ => return Err(format!("{word}: unknown option")),
        }
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(items: &[&str]) -> Plan {
        let mut config = Config::default();
        config.skerry.k3s_args = items.iter().map(|&i| i.to_owned()).collect();
        plan(&config)
    }

    #[test]
    fn units_from_items() {
        let p = of(&["a notify pids=5 grace=100 -- --fork 3", "b once after=a", "c main-only"]);
        assert_eq!(p.problems, []);
        assert_eq!(p.units[0].argv, [PROGRAM, "--fork", "3"]);
        assert_eq!((p.units[0].pids_max, &p.units[0].ready), (Some(5), &Ready::Notify));
        assert_eq!(p.units[1].after, ["apply-boot", "a"]);
        assert_eq!(p.ready.as_deref(), Some("c"));
        assert_eq!(of(&[]).units.len(), 1);
    }

    #[test]
    fn bad_items_are_named() {
        let p = of(&["../x", "a colour=blue", "b pids=many"]);
        assert_eq!((p.units.len(), p.problems.len()), (0, 3));
    }
}
