//! Bad releases, more than a thousand of them: each is refused before anything is written, by the check that is meant for it.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use semver::Version;
use skerry_installer::content::Digest;
use skerry_installer::layout::{Arch, Place};
use skerry_upgrade::manifest;
use skerry_upgrade::trust::{Checked, Facts, Refused, Told, check};
use std::fs;
use std::path::Path;
use support::{Maker, Parts, Scratch, noise, parts, write};

const ROOT: usize = 200 * 4096;
const KERNEL: usize = 40_000;

fn facts() -> Facts {
    let place = |bytes| Place { at: 0, bytes };
    Facts {
        arch: Arch::Amd64,
        running: Some(Version::new(0, 2, 0)),
        slot: Some([place(2 << 20), place(1 << 20)]),
        failed: vec![],
    }
}

struct Bench {
    scratch: Scratch,
    maker: Maker,
    good: Parts,
}

impl Bench {
    fn new(name: &str) -> Self {
        let bench = Self {
            scratch: Scratch::new(name),
            maker: Maker::new(),
            good: parts(1, "0.2.1", ROOT, KERNEL),
        };
        bench.good.write(bench.folder(), &bench.maker);
        bench
    }

    fn folder(&self) -> &Path {
        &self.scratch.0
    }

    fn check(&self, told: Told) -> Result<Checked, Refused> {
        self.check_by(&facts(), told)
    }

    fn check_by(&self, facts: &Facts, told: Told) -> Result<Checked, Refused> {
        check(self.folder(), &[self.maker.key("ours")], facts, told, &mut |_, _| {})
    }

    /// What is said of the folder after one file in it was changed; the file is put back.
    fn said_of(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let path = self.folder().join(name);
        let before = fs::read(&path).unwrap();
        write(&path, bytes);
        let said = self.check(Told::default()).err().map(|why| why.to_string());
        write(&path, &before);
        said
    }

    /// As if its maker had made it so.
    fn said_of_made(&self, change: impl FnOnce(&mut Parts)) -> String {
        let mut parts = self.good.clone();
        change(&mut parts);
        let folder = self.folder().join("made");
        let _ = fs::remove_dir_all(&folder);
        parts.write(&folder, &self.maker);
        match check(
            &folder,
            &[self.maker.key("ours")],
            &facts(),
            Told {
                whole_tree: true,
                ..Told::default()
            },
            &mut |_, _| {},
        ) {
            Ok(_) => String::new(),
            Err(why) => why.to_string(),
        }
    }
}

#[test]
fn a_good_release_is_taken_and_every_byte_of_it_was_read() {
    let bench = Bench::new("good");
    for whole_tree in [false, true] {
        let (mut last, mut total) = (0, 0);
        let told = Told {
            whole_tree,
            ..Told::default()
        };
        let checked = check(bench.folder(), &[bench.maker.key("ours")], &facts(), told, &mut |done, of| {
            assert!(done >= last && done <= of);
            (last, total) = (done, of);
        })
        .unwrap();
        let parts: usize = bench.good.files.values().map(Vec::len).sum();
        assert_eq!((last, total), ((parts + if whole_tree { ROOT } else { 0 }) as u64, last));
        assert_eq!((checked.signed_by.as_deref(), checked.release.boot.len()), (Some("ours"), 4));
        assert_eq!(checked.release.boot["mbr.img"], bench.good.files["boot/mbr.img"]);
    }
    write(
        &bench.folder().join("lock.json"),
        b"what the manifest does not name is not looked at",
    );
    assert!(bench.check(Told::default()).is_ok());
}

