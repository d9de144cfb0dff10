//! Tar archives as we write them: POSIX ustar, fixed times, owner root, short names.

use anyhow::{Result, ensure};
use std::fmt::Write as _;

/// An archive being written.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    /// Adds a folder (0755).
    pub fn folder(&mut self, name: &str) -> Result<()> {
        self.record(&format!("{name}/"), 0o755, b'5', "", &[])
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, mode: u32, body: &[u8]) -> Result<()> {
        self.record(name, mode, b'0', "", body)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.record(name, 0o777, b'2', target, &[])
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    fn record(&mut self, name: &str, mode: u32, kind: u8, target: &str, body: &[u8]) -> Result<()> {
        ensure!(
            name.len() < 100 && target.len() < 100,
            "adding {name} to a tar archive: the name is longer than 99 bytes"
        );
        let mut header = name.as_bytes().to_vec();
        header.resize(100, 0);
        let mut numbers = String::new();
        let _ = write!(numbers, "{mode:07o}\0{:07o}\0{:07o}\0{:011o}\0{:011o}\0", 0, 0, body.len(), 0);
        header.extend_from_slice(numbers.as_bytes());
        header.extend_from_slice(b"        "); // the checksum counts itself as spaces
        header.push(kind);
        header.extend_from_slice(target.as_bytes());
        header.resize(257, 0);
        header.extend_from_slice(b"ustar\x0000");
        header.resize(512, 0);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
        self.0.append(&mut header);
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_reads_what_we_write() {
        let mut archive = Archive::default();
        archive.folder("bin").unwrap();
        archive.file("bin/pause", 0o755, b"program").unwrap();
        archive.link("sh", "bin/pause").unwrap();
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 512, 0);
        let mut tar = Command::new("tar")
            .args(["tv", "--numeric-owner", "--utc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        let listed = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<String> = listed
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/",
                "-rwxr-xr-x 0/0 7 1970-01-01 00:00 bin/pause",
                "lrwxrwxrwx 0/0 0 1970-01-01 00:00 sh -> bin/pause"
            ]
        );
    }

    #[test]
    fn a_long_name_is_refused() {
        assert!(Archive::default().file(&"x".repeat(100), 0o644, b"").is_err());
    }
}
