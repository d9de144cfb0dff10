//! Where our dependencies come from and under which licences: the rules of `deny.toml`, checked with or without cargo-deny.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The quoted words of the list `key` in `deny.toml`.
fn words(text: &str, key: &str) -> Vec<String> {
    let begin = text
        .find(&format!("\n{key} = ["))
        .unwrap_or_else(|| panic!("deny.toml has no list {key}"));
    let list = text[begin..].split_once('[').unwrap().1.split_once("\n]").unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Value>(&out.stdout).unwrap()["packages"]
        .as_array()
        .unwrap()
        .clone()
}

fn rules() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml")).unwrap()
}

/// Whether an SPDX expression can be met by allowed licences: every part of an AND, one part of an OR.
fn met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let bare = |w: &str| w.trim().trim_matches(['(', ')']).trim().to_owned();
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|l| allowed.contains(&bare(l))))
}

#[test]
fn licences_are_allowed() {
    let allowed = words(&rules(), "allow");
    let bad: Vec<_> = packages()
        .iter()
        .filter(|p| !met(p["license"].as_str().unwrap_or("none"), &allowed))
        .map(|p| format!("{} ({})", p["name"], p["license"]))
        .collect();
    assert!(bad.is_empty(), "licences that deny.toml does not allow: {bad:?}");
}

#[test]
fn sources_are_the_registry_or_ours() {
    let crates = "registry+https://github.com/rust-lang/crates.io-index";
    let bad: Vec<_> = packages()
        .iter()
        .filter(|p| p["source"].as_str().is_some_and(|s| s != crates))
        .map(|p| p["name"].clone())
        .collect();
    assert!(bad.is_empty(), "crates from elsewhere: {bad:?}");
}

#[test]
fn banned_crates_are_absent() {
    let rules = rules();
    // A crate, and those through which alone it may come (cargo-deny's `wrappers`).
    let banned: Vec<(&str, Vec<&str>)> = rules
        .lines()
        .filter_map(|l| {
            let rest = l.trim().strip_prefix("{ name = \"")?;
            let wrappers = rest.split_once("wrappers = [").and_then(|(_, w)| w.split_once(']'));
            let wrappers = wrappers.map_or(vec![], |(w, _)| w.split(',').map(|n| n.trim().trim_matches('"')).collect());
            Some((rest.split('"').next()?, wrappers))
        })
        .collect();
    assert!(!banned.is_empty(), "deny.toml bans nothing");
    let packages = packages();
    let asks_for = |p: &Value, name: &str| {
        p["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|d| d["name"] == name && d["kind"].is_null())
    };
    let found: Vec<String> = banned
        .iter()
        .filter(|(name, _)| packages.iter().any(|p| p["name"] == *name))
        .flat_map(|(name, wrappers)| {
            let through = packages.iter().filter(|p| asks_for(p, name)).filter_map(|p| p["name"].as_str());
            let bad = through.filter(|by| !wrappers.contains(by)).map(|by| format!("{name} by {by}"));
            bad.collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "banned crates: {found:?}");
}

#[test]
fn expressions() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, is_met) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR X) AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("none", false),
    ] {
        assert_eq!(met(expression, &allowed), is_met, "{expression}");
    }
}
