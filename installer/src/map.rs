//! Which bytes of a sparse file were ever written.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// A range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
}

/// What the file system keeps blocks for (`SEEK_DATA`, lseek(2)); the whole file, where it can't tell.
pub fn mapped(file: &File) -> io::Result<Vec<Range>> {
    let end = file.metadata()?.len();
    let mut ranges = vec![];
    let mut at = 0;
    while at < end {
        let from = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => from,
            Err(Errno::NXIO) => break,
            Err(why) => return Err(why.into()),
        };
        let to = seek(file, SeekFrom::Hole(from))?.min(end);
        ranges.push(Range {
            at: from,
            bytes: to - from,
        });
        at = to;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_left_out() {
        let path = std::env::temp_dir().join(format!("skerry-map-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(64 << 20).unwrap();
        assert_eq!(mapped(&file).unwrap(), []);
        file.write_all_at(&vec![0; 65536], 1 << 20).unwrap();
        file.write_all_at(b"x", (64 << 20) - 1).unwrap();
        let found = mapped(&file).unwrap();
        assert_eq!(found[0], Range { at: 1 << 20, bytes: 65536 });
        assert_eq!((found.len(), found[1].at + found[1].bytes), (2, 64 << 20));
    }
}