#[test]
fn a_thousand_bad_releases_are_refused() {
    let bench = Bench::new("mutations");
    let mut count = 0;
    let mut refuse = |name: &str, bytes: &[u8], why: &[&str]| {
        let said = bench
            .said_of(name, bytes)
            .unwrap_or_else(|| panic!("{name} with {} bytes was taken", bytes.len()));
        assert!(why.iter().any(|w| said.contains(w)), "{name}: {said}");
        count += 1;
    };
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let manifest = bench.good.manifest().into_bytes();
    for bit in (0..manifest.len() * 8).step_by(19) {
        refuse(
            manifest::NAME,
            &flipped(&manifest, bit),
            &["the manifest is not what ours has signed"],
        );
    }
    for length in (0..manifest.len()).step_by(23) {
        refuse(manifest::NAME, &manifest[..length], &["the manifest is not what ours has signed"]);
    }
    refuse(
        manifest::NAME,
        &[manifest.clone(), vec![b' '; 1 << 20]].concat(),
        &["larger than 65536 bytes"],
    );
    let signature = fs::read(bench.folder().join(manifest::SIGNATURE)).unwrap();
    // The first line is nobody's word.
    let counts = signature.iter().position(|b| *b == b'\n').unwrap() + 1;
    for bit in (counts * 8..(signature.len() - 1) * 8).step_by(5) {
        refuse(manifest::SIGNATURE, &flipped(&signature, bit), &["checking the signature"]);
    }
    for length in (0..signature.len() - 1).step_by(11) {
        refuse(manifest::SIGNATURE, &signature[..length], &["checking the signature"]);
    }
    refuse(manifest::SIGNATURE, &vec![b'u'; 1 << 20], &["larger than 4096 bytes"]);
    for (name, bytes) in &bench.good.files {
        let step = (bytes.len() * 8 / 70).max(1) | 1;
        for bit in (0..bytes.len() * 8).step_by(step) {
            refuse(name, &flipped(bytes, bit), &["its SHA-256 is not the manifest's", "hash tree"]);
        }
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1].into_iter().filter(|l| *l < bytes.len()) {
            refuse(name, &bytes[..length], &["checking the length"]);
        }
        refuse(name, &[bytes.clone(), vec![0]].concat(), &["checking the length"]);
        refuse(name, &[bytes.clone(), noise(5, 4 << 20)].concat(), &["checking the length"]);
        for (other, theirs) in bench.good.files.iter().filter(|(other, _)| *other != name) {
            refuse(name, theirs, &["checking the length", other]);
        }
    }
    eprintln!("{count} bad releases");
    assert!(count >= 1000, "{count}");
    assert!(bench.check(Told::default()).is_ok(), "and the good one is as it was");
}

/// A maker's own mistakes, signed as they are.
#[test]
fn what_is_signed_must_make_sense_too() {
    let bench = Bench::new("made");
    let hash_offset = ROOT;
    let said = |change: &dyn Fn(&mut Parts)| bench.said_of_made(change);
    assert_eq!(said(&|_| {}), "");
    for (field, value, why) in [
        ("arch", "arm64", "it names no boot/BOOTAA64.EFI"),
        ("version", "0.1.9", "checking the version: 0.1.9 is older than 0.2.0"),
        ("version", "0.2.0-rc.1", "checking the version: 0.2.0-rc.1 is older than 0.2.0"),
        (
            "from",
            "0.2.1",
            "checking the version: 0.2.1 can be reached from 0.2.1 on, and 0.2.0 runs",
        ),
        ("roothash", &"00".repeat(32), "the root hash is wrong: expected 0000"),
    ] {
        let found = said(&|p| p.says[field] = value.into());
        assert!(found.contains(why), "{field} {value}: {found}");
    }
    let arm = said(&|p| {
        p.says["arch"] = "arm64".into();
        p.files.insert("boot/BOOTAA64.EFI".into(), vec![1]);
    });
    assert!(arm.contains("the release is for arm64, and this machine is amd64"), "{arm}");
    let large = said(&|p| _ = p.files.insert("vmlinuz".into(), noise(3, 2 << 20)));
    assert!(large.contains("boot-a has 2 MiB, and the release needs 4 MiB"), "{large}");
    let large = said(&|p| {
        let (image, hash) = support::with_tree(&noise(3, 2 << 20));
        p.files.insert("root.img".into(), image);
        p.says["roothash"] = hash.to_string().into();
        p.says["hashoff"] = (2 << 20).into();
    });
    assert!(large.contains("root-a has 1 MiB, and the release needs 3 MiB"), "{large}");
    for (what, at, why) in [
        ("data", 5 * 4096, "the block at byte 20480 is not"),
        ("superblock", hash_offset, "there is no verity superblock"),
        ("number of blocks", hash_offset + 72, "the tree's numbers do not agree"),
        ("salt", hash_offset + 90, "the root hash is wrong"),
        ("top", hash_offset + 4096, "the root hash is wrong"),
        ("leaf", hash_offset + 2 * 4096 + 17, "is not what the hash tree says"),
    ] {
        let found = said(&|p| p.files.get_mut("root.img").unwrap()[at] ^= 4);
        assert!(found.contains(why), "{what}: {found}");
    }
    let longer = said(&|p| p.files.get_mut("root.img").unwrap().extend([0; 4096]));
    assert!(longer.contains("the tree ends at byte"), "{longer}");
}

