//! The network beyond one cable, and a cloud's metadata, in a machine without Kubernetes.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::Seed;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two dummy devices for a bond; on it a VLAN, in a VRF; a bridge; tables and rules.
const DEVICES: &str = "
boot_cmd: ['modprobe dummy; ip link add d0 type dummy; ip link add d1 type dummy; ip link add d2 type dummy']
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp4-overrides: {route-metric: 77}
      routes: [{to: default, via: 10.0.2.2, table: 1000, on-link: true}]
      routing-policy: [{from: 10.66.0.0/16, table: 1000}]
    d0: {}
    d1: {}
    d2: {}
  bonds: {bond0: {interfaces: [d0, d1], parameters: {mode: active-backup, primary: d1, mii-monitor-interval: 50}}}
  vlans: {lan: {id: 5, link: bond0, addresses: [10.79.0.5/24], routes: [{to: default, via: 10.79.0.1}]}}
  bridges: {br0: {interfaces: [d2], addresses: [10.80.0.5/24], parameters: {stp: false}}}
  vrfs: {blue: {table: 7, interfaces: [lan]}}
";

pub fn devices(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench
        .lab
        .data_disk("network-devices", &Seed::config(none_config(bench, DEVICES)), NONE_DISK)?;
    let machine = to_login(bench, &none_machine("network-devices", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            (
                "a bond of two",
                "ip -d link show bond0",
                Expect::Has("mode active-backup active_slave d1 miimon 50"),
            ),
            (
                "the bond is not the kernel's own",
                "ls /sys/class/net/bond0/bonding/slaves >/dev/null; cat /sys/class/net/bond0/bonding/slaves",
                Expect::Has("d1"),
            ),
            ("its primary", "cat /sys/class/net/bond0/bonding/primary", Expect::Is("d1")),
            (
                "a VLAN on the bond",
                "ip -d link show lan",
                Expect::Has("vlan protocol 802.1Q id 5"),
            ),
            ("in a VRF", "ip -d link show lan", Expect::Has("master blue")),
            ("routed there", "ip route show table 7", Expect::Has("default via 10.79.0.1")),
            ("a bridge", "ip -d link show br0", Expect::Has("stp_state 0")),
            ("with its address", "ip -4 -o addr show br0", Expect::Has("10.80.0.5/24")),
            ("a rule", "ip rule", Expect::Has("from 10.66.0.0/16 lookup 1000 proto static")),
            ("and its table", "ip route show table 1000", Expect::Has("default via 10.0.2.2")),
            ("the metric of DHCP's route", "ip route", Expect::Has("metric 77")),
            (
                "skerry network says who gave what",
                "skerry network",
                Expect::Has("10.0.2.15/24 (DHCP, of 10.0.2.2)"),
            ),
            ("and what it is a member of", "skerry network", Expect::Has("member of bond0")),
            ("as JSON too", "skerry network --json", Expect::Has("\"waits\": null")),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(90))?;
        switch_off(bench, machine)
    })
}

/// What the stand-in for EC2 says, or that it accepts and never answers.
fn stand_in(key: String) -> Result<(u16, Arc<AtomicBool>)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening for the machine")?;
    let port = listener.local_addr().context("listening for the machine")?.port();
    let hangs = Arc::new(AtomicBool::new(false));
    let is_hung = hangs.clone();
    std::thread::spawn(move || {
        let mut held = vec![];
        for stream in listener.incoming().flatten() {
            if is_hung.load(Ordering::Relaxed) {
                held.push(stream);
            } else {
                let _ = answer(&stream, &key); // a machine that goes away is no fault of the test
            }
        }
    });
    Ok((port, hangs))
}

const USER_DATA: &str = "#cloud-config
hostname: by-user-data
write_files: [{path: /root/from-cloud, content: 'of the cloud'}]
run_cmd: ['cp /root/from-cloud /root/by-run-cmd']
";

fn answer(stream: &TcpStream, key: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut has_token = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        has_token |= line.trim() == "X-aws-ec2-metadata-token: a-token";
    }
    let (status, body) = match first.rsplit_once(' ').map_or("", |(question, _)| question) {
        "PUT /latest/api/token" => (200, "a-token"),
        _ if !has_token => (401, ""),
        "GET /latest/meta-data/local-hostname" => (200, "by-metadata"),
        "GET /latest/meta-data/public-keys/" => (200, "0=bench"),
        "GET /latest/meta-data/public-keys/0/openssh-key" => (200, key),
        "GET /latest/user-data" => (200, USER_DATA),
        _ => (404, ""),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// EC2 (`IMDSv2`) at its real address: the machine sends what is for 169.254.169.254 to this computer.
pub fn metadata(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let (port, hangs) = stand_in(bench.lab.key.public.trim().to_owned())?;
    let config = format!(
        "hostname: by-system\nskerry: {{distribution: none, data_sources: [aws]}}\nssh_authorized_keys: [{:?}]\n\
         boot_cmd: ['iptables -t nat -A OUTPUT -d 169.254.169.254 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:{port}']\n",
        bench.lab.key.public
    );
    let data = bench.lab.data_disk("metadata", &Seed::config(config), NONE_DISK)?;
    let until_applied = "for i in $(seq 120); do test -s /root/by-run-cmd && exit 0; sleep 0.5; done; exit 1";
    let machine = to_login(bench, &none_machine("metadata", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.that("user data's commands run", machine.root(&bench.lab, until_applied));
        let probes = [
            ("user data names the machine", "hostname", Expect::Is("by-user-data")),
            ("its files are written", "cat /root/from-cloud", Expect::Is("of the cloud")),
            (
                "explain says where from",
                "skerry config explain 2>&1 | grep -A2 '^hostname'",
                Expect::Has("/run/config/userdata"),
            ),
            (
                "skerry network says who answered",
                "skerry network",
                Expect::Has("metadata is that of aws\n"),
            ),
            (
                "the copy is root's alone",
                "stat -c %a /var/lib/skerry/metadata.json",
                Expect::Is("600"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(90))?;
        machine.root(&bench.lab, "rm /root/by-run-cmd")?;
        switch_off(bench, machine)
    })?;
    // The same machine, and a server that accepts and never answers.
    hangs.store(true, Ordering::Relaxed);
    let machine = to_login(bench, &none_machine("metadata", Some(&data)))?;
    with_machine(bench, checks, machine, |machine, checks| {
        checks.that(
            "a server that hangs does not hold up the boot",
            machine.root(&bench.lab, until_applied),
        );
        let spent = machine.root(
            &bench.lab,
            "skerry services --json | tr -d ' \\n' | grep -oE '\"name\":\"metadata\"[^}]*' | grep -oE '\"since_ms\":[0-9]+' | cut -d: -f2",
        )?;
        let netd = machine.root(
            &bench.lab,
            "skerry services --json | tr -d ' \\n' | grep -oE '\"name\":\"netd\"[^}]*' | grep -oE '\"first_up_ms\":[0-9]+' | cut -d: -f2",
        )?;
        let took = Duration::from_millis(
            spent
                .trim()
                .parse::<u64>()
                .unwrap_or(0)
                .saturating_sub(netd.trim().parse().unwrap_or(0)),
        );
        // 20 s is the bound; a machine that is emulated is slow to start programs.
        checks.is(
            "it is asked for 20 s at most",
            took < crate::machine::patient(seconds(30)),
            &format!("{took:?}"),
        );
        let probes = [
            ("what it said before counts", "hostname", Expect::Is("by-user-data")),
            (
                "and is said to be old",
                "skerry network",
                Expect::Has("metadata is that of aws in an earlier boot"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })
}
