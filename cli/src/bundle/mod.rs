//! `skerry bundle`: the images that a configuration's manifests ask for, as one folder for a machine without a network.
//!
//! | file | answers |
//! |---|---|
//! | [`find`] | which images manifests ask for |
//! | [`archive`] | which images an archive holds |
//! | [`pull`] | how an image comes out of its registry |
//!
//! Images come from archives; on request what is in none comes from its registry. What is missing is named.

mod archive;
mod find;
mod pull;

use anyhow::{Context, Result};
use find::{Found, comes_with_the_system};
use serde_json::json;
use skerry_config::{Source, SourceKind, load};
use skerry_sys::file;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A manifest or a configuration is not larger. Bytes.
const TEXT_MAX: usize = 16 << 20;
/// The list of what is where, beside the images.
const LIST: &str = "images.txt";

/// What to look through, and where images are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A configuration: manifests in its `write_files` are looked through
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Further manifests: files, or folders with all that is in them
    #[arg(long, value_name = "FILE|FOLDER")]
    manifest: Vec<PathBuf>,
    /// A further image that is wanted (a chart's, for instance)
    #[arg(long, value_name = "IMAGE")]
    wants: Vec<String>,
    /// Archives with images (tar, tar.gz, tar.zst), or folders of them
    #[arg(long, value_name = "ARCHIVE|FOLDER")]
    image: Vec<PathBuf>,
    /// Pull what is in no archive from its registry, by skopeo
    #[arg(long)]
    pull: bool,
    /// For machines of this kind (amd64, arm64), where an image is made for several
    #[arg(long, value_name = "ARCH", default_value_t = pull::this_arch(), requires = "pull")]
    arch: String,
    /// Pull from registries without TLS, too
    #[arg(long, requires = "pull")]
    insecure: bool,
    /// Where the bundle goes; its `agent` folder is for /var/lib/rancher/k3s
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What goes where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Archives to copy.
    archives: BTreeSet<PathBuf>,
    /// Image → archive.
    images: BTreeMap<String, PathBuf>,
    /// Images that are in none → where they are asked for.
    missing: BTreeMap<String, BTreeSet<String>>,
}

/// Decides: each image from the first archive that has it.
fn plan(found: &Found, archives: &[(PathBuf, BTreeSet<String>)]) -> Plan {
    let mut plan = Plan::default();
    for (image, by) in found.images.iter().filter(|(image, _)| !comes_with_the_system(image)) {
        match archives.iter().find(|(_, holds)| holds.contains(image)) {
            Some((path, _)) => {
                plan.archives.insert(path.clone());
                plan.images.insert(image.clone(), path.clone());
            }
            None => drop(plan.missing.insert(image.clone(), by.clone())),
        }
    }
    plan
}

