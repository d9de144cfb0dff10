//! Volumes of other people's servers, NFS and iSCSI: in pods, through a restart and a power cut, and when their servers fall silent.

use super::check::{Checks, Expect, Probe};
use super::start::{KUBERNETES_DISK, NODE_IS_READY, TO_READY, log_in, node_config, node_machine, to_ready, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::{Lab, Machine, Request, patient, release};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

const OBJECTS: &str = include_str!("../../fixtures/volumes.yaml");
const SCRIPT: &str = include_str!("../../fixtures/storage.sh");
/// The server's own address: iSCSI's discovery answers with it, so nothing may translate it.
const ADDRESS: &str = "10.0.2.100";

pub fn volumes(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let storage = Storage::start(&bench.lab)?;
    let objects: String = OBJECTS.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    let more = format!(
        "hostname: node-one\nskerry: {{modules: [iscsi_tcp]}}\nwrite_files:\n- path: /var/lib/rancher/k3s/server/manifests/volumes.yaml\n  content: |\n{objects}"
    );
    let seed = with_hello(bench, Seed::config(node_config(bench, &more)));
    let data = bench.lab.data_disk("volumes", &seed, KUBERNETES_DISK)?;
    let request = Request {
        restarts: true,
        served: storage.served()?,
        limit: seconds(1500),
        ..node_machine("volumes", Some(&data))
    };
    let (machine, _) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        written(bench, machine, checks, &storage, 1)?;
        checks.probe(machine.ssh(&bench.lab)?, &MOUNTED, seconds(60))?;

        let from = machine.serial.mark();
        machine.root(&bench.lab, "skerry reboot")?;
        again(bench, machine, from, "with volumes mounted")?;
        written(bench, machine, checks, &storage, 2)?;
        let whole: [Probe<'_>; 1] = [(
            "the block volume was unmounted before its session ended",
            "dmesg | grep -E 'EXT4-fs.*(recovery|orphan)' | grep -v vd",
            Expect::Is(""),
        )];
        checks.probe(machine.ssh(&bench.lab)?, &whole, seconds(60))?;

        let from = machine.serial.mark();
        machine.qmp.run("system_reset", &json!({}))?;
        again(bench, machine, from, "after a power cut")?;
        written(bench, machine, checks, &storage, 3)?;

        // They take what is sent and never answer: no error ends what waits for them.
        storage.signal("STOP")?;
        let from = machine.serial.mark();
        let ordered = machine.age();
        machine.root(&bench.lab, "skerry reboot")?;
        let down = machine.serial.wait_any(&["reboot: Restarting system"], from, seconds(300));
        if let Some(down) = checks.that("a restart is bounded, though both servers are silent", down) {
            eprintln!(
                "volumes: down {:.0} s after the order",
                (down.at.saturating_sub(ordered)).as_secs_f32()
            );
        }
        storage.signal("CONT")?;
        again(bench, machine, from, "after silent servers")?;
        written(bench, machine, checks, &storage, 4)
    })
}

const MOUNTED: [Probe<'_>; 3] = [
    (
        "the file server's folder is mounted",
        "findmnt -n -t nfs4 -o SOURCE,OPTIONS",
        Expect::Has("10.0.2.100:/export"),
    ),
    (
        "the block server knows us by the machine's own name",
        "iscsiadm -m session -P 1 | grep -F \"$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)\"",
        Expect::Success,
    ),
    (
        "a disk has the name that drivers look for",
        "ls /dev/disk/by-path",
        Expect::Has("ip-10.0.2.100:3260-iscsi-iqn.2026-01.local.skerry:volume-lun-1"),
    ),
];

/// The machine is up again and its node Ready.
fn again(bench: &Bench, machine: &mut Machine, from: usize, when: &str) -> Result<()> {
    let down = machine.serial.wait_any(&["Linux version"], from, seconds(200));
    let down = down.with_context(|| format!("waiting for the restart, {when}"))?;
    let ready = machine.serial.wait_any(&NODE_IS_READY, down.end, TO_READY);
    ready.with_context(|| format!("waiting for the node to be Ready again, {when}"))?;
    log_in(bench, machine, down.end)
}

/// The pod started for the `times`th time and wrote a line onto each volume.
fn written(bench: &Bench, machine: &mut Machine, checks: &mut Checks, storage: &Storage, times: usize) -> Result<()> {
    let lines = "kubectl exec deployment/writer -- /bin/busybox wc -l /shared/lines /block/lines";
    let wait = format!(
        "for i in $(seq 240); do {lines} 2>/dev/null | grep -q '^ *{times} /block' && break; sleep 1; done; \
         {lines} || {{ kubectl describe pod; kubectl get pv,pvc; }}"
    );
    let seen = machine
        .root_within(&bench.lab, &wait, seconds(400))
        .unwrap_or_else(|e| format!("{e:#}"));
    for place in ["/shared", "/block"] {
        let line = format!("{times} {place}/lines");
        checks.is(&format!("start {times} is written on {place}"), seen.contains(&line), &seen);
    }
    let kept = storage.folder.join("export/lines");
    let kept = fs::read_to_string(&kept).with_context(|| format!("reading {}", kept.display()))?;
    checks.is(
        &format!("and start {times} lies at the server"),
        kept.lines().count() == times,
        &kept,
    );
    Ok(())
}

/// The servers, on this computer but at an address of their own.
#[derive(Debug)]
struct Storage {
    child: Child,
    folder: PathBuf,
}

impl Storage {
    fn start(lab: &Lab) -> Result<Self> {
        let root = release::images(&["servers", "nfs-ganesha-vfs", "tgt"])?;
        let folder = lab.folder("volumes-server")?;
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("emptying {}", folder.display()))?,
            _ => fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?,
        }
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                SCRIPT,
                "storage",
                root.trim(),
            ])
            .arg(&folder);
        let mut command = lab.tools.bound(&command);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().context("starting unshare(1)")?;
        let mut storage = Self { child, folder };
        let out = storage.child.stdout.take().context("reading what the storage servers say")?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let ready = BufReader::new(out).lines().map_while(Result::ok).any(|line| line == "ready");
            let _ = tell.send(ready); // nobody listens any more: the test is over
        });
        let is_ready = told.recv_timeout(patient(seconds(60))).unwrap_or(false);
        ensure!(
            is_ready,
            "starting the storage servers (which takes root's rights): see above, and the logs in {}",
            storage.folder.display()
        );
        Ok(storage)
    }

    /// For QEMU: what leads to them.
    fn served(&self) -> Result<Vec<(String, PathBuf)>> {
        let one = |port: u16| {
            let path = self.folder.join(format!("to-{port}"));
            let text = format!(
                "#!/bin/sh\nexec nsenter --target {} --net bash -c 'exec 3<>/dev/tcp/{ADDRESS}/{port} && {{ cat <&3 & exec cat >&3; }}'\n",
                self.child.id()
            );
            skerry_sys::file::replace(&path, text.as_bytes(), 0o755)?;
            Ok((format!("{ADDRESS}:{port}"), path))
        };
        [2049, 3260].into_iter().map(one).collect()
    }

    /// Tells all of them.
    fn signal(&self, name: &str) -> Result<()> {
        let done = Command::new("kill")
            .args(["-s", name, "--", &format!("-{}", self.child.id())])
            .status();
        ensure!(done.context("running kill")?.success(), "sending {name} to the storage servers");
        Ok(())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // Nothing else ends with them.
        let _ = self.signal("KILL");
        let _ = self.child.wait();
    }
}
