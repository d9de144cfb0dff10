//! Labels as other people's programs write them: mkfs.vfat, mtools, genisoimage, xorriso, mke2fs.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use skerry_sys::volume::{Kind, Volume, on};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program of this computer, or of the Debian root in `SKERRY_TOOLS`. Without it the test fails: a judge that is not there has
/// not agreed.
fn run(name: &str, arguments: &[&str]) {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let here = folders.iter().map(|f| f.join(name)).find(|p| p.is_file());
    let root = PathBuf::from(std::env::var_os("SKERRY_TOOLS").unwrap_or_default());
    let mut there = ["usr/sbin", "usr/bin"].map(|d| root.join(d).join(name)).into_iter();
    let mut command = match (here, there.find(|p| p.is_file())) {
        (Some(program), _) => Command::new(program),
        (None, Some(program)) => {
            let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
            command
                .arg("--library-path")
                .arg(root.join("usr/lib/x86_64-linux-gnu"))
                .arg(program);
            command
        }
        _ => panic!("there is no {name}: install Debian's dosfstools, mtools, e2fsprogs, genisoimage and xorriso, or set SKERRY_TOOLS"),
    };
    let out = command.args(arguments).output().unwrap();
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A folder that is gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skerry-volume-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn image(&self, name: &str, bytes: u64) -> String {
        let path = self.0.join(name);
        File::create(&path).unwrap().set_len(bytes).unwrap();
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is(image: &str, kind: Kind, label: &str) {
    let label = label.to_owned();
    assert_eq!(on(Path::new(image)).unwrap(), Some(Volume { kind, label }), "{image}");
}

#[test]
fn fat_of_every_width() {
    let scratch = Scratch::new("fat");
    for (bits, mebibytes) in [("12", 2), ("16", 20), ("32", 40)] {
        let image = scratch.image(bits, mebibytes << 20);
        run("mkfs.vfat", &["-F", bits, "-n", "SKERRYCFG", &image]);
        is(&image, Kind::Fat, "SKERRYCFG");
        // The label was changed later: the root directory has the new one.
        run("mlabel", &["-i", &image, "::CIDATA"]);
        is(&image, Kind::Fat, "CIDATA");
    }
    let plain = scratch.image("plain", 20 << 20);
    run("mkfs.vfat", &[&plain]);
    assert_eq!(on(Path::new(&plain)).unwrap(), None);
}

#[test]
fn iso_and_ext() {
    let scratch = Scratch::new("iso");
    let user_data = scratch.0.join("user-data").display().to_string();
    File::create(&user_data).unwrap();
    // As cloud-localds does it.
    let iso = scratch.0.join("seed.iso").display().to_string();
    run(
        "genisoimage",
        &["-output", &iso, "-volid", "cidata", "-joliet", "-rock", &user_data],
    );
    is(&iso, Kind::Iso, "cidata");
    let other = scratch.0.join("other.iso").display().to_string();
    run("xorriso", &["-as", "mkisofs", "-V", "CIDATA", "-r", "-o", &other, &user_data]);
    is(&other, Kind::Iso, "CIDATA");
    let ext = scratch.image("ext", 8 << 20);
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-L", "SKERRYCFG", &ext]);
    is(&ext, Kind::Ext, "SKERRYCFG");
}

#[test]
fn what_is_cut_short_holds_nothing() {
    let scratch = Scratch::new("short");
    let image = scratch.image("fat", 20 << 20);
    run("mkfs.vfat", &["-n", "SKERRYCFG", &image]);
    for length in [0, 1, 511, 512, 1500, 40_000] {
        File::options().write(true).open(&image).unwrap().set_len(length).unwrap();
        // The boot sector has the label too.
        let found = on(Path::new(&image)).unwrap();
        assert_eq!(found.is_some(), length >= 512, "{length}");
        File::options().write(true).open(&image).unwrap().set_len(20 << 20).unwrap();
        run("mkfs.vfat", &["-n", "SKERRYCFG", &image]);
    }
}
