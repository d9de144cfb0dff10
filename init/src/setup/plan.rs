//! `setup plan`: looks at the machine and its configuration, decides what runs, and hands that to PID 1.

use crate::facts::{self, Facts};
use crate::root::Root;
use crate::said::said;
use crate::store::{self, LAST_GOOD, Stored, THIS_BOOT};
use crate::{asked, boot, looked, metadata};
use anyhow::{Context, Result, bail};
use skerry_config::types::Config;
use skerry_config::{Loaded, Origin, Problem, Severity, Variables, load};
use skerry_control::unit;

/// The most lines of problems that go to the console.
const SCREENFUL: usize = 16;

/// `setup plan [--last-good]`: the units go to standard output.
pub fn run(args: &[String]) -> Result<()> {
    let last_good = match args {
        [] => false,
        [word] if word == "--last-good" => true,
        _ => bail!("reading the arguments: expected `setup plan` or `setup plan --last-good`"),
    };
    let root = Root::system();
    let units = perform(&root, last_good)?;
    print!("{units}");
    Ok(())
}

/// What the configuration to boot with was chosen from.
#[derive(Debug, PartialEq)]
enum Choice {
    /// The one that is there.
    Current,
    /// The last good one, and why.
    LastGood(String),
}

/// Looks, decides, leaves everything in `/run/skerry`, and returns the units.
pub fn perform(root: &Root, forced: bool) -> Result<String> {
    let looked = looked::look(root, forced);
    let known = store::read(root, LAST_GOOD).unwrap_or_else(|why| {
        eprintln!("{}", said(&why));
        None
    });
    let stored = known.as_ref().map(|k| load(&k.sources));
    let last_good_login = stored.as_ref().is_some_and(|l| crate::apply::has_login(&l.config));
    // A configuration that broke the planning is not even read a second time.
    let current = if forced { Loaded::default() } else { load(&looked.sources) };
    let choice = if forced {
        Choice::LastGood("planning with the configuration that is there did not work".to_owned())
    } else {
        choose(&current, stored.as_ref())
    };
    let (mut loaded, sources, plan) = match (&choice, known, stored) {
        (Choice::LastGood(_), Some(known), Some(stored)) => (stored, known.sources, "last-good"),
        (Choice::LastGood(why), _, _) => bail!("planning with the last good configuration ({why}): there is none"),
        (Choice::Current, _, _) => (current.clone(), looked.sources, "config"),
    };
    let mut problems = current.problems;
    if let Choice::LastGood(why) = &choice {
        problems.insert(0, quarantined(&current.refused, why));
    }
    let wanted = metadata::wanted(root, &loaded.config, &sources);
    let stands = metadata::stands(root, &looked.facts.mode, &wanted);
    if stands == metadata::PENDING {
        leave_one(root, metadata::WANTED, &serde_json::to_string(&wanted)?, 0o600)?;
    }
    let facts = Facts {
        plan: plan.to_owned(),
        last_good_login,
        hostname: hostname(&loaded.config, &looked.facts, metadata::weak_hostname(root)),
        metadata: stands.to_owned(),
        ..looked.facts
    };
    let facts = Facts {
        node_name: pinned(&facts),
        ..facts
    };
    let before = loaded.problems.len();
    loaded.fill_in(Some(&Variables {
        hostname: Some(facts.hostname.clone()),
        ..looked.variables
    }));
    problems.extend(loaded.problems.iter().skip(before).cloned());
    let distribution = skerry_distribution::plan(&loaded.config, &facts.for_distribution());
    let radios = (loaded.config.has_wifi() && facts.no_radios).then(no_radios);
    problems.extend(distribution.problems.iter().chain(&radios).map(|p| located(p, &loaded)));
    let facts = Facts {
        problems: problems.iter().filter(|p| p.severity != Severity::Note).count(),
        ..facts
    };
    let units = unit::encode(&boot::units(&loaded.config, &facts, &distribution));
    leave(root, &loaded, &facts, &problems, &asked::request(&loaded.config, &distribution))?;
    let places = looked::judged(looked.places, &loaded.refused, plan == "last-good");
    leave_one(
        root,
        looked::SOURCES,
        &serde_json::to_string(&places).context("writing the list of sources")?,
        0o640,
    )?;
    store::write(
        root,
        THIS_BOOT,
        &Stored {
            sources,
            units: units.clone(),
        },
    )?;
    tell(&looked.unread, &problems);
    Ok(units)
}

