//! May this release come here? Everything that can be known before a byte is written.
//!
//! ```text
//!  folder ─▶ signature ─▶ manifest ─▶ processor, versions, room ─▶ lengths ─▶ digests ─▶ hash tree ─▶ Checked
//!              (keys)                  (facts)
//! ```
//!
//! What is cheap comes first. A refusal names the check that failed, and nothing is believed that the signature does not cover: every
//! part is named in the manifest with its digest. Files beside them are neither read nor copied.

use crate::manifest::{self, Manifest};
use crate::signature::{self, Key, Unbelieved};
use crate::tree::{self, Depth};
use semver::Version;
use sha2::{Digest as _, Sha256};
use skerry_installer::boot_slot;
use skerry_installer::content::Digest;
use skerry_installer::layout::{Arch, MIB, Part, Place};
use skerry_installer::release::{Named, Release};
use skerry_sys::file::read_bounded;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The boot loader's files that are kept in memory, since they are changed before they are written.
const KEPT: usize = 512 << 10;

/// What is known of this machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its processor.
    pub arch: Arch,
    /// The version that runs; none where there is none (an installation).
    pub running: Option<Version>,
    /// The boot and the root partition that the release has to fit into; none where they are yet to be made.
    pub slot: Option<[Place; 2]>,
    /// Root hashes of releases that failed here.
    pub failed: Vec<Digest>,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word on the command line")]
pub struct Told {
    /// A release without a signature, or one by a stranger, is taken.
    pub unsigned: bool,
    /// An older release is taken.
    pub downgrade: bool,
    /// A release that failed here before is taken.
    pub again: bool,
    /// The whole hash tree is checked, which the digest of `root.img` makes needless but for a mistake of its maker.
    pub whole_tree: bool,
}

/// A release that may come here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checked {
    /// Its parts, for the installer.
    pub release: Release,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The key that signed it; none: it was told not to matter.
    pub signed_by: Option<String>,
}

/// Why a release may not come here.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The manifest or its signature cannot be read.
    #[error("reading the release: {0} / try: the folder that holds manifest.json")]
    Unreadable(skerry_sys::Error),
    /// There is no signature.
    #[error("checking the signature: there is no manifest.json.minisig in {} / try: --unsigned, if you made this release yourself", .0.display())]
    Unsigned(PathBuf),
    /// The signature is not believed.
    #[error("checking the signature: {why} / try: {hint}", hint = hint(.why))]
    Signature {
        /// Why.
        why: Unbelieved,
    },
    /// The manifest makes no sense.
    #[error("checking manifest.json: {0}")]
    Manifest(#[from] manifest::Wrong),
    /// It is for another processor.
    #[error("checking the processor: the release is for {}, and this machine is {} / try: the release for {}", .is.name(), .here.name(), .here.name())]
    Arch {
        /// What it is for.
        is: Arch,
        /// What runs here.
        here: Arch,
    },
    /// It is older than what runs.
    #[error("checking the version: {is} is older than {running}, which runs / try: --allow-downgrade, if that is meant")]
    Downgrade {
        /// Its version.
        is: Version,
        /// The version that runs.
        running: Version,
    },
    /// What runs is too old.
    #[error("checking the version: {is} can be reached from {from} on, and {running} runs / try: update to {from} first")]
    TooOld {
        /// Its version.
        is: Version,
        /// The oldest version it can be reached from.
        from: Box<Version>,
        /// The version that runs.
        running: Version,
    },
    /// It was here and failed.
    #[error("checking the version: {0} was tried on this machine and did not prove itself / try: a newer release, or --again")]
    FailedBefore(Version),
    /// It does not fit.
    #[error("checking the room: {part} has {} MiB, and the release needs {} MiB / try: install with larger slots", .bytes / MIB, .needed.div_ceil(MIB))]
    TooLarge {
        /// Where it would go.
        part: Part,
        /// How long that is.
        bytes: u64,
        /// How much is needed.
        needed: u64,
    },
    /// A part cannot be read.
    #[error("reading {}: {why} / try: copy the release again", .path.display())]
    Part {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A part has another length.
    #[error("checking the length of {}: it has {found} bytes, and the manifest says {said} / try: copy the release again", .path.display())]
    Length {
        /// Which.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// What the manifest says.
        said: u64,
    },
    /// A part has another digest.
    #[error("checking {}: its SHA-256 is not the manifest's / try: copy the release again", .0.display())]
    Sum(PathBuf),
    /// The root does not hang together.
    #[error("checking the hash tree of {}: {why} / try: another release; this one was made wrong", .path.display())]
    Tree {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: tree::Wrong,
    },
}

fn hint(why: &Unbelieved) -> &'static str {
    match why {
        Unbelieved::NoKeys | Unbelieved::Stranger(_) => {
            "a release by a maker whose key is in this system, or --unsigned if you made it yourself"
        }
        Unbelieved::Unreadable(_) | Unbelieved::Broken(_) => "copy the release again; if it stays so, somebody has changed it",
    }
}