/// Does it. Exit status 1 where an image is missing: what was found is there all the same.
pub fn run(args: &Args) -> Result<ExitCode> {
    let found = look(args)?;
    let mut archives = vec![];
    for path in files(&args.image, &is_archive)? {
        archives.push((path.clone(), archive::images(&path)?));
    }
    let mut plan = plan(&found, &archives);
    let folder = args.out.join("agent/images");
    file::make_dir(&folder, 0o755)?;
    if args.pull {
        pull_missing(args, &mut plan, &folder);
    }
    let mut list = String::new();
    for path in &plan.archives {
        let name = path.file_name().unwrap_or_default();
        copy(path, &folder.join(name))?;
    }
    for (image, path) in &plan.images {
        writeln!(list, "{image} {}", path.file_name().unwrap_or_default().to_string_lossy())?;
    }
    file::replace(args.out.join(LIST), list.as_bytes(), 0o644)?;
    if args.json {
        let missing: Vec<_> = plan
            .missing
            .iter()
            .map(|(image, by)| json!({ "image": image, "asked_for_in": by }))
            .collect();
        println!(
            "{:#}",
            json!({ "images": plan.images, "missing": missing, "unseen": found.unseen, "folder": args.out })
        );
    } else {
        print!("{}", said(&plan, &found, &args.out));
    }
    Ok(if plan.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What cannot be pulled stays missing, and is told why.
fn pull_missing(args: &Args, plan: &mut Plan, folder: &Path) {
    let way = pull::Way {
        arch: args.arch.clone(),
        insecure: args.insecure,
    };
    let wanted = std::mem::take(&mut plan.missing);
    let all = wanted.len();
    for (number, (image, by)) in wanted.into_iter().enumerate() {
        eprintln!("pulling {image} ({} of {all})", number + 1);
        match pull::pull(&image, &way, folder) {
            Ok(path) => drop(plan.images.insert(image, path)),
            Err(why) => {
                eprintln!("pulling {image}: {why:#}");
                plan.missing.insert(image, by);
            }
        }
    }
}

fn said(plan: &Plan, found: &Found, out: &Path) -> String {
    let mut text = String::new();
    for (image, path) in &plan.images {
        let _ = writeln!(text, "found    {image} in {}", path.display());
    }
    for (image, by) in &plan.missing {
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        let _ = writeln!(text, "missing  {image}, which {} asks for", by.join(", "));
    }
    for unseen in &found.unseen {
        let _ = writeln!(text, "unseen   {unseen}");
    }
    let _ = writeln!(
        text,
        "{} images in {}, {} missing",
        plan.images.len(),
        out.display(),
        plan.missing.len()
    );
    if !plan.missing.is_empty() {
        text.push_str(
            "try: --pull, where there is a network; or save them (ctr images export, docker save), and name the archives by --image\n",
        );
    }
    text
}

fn look(args: &Args) -> Result<Found> {
    let mut found = Found::default();
    for path in &args.config {
        let text = file::read_text(path, TEXT_MAX)?;
        let loaded = load(&[Source::new(SourceKind::System, path.display().to_string(), text)]);
        for written in loaded.config.write_files.iter().filter(|w| is_manifest(Path::new(&w.path))) {
            let bytes = written.decoded().map_err(anyhow::Error::msg);
            let bytes = bytes.with_context(|| format!("reading {} in {}", written.path, path.display()))?;
            found.look(&written.path, &String::from_utf8_lossy(&bytes));
        }
    }
    for path in files(&args.manifest, &is_manifest)? {
        found.look(&path.display().to_string(), &file::read_text(&path, TEXT_MAX)?);
    }
    for image in &args.wants {
        found.want(image, "--wants");
    }
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|e| ending.eq_ignore_ascii_case(e))
}

fn is_archive(path: &Path) -> bool {
    skerry_distribution::kubernetes::images::is_archive(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Files that were named, and those of the folders that were, which look right; in order.
fn files(named: &[PathBuf], looks_right: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut all = vec![];
    for path in named {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let doing = || format!("listing {}", path.display());
        let entries: Vec<_> = std::fs::read_dir(path)
            .with_context(doing)?
            .collect::<Result<_, _>>()
            .with_context(doing)?;
        let mut inner: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
        inner.retain(|p| p.is_dir() || looks_right(p));
        inner.sort();
        all.extend(files(&inner, looks_right)?);
    }
    Ok(all)
}

/// Whole or not at all: what a cut leaves carries another name.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).with_context(doing)?;
    std::fs::File::open(&beside).and_then(|f| f.sync_all()).with_context(doing)?;
    std::fs::rename(&beside, to).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_from_one_archive_and_what_is_missing_is_named() {
        let mut found = Found::default();
        for (image, by) in [
            ("a.io/one:1", "x.yaml"),
            ("a.io/two:1", "x.yaml"),
            ("a.io/two:1", "y.yaml"),
            ("skerry.local/pause:1", "y.yaml"),
        ] {
            found.want(image, by);
        }
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let archives = [
            (PathBuf::from("/i/a.tar"), of(&["a.io/one:1", "a.io/other:1"])),
            (PathBuf::from("/i/b.tar"), of(&["a.io/one:1"])),
        ];
        let plan = plan(&found, &archives);
        assert_eq!(plan.archives, BTreeSet::from([PathBuf::from("/i/a.tar")]));
        assert_eq!(plan.missing, BTreeMap::from([("a.io/two:1".to_owned(), of(&["x.yaml", "y.yaml"]))]));
        let text = said(&plan, &found, Path::new("/o"));
        assert!(text.contains("missing  a.io/two:1, which x.yaml, y.yaml asks for\n"), "{text}");
        assert!(text.contains("1 images in /o, 1 missing\n"), "{text}");
    }
}
