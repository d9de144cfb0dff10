//! The same bytes onto the same file system: `skerry install` beside `dd conv=fsync` and RAUC.

use super::{Row, median};
use crate::machine::Lab;
use crate::machine::disk::run;
use crate::machine::tools::on_path;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RUSAGE: &str = include_str!("../../bench/rusage.c");
const RAUC: &str = include_str!("../../bench/rauc");
/// Of the image that is installed onto.
const SIZE: &str = "4G";

/// One run of a program.
#[derive(Debug, Clone, Copy)]
struct Run {
    seconds: f64,
    /// The most it held resident.
    kib: f64,
}

/// One installation of ours.
#[derive(Debug, Clone, Copy)]
struct Ours {
    whole: Run,
    /// Signature and every digest, before the first write.
    checking: f64,
    writing: f64,
    reading_back: f64,
    /// Bytes.
    written: f64,
}

/// Where and with what.
struct Place {
    dir: PathBuf,
    rusage: PathBuf,
    skerry: PathBuf,
    payload: PathBuf,
    release: PathBuf,
}

/// Measures, in turns. `tell` hears of each round.
pub fn rows(lab: &Lab, rounds: usize, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let place = Place::make(lab)?;
    let rauc = Rauc::make(&place);
    if let Err(why) = &rauc {
        tell(&format!("RAUC does not run here: {why:#}"));
    }
    let (mut dd, mut ours, mut others) = (vec![], vec![], vec![]);
    for round in 1..=rounds {
        dd.push(place.dd().context("copying by dd")?);
        ours.push(place.ours().context("installing ours")?);
        if let Ok(rauc) = &rauc {
            others.push(rauc.install(&place).context("installing by RAUC")?);
        }
        let last = |runs: &[Run]| runs.last().map_or(f64::NAN, |r| r.seconds);
        let own = ours.last().map_or([f64::NAN; 3], |o| [o.checking, o.writing, o.reading_back]);
        tell(&format!(
            "{round}: dd {:.2} s; ours: check {:.2} s, write {:.2} s, read back {:.2} s; RAUC {:.2} s",
            last(&dd),
            own[0],
            own[1],
            own[2],
            last(&others)
        ));
    }
    let of = |f: fn(&Ours) -> f64| median(&ours.iter().map(f).collect::<Vec<_>>());
    let seconds = |runs: &[Run]| median(&runs.iter().map(|r| r.seconds).collect::<Vec<_>>());
    let ratios: Vec<f64> = ours.iter().zip(&dd).map(|(o, d)| o.writing / d.seconds).collect();
    let mib = megabytes(&place.payload)?;
    let mut rows = vec![
        Row::shown(
            &format!("install of {mib:.0} MiB: dd bs=1M conv=fsync"),
            format!("{:.2} s", seconds(&dd)),
            "(the measure)",
        ),
        match &rauc {
            Ok(_) => Row::shown(
                "  RAUC, plain bundle, onto a loop device",
                format!("{:.2} s", seconds(&others)),
                &format!("{:.1} × dd", seconds(&others) / seconds(&dd)),
            ),
            Err(why) => Row::shown("  RAUC, plain bundle", "not run".to_owned(), &format!("{why:#}")),
        },
    ];
    rows.extend([
        Row::shown(
            "  skerry install --image: writing",
            format!("{:.2} s", of(|o| o.writing)),
            &format!("{:.0} MiB with ESP, data and tables", of(|o| o.written) / f64::from(1 << 20)),
        ),
        Row::limited("  skerry's writing beside dd (paired)", median(&ratios), "× dd", 1.3),
        Row::shown(
            "  skerry: signature and digests, before the first write",
            format!("{:.2} s", of(|o| o.checking)),
            "counted separately",
        ),
        Row::shown(
            "  skerry: verified read-back",
            format!("{:.2} s", of(|o| o.reading_back)),
            "counted separately; dd and RAUC do none",
        ),
        Row::shown(
            "  skerry: the whole command",
            format!("{:.2} s", of(|o| o.whole.seconds)),
            &format!("{:.1} × dd", of(|o| o.whole.seconds) / seconds(&dd)),
        ),
        Row::limited("  skerry install: most it held resident", of(|o| o.whole.kib) / 1024.0, "MiB", 8.0),
    ]);
    Ok(rows)
}

