//! Running the programs of others: their output goes to a log, a person sees what is done and for how long.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a long step says that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Says which step begins.
pub fn say(text: &str) {
    eprintln!("images: {text}");
}

/// Runs a program to its end with its output in `log`; an error carries the last lines of it.
pub fn logged(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    say(what);
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("starting {} ({what})", command.get_program().to_string_lossy()))?;
    let mut said = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if said.elapsed() >= HEARTBEAT {
            said = Instant::now();
            say(&format!("  … {what}: {} s  {}", began.elapsed().as_secs(), tail(log, 1)));
        }
        thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        bail!("{what}: {status}\n{}\nwhole log: {}", tail(log, 25), log.display());
    }
    if began.elapsed() > Duration::from_secs(1) {
        say(&format!("  {what}: done in {:.1} s", began.elapsed().as_secs_f32()));
    }
    Ok(())
}

/// Runs a program quietly and gives its standard output.
pub fn output(what: &str, command: &mut Command) -> Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {} ({what})", command.get_program().to_string_lossy()))?;
    if !done.status.success() {
        bail!("{what}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The last lines of a log, each shortened, read from its last 8 KiB.
fn tail(log: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8192)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let all: Vec<String> = text
        .split(['\n', '\r'])
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.chars().take(200).collect())
        .collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_its_log() {
        let log = std::env::temp_dir().join(format!("skerry-run-{}", std::process::id()));
        let error = logged("trying", Command::new("sh").args(["-c", "echo first; echo why >&2; exit 3"]), &log).unwrap_err();
        assert!(error.to_string().contains("first\nwhy"), "{error}");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        fs::remove_file(log).unwrap();
    }
}
