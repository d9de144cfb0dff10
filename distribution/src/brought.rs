//! A program that does not come with the system: where it lies, where it is fetched from, and the steps before and after it.
//!
//! ```text
//! apply-boot ── distribution-files ── distribution-fetch ── the program ── distribution-ready
//! boot-cmd (run-cmd)      netd ── clock ────────┘
//! ```
//!
//! A program is fetched once, checked by its SHA-256, and used without any network from then on. Without a pinned digest the one that
//! the project publishes beside its release is believed at the first download, by https only, and kept beside the program.

use crate::kubernetes::paths::{FETCH, SETUP};
use crate::kubernetes::units::RUNTIME;
use crate::{Facts, Problem};
use skerry_config::types::{Choice, Config, Distribution};
use skerry_control::unit::{Kind, Ready, Scope, Stop, Unit};
use std::time::Duration;

/// Fetched programs, by distribution and release.
pub const KEPT: &str = "/var/lib/skerry/distributions";
/// Where a program is looked for of which nothing is said; persistent, and k3OS's place.
pub const USUAL: &str = "/usr/local/bin";
/// What is rendered for it at each boot, in memory.
pub const RUN: &str = "/run/skerry/distribution";
const KEY: &str = "skerry.distribution";

/// A program and how it comes to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it lies, or will.
    pub path: String,
    /// From where it is fetched, if it is missing.
    source: Option<Source>,
    /// What it must hash to.
    sha256: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    url: String,
    /// The list of digests that is published beside it.
    sums: Option<String>,
}

/// Where the configured distribution's program is; none (and a problem that says why) where it can be nowhere.
pub fn program(choice: &Choice, facts: &Facts, problems: &mut Vec<Problem>) -> Option<Program> {
    let name = choice.name.name();
    let sha256 = choice.sha256.as_ref().map(|s| s.to_ascii_lowercase());
    if let Some(path) = &choice.path {
        for (key, value) in [("version", &choice.version), ("url", &choice.url)] {
            if value.is_some() {
                problems.push(Problem::ignored(
                    &format!("{KEY}.{key}"),
                    "path says where the program is",
                    "only one of them",
                ));
            }
        }
        return Some(Program {
            path: path.clone(),
            source: None,
            sha256,
        });
    }
    let source = match (&choice.url, &choice.version) {
        (None, None) => {
            return Some(Program {
                path: format!("{USUAL}/{name}"),
                source: None,
                sha256,
            });
        }
        (Some(url), _) => Source {
            url: url.clone(),
            sums: None,
        },
        (None, Some(version)) => published(choice.name, version, &facts.arch).or_else(|| {
            let what = format!("{name} publishes no program that could be fetched as it is for {}", facts.arch);
            let hint = "unpack it yourself and say its path, or its url and sha256";
            problems.push(Problem::ignored(&format!("{KEY}.version"), what, hint));
            None
        })?,
    };
    if sha256.is_none() && source.sums.is_none() {
        let hint = "sha256: what sha256sum says of the file";
        problems.push(Problem::ignored(
            &format!("{KEY}.url"),
            "a program is not fetched without its SHA-256",
            hint,
        ));
        return None;
    }
    if sha256.is_none() {
        let what = "no sha256 is given: the one that is published beside the release is believed at the first download, and kept";
        problems.push(Problem::warning(
            &format!("{KEY}.version"),
            what,
            "sha256: …, for the same program on every machine",
        ));
    }
    // One folder a release; what has no release's name is known by its digest.
    let release = choice.version.clone().or_else(|| sha256.clone()).unwrap_or_default();
    Some(Program {
        path: format!("{KEPT}/{name}/{release}/{name}"),
        source: Some(source),
        sha256,
    })
}

