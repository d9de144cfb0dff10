//! Our dm-verity tree is the one that veritysetup would write: it verifies ours, and names the same root hash.
#![allow(clippy::disallowed_methods, reason = "scratch files of a test")]

use skerry_images::digest::hex;
use skerry_images::verity::{BLOCK, Identity, tree};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// `veritysetup` of the host, else of a tools root that is in the cache.
fn veritysetup() -> Option<Command> {
    if let Some(path) = skerry_images::host::find_program("veritysetup") {
        return Some(Command::new(path));
    }
    let cache = std::env::var_os("SKERRY_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/skerry")))?;
    let roots = fs::read_dir(cache.join("tools")).ok()?;
    let mut found = roots
        .filter_map(|entry| Some(entry.ok()?.path().join("root")))
        .filter(|root| root.join("usr/sbin/veritysetup").exists());
    skerry_images::tools::Root::at(found.next()?).command("veritysetup").ok()
}

#[test]
fn veritysetup_accepts_our_tree() {
    let folder = std::env::temp_dir().join(format!("skerry-verity-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for blocks in [2, 128, 129, 128 * 128 + 1] {
        let Some(mut command) = veritysetup() else {
            remark("skipped: our tree under veritysetup: there is none; `images tools` brings one");
            return;
        };
        let data: Vec<u8> = (0..blocks * BLOCK)
            .map(|at| u8::try_from((at * 7 + at / BLOCK) % 251).unwrap())
            .collect();
        let hashes = tree(
            &data,
            &Identity {
                salt: [0x5a; 32],
                uuid: [0x11; 16],
            },
        )
        .unwrap();
        let path = folder.join("image");
        fs::write(&path, [data.as_slice(), hashes.bytes.as_slice()].concat()).unwrap();
        let done = command
            .arg("verify")
            .arg(&path)
            .arg(&path)
            .arg(hex(&hashes.root))
            .arg(format!("--hash-offset={}", data.len()))
            .output()
            .unwrap();
        assert!(done.status.success(), "{blocks} blocks: {}", String::from_utf8_lossy(&done.stderr));
    }
    fs::remove_dir_all(folder).unwrap();
}

/// To whoever reads whether anything was skipped, from whom println! is kept.
fn remark(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}"); // nobody reads
}
