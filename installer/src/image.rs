//! The flashable image: an installation onto a sparse file, the same bytes from the same release.

use crate::bmap::Bmap;
use crate::device::Disk;
use crate::layout::{Data, Ids, Medium, Request, SMALLEST_DATA, Sizes};
use crate::perform::{Options, Progress, Report, perform};
use crate::plan::{Extras, Plan, new};
use crate::release::Release;
use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use skerry_sys::file::replace;
use std::fs::File;
use std::path::Path;

/// The plan of an image.
pub fn plan(release: &Release, sizes: Sizes, extras: &Extras) -> Result<Plan> {
    let sizes = Sizes {
        data: match sizes.data {
            Data::Rest => Data::Bytes(SMALLEST_DATA),
            bytes @ Data::Bytes(_) => bytes,
        },
        ..sizes
    };
    let request = Request {
        sizes,
        arch: release.arch,
        ids: ids(release),
        is_image: true,
    };
    let medium = Medium {
        bytes: sizes.needed(release.arch),
        sector_bytes: 512,
    };
    new(release, &request, &medium, extras)
}

/// GUIDs that come from the release alone. The first boot gives the disk its own.
fn ids(release: &Release) -> Ids {
    let mut hash = Sha256::new();
    hash.update(release.version.as_bytes());
    for (name, file) in &release.files {
        hash.update(name.as_bytes());
        hash.update(file.sha256.0);
    }
    Ids(hash.finalize().into())
}

/// Makes the image in `out`, beside it first and then under its name, so that `out` is never half an image.
pub fn image(
    folder: &Path,
    out: &Path,
    sizes: Sizes,
    extras: &Extras,
    options: &Options,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Report> {
    let release = Release::read(folder)?;
    let plan = plan(&release, sizes, extras)?;
    let mut unfinished = out.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = Path::new(&unfinished);
    let made = Disk::create(unfinished, plan.disk_bytes)
        .with_context(|| format!("making {}", unfinished.display()))
        .and_then(|mut disk| perform(&plan, &mut disk, options, tell))
        .and_then(|report| {
            std::fs::rename(unfinished, out).with_context(|| format!("naming {}", out.display()))?;
            Ok(report)
        });
    if made.is_err() {
        // It may not be there; the error that counts is the other one.
        let _ = std::fs::remove_file(unfinished);
    }
    made.with_context(|| format!("making the image {}", out.display()))
}

/// Maps an image, and writes the map beside it: `x.img.bmap`.
pub fn write_map(image: &Path) -> Result<Bmap> {
    let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let map = Bmap::of(&file)?;
    let mut beside = image.as_os_str().to_owned();
    beside.push(".bmap");
    replace(Path::new(&beside), map.to_xml().as_bytes(), 0o644)?;
    Ok(map)
}
