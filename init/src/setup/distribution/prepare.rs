//! `prepare`: the plan's files, before anything that reads them.

use crate::kube::look;
use anyhow::Result;
use sha2::{Digest, Sha256};
use skerry_config::types::Distribution;
use skerry_distribution::{File, kubelet};
use skerry_sys::file;
use std::path::Path;

/// What was written last of the files that their readers rewrite: a digest each.
const WRITTEN: &str = "/var/lib/skerry/distributions/written";

/// Directories, files.
pub fn run() -> Result<()> {
    let m = look::machine()?;
    let runtime = matches!(m.config.skerry.distribution.name, Distribution::Kubelet | Distribution::Edgecore);
    for (dir, mode) in kubelet::DIRS.iter().filter(|_| runtime) {
        file::make_dir(dir, *mode)?;
    }
    for f in skerry_distribution::plan(&m.config, &m.facts).files {
        if let Some(dir) = Path::new(&f.path).parent() {
            file::make_dir(dir, 0o755)?;
        }
        if f.keep {
            keep(&f)?;
        } else if look::text(&f.path) != f.text {
            file::replace(&f.path, f.text.as_bytes(), f.mode)?;
        }
    }
    if runtime {
        crate::kube::registries()?;
    }
    Ok(())
}

/// A file that its reader rewrites.
fn keep(f: &File) -> Result<()> {
    let name: String = f.path.trim_start_matches('/').replace('/', "-");
    let (record, digest) = (format!("{WRITTEN}/{name}"), look::hex(&Sha256::digest(f.text.as_bytes())));
    let before = look::text(&record);
    if is_to_be_written(Path::new(&f.path).exists(), before.trim(), &digest) {
        file::replace(&f.path, f.text.as_bytes(), f.mode)?;
    }
    if before.trim() != digest {
        file::make_dir(WRITTEN, 0o755)?;
        file::replace(&record, format!("{digest}\n").as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Missing, or what would be written has changed since it was. A file that was there before us is the owner's.
fn is_to_be_written(is_there: bool, before: &str, now: &str) -> bool {
    !is_there || (!before.is_empty() && before != now)
}

#[cfg(test)]
mod tests {
    use super::is_to_be_written;

    #[test]
    fn a_file_that_its_reader_rewrites() {
        for (is_there, before, now, expected) in [
            (false, "", "a", true),
            (false, "a", "a", true),
            (true, "a", "a", false),
            (true, "a", "b", true),
            // The owner's own.
            (true, "", "a", false),
        ] {
            assert_eq!(is_to_be_written(is_there, before, now), expected, "{is_there} {before:?} {now:?}");
        }
    }
}
