//! A person's way in: the ssh client, one login for many commands.

use crate::machine::serial::Serial;
use crate::machine::tools::Tools;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A key pair made for one run.
#[derive(Debug, Clone)]
pub struct Key {
    /// The private half's file.
    pub path: PathBuf,
    /// The line for `authorized_keys`.
    pub public: String,
}

impl Key {
    /// Makes one in `dir`.
    pub fn make(tools: &Tools, dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        let _ = fs::remove_file(&path);
        let mut command = tools.program("ssh-keygen")?;
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "machine-test", "-f"])
            .arg(&path);
        crate::machine::disk::run(&mut command)?;
        let public = path.with_extension("pub");
        let public = fs::read_to_string(&public)
            .with_context(|| format!("reading {}", public.display()))?
            .trim()
            .to_owned();
        Ok(Self { path, public })
    }
}

/// What a command in the machine printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; none if it was killed or ran out of time.
    pub code: Option<i32>,
    /// Standard output, without the last newline.
    pub out: String,
    /// Standard error, without the last newline.
    pub err: String,
}

/// An open login.
#[derive(Debug)]
pub struct Ssh {
    master: Child,
    options: Vec<String>,
    program: Vec<String>,
}

/// The script with each `--timeout=120s` in it as long as `patient` makes it.
fn patiently(script: &str, patient: impl Fn(Duration) -> Duration) -> String {
    const WORD: &str = "--timeout=";
    let mut parts = script.split(WORD);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(WORD);
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        match number.parse().ok().filter(|_| rest.starts_with('s')) {
            Some(seconds) => out.push_str(&patient(Duration::from_secs(seconds)).as_secs().to_string()),
            None => out.push_str(number),
        }
        out.push_str(rest);
    }
    out
}

/// Several machines may run at a time, and a port that one has left another may get: each login has a number of its own.
static LOGINS: AtomicUsize = AtomicUsize::new(0);

impl Ssh {
    /// Logs in as `user`, trying again each time the console shows something new, until `within` has passed.
    pub fn login(tools: &Tools, dir: &Path, port: u16, user: &str, key: &Key, serial: &Serial, within: Duration) -> Result<Self> {
        let command = tools.program("ssh")?;
        let program = std::iter::once(command.get_program()).chain(command.get_args());
        let program: Vec<String> = program.map(|a| a.to_string_lossy().into_owned()).collect();
        let number = LOGINS.fetch_add(1, Ordering::Relaxed);
        let control = dir.join(format!("{user}-{number}.ssh"));
        let mut options = vec![
            "-F".to_owned(),
            "none".into(),
            "-S".into(),
            control.display().to_string(),
            "-p".into(),
            port.to_string(),
        ];
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
            "ConnectTimeout=20",
            "ServerAliveInterval=30",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options.extend([
            "-i".to_owned(),
            key.path.display().to_string(),
            "-l".into(),
            user.to_owned(),
            "127.0.0.1".into(),
        ]);
        let until = Instant::now() + super::patient(within);
        loop {
            let _ = fs::remove_file(&control); // left by a machine that was cut off
            match Self::attempt(
                tools,
                &control.with_extension("log"),
                &program,
                &options,
                until.saturating_duration_since(Instant::now()),
            ) {
                Ok(ssh) => return Ok(ssh),
                Err(e) if Instant::now() >= until || serial.wait_end(Duration::ZERO) => return Err(e),
                Err(_) => serial.wait_more(Duration::from_secs(1)),
            }
        }
    }

    fn attempt(tools: &Tools, log: &Path, program: &[String], options: &[String], within: Duration) -> Result<Self> {
        let (first, rest) = program.split_first().context("starting ssh: there is no program")?;
        let mut command = Command::new(first);
        command.args(rest).arg("-M").args(options).arg("echo up; exec cat");
        let mut command = tools.bound(&command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).context("creating ssh.log")?);
        let mut master = command.spawn().context("starting ssh")?;
        let stdout = master.stdout.take().context("reading from ssh")?;
        let (send, up) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line); // an error is an empty line, which is no "up"
            let _ = send.send(line); // nobody waits any more: then it does not matter
        });
        if up.recv_timeout(within).is_ok_and(|l| l.trim() == "up") {
            return Ok(Self {
                master,
                options: options.to_vec(),
                program: program.to_vec(),
            });
        }
        let _ = master.kill(); // it has ended, or is to end
        let _ = master.wait();
        let why = fs::read_to_string(log).unwrap_or_default();
        bail!("logging in by SSH: {}", why.trim().lines().last().unwrap_or("no answer in time"))
    }

    /// Runs a script by the login user's shell.
    pub fn run(&self, script: &str, within: Duration) -> Result<Output> {
        self.shell("bash -s", script, within)
    }

    /// Runs a script by root's shell.
    pub fn root(&self, script: &str, within: Duration) -> Result<Output> {
        self.shell("sudo -n bash -s", script, within)
    }

    /// Runs one command line as typed at a login, with the environment that a login has.
    pub fn typed(&self, line: &str, within: Duration) -> Result<Output> {
        self.shell("bash -ls", line, within)
    }

    fn shell(&self, shell: &str, script: &str, within: Duration) -> Result<Output> {
        let mut command = Command::new("timeout");
        command
            .arg("--kill-after=5")
            .arg(super::patient(within).as_secs().max(1).to_string())
            .args(&self.program)
            .args(&self.options)
            .arg(shell);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting ssh")?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(patiently(script, super::patient).as_bytes()); // if it ended early, its status says so
        }
        let out = child.wait_with_output().context("running a command by SSH")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(Output {
            code: out.status.code(),
            out: text(&out.stdout),
            err: text(&out.stderr),
        })
    }
}

impl Output {
    /// What it printed, if it ended with 0.
    pub fn ok(self) -> Result<String> {
        if self.code == Some(0) {
            return Ok(self.out);
        }
        let how = self.code.map_or("was killed".to_owned(), |c| {
            if c == 124 {
                "ran out of time".into()
            } else {
                format!("ended with {c}")
            }
        });
        bail!("a command in the machine {how}: {} {}", last(&self.err), last(&self.out))
    }
}

fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join(" / ")
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.master.kill(); // it may have ended with its machine
        let _ = self.master.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_in_scripts_are_patient_too() {
        let thrice = |script: &str| patiently(script, |within| within * 3);
        assert_eq!(
            thrice("kubectl wait --timeout=120s x && y --timeout=5s"),
            "kubectl wait --timeout=360s x && y --timeout=15s"
        );
        for same in ["", "x --timeout=", "x --timeout=2m", "curl --timeout 5s"] {
            assert_eq!(thrice(same), same);
        }
    }
}
