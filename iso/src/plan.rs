//! What comes onto the medium, and where: decided before anything is written.

use crate::date::Date;
use crate::{LABEL, MENU};
use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use skerry_installer::boot_slot::slot_cfg;
use skerry_installer::content::{Content, Digest, Extent};
use skerry_installer::fat::{self, Volume};
use skerry_installer::release::Release;
use skerry_sys::file::read_bounded;
use std::io;

/// The core image for a disc's and a stick's BIOS; xorriso writes into it where it lies.
pub const CORE: &str = "/boot/grub/eltorito.img";
/// The file system from which UEFI starts.
pub const EFI: &str = "/boot/efi.img";
/// El Torito's catalogue of the two, which xorriso makes.
pub const CATALOGUE: &str = "/boot/boot.cat";
/// Files that a release may have besides those its manifest names.
const BESIDE: [&str; 2] = ["manifest.json.minisig", "sbom.spdx.json"];
/// No such file is longer.
const BESIDE_BYTES: usize = 64 << 20;

/// GRUB, made for the ISO.
#[derive(Debug, Clone)]
pub struct Loader {
    /// GRUB's `boot_hybrid.img`: the first sector, for a stick's BIOS.
    pub mbr: Vec<u8>,
    /// The core image for BIOS (`i386-pc-eltorito`).
    pub core: Vec<u8>,
    /// The program for UEFI: `BOOTX64.EFI`.
    pub efi: Vec<u8>,
}

/// What the menu starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The system, from the medium.
    #[default]
    Live,
    /// The installer.
    Install,
}

/// What an owner puts onto a medium of his own.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// `config.yaml`, at the top.
    pub config: Option<Vec<u8>>,
    /// More words for the kernel's command line.
    pub words: String,
    /// What starts by itself.
    pub mode: Mode,
}

/// A file on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `/skerry/root.img`.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// A medium to be written.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The release's version.
    pub version: String,
    /// When the release was built: the date of everything.
    pub date: Date,
    /// The GUID of the partition table that a stick then has, 32 hexadecimal digits.
    pub guid: String,
    /// The first sector.
    pub mbr: Vec<u8>,
    /// All files, by path.
    pub files: Vec<Entry>,
}