#[test]
fn what_may_be_told_and_what_may_not() {
    let bench = Bench::new("told");
    let told = |unsigned, downgrade, again| Told {
        unsigned,
        downgrade,
        again,
        whole_tree: false,
    };
    let newer = Facts {
        running: Some(Version::new(0, 3, 0)),
        ..facts()
    };
    assert!(matches!(bench.check_by(&newer, Told::default()), Err(Refused::Downgrade { .. })));
    assert!(bench.check_by(&newer, told(false, true, false)).is_ok());
    let same = Facts {
        running: Version::parse("0.2.1+yours").ok(),
        ..facts()
    };
    assert!(bench.check_by(&same, Told::default()).is_ok(), "the same version, built elsewhere");
    let hash = bench.good.says["roothash"].as_str().and_then(Digest::parse).unwrap();
    let failed = Facts {
        failed: vec![hash],
        ..facts()
    };
    assert!(matches!(bench.check_by(&failed, Told::default()), Err(Refused::FailedBefore(_))));
    assert!(bench.check_by(&failed, told(false, false, true)).is_ok());
    assert!(
        bench
            .check_by(
                &Facts {
                    running: None,
                    slot: None,
                    ..facts()
                },
                Told::default()
            )
            .is_ok()
    );

    let stranger = Maker::new();
    let by = |keys: &[_], told: Told| check(bench.folder(), keys, &facts(), told, &mut |_, _| {});
    let said = by(&[stranger.key("theirs")], Told::default()).unwrap_err().to_string();
    assert!(
        said.contains("does not know (it knows: theirs)") && said.contains("--unsigned"),
        "{said}"
    );
    assert!(by(&[], Told::default()).is_err());
    for keys in [vec![], vec![stranger.key("theirs")]] {
        assert_eq!(by(&keys, told(true, false, false)).unwrap().signed_by, None);
    }
    // A signature by a key that is known says something even to one who did not ask.
    write(
        &bench.folder().join(manifest::NAME),
        bench.good.manifest().replace("6.12", "6.13").as_bytes(),
    );
    assert!(bench.check(told(true, true, true)).is_err());
    bench.good.write(bench.folder(), &bench.maker);
    fs::remove_file(bench.folder().join(manifest::SIGNATURE)).unwrap();
    let said = bench.check(Told::default()).unwrap_err().to_string();
    assert!(
        said.contains("there is no manifest.json.minisig in ") && said.contains("try: --unsigned"),
        "{said}"
    );
    assert_eq!(bench.check(told(true, false, false)).unwrap().signed_by, None);
    fs::remove_file(bench.folder().join("vmlinuz")).unwrap();
    fs::create_dir(bench.folder().join("vmlinuz")).unwrap();
    assert!(
        bench
            .check(told(true, false, false))
            .unwrap_err()
            .to_string()
            .contains("vmlinuz: it is no file")
    );
    fs::remove_dir(bench.folder().join("vmlinuz")).unwrap();
    assert!(
        bench
            .check(told(true, false, false))
            .unwrap_err()
            .to_string()
            .contains("vmlinuz: No such file")
    );
}