impl Place {
    fn make(lab: &Lab) -> Result<Self> {
        let dir = lab.folder("bench-install")?;
        let place = Self {
            rusage: dir.join("rusage"),
            skerry: program(lab, &dir)?,
            payload: dir.join("payload.img"),
            release: lab.release.dir.clone(),
            dir,
        };
        let source = place.dir.join("rusage.c");
        write(&source, RUSAGE, 0o644)?;
        run(Command::new("cc").args(["-static", "-Os", "-o"]).arg(&place.rusage).arg(&source))?;
        let mut payload = File::create(&place.payload).context("making the payload")?;
        for part in [lab.release.root(), lab.release.kernel(), lab.release.initrd()] {
            let mut from = File::open(&part).with_context(|| format!("opening {}", part.display()))?;
            std::io::copy(&mut from, &mut payload).with_context(|| format!("reading {}", part.display()))?;
        }
        payload.sync_all().context("writing the payload")?;
        Ok(place)
    }

    fn dd(&self) -> Result<Run> {
        let to = self.dir.join("dd.img");
        let _ = fs::remove_file(&to); // of an earlier round
        let mut command = Command::new(&self.rusage);
        command.arg("dd").arg(format!("if={}", self.payload.display()));
        command
            .arg(format!("of={}", to.display()))
            .args(["bs=1M", "conv=fsync", "status=none"]);
        let (run, _) = measure(&mut command)?;
        fs::remove_file(&to).context("removing dd's copy")?;
        Ok(run)
    }

    fn ours(&self) -> Result<Ours> {
        let to = self.dir.join("ours.img");
        let _ = fs::remove_file(&to); // of an earlier round
        let mut command = Command::new(&self.rusage);
        command
            .arg(&self.skerry)
            .args(["install", "--size", SIZE, "--yes", "--json", "--image"]);
        command.arg(&to).arg("--from").arg(&self.release);
        match env_keys() {
            Some(keys) => command.arg("--keys").arg(keys),
            None => command.arg("--unsigned"),
        };
        let (whole, said) = measure(&mut command)?;
        fs::remove_file(&to).context("removing our image")?;
        let report: Value = serde_json::from_str(&said).with_context(|| format!("reading its report: {said}"))?;
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let took = |phase: &str| {
            let millis = report.get("milliseconds").and_then(|m| number(m.get(phase)));
            millis
                .map(|m| m / 1000.0)
                .context("reading its times: there are none / try: `make image` again")
        };
        let own = took("checking")?;
        let writing = took("writing")?;
        let reading_back = took("reading_back")?;
        Ok(Ours {
            whole,
            // The release is checked whole before the plan is made.
            checking: (whole.seconds - writing - reading_back).max(own),
            writing,
            reading_back,
            written: number(report.get("written")).context("reading how much it wrote")?,
        })
    }
}

/// Nothing of the others' is still on its way to the disk.
fn measure(command: &mut Command) -> Result<(Run, String)> {
    run(&mut Command::new("sync"))?;
    let out = command.stdin(Stdio::null()).output().context("starting it")?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.success(), "{}: {}", out.status, said.trim());
    let numbers = said.lines().rev().find_map(|line| line.split("@ rusage ").nth(1));
    let mut numbers = numbers.unwrap_or_default().split(' ').map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(kib))) => Ok((Run { seconds, kib }, String::from_utf8_lossy(&out.stdout).into_owned())),
        _ => bail!("reading what it took: {said}"),
    }
}

/// The developer's public key, if there is one on this computer.
fn env_keys() -> Option<PathBuf> {
    let keys = PathBuf::from(std::env::var_os("HOME")?).join(".cache/skerry/keys");
    keys.is_dir().then_some(keys)
}

