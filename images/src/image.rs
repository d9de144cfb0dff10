//! The way from a checkout to a release's files: gather, build what is missing, assemble, lay out.

use crate::cache::Cache;
use crate::cpio::{Archive, Entry};
use crate::debian::{self, Request, Variant};
use crate::digest::{self, Key};
use crate::go;
use crate::grub;
use crate::host::{self, Mirror};
use crate::kernel::{self, Flavour, Kernel};
use crate::keys::{Maker, Public};
use crate::lock::{self, Lock};
use crate::release::{self, Release};
use crate::root::{self, Made, Parts};
use crate::run::{self, say};
use crate::rust;
use crate::sbom;
use crate::toolchain::Toolchain;
use crate::tools::Root;
use crate::tree::{Body, Tree};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All that an image is made of, built or found in the cache.
pub struct Inputs {
    checkout: PathBuf,
    tools: Root,
    debian: PathBuf,
    kernel: Kernel,
    go: go::Built,
    rust: BTreeMap<String, PathBuf>,
    release: Release,
    /// Whose releases the machine will take: in the initramfs, `/keys/NAME.pub`.
    keys: Vec<Public>,
    /// What really went in.
    pub lock: Lock,
}

/// Paths of the checkout that decide what an image contains.
const SOURCES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "agent",
    "cli",
    "config",
    "control",
    "distribution",
    "fetch",
    "images",
    "init",
    "installer",
    "logind",
    "network",
    "overlay",
    "slots",
    "sys",
    "upgrade",
];

/// Gathers the inputs.
pub fn gather(cache: &Cache, checkout: &Path, flavour: Flavour, taken: Option<String>) -> Result<Inputs> {
    host::prepare()?;
    let mirror = Mirror::of_host();
    let recorded = Lock::read(checkout)?;
    let taken = taken.unwrap_or_else(|| recorded.taken.clone());
    let tools = Root::tools(cache, &mirror)?;
    let packages: Vec<&str> = debian::ROOT.iter().map(|(package, _)| *package).collect();
    let request = Request {
        kind: "debian",
        packages: &packages,
        variant: Variant::Extract,
        with_firmware: false,
        epoch: &taken,
    };
    let debian = debian::unpack(cache, &mirror, &request)?;
    let kernel = kernel::obtain(cache, &mirror, &tools, flavour, &taken)?;
    let toolchain = Toolchain::find(cache, checkout)?;
    let go = go::build(cache, &toolchain, checkout)?;
    let rust = rust::build(cache, &toolchain)?;
    let version = |family: &str| go.versions.get(family).cloned().unwrap_or_default();
    let release = Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        built: last_change(checkout),
        kernel: kernel.release.clone(),
        kubernetes: version("kubernetes"),
        coredns: version("coredns"),
    };
    let mut all = debian::packages(&debian)?;
    all.extend(kernel.packages());
    let crates = fs::read_to_string(checkout.join("Cargo.lock")).context("reading Cargo.lock")?;
    let lock = Lock {
        taken,
        debian: all,
        full: vec![],
        go: go::modules(checkout)?,
        crates: lock::crates(&crates),
    };
    Ok(Inputs {
        checkout: checkout.to_path_buf(),
        tools,
        debian,
        kernel,
        go,
        rust,
        release,
        keys: vec![],
        lock,
    })
}

/// When the sources last changed: `SOURCE_DATE_EPOCH`, else the last commit that touched them, else when Cargo.lock was written.
fn last_change(checkout: &Path) -> u64 {
    if let Some(told) = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()) {
        return told;
    }
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(checkout)
        .args(["-c", "safe.directory=*", "log", "-1", "--format=%ct", "--"])
        .args(SOURCES);
    let committed = run::output("asking git for the last change", &mut git)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    committed.unwrap_or_else(|| {
        let written = fs::metadata(checkout.join("Cargo.lock"))
            .and_then(|metadata| metadata.modified())
            .ok();
        written
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs())
    })
}

impl Inputs {
    fn key(&self) -> Result<String> {
        let mut key = Key::default()
            .with("form", "2")
            .with("release", self.release.inside())
            .with("boot loader", grub::key(&self.tools))
            .with("lock", self.lock.text());
        for public in &self.keys {
            key = key.with("key", &public.name).with("text", &public.text);
        }
        for path in [&self.debian, &self.kernel.modules, &self.kernel.early]
            .into_iter()
            .chain(self.go.programs.values())
        {
            key = key.with("entry", path.to_string_lossy().as_bytes()); // its last part stands for its content
        }
        if let Some(firmware) = &self.kernel.firmware {
            key = key.with("firmware", firmware.files.to_string_lossy().as_bytes());
        }
        key = key.with("kernel", digest::of_file(&self.kernel.vmlinuz)?);
        for (name, path) in &self.rust {
            key = key.with(name, digest::of_file(path)?);
        }
        key = key
            .with_folder("files", &self.checkout.join("overlay/files"))?
            .with_folder("maker", &self.checkout.join("images/src"))?;
        Ok(key.finish())
    }

