//! SHA-256 of bytes, files and folders: what the cache's keys and the manifest are made of.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Lower-case hexadecimal of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file's content, in hexadecimal.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// A key that stands for inputs: labels keep `("ab", "c")` apart from `("a", "bc")`.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one labelled input.
    #[must_use]
    pub fn with(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.update(format!("{label}:{}:", value.len()));
        self.0.update(value);
        self
    }

    /// Adds every file below a folder: its relative path, whether it may be executed, and its content.
    pub fn with_folder(mut self, label: &str, folder: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        collect(folder, &mut paths)?;
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            self = self
                .with(label, name)
                .with("content", of_file(&path)?)
                .with("run", [u8::from(is_program(&path)?)]);
        }
        Ok(self)
    }

    /// The first 16 digits: enough for a folder's name.
    pub fn finish(self) -> String {
        hex(&self.0.finalize()).chars().take(16).collect()
    }
}

/// Whether anyone may execute the file.
pub fn is_program(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(metadata.permissions().mode() & 0o111 != 0)
}

fn collect(folder: &Path, into: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_lengths_keep_inputs_apart() {
        let key = |parts: &[(&str, &str)]| {
            parts
                .iter()
                .fold(Key::default(), |key, (label, value)| key.with(label, value))
                .finish()
        };
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("c", "d"), ("a", "b")]));
        assert_eq!(key(&[]).len(), 16);
    }

    #[test]
    fn known_digest() {
        assert_eq!(of(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
