//! What this machine offers a build: who we are, which programs there are and how old, which Debian mirror it uses.

use crate::run::{self, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Go that builds all our Go programs (containerd 2.4.2 asks for it).
pub const GO: [u32; 3] = [1, 26, 6];
/// The oldest cargo that builds the workspace.
pub const CARGO: [u32; 3] = [1, 85, 0];

/// Programs that a build calls on the host, and the Debian package that brings each.
const NEEDED: &[(&str, &str)] = &[("mmdebstrap", "mmdebstrap"), ("apt-get", "apt")];

/// Whether we are root: unpacking owners and chroot need it.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program's path, looked up as a shell would.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/go/bin".into(), "/usr/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|p| p.is_file())
}

/// Installs what a build needs and is missing, or says how to.
pub fn prepare() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !is_root() {
        let install = if missing.is_empty() {
            String::new()
        } else {
            format!("apt-get install {} && ", missing.join(" "))
        };
        bail!("unpacking Debian packages with their owners: not root\ntry: sudo sh -c '{install}make image'");
    }
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("installing Debian packages: {}", missing.join(" ")));
    let _ = run::output("refreshing apt's lists", Command::new("apt-get").args(["-q", "update"])); // the install says if it matters
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-qy", "install", "--no-install-recommends"])
        .args(&missing);
    run::output(&format!("installing {}", missing.join(" ")), &mut install).map(drop)
}

/// A program new enough to be used, if the host has one.
pub fn new_enough(program: &str, arguments: &[&str], oldest: [u32; 3]) -> Option<PathBuf> {
    let path = find_program(program)?;
    let said = run::output(
        "asking for a version",
        Command::new(&path).args(arguments).env("GOTOOLCHAIN", "local"),
    )
    .ok()?;
    (version(&said)? >= oldest).then_some(path)
}

/// The first dotted number in what a program says about itself.
pub fn version(said: &str) -> Option<[u32; 3]> {
    let digits = said
        .split_whitespace()
        .map(|word| word.trim_start_matches(|c: char| !c.is_ascii_digit()))
        .find(|word| word.contains('.'))?;
    let mut numbers = digits.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

/// Where Debian packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The archive, as in `http://deb.debian.org/debian`.
    pub archive: String,
    /// Its security archive.
    pub security: String,
    /// Options for apt that the host has set: proxies.
    pub options: Vec<String>,
}

impl Mirror {
    /// What the host's apt uses; Debian's own addresses where it has none of Debian.
    pub fn of_host() -> Self {
        let ask = |arguments: &[&str], program: &str| run::output("asking apt", Command::new(program).args(arguments)).unwrap_or_default();
        let targets = ask(&["indextargets", "--format", "$(REPO_URI)"], "apt-get");
        let settings = ask(&["dump", "--format", "%f \"%v\";%n", "Acquire"], "apt-config");
        Self::choose(&targets, &settings)
    }

    /// The choice itself, from `apt-get indextargets` and `apt-config dump`.
    fn choose(targets: &str, settings: &str) -> Self {
        let of = |ending: &str| {
            let found = targets
                .lines()
                .map(|line| line.trim().trim_end_matches('/'))
                .find(|line| line.ends_with(ending));
            found.map(str::to_owned)
        };
        let proxies = settings
            .lines()
            .filter(|line| line.to_ascii_lowercase().contains("::proxy") && !line.contains("\"\""));
        Self {
            archive: of("/debian").unwrap_or_else(|| "http://deb.debian.org/debian".into()),
            security: of("/debian-security").unwrap_or_else(|| "http://deb.debian.org/debian-security".into()),
            options: proxies.map(str::to_owned).collect(),
        }
    }
}

/// The folder of the checkout: the nearest one upwards that holds `images/kubernetes/go.mod`.
pub fn checkout(from: &Path) -> Result<PathBuf> {
    let found = from.ancestors().find(|folder| folder.join("images/kubernetes/go.mod").is_file());
    found
        .map(Path::to_path_buf)
        .with_context(|| format!("looking for the checkout above {}: run this inside it", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_say_them() {
        for (said, read) in [
            ("go version go1.26.8 linux/amd64", Some([1, 26, 8])),
            ("cargo 1.85.0 (d73d2caf9 2024-12-31)", Some([1, 85, 0])),
            ("go version go1.27rc1 linux/arm64", Some([1, 27, 0])),
            ("rustc 1.95.0-nightly (abc 2026-01-01)", Some([1, 95, 0])),
            ("no number here", None),
            ("", None),
        ] {
            assert_eq!(version(said), read, "{said}");
        }
        assert!(version("go1.26.5 x").unwrap() < GO);
    }

    #[test]
    fn the_mirror_is_the_hosts() {
        let debian = "http://mirror.example/debian/\nhttp://mirror.example/debian-security/\nhttp://other.example/debian/\n";
        let chosen = Mirror::choose(debian, "Acquire::http::Proxy \"http://proxy:3128\";\nAcquire::Retries \"3\";\n");
        assert_eq!(chosen.archive, "http://mirror.example/debian");
        assert_eq!(chosen.security, "http://mirror.example/debian-security");
        assert_eq!(chosen.options, ["Acquire::http::Proxy \"http://proxy:3128\";"]);
        let ubuntu = Mirror::choose("http://archive.example/ubuntu/\n", "Acquire::http::Proxy \"\";\n");
        assert_eq!(ubuntu.archive, "http://deb.debian.org/debian");
        assert!(ubuntu.options.is_empty());
    }
}
