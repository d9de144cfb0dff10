//! The bytes behind a `write_files` entry.

use crate::WriteFile;

/// The most that one entry may decode to.
pub const DECODED_MAX: usize = 8 << 20;

impl WriteFile {
    /// The bytes to write; the error says what is wrong with the content.
    pub fn decoded(&self) -> Result<Vec<u8>, String> {
        Ok(self.content.clone().into_bytes())
    }

    /// The mode to give the file: 0644 where none was asked for.
    pub fn mode(&self) -> u32 {
        u32::from_str_radix(&self.permissions, 8).unwrap_or(0o644)
    }
}
