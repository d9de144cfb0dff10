//! Our Rust programs for the image: static, optimised, the same bytes from any folder.

use crate::cache::Cache;
use crate::run;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Crate, program and where it lies in the image.
pub const PROGRAMS: &[(&str, &str, &str)] = &[
    ("skerry-init", "init", "usr/lib/skerry/init"),
    ("skerry-init", "setup", "usr/lib/skerry/setup"),
    ("skerry-network", "netd", "usr/lib/skerry/netd"),
    ("skerry-fetch", "fetch", "usr/lib/skerry/fetch"),
    ("skerry-cli", "skerry", "usr/bin/skerry"),
];

/// Builds the programs of the image and `pause`; cargo itself knows what is up to date.
pub fn build(cache: &Cache, toolchain: &Toolchain, checkout: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let target = toolchain.target();
    let mut arguments = vec!["build", "--release", "--target", TARGET];
    let wanted: Vec<(&str, &str)> = PROGRAMS
        .iter()
        .map(|(package, program, _)| (*package, *program))
        .chain([("skerry-images", "pause")])
        .collect();
    for (package, program) in &wanted {
        arguments.extend(["-p", package, "--bin", program]);
    }
    let mut cargo = toolchain.cargo(&arguments);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(checkout).join("\u{1f}"));
    run::logged("building our Rust programs", &mut cargo, &cache.log("rust"))?;
    let mut programs = BTreeMap::new();
    for (_, program) in wanted {
        let path = target.join(TARGET).join("release").join(program);
        if !is_static(&std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?) {
            bail!("checking {}: it asks for a dynamic loader, but must be static", path.display());
        }
        programs.insert(program.to_owned(), path);
    }
    Ok(programs)
}

/// Static, with the folders of this machine replaced by fixed names.
fn flags(checkout: &Path) -> Vec<String> {
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/skerry", checkout.display()),
    ];
    let home = std::env::var("CARGO_HOME")
        .ok()
        .or_else(|| std::env::var("HOME").ok().map(|home| format!("{home}/.cargo")));
    flags.extend(home.map(|home| format!("--remap-path-prefix={home}=/cargo")));
    flags
}

/// Whether an ELF file has no program header that names a loader (`PT_INTERP`).
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        elf.get(at..at + size)
            .map(|bytes| bytes.iter().rev().fold(0usize, |value, byte| (value << 8) | usize::from(*byte)))
    };
    let headers = || -> Option<bool> {
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count)
            .map(|index| number(start + index * size, 4))
            .try_fold(true, |fine, kind| Some(fine && kind? != 3))
    };
    elf.starts_with(b"\x7fELF\x02\x01") && headers().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1; // PT_LOAD
        assert!(is_static(&elf));
        elf[64] = 3; // PT_INTERP
        assert!(!is_static(&elf));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&elf[..70]));
    }
}
