//! `init_cmd`, `boot_cmd`, `run_cmd`: each by `sh -c`; the first that fails ends its list.

use crate::apply::read_config;
use crate::root::Root;
use anyhow::{Context, Result, bail};
use skerry_config::types::Config;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// `setup command init|boot|run`.
pub fn run(args: &[String]) -> Result<()> {
    let config = read_config(&Root::system())?;
    let (key, list) = match args.first().map(String::as_str) {
        Some("init") => ("init_cmd", &config.init_cmd),
        Some("boot") => ("boot_cmd", &config.boot_cmd),
        Some("run") => ("run_cmd", &config.run_cmd),
        _ => bail!("reading the arguments: expected `setup command init`, `boot` or `run`"),
    };
    perform(key, list, &environment(&config))
}

/// The owner's variables, where `/etc/environment` (which does not exist yet for `init_cmd`) has not set them already.
fn environment(config: &Config) -> BTreeMap<String, String> {
    let owners = config.skerry.environment.iter();
    owners
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn perform(key: &str, list: &[String], environment: &BTreeMap<String, String>) -> Result<()> {
    for (n, command) in list.iter().enumerate() {
        eprintln!("{key}[{n}]: {}", shown(command));
        let program = Command::new("/bin/sh").args(["-c", command]).envs(environment).status();
        let status = program.with_context(|| format!("running {key}[{n}]"))?;
        if !status.success() {
            let left = list.len() - n - 1;
            let rest = if left > 0 {
                format!("; the {left} after it were not run")
            } else {
                String::new()
            };
            bail!("running {key}[{n}] ({}): {}{rest}", shown(command), ended(status));
        }
    }
    Ok(())
}

/// The beginning of a command's first line: it may be long.
fn shown(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < command.trim().len() {
        format!("{short}…")
    } else {
        short
    }
}

/// How a program ended, in words.
pub fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn the_first_failure_ends_the_list() {
        let root = scratch("command");
        let path = |name: &str| root.at(name).display().to_string();
        let list = [
            format!("echo \"$WHO\" > {}", path("a")),
            "exit 3".into(),
            format!("touch {}", path("b")),
        ];
        let environment = BTreeMap::from([("WHO".to_owned(), "me".to_owned())]);
        let why = perform("run_cmd", &list, &environment).unwrap_err().to_string();
        assert_eq!(
            why,
            "running run_cmd[1] (exit 3): ended with exit code 3; the 1 after it were not run"
        );
        assert_eq!(root.word("/a").unwrap(), "me");
        assert!(!root.at("/b").exists());
        assert!(perform("run_cmd", &[". /dev/null".to_owned(), "kill -9 $$".to_owned()], &environment).is_err());
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(shown("a\nb"), "a…");
        assert_eq!(shown(&"x".repeat(80)).chars().count(), 61);
    }
}
