//! A machine that goes down: its pods are told first, while the cluster still answers; and what the node says of its machine.

use super::check::{Checks, Expect, Probe};
use super::start::{KUBERNETES_DISK, NODE_IS_READY, TO_READY, log_in, node_config, node_machine, to_ready, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use crate::machine::release::Release;
use crate::machine::{Machine, Request};
use anyhow::{Context, Result};

/// kubelet gives ordinary pods 30 s less the 10 s of the critical ones.
const MORE: &str = "hostname: node-one
no-such-key: 1
k3os:
  k3s_args: [server, --kubelet-arg=shutdown-grace-period=30s]
write_files:
- path: /var/lib/rancher/k3s/server/manifests/farewell.yaml
  content: |
";

const PODS: &str = include_str!("../../fixtures/farewell.yaml");

/// A radio without hardware: iwd needs a D-Bus, and logind is on it too.
const WIFI: &str = "
boot_cmd: ['modprobe mac80211_hwsim radios=1']
network:
  version: 2
  ethernets: {eth0: {dhcp4: true}}
  wifis: {wlan0: {optional: true, access-points: {nowhere: {password: of nowhere}}}}
";

pub fn farewell(bench: &Bench, checks: &mut Checks) -> Result<()> {
    on(bench, checks, node_machine("farewell", None), "")
}

/// On a node with Wi-Fi, whose D-Bus is a daemon's.
pub fn beside_wifi(bench: &Bench, checks: &mut Checks) -> Result<()> {
    match bench.full().map(Release::read_from) {
        Ok(release) => {
            let request = Request {
                release: Some(release?),
                ..node_machine("full-farewell", None)
            };
            on(bench, checks, request, WIFI)
        }
        Err(why) => {
            checks.skipped = Some(why);
            Ok(())
        }
    }
}

fn on(bench: &Bench, checks: &mut Checks, request: Request, more: &str) -> Result<()> {
    let pods: String = PODS.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    let seed = with_hello(bench, Seed::config(node_config(bench, &format!("{MORE}{pods}{more}"))));
    let data = bench.lab.data_disk(&request.name, &seed, KUBERNETES_DISK)?;
    let request = Request {
        restarts: true,
        data: Some(data),
        ..request
    };
    let (machine, _) = to_ready(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let wait = "kubectl wait --for=create deployment/gentle --timeout=120s && kubectl wait --for=create pod/deaf --timeout=120s && kubectl rollout status deployment/gentle --timeout=240s \
                    && kubectl wait --for=condition=Ready pod/deaf --timeout=120s";
        machine.root_within(&bench.lab, wait, seconds(400)).context("starting the pods")?;
        before(bench, machine, checks)?;
        checks.probe(
            machine.ssh(&bench.lab)?,
            if more.is_empty() { &OWN_BUS } else { &REAL_BUS },
            seconds(60),
        )?;
        let mark = machine.serial.mark();
        let ordered = machine.age();
        machine.root(&bench.lab, "skerry reboot")?;
        // 20 s until kubelet kills the deaf one, and what the rest takes to stop.
        let down = machine.serial.wait_any(&["reboot: Restarting system"], mark, seconds(120));
        if let Some(down) = checks.that("the reboot is bounded, though a pod ignores SIGTERM", down) {
            let took = down.at.saturating_sub(ordered);
            checks.is("and it did wait for it", took >= seconds(20), &format!("{took:?}"));
        }
        let down = machine.serial.mark();
        log_in(bench, machine, down)?;
        checks.probe(machine.ssh(&bench.lab)?, &LEFT_BEHIND, seconds(60))?;
        machine
            .serial
            .wait_any(&NODE_IS_READY, down, TO_READY)
            .context("waiting for the node to be Ready again")?;
        checks.probe(machine.ssh(&bench.lab)?, &AGAIN, seconds(400))?;
        forced(bench, machine, checks)
    })
}

