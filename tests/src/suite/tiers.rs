//! What each tier runs, as data: the table that `make test --list` prints and the runner walks.

use crate::machine::release;
use crate::machine::tools::on_path;
use crate::suite::step;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// How a program's result is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// As one test: its exit status.
    Itself,
    /// As the tests that its output tells of.
    Tests,
    /// Not at all: its lines are shown.
    Report,
}

/// One program of a tier.
#[derive(Debug, Clone, Copy)]
pub struct Tier {
    /// Its name, and that of its log in `target/test/`.
    pub name: &'static str,
    /// What it proves.
    pub what: &'static str,
    /// How it counts.
    pub counts: Counts,
    /// Runs only where `cargo NAME` is installed; its absence is no skip, for the tests hold the same rules.
    pub needs: Option<&'static str>,
    /// Arguments of cargo.
    pub cargo: &'static [&'static str],
}

const IMAGES: [&str; 7] = ["run", "--profile", "tool", "-p", "skerry-images", "--bin", "images"];

/// The tiers before the machines, cheapest first. [`nextest`] takes the place of `test` where it is installed.
pub const TIERS: &[Tier] = &[
    Tier {
        name: "fmt",
        what: "the sources are formatted",
        counts: Counts::Itself,
        needs: None,
        cargo: &["fmt", "--all", "--", "--check", "--color=never"],
    },
    Tier {
        name: "clippy",
        what: "no lint speaks",
        counts: Counts::Itself,
        needs: None,
        cargo: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    },
    Tier {
        name: "test",
        what: "every room's own tests",
        counts: Counts::Tests,
        needs: None,
        cargo: &["test", "--workspace", "--no-fail-fast"],
    },
    Tier {
        name: "deny",
        what: "bans, licences and sources, by cargo-deny",
        counts: Counts::Itself,
        needs: Some("cargo-deny"),
        cargo: &["deny", "check", "bans", "licenses", "sources"],
    },
    Tier {
        name: "advisories",
        what: "known weaknesses",
        counts: Counts::Report,
        needs: Some("cargo-deny"),
        cargo: &["deny", "check", "advisories"],
    },
];

/// The tests by nextest, and the doctests that it leaves out.
pub const NEXTEST: [Tier; 2] = [
    Tier {
        name: "test",
        what: "every room's own tests",
        counts: Counts::Tests,
        needs: Some("cargo-nextest"),
        cargo: &["nextest", "run", "--workspace", "--no-fail-fast", "--color=never"],
    },
    Tier {
        name: "doctest",
        what: "the examples in the documentation",
        counts: Counts::Tests,
        needs: None,
        cargo: &["test", "--workspace", "--doc", "--no-fail-fast"],
    },
];

/// The tiers of this computer: what is installed decides between the runners.
pub fn of_this_computer() -> Vec<Tier> {
    let has = |t: &Tier| t.needs.is_none_or(|program| on_path(program).is_some());
    let mut tiers = vec![];
    for tier in TIERS.iter().filter(|t| has(t)) {
        if tier.name == "test" && NEXTEST.iter().all(has) {
            tiers.extend(NEXTEST);
        } else {
            tiers.push(*tier);
        }
    }
    tiers
}

/// A run of the image maker.
pub fn images(arguments: &[&str]) -> Command {
    let mut command = release::cargo();
    command.args(IMAGES).arg("--").args(arguments);
    command
}

/// The tests that run a real control plane on this computer, by the release's own program.
pub const CONTROL_PLANE: Tier = Tier {
    name: "control-plane",
    what: "joins, datastores and add-ons under a real API server, natively",
    counts: Counts::Tests,
    needs: None,
    cargo: &[
        "test",
        "-p",
        "skerry-agent",
        "--test",
        "real",
        "--test",
        "datastores",
        "--test",
        "members",
        "--test",
        "add_ons",
        "--no-fail-fast",
        "--",
        "--nocapture",
        "--test-threads=1",
    ],
};

/// Where the program is that holds all of Kubernetes: `SKERRY_KUBERNETES`, or what the release was made with.
pub fn kubernetes(tell: impl FnMut(&str)) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKERRY_KUBERNETES") {
        return Ok(PathBuf::from(path));
    }
    let built = step::run("program", &mut images(&["program", "kubernetes"]), tell)?;
    anyhow::ensure!(built.well, "building Kubernetes:\n{}", built.last_lines(20));
    let path = built.output.lines().map(str::trim).rfind(|l| !l.is_empty()).map(PathBuf::from);
    path.filter(|p| p.is_file()).context("building Kubernetes: no path was said")
}

/// Builds the stand-in program for the fault tests, static, and says where it lies; `SKERRY_FAKE` names one that is there already.
pub fn make_fake(tell: impl FnMut(&str)) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKERRY_FAKE") {
        return Ok(PathBuf::from(path));
    }
    let mut command = release::cargo();
    command.args([
        "build",
        "--profile",
        "tool",
        "-p",
        "skerry-tests",
        "--bin",
        "fake",
        "--target",
        "x86_64-unknown-linux-gnu",
    ]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let built = step::run("fake", &mut command, tell)?;
    anyhow::ensure!(built.well, "building the stand-in program:\n{}", built.last_lines(20));
    Ok(release::target().join("x86_64-unknown-linux-gnu/tool/fake"))
}
