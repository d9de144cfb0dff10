//! Other programs, run to their end: `ip`, `bridge`, `wg`, `nft`.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// They speak only to the kernel. One that hangs keeps its thread; there are few.
const PATIENCE: Duration = Duration::from_secs(30);
/// A node with a hundred pods says some hundred kilobytes. Bytes.
const MOST: u64 = 16 << 20;
/// What of a complaint is repeated. Characters.
const SAID: usize = 500;

/// Runs a program and returns its standard output.
pub async fn output(program: &str, args: &[&str], input: &str) -> Result<String> {
    let doing = format!("running {program} {}", args.join(" "));
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let running = tokio::task::spawn_blocking(move || run(command, &input));
    match tokio::time::timeout(PATIENCE, running).await {
        Ok(done) => done.context("running a thread")?.context(doing),
        Err(_) => bail!("{doing}: no end after {} s", PATIENCE.as_secs()),
    }
}

fn run(mut command: Command, input: &str) -> Result<String> {
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (text, said) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends before it has read all says so by its exit.
            let _ = stdin.map(|mut pipe| pipe.write_all(input.as_bytes()));
        });
        let hearing = scope.spawn(move || {
            let mut said = vec![];
            let _ = stderr.map(|pipe| pipe.take(MOST).read_to_end(&mut said));
            said
        });
        let mut text = String::new();
        let read = stdout.map_or(Ok(0), |pipe| pipe.take(MOST).read_to_string(&mut text));
        (read.map(|_| text), hearing.join().unwrap_or_default())
    });
    let status = child.wait()?;
    if !status.success() {
        let said: String = String::from_utf8_lossy(&said)
            .trim()
            .replace('\n', "; ")
            .chars()
            .take(SAID)
            .collect();
        bail!("{status}: {said}");
    }
    Ok(text?)
}
