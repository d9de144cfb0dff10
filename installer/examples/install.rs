//! `cargo run --example install RELEASE DISK [again|flash IMAGE|grow]`: onto a disk that may be lost.

use skerry_installer::device::{Device, Disk, table};
use skerry_installer::flash::{Image, flash};
use skerry_installer::layout::{Arch, Ids, Layout, Medium, Part, Request, Sizes};
use skerry_installer::perform::{Options, perform};
use skerry_installer::plan::{Extras, again, boot_state, new};
use skerry_installer::release::Release;
use skerry_installer::{content::Digest, grow};
use std::path::{Path, PathBuf};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, path, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("RELEASE DISK [again|flash IMAGE|grow]")
    };
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_nanos()
        .to_le_bytes();
    let ids = Ids(Digest::of(&seed).0);
    if rest.first().is_some_and(|r| r == Path::new("grow")) {
        let mut disk = Disk::open_running(path)?;
        if let Some(plan) = grow::plan(&grow::Facts::of(&disk)?, &ids)? {
            eprint!("{plan}");
            perform(&plan, &mut disk, &Options::default(), &mut |_| {})?;
        }
        let found = table(&disk);
        let layout = found.table().and_then(|t| Layout::of(t, Arch::Amd64));
        if let (Some(place), [_, node]) = (layout.and_then(|l| l.place(Part::Data)), rest) {
            grow::grow_data(&disk, place, node)?;
        }
        return Ok(());
    }
    let release = Release::read(folder)?;
    let mut disk = Disk::open(path)?;
    match rest {
        [word, image] if word == Path::new("flash") => flash(&Image::open(image)?, &mut disk, &mut |_| {})?,
        [word] if word == Path::new("again") => {
            let found = table(&disk);
            let table = found.table().ok_or_else(|| anyhow::anyhow!("no table"))?;
            let layout = Layout::of(table, release.arch).ok_or_else(|| anyhow::anyhow!("no Skerry"))?;
            let plan = again(&release, table, disk.bytes(), &boot_state(&layout, &disk)?)?;
            eprint!("{plan}");
            perform(&plan, &mut disk, &Options::default(), &mut |_| {})?;
        }
        _ => {
            let request = Request {
                sizes: Sizes::default(),
                arch: release.arch,
                ids,
                is_image: false,
            };
            let medium = Medium {
                bytes: disk.bytes(),
                sector_bytes: disk.sector_bytes(),
            };
            let plan = new(&release, &request, &medium, &Extras::default())?;
            eprintln!("{}", serde_json::to_string(&plan)?);
            perform(&plan, &mut disk, &Options::default(), &mut |_| {})?;
        }
    }
    disk.read_table_again()?;
    Ok(())
}