/// The program as it ships: out of the root image. `SKERRY_PROGRAM` names another one.
fn program(lab: &Lab, dir: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKERRY_PROGRAM") {
        return Ok(path.into());
    }
    let to = dir.join("skerry");
    let mut command = lab.tools.program("dump.erofs")?;
    command.args(["--cat", "--path=/usr/bin/skerry"]).arg(lab.release.root());
    command.stdout(File::create(&to).with_context(|| format!("making {}", to.display()))?);
    let ended = command.status().context("starting dump.erofs")?;
    ensure!(ended.success(), "taking /usr/bin/skerry out of the root image: {ended}");
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(|| format!("setting the mode of {}", to.display()))?;
    Ok(to)
}

/// RAUC with a system of two slots on loop devices.
struct Rauc {
    dir: PathBuf,
    loops: Vec<PathBuf>,
}

impl Rauc {
    fn make(place: &Place) -> Result<Self> {
        let needed = ["rauc", "mksquashfs", "openssl", "dbus-run-session", "losetup"];
        let absent: Vec<&str> = needed.into_iter().filter(|name| on_path(name).is_none()).collect();
        ensure!(
            absent.is_empty(),
            "this computer has no {} / try: apt-get install rauc squashfs-tools",
            absent.join(", no ")
        );
        let dir = place.dir.join("rauc");
        let _ = fs::remove_dir_all(&dir); // of an earlier run
        for folder in ["bundle", "mnt"] {
            fs::create_dir_all(dir.join(folder)).with_context(|| format!("making {}", dir.display()))?;
        }
        let mut cert = Command::new("openssl");
        cert.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "2"]);
        cert.args(["-keyout", "key.pem", "-out", "cert.pem"]).stderr(Stdio::null());
        run(cert.current_dir(&dir)).context("making a certificate")?;
        fs::hard_link(&place.payload, dir.join("bundle/root.img")).context("linking the payload")?;
        let manifest = "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=root.img\n";
        write(&dir.join("bundle/manifest.raucm"), manifest, 0o644)?;
        write(&dir.join("install"), RAUC, 0o755)?;
        let mut bundle = Command::new("rauc");
        bundle.args(["bundle", "--cert", "cert.pem", "--key", "key.pem", "bundle", "bench.raucb"]);
        run(bundle.current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null())).context("making the bundle")?;
        let mut made = Self { dir, loops: vec![] };
        for (name, bytes) in [("a.img", 1 << 30), ("b.img", 1 << 24)] {
            let path = made.dir.join(name);
            let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
            file.set_len(bytes).with_context(|| format!("making {}", path.display()))?;
            let out = Command::new("losetup")
                .args(["--find", "--show"])
                .arg(&path)
                .output()
                .context("starting losetup")?;
            ensure!(
                out.status.success(),
                "no loop device: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
            made.loops.push(String::from_utf8_lossy(&out.stdout).trim().into());
        }
        let slot = |n: usize, name: char| {
            let device = made.loops.get(n).map_or(Path::new(""), PathBuf::as_path).display();
            format!("[slot.rootfs.{n}]\ndevice={device}\ntype=raw\nbootname={name}\n")
        };
        let system = format!(
            "[system]\ncompatible=bench\nbootloader=noop\nmountprefix={dir}/mnt\nstatusfile={dir}/status\n[keyring]\npath=cert.pem\n{}{}",
            slot(0, 'A'),
            slot(1, 'B'),
            dir = made.dir.display(),
        );
        write(&made.dir.join("system.conf"), &system, 0o644)?;
        Ok(made)
    }

    fn install(&self, place: &Place) -> Result<Run> {
        // It skips what its status says to be there.
        let _ = fs::remove_file(self.dir.join("status"));
        let mut command = Command::new("dbus-run-session");
        command
            .arg("--")
            .arg(self.dir.join("install"))
            .arg(&place.rusage)
            .arg(self.dir.join("bench.raucb"));
        // What it holds resident is its client's, and says nothing: its service works.
        Ok(measure(command.current_dir(&self.dir))?.0)
    }
}

impl Drop for Rauc {
    fn drop(&mut self) {
        for device in &self.loops {
            let _ = Command::new("losetup").arg("--detach").arg(device).status(); // it is gone with the computer at the latest
        }
    }
}

fn megabytes(path: &Path) -> Result<f64> {
    let bytes = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len();
    Ok(super::mebibytes(bytes))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a scratch file of a benchmark")]
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("setting the mode of {}", path.display()))
}
