//! `/etc/local.d/*.start`: the owner's scripts at the end of a boot.

use crate::command::ended;
use crate::root::Root;
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const DIR: &str = "/etc/local.d";

/// `setup local-start`.
pub fn run() -> Result<()> {
    perform(&Root::system())
}

/// Runs them in the order of their names; one that fails does not hold up the next.
fn perform(root: &Root) -> Result<()> {
    let mut failed = vec![];
    for script in scripts(root) {
        let name = script.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !is_executable(&script) {
            eprintln!("{DIR}/{name} is not executable and was not run: give it `permissions: \"0755\"`");
            continue;
        }
        match Command::new(&script).status() {
            Ok(status) if status.success() => {}
            Ok(status) => failed.push(format!("{name} {}", ended(status))),
            // A script without `#!` is one for the shell.
            Err(why) if why.raw_os_error() == Some(8) => match Command::new("/bin/sh").arg(&script).status() {
                Ok(status) if status.success() => {}
                Ok(status) => failed.push(format!("{name} {}", ended(status))),
                Err(why) => failed.push(format!("{name}: {why}")),
            },
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("running the scripts of {DIR}: {}", failed.join(", "))
}

fn scripts(root: &Root) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root.at(DIR)) else {
        return vec![];
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "start"))
        .collect();
    found.sort();
    found
}

fn is_executable(path: &std::path::Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn scripts_run_in_order_and_failures_are_named() {
        let root = scratch("local");
        assert!(perform(&root).is_ok());
        let log = root.at("/log").display().to_string();
        for (name, mode, text) in [
            ("20-b.start", 0o755, format!("#!/bin/sh\necho b >> {log}\n")),
            ("10-a.start", 0o755, format!("echo a >> {log}\n")),
            ("15-bad.start", 0o755, "#!/bin/sh\nexit 7\n".to_owned()),
            ("17-plain.start", 0o644, format!("echo plain >> {log}\n")),
            ("README", 0o755, format!("echo no >> {log}\n")),
        ] {
            root.write(&format!("{DIR}/{name}"), &text, mode).unwrap();
        }
        let why = perform(&root).unwrap_err().to_string();
        assert_eq!(why, "running the scripts of /etc/local.d: 15-bad.start ended with exit code 7");
        assert_eq!(root.text("/log").unwrap(), "a\nb\n");
    }
}
