//! Secrets on the ESP, which anybody who holds the disk's first partition can read: `setup seal` moves them to data, and planning puts
//! them back.
//!
//! ```text
//! read ESP → take the secrets out (crate config, proven to be the same configuration) → keep them on data → rewrite the ESP's files
//! ```
//!
//! A power cut leaves the old file or the new one; a secret is on data, durably, before it leaves the ESP.

use crate::esp;
use crate::facts;
use crate::folder::{Folder, Place};
use crate::root::Root;
use crate::sources::Identity;
use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use skerry_config::Source;
use skerry_config::seal::{self, Secrets};
use skerry_sys::file;
use skerry_sys::mount::{self, MountFlags};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What was taken out of the ESP's files, by the IDs in their places.
const SECRETS: &str = "/var/lib/skerry/media/esp/sealed.json";
/// The ESP is mounted there while it is written.
const AT: &str = "/run/skerry/esp-sealed";
/// `quiet`: FAT has no modes to change (mount(8)).
const MORE_OPTIONS: &str = ",quiet";

/// `setup seal`: what was done goes to standard output.
pub fn run() -> Result<()> {
    let root = Root::system();
    if root.text("/run/skerry/storage.json").is_none_or(|t| !t.contains("\"disk\"")) {
        bail!("sealing the ESP: there is no data partition to keep the secrets on; nothing was changed");
    }
    let Some(device) = esp::device()? else {
        bail!("sealing the ESP: this machine was not booted from a disk of ours, so there is none");
    };
    esp::load_drivers(&esp::DRIVERS);
    file::make_dir(AT, 0o700)?;
    // Each write in its order: a name never points to what is not there yet.
    let flags = esp::FLAGS | MountFlags::SYNCHRONOUS | MountFlags::DIRSYNC;
    mount::mount(&device.path, AT, "vfat", flags, &format!("{}{MORE_OPTIONS}", esp::OPTIONS))?;
    let identity = Identity::read(&root, facts::macs(&facts::nics(&root)));
    let done = perform(&root, Path::new(AT), &identity);
    let unmounted = mount::unmount(AT);
    for line in done? {
        println!("{line}");
    }
    Ok(unmounted?)
}

/// Seals what counts on this machine of the files below `at`; a line a file.
fn perform(root: &Root, at: &Path, identity: &Identity) -> Result<Vec<String>> {
    clean(at)?;
    let folder = Folder::read(at, Place::Esp).of(Place::Esp, identity);
    if let Some((path, why)) = folder.unread.first() {
        bail!("sealing {}{path}: reading it: {why}", esp::NAME);
    }
    // Where there is nothing random, nothing is begun.
    random_id()?;
    let mut secrets = secrets(root)?;
    let mut plans = vec![];
    for (path, bytes) in &folder.files {
        let said = || format!("sealing {}{path}", esp::NAME);
        let text = std::str::from_utf8(bytes).with_context(said)?;
        let sealed = seal::seal(text, || random_id().unwrap_or_default())
            .map_err(anyhow::Error::msg)
            .with_context(said)?;
        plans.push((path, text, sealed));
    }
    let count: usize = plans.iter().map(|(.., sealed)| sealed.secrets.len()).sum();
    if count == 0 {
        return Ok(vec!["there are no secrets on the ESP; nothing was changed".to_owned()]);
    }
    for (.., sealed) in &plans {
        secrets.extend(sealed.secrets.clone());
    }
    keep(root, &secrets)?;
    let mut lines = vec![];
    for (path, text, sealed) in plans.iter().filter(|(.., sealed)| !sealed.secrets.is_empty()) {
        rewrite(&at.join(path), sealed.text.as_bytes()).with_context(|| format!("sealing {}{path}", esp::NAME))?;
        let read = file::read_text(at.join(path), text.len() + (1 << 20))?;
        if read != sealed.text {
            bail!(
                "sealing {}{path}: what was written reads back differently; is the disk broken?",
                esp::NAME
            );
        }
        lines.push(format!(
            "{}{path}: {} secrets are on data only now",
            esp::NAME,
            sealed.secrets.len()
        ));
    }
    // What no file names any more is forgotten.
    let named: Vec<&str> = plans.iter().flat_map(|(.., sealed)| seal::markers(&sealed.text)).collect();
    secrets.retain(|id, _| named.contains(&id.as_str()));
    keep(root, &secrets)?;
    Ok(lines)
}

fn secrets(root: &Root) -> Result<Secrets> {
    let at = root.at(SECRETS);
    if !at.exists() {
        return Ok(Secrets::new());
    }
    let text = file::read_text(&at, 16 << 20)?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", at.display()))
}

fn keep(root: &Root, secrets: &Secrets) -> Result<()> {
    root.dir(crate::media::COPIES, 0o700)?;
    let text = serde_json::to_string(secrets).context("writing the sealed secrets")?;
    root.write(SECRETS, &text, 0o600)
}

