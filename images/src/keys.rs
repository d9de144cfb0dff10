//! Who signs a release: a key pair in minisign's format, and whose releases a made system will take.
//!
//! A developer's pair is made once, in the cache, without a password: whoever can read that folder can make releases for the machines
//! that were installed from them. Its public half goes into the initramfs, not into the root, so that two builders of the same sources
//! get the same root hash.

use crate::cache::Cache;
use crate::run::say;
use anyhow::{Context, Result, anyhow, ensure};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use skerry_sys::file::{make_dir, replace};
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The name of the developer's key: `keys/developer.pub` in the initramfs.
pub const DEVELOPER: &str = "developer";
/// No file with a key is longer, in bytes.
const LONGEST: u64 = 4096;

/// A public key, as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// The file's name, without `.pub`.
    pub name: String,
    /// Two lines.
    pub text: String,
}

/// Who signs.
pub struct Maker {
    secret: SecretKey,
    public: PublicKey,
    text: String,
}

impl Maker {
    /// The developer's key pair; made if there is none.
    pub fn developer(cache: &Cache) -> Result<Self> {
        Self::in_folder(&cache.folder("keys")?)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        make_dir(folder, 0o700)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(|| format!("closing {}", folder.display()))?;
        let path = folder.join(format!("{DEVELOPER}.key"));
        if !path.exists() {
            say(&format!("making a key pair that signs releases: {}", path.display()));
            let KeyPair { sk, .. } = KeyPair::generate_unencrypted_keypair().map_err(broken("making a key pair"))?;
            let text = sk
                .to_box(Some("secret key of a developer of Skerry"))
                .map_err(broken("making a key pair"))?;
            replace(&path, text.into_string().as_bytes(), 0o600)?;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let secret = SecretKeyBox::from_string(&text)
            .and_then(SecretKeyBox::into_unencrypted_secret_key)
            .map_err(broken("reading the secret key"))
            .with_context(|| format!("reading {} / try: remove it, and a new one is made", path.display()))?;
        let public = PublicKey::from_secret_key(&secret).map_err(broken("making the public key"))?;
        let text = public.to_box().map_err(broken("making the public key"))?.into_string();
        let beside = folder.join(format!("{DEVELOPER}.pub"));
        if fs::read_to_string(&beside).ok().as_deref() != Some(&text) {
            replace(&beside, text.as_bytes(), 0o644)?;
        }
        Ok(Self { secret, public, text })
    }

    /// The public half.
    pub fn public(&self) -> Public {
        Public {
            name: DEVELOPER.to_owned(),
            text: self.text.clone(),
        }
    }

    /// `manifest.json.minisig`.
    pub fn sign(&self, manifest: &str, version: &str) -> Result<String> {
        let trusted = format!("Skerry {version} manifest.json");
        let comment = "signature of a release of Skerry";
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            Cursor::new(manifest),
            Some(&trusted),
            Some(comment),
        );
        Ok(signed.map_err(broken("signing the manifest"))?.into_string())
    }
}

/// Further keys: files that minisign wrote (`minisign -G`), named as their files are.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Public>> {
    paths
        .iter()
        .map(|path| {
            let name = path
                .file_stem()
                .context("naming a key: its path ends in no name")?
                .to_string_lossy()
                .into_owned();
            ensure!(
                name != DEVELOPER && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
                "naming the key {name:?}: letters, digits, - _ . are allowed, and {DEVELOPER} is taken"
            );
            let bytes = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
            ensure!(bytes <= LONGEST, "reading {}: it is too long for a public key", path.display());
            let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            ensure!(
                skerry_upgrade::signature::Key::parse(&name, text.as_bytes()).is_some(),
                "reading {}: it is no public key of minisign",
                path.display()
            );
            Ok(Public { name, text })
        })
        .collect()
}

fn broken(doing: &'static str) -> impl Fn(minisign::PError) -> anyhow::Error {
    move |why| anyhow!("{doing}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_upgrade::signature::{Key, check};

    #[test]
    fn a_pair_is_made_once_and_what_it_signs_is_believed() {
        let folder = std::env::temp_dir().join(format!("skerry-maker-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let first = Maker::in_folder(&folder).unwrap();
        let again = Maker::in_folder(&folder).unwrap();
        assert_eq!(first.text, again.text);
        assert_eq!(
            fs::metadata(folder.join("developer.key")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_to_string(folder.join("developer.pub")).unwrap(), first.text);
        let signature = again.sign("{}\n", "1.2.3").unwrap();
        assert!(signature.contains("\ntrusted comment: Skerry 1.2.3 manifest.json\n"), "{signature}");
        let key = Key::parse("developer", first.text.as_bytes()).unwrap();
        assert_eq!(check(b"{}\n", signature.as_bytes(), &[key]), Ok("developer".to_owned()));

        let further = folder.join("shop.pub");
        fs::copy(folder.join("developer.pub"), &further).unwrap();
        assert_eq!(read(&[further]).unwrap()[0].name, "shop");
        let said = read(&[folder.join("developer.key")]).unwrap_err().to_string();
        assert!(said.contains("developer is taken"), "{said}");
        fs::rename(folder.join("developer.key"), folder.join("wrong.pub")).unwrap();
        assert!(read(&[folder.join("wrong.pub")]).unwrap_err().to_string().contains("no public key"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
