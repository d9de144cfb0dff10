//! Wi-Fi with radios that the kernel makes (`mac80211_hwsim`) and a real access point (hostapd) in a network namespace of the machine.

use super::check::{Checks, Expect};
use super::start::{KUBERNETES_DISK, NONE_DISK, node_config, node_machine, none_config, none_machine, switch_off, to_login, with_hello};
use super::{Bench, seconds, with_machine};
use crate::machine::Machine;
use crate::machine::disk::Seed;
use crate::machine::release::Release;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;

/// What the machine is to join. `pier` is preferred to `quay`; the passphrase of `gate` is not the access point's.
const CONFIG: &str = "
boot_cmd: ['modprobe mac80211_hwsim radios=2']
network:
  version: 2
  ethernets: {eth0: {dhcp4: true}}
  wifis:
    wlan0:
      dhcp4: true
      optional: true
      regulatory-domain: DE
      access-points:
        quay: {password: of the quay}
        pier: {password: of the pier, priority: 2}
        'yard, open': {}
        attic: {password: of the attic, hidden: true}
        gate: {password: of the gate}
";

/// Where the access point's programs lie in the machine, with their own loader and libraries.
const PLACE: &str = "var/lib/radio";
/// What hostapd and iw link in Debian 13; the loader comes with them.
const LIBRARIES: [&str; 9] = [
    "libc.so.6",
    "libcrypto.so.3",
    "libnl-3.so.200",
    "libnl-genl-3.so.200",
    "libnl-route-3.so.200",
    "libssl.so.3",
    "libz.so.1",
    "libzstd.so.1",
    "libpthread.so.0",
];

/// The second radio is the access point's: out of the machine's sight, with addresses for who joins.
const RADIO: &str = "set -e
cd /var/lib/radio
ip netns add air
./run iw phy $(cat /sys/class/net/wlan1/phy80211/name) set netns name air
mkdir -p /run/udhcpd && touch /run/udhcpd/leases
printf 'start 10.77.0.20\\nend 10.77.0.200\\ninterface br0\\nlease_file /run/udhcpd/leases\\npidfile /run/udhcpd/pid\\noption subnet 255.255.255.0\\noption router 10.77.0.1\\noption lease 600\\n' > /run/udhcpd.conf
ip netns exec air sh -ec '
  ip link set lo up
  ip link add br0 type bridge
  ip addr add 10.77.0.1/24 dev br0
  ip link set br0 up
  busybox udhcpd /run/udhcpd.conf'
";

/// Begins every script: `air NETWORK…` has the access point offer these and no others; `until COMMAND` waits for its success.
const WORDS: &str = r#"
until_so() { for i in $(seq 360); do eval "$1" >/dev/null 2>&1 && return 0; sleep 0.5; done; cat /run/skerry/wifi-state.json; skerry network; return 1; }
joined() { until_so "grep -q '\"network\":\"$1\"' /run/skerry/wifi-state.json && skerry network | grep -q 'address    10.77.0.' && ping -c1 -W2 -I wlan0 10.77.0.1"; }
says() { until_so "skerry network | grep -qF \"$1\""; }
air() {
  kill $(cat /run/hostapd.pid 2>/dev/null) 2>/dev/null && while test -e /run/hostapd.pid; do sleep 0.1; done
  test $# = 0 && return 0
  first=yes; : > /run/hostapd.conf
  for network in "$@"; do
    if test $first = yes; then echo interface=wlan1; else echo bss=wlan1_$network; fi
    test $first = yes && printf 'driver=nl80211\nhw_mode=g\nchannel=1\n'
    first=no
    echo bridge=br0
    case $network in
      yard) echo 'ssid=yard, open' ;;
      pier) printf 'ssid=pier\nwpa=2\nwpa_key_mgmt=SAE\nrsn_pairwise=CCMP\nieee80211w=2\nwpa_passphrase=of the pier\n' ;;
      attic) printf 'ssid=attic\nignore_broadcast_ssid=1\nwpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nwpa_passphrase=of the attic\n' ;;
      gate) printf 'ssid=gate\nwpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nwpa_passphrase=another one\n' ;;
      *) printf 'ssid=%s\nwpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nwpa_passphrase=of the %s\n' $network $network ;;
    esac
  done > /run/hostapd.conf
  cd /var/lib/radio && ip netns exec air ./run hostapd -B -P /run/hostapd.pid -f /run/hostapd.log /run/hostapd.conf
}
"#;

/// The steps: what is asserted, and how.
const STEPS: [(&str, &str); 9] = [
    (
        "before there is a network it says what it looks for",
        "says 'wifi wlan0: looking for pier, '",
    ),
    ("joins WPA2, and has an address by DHCP", "air quay && joined quay"),
    ("loses it, and says so", "air && says 'wifi wlan0: looking for pier, '"),
    ("comes back", "air quay && joined quay"),
    (
        "of two joins the preferred one, by WPA3",
        "air && says looking && air quay pier && joined pier",
    ),
    ("joins an open one", "air && says looking && air yard && joined 'yard, open'"),
    ("joins a hidden one", "air && says looking && air attic && joined attic"),
    (
        "names a wrong passphrase",
        "air && says looking && air gate && says 'wifi wlan0: gate: the passphrase is not accepted'",
    ),
    ("and joins another beside it", "air && air gate quay && joined quay"),
];

/// A node with nothing but Wi-Fi: the cable is the tester's, and leads nowhere.
const NODE: &str = "
hostname: buoy
boot_cmd: ['modprobe mac80211_hwsim radios=2']
network:
  version: 2
  ethernets: {eth0: {addresses: [10.0.2.15/24]}}
  wifis:
    wlan0:
      dhcp4: true
      access-points: {quay: {password: of the quay}}
