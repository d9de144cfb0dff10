//! Configuration that is plugged in: a stick, a cloud-init seed, and files for single machines; and what is left of it without them.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_config, none_machine, switch_off, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::disk::{Seed, run};
use crate::machine::{MAC, Request};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Large enough for any FAT.
const STICK: u64 = 16 << 20;

/// A stick at the first boot of an empty machine; then none; then another one, which is not to count.
pub fn stick(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk("stick", &Seed::default(), NONE_DISK)?;
    let first = fat(
        bench,
        "stick",
        "first",
        &[("config.yaml", none_config(bench, "hostname: from-the-stick\n"))],
    )?;
    let machine = to_login(bench, &with(&data, "stick", &first)).context("booting with the stick")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the stick's config counts", "hostname", Expect::Is("from-the-stick")),
            (
                "the list says why",
                "skerry config sources",
                Expect::Has("this machine was not configured before"),
            ),
            ("the stick is not left mounted", "grep -c vfat /proc/mounts", Expect::Is("0")),
            (
                "the copy is root's alone",
                "stat -c %a /var/lib/skerry/media/skerrycfg/config.yaml",
                Expect::Is("600"),
            ),
            (
                "this configuration becomes the last good one",
                "for i in $(seq 60); do test -e /var/lib/skerry/last-good/version && break; sleep 0.5; done; test -e /var/lib/skerry/last-good/version",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        switch_off(bench, machine)
    })?;
    let machine = to_login(bench, &none_machine("stick", Some(&data))).context("booting without the stick")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("it stays in effect", "hostname", Expect::Is("from-the-stick")),
            (
                "by its copy",
                "skerry config sources",
                Expect::Has("/var/lib/skerry/media/skerrycfg/config.yaml"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        switch_off(bench, machine)
    })?;
    let second = fat(
        bench,
        "stick",
        "second",
        &[("config.yaml", none_config(bench, "hostname: a-passer-by\n"))],
    )?;
    let machine = to_login(bench, &with(&data, "stick", &second)).context("booting with another stick")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("a later stick does not count", "hostname", Expect::Is("from-the-stick")),
            (
                "the list says how it would",
                "skerry config sources",
                Expect::Has("skerry.trust_media: true"),
            ),
            ("and in JSON", "skerry config sources --json", Expect::Has("\"counts\": false")),
            (
                "the owner lets it count",
                "mkdir -p /var/lib/skerry/config.d && echo 'skerry: {trust_media: true}' > /var/lib/skerry/config.d/trust && sync",
                Expect::Success,
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        switch_off(bench, machine)
    })?;
    let machine = to_login(bench, &with(&data, "stick", &second)).context("booting with a trusted stick")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("a trusted stick counts", "hostname", Expect::Is("a-passer-by")),
            (
                "and is listed so",
                "skerry config sources",
                Expect::Has("skerry.trust_media says so"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        machine.cut();
        Ok(())
    })
}

/// A seed as cloud-localds makes it.
pub fn seed(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk("seed", &Seed::default(), NONE_DISK)?;
    let user_data = format!(
        "#cloud-config\nssh_authorized_keys: [{:?}]\nskerry: {{distribution: none}}\nruncmd:\n- [touch, /run/ran it]\n\
         write_files: [{{path: /etc/seeded, content: yes it is}}]\npackages: [vim]\n",
        bench.lab.key.public
    );
    let network =
        format!("version: 2\nethernets:\n  nic:\n    match: {{macaddress: '{MAC}'}}\n    dhcp4: true\n    addresses: [192.0.2.77/24]\n");
    let iso = iso(
        bench,
        "seed",
        &[
            ("user-data", user_data),
            ("meta-data", "instance-id: i-1\nlocal-hostname: from-a-seed\n".to_owned()),
            ("network-config", network),
        ],
    )?;
    let machine = to_login(bench, &with(&data, "seed", &iso))?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("its metadata names the machine", "hostname", Expect::Is("from-a-seed")),
            ("its files are written", "cat /etc/seeded", Expect::Is("yes it is")),
            (
                "its commands ran",
                "for i in $(seq 40); do test -e '/run/ran it' && break; sleep 0.5; done; test -e '/run/ran it'",
                Expect::Success,
            ),
            ("its network is set up", "ip -o address", Expect::Has("192.0.2.77/24")),
            (
                "what means nothing here is named",
                "cat /run/skerry/problems.json",
                Expect::Has("\"packages\""),
            ),
            (
                "each file is listed",
                "skerry config sources",
                Expect::Has("media/cidata/network-config"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        machine.cut();
        Ok(())
    })
}