/// Decides. Of the release's files the small ones beside the manifest are read.
pub fn plan(release: &Release, loader: &Loader, owner: &Owner) -> Result<Plan> {
    for name in ["boot/core.img", "boot/BOOTX64.EFI"] {
        ensure!(
            release.files.contains_key(name),
            "looking for {name} in the release in {}: without it the ISO could not install / try: a release that was built to the end",
            release.folder.display()
        );
    }
    let words = owner.words.trim();
    ensure!(
        words.bytes().all(|b| b == b' ' || b.is_ascii_graphic() && !b"\"'\\$`".contains(&b)),
        "reading the words {words:?}: GRUB would read quotes, $ and \\ as its own / try: write them into config.yaml"
    );
    let identity = identity(release, loader, owner);
    let date = Date {
        seconds: release.built,
        hundredths: identity.0.first().map_or(0, |byte| byte % 100),
    };
    let bytes = |path: &str, bytes: &[u8]| Entry {
        path: path.to_owned(),
        content: Content::Bytes(bytes.to_vec()),
    };
    let mut files = vec![
        bytes("/boot/grub/grub.cfg", MENU.as_bytes()),
        bytes(CORE, &loader.core),
        bytes(EFI, &efi(release, loader, &identity)?),
        bytes("/skerry/slot.cfg", slot_cfg(release).as_bytes()),
    ];
    files.extend(extra(words, owner.mode).map(|text| bytes("/boot/grub/extra.cfg", text.as_bytes())));
    files.extend(owner.config.as_ref().map(|config| bytes("/config.yaml", config)));
    for name in std::iter::once("manifest.json").chain(BESIDE) {
        match read_bounded(release.folder.join(name), BESIDE_BYTES) {
            Ok(content) => files.push(bytes(&format!("/skerry/{name}"), &content)),
            Err(why) if why.source.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why.into()),
        }
    }
    for name in release.files.keys() {
        files.push(Entry {
            path: format!("/skerry/{name}"),
            content: release.file(name)?,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Plan {
        version: release.version.clone(),
        date,
        guid: identity.to_string().chars().take(32).collect(),
        mbr: loader.mbr.clone(),
        files,
    })
}

/// Differs where the medium differs.
fn identity(release: &Release, loader: &Loader, owner: &Owner) -> Digest {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(release.version.as_bytes());
    for (name, file) in &release.files {
        add(name.as_bytes());
        add(&file.sha256.0);
    }
    for bytes in [&loader.mbr, &loader.core, &loader.efi] {
        add(bytes);
    }
    add(MENU.as_bytes());
    add(owner.config.as_deref().unwrap_or_default());
    add(extra(owner.words.trim(), owner.mode).unwrap_or_default().as_bytes());
    Digest(hash.finalize().into())
}

/// What the menu reads besides itself; nothing if it is to be as it is.
fn extra(words: &str, mode: Mode) -> Option<String> {
    let words = (!words.is_empty()).then(|| format!("set extra=\"{words}\"\n"));
    let mode = (mode == Mode::Install).then(|| "set default=install\n".to_owned());
    match (words, mode) {
        (Some(words), Some(mode)) => Some(words + &mode),
        (words, mode) => words.or(mode),
    }
}

/// The file system with UEFI's program.
fn efi(release: &Release, loader: &Loader, identity: &Digest) -> Result<Vec<u8>> {
    let files = [fat::File {
        path: "/EFI/BOOT/BOOTX64.EFI".to_owned(),
        content: Content::Bytes(loader.efi.clone()),
    }];
    let (bytes, kind) = fat::smallest(&files);
    let [a, b, c, d, ..] = identity.0;
    let volume = Volume {
        bytes,
        kind,
        label: LABEL.to_owned(),
        serial: u32::from_le_bytes([a, b, c, d]),
        time: release.built,
    };
    let extents = fat::lay_out(&volume, &files).context("laying out the file system for UEFI")?;
    let mut image = vec![0; usize::try_from(bytes)?];
    for Extent { at, content } in extents {
        if let Content::Bytes(content) = content {
            let at = usize::try_from(at)?;
            let place = image.get_mut(at..at + content.len());
            place
                .context("laying out the file system for UEFI: it is too small")?
                .copy_from_slice(&content);
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_installer::layout::Arch;
    use skerry_installer::release::Named;
    use std::path::Path;

    fn release(folder: &Path) -> Release {
        let named = Named {
            bytes: 5,
            sha256: Digest([7; 32]),
        };
        let paths = ["vmlinuz", "initrd.img", "root.img", "boot/core.img", "boot/BOOTX64.EFI"];
        Release {
            folder: folder.to_owned(),
            version: "0.1.0".into(),
            arch: Arch::Amd64,
            root_hash: Digest([0xAB; 32]),
            hash_offset: 4096,
            built: 1_795_279_914,
            files: paths.map(|name| (name.to_owned(), named)).into(),
            boot: std::collections::BTreeMap::new(),
        }
    }

    fn loader() -> Loader {
        Loader {
            mbr: vec![1; 512],
            core: vec![2; 3000],
            efi: vec![3; 700_000],
        }
    }

    fn text(plan: &Plan, path: &str) -> Option<String> {
        plan.files.iter().find(|f| f.path == path).map(|f| match &f.content {
            Content::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn the_release_and_what_boots_it_are_on_the_medium() {
        let plan = plan(&release(Path::new("/nowhere")), &loader(), &Owner::default()).unwrap();
        let paths: Vec<_> = plan.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/boot/efi.img",
                "/boot/grub/eltorito.img",
                "/boot/grub/grub.cfg",
                "/skerry/boot/BOOTX64.EFI",
                "/skerry/boot/core.img",
                "/skerry/initrd.img",
                "/skerry/root.img",
                "/skerry/slot.cfg",
                "/skerry/vmlinuz"
            ]
        );
        assert!(text(&plan, "/skerry/slot.cfg").unwrap().contains("skerry.roothash=abab"));
        assert!(plan.date.uuid().starts_with("2026-11-21-16-51-54-"));
        assert_eq!(plan.guid.len(), 32);
    }

    #[test]
    fn what_the_owner_adds_is_there_and_tells_the_medium_apart() {
        let release = release(Path::new("/nowhere"));
        let plain = plan(&release, &loader(), &Owner::default()).unwrap();
        let owner = Owner {
            config: Some(b"hostname: x\n".to_vec()),
            words: " skerry.install.silent=true a=b ".into(),
            mode: Mode::Install,
        };
        let own = plan(&release, &loader(), &owner).unwrap();
        assert_eq!(text(&own, "/config.yaml").as_deref(), Some("hostname: x\n"));
        assert_eq!(
            text(&own, "/boot/grub/extra.cfg").as_deref(),
            Some("set extra=\"skerry.install.silent=true a=b\"\nset default=install\n")
        );
        assert!(text(&plain, "/config.yaml").is_none() && text(&plain, "/boot/grub/extra.cfg").is_none());
        assert_ne!(own.guid, plain.guid);
        for words in ["a=\"b c\"", "$x", "a\\", "a\nb", "é"] {
            let owner = Owner {
                words: words.into(),
                ..Owner::default()
            };
            assert!(plan(&release, &loader(), &owner).is_err(), "{words}");
        }
    }

    #[test]
    fn a_release_that_could_not_be_installed_is_refused() {
        let mut release = release(Path::new("/nowhere"));
        release.files.remove("boot/core.img");
        let said = format!("{:#}", plan(&release, &loader(), &Owner::default()).unwrap_err());
        assert!(said.contains("boot/core.img"), "{said}");
    }

    #[test]
    fn the_menu_offers_what_the_plan_names() {
        for words in ["--id live", "--id install", "/skerry", "slot.cfg", "extra.cfg", LABEL] {
            assert!(MENU.contains(words), "{words}");
        }
        assert!(MENU.ends_with("set skerry_cfg=1\n") && crate::START.contains("skerry_cfg"));
    }
}
