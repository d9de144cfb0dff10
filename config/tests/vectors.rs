//! The golden vectors: what k3OS's own parser made of 35 inputs, and where ours makes something else of them, with the reason.

use skerry_config::{Source, SourceKind, load};

/// Case, why it differs, and what ours makes of it.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "05-merge-lists",
        "k3OS refused both files because `y` is a boolean; where text is expected its text as written counts",
        r#"{"sshAuthorizedKeys":["two"],"hostname":"h1","k3os":{"modules":["y"],"token":"T","labels":{"b":"3"},"environment":{"B":"2"},"install":{}},"runCmd":["b"]}"#,
    ),
    (
        "06-merge-alias-vs-canonical",
        "undefined in k3OS (Go's map order); the rule that fits most vectors (04, 34): the last spelling in byte order counts",
        r#"{"k3os":{"dnsNameservers":["2.2.2.2"],"install":{}}}"#,
    ),
    (
        "12-int-hostname",
        "k3OS refused the file; a number's text as written counts where text is expected",
        r#"{"hostname":"1234","k3os":{"install":{}}}"#,
    ),
    ("13-int-token", "as 12", r#"{"k3os":{"token":"1234","install":{}}}"#),
    (
        "14-perm-int",
        "as 12: `0644` without quotes is the mode 0644",
        r#"{"writeFiles":[{"encoding":"","content":"x","owner":"","path":"/a","permissions":"0644"}],"k3os":{"install":{}}}"#,
    ),
    ("15-list-ints", "as 12", r#"{"k3os":{"ntpServers":["1","2"],"install":{}}}"#),
    (
        "17-writefiles-map",
        "k3OS refused the file; a map where a list of maps is expected is one element",
        r#"{"writeFiles":[{"encoding":"","content":"x","owner":"","path":"/a","permissions":""}],"k3os":{"install":{}}}"#,
    ),
    (
        "18-run-cmd-list-of-list",
        "k3OS refused the file; the item that is a list is left out (k3OS's remnant was an empty command)",
        r#"{"k3os":{"install":{}}}"#,
    ),
    (
        "31-cmd-sysctl-bracket",
        "the bracket form is documented and did not work in k3OS; it does here",
        r#"{"k3os":{"sysctls":{"kernel.printk":"4 4 1 7"},"labels":{"region":"us"},"install":{}}}"#,
    ),
    (
        "37-cmd-scalar-conflict",
        "k3OS refused the line; a bare `k3os` says nothing",
        r#"{"k3os":{"token":"B","install":{}}}"#,
    ),
    (
        "38-cmd-conflict-2",
        "k3OS refused the line; of a repeated scalar the last counts",
        r#"{"hostname":"b","k3os":{"install":{}}}"#,
    ),
    (
        "39-cmd-wifi",
        "as 17",
        r#"{"k3os":{"wifi":[{"name":"home","passphrase":"foo"}],"install":{}}}"#,
    ),
    (
        "42-cmd-writefiles",
        "as 17",
        r#"{"writeFiles":[{"encoding":"","content":"x","owner":"","path":"/a","permissions":""}],"k3os":{"install":{}}}"#,
    ),
];

struct Case {
    name: String,
    sources: Vec<Source>,
    /// What k3OS made of it: the JSON, or what was left after an error.
    expected: String,
    failed: bool,
}

fn cases() -> Vec<Case> {
    let text = include_str!("k3os-config-vectors.txt");
    let mut cases: Vec<Case> = Vec::new();
    let mut reading = false;
    for line in text.lines().take_while(|line| !line.starts_with("schema ")) {
        if let Some(name) = line.strip_prefix("##### CASE ") {
            cases.push(Case {
                name: name.to_owned(),
                sources: Vec::new(),
                expected: String::new(),
                failed: false,
            });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("--- ") {
            let kind = match (name.ends_with(".cmdline"), case.sources.is_empty()) {
                (true, _) => SourceKind::Cmdline,
                (false, true) => SourceKind::K3osSystem,
                (false, false) => SourceKind::K3osLocal,
            };
            case.sources.push(Source::new(kind, name, ""));
            reading = true;
        } else if let Some(json) = line.strip_prefix("=> JSON: ").or_else(|| line.strip_prefix("=> partial: ")) {
            json.clone_into(&mut case.expected);
        } else if line.starts_with("=> ") {
            reading = false;
            case.failed |= line.starts_with("=> ERROR");
        } else if reading && case.expected.is_empty() {
            if let Some(source) = case.sources.last_mut() {
                source.bytes.extend_from_slice(line.as_bytes());
                source.bytes.push(b'\n');
            }
        }
    }
    cases
}

#[test]
fn the_golden_vectors_hold_or_differ_for_a_reason() {
    let cases = cases();
    assert_eq!(cases.len(), 35);
    for case in &cases {
        let loaded = load(&case.sources);
        let ours = loaded.config.to_k3os_json().unwrap();
        let difference = DIFFERENCES.iter().find(|(name, ..)| *name == case.name);
        match difference {
            Some((_, reason, expected)) => {
                assert_eq!(&ours, expected, "{}: {reason}", case.name);
                assert_ne!(ours, case.expected, "{} holds: take it off the table", case.name);
            }
            None => assert_eq!(ours, case.expected, "{}", case.name),
        }
        if case.failed {
            assert!(
                !loaded.problems.is_empty() || difference.is_some(),
                "{}: k3OS refused it, and nothing is said",
                case.name
            );
        }
    }
    for (name, ..) in DIFFERENCES {
        assert!(cases.iter().any(|case| case.name == *name), "{name} is no case");
    }
}

#[test]
fn every_spelling_in_the_vectors_is_taken() {
    let text = include_str!("k3os-config-vectors.txt");
    let mut level = "";
    let mut checked = 0;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("#### FUZZY ") {
            level = name;
        } else if let (false, Some((field, spellings))) = (level.is_empty(), line.trim().split_once(" <- ")) {
            if field == "passphrase" && level != "wifi" || field == "k3os" {
                continue;
            }
            for spelling in spellings.split(", ") {
                let value = match field {
                    "sysctls" | "labels" | "environment" => "{a: b}",
                    "writeFiles" => "[{path: /a}]",
                    "wifi" => "[{name: a}]",
                    "install" => "{device: /dev/vda}",
                    "silent" | "forceEfi" | "powerOff" | "noFormat" | "debug" => "true",
                    "taints" => "a=b:NoSchedule",
                    "dnsNameservers" => "1.1.1.1",
                    "permissions" => "'0600'",
                    _ => "text",
                };
                let pair = format!("{spelling}: {value}");
                let document = match level {
                    "cloudConfig" => pair,
                    "k3OS" => format!("k3os: {{{pair}}}"),
                    "wifi" => format!("k3os: {{wifi: [{{name: n, {pair}}}]}}"),
                    "install" => format!("k3os: {{install: {{{pair}}}}}"),
                    _ => format!("write_files: [{{path: /p, {pair}}}]"),
                };
                let loaded = load(&[Source::new(SourceKind::K3osSystem, "config.yaml", document.clone())]);
                let unknown: Vec<_> = loaded
                    .problems
                    .iter()
                    .filter(|problem| problem.what.starts_with("unknown key"))
                    .collect();
                assert!(unknown.is_empty(), "{document}: {unknown:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}