    fn parts<'a>(&'a self, release: &'a str) -> Parts<'a> {
        Parts {
            checkout: &self.checkout,
            debian: &self.debian,
            kernel: &self.kernel,
            go: &self.go,
            rust: &self.rust,
            version: &self.release.version,
            release,
            time: self.release.built,
        }
    }

    /// Makes `root.img` in `folder`.
    fn root(&self, cache: &Cache, folder: &Path) -> Result<Made> {
        let stage = cache.work("stage")?;
        let made = root::make(
            cache,
            &self.tools,
            &self.parts(&self.release.inside()),
            &stage,
            &folder.join("root.img"),
        )?;
        crate::cache::remove(&stage)?;
        Ok(made)
    }

    /// Makes `initrd.img` in `folder`: the processors' microcode, PID 1 as `/init`, and the modules that find and mount the root.
    #[allow(clippy::disallowed_methods, reason = "a fresh folder of the cache: a killed build throws it away")]
    fn initramfs(&self, cache: &Cache, folder: &Path) -> Result<()> {
        let init = self.rust.get("init").context("looking for init among the programs")?;
        let mut archive = Archive::default();
        for name in ["dev", "etc", "lib", "lib/modules", "newroot", "proc", "run", "sys", "tmp"] {
            archive.add(name, &Entry::Folder);
        }
        // Before devtmpfs is mounted, PID 1 needs somewhere to speak to.
        archive.add("dev/console", &Entry::Device(0o600, 5, 1));
        archive.add("dev/null", &Entry::Device(0o666, 1, 3));
        archive.add(
            "init",
            &Entry::File(0o755, &fs::read(init).with_context(|| format!("reading {}", init.display()))?),
        );
        for (path, node) in Tree::scan(&self.kernel.early)?.0 {
            let name = format!("lib/modules/{path}");
            match node.body {
                Body::Folder => archive.add(&name, &Entry::Folder),
                Body::Copy(from) if !is_binary_index(&path) => archive.add(&name, &Entry::File(0o644, &fs::read(from)?)),
                _ => {}
            }
        }
        if !self.keys.is_empty() {
            archive.add("keys", &Entry::Folder);
        }
        for public in &self.keys {
            archive.add(&format!("keys/{}.pub", public.name), &Entry::File(0o644, public.text.as_bytes()));
        }
        let plain = folder.join("initrd.cpio");
        fs::write(&plain, archive.finish()).with_context(|| format!("writing {}", plain.display()))?;
        let mut zstd = self.tools.command("zstd")?;
        zstd.args(["-q", "-19", "-T1", "--rm", "-o"])
            .arg(folder.join("initrd.img"))
            .arg(&plain);
        run::logged("compressing the initramfs", &mut zstd, &cache.log("initramfs"))?;
        let Some(firmware) = &self.kernel.firmware else { return Ok(()) };
        let packed = folder.join("initrd.img");
        let mut whole = fs::read(&firmware.microcode).with_context(|| format!("reading {}", firmware.microcode.display()))?;
        whole.append(&mut fs::read(&packed).with_context(|| format!("reading {}", packed.display()))?);
        fs::write(&packed, whole).with_context(|| format!("writing {}", packed.display()))
    }

    /// The finished release: an entry of the cache.
    #[allow(clippy::disallowed_methods, reason = "a fresh folder of the cache: a killed build throws it away")]
    fn assemble(&self, cache: &Cache, maker: &Maker) -> Result<PathBuf> {
        cache.entry("image", &self.key()?, |fresh| {
            fs::copy(&self.kernel.vmlinuz, fresh.join("vmlinuz")).context("copying the kernel")?;
            self.initramfs(cache, fresh)?;
            let made = self.root(cache, fresh)?;
            grub::grub(cache, &self.tools, fresh)?;
            fs::write(fresh.join("lock.json"), self.lock.text())?;
            fs::write(
                fresh.join(sbom::NAME),
                sbom::text(&self.release, &self.lock, &grub::packages(&self.tools)?),
            )?;
            let manifest = self.release.manifest(fresh, &made.roothash, made.hashoff, &made.sizes)?;
            fs::write(fresh.join(SIGNATURE), maker.sign(&manifest, &self.release.version)?)?;
            Ok(fs::write(fresh.join("manifest.json"), manifest)?)
        })
    }
}

