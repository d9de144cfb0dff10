//! The root directory that everything is read and written under: `/`, or a test's.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// The most of a small text file that is read.
pub const TEXT: usize = 1 << 20;

/// Where `/` is, and whether what is written there may reach the disk a little later.
#[derive(Debug, Clone)]
pub struct Root(PathBuf, bool);

impl Root {
    /// The machine's own.
    pub fn system() -> Self {
        Self(PathBuf::from("/"), false)
    }

    /// The same, for a helper that writes much: what it writes is whole after a power cut too, but may be lost until somebody flushes.
    /// Only for what the next boot would write again.
    pub fn written_soon(self) -> Self {
        Self(self.0, true)
    }

    /// A directory that stands in for `/`.
    #[cfg(test)]
    pub fn at_dir(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into(), false)
    }

    /// Whether this is the machine itself: only then the kernel is asked for what is no file.
    pub fn is_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a path of the machine lies. Relative ones are under `/`; `..` cannot lead out of a test's directory.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let below = path.as_ref().components().filter(|c| matches!(c, std::path::Component::Normal(_)));
        below.fold(self.0.clone(), |at, part| at.join(part))
    }

    /// The text of a small file; none if it is not there or cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        skerry_sys::file::read_text(self.at(path), TEXT).ok()
    }

    /// As [`Self::text`], without white space around it; none if nothing is left.
    pub fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
    }

    /// Writes a file whole, with its parents (0755) where absent.
    pub fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let at = self.at(path);
        if let Some(parent) = at.parent() {
            skerry_sys::file::make_dir(parent, 0o755)?;
        }
        if self.1 {
            return Ok(skerry_sys::file::replace_soon(at, text.as_bytes(), mode, None)?);
        }
        Ok(skerry_sys::file::replace(at, text.as_bytes(), mode)?)
    }

    /// As [`Self::write`], with an owner, in a directory that is there.
    pub fn write_owned(&self, path: &str, text: &str, mode: u32, uid: u32, gid: u32) -> Result<()> {
        if self.1 {
            return Ok(skerry_sys::file::replace_soon(
                self.at(path),
                text.as_bytes(),
                mode,
                Some((uid, gid)),
            )?);
        }
        Ok(skerry_sys::file::replace_owned(self.at(path), text.as_bytes(), mode, uid, gid)?)
    }

    /// As [`Self::write`], unless the file already holds just that: flash is spared.
    pub fn write_changed(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        if self.text(path).as_deref() == Some(text) {
            return Ok(());
        }
        self.write(path, text, mode)
    }

    /// Makes a directory, and its parents, where absent.
    pub fn dir(&self, path: &str, mode: u32) -> Result<()> {
        Ok(skerry_sys::file::make_dir(self.at(path), mode)?)
    }
}

/// An empty directory for one test.
#[cfg(test)]
pub fn scratch(name: &str) -> Root {
    let dir = std::env::temp_dir().join(format!("skerry-setup-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    Root::at_dir(dir)
}

/// Compares text that people (or PID 1) read with the golden file of that name; `BLESS=1` writes it.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a golden file in the source tree, written on request")]
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let line = text.lines().zip(expected.lines()).position(|(a, b)| a != b).map_or(0, |n| n + 1);
    assert!(text == expected, "{}:{line} differs; BLESS=1 accepts the new text", path.display());
}