/// Checks the release in `folder`. `tell` hears how many bytes of how many were read.
pub fn check(folder: &Path, keys: &[Key], facts: &Facts, told: Told, tell: &mut dyn FnMut(u64, u64)) -> Result<Checked, Refused> {
    let text = read_bounded(folder.join(manifest::NAME), manifest::LONGEST).map_err(Refused::Unreadable)?;
    let signed_by = signer(folder, &text, keys, told)?;
    let manifest = Manifest::parse(&text)?;
    let mut release = Release {
        folder: folder.to_owned(),
        version: manifest.version.to_string(),
        arch: manifest.arch,
        root_hash: manifest.root_hash,
        hash_offset: manifest.hash_offset,
        built: manifest.built,
        files: manifest.files.clone(),
        boot: BTreeMap::new(),
    };
    may_come(&manifest, facts, told)?;
    if let Some(slot) = &facts.slot {
        fits(&release, slot)?;
    }
    for (name, named) in &manifest.files {
        length(&folder.join(name), *named)?;
    }
    let root = folder.join("root.img");
    let mut tree_bytes = if told.whole_tree { manifest.hash_offset } else { 0 };
    let total = manifest.files.values().map(|f| f.bytes).sum::<u64>() + tree_bytes;
    tree_bytes = 0; // from here on, what was read of it
    let mut done = 0;
    // Before the digests, for it is quick and says more; it reads the image within its length.
    check_tree(&root, &manifest, Depth::Top, &mut |_| {})?;
    for (name, named) in &manifest.files {
        let kept = digest(&folder.join(name), *named, &mut |bytes| {
            done += bytes;
            tell(done, total);
        })?;
        if let (Some(bytes), Some(name)) = (kept, name.strip_prefix("boot/")) {
            release.boot.insert(name.to_owned(), bytes);
        }
    }
    if told.whole_tree {
        check_tree(&root, &manifest, Depth::Whole, &mut |bytes| {
            tree_bytes += bytes;
            tell(done + tree_bytes, total);
        })?;
    }
    Ok(Checked {
        release,
        manifest,
        signed_by,
    })
}

/// Who signed it; none where that does not matter. A signature by a known key that does not fit is never passed over.
fn signer(folder: &Path, manifest: &[u8], keys: &[Key], told: Told) -> Result<Option<String>, Refused> {
    let signature = match read_bounded(folder.join(manifest::SIGNATURE), signature::LONGEST) {
        Ok(signature) => signature,
        Err(why) if why.source.kind() == io::ErrorKind::NotFound => {
            return if told.unsigned {
                Ok(None)
            } else {
                Err(Refused::Unsigned(folder.to_owned()))
            };
        }
        Err(why) => return Err(Refused::Unreadable(why)),
    };
    match signature::check(manifest, &signature, keys) {
        Ok(name) => Ok(Some(name)),
        Err(Unbelieved::NoKeys | Unbelieved::Stranger(_)) if told.unsigned => Ok(None),
        Err(why) => Err(Refused::Signature { why }),
    }
}

