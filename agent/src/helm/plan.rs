//! What is to be run for a chart: steps, arguments, files.

use super::chart::{Chart, Name, text, yes};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skerry_distribution::kubernetes::base64;
use skerry_distribution::kubernetes::paths::CHARTS;
use std::fmt::Write;
use std::time::Duration;

/// k3s's own way to say "a file that lies on the server".
const STATIC: &str = "https://%{KUBERNETES_API}%/static/charts/";
/// Keys that are obeyed, or ask for what is so anyway.
const KNOWN: [&str; 21] = [
    "backOffLimit",
    "bootstrap",
    "chart",
    "chartContent",
    "createNamespace",
    "failurePolicy",
    "helmVersion",
    "insecureSkipTLSVerify",
    "jobImage",
    "plainHTTP",
    "podSecurityContext",
    "repo",
    "repoCA",
    "securityContext",
    "set",
    "takeOwnership",
    "targetNamespace",
    "timeout",
    "valuesContent",
    "valuesSecrets",
    "version",
];

/// One run of helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What a first installation left that was cut short: nothing of it was in use.
    Uninstall,
    /// Back to what was there before an upgrade that was cut short.
    Rollback,
    /// Install, or bring to what is asked for.
    Upgrade,
}

/// From the last revision's state, as helm labels it. Nobody else is at it: we hold the lease.
pub fn steps(state: Option<&str>) -> Vec<Step> {
    match state {
        Some("pending-install" | "uninstalling") => vec![Step::Uninstall, Step::Upgrade],
        Some("pending-upgrade" | "pending-rollback") => vec![Step::Rollback, Step::Upgrade],
        _ => vec![Step::Upgrade],
    }
}

/// What tells one wish from another.
pub fn digest(chart: &Chart, config: Option<&Value>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(chart.spec.to_string());
    hasher.update([0]);
    hasher.update(config.map(ToString::to_string).unwrap_or_default());
    let mut out = String::new();
    for byte in hasher.finalize() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Keys that have no meaning here, for people; empty if there are none.
pub fn without(specs: &[Option<&Value>]) -> String {
    let keys = specs.iter().flatten().filter_map(|s| s.as_object()).flat_map(|s| s.keys());
    let unknown: Vec<&str> = keys.map(String::as_str).filter(|k| !KNOWN.contains(k)).collect();
    if unknown.is_empty() {
        String::new()
    } else {
        format!("no meaning here: {}", unknown.join(", "))
    }
}

/// Secrets that `valuesSecrets` names, in their order, each with the keys that count; none are all.
pub fn secrets(specs: &[Option<&Value>]) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let entries = specs.iter().flatten().flat_map(|spec| list(spec, "valuesSecrets"));
    entries
        .map(|entry| {
            (
                entry.get("name").map(text).unwrap_or_default(),
                list(&entry, "keys").iter().map(text).collect(),
            )
        })
        .collect()
}

/// How long one operation of helm may take.
pub fn timeout(chart: &Chart) -> Duration {
    let asked = text(&chart.spec, "timeout")
        .and_then(|t| crate::token::date::span(t).ok())
        .flatten();
    asked.unwrap_or(Duration::from_secs(300)).min(Duration::from_secs(3600))
}

/// Files for one run, to be put into a folder: name, content.
pub type Files = Vec<(String, Vec<u8>)>;

/// Arguments of `helm upgrade --install`, and the files that they name in `folder`. `secrets` are further values, as texts.
pub fn upgrade(name: &Name, chart: &Chart, config: Option<&Value>, secrets: &[String], folder: &str) -> Result<(Vec<String>, Files)> {
    let spec = &chart.spec;
    let mut files: Files = vec![];
    let what = if let Some(content) = text(spec, "chartContent") {
        let packed: String = content.split_whitespace().collect();
        let bytes = base64::decode(&packed).context("reading chartContent: it is no base64")?;
        files.push(("chart.tgz".to_owned(), bytes));
        format!("{folder}/chart.tgz")
    } else {
        located(text(spec, "chart").context("reading it: there is neither chart nor chartContent")?)?
    };
    let mut args = vec![
        "upgrade".to_owned(),
        "--install".to_owned(),
        format!("--namespace={}", chart.target(name)),
        format!("--timeout={}s", timeout(chart).as_secs()),
    ];
    for (key, flag) in [("repo", "repo"), ("version", "version")] {
        // A packed chart is what it is.
        if let Some(value) = text(spec, key).filter(|_| text(spec, "chartContent").is_none()) {
            args.push(format!("--{flag}={value}"));
        }
    }
    for (key, flag) in [
        ("createNamespace", "create-namespace"),
        ("insecureSkipTLSVerify", "insecure-skip-tls-verify"),
        ("plainHTTP", "plain-http"),
        ("takeOwnership", "take-ownership"),
    ] {
        if yes(spec, key) {
            args.push(format!("--{flag}"));
        }
    }
    if let Some(pem) = text(spec, "repoCA") {
        files.push(("ca.crt".to_owned(), pem.as_bytes().to_vec()));
        args.push(format!("--ca-file={folder}/ca.crt"));
    }
    let values = [Some(spec), config].into_iter().flatten().filter_map(|s| text(s, "valuesContent"));
    for (at, values) in values.chain(secrets.iter().map(String::as_str)).enumerate() {
        files.push((format!("values-{at}.yaml"), values.as_bytes().to_vec()));
        args.push(format!("--values={folder}/values-{at}.yaml"));
    }
    for spec in [Some(spec), config].into_iter().flatten() {
        args.extend(set(spec));
    }
    args.extend(["--".to_owned(), name.1.clone(), what]);
    Ok((args, files))
}

