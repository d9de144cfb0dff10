//! The cargo and the Go that build our programs; `images/env` sees to it that there are some.

use crate::cache::Cache;
use crate::host::{self, CARGO, GO};
use crate::run;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compilers of this build.
pub struct Toolchain {
    cargo: PathBuf,
    go: PathBuf,
    checkout: PathBuf,
    target: PathBuf,
}

impl Toolchain {
    /// Looks for programs that are new enough.
    pub fn find(cache: &Cache, checkout: &Path) -> Result<Self> {
        let find = |program: &str, arguments: &[&str], oldest: [u32; 3]| {
            let [major, minor, patch] = oldest;
            let advice =
                || format!("looking for {program} {major}.{minor}.{patch} or newer\ntry: `images/env cargo …` or `make`, which bring it");
            host::new_enough(program, arguments, oldest).with_context(advice)
        };
        Ok(Self {
            cargo: find("cargo", &["--version"], CARGO)?,
            go: find("go", &["version"], GO)?,
            checkout: checkout.to_path_buf(),
            target: cache.folder("build/target")?,
        })
    }

    /// A `cargo` command in the checkout.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(&self.checkout)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            .args(arguments);
        command
    }

    /// A `go` command in a folder of the checkout; the host's settings do not count.
    pub fn go(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.go);
        command
            .current_dir(folder)
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .args(arguments);
        command
    }

    /// What Go says it is: part of the cache's keys.
    pub fn go_version(&self) -> Result<String> {
        let said = run::output("asking Go for its version", &mut self.go(&self.checkout, &["version"]))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        Ok((*words.get(2).context("reading Go's version")?).to_owned())
    }

    /// Where cargo puts what it compiles for the image.
    pub fn target(&self) -> &Path {
        &self.target
    }
}