/// Which configuration to boot with: the one that is there, unless nobody could log in and no cluster could run with it, and there
/// is one with which somebody could.
fn choose(current: &Loaded, last_good: Option<&Loaded>) -> Choice {
    match current.usable() {
        Err(why) if last_good.is_some_and(|l| l.usable().is_ok()) => Choice::LastGood(why),
        _ => Choice::Current,
    }
}

fn hostname(config: &Config, facts: &Facts, by_cloud: Option<String>) -> String {
    let asked = config.hostname.clone().filter(|h| !h.is_empty()).or(by_cloud);
    // A machine whose interface was replaced keeps the name that it has.
    let kept = Some(facts.node_name.clone()).filter(|n| !n.is_empty());
    asked.or(kept).unwrap_or_else(|| facts::default_hostname(facts.mac.as_deref()))
}

fn pinned(facts: &Facts) -> String {
    if facts.node_name.is_empty() {
        facts::node_name(&facts.hostname)
    } else {
        facts.node_name.clone()
    }
}

fn quarantined(refused: &[String], why: &str) -> Problem {
    Problem {
        origin: Origin {
            source: refused.first().cloned().unwrap_or_else(|| "config.yaml".to_owned()),
            ..Origin::default()
        },
        severity: Severity::Error,
        path: String::new(),
        what: format!("this configuration is not used: {why}"),
        done_instead: "this boot runs with the last good configuration".to_owned(),
        write_instead: String::new(),
        drops: true,
    }
}

/// What is said of Wi-Fi where the kernel has none.
fn no_radios() -> skerry_distribution::Problem {
    skerry_distribution::Problem {
        key: "skerry.wifi".to_owned(),
        what: "this kernel has no Wi-Fi".to_owned(),
        hint: "no network is joined by radio; a release with the full kernel has the drivers".to_owned(),
        severity: skerry_distribution::Severity::Warning,
    }
}

/// What an adapter says about a key, with the place where the owner wrote it.
fn located(p: &skerry_distribution::Problem, loaded: &Loaded) -> Problem {
    let place = |e: &&skerry_config::Entry| {
        e.path == p.key || e.path.starts_with(&format!("{}[", p.key)) || e.path.starts_with(&format!("{}.", p.key))
    };
    let origin = loaded.explain.iter().find(place).map(|e| e.origin.clone());
    Problem {
        origin: origin.unwrap_or_else(|| Origin {
            source: "config".to_owned(),
            ..Origin::default()
        }),
        severity: if p.severity == skerry_distribution::Severity::Note {
            Severity::Note
        } else {
            Severity::Warning
        },
        path: p.key.clone(),
        what: p.what.clone(),
        done_instead: p.hint.clone(),
        write_instead: String::new(),
        drops: p.severity == skerry_distribution::Severity::Ignored,
    }
}

/// Leaves what the other programs work from.
fn leave(root: &Root, loaded: &Loaded, facts: &Facts, problems: &[Problem], network: &serde_json::Value) -> Result<()> {
    let config = &loaded.config;
    let explain: Vec<_> = loaded.explain.iter().cloned().map(without_secret).collect();
    let all = [
        (crate::apply::CONFIG, serde_json::to_string(config), 0o600),
        (asked::PATH, serde_json::to_string(network), 0o600),
        ("/run/skerry/problems.json", serde_json::to_string(problems), 0o640),
        ("/run/skerry/explain.json", serde_json::to_string(&explain), 0o640),
        (facts::PATH, serde_json::to_string(facts), 0o644),
    ];
    for (path, text, mode) in all {
        leave_one(root, path, &text.with_context(|| format!("writing {path}"))?, mode)?;
    }
    Ok(())
}

fn leave_one(root: &Root, path: &str, text: &str, mode: u32) -> Result<()> {
    let at = root.at(path);
    if let Some(parent) = at.parent() {
        skerry_sys::file::make_dir(parent, 0o755)?;
    }
    if mode == 0o640 && root.is_system() {
        // Members of group `skerry` may read what is wrong.
        skerry_sys::file::replace_owned(&at, text.as_bytes(), mode, 0, 1000)?;
    } else {
        skerry_sys::file::replace(&at, text.as_bytes(), mode)?;
    }
    Ok(())
}

fn without_secret(mut entry: skerry_config::Entry) -> skerry_config::Entry {
    if entry.secret {
        entry.value = serde_json::Value::String("***".to_owned());
    }
    entry
}

/// Says what is wrong, on standard error, which goes to the log and the console.
fn tell(unread: &[String], problems: &[Problem]) {
    for line in screenful(unread, problems) {
        eprintln!("{line}");
    }
}

