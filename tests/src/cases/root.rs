//! The root: refused when its hash is wrong, never believed where it is damaged.

use super::check::{Checks, Expect};
use super::start::{NONE_DISK, none_config, none_machine, to_login};
use super::{Bench, seconds, with_machine};
use crate::machine::Request;
use crate::machine::disk::{self, Seed};
use anyhow::{Context, Result};
use std::path::Path;

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
    let block = block_of_kubernetes(bench, &root)?;
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
            (
                "so is the file that holds it",
                "cat /usr/libexec/kubernetes/kubernetes > /dev/null",
                Expect::Has("nput/output error"),
            ),
            ("the kernel names it", "dmesg | grep -i 'verity.*corrupted'", Expect::Success),
            ("files elsewhere are read", "cat /usr/lib/skerry/* > /dev/null", Expect::Success),
        ];
        checks.probe(machine.ssh(&bench.lab)?, &probes, seconds(60))?;
        machine.cut();
        std::fs::remove_file(&root).with_context(|| format!("removing {}", root.display()))
    })
}

/// A block in the middle of the Kubernetes program, which a machine without Kubernetes does not start. Where nothing can tell where
/// that lies, a guess: it is the largest file, in the last half.
fn block_of_kubernetes(bench: &Bench, root: &Path) -> Result<u64> {
    if let Ok(mut dump) = bench.lab.tools.program("dump.erofs") {
        let text = disk::run(dump.args(["-e", "--path=/usr/libexec/kubernetes/kubernetes"]).arg(root))?;
        let extents = extents(&text);
        return extents
            .get(extents.len() / 2)
            .map(|byte| byte / 4096)
            .context("reading the extents of the Kubernetes program");
    }
    let hashoff: u64 = bench.lab.release.hashoff()?.parse().context("reading the hash offset")?;
    Ok(hashoff / 4096 * 7 / 10)
}

/// Where the extents that dump.erofs prints begin on the disk: `  0:  0..  10 |  10 :  4096.. 8192 |  4096`.
fn extents(text: &str) -> Vec<u64> {
    let begin = |line: &str| line.split_once('|')?.1.split_once(':')?.1.split_once("..")?.0.trim().parse().ok();
    text.lines().filter_map(begin).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn extents_are_read() {
        let text = " Ext:   logical offset   |  length :     physical offset    |  length\n   0:        0..  130167 |  130167 :  116363264.. 116428800 |   65536\n";
        assert_eq!(super::extents(text), [116_363_264]);
    }
}
