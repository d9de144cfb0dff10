//! No bytes make `load` panic, and what comes out is sound: 100,000 documents and command lines.

use proptest::prelude::*;
use skerry_config::{Loaded, Source, SourceKind, load};

/// What configurations are made of, good and bad.
const PIECES: &[&str] = &[
    "ssh_authorized_keys",
    "write_files",
    "hostname",
    "run_cmd",
    "k3os",
    "skerry",
    "network",
    "users",
    "ca_certs",
    "labels",
    "sysctls",
    "token",
    "password",
    "wifi",
    "install",
    "silent",
    "environment",
    "modules",
    "taints",
    "k3s_args",
    "path",
    "content",
    "encoding",
    "permissions",
    "version",
    "ethernets",
    "eth0",
    "match",
    "addresses",
    "routes",
    "to",
    "via",
    "mtu",
    "nameservers",
    "name",
    "passphrase",
    "dhcp4",
    "<<",
    "n",
    "yes",
    "0644",
    "1.10",
    "~",
    "''",
    "\"",
    "'",
    "\"a b\"",
    "'0755'",
    "gz+b64",
    "aGVsbG8=",
    "default",
    "10.0.0.1/24",
    "10.0.0.1",
    "2",
    "/etc/x",
    "/var/lib/connman/a.config",
    "github:me",
    "server",
    "--token",
    "a=b:NoSchedule",
    "&a",
    "*a",
    "&b",
    "*b",
    "!!binary",
    "!!str",
    "!x",
    "|",
    ">-",
    "%YAML",
    "---",
    "...",
    "é",
    "\u{feff}",
    "\u{0}",
    "\t",
    "#",
    ":",
    ": ",
    ":\n",
    ":\n  ",
    ":\n    ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "\n- ",
    "\n  - ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    " ",
    "=",
    ".",
    "\r\n",
];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

fn kind() -> impl Strategy<Value = SourceKind> {
    prop::sample::select(vec![
        SourceKind::System,
        SourceKind::UserData,
        SourceKind::MetadataKeys,
        SourceKind::MetadataHostname,
    ])
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

/// What must hold of whatever was loaded.
fn sound(sources: &[Source]) -> Loaded {
    let loaded = load(sources);
    assert_eq!(loaded.readable + loaded.refused.len(), sources.len());
    assert!(loaded.refused.is_empty() || !loaded.problems.is_empty(), "refused without a word");
    for problem in &loaded.problems {
        assert!(problem.origin.source.is_empty() || sources.iter().any(|source| source.name == problem.origin.source));
        assert!(!problem.what.is_empty());
    }
    // Every place lies in its source.
    for entry in &loaded.explain {
        let source = sources.iter().find(|source| source.name == entry.origin.source).expect("a source");
        let lines = source.bytes.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count() + 1;
        assert!(entry.origin.line <= lines, "{entry:?}");
    }
    // Nothing is lost on the way to the next program, and what needs decoding decodes.
    let json = serde_json::to_string(&loaded.config).expect("plain data");
    assert_eq!(
        serde_json::from_str::<skerry_config::Config>(&json).expect("the same data"),
        loaded.config
    );
    assert!(
        loaded
            .config
            .write_files
            .iter()
            .all(|file| !file.path.is_empty() && file.decoded().is_ok())
    );
    loaded.config.to_k3os_json().expect("plain data");
    let _ = loaded.usable();
    loaded
}

proptest! {
    #![proptest_config(config(20_000))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in kind()) {
        sound(&[Source::new(kind, "a", bytes)]);
    }

    #[test]
    fn any_text_is_a_command_line(text in "\\PC{0,80}") {
        sound(&[Source::new(SourceKind::Cmdline, "c", text)]);
    }
}

proptest! {
    #![proptest_config(config(30_000))]

    #[test]
    fn documents_of_all_sorts_of_pieces_are_read_without_panic(text in soup(), kind in kind()) {
        sound(&[Source::new(kind, "a", text)]);
    }

    #[test]
    fn command_lines_of_all_sorts_of_pieces_are_read_without_panic(words in prop::collection::vec(
        (prop::sample::select(vec!["k3os.", "skerry.", "", "k3os.labels.", "k3os.install.", "k3os.sysctl[", "write_files.", "network."]),
         prop::sample::select(PIECES), prop::sample::select(vec!["=", "=\"", "]=", " ", ".", ""]), prop::sample::select(PIECES)), 0..8)) {
        let text: Vec<String> = words.into_iter().map(|(prefix, key, between, value)| format!("{prefix}{key}{between}{value}")).collect();
        sound(&[Source::new(SourceKind::Cmdline, "c", text.join(" "))]);
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    /// The example with a stretch of it replaced by something else: whatever the damage, keys outside of it are kept.
    #[test]
    fn a_damaged_config_is_read_without_panic(at in 0_usize..3000, length in 0_usize..40, text in soup()) {
        let mut bytes = include_bytes!("../example.yaml").to_vec();
        let start = at.min(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, text.bytes());
        sound(&[Source::new(SourceKind::System, "a", bytes)]);
    }

    /// One key that cannot be used costs nothing else.
    #[test]
    fn a_bad_key_costs_only_itself(key in "[a-z]{3,12}x", value in "[a-z0-9]{0,8}", section in any::<bool>()) {
        let good = "hostname: h\nk3os:\n  token: 0123456789abcdef\n  labels: {a: b}\nrun_cmd: [a]\n";
        let bad = if section { good.replace("k3os:\n", &format!("k3os:\n  {key}: {value}\n")) } else { format!("{key}: [{value}\n{good}") };
        let expected = load(&[Source::new(SourceKind::System, "good", good)]);
        let loaded = sound(&[Source::new(SourceKind::System, "bad", bad)]);
        prop_assert_eq!(loaded.config, expected.config);
        prop_assert!(loaded.problems.iter().any(|problem| problem.drops));
    }
}
