//! `skerry install` and `skerry flash` as a person meets them, onto files; judged by programs that others wrote.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../../installer/tests/support/tools.rs"]
mod tools;

#[path = "../../upgrade/tests/support/mod.rs"]
mod support;

use skerry_installer::device::{Device, Disk, table};
use skerry_installer::layout::Part;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{Maker, Scratch, parts, write};

const CONFIG: &str = "# mine\nhostname: rock\nskerry:\n  token: a-secret-of-sixteen-characters\n";

struct Bench {
    scratch: Scratch,
}

impl Bench {
    /// A signed release in `r`, the key in `keys`.
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("cli-{name}"));
        let maker = Maker::new();
        parts(7, "1.2.3", 1 << 20, 50_000).write(&scratch.0.join("r"), &maker);
        let key = maker.public.to_box().unwrap().into_string();
        write(&scratch.0.join("keys/test.pub"), key.as_bytes());
        write(&scratch.0.join("config.yaml"), CONFIG.as_bytes());
        Self { scratch }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    /// Runs in the bench's folder, which is also the one for temporary files.
    fn skerry(&self, line: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skerry"))
            .args(line.split_whitespace())
            .current_dir(&self.scratch.0)
            .env("TMPDIR", self.at("tmp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
        child.wait_with_output().unwrap()
    }

    fn install(&self, words: &str, input: &str) -> Output {
        fs::create_dir_all(self.at("tmp")).unwrap();
        self.skerry(&format!("install --from r --keys keys {words}"), input)
    }

    /// Nothing with a secret in it stays behind.
    fn is_tidy(&self) -> bool {
        fs::read_dir(self.at("tmp")).unwrap().next().is_none()
    }

    /// A partition as a file.
    fn part(&self, image: &str, part: Part) -> PathBuf {
        let disk = Disk::open_to_read(&self.at(image)).unwrap();
        let found = table(&disk).primary.unwrap();
        let place = found.partition(part.number()).unwrap();
        let out = self.at(&format!("{image}.{part}"));
        // What a file system was made with; the rest of the partition is its growth.
        let length = (place.sectors() * 512).min(256 << 20);
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        disk.read_at(place.first * 512, &mut bytes).unwrap();
        write(&out, &bytes);
        out
    }

    /// What readers of others say of a finished disk.
    fn judge(&self, image: &str) {
        let said = tools::run("sgdisk", &["-v"], &self.at(image));
        assert!(said.contains("No problems found"), "{said}");
        for part in [Part::Esp, Part::Bootstate, Part::BootA] {
            tools::run("fsck.fat", &["-n"], &self.part(image, part));
        }
        tools::run("e2fsck", &["-fn"], &self.part(image, Part::Data));
    }

    fn config_of(&self, image: &str) -> String {
        let data = self.part(image, Part::Data);
        let said = tools::run("debugfs", &["-R", "stat system/config.yaml"], &data);
        assert!(said.contains("Mode:  0600"), "{said}");
        tools::tool("debugfs")
            .args(["-R", "cat system/config.yaml"])
            .arg(&data)
            .output()
            .map(|out| String::from_utf8(out.stdout).unwrap())
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn into_a_file() {
    let bench = Bench::new("file");
    let plan = bench.install("--image x.img --size 2800MB --config config.yaml --plan", "");
    assert!(plan.status.success() && !bench.at("x.img").exists(), "{}", said(&plan));
    assert!(String::from_utf8_lossy(&plan.stdout).contains("make it bootable, by BIOS and by UEFI"));
    let plan = bench.install("--image x.img --size 2800MB --plan --json", "");
    let json: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(json["plan"]["version"], "1.2.3");

    let done = bench.install("--image x.img --size 2800MB --config config.yaml --json", "");
    assert!(done.status.success(), "{}", said(&done));
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["version"], &json["read_back"]), (&"1.2.3".into(), &true.into()));
    assert!(said(&done).contains("is signed by test"), "{}", said(&done));
    assert_eq!(fs::metadata(bench.at("x.img")).unwrap().len(), 2_800_000_000 >> 20 << 20);
    bench.judge("x.img");
    assert_eq!(bench.config_of("x.img"), CONFIG);
    assert!(bench.is_tidy());

    let again = bench.install("--image x.img --size 2800MB", "");
    assert!(
        !again.status.success() && said(&again).contains("it is there already"),
        "{}",
        said(&again)
    );
}

#[test]
fn what_is_wrong_is_found_before_anything_is_written() {
    let bench = Bench::new("wrong");
    let refused = |words: &str, status: i32, why: &str| {
        let out = bench.install(&format!("--image x.img {words}"), "");
        let said = said(&out);
        assert_eq!(out.status.code(), Some(status), "{words}: {said}");
        assert!(said.contains(why), "{words}: {said}");
        assert!(
            !bench.at("x.img").exists() && !bench.at("x.img.new").exists() && bench.is_tidy(),
            "{words}"
        );
    };
    refused("--size 1G", 1, "MiB are needed / try: a larger disk");
    refused("--size big", 1, "it is no size");
    refused("--size 2800MB --config nothing.yaml", 1, "nothing.yaml");
    refused(
        "--size 2800MB --config http://127.0.0.1:1/config.yaml",
        1,
        "http://127.0.0.1:1/config.yaml",
    );
    write(&bench.at("page.html"), b"<html>Please log in</html>");
    refused("--size 2800MB --config page.html", 1, "it is no configuration");
    fs::rename(bench.at("keys"), bench.at("k")).unwrap();
    refused("--size 2800MB", 3, "this machine has no key to check it with");
    fs::rename(bench.at("k"), bench.at("keys")).unwrap();
    let root = bench.at("r/root.img");
    let mut bytes = fs::read(&root).unwrap();
    bytes[5000] ^= 1;
    write(&root, &bytes);
    refused("--size 2800MB", 3, "SHA-256 is not the manifest's");
    bytes.truncate(9000);
    write(&root, &bytes);
    refused("--size 2800MB --unsigned", 1, "it has 9000 bytes");
    fs::remove_file(bench.at("r/manifest.json")).unwrap();
    refused("--size 2800MB", 1, "there is none / try: --from FOLDER");
    let out = bench.install("", "");
    assert!(!out.status.success() && said(&out).contains("no DISK was named"), "{}", said(&out));
    let out = bench.install("--keep-data --erase /dev/nothing", "");
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn a_disk_that_is_not_there_or_no_rule() {
    let bench = Bench::new("disk");
    let out = bench.install("/dev/nothing-like-it --yes", "");
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("there is no such disk"), "{}", said(&out));
    let out = bench.install("quickest --yes", "");
    assert!(
        !out.status.success() && said(&out).contains("\"quickest\" is not known"),
        "{}",
        said(&out)
    );
}

/// The questions, over a pipe: what a serial console is.
#[test]
fn by_questions() {
    let bench = Bench::new("ask");
    let answers = [
        "2",
        "https://10.0.0.5:6443",
        "a-secret-of-sixteen-characters",
        "nonsense",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me",
        "",
        "pass",
        "word",
        "pass",
        "two words",
        "<",
        "<",
        "word",
        "word",
        "edge-1",
        "y",
        "x.img",
    ]
    .join("\r\n");
    let out = bench.install("--image x.img --size 2800MB --ask", &format!("{answers}\n"));
    let said = said(&out);
    assert!(out.status.success(), "{said}");
    assert!(!said.contains("a-secret-of-sixteen"), "{said}");
    assert!(
        said.contains("joins https://10.0.0.5:6443") && said.contains("nothing was written; write x.img"),
        "{said}"
    );
    assert!(said.contains("writing: ") && said.contains("100 %"), "{said}");
    bench.judge("x.img");
    let config = bench.config_of("x.img");
    for line in [
        "hostname: edge-1",
        "server_url: https://10.0.0.5:6443",
        "token: a-secret-of-sixteen-characters",
        "password: word",
        "- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb7 me",
    ] {
        assert!(config.contains(line), "{config}");
    }
    let left = bench.install("--image y.img --size 2800MB --ask", "1\n");
    assert_eq!(left.status.code(), Some(3));
    assert!(!bench.at("y.img").exists() && bench.is_tidy());
}

#[test]
fn flashed_with_a_config() {
    let bench = Bench::new("flash");
    let done = bench.install("--image x.img --size 2800MB", "");
    assert!(done.status.success(), "{}", said(&done));
    let map = skerry_installer::image::write_map(&bench.at("x.img")).unwrap();
    tools::run("zstd", &["-q", "-1", "--rm"], &bench.at("x.img"));
    fs::File::create(bench.at("card")).unwrap().set_len(map.bytes + (64 << 20)).unwrap();

    let asked = bench.skerry("flash x.img.zst card", "");
    assert_eq!(asked.status.code(), Some(3));
    assert!(said(&asked).contains("try: --yes"), "{}", said(&asked));
    assert!(table(&Disk::open_to_read(&bench.at("card")).unwrap()).table().is_none());

    let done = bench.skerry("flash x.img.zst card --yes --json --config config.yaml", "");
    assert!(done.status.success(), "{}", said(&done));
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["of"], &json["bytes"]), (&map.bytes.into(), &map.mapped_bytes().into()));
    let esp = bench.part("card", Part::Esp);
    tools::run("fsck.fat", &["-n"], &esp);
    assert!(fs::read(&esp).unwrap().windows(CONFIG.len()).any(|w| w == CONFIG.as_bytes()));
    tools::run("e2fsck", &["-fn"], &bench.part("card", Part::Data));

    // A damaged image: nothing is written.
    let mut bytes = fs::read(bench.at("x.img.zst")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    write(&bench.at("x.img.zst"), &bytes);
    fs::File::create(bench.at("other")).unwrap().set_len(map.bytes).unwrap();
    let out = bench.skerry("flash x.img.zst other --yes", "");
    assert!(
        !out.status.success() && said(&out).contains("nothing was written"),
        "{}",
        said(&out)
    );
    let small = bench.skerry("flash x.img.zst config.yaml --yes", "");
    assert!(said(&small).contains("nothing was written") && fs::read(bench.at("config.yaml")).unwrap() == CONFIG.as_bytes());
    let none = bench.skerry("flash x.img.zst /dev/null --yes", "");
    assert!(said(&none).contains("neither a disk nor a file"), "{}", said(&none));
}

/// Ctrl-C while the installation runs: it says what became of the file.
#[test]
fn stopped_in_the_middle() {
    let bench = Bench::new("stop");
    fs::create_dir_all(bench.at("tmp")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_skerry"))
        .args("install --from r --keys keys --image x.img --size 2800MB --ask".split(' '))
        .current_dir(&bench.scratch.0)
        .env("TMPDIR", bench.at("tmp"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    // Held open: the end of it would be an answer too.
    let _stdin = child.stdin.take().unwrap();
    // The first question is there: the watcher for signals was begun long before.
    let mut text = String::new();
    let mut byte = [0];
    while !text.contains("Number [1]") {
        std::io::Read::read_exact(&mut stderr, &mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
    assert!(text.ends_with("stopped: nothing was written\n"), "{text}");
    assert!(!bench.at("x.img").exists() && bench.is_tidy());
}

#[test]
fn what_holds_secrets_is_for_its_owner_alone() {
    let bench = Bench::new("mode");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let done = bench.install("--image x.img --size 2800MB --config config.yaml", "");
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(mode(&bench.at("x.img")) & 0o007, 0, "others read the secrets in it");
}
