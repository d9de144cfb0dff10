//! The flashable disk image: a release installed onto a file, with its map, its digest, and compressed.

use crate::cache::Cache;
use crate::digest;
use crate::run;
use crate::tools::Root;
use anyhow::{Context, Result};
use skerry_installer::image;
use skerry_installer::layout::Sizes;
use skerry_installer::perform::Options;
use skerry_installer::plan::Extras;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes `out` from the release in `release`, and beside it `out.bmap`, and unless it stays raw `out.zst` and `out.sha256`; gives
/// their paths.
#[allow(clippy::disallowed_methods, reason = "build output: made anew if lost")]
pub fn disk(cache: &Cache, tools: &Root, release: &Path, out: &Path, raw: bool) -> Result<Vec<PathBuf>> {
    let beside = |ending: &str| {
        let mut name = out.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let mke2fs = tools.command("mke2fs")?;
    let options = Options {
        // The tools root's, so that the same image comes out everywhere.
        mke2fs: std::iter::once(mke2fs.get_program())
            .chain(mke2fs.get_args())
            .map(ToOwned::to_owned)
            .collect(),
        temporary: cache.work("disk")?,
        ..Options::default()
    };
    run::say("making the disk image");
    image::image(release, out, Sizes::default(), &Extras::default(), &options, &mut |_| {})?;
    image::write_map(out)?;
    if raw {
        return Ok(vec![out.to_owned(), beside(".bmap")]);
    }
    let packed = beside(".zst");
    let mut zstd = tools.command("zstd")?;
    zstd.args(["-q", "-f", "-T0", "-10", "-o"]).arg(&packed).arg(out);
    run::logged("compressing the disk image", &mut zstd, &cache.log("disk"))?;
    let mut sums = String::new();
    for path in [out, &packed] {
        let name = path.file_name().context("naming the disk image: its path ends in no name")?;
        let _ = writeln!(sums, "{}  {}", digest::of_file(path)?, name.to_string_lossy());
    }
    let sums_at = beside(".sha256");
    fs::write(&sums_at, sums).with_context(|| format!("writing {}", sums_at.display()))?;
    Ok(vec![out.to_owned(), packed, beside(".bmap"), sums_at])
}