/// `set`, as helm-controller passes it on: numbers, `true`, `false` and `null` as such, all else as text.
fn set(spec: &Value) -> Vec<String> {
    let pairs = spec.get("set").and_then(Value::as_object);
    let flag = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let typed = matches!(value.as_str(), "true" | "false" | "null") || (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()));
        let flag = if typed { "--set" } else { "--set-string" };
        format!("{flag}={key}={}", value.replace(',', "\\,"))
    };
    pairs.into_iter().flatten().map(flag).collect()
}

/// Where a chart lies, for helm: an address, a name in a repository, or a file of the server.
fn located(chart: &str) -> Result<String> {
    let Some(file) = chart.strip_prefix(STATIC) else {
        // Not a path of this machine: what lies there is not the cluster's business.
        if chart.starts_with(['/', '.', '-']) || chart.starts_with("file:") {
            bail!(
                "reading chart {chart:?}: write an address, a chart's name beside repo, {STATIC}FILE for a file in {CHARTS}, or chartContent"
            );
        }
        return Ok(chart.to_owned());
    };
    if file.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        bail!("reading chart {chart:?}: write the plain path of a file in {CHARTS}");
    }
    Ok(format!("{CHARTS}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(spec: Value, config: Option<&Value>) -> Result<(String, Files)> {
        let chart = Chart { spec, ..Chart::default() };
        let (args, files) = upgrade(&("kube-system".into(), "web".into()), &chart, config, &["s: 1\n".to_owned()], "/f")?;
        Ok((args.join(" "), files))
    }

    #[test]
    fn a_chart_of_a_repository() {
        let spec = json!({
            "repo": "https://charts.example.org", "chart": "web", "version": "1.2.3", "targetNamespace": "web", "createNamespace": true,
            "valuesContent": "a: 1\n", "set": { "n": 3, "b": "true", "t": "x,y" }, "timeout": "90s", "bootstrap": true,
        });
        let config = json!({ "valuesContent": "a: 2\n", "set": { "z": "1" } });
        let (args, files) = args(spec, Some(&config)).unwrap();
        assert_eq!(
            args,
            "upgrade --install --namespace=web --timeout=90s --repo=https://charts.example.org --version=1.2.3 --create-namespace \
             --values=/f/values-0.yaml --values=/f/values-1.yaml --values=/f/values-2.yaml \
             --set=b=true --set=n=3 --set-string=t=x\\,y --set=z=1 -- web web"
        );
        let texts: Vec<_> = files.iter().map(|(_, b)| String::from_utf8_lossy(b).into_owned()).collect();
        assert_eq!(texts, ["a: 1\n", "a: 2\n", "s: 1\n"]);
    }

    #[test]
    fn a_packed_chart_and_one_that_lies_on_the_server() {
        let (packed, files) = args(json!({ "chartContent": "aGVs\nbG8=\n", "version": "9" }), None).unwrap();
        assert!(packed.ends_with("-- web /f/chart.tgz") && !packed.contains("version"), "{packed}");
        assert!(packed.contains("--namespace=kube-system "));
        assert_eq!(files[0], ("chart.tgz".to_owned(), b"hello".to_vec()));
        let lies = |chart: &str| args(json!({ "chart": chart }), None).map(|(args, _)| args);
        let (file, _) = args(json!({ "chart": format!("{STATIC}a/web.tgz") }), None).unwrap();
        assert!(
            file.ends_with("-- web /var/lib/rancher/k3s/server/static/charts/a/web.tgz"),
            "{file}"
        );
        for bad in [
            "/etc/shadow",
            "./x",
            "file:///x",
            "-x",
            &format!("{STATIC}../x"),
            &format!("{STATIC}/x"),
            "",
        ] {
            assert!(lies(bad).is_err(), "{bad}");
        }
        assert!(args(json!({ "chartContent": "%" }), None).is_err());
    }

    #[test]
    fn values_in_secrets() {
        let spec = json!({ "valuesSecrets": [{ "name": "a", "keys": ["x"] }, { "name": "b", "ignoreUpdates": true }] });
        let wanted = [("a".to_owned(), vec!["x".to_owned()]), ("b".to_owned(), vec![])];
        assert_eq!(secrets(&[Some(&spec), None, Some(&json!({}))]), wanted);
    }

    #[test]
    fn after_a_power_cut() {
        for (state, wanted) in [
            (None, &[Step::Upgrade][..]),
            (Some("deployed"), &[Step::Upgrade]),
            (Some("failed"), &[Step::Upgrade]),
            (Some("pending-install"), &[Step::Uninstall, Step::Upgrade]),
            (Some("uninstalling"), &[Step::Uninstall, Step::Upgrade]),
            (Some("pending-upgrade"), &[Step::Rollback, Step::Upgrade]),
        ] {
            assert_eq!(steps(state), wanted, "{state:?}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        assert_eq!(without(&[Some(&json!({ "chart": "x" })), None]), "");
        assert_eq!(
            without(&[Some(&json!({ "chart": "x", "authSecret": {} })), None]),
            "no meaning here: authSecret"
        );
    }

    #[test]
    fn each_wish_has_its_digest() {
        let of = |spec: Value| digest(&Chart { spec, ..Chart::default() }, None);
        assert_eq!(of(json!({ "a": 1, "b": 2 })), of(json!({ "b": 2, "a": 1 })));
        assert_ne!(of(json!({ "a": 1 })), of(json!({ "a": 2 })));
        let chart = Chart::default();
        assert_ne!(digest(&chart, None), digest(&chart, Some(&json!({}))));
    }
}
