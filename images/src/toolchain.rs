//! Which cargo and Go build our programs: the host's where they are new enough, else those of the builder root.

use crate::cache::Cache;
use crate::host::{self, CARGO, GO, Mirror};
use crate::run::{self, say};
use crate::tools::Root;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler of the host, or the root that has one.
enum Compiler {
    Host(PathBuf),
    Builder(Root),
}

/// The compilers of this build.
pub struct Toolchain {
    cargo: Compiler,
    go: Compiler,
    checkout: PathBuf,
    folders: PathBuf,
}

impl Toolchain {
    /// Looks at the host and makes the builder root if it lacks something.
    pub fn find(cache: &Cache, mirror: &Mirror, checkout: &Path) -> Result<Self> {
        let choose = |program: &str, found: Option<PathBuf>, oldest: [u32; 3]| {
            if let Some(path) = found {
                return Ok(Compiler::Host(path));
            }
            let [major, minor, patch] = oldest;
            say(&format!(
                "this machine has no {program} {major}.{minor}.{patch} or newer: using the builder root"
            ));
            Ok::<_, anyhow::Error>(Compiler::Builder(Root::builder(cache, mirror)?))
        };
        let linker = host::find_program("cc").is_some() && Path::new("/usr/include/stdlib.h").exists();
        let cargo = host::new_enough("cargo", &["--version"], CARGO).filter(|_| linker);
        Ok(Self {
            cargo: choose("cargo (with a linker)", cargo, CARGO)?,
            go: choose("go", host::new_enough("go", &["version"], GO), GO)?,
            checkout: checkout.to_path_buf(),
            folders: cache.folder("build")?,
        })
    }

    /// A `cargo` command in the checkout.
    pub fn cargo(&self, environment: &[(&str, String)], arguments: &[&str]) -> Command {
        self.command("cargo", &self.cargo, &self.checkout, environment, arguments)
    }

    /// A `go` command in a folder of the checkout.
    pub fn go(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut environment = vec![
            ("GOTOOLCHAIN", "local".to_owned()),
            ("GOFLAGS", String::new()),
            ("CGO_ENABLED", "0".to_owned()),
        ];
        if matches!(self.go, Compiler::Builder(_)) {
            // The builder does not see the host's home, so Go's own caches lie in ours.
            let own = |name: &str| self.folders.join(name).display().to_string();
            environment.extend([("GOMODCACHE", own("go-modules")), ("GOCACHE", own("go-cache"))]);
        }
        self.command("go", &self.go, folder, &environment, arguments)
    }

    /// What Go says it is: part of the cache's keys.
    pub fn go_version(&self) -> Result<String> {
        let said = run::output("asking Go for its version", &mut self.go(&self.checkout, &["version"]))?;
        let words: Vec<&str> = said.split_whitespace().collect();
        Ok((*words.get(2).context("reading Go's version")?).to_owned())
    }

    fn command(&self, name: &str, compiler: &Compiler, folder: &Path, environment: &[(&str, String)], arguments: &[&str]) -> Command {
        match compiler {
            Compiler::Host(program) => {
                let mut command = Command::new(program);
                command
                    .current_dir(folder)
                    .args(arguments)
                    .envs(environment.iter().map(|(name, value)| (name, value)));
                command
            }
            Compiler::Builder(root) => {
                let home = self.folders.join("home");
                let certificates = Path::new("/etc/ssl/certs");
                let mut words = vec![
                    "PATH=/usr/lib/go-1.26/bin:/usr/bin:/bin".to_owned(),
                    format!("HOME={}", home.display()),
                    format!("CARGO_HOME={}", home.join("cargo").display()),
                ];
                words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
                words.push(name.to_owned());
                words.extend(arguments.iter().map(|argument| (*argument).to_owned()));
                root.inside(&[&self.checkout, &self.folders, certificates], folder, &words)
            }
        }
    }

    /// Where cargo puts what it compiles for the image.
    pub fn target(&self) -> PathBuf {
        self.folders.join("target")
    }
}
