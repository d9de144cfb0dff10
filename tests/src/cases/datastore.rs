//! A single server's datastore: a snapshot and back, SQLite's objects moved to etcd by one flag, a snapshot of that and back.

use super::check::{Checks, Expect, Probe};
use super::start::{KUBERNETES_DISK, NODE_IS_READY, TO_READY, log_in, node_config, node_machine, to_ready, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};

const SAVE: &str = "skerry datastore save";
const MAPS: &str = "kubectl get configmap -o name | grep -v kube-root-ca.crt | sort | cut -d/ -f2 | tr '\\n' ' '";

fn create(name: &str) -> String {
    format!("kubectl create configmap {name} --from-literal=is={name}")
}

/// Orders something that restarts the machine, and waits until its node is Ready again.
fn restart(bench: &Bench, machine: &mut Machine, order: &str) -> Result<()> {
    let from = machine.serial.mark();
    // The connection may end before the answer comes.
    let asked = machine.root(&bench.lab, order);
    machine
        .serial
        .wait_any(&NODE_IS_READY, from, TO_READY)
        .with_context(|| format!("waiting for the node after `{order}` ({asked:?})"))?;
    log_in(bench, machine, from)
}

/// The newest snapshot, put back.
fn put_back() -> String {
    "skerry datastore restore \"$(ls -t /var/lib/skerry/kube/snapshots/on-demand-*.db | head -1)\" --yes".to_owned()
}

pub fn life(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let seed = with_hello(bench, Seed::config(node_config(bench, "")));
    let data = bench.lab.data_disk("datastore", &seed, KUBERNETES_DISK)?;
    let request = Request {
        restarts: true,
        ..node_machine("datastore", Some(&data))
    };
    let (machine, _) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let lab = &bench.lab;
        let scheduled = "for i in $(seq 100); do skerry datastore list | grep -q /snapshot- && break; sleep 1; done; skerry datastore list | grep -c /snapshot-";
        let probes: [Probe<'_>; 3] = [
            ("an object", &create("one"), Expect::Success),
            ("a snapshot on demand", SAVE, Expect::Has("objects at revision")),
            ("a first one by schedule", scheduled, Expect::Is("1")),
        ];
        checks.probe(machine.ssh(lab)?, &probes, seconds(240))?;

        machine.root(lab, &create("lost"))?;
        restart(bench, machine, &put_back())?;
        let probes: [Probe<'_>; 3] = [
            ("what was saved is back, and nothing else", MAPS, Expect::Is("one")),
            (
                "what was replaced lies beside",
                "ls /var/lib/skerry/kube/db.before",
                Expect::Has("state.db"),
            ),
            ("nothing is left to do", "ls /var/lib/skerry/kube/datastore.order", Expect::Failure),
        ];
        checks.probe(machine.ssh(lab)?, &probes, seconds(120))?;

        machine.root(
            lab,
            "mkdir -p /var/lib/skerry/config.d && echo 'skerry: {k3s_args: [server, --cluster-init]}' > /var/lib/skerry/config.d/90-etcd.yaml",
        )?;
        restart(bench, machine, "skerry reboot")?;
        let member = "curl -s --noproxy '*' --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/apiserver-etcd-client.crt --key /etc/kubernetes/pki/apiserver-etcd-client.key --data '{}' https://127.0.0.1:2379/v3/cluster/member/list | grep -o '\"name\"' | wc -l";
        let probes: [Probe<'_>; 5] = [
            ("the objects are in etcd", MAPS, Expect::Is("one")),
            ("with one member", member, Expect::Is("1")),
            ("SQLite is kept", "ls /var/lib/skerry/kube/db.converted", Expect::Has("state.db")),
            ("kine is gone", "pgrep -x kine", Expect::Failure),
            (
                "the node is the same one",
                "kubectl get nodes --no-headers | wc -l",
                Expect::Is("1"),
            ),
        ];
        checks.probe(machine.ssh(lab)?, &probes, seconds(240))?;

        let probes: [Probe<'_>; 2] = [
            (
                "a snapshot of etcd, in k3s's words",
                "skerry etcd snapshot save",
                Expect::Has("objects at revision"),
            ),
            ("an object after it", &create("late"), Expect::Success),
        ];
        checks.probe(machine.ssh(lab)?, &probes, seconds(120))?;
        restart(bench, machine, &put_back())?;
        checks.probe(
            machine.ssh(lab)?,
            &[("etcd is as it was saved", MAPS, Expect::Is("one"))],
            seconds(120),
        )
    })
}