/// The ESP's sources with their secrets put back; and what is to be said of those that are not there.
pub fn opened(root: &Root, sources: Vec<Source>) -> (Vec<Source>, Vec<String>) {
    let is_sealed = |s: &Source| std::str::from_utf8(&s.bytes).is_ok_and(|text| !seal::markers(text).is_empty());
    if !sources.iter().any(is_sealed) {
        return (sources, vec![]);
    }
    let mut unknown = vec![];
    let secrets = secrets(root).unwrap_or_else(|why| {
        unknown.push(crate::said::said(&why));
        Secrets::new()
    });
    let open = |source: Source| {
        let Ok(text) = std::str::from_utf8(&source.bytes) else {
            return source;
        };
        let (text, lines) = seal::unseal(text, &secrets);
        unknown.extend(lines.iter().map(|line| {
            format!(
                "{}:{line}: this secret was sealed by another machine, or its data is gone; it counts as not given: write it again",
                source.name
            )
        }));
        Source {
            bytes: text.into_bytes(),
            ..source
        }
    };
    (sources.into_iter().map(open).collect(), unknown)
}

fn random_id() -> Result<String> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("reading random bytes")?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".sealed");
    path.with_file_name(name)
}

/// Puts `bytes` in the place of a file: written beside it, flushed, and the two names exchanged, so that there is always a whole file.
/// Then the old bytes are overwritten, as far as the disk does that in place, and removed.
fn rewrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&new)
        .context("writing beside it")?;
    file.write_all(bytes).and_then(|()| file.sync_all()).context("writing beside it")?;
    drop(file);
    renameat_with(CWD, &new, CWD, path, RenameFlags::EXCHANGE).context("exchanging the old file and the new one")?;
    if let Some(dir) = path.parent() {
        file::flush_dir(dir)?;
    }
    blank(&new)
}

/// Overwrites a file where it lies, and removes it.
fn blank(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path).context("blanking the old file")?;
    let length = file.metadata().context("blanking the old file")?.len();
    std::io::copy(&mut std::io::repeat(b'\n').take(length), &mut file)
        .and_then(|_| file.sync_all())
        .and_then(|()| std::fs::remove_file(path))
        .context("blanking the old file")?;
    if let Some(dir) = path.parent() {
        file::flush_dir(dir)?;
    }
    Ok(())
}