fn may_come(manifest: &Manifest, facts: &Facts, told: Told) -> Result<(), Refused> {
    let is = &manifest.version;
    if manifest.arch != facts.arch {
        return Err(Refused::Arch {
            is: manifest.arch,
            here: facts.arch,
        });
    }
    if let Some(running) = &facts.running {
        // What is behind a `+` has no order.
        if is.cmp_precedence(running).is_lt() && !told.downgrade {
            return Err(Refused::Downgrade {
                is: is.clone(),
                running: running.clone(),
            });
        }
        if running.cmp_precedence(&manifest.from).is_lt() {
            return Err(Refused::TooOld {
                is: is.clone(),
                from: Box::new(manifest.from.clone()),
                running: running.clone(),
            });
        }
    }
    if facts.failed.contains(&manifest.root_hash) && !told.again {
        return Err(Refused::FailedBefore(is.clone()));
    }
    Ok(())
}

fn fits(release: &Release, [boot, root]: &[Place; 2]) -> Result<(), Refused> {
    let bytes = |name: &str| release.files.get(name).map(|f| f.bytes);
    let needed_boot = match (bytes("boot.img"), boot_slot::files(release)) {
        (Some(image), _) => image,
        (None, Ok(files)) => boot_slot::volume(release, &files).bytes,
        (None, Err(_)) => return Err(manifest::Wrong::Missing("vmlinuz").into()),
    };
    for (part, place, needed) in [
        (Part::BootA, boot, needed_boot),
        (Part::RootA, root, bytes("root.img").unwrap_or(0)),
    ] {
        if needed > place.bytes {
            return Err(Refused::TooLarge {
                part,
                bytes: place.bytes,
                needed,
            });
        }
    }
    Ok(())
}

fn length(path: &Path, named: Named) -> Result<(), Refused> {
    let part = |why| Refused::Part {
        path: path.to_owned(),
        why,
    };
    let found = std::fs::metadata(path).map_err(part)?;
    if !found.is_file() {
        return Err(part(io::Error::other("it is no file")));
    }
    if found.len() != named.bytes {
        return Err(Refused::Length {
            path: path.to_owned(),
            found: found.len(),
            said: named.bytes,
        });
    }
    Ok(())
}

/// Compares a part's digest; gives its bytes where they are few.
fn digest(path: &Path, named: Named, tell: &mut dyn FnMut(u64)) -> Result<Option<Vec<u8>>, Refused> {
    let part = |why| Refused::Part {
        path: path.to_owned(),
        why,
    };
    let mut file = File::open(path).map_err(part)?.take(named.bytes);
    let mut buffer = vec![0; CHUNK.min(usize::try_from(named.bytes).unwrap_or(CHUNK))];
    let mut kept = (named.bytes <= KEPT as u64).then(Vec::new);
    let (mut hash, mut found) = (Sha256::new(), 0);
    loop {
        let read = file.read(&mut buffer).map_err(part)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(piece);
        }
        found += read as u64;
        tell(read as u64);
    }
    if found != named.bytes || hash.finalize().as_slice() != named.sha256.0 {
        return Err(Refused::Sum(path.to_owned()));
    }
    Ok(kept)
}

fn check_tree(path: &Path, manifest: &Manifest, depth: Depth, tell: &mut dyn FnMut(u64)) -> Result<(), Refused> {
    let file = File::open(path).map_err(|why| Refused::Part {
        path: path.to_owned(),
        why,
    })?;
    let bytes = manifest.files.get("root.img").map(|f| f.bytes);
    let read = |at: u64, into: &mut [u8]| file.read_exact_at(into, at);
    tree::check(&read, bytes, manifest.hash_offset, manifest.root_hash, depth, tell).map_err(|why| Refused::Tree {
        path: path.to_owned(),
        why,
    })
}
