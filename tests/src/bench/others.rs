//! The others: a static C floor and busybox init, started on the same kernel and root by a small first stage of their own.

use crate::cases::start::{NONE_MEMORY, none_machine};
use crate::machine::disk::run;
use crate::machine::{Lab, Request};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const FILES: [(&str, &str); 6] = [
    ("stage0", include_str!("../../bench/stage0")),
    ("worker0", include_str!("../../bench/worker0")),
    ("rc", include_str!("../../bench/rc")),
    ("lease", include_str!("../../bench/lease")),
    ("service", include_str!("../../bench/service")),
    ("inittab", include_str!("../../bench/inittab")),
];
const FLOOR: &str = include_str!("../../bench/floor.c");

/// Which PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// `tests/bench/floor.c`.
    Floor,
    /// busybox init with udhcpc.
    Busybox,
}

impl Other {
    fn word(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Busybox => "busybox",
        }
    }
}

/// Makes the initramfs that starts them: the release's own, followed by theirs.
pub fn initrd(lab: &Lab, hello: &Path) -> Result<PathBuf> {
    let dir = lab.folder("bench")?;
    let tree = dir.join("initrd");
    let _ = fs::remove_dir_all(&tree); // of an earlier run
    let bench = tree.join("bench");
    fs::create_dir_all(&bench).with_context(|| format!("creating {}", bench.display()))?;
    for (name, text) in FILES {
        write(&bench.join(name), text.as_bytes(), 0o755)?;
    }
    busybox(hello, &dir, &bench.join("busybox")).context("taking busybox out of the test image")?;
    std::os::unix::fs::symlink("busybox", bench.join("init")).context("linking init to busybox")?;
    let source = dir.join("floor.c");
    write(&source, FLOOR.as_bytes(), 0o644)?;
    run(Command::new("cc")
        .args(["-static", "-Os", "-o"])
        .arg(bench.join("floor"))
        .arg(&source))?;
    run(lab
        .tools
        .program("ssh-keygen")?
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(bench.join("hostkey")))?;
    let combined = dir.join("initrd.img");
    fs::copy(lab.release.initrd(), &combined).context("copying the release's initramfs")?;
    let archive = run(Command::new("sh")
        .arg("-c")
        .arg("find bench | cpio -o -H newc -R 0:0 --quiet > ../bench.cpio")
        .current_dir(&tree));
    archive.context("packing the others' files; cpio is needed")?;
    let mut file = File::options().append(true).open(&combined).context("opening the initramfs")?;
    let length = file.metadata().context("reading the initramfs's size")?.len();
    std::io::copy(&mut std::io::repeat(0).take(length.next_multiple_of(4) - length), &mut file).context("padding the initramfs")?;
    std::io::copy(
        &mut File::open(dir.join("bench.cpio")).context("reading the others' files")?,
        &mut file,
    )
    .context("appending the others' files")?;
    Ok(combined)
}

/// Seconds from its start to its service, and the kernel's seconds at the service.
pub fn boot(lab: &Lab, initrd: &Path, other: Other) -> Result<(f64, f64)> {
    let words = vec![format!("rdinit=/bench/stage0 bench={}", other.word())];
    let request = Request {
        words,
        initrd: Some(initrd.to_path_buf()),
        memory: NONE_MEMORY,
        limit: Duration::from_secs(90),
        ..none_machine("bench-other", None)
    };
    let mut machine = lab.start(&request)?;
    let at = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|n| n.parse::<f64>().ok())
            .with_context(|| format!("reading {line:?}"))
    };
    let exec = at(&machine.serial.wait_line("@ exec ", 0, Duration::from_secs(60))?.line)?;
    let service = at(&machine.serial.wait_line("@ svc ", 0, Duration::from_secs(60))?.line)?;
    machine.cut();
    Ok((service - exec, service))
}

/// Takes the static busybox out of the OCI archive of the test image.
fn busybox(hello: &Path, dir: &Path, to: &Path) -> Result<()> {
    let unpacked = dir.join("hello");
    let _ = fs::remove_dir_all(&unpacked); // of an earlier run
    fs::create_dir_all(&unpacked).context("creating a folder for it")?;
    run(Command::new("tar").arg("-xf").arg(hello).arg("-C").arg(&unpacked))?;
    let blobs = unpacked.join("blobs/sha256");
    for blob in fs::read_dir(&blobs).with_context(|| format!("reading {}", blobs.display()))? {
        let blob = blob.context("reading a blob")?.path();
        let out = Command::new("tar")
            .arg("-xOf")
            .arg(&blob)
            .args(["bin/busybox"])
            .stderr(Stdio::null())
            .output()
            .context("starting tar")?;
        if out.status.success() && out.stdout.len() > 100_000 {
            return write(to, &out.stdout, 0o755);
        }
    }
    anyhow::bail!("no layer of {} holds bin/busybox", hello.display())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a scratch file of a benchmark")]
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {}", path.display()))
}
