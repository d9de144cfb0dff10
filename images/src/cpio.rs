//! The initramfs' format: newc cpio, written in the order given, with fixed times and owners.

/// What an entry is.
pub enum Entry<'a> {
    /// A folder (0755).
    Folder,
    /// A file and its mode.
    File(u32, &'a [u8]),
    /// A symbolic link.
    Link(&'a str),
    /// A character device: mode, major, minor.
    Device(u32, u32, u32),
}

/// An archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry; parents come first, names have no leading slash.
    pub fn add(&mut self, name: &str, entry: &Entry<'_>) {
        let (mode, body, device): (u32, &[u8], (u32, u32)) = match entry {
            Entry::Folder => (0o040_755, &[], (0, 0)),
            Entry::File(mode, body) => (0o100_000 | mode, body, (0, 0)),
            Entry::Link(target) => (0o120_777, target.as_bytes(), (0, 0)),
            Entry::Device(mode, major, minor) => (0o020_000 | mode, &[], (*major, *minor)),
        };
        self.entries += 1;
        self.record(self.entries, name, mode, body, device);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.record(0, "TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn record(&mut self, inode: u32, name: &str, mode: u32, body: &[u8], device: (u32, u32)) {
        let size = u32::try_from(body.len()).expect("an initramfs file is smaller than 4 GiB");
        let length = u32::try_from(name.len() + 1).expect("a name is short");
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(body);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut archive = Archive::default();
        archive.add("dev", &Entry::Folder);
        archive.add("dev/console", &Entry::Device(0o600, 5, 1));
        archive.add("init", &Entry::File(0o755, b"abc"));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.starts_with("070701000000010000 41ED".replace(' ', "").as_str()),
            "{}",
            &text[..30]
        );
        assert!(text.contains("0000000500000001"), "major and minor of the console");
        let at = text.find("init\0").unwrap();
        assert_eq!((at + 5).next_multiple_of(4), text.find("abc\0").unwrap());
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