fn before(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let of = |kind: &str| {
        let path = |key: &str| format!("{{.status.conditions[?(@.type==\"{kind}\")].{key}}}");
        let ask = format!("kubectl get node node-one -o jsonpath='{} {}'", path("status"), path("reason"));
        format!("for i in $(seq 60); do OUT=$({ask}); [ \"$OUT\" != ' ' ] && break; sleep 1; done; echo \"$OUT\"")
    };
    let (config, slot, clock) = (of("SkerryConfigGood"), of("SkerrySlotGood"), of("SkerryClockGood"));
    let (disk, ready) = (of("SkerryDiskGood"), of("Ready"));
    let probes = [
        (
            "kubelet holds the shutdown",
            "skerry status --json | grep -A12 '\"name\": \"logind\"'",
            Expect::Has("kubelet is told of a shutdown first"),
        ),
        (
            "the Node says that a part of the configuration is left out",
            config.as_str(),
            Expect::Is("False LeftOut"),
        ),
        ("and which", "kubectl get node -o yaml", Expect::Has("left out: no-such-key")),
        (
            "and an Event does",
            "for i in $(seq 60); do kubectl get events -o wide | grep no-such-key && break; sleep 1; done",
            Expect::Success,
        ),
        ("this machine has no slots", slot.as_str(), Expect::Is("Unknown NoSlots")),
        ("its clock was not set by guess", clock.as_str(), Expect::Lacks("False")),
        ("its disk", disk.as_str(), Expect::Is("True Good")),
        ("kubelet's own conditions stay", ready.as_str(), Expect::Has("True")),
        (
            "what logind has of its own is small (KiB)",
            "SIZE=$(grep RssAnon: /proc/$(pidof logind)/status | tr -dc 0-9); echo $SIZE; test $SIZE -lt 1024",
            Expect::Success,
        ),
    ];
    checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(400))
}

/// On a wired node logind is all the bus that there is.
const OWN_BUS: [Probe<'static>; 2] = [
    (
        "the bus is root's alone",
        "stat -c %a:%U /run/dbus/system_bus_socket",
        Expect::Is("600:root"),
    ),
    ("and no daemon of a bus runs", "pidof dbus-daemon", Expect::Failure),
];

/// Beside Wi-Fi it is on the bus that is there.
const REAL_BUS: [Probe<'static>; 2] = [
    (
        "logind is on the daemon's bus",
        "pidof dbus-daemon > /dev/null && tr '\\0' ' ' < /proc/$(pidof logind)/cmdline",
        Expect::Has(" --bus"),
    ),
    (
        "where iwd is too, and looks for its network",
        "skerry network",
        Expect::Has("wifi wlan0: looking for nowhere"),
    ),
];

/// On the data disk, before Kubernetes is up again.
const LEFT_BEHIND: [Probe<'static>; 4] = [
    (
        "the gentle pod's preStop ran to its end",
        "cat /var/lib/farewell/gentle",
        Expect::Has("preStop done"),
    ),
    (
        "the API server still answered it",
        "cat /var/lib/farewell/gentle",
        Expect::Has("400 Bad Request"),
    ),
    (
        "kubelet let go by itself, after it had ended the deaf one",
        "grep -h . /var/log/skerry/logind*",
        Expect::Has("nobody is to be waited for"),
    ),
    (
        "the data disk was unmounted",
        "dmesg | grep -ciE 'recovery complete|orphan cleanup' || true",
        Expect::Is("0"),
    ),
];

const AGAIN: [Probe<'static>; 2] = [
    (
        "the deaf pod was ended for the shutdown",
        "kubectl get pod deaf -o jsonpath='{.status.phase} {.status.reason}'",
        Expect::Is("Failed Terminated"),
    ),
    (
        "the gentle one is there again",
        "kubectl rollout status deployment/gentle --timeout=240s",
        Expect::Success,
    ),
];

/// A second order does not wait for the pods.
fn forced(bench: &Bench, machine: &mut Machine, checks: &mut Checks) -> Result<()> {
    let again = "kubectl delete pod deaf --grace-period=0 --force && kubectl apply -f /var/lib/rancher/k3s/server/manifests/farewell.yaml \
                 && kubectl wait --for=condition=Ready pod/deaf --timeout=240s";
    machine
        .root_within(&bench.lab, again, seconds(300))
        .context("starting the deaf pod again")?;
    let mark = machine.serial.mark();
    let _ = machine.ssh(&bench.lab)?.root("skerry poweroff; skerry poweroff", seconds(20)); // the connection may end before its answer
    checks.that("a second order ends it", machine.wait_end(seconds(60)));
    checks.has("at once", &machine.serial.text(mark), "Going down at once");
    Ok(())
}