/// depmod's binary indexes are for kmod, which is not in the initramfs.
fn is_binary_index(path: &str) -> bool {
    ["modules.symbols", "modules.devname", ".bin", ".builtin.modinfo"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

/// Makes the release, signed by the developer's key, and lays it out in `out`. Machines that it is installed on take releases by that
/// key and by the `further` ones.
pub fn image(cache: &Cache, checkout: &Path, flavour: Flavour, further: Vec<Public>, out: &Path) -> Result<()> {
    let maker = Maker::developer(cache)?;
    let mut inputs = gather(cache, checkout, flavour, None)?;
    inputs.keys = std::iter::once(maker.public()).chain(further).collect();
    compare(&Lock::read(checkout)?, &inputs.lock, flavour);
    let entry = inputs.assemble(cache, &maker)?;
    lay_out(&entry, out)
}

/// Says where the packages differ from those that the lock file records.
fn compare(recorded: &Lock, now: &Lock, flavour: Flavour) {
    let changes = match flavour {
        Flavour::Full if recorded.full.is_empty() => vec![],
        Flavour::Full => recorded.of_full().changes(now),
        Flavour::Cloud => recorded.changes(now),
    };
    if let (false, Some(first)) = (recorded.debian.is_empty(), changes.first()) {
        say(&format!(
            "Debian has moved on from {}: {} packages differ ({first}, …)",
            lock::PATH,
            changes.len()
        ));
        say("  try: `images lock` records what goes in now");
    }
}

/// The signature, beside the manifest.
const SIGNATURE: &str = "manifest.json.minisig";

/// Copies a release to its folder, the manifest last; a folder that has it already is left alone.
fn lay_out(entry: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out.join(grub::FOLDER)).with_context(|| format!("making {}", out.display()))?;
    let is_same_length = |name: &&str| match (fs::metadata(entry.join(name)), fs::metadata(out.join(name))) {
        (Ok(from), Ok(to)) => from.len() == to.len(),
        _ => false,
    };
    let is_same = |name: &&str| match (fs::read(entry.join(name)), fs::read(out.join(name))) {
        (Ok(from), Ok(to)) => from == to,
        _ => false,
    };
    let words = ["lock.json", SIGNATURE, "manifest.json"];
    if words.iter().all(is_same) && release::FILES.iter().all(is_same_length) {
        return Ok(());
    }
    for name in release::FILES.into_iter().chain(words) {
        let beside = out.join(format!("{name}.new"));
        fs::copy(entry.join(name), &beside).with_context(|| format!("writing {}", beside.display()))?;
        fs::rename(&beside, out.join(name)).with_context(|| format!("replacing {}", out.join(name).display()))?;
    }
    Ok(())
}

/// Builds the root twice from the same inputs; gives the root hash, or says that they differ.
pub fn check_reproducible(cache: &Cache, checkout: &Path, flavour: Flavour) -> Result<String> {
    let inputs = gather(cache, checkout, flavour, None)?;
    let mut hashes = Vec::new();
    for name in ["first", "second"] {
        let folder = cache.work(name)?;
        let made = inputs.root(cache, &folder)?;
        inputs.initramfs(cache, &folder)?;
        hashes.push((made.roothash, digest::of_file(&folder.join("initrd.img"))?));
        crate::cache::remove(&folder)?;
    }
    hashes.dedup();
    ensure!(hashes.len() == 1, "building the image twice: the results differ: {hashes:?}");
    Ok(hashes.into_iter().next().map(|(root, _)| root).unwrap_or_default())
}

/// Looks for newer Debian packages and records what goes in; gives what changed.
#[allow(clippy::disallowed_methods, reason = "a file of the checkout: git is its safety")]
pub fn renew_lock(cache: &Cache, checkout: &Path, now: u64) -> Result<Vec<String>> {
    let old = Lock::read(checkout)?;
    let mut inputs = gather(cache, checkout, Flavour::Cloud, Some(now.to_string()))?;
    let full = kernel::obtain(cache, &Mirror::of_host(), &inputs.tools, Flavour::Full, &inputs.lock.taken)?;
    inputs.lock.full = full.packages();
    fs::write(checkout.join(lock::PATH), inputs.lock.text()).with_context(|| format!("writing {}", lock::PATH))?;
    Ok(old.changes(&inputs.lock))
}

/// One of the Go programs that go into the image, as it was built.
pub fn program(cache: &Cache, checkout: &Path, name: &str) -> Result<PathBuf> {
    let built = go::build(cache, &Toolchain::find(cache, checkout)?, checkout)?;
    let known = || built.programs.keys().cloned().collect::<Vec<_>>().join(", ");
    let found = built.programs.get(name).cloned();
    found.with_context(|| format!("looking for the program {name}: there are {}", known()))
}

/// Writes the container images that lie in the image into `out`; gives their paths.
#[allow(clippy::disallowed_methods, reason = "build output: made anew if lost")]
pub fn containers(cache: &Cache, checkout: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let inputs = gather(cache, checkout, Flavour::Cloud, None)?;
    fs::create_dir_all(out)?;
    let mut paths = Vec::new();
    for (name, archive) in root::containers(&inputs.parts(""))? {
        let path = out.join(name);
        fs::write(&path, archive).with_context(|| format!("writing {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}