/// One stick for many machines; and two sticks, of which none counts.
pub fn per_machine(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let data = bench.lab.data_disk("per-machine", &Seed::default(), NONE_DISK)?;
    let name = MAC.replace(':', "-").to_ascii_uppercase();
    let files = [
        ("config.yaml".to_owned(), none_config(bench, "hostname: any\n")),
        (format!("config.d/by-mac/{name}.yaml"), "hostname: by-mac\n".to_owned()),
        (
            "config.d/by-mac/52-54-00-00-00-00.yaml".to_owned(),
            "hostname: another\n".to_owned(),
        ),
    ];
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let one = fat(bench, "per-machine", "one", &files)?;
    let machine = to_login(bench, &with(&data, "per-machine", &one))?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("the machine's own file wins", "hostname", Expect::Is("by-mac")),
            (
                "others' files are not kept",
                "ls /var/lib/skerry/media/skerrycfg/config.d/by-mac | wc -l",
                Expect::Is("1"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        machine.cut();
        Ok(())
    })?;
    // Configured by its owner, who trusts sticks.
    let own =
        Seed::config(none_config(bench, "hostname: own\n")).file("var/lib/skerry/config.yaml", "skerry: {trust_media: true}\n", 0o600);
    let data = bench.lab.data_disk("two-sticks", &own, NONE_DISK)?;
    let two = fat(bench, "two-sticks", "two", &files)?;
    let request = Request {
        more_disks: vec![one, two],
        ..none_machine("two-sticks", Some(&data))
    };
    let machine = to_login(bench, &request).context("booting with two sticks")?;
    with_machine(bench, checks, machine, |machine, checks| {
        let probes = [
            ("of two sticks none counts", "hostname", Expect::Is("own")),
            (
                "and both are named",
                "skerry config sources",
                Expect::Has("/dev/vdc and /dev/vdd are all labelled SKERRYCFG"),
            ),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(30))?;
        machine.cut();
        Ok(())
    })
}

fn with(data: &Path, name: &str, medium: &Path) -> Request {
    Request {
        more_disks: vec![medium.to_path_buf()],
        ..none_machine(name, Some(data))
    }
}

/// The folder with these files.
#[allow(clippy::disallowed_methods, reason = "temporary files of a test")]
fn tree(bench: &Bench, machine: &str, name: &str, files: &[(&str, String)]) -> Result<PathBuf> {
    let tree = bench.lab.folder(machine)?.join(name);
    let _ = fs::remove_dir_all(&tree); // of an earlier run
    for (path, text) in files {
        let at = tree.join(path);
        let parent = at.parent().unwrap_or(&tree);
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&at, text).with_context(|| format!("writing {}", at.display()))?;
    }
    Ok(tree)
}

/// A stick without a partition table.
fn fat(bench: &Bench, machine: &str, name: &str, files: &[(&str, String)]) -> Result<PathBuf> {
    let tree = tree(bench, machine, name, files)?;
    let image = tree.with_extension("img");
    let made = File::create(&image).and_then(|file| file.set_len(STICK));
    made.with_context(|| format!("making {}", image.display()))?;
    run(bench.lab.tools.program("mkfs.vfat")?.args(["-n", "SKERRYCFG"]).arg(&image))?;
    let mut copy = bench.lab.tools.program("mcopy")?;
    copy.args(["-s", "-i"]).arg(&image);
    for entry in fs::read_dir(&tree).with_context(|| format!("listing {}", tree.display()))? {
        copy.arg(entry?.path());
    }
    run(copy.arg("::/")).context("putting files onto the stick")?;
    Ok(image)
}

fn iso(bench: &Bench, machine: &str, files: &[(&str, String)]) -> Result<PathBuf> {
    let tree = tree(bench, machine, "tree", files)?;
    let image = tree.with_extension("iso");
    let mut make = bench.lab.tools.program("xorriso")?;
    make.args(["-as", "mkisofs", "-V", "cidata", "-J", "-r", "-o"])
        .arg(&image)
        .arg(&tree);
    run(&mut make).context("making the seed")?;
    Ok(image)
}