/// What a cut left: an old file that still holds its secrets, or a new one that did not count yet.
fn clean(at: &Path) -> Result<()> {
    for dir in ["", "config.d", "config.d/by-mac", "config.d/by-serial", "config.d/by-uuid"] {
        let Ok(entries) = std::fs::read_dir(at.join(dir)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(of) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".sealed")) else {
                continue;
            };
            // FAT exchanges two names by two writes. Cut between them, both lead to the same bytes, which must not be blanked.
            let path = entry.path().with_file_name(of);
            if std::fs::read(&path).is_ok_and(|bytes| std::fs::read(entry.path()).is_ok_and(|same| same == bytes)) {
                bail!(
                    "sealing {}/{of}: after a power cut it and {name} may be one file / try: copy {of} elsewhere, remove both, and copy it back",
                    esp::NAME
                );
            }
            blank(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;
    use skerry_config::load;

    const TEXT: &str = "hostname: edge\nskerry:\n  token: hush-hush-hush # mine\n  password: a long one\n";

    fn sources(root: &Root) -> (Vec<Source>, Vec<String>) {
        let folder = Folder::read(&root.at("/esp"), Place::Esp);
        opened(root, folder.sources(Place::Esp, &Identity::default(), esp::NAME))
    }

    #[test]
    fn secrets_go_to_data_and_come_back() {
        use std::os::unix::fs::PermissionsExt;
        let root = scratch("seal");
        root.write("/esp/config.yaml", TEXT, 0o600).unwrap();
        root.write("/esp/config.d/10", "skerry: {wifi: [{name: n, passphrase: it is me}]}\n", 0o600)
            .unwrap();
        root.write(
            "/esp/config.d/by-mac/525400000001.yaml",
            "skerry: {token: of another machine}\n",
            0o600,
        )
        .unwrap();
        root.write("/esp/.config.yaml.sealed", "left by a cut: hush-hush-hush", 0o600)
            .unwrap();
        let before = load(&sources(&root).0).config;
        let seal = || perform(&root, &root.at("/esp"), &Identity::default()).unwrap();
        assert_eq!(
            seal(),
            [
                "esp:/config.yaml: 2 secrets are on data only now",
                "esp:/config.d/10: 1 secrets are on data only now"
            ]
        );
        let text = root.text("/esp/config.yaml").unwrap();
        assert!(
            !text.contains("hush") && !text.contains("long one") && text.contains("# mine"),
            "{text}"
        );
        assert!(
            root.text("/esp/config.d/by-mac/525400000001.yaml")
                .unwrap()
                .contains("of another machine")
        );
        assert!(!root.at("/esp/.config.yaml.sealed").exists());
        let mode = std::fs::metadata(root.at(SECRETS)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let (found, unknown) = sources(&root);
        assert_eq!((load(&found).config, unknown), (before, vec![]));
        assert_eq!(seal(), ["there are no secrets on the ESP; nothing was changed"]);
        // A new secret over a marker counts, and the old one is forgotten.
        let line = text.lines().find(|l| l.contains("token")).unwrap();
        root.write("/esp/config.yaml", &text.replace(line, "  token: another-secret"), 0o600)
            .unwrap();
        seal();
        let kept = root.text(SECRETS).unwrap();
        assert!(
            kept.contains("another-secret") && !kept.contains("hush") && kept.contains("it is me"),
            "{kept}"
        );
    }

    /// What a power cut leaves at each step: the same configuration, and a second run that finishes it.
    #[test]
    fn cut_anywhere_the_configuration_stays_and_is_sealed_again() {
        let other = "skerry: {wifi: [{name: n, passphrase: it is me}]}\n";
        let whole = scratch("seal-whole");
        for (path, text) in [("/esp/config.yaml", TEXT), ("/esp/config.d/10", other)] {
            whole.write(path, text, 0o600).unwrap();
        }
        let before = load(&sources(&whole).0).config;
        perform(&whole, &whole.at("/esp"), &Identity::default()).unwrap();
        let sealed = |path: &str| whole.text(path).unwrap();
        let (main, drop_in, secrets) = (sealed("/esp/config.yaml"), sealed("/esp/config.d/10"), sealed(SECRETS));
        let beside = ["/esp/.config.yaml.sealed", "/esp/config.d/.10.sealed"];
        let half = &main[..main.len() / 2];
        // The ESP's two files, and what lies beside each.
        for (step, files) in [
            ("the secrets are kept", [TEXT, other, "", ""]),
            ("half of the new text is beside the old", [TEXT, other, half, ""]),
            ("all of it is", [TEXT, other, &main, ""]),
            ("they have changed places", [&main, other, TEXT, ""]),
            ("the old one is blanked", [&main, other, "\n\n\n", ""]),
            ("the second one begins", [&main, other, "", &drop_in]),
            ("it has changed places too", [&main, &drop_in, "", other]),
        ] {
            let root = scratch("seal-cut");
            root.write(SECRETS, &secrets, 0o600).unwrap();
            let paths = ["/esp/config.yaml", "/esp/config.d/10", beside[0], beside[1]];
            for (path, text) in paths.iter().zip(files).filter(|(_, text)| !text.is_empty()) {
                root.write(path, text, 0o600).unwrap();
            }
            for _ in 0..2 {
                let (found, unknown) = sources(&root);
                assert_eq!((&load(&found).config, unknown), (&before, vec![]), "{step}");
                perform(&root, &root.at("/esp"), &Identity::default()).unwrap();
            }
            let left = ["/esp", "/esp/config.d"].map(|dir| std::fs::read_dir(root.at(dir)).unwrap().count());
            assert_eq!(left, [2, 1], "{step}");
            assert!(!root.text("/esp/config.yaml").unwrap().contains("hush"), "{step}");
        }
    }

    #[test]
    fn what_may_be_one_file_is_not_blanked() {
        let root = scratch("seal-one");
        for path in ["/esp/config.yaml", "/esp/.config.yaml.sealed"] {
            root.write(path, TEXT, 0o600).unwrap();
        }
        let why = perform(&root, &root.at("/esp"), &Identity::default()).unwrap_err();
        assert!(format!("{why:#}").contains("may be one file"), "{why:#}");
        assert_eq!(root.text("/esp/config.yaml").unwrap(), TEXT);
    }

    #[test]
    fn a_secret_that_is_gone_is_named_and_is_no_password() {
        let root = scratch("seal-gone");
        root.write("/esp/config.yaml", TEXT, 0o600).unwrap();
        perform(&root, &root.at("/esp"), &Identity::default()).unwrap();
        std::fs::remove_file(root.at(SECRETS)).unwrap();
        let (found, unknown) = sources(&root);
        assert_eq!(unknown.len(), 2);
        assert!(
            unknown[0].starts_with("esp:/config.yaml:3: this secret was sealed by another machine"),
            "{unknown:?}"
        );
        let config = load(&found).config;
        assert_eq!((config.skerry.token, config.hostname.as_deref()), (None, Some("edge")));
    }

    #[test]
    fn nothing_is_changed_when_one_file_cannot_be_sealed() {
        let root = scratch("seal-refused");
        root.write("/esp/config.yaml", TEXT, 0o600).unwrap();
        root.write("/esp/config.d/10", "skerry:\n  token: &t hush-hush-hush\n  password: *t\n", 0o600)
            .unwrap();
        let why = perform(&root, &root.at("/esp"), &Identity::default()).unwrap_err();
        assert!(format!("{why:#}").contains("esp:/config.d/10"), "{why:#}");
        assert_eq!(root.text("/esp/config.yaml").unwrap(), TEXT);
        assert!(!root.at(SECRETS).exists());
    }
}
