//! `make run`: boots the release to a Ready node, reads a pod's log, tells how it went, and stays on the machine's console.

#![allow(clippy::print_stdout, reason = "telling how the boot goes is this program's job")]

use anyhow::{Context, Result};
use skerry_tests::machine::release::{self, Release};
use skerry_tests::machine::{Lab, Machine, accel::Accel};
use skerry_tests::node::{self, HELLO, Milestones};
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs};

/// As long as a person may sit at the console.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// As long as a run without a person may take.
const ONCE: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    let once = env::var_os("ONCE").is_some_and(|o| !o.is_empty() && o != "0") || !stdin().is_terminal();
    match run(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("\nrun-node: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(once: bool) -> Result<()> {
    let release = env::args()
        .nth(1)
        .map_or_else(Release::read, |out| Release::read_from(&env::current_dir()?.join(out)))?;
    let lab = Lab::with(release)?;
    let hello = release::hello()?;
    let how = if lab.accel == Accel::Kvm {
        "KVM"
    } else {
        "TCG: instructions are translated, about ten times slower than a processor"
    };
    println!(
        "Booting {} in QEMU ({how}); the console goes to target/machine/run/serial.log",
        lab.release.dir.display()
    );
    let mut machine = node::start(&lab, "run", &hello, if once { ONCE } else { DAY })?;
    let milestones = node::follow(&lab, &mut machine, |what, at| println!("  {at:6.1} s  {what}"));
    let milestones = match milestones {
        Ok(milestones) => milestones,
        Err(e) => {
            machine.keep_logs(&lab);
            eprintln!("\nlast lines of the console:\n{}", machine.serial.last_lines(30));
            return Err(e.context("booting to a Ready node"));
        }
    };
    report(&lab, &mut machine, milestones)?;
    if once {
        machine.root(&lab, "poweroff")?;
        return machine.wait_end(Duration::from_secs(120)).context("switching off");
    }
    console(&mut machine)
}

fn report(lab: &Lab, machine: &mut Machine, at: Milestones) -> Result<()> {
    let memory = node::memory(lab, machine)?;
    let nodes = machine.root(lab, "kubectl get nodes -o wide --no-headers")?;
    let config = machine.root(lab, "cat /etc/rancher/k3s/k3s.yaml")?;
    let port = machine.api_port;
    let kubeconfig = machine.dir.join("kubeconfig.yaml");
    let here = config.replace("https://127.0.0.1:6443", &format!("https://127.0.0.1:{port}"));
    private_file(&kubeconfig, &here)?;
    let key = machine.dir.join("key");
    private_file(&key, &fs::read_to_string(&lab.key.path).context("reading the key of this run")?)?;
    let size = |file: &str| fs::metadata(lab.release.dir.join(file)).map_or(0, |m| m.len() >> 20);
    println!();
    println!("  node      {}", nodes.split_whitespace().collect::<Vec<_>>().join(" "));
    println!("  pod       hello: {HELLO:?}");
    println!(
        "  seconds   settings {:.1} · SSH {:.1} · API {:.1} · Ready {:.1} · pod's log {:.1}",
        at.settings, at.ssh, at.api, at.ready, at.pod
    );
    println!("  memory    {memory} MiB used by the whole machine");
    println!(
        "  image     kernel {} MiB · initramfs {} MiB · root {} MiB",
        size("vmlinuz"),
        size("initrd.img"),
        size("root.img")
    );
    println!("  log in    ssh -i {} -p {} skerry@127.0.0.1", key.display(), machine.ssh_port);
    println!("            or on the console as skerry, password skerry");
    println!("  kubectl   KUBECONFIG={} kubectl get pods -A", kubeconfig.display());
    Ok(())
}

/// Writes a file that only its owner may read.
fn private_file(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let _ = fs::remove_file(path); // of an earlier run
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// Joins this terminal to the machine's console until the machine ends, or Ctrl-A x is typed.
fn console(machine: &mut Machine) -> Result<()> {
    println!("\nThis is the machine's console. Ctrl-A x ends the machine.\n");
    stdout().flush().context("writing to the terminal")?;
    let _raw = Raw::new()?;
    machine.serial.tee(stdout());
    let mut keyboard = machine.keyboard()?;
    keyboard.write_all(b"\r").context("typing at the console")?;
    let (leave, left) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut byte, mut escaped) = ([0], false);
        while let Ok(1) = stdin().read(&mut byte) {
            if escaped && byte == *b"x" {
                break;
            }
            escaped = !escaped && byte == [1];
            if !escaped && keyboard.write_all(&byte).is_err() {
                break;
            }
        }
        let _ = leave.send(()); // the machine may have ended first
    });
    while !machine.serial.wait_end(Duration::from_millis(200)) {
        if left.try_recv().is_ok() {
            machine.cut();
        }
    }
    Ok(())
}

/// The terminal passes every key on; put back when dropped.
struct Raw(String);

impl Raw {
    fn new() -> Result<Self> {
        let saved = stty(&["-g"])?;
        stty(&["raw", "-echo"])?;
        Ok(Self(saved.trim().to_owned()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = stty(&[&self.0]); // there is nothing more to do for a terminal that is gone
    }
}

fn stty(arguments: &[&str]) -> Result<String> {
    let out = Command::new("stty")
        .args(arguments)
        .stdin(Stdio::inherit())
        .output()
        .context("setting the terminal")?;
    anyhow::ensure!(
        out.status.success(),
        "setting the terminal: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
