//! Whose releases this machine takes: public keys come with the initramfs and go along to the running system.
//!
//! They lie in the boot image, not in the root, so that the same sources give the same root hash whoever signs.

use skerry_sys::file;
use std::path::Path;

/// In the initramfs.
pub const FROM: &str = "/keys";
/// In the running system: a tmpfs, which moves to the real root.
pub const TO: &str = "/run/skerry/keys";
/// No key is longer, in bytes.
const LONGEST: usize = 4096;
/// No more are taken along.
const MOST: usize = 64;

/// Copies `*.pub`, which everyone may read; a folder that is not there has none. A key that cannot be copied is said, and costs only
/// itself: the machine starts without it.
pub fn bring(from: &Path, to: &Path, say: &mut dyn FnMut(&str)) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    if let Err(why) = file::make_dir(to, 0o755) {
        say(&why.to_string());
        return;
    }
    let is_key = |path: &Path| path.extension().is_some_and(|e| e == "pub");
    for path in entries.flatten().map(|e| e.path()).filter(|p| is_key(p)).take(MOST) {
        let Some(name) = path.file_name() else { continue };
        let copied = file::read_bounded(&path, LONGEST).and_then(|bytes| file::replace(to.join(name), &bytes, 0o644));
        if let Err(why) = copied {
            say(&why.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn keys_go_along_and_nothing_else() {
        let base = std::env::temp_dir().join(format!("skerry-stage1-keys-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let (from, to) = (base.join("keys"), base.join("run/skerry/keys"));
        let mut said = vec![];
        bring(&from, &to, &mut |line| said.push(line.to_owned()));
        assert!(!to.exists(), "no keys, no folder");
        fs::create_dir_all(&from).unwrap();
        for (name, bytes) in [("developer.pub", 100), ("huge.pub", 5000), ("developer.key", 100)] {
            file::replace(from.join(name), &vec![b'k'; bytes], 0o600).unwrap();
        }
        bring(&from, &to, &mut |line| said.push(line.to_owned()));
        let found: Vec<_> = fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(found, ["developer.pub"]);
        assert!(said.len() == 1 && said[0].contains("huge.pub: larger than 4096 bytes"), "{said:?}");
        fs::remove_dir_all(&base).unwrap();
    }
}
