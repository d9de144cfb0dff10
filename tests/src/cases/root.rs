//! The root: refused when its hash is wrong, never believed where it is damaged.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_config, none_machine, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::{self, Seed};
use anyhow::{Context, Result};

pub fn wrong_hash(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let hash = bench.lab.release.roothash()?;
    let last = if hash.ends_with('0') { '1' } else { '0' };
    let wrong: String = hash.chars().take(hash.len() - 1).chain([last]).collect();
    let machine = bench.lab.start(&Request {
        roothash: Some(wrong.clone()),
        ..none_machine("verity-wrong-hash", None)
    })?;
    let said = machine
        .wait("the root is refused", seconds(60))
        .context("waiting for the refusal")?;
    checks.has("the console names the hash", &machine.serial.text(0), "root hash");
    let ended = machine.serial.wait_any(
        &["/sbin/init", super::start::SETTINGS_ARE_DONE, "mounted with root inode"],
        said.end,
        seconds(8),
    );
    checks.is("nothing of that root is run", ended.is_err(), "the boot went on");
    Ok(())
}

pub fn damage(bench: &Bench, checks: &mut Checks) -> Result<()> {
    let dir = bench.lab.folder("verity-damage")?;
    let (data, root) = (
        bench
            .lab
            .data_disk("verity-damage", &Seed::config(none_config(bench, "")), NONE_DISK)?,
        dir.join("root.img"),
    );
    disk::copy(&bench.lab.release.root(), &root)?;
    // In the middle of the image: in the Kubernetes program, which this machine does not start.
    let hashoff: u64 = bench.lab.release.hashoff()?.parse().context("reading the hash offset")?;
    let block = hashoff / 4096 / 2;
    disk::damage(&root, block * 4096)?;
    let machine = to_login(
        bench,
        &Request {
            root: Some(root.clone()),
            ..none_machine("verity-damage", Some(&data))
        },
    )?;
    with_machine(bench, checks, machine, |machine, checks| {
        let read = |b: u64| format!("dd if=/dev/dm-0 bs=4096 iflag=direct skip={b} count=1 | md5sum");
        let (bad, good, raw) = (
            read(block),
            read(block - 1),
            format!("dd if=/dev/vda bs=4096 skip={block} count=1 status=none | od -An -c | head -1"),
        );
        let probes = [
            ("the damaged block is an I/O error", bad.as_str(), Expect::Has("nput/output error")),
            ("its neighbour is read", good.as_str(), Expect::Lacks("rror")),
            ("the disk itself delivers it", raw.as_str(), Expect::Success),
            ("the kernel names it", "dmesg | grep -i 'verity.*corrupted'", Expect::Success),
            ("files elsewhere are read", "cat /usr/lib/skerry/* > /dev/null", Expect::Success),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        machine.cut();
        std::fs::remove_file(&root).with_context(|| format!("removing {}", root.display()))
    })
}
