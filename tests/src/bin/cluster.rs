//! `make cluster`: machines on this computer, joined to one cluster by a virtual Ethernet, until `make cluster-down`.
//!
//! `cluster up N` starts a keeper in the background, which holds the machines, and follows it until every node is Ready;
//! `cluster status` and `cluster down` ask the keeper through a socket in its folder.

#![allow(clippy::print_stdout, reason = "telling how the cluster comes up is this program's job")]

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use skerry_tests::cases::start::{NODE_IS_READY, SSH_IS_UP, TO_READY};
use skerry_tests::cluster::{Cluster, Node, Part, parts};
use skerry_tests::machine::release::{self, Release};
use skerry_tests::machine::{Lab, Machine, accel::Accel};
use skerry_tests::node;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "cluster up [N [SERVERS [RELEASE]]]   start N machines (3), SERVERS (1) of them servers; ends when all are Ready
cluster status                       what runs, and how to reach it (--json)
cluster down                         switch all of it off";

/// As long as somebody may play with it.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// As many as one network is made for.
const MOST: u8 = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["up", rest @ ..] => up(rest),
        ["keep", count, servers, out] => keep(count, servers, Path::new(out)),
        ["status"] => status(false),
        ["status", "--json"] => status(true),
        ["down"] => ask("down").map(|said| print!("{said}")),
        _ => {
            println!("{HELP}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cluster: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn folder() -> PathBuf {
    release::target().join("cluster")
}

fn socket() -> PathBuf {
    folder().join("keeper.sock")
}

fn up(words: &[&str]) -> Result<()> {
    let count = words.first().copied().unwrap_or("3");
    let number: u8 = count
        .parse()
        .ok()
        .filter(|n| (1..=MOST).contains(n))
        .with_context(|| format!("reading {count:?}: write a number of machines from 1 to {MOST}"))?;
    let few = words.get(1).copied().unwrap_or("1");
    let servers: u8 = few
        .parse()
        .ok()
        .filter(|n| (1..=number).contains(n))
        .with_context(|| format!("reading {few:?}: write how many of the {number} machines are servers"))?;
    if UnixStream::connect(socket()).is_ok() {
        bail!("starting a cluster: one runs already; look at it by `make cluster-status`, end it by `make cluster-down`");
    }
    let out = words.get(2).copied().unwrap_or("out");
    fs::create_dir_all(folder()).with_context(|| format!("creating {}", folder().display()))?;
    let log = folder().join("keeper.log");
    let errors = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let me = std::env::current_exe().context("finding this program")?;
    let mut keeper = Command::new("setsid")
        .arg(me)
        .args(["keep", &number.to_string(), &servers.to_string(), out])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("starting the keeper of the machines (setsid)")?;
    let said = keeper.stdout.take().context("following the keeper")?;
    for line in BufReader::new(said).lines() {
        let line = line.context("following the keeper")?;
        if line == "UP" {
            return Ok(());
        }
        println!("{line}");
    }
    let _ = keeper.wait(); // it has said all
    bail!("starting a cluster: {}", fs::read_to_string(&log).unwrap_or_default().trim())
}

fn ask(order: &str) -> Result<String> {
    let mut line = UnixStream::connect(socket()).context("asking the cluster's keeper: none runs; `make cluster` starts one")?;
    line.write_all(order.as_bytes()).context("asking the cluster's keeper")?;
    line.shutdown(Shutdown::Write).context("asking the cluster's keeper")?;
    let mut answer = String::new();
    line.read_to_string(&mut answer).context("hearing the cluster's keeper")?;
    Ok(answer)
}

fn status(as_json: bool) -> Result<()> {
    let answer = ask("status")?;
    if as_json {
        println!("{}", answer.trim());
        return Ok(());
    }
    let told: Value = serde_json::from_str(&answer).context("reading what the keeper says")?;
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    println!("{}", text(&told["nodes"]).trim_end());
    for machine in told["machines"].as_array().into_iter().flatten() {
        println!("  {}  {}", text(&machine["name"]), text(&machine["login"]));
    }
    println!("  KUBECONFIG={} kubectl get pods -A", text(&told["kubeconfig"]));
    Ok(())
}

/// One machine of the cluster.
struct Kept {
    node: Node,
    machine: Machine,
    start: Instant,
}

fn keep(count: &str, servers: &str, out: &Path) -> Result<()> {
    let count: u8 = count.parse().context("reading the number of machines")?;
    let servers: u8 = servers.parse().context("reading the number of servers")?;
    let lab = Lab::with(Release::read_from(&std::env::current_dir()?.join(out))?)?;
    let hello = release::hello()?;
    let _ = fs::remove_file(socket());
    let listener = UnixListener::bind(socket()).with_context(|| format!("opening {}", socket().display()))?;
    let how = if lab.accel == Accel::Kvm {
        "KVM"
    } else {
        "TCG: about ten times slower than a processor"
    };
    println!(
        "{count} machines in QEMU ({how}); their consoles are in {}/cluster-N/serial.log",
        lab.artifacts.display()
    );
    let done = serve(&lab, &parts(count, servers), &hello, &listener);
    let _ = fs::remove_file(socket());
    done
}

fn serve(lab: &Lab, parts: &[Part], hello: &Path, listener: &UnixListener) -> Result<()> {
    let cluster = Cluster::new(lab, "cluster", u8::try_from(parts.len())?, hello, DAY)?;
    let mut kept = vec![];
    for (number, part) in (1..).zip(parts) {
        let node = Node::new(number, *part);
        kept.push(Kept {
            machine: cluster.install(&node)?,
            node,
            start: Instant::now(),
        });
    }
    all_ready(lab, &mut kept)?;
    if let Err(why) = report(lab, &mut kept) {
        for k in &mut kept {
            k.machine.keep_logs(lab);
        }
        return Err(why);
    }
    println!("UP");
    std::io::stdout().flush().context("telling that all is up")?;
    for line in listener.incoming() {
        let mut line = line.context("being asked")?;
        let mut order = String::new();
        (&line).take(64).read_to_string(&mut order).context("being asked")?;
        match order.trim() {
            "down" => {
                for k in &mut kept {
                    let ended = k
                        .machine
                        .root(lab, "poweroff")
                        .and_then(|_| k.machine.wait_end(Duration::from_secs(90)));
                    let how = ended.map_or_else(|e| format!("cut off: {e:#}"), |()| "switched off".to_owned());
                    let _ = writeln!(line, "  {}  {how}", k.node.name); // who asked may have gone
                }
                return Ok(());
            }
            _ => {
                let _ = line.write_all(told(lab, &mut kept).to_string().as_bytes()); // who asked may have gone
            }
        }
    }
    Ok(())
}

fn all_ready(lab: &Lab, kept: &mut [Kept]) -> Result<()> {
    let mut done = || -> Result<()> {
        for k in kept.iter_mut() {
            k.machine
                .serial
                .wait_any(&SSH_IS_UP, 0, TO_READY)
                .with_context(|| format!("waiting for {} to let us in", k.node.name))?;
            println!("  {:6.1} s  {} is up", k.start.elapsed().as_secs_f32(), k.node.name);
        }
        let (first, _) = kept.split_first_mut().context("starting no machine")?;
        first
            .machine
            .serial
            .wait_any(&NODE_IS_READY, 0, TO_READY)
            .context("waiting for the first node")?;
        println!("  {:6.1} s  {} is Ready", first.start.elapsed().as_secs_f32(), first.node.name);
        for k in kept.iter().skip(1) {
            k.machine
                .serial
                .wait_any(&NODE_IS_READY, 0, TO_READY)
                .with_context(|| format!("waiting for {} to be Ready", k.node.name))?;
            println!("  {:6.1} s  {} is Ready", k.start.elapsed().as_secs_f32(), k.node.name);
        }
        Ok(())
    };
    let result = done();
    if result.is_err() {
        for k in kept {
            k.machine.keep_logs(lab);
            eprintln!("\nlast lines of {}:\n{}", k.node.name, k.machine.serial.last_lines(15));
        }
    }
    result
}

fn report(lab: &Lab, kept: &mut [Kept]) -> Result<()> {
    for k in kept.iter_mut() {
        println!("  {:4} MiB  used by {}", node::memory(lab, &mut k.machine)?, k.node.name);
    }
    let count = kept.len();
    let first = kept.first_mut().context("starting no machine")?;
    // All at once: one that was Ready may have lost its pace when the others came.
    let wait = "kubectl wait --for=condition=Ready node --all --timeout=240s >/dev/null; kubectl get nodes --no-headers";
    let nodes = first.machine.root_within(lab, wait, Duration::from_secs(300))?;
    let ready = nodes.lines().filter(|l| l.split_whitespace().nth(1) == Some("Ready")).count();
    ensure!(ready == count, "counting the Ready nodes: {ready} of {count}\n{nodes}");
    let config = first.machine.root(lab, "cat /etc/rancher/k3s/k3s.yaml")?;
    let here = config.replace("https://127.0.0.1:6443", &format!("https://127.0.0.1:{}", first.machine.api_port));
    private(&folder().join("kubeconfig.yaml"), here.as_bytes())?;
    private(
        &folder().join("key"),
        &fs::read(&lab.key.path).context("reading the key of this cluster")?,
    )?;
    println!("\n  KUBECONFIG={} kubectl get nodes", folder().join("kubeconfig.yaml").display());
    for k in kept.iter() {
        println!("  {}  {}", k.node.name, login(&k.machine));
    }
    println!("  make cluster-status, make cluster-down");
    Ok(())
}

fn login(machine: &Machine) -> String {
    format!("ssh -i {} -p {} skerry@127.0.0.1", folder().join("key").display(), machine.ssh_port)
}

fn told(lab: &Lab, kept: &mut [Kept]) -> Value {
    let machines: Vec<Value> = kept
        .iter()
        .map(|k| json!({ "name": k.node.name, "login": login(&k.machine), "ssh_port": k.machine.ssh_port, "api_port": k.machine.api_port }))
        .collect();
    let nodes = kept.first_mut().map(|k| k.machine.root(lab, "kubectl get nodes -o wide"));
    let nodes = nodes.map_or_else(String::new, |n| n.unwrap_or_else(|e| format!("{e:#}")));
    json!({ "nodes": nodes, "machines": machines, "kubeconfig": folder().join("kubeconfig.yaml") })
}

/// Writes a file that only its owner may read.
fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    let _ = fs::remove_file(path); // of an earlier cluster
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut f| f.write_all(bytes))
        .with_context(|| format!("writing {}", path.display()))
}
