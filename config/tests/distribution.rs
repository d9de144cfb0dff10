//! `skerry.distribution` in its two forms, and how a later source changes it.
#![allow(clippy::unwrap_used, reason = "a test panics to fail")]

use skerry_config::types::Choice;
use skerry_config::{Distribution, Loaded, Source, SourceKind, load};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn of(sources: &[(SourceKind, &str)]) -> Loaded {
    let sources: Vec<Source> = sources.iter().map(|(kind, text)| Source::new(*kind, "a source", *text)).collect();
    load(&sources)
}

fn choice(text: &str) -> (Choice, Vec<String>) {
    let loaded = of(&[(SourceKind::System, text)]);
    let problems = loaded.problems.iter().map(|p| p.path.clone()).collect();
    (loaded.config.skerry.distribution, problems)
}

#[test]
fn a_name_alone_or_a_section() {
    assert_eq!(choice("skerry: {distribution: k3s}"), (Distribution::K3s.into(), vec![]));
    assert_eq!(choice("hostname: h").0, Distribution::Kubernetes);
    let (found, problems) = choice(&format!(
        "k3os: {{distribution: {{name: k0s, version: v1.33.1+k0s.0, sha256: {HEX}}}}}"
    ));
    let wanted = Choice {
        name: Distribution::K0s,
        version: Some("v1.33.1+k0s.0".into()),
        sha256: Some(HEX.into()),
        ..Choice::default()
    };
    assert_eq!((found, problems), (wanted, vec![]));
}

#[test]
fn what_cannot_be_used_is_left_out_alone() {
    for (text, name, path) in [
        ("microk8s", Distribution::Kubernetes, "skerry.distribution"),
        ("[k3s]", Distribution::Kubernetes, "skerry.distribution"),
        ("{name: k3s, path: opt/k3s}", Distribution::K3s, "skerry.distribution.path"),
        ("{name: k3s, path: /a/../b}", Distribution::K3s, "skerry.distribution.path"),
        ("{name: k3s, version: ../../etc}", Distribution::K3s, "skerry.distribution.version"),
        ("{name: k3s, url: 'ftp://x/k3s'}", Distribution::K3s, "skerry.distribution.url"),
        ("{name: k3s, sha256: abc}", Distribution::K3s, "skerry.distribution.sha256"),
        ("{name: k3s, sha: abc}", Distribution::K3s, "skerry.distribution.sha"),
    ] {
        let (found, problems) = choice(&format!("skerry: {{distribution: {text}}}"));
        assert_eq!((found, problems), (name.into(), vec![path.to_owned()]), "{text}");
    }
}

#[test]
fn a_name_alone_forgets_where_another_program_came_from() {
    let system = format!("skerry: {{distribution: {{name: k3s, url: 'https://mirror/k3s', sha256: {HEX}}}}}");
    let loaded = of(&[(SourceKind::System, &system), (SourceKind::Local, "skerry: {distribution: k0s}")]);
    assert_eq!(loaded.config.skerry.distribution, Choice::from(Distribution::K0s));
    let told: Vec<&str> = loaded.explain.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        told,
        ["skerry.distribution.name", "skerry.distribution.url", "skerry.distribution.sha256"]
    );
    // A section changes only what it says.
    let version = "skerry: {distribution: {sha256: null, version: v2}}";
    let found = of(&[(SourceKind::System, &system), (SourceKind::Local, version)])
        .config
        .skerry
        .distribution;
    assert_eq!(
        (found.name, found.sha256, found.version.as_deref()),
        (Distribution::K3s, None, Some("v2"))
    );
    assert!(found.url.is_some());
}

#[test]
fn on_the_command_line() {
    let found = |words: &str| of(&[(SourceKind::Cmdline, words)]).config.skerry.distribution;
    assert_eq!(found("quiet skerry.distribution=none"), Distribution::None);
    assert_eq!(found("skerry.distribution=none skerry.distribution=k3s"), Distribution::K3s);
    let both = found("skerry.distribution.name=k3s skerry.distribution.path=/opt/k3s");
    assert_eq!((both.name, both.path.as_deref()), (Distribution::K3s, Some("/opt/k3s")));
}
