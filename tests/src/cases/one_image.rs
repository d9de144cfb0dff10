//! One image, copied onto three disks: the first machine becomes the server and the others join it, because of the file that bears a
//! machine's hardware address; nobody touches any of them.

use super::check::Checks;
use super::disk::{flashed, partition};
use super::join::{LIMIT, is_ready, ready};
use super::start::{log_in, node_machine};
use super::{Bench, seconds};
use crate::cluster::TOKEN;
use crate::machine::disk::{copy, run};
use crate::machine::wire::Wire;
use crate::machine::{Firmware, Machine, Request};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Memory of each, in MiB.
const MEMORY: [u32; 3] = [2560, 1280, 1280];
/// The same image starts by both.
const FIRMWARE: [Firmware; 3] = [Firmware::Uefi, Firmware::Bios, Firmware::Uefi];

pub fn three(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let lab = &bench.lab;
    let wire = Wire::new(lab, "one-image", 3, crate::machine::patient(LIMIT))?;
    let common = format!(
        "#cloud-config\nssh_authorized_keys: [{:?}]\nskerry: {{password: skerry, token: {TOKEN:?}}}\n",
        lab.key.public
    );
    let image = flashed(bench, "one-image", &common)?;
    add_files(bench, &image, &wire)?;
    let mut machines = vec![];
    for ((number, memory), firmware) in (1..).zip(MEMORY).zip(FIRMWARE) {
        let name = format!("one-image-{number}");
        let disk = lab.folder(&name)?.join("disk.img");
        copy(&image, &disk)?;
        let request = Request {
            memory,
            disk: Some((firmware, disk)),
            plug: Some(wire.plug(number)?.clone()),
            limit: LIMIT,
            ..node_machine(&name, None)
        };
        machines.push(lab.start(&request)?);
    }
    let done = together(bench, checks, &mut machines);
    for machine in &mut machines {
        if done.is_err() {
            machine.keep_logs(lab);
        }
        machine.cut();
    }
    done?;
    fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))
}

/// Puts a file for each machine beside `config.yaml`, on the image's ESP.
#[allow(clippy::disallowed_methods, reason = "temporary files of a test")]
fn add_files(bench: &Bench, image: &Path, wire: &Wire) -> Result<()> {
    let folder = image.with_file_name("config.d");
    let files = folder.join("by-mac");
    fs::create_dir_all(&files).with_context(|| format!("creating {}", files.display()))?;
    for number in 1..=3 {
        let plug = wire.plug(number)?;
        let part = if number == 1 {
            "k3s_args: [server]"
        } else {
            "server_url: https://10.0.2.21:6443"
        };
        let text = format!(
            "hostname: node-{number}\nskerry: {{{part}}}\nnetwork: {{version: 2, ethernets: {{eth0: {{addresses: [{}/24], \
             routes: [{{to: default, via: 10.0.2.2}}], nameservers: {{addresses: [10.0.2.3]}}}}}}}}\n",
            plug.address
        );
        let file = files.join(format!("{}.yaml", plug.mac.replace(':', "-").to_ascii_uppercase()));
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let (_, esp) = partition(image, 1)?;
    let mut put = bench.lab.tools.program("mcopy")?;
    put.args(["-s", "-i", &format!("{}@@{}", image.display(), esp.start)]);
    run(put.arg(&folder).arg("::/"))
        .map(drop)
        .context("putting each machine's file onto the ESP")
}

fn together(bench: &Bench, checks: &mut Checks, machines: &mut [Machine]) -> Result<()> {
    let lab = &bench.lab;
    let [server, others @ ..] = machines else { return Ok(()) };
    ready(server)?;
    log_in(bench, server, 0)?;
    for name in ["node-2", "node-3"] {
        checks.that(
            "the first becomes the server, and the others join it",
            server.root_within(lab, &is_ready(name), seconds(500)).map(drop),
        );
    }
    let mut own: [BTreeSet<String>; 2] = Default::default();
    let asked = ["cat /etc/machine-id", "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub"];
    let mut ask = |machine: &mut Machine| -> Result<()> {
        for (set, command) in own.iter_mut().zip(asked) {
            set.insert(machine.root(lab, command)?.trim().to_owned());
        }
        Ok(())
    };
    ask(server)?;
    for machine in others {
        log_in(bench, machine, 0)?;
        ask(machine)?;
    }
    for (what, set) in ["a machine-id", "an SSH host key"].iter().zip(&own) {
        checks.is(
            &format!("each has {what} of its own"),
            set.len() == 3 && !set.contains(""),
            &format!("{set:?}"),
        );
    }
    Ok(())
}
