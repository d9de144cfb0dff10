//! The version of the state's tree: written once, looked at by every boot.

use std::fmt;

/// What this release writes, and the newest it reads.
pub const CURRENT: u32 = 1;

/// What the tree's `version` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// There is no such file: the tree is new (or was made by hand, with a config in it).
    Fresh,
    /// We can read and write it.
    Known(u32),
    /// We must not touch it.
    Foreign(Foreign),
}

/// Why a tree is not ours to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// A newer release wrote it.
    Newer(u32),
    /// The file does not hold a number.
    Unreadable(String),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(found) => write!(
                f,
                "the data is of format {found}, and this release knows {CURRENT}; nothing is written to it. Boot the newer release again, or reset the data"
            ),
            Self::Unreadable(text) => {
                write!(
                    f,
                    "the data's version file holds {text:?}, not a number; nothing is written to it. If the data is Skerry's, write {CURRENT} into it"
                )
            }
        }
    }
}

/// Reads the content of the version file, if there is one.
pub fn read(content: Option<&[u8]>) -> Tree {
    let Some(content) = content else { return Tree::Fresh };
    let text = String::from_utf8_lossy(content);
    match text.trim().parse::<u32>() {
        Ok(found) if found == 0 || found > CURRENT => Tree::Foreign(Foreign::Newer(found)),
        Ok(found) => Tree::Known(found),
        Err(_) => Tree::Foreign(Foreign::Unreadable(text.trim().chars().take(40).collect())),
    }
}

/// What the version file holds: golden, forever.
pub fn write() -> String {
    format!("{CURRENT}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_it_always_was() {
        assert_eq!(write(), "1\n");
        assert_eq!(read(Some(b"1\n")), Tree::Known(1));
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        assert_eq!(read(None), Tree::Fresh);
        assert_eq!(read(Some(b"2\n")), Tree::Foreign(Foreign::Newer(2)));
        assert_eq!(read(Some(b"0")), Tree::Foreign(Foreign::Newer(0)));
        for bytes in [&b""[..], b"one", b"-1", b"99999999999", b"\xff\0"] {
            assert!(matches!(read(Some(bytes)), Tree::Foreign(Foreign::Unreadable(_))), "{bytes:?}");
        }
    }
}