fn screenful(unread: &[String], problems: &[Problem]) -> Vec<String> {
    let told = problems.iter().filter(|p| p.severity != Severity::Note).map(ToString::to_string);
    let mut lines: Vec<String> = unread
        .iter()
        .cloned()
        .chain(told)
        .flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    if lines.len() > SCREENFUL {
        let more = lines.len() + 1 - SCREENFUL;
        lines.truncate(SCREENFUL - 1);
        lines.push(format!("… and {more} lines more: `skerry config check` shows all"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirm;
    use crate::root::scratch;

    const SYSTEM: &str = "/k3os/system/config.yaml";
    const GOOD: &str = "hostname: edge-1\nssh_authorized_keys:\n- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me\n";

    fn machine(name: &str, config: &str) -> Root {
        let root = scratch(name);
        root.write(SYSTEM, config, 0o600).unwrap();
        root.write("/proc/cmdline", "console=ttyS0\n", 0o644).unwrap();
        root.write("/dev/ttyS0", "", 0o644).unwrap();
        root.write("/run/skerry/storage.json", "{\"mode\":\"disk\"}", 0o644).unwrap();
        root
    }

    #[test]
    fn everything_is_left_for_the_others() {
        let root = machine("plan", GOOD);
        let units = perform(&root, false).unwrap();
        assert!(
            units.contains("\nunit getty-ttys0\n") && units.contains("\nunit confirm\n"),
            "{units}"
        );
        let facts = Facts::read(&root).unwrap();
        assert_eq!(
            (facts.hostname.as_str(), facts.node_name.as_str(), facts.plan.as_str()),
            ("edge-1", "edge-1", "config")
        );
        assert_eq!(crate::apply::read_config(&root).unwrap().hostname.unwrap(), "edge-1");
        for path in ["problems.json", "explain.json", "network.json"] {
            let text = root.text(&format!("/run/skerry/{path}")).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }

    #[test]
    fn a_bad_edit_boots_the_last_good_configuration() {
        let root = machine("bad-edit", GOOD);
        perform(&root, false).unwrap();
        confirm::perform(&root).unwrap();
        root.write(SYSTEM, "hostname: [edge\n  ssh: }\n", 0o600).unwrap();
        let units = perform(&root, false).unwrap();
        let facts = Facts::read(&root).unwrap();
        assert_eq!((facts.plan.as_str(), facts.hostname.as_str()), ("last-good", "edge-1"));
        assert!(!units.contains("\nunit confirm\n"));
        let config = crate::apply::read_config(&root).unwrap();
        assert_eq!(config.ssh_authorized_keys.len(), 1);
        let problems = root.text("/run/skerry/problems.json").unwrap();
        assert!(
            problems.contains("this configuration is not used") && problems.contains(SYSTEM),
            "{problems}"
        );
        // Mended, it counts again.
        root.write(SYSTEM, &GOOD.replace("edge-1", "edge-2"), 0o600).unwrap();
        perform(&root, false).unwrap();
        assert_eq!(Facts::read(&root).unwrap().hostname, "edge-2");
    }

    #[test]
    fn a_bad_configuration_without_a_good_one_boots_all_the_same() {
        let root = machine("bad-first", "\tno: yaml: {");
        let units = perform(&root, false).unwrap();
        assert!(units.contains("\nunit sshd\n"));
        assert_eq!(Facts::read(&root).unwrap().plan, "config");
    }

    #[test]
    fn when_planning_fails_the_last_good_sources_are_used() {
        let root = machine("forced", GOOD);
        assert!(perform(&root, true).unwrap_err().to_string().contains("there is none"));
        perform(&root, false).unwrap();
        confirm::perform(&root).unwrap();
        root.write(SYSTEM, "hostname: other\n", 0o600).unwrap();
        perform(&root, true).unwrap();
        assert_eq!(Facts::read(&root).unwrap().hostname, "edge-1");
    }

    #[test]
    fn the_node_keeps_its_name() {
        let root = machine("pinned", GOOD);
        root.write(facts::NODE_NAME, "first\n", 0o644).unwrap();
        perform(&root, false).unwrap();
        let facts = Facts::read(&root).unwrap();
        assert_eq!((facts.hostname.as_str(), facts.node_name.as_str()), ("edge-1", "first"));
    }

    #[test]
    fn at_most_a_screenful() {
        let problem = Problem {
            what: "x".into(),
            ..quarantined(&[], "y")
        };
        let lines = screenful(&[], &vec![problem; 40]);
        assert_eq!(
            (lines.len(), lines[15].as_str()),
            (16, "… and 25 lines more: `skerry config check` shows all")
        );
    }
}
