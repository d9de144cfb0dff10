//! Programs: one file that is there, whole, and the right one; fetched only where it is not.
//!
//! Which one is right is said by a digest: the caller's, or else the one that was written down at the first download (`PROGRAM.sha256`,
//! as sha256sum writes it), which came from the list that is published beside the program.

use crate::get::{self, Error, Request, hex, unhex};
use crate::source::{self, Source};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that a program may be.
const MAX: u64 = 1 << 30;
/// The most that a list of digests may be.
const MAX_SUMS: u64 = 1 << 20;

/// A program that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is to lie.
    pub at: PathBuf,
    /// From where it is fetched if it does not; none = somebody else puts it there.
    pub url: Option<String>,
    /// What it must hash to.
    pub sha256: Option<[u8; 32]>,
    /// The published list of digests, which counts where no digest is known.
    pub sums: Option<String>,
    /// How often to try while the trouble may pass.
    pub tries: u32,
    /// Before the second try.
    pub pause: Duration,
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// It was there, and nobody was asked.
    Kept,
    /// It was fetched: so many bytes, by this digest.
    Fetched(u64, String),
}

/// Sees to it that the program is there.
pub fn program(wanted: &Wanted) -> Result<Done, String> {
    let at = wanted.at.display();
    let lock = beside(&wanted.at, ".sha256");
    let known = wanted.sha256.or_else(|| locked(&lock));
    let found = digest(&wanted.at).map_err(|e| format!("reading {at}: {e}"))?;
    match (found, known, &wanted.url) {
        (Some(found), Some(known), _) if found == known => return executable(&wanted.at),
        // What we fetched has its digest beside it: this one was put there by somebody who may.
        (Some(_), None, _) => return executable(&wanted.at),
        (Some(found), Some(_), None) => {
            return Err(format!(
                "checking {at}: its SHA-256 is {}, not the one expected; put the right program there",
                hex(&found)
            ));
        }
        (None, _, None) => {
            return Err(format!(
                "looking for {at}: it is not there; put the program there, or say which release to fetch: skerry.distribution: {{name: …, version: …, sha256: …}}"
            ));
        }
        (_, _, Some(_)) => {}
    }
    let Some(url) = &wanted.url else { return Ok(Done::Kept) };
    let (sha256, published) = match (known, &wanted.sums) {
        (Some(known), _) => (known, false),
        (None, Some(sums)) => (of_list(wanted, url, sums)?, true),
        (None, None) => return Err(format!("fetching {url}: nothing says what its SHA-256 must be")),
    };
    if let Some(folder) = wanted.at.parent() {
        skerry_sys::file::make_dir(folder, 0o755).map_err(|e| e.to_string())?;
    }
    if published {
        // First what is believed, then the program: a cut between them fetches the same once more.
        let line = format!("{}  {}\n", hex(&sha256), name(&wanted.at));
        skerry_sys::file::replace(&lock, line.as_bytes(), 0o644).map_err(|e| e.to_string())?;
    }
    let request = Request {
        max: MAX,
        sha256: Some(sha256),
        tries: wanted.tries,
        pause: wanted.pause,
        mode: 0o755,
        ..Request::new(source::parse(url)?)
    };
    match get::get_file(&request, &wanted.at) {
        Ok(count) => Ok(Done::Fetched(count, hex(&sha256))),
        Err(e @ Error::Digest(..)) => Err(format!("{e} ({}); it was thrown away", hex(&sha256))),
        Err(e) => Err(e.to_string()),
    }
}

/// The digest of a program in the list that is published beside it.
fn of_list(wanted: &Wanted, url: &str, sums: &str) -> Result<[u8; 32], String> {
    let request = Request {
        max: MAX_SUMS,
        tries: wanted.tries,
        pause: wanted.pause,
        ..Request::new(source::parse(sums)?)
    };
    let mut text = vec![];
    get::get(&request, &mut text).map_err(|e| e.to_string())?;
    let file = url.rsplit('/').next().unwrap_or_default().replace("%2B", "+");
    listed(&String::from_utf8_lossy(&text), &file).ok_or_else(|| format!("reading {sums}: no SHA-256 of {file} in it"))
}

/// The line of `file` in what sha256sum wrote; or the one digest of a list without names.
fn listed(text: &str, file: &str) -> Option<[u8; 32]> {
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let named = lines.clone().find_map(|line| {
        let (digest, name) = line.trim().split_once(char::is_whitespace)?;
        let name = name.trim().trim_start_matches('*');
        (name.rsplit('/').next() == Some(file)).then(|| unhex(digest).ok()).flatten()
    });
    let only = || {
        let first = lines.next()?;
        lines.next().is_none().then(|| unhex(first).ok()).flatten()
    };
    named.or_else(only)
}

fn locked(lock: &Path) -> Option<[u8; 32]> {
    let text = skerry_sys::file::read_text(lock, 4096).ok()?;
    unhex(text.split_whitespace().next()?).ok()
}

/// None where there is no such file.
fn digest(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(Some(hash.finalize().into()))
}

/// A program that was put there by hand may lack the right to be run.
fn executable(path: &Path) -> Result<Done, String> {
    let shown = |e: io::Error| format!("making {} executable: {e}", path.display());
    let mode = fs::metadata(path).map_err(shown)?.permissions().mode();
    if mode & 0o111 == 0 {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o111)).map_err(shown)?;
    }
    Ok(Done::Kept)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads an address for [`Wanted::url`]: only a server has programs to fetch.
pub fn address(text: &str) -> Result<String, String> {
    match source::parse(text)? {
        Source::Http(url) => Ok(url),
        Source::File(_) => Err(format!("{text:?}: name a file's path by --at")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_digests() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let list = format!("{a}  k3s-airgap-images-amd64.tar\n{b}  k3s\n");
        assert_eq!(listed(&list, "k3s"), Some([0xbb; 32]));
        assert_eq!(
            listed(&format!("{a} *dist/k0s-v1+k0s.0-amd64\n"), "k0s-v1+k0s.0-amd64"),
            Some([0xaa; 32])
        );
        assert_eq!(listed(&format!("{a}\n"), "kubelet"), Some([0xaa; 32]));
        for wrong in [
            format!("{a}\n{b}\n"),
            format!("{a}  other\n"),
            "zz  k3s\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(listed(&wrong, "k3s"), None, "{wrong}");
        }
    }
}
