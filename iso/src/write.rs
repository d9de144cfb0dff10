//! Writes a plan to a file, by xorriso. The file has its name only when it is whole.

use crate::LABEL;
use crate::plan::{CATALOGUE, CORE, EFI, Entry, Plan};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use skerry_installer::content::{Content, Digest};
use skerry_sys::iso9660;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How it is written.
#[derive(Debug, Clone)]
pub struct Options {
    /// The words that start xorriso.
    pub xorriso: Vec<OsString>,
    /// An empty folder for what is needed meanwhile.
    pub work: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The image's length.
    pub bytes: u64,
    /// Its UUID.
    pub uuid: String,
    /// Each file and its length, the longest first.
    pub files: Vec<(String, u64)>,
}

/// Writes `out`.
pub fn write(plan: &Plan, options: &Options, out: &Path) -> Result<Report> {
    let mut unfinished = out.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let made = image(plan, options, &unfinished).and_then(|()| check(plan, &unfinished));
    match made {
        Ok(bytes) => {
            fs::rename(&unfinished, out).with_context(|| format!("naming {}", out.display()))?;
            let mut files: Vec<_> = plan.files.iter().map(|f| (f.path.clone(), f.content.bytes())).collect();
            files.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            Ok(Report {
                bytes,
                uuid: plan.date.uuid(),
                files,
            })
        }
        Err(why) => {
            // It may not be there; the error that counts is the other one.
            let _ = fs::remove_file(&unfinished);
            Err(why).with_context(|| format!("making the ISO {}", out.display()))
        }
    }
}

fn image(plan: &Plan, options: &Options, out: &Path) -> Result<()> {
    // xorriso adds to an image that is there.
    match fs::remove_file(out) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why).with_context(|| format!("removing {}", out.display())),
        _ => {}
    }
    let sources = plan
        .files
        .iter()
        .enumerate()
        .map(|(number, entry)| source(entry, &options.work.join(number.to_string())))
        .collect::<Result<Vec<_>>>()?;
    let mbr = options.work.join("mbr.img");
    put(&mbr, &plan.mbr)?;
    let (program, before) = options.xorriso.split_first().context("starting xorriso: no program is named")?;
    let mut command = Command::new(program);
    command
        .args(before)
        .args(arguments(plan, &mbr, out))
        .args(plan.files.iter().zip(&sources).map(|(entry, source)| graft(&entry.path, source)))
        .env("SOURCE_DATE_EPOCH", plan.date.seconds.to_string());
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", program.to_string_lossy()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let last: Vec<&str> = said.lines().rev().take(10).collect();
        bail!(
            "running xorriso: {}\n{}",
            done.status,
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}

/// xorriso's words, in its mkisofs emulation (xorrisofs(1)); what `grub-mkrescue` uses, and what makes the bytes the same each time.
fn arguments(plan: &Plan, mbr: &Path, out: &Path) -> Vec<OsString> {
    let date = plan.date.to_string();
    let application = format!("SKERRY {}", plan.version).to_uppercase();
    let epoch = format!("={}", plan.date.seconds);
    let inside = |path: &str| path.trim_start_matches('/').to_owned();
    let mut words: Vec<OsString> = [
        // No start-up files of the builder's; failures are failures.
        "-no_rc",
        "-abort_on",
        "FAILURE",
        "-as",
        "mkisofs",
        "-iso-level",
        "3",
        "-r",
        "-V",
        LABEL,
        "-A",
        &application,
    ]
    .map(OsString::from)
    .into();
    words.extend(["--modification-date".to_owned() + "=" + &date, "--set_all_file_dates".into(), epoch].map(OsString::from));
    words.extend(["--gpt_disk_guid", &plan.guid].map(OsString::from));
    let (core, catalogue, efi) = (inside(CORE), inside(CATALOGUE), inside(EFI));
    words.extend(
        [
            "-b",
            &core,
            "-c",
            &catalogue,
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "--grub2-boot-info",
            "--grub2-mbr",
        ]
        .map(OsString::from),
    );
    words.push(mbr.into());
    words.extend(
        [
            "--efi-boot",
            &efi,
            "-efi-boot-part",
            "--efi-boot-image",
            "--protective-msdos-label",
            "-o",
        ]
        .map(OsString::from),
    );
    words.push(out.into());
    words.push("-graft-points".into());
    words
}

/// `PATH=SOURCE`, where `=` and `\` in either are escaped.
fn graft(path: &str, source: &Path) -> OsString {
    let mut word = path.as_bytes().to_vec();
    word.push(b'=');
    for byte in source.as_os_str().as_bytes() {
        if matches!(byte, b'=' | b'\\') {
            word.push(b'\\');
        }
        word.push(*byte);
    }
    OsString::from_vec(word)
}

/// Where the bytes of an entry are; those held in memory are put into `work`.
fn source(entry: &Entry, work: &Path) -> Result<PathBuf> {
    match &entry.content {
        Content::Bytes(bytes) => put(work, bytes).map(|()| work.to_owned()),
        Content::Zeros(_) => bail!("writing {}: zeros are no file", entry.path),
        Content::File { path, bytes, sha256 } => {
            let path = fs::canonicalize(path).with_context(|| format!("following {}", path.display()))?;
            ensure!(
                digest(&path)? == (*bytes, *sha256),
                "checking {}: length or SHA-256 are not the manifest's / try: copy the release again",
                path.display()
            );
            Ok(path)
        }
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("writing {}", path.display()))
}

fn digest(path: &Path) -> Result<(u64, Digest)> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut hash, mut buffer, mut total) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let length = file.read(&mut buffer).with_context(reading)?;
        if length == 0 {
            return Ok((total, Digest(hash.finalize().into())));
        }
        hash.update(buffer.get(..length).unwrap_or_default());
        total += length as u64;
    }
}

/// Reads back what the initramfs will look for, flushes, and gives the length.
fn check(plan: &Plan, out: &Path) -> Result<u64> {
    let volume = iso9660::volume(out)?.context("reading it back: xorriso made no ISO 9660 file system")?;
    let uuid = plan.date.uuid();
    ensure!(
        volume.label == LABEL && volume.uuid.as_ref() == Some(&uuid),
        "reading it back: it is {volume:?}, and not {LABEL} of {uuid}"
    );
    let file = File::open(out)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_xorriso_would_read_as_its_own_are_escaped() {
        assert_eq!(
            graft("/skerry/a", Path::new("/x=y/b\\c d")),
            OsString::from("/skerry/a=/x\\=y/b\\\\c d")
        );
    }

    #[test]
    fn a_file_that_changed_since_the_manifest_is_refused() {
        let path = std::env::temp_dir().join(format!("skerry-iso-{}", std::process::id()));
        put(&path, b"other").unwrap();
        let entry = |of: &[u8]| Entry {
            path: "/skerry/root.img".into(),
            content: Content::File {
                path: path.clone(),
                bytes: of.len() as u64,
                sha256: Digest::of(of),
            },
        };
        assert!(source(&entry(b"other"), Path::new("/nowhere")).is_ok());
        assert!(source(&entry(b"right"), Path::new("/nowhere")).is_err());
        fs::remove_file(path).unwrap();
    }
}
