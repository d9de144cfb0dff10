//! Other programs, run to their end.

use anyhow::{Context, Result, bail};
use skerry_distribution::kubernetes::paths::{CONF, RUN};
use std::io::Write;
use std::process::{Command, Stdio};

/// The most of what a program said that is repeated in an error.
const SAID: usize = 2000;

/// Runs a program to its end and returns its standard output. What it says on standard error goes into the error, or into the log.
pub fn output(argv: &[&str], input: Option<&str>) -> Result<String> {
    let Some((program, rest)) = argv.split_first() else {
        bail!("running a program: no name given")
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = || format!("running {}", argv.iter().take(5).copied().collect::<Vec<_>>().join(" "));
    let mut child = command.spawn().with_context(shown)?;
    let stdin = child.stdin.take();
    let done = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends before it has read all says so by its exit.
            let _ = stdin.map(|mut pipe| pipe.write_all(input.unwrap_or_default().as_bytes()));
        });
        child.wait_with_output()
    })
    .with_context(shown)?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let tail = said.len().saturating_sub(SAID);
        let tail = said.char_indices().map(|(at, _)| at).find(|at| *at >= tail).unwrap_or(0);
        bail!("{}: {}: {}", shown(), done.status, said.get(tail..).unwrap_or_default().trim());
    }
    eprint!("{said}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// What every call of kubectl begins with. super-admin works before any rights are set up; only one-shots use it.
fn kubectl() -> [String; 3] {
    [
        "/usr/bin/kubectl".to_owned(),
        format!("--kubeconfig={CONF}/super-admin.conf"),
        format!("--cache-dir={RUN}/cache"),
    ]
}

/// Runs kubectl.
pub fn run_kubectl(args: &[&str], input: Option<&str>) -> Result<String> {
    let first = kubectl();
    let mut words: Vec<&str> = first.iter().map(String::as_str).collect();
    words.extend(args);
    output(&words, input)
}
