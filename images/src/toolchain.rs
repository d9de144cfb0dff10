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
        let target = cache.folder("build/target")?;
        forget_another_checkout(&target, checkout)?;
        Ok(Self {
            cargo: find("cargo", &["--version"], CARGO)?,
            go: find("go", &["version"], GO)?,
            checkout: checkout.to_path_buf(),
            target,
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

/// Cargo tells sources apart by their times, and names our crates the same in every checkout: what another checkout has compiled
/// would be taken for this one's. Our crates are compiled again then; those of others are not.
#[allow(clippy::disallowed_methods, reason = "a cache: made anew if lost")]
fn forget_another_checkout(target: &Path, checkout: &Path) -> Result<()> {
    let (mark, here) = (target.join(".checkout"), checkout.display().to_string());
    if std::fs::read_to_string(&mark).is_ok_and(|there| there == here) {
        return Ok(());
    }
    let folders = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.is_dir()).collect::<Vec<_>>()
    };
    // target/PROFILE and target/TRIPLE/PROFILE
    let profiles = folders(target).into_iter().flat_map(|p| [vec![p.clone()], folders(&p)].concat());
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("skerry-"));
    for fingerprint in profiles.flat_map(|p| folders(&p.join(".fingerprint"))).filter(ours) {
        std::fs::remove_dir_all(&fingerprint).with_context(|| format!("removing {}", fingerprint.display()))?;
    }
    std::fs::write(&mark, here).with_context(|| format!("writing {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_checkouts_crates_are_compiled_again() {
        let target = std::env::temp_dir().join(format!("skerry-checkout-{}", std::process::id()));
        let prints = [
            "release/.fingerprint/skerry-sys-1",
            "x86_64/tool/.fingerprint/skerry-init-2",
            "release/.fingerprint/serde-3",
        ];
        let make = || prints.iter().for_each(|p| std::fs::create_dir_all(target.join(p)).unwrap());
        let left = || prints.map(|p| target.join(p).exists());
        make();
        forget_another_checkout(&target, Path::new("/one")).unwrap();
        assert_eq!(left(), [false, false, true]);
        make();
        forget_another_checkout(&target, Path::new("/one")).unwrap();
        assert_eq!(left(), [true, true, true]);
        forget_another_checkout(&target, Path::new("/two")).unwrap();
        assert_eq!(left(), [false, false, true]);
        std::fs::remove_dir_all(&target).unwrap();
    }
}
