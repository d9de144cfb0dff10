//! Workers that come at the wrong time, or to the wrong server: a clock of 1970, another cluster's token, a year in a drawer.

use super::check::{Checks, Expect, Probe};
use super::join::{LIMIT, is_ready, ready, with_all};
use super::start::{NODE_IS_READY, TO_READY, log_in};
use super::{Bench, seconds};
use crate::cluster::{Cluster, Node, Part, TOKEN};
use crate::machine::{Machine, disk};
use anyhow::{Context, Result};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
const YEAR_AND_MORE: u64 = 400 * DAY;

fn says(words: &str) -> String {
    format!("for i in $(seq 240); do skerry logs kube-join | grep -m1 -i '{words}' && exit 0; sleep 1; done; skerry logs kube-join; exit 1")
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs())
}

fn clock(at: u64) -> Result<String> {
    let said = disk::run(std::process::Command::new("date").args(["-u", "-d", &format!("@{at}"), "+%Y-%m-%dT%H:%M:%S"]))?;
    Ok(said.trim().to_owned())
}

/// Ready by the kubelet of the worker's present boot.
fn is_ready_now(bench: &Bench, server: &mut Machine, worker: &mut Machine) -> Result<()> {
    let boot = worker.root(&bench.lab, "cat /proc/sys/kernel/random/boot_id")?;
    let boot = boot.trim();
    let wanted = format!(
        "for i in $(seq 300); do [ \"$(kubectl get node node-2 -o jsonpath='{{.status.nodeInfo.bootID}}' 2>/dev/null)\" = {boot} ] && break; sleep 1; done; kubectl wait --for=condition=Ready node/node-2 --timeout=240s"
    );
    server.root_within(&bench.lab, &wanted, seconds(600)).map(drop)
}

pub fn late(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "late", 2, &bench.hello, LIMIT)?;
    let (first, second) = (Node::new(1, Part::First), Node::new(2, Part::Worker));
    let mut lost = second.clone();
    lost.token = Some(format!("K10{}::server:{TOKEN}", "ab".repeat(32)));
    let mut server = cluster.install(&first)?;
    let mut worker = cluster.install(&lost)?;
    let done = (|| {
        server
            .serial
            .wait_any(&NODE_IS_READY, 0, TO_READY)
            .context("waiting for the node to be Ready")?;
        log_in(bench, &mut server, 0)?;
        log_in(bench, &mut worker, 0)?;
        let probes: [Probe<'_>; 2] = [
            (
                "a server that is not the token's is refused",
                &says("belongs to another cluster"),
                Expect::Has("skerry token create"),
            ),
            (
                "and nothing of it is on the machine",
                "ls /etc/kubernetes/kubelet.conf",
                Expect::Failure,
            ),
        ];
        checks.probe(worker.ssh(lab)?, &probes, seconds(300))?;
        worker.cut();

        // The same machine anew, whose clock has no battery.
        let mut early = second.clone();
        early.clock = Some("1970-01-01T00:00:00".into());
        worker = cluster.install(&early)?;
        log_in(bench, &mut worker, 0)?;
        let probes: [Probe<'_>; 1] = [(
            "a clock before the cluster's is named",
            &says("clock"),
            Expect::Has("before the cluster's authority begins"),
        )];
        checks.probe(worker.ssh(lab)?, &probes, seconds(300))?;
        worker.root(lab, &format!("date -u -s @{}", now()?))?;
        checks.that("and the right time lets it join", is_ready_now(bench, &mut server, &mut worker));
        worker.root(lab, "sync")?;
        worker.cut();
        server.root(lab, "sync")?;
        server.cut();

        // Both lie in a drawer for longer than any certificate of theirs lasts.
        let then = clock(now()? + YEAR_AND_MORE)?;
        let [mut first, mut second] = [first.clone(), second.clone()];
        (first.clock, second.clock) = (Some(then.clone()), Some(then));
        server = cluster.again(&first)?;
        worker = cluster.again(&second)?;
        server
            .serial
            .wait_any(&NODE_IS_READY, 0, TO_READY)
            .context("waiting for the node to be Ready a year later")?;
        log_in(bench, &mut server, 0)?;
        log_in(bench, &mut worker, 0)?;
        checks.that(
            "after a year in a drawer both are Ready",
            is_ready_now(bench, &mut server, &mut worker),
        );
        let fresh = "grep client-certificate-data /etc/kubernetes/kubelet.conf | cut -d: -f2 | tr -d ' ' | base64 -d | openssl x509 -noout -checkend $((180*86400)) >/dev/null && echo renewed";
        checks.probe(
            worker.ssh(lab)?,
            &[("with a new certificate of the worker", fresh, Expect::Is("renewed"))],
            seconds(60),
        )
    })();
    if done.is_err() {
        server.keep_logs(lab);
        worker.keep_logs(lab);
    }
    done
}

