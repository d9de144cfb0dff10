//! Our Rust programs for the image: static, optimised, the same bytes from any folder.

use crate::cache::Cache;
use crate::elf::is_static;
use crate::run;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Crate, program and where it lies in the image.
pub const PROGRAMS: &[(&str, &str, &str)] = &[
    ("skerry-init", "init", "usr/lib/skerry/init"),
    ("skerry-init", "setup", "usr/lib/skerry/setup"),
    ("skerry-network", "netd", "usr/lib/skerry/netd"),
    ("skerry-network", "wifid", "usr/lib/skerry/wifid"),
    ("skerry-agent", "agent", "usr/lib/skerry/agent"),
    ("skerry-logind", "logind", "usr/lib/skerry/logind"),
    ("skerry-fetch", "fetch", "usr/lib/skerry/fetch"),
    ("skerry-cli", "skerry", "usr/bin/skerry"),
];

/// How a program is built: those that stay in memory, or are started often, are made small, the others are made soon.
struct Way {
    profile: &'static str,
    programs: &'static [(&'static str, &'static str)],
    /// A program at a fixed address needs no relocation, so that more of it stays shared and clean.
    at_fixed_address: bool,
}

const WAYS: &[Way] = &[
    Way {
        profile: "resident",
        programs: &[
            ("skerry-init", "init"),
            ("skerry-network", "netd"),
            ("skerry-network", "wifid"),
            ("skerry-agent", "agent"),
            ("skerry-logind", "logind"),
            // It does not stay, but it is started two dozen times in a boot, the first time from a cold disk.
            ("skerry-init", "setup"),
        ],
        at_fixed_address: true,
    },
    Way {
        profile: "release",
        programs: &[("skerry-fetch", "fetch"), ("skerry-cli", "skerry"), ("skerry-images", "pause")],
        at_fixed_address: false,
    },
];

/// Builds the programs of the image and `pause`; cargo itself knows what is up to date.
pub fn build(cache: &Cache, toolchain: &Toolchain) -> Result<BTreeMap<String, PathBuf>> {
    let target = toolchain.target();
    let mut programs = BTreeMap::new();
    for way in WAYS {
        let mut arguments = vec!["build", "--profile", way.profile, "--target", TARGET];
        for (package, program) in way.programs {
            arguments.extend(["-p", package, "--bin", program]);
        }
        let mut flags = flags();
        if way.at_fixed_address {
            flags.push("-Crelocation-model=static".to_owned());
            // A panic ends the program where it is: nothing is unwound, and the tables for it would only be mapped beside the code.
            flags.push("-Cforce-unwind-tables=no".to_owned());
        }
        let mut cargo = toolchain.cargo(&arguments);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        let doing = format!("building our Rust programs ({})", way.profile);
        run::logged(&doing, &mut cargo, &cache.log(&format!("rust-{}", way.profile)))?;
        for (_, program) in way.programs {
            let path = target.join(TARGET).join(way.profile).join(program);
            if !is_static(&std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?) {
                bail!("checking {}: it asks for a dynamic loader, but must be static", path.display());
            }
            programs.insert((*program).to_owned(), path);
        }
    }
    Ok(programs)
}

/// Static, with cargo's home replaced by a fixed name. The checkout needs none: its crates are compiled by relative paths, and
/// a flag that names it would have every dependency compiled anew for each checkout.
fn flags() -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let home = std::env::var("CARGO_HOME")
        .ok()
        .or_else(|| std::env::var("HOME").ok().map(|home| format!("{home}/.cargo")));
    flags.extend(home.map(|home| format!("--remap-path-prefix={home}=/cargo")));
    flags
}
