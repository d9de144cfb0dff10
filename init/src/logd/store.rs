//! A log on disk: one file that is appended to, and the one before it. Not flushed: a log is not worth the wear.

use super::ring::last_lines;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file is put aside at this size; at most two of them are there.
pub const MAX_FILE: u64 = 1 << 20;
/// How much of the end is looked at for the last lines.
const MAX_TAIL: u64 = 512 << 10;

/// An open log file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl Store {
    /// Opens `NAME.log` in a directory, making both.
    pub fn open(dir: &Path, name: &str, max: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("{name}.log"));
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, max })
    }

    /// Appends; puts the file aside first if it would grow too large.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(more) > self.max {
            fs::rename(&self.path, self.aside())?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += more;
        Ok(())
    }

    /// The last lines, from the file put aside too if need be.
    pub fn tail(&self, lines: usize) -> io::Result<Vec<u8>> {
        let mut bytes = end_of(&self.path)?;
        if u64::try_from(bytes.len()).unwrap_or(0) < MAX_TAIL && bytes.split(|b| *b == b'\n').count() <= lines {
            if let Ok(mut before) = end_of(&self.aside()) {
                before.append(&mut bytes);
                bytes = before;
            }
        }
        Ok(last_lines(&bytes, lines).to_vec())
    }

    fn aside(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().append(true).create(true).mode(0o640).open(path)
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_TAIL)))?;
    let mut bytes = vec![];
    file.take(MAX_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_and_no_more() {
        let dir = std::env::temp_dir().join(format!("skerry-store-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let mut s = Store::open(&dir, "a.b", 20).unwrap();
        for n in 0..10 {
            s.write(format!("line {n}\n").as_bytes()).unwrap();
        }
        assert_eq!(s.tail(3).unwrap(), b"line 7\nline 8\nline 9\n");
        assert_eq!(s.tail(100).unwrap(), b"line 6\nline 7\nline 8\nline 9\n");
        let mut again = Store::open(&dir, "a.b", 20).unwrap();
        again.write(b"x\n").unwrap();
        assert_eq!(again.tail(2).unwrap(), b"line 9\nx\n");
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a.b.log", "a.b.log.1"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