write_files:
- path: /var/lib/rancher/k3s/server/manifests/hello.yaml
  content: |
";

const NODE_STEPS: [(&str, &str); 7] = [
    (
        "without its network it says what it looks for",
        "says 'wifi wlan0: looking for quay'",
    ),
    ("the access point comes, and is joined", "air quay && joined quay"),
    (
        "the node is Ready under its address there",
        r#"until_so 'kubectl get node buoy -o jsonpath="{.status.addresses[0].address}" | grep -F 10.77.0.' &&
           kubectl wait --for=condition=Ready node/buoy --timeout=200s"#,
    ),
    ("its pod runs", "until_so 'kubectl logs hello | grep -x \"hello from the pod\"'"),
    ("the access point goes", "air && says 'wifi wlan0: looking for quay'"),
    (
        "the node goes on",
        "kubectl get --raw /readyz && kubectl logs hello | grep -x 'hello from the pod'",
    ),
    (
        "and is Ready with it again",
        "air quay && joined quay && kubectl wait --for=condition=Ready node/buoy --timeout=60s",
    ),
];

/// The release with the full kernel, and a disk with the access point's programs; or why there are none.
fn prepared(bench: &Bench, config: String) -> Result<(Release, Seed), String> {
    let release = bench.full().map(Release::read_from)?;
    let seed = access_point(bench, Seed::config(config));
    Ok((release.map_err(|e| format!("{e:#}"))?, seed.map_err(|e| format!("{e:#}"))?))
}

/// A shop's power is back: the node boots faster than the router, whose Wi-Fi is its only way out.
pub fn node(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let pod = super::node::hello().context("finding the pod in the full configuration")?;
    let (release, seed) = match prepared(bench, node_config(bench, &format!("{NODE}{pod}"))) {
        Ok(prepared) => prepared,
        Err(why) => {
            checks.skipped = Some(why);
            return Ok(());
        }
    };
    let data = bench.lab.data_disk("full-wifi-node", &with_hello(bench, seed), KUBERNETES_DISK)?;
    let request = crate::machine::Request {
        release: Some(release),
        limit: seconds(1200),
        ..node_machine("full-wifi-node", Some(&data))
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        let lab = &bench.lab;
        machine.root(lab, RADIO).context("setting up the access point")?;
        for (what, script) in NODE_STEPS {
            let script = format!("{WORDS}\n{script}");
            checks.that(what, machine.root_within(lab, &script, seconds(400)));
        }
        switch_off(bench, machine)
    })
}

pub fn joins(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let (release, seed) = match prepared(bench, none_config(bench, CONFIG)) {
        Ok(prepared) => prepared,
        Err(why) => {
            checks.skipped = Some(why);
            return Ok(());
        }
    };
    let data = bench.lab.data_disk("full-wifi", &seed, NONE_DISK)?;
    let request = crate::machine::Request {
        release: Some(release),
        limit: seconds(900),
        ..none_machine("full-wifi", Some(&data))
    };
    let machine = to_login(bench, &request)?;
    with_machine(bench, checks, machine, |machine, checks| {
        steps(bench, checks, machine)?;
        let probes = [
            (
                "the country is the configuration's",
                "/var/lib/radio/run iw reg get",
                Expect::Has("country DE:"),
            ),
            (
                "iwd's files are root's alone",
                "stat -c %a /run/iwd/networks /run/iwd/networks/*.psk | sort -u | tr '\\n' ' '",
                Expect::Is("600 700"),
            ),
            (
                "no passphrase is in a log",
                "skerry logs iwd wifid 2>&1 | grep -c 'of the'",
                Expect::Is("0"),
            ),
            (
                "iwd keeps nothing on the disk",
                "ls -A /var/lib/iwd 2>/dev/null | wc -l",
                Expect::Is("0"),
            ),
            (
                "skerry status says what is waited for",
                "skerry status",
                Expect::Lacks("wifi wlan0: looking"),
            ),
            (
                "wifid is small",
                "test $(awk '/VmRSS/ {print $2}' /proc/$(pidof wifid)/status) -lt 12000",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(90))?;
        switch_off(bench, machine)
    })
}

fn steps(bench: &Bench, checks: &mut Checks, machine: &mut Machine) -> Result<()> {
    machine.root(&bench.lab, RADIO).context("setting up the access point")?;
    for (what, script) in STEPS {
        let script = format!("{WORDS}\n{script}");
        checks.that(what, machine.root_within(&bench.lab, &script, seconds(240)));
    }
    Ok(())
}

/// The access point's programs, from where the other tools come.
fn access_point(bench: &Bench, mut seed: Seed) -> Result<Seed> {
    let mut run = "#!/bin/sh\nname=$1; shift\n".to_owned();
    let _ = writeln!(run, "exec /{PLACE}/ld.so --library-path /{PLACE}/lib /{PLACE}/$name \"$@\"");
    seed = seed.file(&format!("{PLACE}/run"), run, 0o755);
    let tools = &bench.lab.tools;
    let real = |path: &str| -> Result<std::path::PathBuf> {
        let path = tools.file(path)?;
        fs::canonicalize(&path).with_context(|| format!("following {}", path.display()))
    };
    for (to, from) in [
        ("hostapd", "usr/sbin/hostapd"),
        ("iw", "usr/sbin/iw"),
        ("ld.so", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    ] {
        seed = seed.copy(&format!("{PLACE}/{to}"), real(from)?);
    }
    for name in LIBRARIES {
        let found = real(&format!("usr/lib/x86_64-linux-gnu/{name}"));
        seed = seed.copy(&format!("{PLACE}/lib/{name}"), found?);
    }
    Ok(seed)
}