/// What the projects publish.
fn published(name: Distribution, version: &str, arch: &str) -> Option<Source> {
    let encoded = version.replace('+', "%2B");
    let (base, file, sums) = match name {
        Distribution::K3s => {
            let (file, sums) = match arch {
                "amd64" => ("k3s", "sha256sum-amd64.txt"),
                "arm64" => ("k3s-arm64", "sha256sum-arm64.txt"),
                "arm" => ("k3s-armhf", "sha256sum-arm.txt"),
                _ => return None,
            };
            let base = format!("https://github.com/k3s-io/k3s/releases/download/{encoded}");
            (base, file.to_owned(), sums.to_owned())
        }
        Distribution::K0s => {
            let base = format!("https://github.com/k0sproject/k0s/releases/download/{encoded}");
            (base, format!("k0s-{encoded}-{arch}"), "sha256sums.txt".to_owned())
        }
        Distribution::Kubelet => {
            let base = format!("https://dl.k8s.io/release/{encoded}/bin/linux/{arch}");
            (base, "kubelet".to_owned(), "kubelet.sha256".to_owned())
        }
        // An archive with everything in it.
        _ => return None,
    };
    Some(Source {
        url: format!("{base}/{file}"),
        sums: Some(format!("{base}/{sums}")),
    })
}

/// What must be over before anything of a distribution is written or run.
pub fn first(config: &Config) -> &'static [&'static str] {
    if config.run_cmd.is_empty() {
        &["apply-boot", "boot-cmd"]
    } else {
        &["apply-boot", "boot-cmd", "apply-runtime", "run-cmd"]
    }
}

/// The step that writes the plan's files.
pub fn files(config: &Config) -> Unit {
    let mut unit = step("distribution-files", "Files of the distribution", &["prepare"]);
    unit.deadline = Some(Duration::from_secs(30));
    unit.after(first(config))
}

/// The step after which the program is there, and is the right one. Until then it is tried again for ever.
pub fn fetch(name: Distribution, program: &Program) -> Unit {
    let title = format!("{}: program", name.name());
    let mut unit = Unit::one_shot("distribution-fetch", &title, &[FETCH, "program", "--at", &program.path]);
    unit.kind = Kind::OneShot { retry: true, every: None };
    // A line is as slow as it is.
    unit.deadline = None;
    unit.env_file = Some("/etc/environment".to_owned());
    let mut word = |flag: &str, value: Option<&String>| {
        unit.argv.extend(value.iter().flat_map(|v| [flag.to_owned(), (*v).clone()]));
    };
    word("--url", program.source.as_ref().map(|s| &s.url));
    word("--sha256", program.sha256.as_ref());
    if program.sha256.is_none() {
        word("--sums", program.source.as_ref().and_then(|s| s.sums.as_ref()));
    }
    if program.source.is_some() {
        unit.after(&["distribution-files", "netd", "clock"])
    } else {
        unit.after(&["distribution-files"])
    }
}

/// The program itself: settings as in the projects' own service files. No limit of processes and no memory limit; its children hold the
/// pods and stay when it is stopped; it may take many minutes to come up.
pub fn service(name: &str, title: &str, argv: Vec<String>, env: Vec<(String, String)>) -> Unit {
    let mut unit = Unit::service(name, title, &[]);
    unit.argv = argv;
    unit.env = env;
    unit.env_file = Some("/etc/environment".to_owned());
    unit.oom_score = RUNTIME;
    unit.nofile = Some(1 << 20);
    unit.deadline = Some(Duration::from_secs(600));
    unit.stop = Stop {
        scope: Scope::MainOnly,
        signal: 15,
        grace: Duration::from_secs(30),
    };
    unit.after(&["distribution-fetch", "netd", "clock"])
}

/// Waits for ever until the API server that a kubeconfig leads to says that this node, of this boot, is Ready.
pub fn node_ready(kubeconfig: &str, node: &str, after: &str) -> Unit {
    let mut unit = step("distribution-ready", "Kubernetes: node Ready", &["ready", "node", kubeconfig, node]);
    unit.deadline = None;
    unit.after(&[after])
}

/// Up once there is a file that only comes into being when the cluster has taken the node in.
pub fn file_ready(path: &str, after: &str) -> Unit {
    step("distribution-ready", "Kubernetes: node is known", &["ready", "file", path]).after(&[after])
}

/// Ready once an HTTP server on a socket in the file system answers with success.
pub fn socket_answers(socket: &str, path: &str) -> Ready {
    Ready::Probe([SETUP, "distribution", "ready", "socket", socket, path].map(str::to_owned).to_vec())
}

