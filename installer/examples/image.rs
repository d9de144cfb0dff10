//! `cargo run --example image RELEASE OUT`: the plan, then the image and its map.

use skerry_installer::image;
use skerry_installer::layout::Sizes;
use skerry_installer::perform::Options;
use skerry_installer::plan::Extras;
use skerry_installer::release::Release;
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let [folder, out] = [1, 2].map(|n| PathBuf::from(std::env::args_os().nth(n).unwrap_or_default()));
    let release = Release::read(&folder)?;
    eprint!("{}", image::plan(&release, Sizes::default(), &Extras::default())?);
    let report = image::image(
        &folder,
        &out,
        Sizes::default(),
        &Extras::default(),
        &Options::default(),
        &mut |_| {},
    )?;
    let map = image::write_map(&out)?;
    eprintln!("{} bytes written, {} of {} mapped", report.written, map.mapped_bytes(), map.bytes);
    Ok(())
}