/// Two servers with etcd. One lies in a drawer for longer than its certificates last, while the other renews its own.
pub fn servers(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let cluster = Cluster::new(lab, "servers-later", 2, &bench.hello, LIMIT)?;
    // What this is not about is left out: two control planes share this computer.
    let [mut first, mut second] = [(1, Part::FirstOfServers), (2, Part::Server)].map(|(number, part)| Node {
        flags: vec!["--disable=metrics-server", "--disable=local-storage", "--disable-helm-controller"],
        ..Node::new(number, part)
    });
    let machines = [cluster.install(&first)?, cluster.install(&second)?];
    with_all(bench, machines, |[one, two]| {
        ready(one)?;
        log_in(bench, one, 0)?;
        one.root_within(lab, &is_ready("node-2"), seconds(600))
            .context("waiting for the second server")?;
        log_in(bench, two, 0)?;
        let answers = "for i in $(seq 240); do [ \"$(kubectl --server https://127.0.0.1:6443 --request-timeout=5s get --raw /readyz 2>/dev/null)\" = ok ] && echo ok && break; sleep 1; done";
        two.root_within(lab, answers, seconds(300)).context("waiting for its API server")?;
        one.root(lab, "kubectl create configmap before --from-literal=x=1 && sync")?;
        two.root(lab, "sync")?;
        two.cut();
        one.cut();

        let begin = now()?;
        first.clock = Some(clock(begin + 300 * DAY)?);
        *one = cluster.again(&first)?;
        log_in(bench, one, 0)?;
        let renewed = "for i in $(seq 120); do openssl x509 -in /etc/kubernetes/pki/etcd/peer.crt -noout -checkend $((180*86400)) > /dev/null 2>&1 && echo renewed && break; sleep 1; done";
        checks.probe(
            one.ssh(lab)?,
            &[("one renews its certificates, though it is alone", renewed, Expect::Is("renewed"))],
            seconds(200),
        )?;
        one.root(lab, "sync")?;
        one.cut();

        first.clock = Some(clock(begin + YEAR_AND_MORE)?);
        second.clock.clone_from(&first.clock);
        *two = cluster.again(&second)?;
        *one = cluster.again(&first)?;
        for (machine, name) in [
            (&mut *one, "the one that renewed them"),
            (&mut *two, "the one that lay in a drawer"),
        ] {
            log_in(bench, machine, 0)?;
            let probes: [Probe<'_>; 3] = [
                (&format!("{name}: its API server answers"), answers, Expect::Is("ok")),
                (
                    &format!("{name}: what was written is there"),
                    "kubectl get configmap before -o name",
                    Expect::Is("configmap/before"),
                ),
                (&format!("{name}: all its certificates are new"), ALL_NEW, Expect::Is("")),
            ];
            checks.probe(machine.ssh(lab)?, &probes, seconds(500))?;
        }
        checks.that(
            "the one from the drawer is Ready, by its kubelet of this boot",
            is_ready_now(bench, one, two),
        );
        Ok(())
    })
}

/// Names each certificate that does not last for half a year more, whoever made it.
const ALL_NEW: &str = "cd /etc/kubernetes/pki && for file in *.crt etcd/*.crt; do openssl x509 -in $file -noout -checkend $((180*86400)) > /dev/null || echo $file; done";
