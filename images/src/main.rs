//! `images`: makes a release's files and the roots that tests need.
#![allow(clippy::print_stdout, reason = "results go to standard output, progress to standard error")]

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use skerry_images::cache::Cache;
use skerry_images::host::{self, Mirror};
use skerry_images::kernel::Flavour;
use skerry_images::keys::{self, Maker};
use skerry_images::tools::Root;
use skerry_images::{disk, fixture, grub, image, iso, sign, weigh};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes Skerry's images.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Wanted,
}

#[derive(Subcommand)]
enum Wanted {
    /// Make a release: vmlinuz, initrd.img, root.img, boot/, the SBOM, and the signed manifest.json
    Image {
        /// Which Debian kernel
        #[arg(long, default_value = "cloud")]
        kernel: Flavour,
        /// A further public key (minisign's, *.pub) whose releases the machine will take
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        /// Where to
        #[arg(long, default_value = "out")]
        out: PathBuf,
    },
    /// Make the Debian 13 root with QEMU and the makers of file systems; print its path
    Tools,
    /// Build the Go programs that are not in the cache; print the path of one (kubernetes, containerd, …)
    Program {
        /// Its name
        name: String,
    },
    /// Write the container images that lie in the image
    Oci {
        /// Where to
        #[arg(long, default_value = "out")]
        out: PathBuf,
    },
    /// Write the container image that tests and `make run` use; print its path
    Fixture {
        /// Where to
        #[arg(long, default_value = "out")]
        out: PathBuf,
    },
    /// Make the boot loader: OUT/boot/{mbr.img,core.img,BOOTX64.EFI,grub.cfg}
    Grub {
        /// Where to
        #[arg(long, default_value = "out")]
        out: PathBuf,
    },
    /// Make the flashable disk image of a release: FILE, FILE.zst, FILE.bmap, FILE.sha256
    Disk {
        /// The folder of the release
        #[arg(long, default_value = "out")]
        release: PathBuf,
        /// Where to
        #[arg(long, default_value = "out/skerry-amd64.img")]
        out: PathBuf,
        /// Neither compress it nor sum it up: for trying it at once
        #[arg(long)]
        raw: bool,
    },
    /// Make the ISO of a release, for discs and sticks; print its size and what is in it
    Iso(iso::Request),
    /// Print the path of a Debian root with these packages, for servers that tests talk to
    Servers {
        /// Debian's names of them
        #[arg(required = true)]
        packages: Vec<String>,
    },
    /// Write the manifest of a changed release folder anew, and sign it with the developer's key
    Sign {
        /// The folder
        #[arg(default_value = "out")]
        release: PathBuf,
        /// Another version than it has
        #[arg(long)]
        version: Option<String>,
        /// The oldest version that may come to it
        #[arg(long)]
        from: Option<String>,
    },
    /// Print what a release weighs, part by part, against the goal
    Size {
        /// Its folder
        #[arg(default_value = "out")]
        release: PathBuf,
        /// The same, as `--out`
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Look for newer Debian packages and record what goes in (images/lock.json)
    Lock,
    /// Build the image twice and compare; print the root hash
    CheckReproducible {
        /// Which Debian kernel
        #[arg(long, default_value = "cloud")]
        kernel: Flavour,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("images: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(wanted: Wanted) -> Result<()> {
    if let Wanted::Size { release, out } = &wanted {
        println!("{}", weigh::report(out.as_ref().unwrap_or(release))?);
        return Ok(());
    }
    let checkout = host::checkout(&std::env::current_dir()?)?;
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let named = std::env::var_os("SKERRY_CACHE").map(PathBuf::from);
    let cache = Cache::open(&home, named.as_deref())?;
    match wanted {
        Wanted::Image { kernel, key, out } => {
            image::image(&cache, &checkout, kernel, keys::read(&key)?, &out)?;
            println!("{}", weigh::report(&out)?);
        }
        Wanted::Tools => println!("{}", tools(&cache)?.path().display()),
        Wanted::Servers { packages } => {
            let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
            println!("{}", Root::servers(&cache, &Mirror::of_host(), &packages)?.path().display());
        }
        Wanted::Program { name } => println!("{}", image::program(&cache, &checkout, &name)?.display()),
        Wanted::Oci { out } => {
            for path in image::containers(&cache, &checkout, &out)? {
                println!("{}", path.display());
            }
        }
        Wanted::Grub { out } => {
            for path in grub::grub(&cache, &tools(&cache)?, &out)? {
                println!("{}", path.display());
            }
        }
        Wanted::Disk { release, out, raw } => {
            for path in disk::disk(&cache, &tools(&cache)?, &release, &out, raw)? {
                println!("{}", path.display());
            }
        }
        Wanted::Iso(request) => println!("{}", iso::iso(&cache, &tools(&cache)?, &request)?),
        Wanted::Sign { release, version, from } => {
            sign::again(&Maker::developer(&cache)?, &release, version.as_deref(), from.as_deref())?;
        }
        Wanted::Fixture { out } => println!("{}", write_fixture(&tools(&cache)?, &out)?.display()),
        Wanted::Lock => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
            for change in image::renew_lock(&cache, &checkout, now.as_secs())? {
                println!("{change}");
            }
        }
        Wanted::CheckReproducible { kernel } => println!("{}", image::check_reproducible(&cache, &checkout, kernel)?),
        Wanted::Size { .. } => {}
    }
    Ok(())
}

/// The tools root; one that is there needs neither root's rights nor a network.
fn tools(cache: &Cache) -> Result<Root> {
    Root::tools(cache, &Mirror::of_host())
}

#[allow(clippy::disallowed_methods, reason = "build output: made anew if lost")]
fn write_fixture(tools: &Root, out: &Path) -> Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let path = out.join("hello.tar");
    fs::write(&path, fixture::hello(tools)?).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