/// A step of our own, tried until it succeeds.
pub fn step(name: &str, title: &str, words: &[&str]) -> Unit {
    let mut argv = vec![SETUP, "distribution"];
    argv.extend(words);
    let mut unit = Unit::one_shot(name, title, &argv);
    unit.kind = Kind::OneShot { retry: true, every: None };
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// Path, words of the step, problems.
    fn of(choice: &Choice, arch: &str) -> (Option<String>, String, usize) {
        let facts = Facts {
            arch: arch.into(),
            ..Facts::default()
        };
        let mut problems = vec![];
        let program = program(choice, &facts, &mut problems);
        let words = program
            .as_ref()
            .map(|p| fetch(choice.name, p).argv[4..].join(" "))
            .unwrap_or_default();
        (program.map(|p| p.path), words, problems.len())
    }

    fn choice(name: Distribution, path: &str, version: &str, url: &str, sha256: &str) -> Choice {
        let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        Choice {
            name,
            path: some(path),
            version: some(version),
            url: some(url),
            sha256: some(sha256),
        }
    }

    #[test]
    fn where_a_program_comes_from() {
        use Distribution::{Edgecore, K0s, K3s, Kubelet};
        let sums = "https://github.com/k3s-io/k3s/releases/download/v1.33.4%2Bk3s1";
        let k0s = "https://github.com/k0sproject/k0s/releases/download/v1.33.1%2Bk0s.0";
        let table = [
            (choice(K3s, "", "", "", ""), Some("/usr/local/bin/k3s"), String::new(), 0),
            (choice(K3s, "/opt/k3s", "", "", HEX), Some("/opt/k3s"), format!("--sha256 {HEX}"), 0),
            (choice(K3s, "/opt/k3s", "v1", "http://x/k", ""), Some("/opt/k3s"), String::new(), 2),
            (
                choice(K3s, "", "v1.33.4+k3s1", "", ""),
                Some("/var/lib/skerry/distributions/k3s/v1.33.4+k3s1/k3s"),
                format!("--url {sums}/k3s --sums {sums}/sha256sum-amd64.txt"),
                1,
            ),
            (
                choice(K0s, "", "v1.33.1+k0s.0", "", HEX),
                Some("/var/lib/skerry/distributions/k0s/v1.33.1+k0s.0/k0s"),
                format!("--url {k0s}/k0s-v1.33.1%2Bk0s.0-amd64 --sha256 {HEX}"),
                0,
            ),
            (
                choice(Edgecore, "", "", "http://mirror/edgecore", HEX),
                Some("/var/lib/skerry/distributions/edgecore/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/edgecore"),
                format!("--url http://mirror/edgecore --sha256 {HEX}"),
                0,
            ),
            // An archive; a program that nothing vouches for.
            (choice(Edgecore, "", "v1.20.0", "", ""), None, String::new(), 1),
            (choice(Kubelet, "", "", "https://mirror/kubelet", ""), None, String::new(), 1),
        ];
        for (choice, path, words, problems) in table {
            assert_eq!(of(&choice, "amd64"), (path.map(str::to_owned), words, problems), "{choice:?}");
        }
        assert!(
            of(&choice(K3s, "", "v1", "", ""), "arm64")
                .1
                .ends_with("/k3s-arm64 --sums https://github.com/k3s-io/k3s/releases/download/v1/sha256sum-arm64.txt")
        );
        assert_eq!(of(&choice(K3s, "", "v1", "", ""), "riscv64").0, None);
    }

    #[test]
    fn only_what_is_fetched_waits_for_the_network() {
        let facts = Facts {
            arch: "amd64".into(),
            ..Facts::default()
        };
        for (version, waits) in [("", false), ("v1", true)] {
            let choice = choice(Distribution::K3s, "", version, "", "");
            let program = program(&choice, &facts, &mut vec![]).unwrap();
            assert_eq!(fetch(choice.name, &program).after.contains(&"netd".to_owned()), waits);
        }
    }
}
