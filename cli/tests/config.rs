//! `skerry config` as a person meets it: what it prints where, and what it ends with.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/example.yaml");

/// Runs `skerry config …`, with a text on standard input.
fn skerry(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skerry"))
        .arg("config")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skerry starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).unwrap_or_default();
    child.wait_with_output().expect("skerry ends")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn check_ends_with_1_when_something_is_left_out() {
    let good = skerry(&["check", EXAMPLE], "");
    assert_eq!(good.status.code(), Some(0));
    assert!(out(&good).ends_with("no problems\n"), "{}", out(&good));
    for without in ["no ingress controller", "NetworkPolicy"] {
        assert!(
            out(&good).lines().any(|l| l.contains("note: ") && l.contains(without)),
            "{}",
            out(&good)
        );
    }
    let known = skerry(
        &["check", "-"],
        "skerry: {k3s_args: [server, --disable=traefik, --disable-network-policy]}\n",
    );
    assert_eq!((known.status.code(), out(&known).as_str()), (Some(0), "no problems\n"));
    let flag = skerry(&["check", "-"], "skerry: {k3s_args: [server, --docker]}\n");
    assert!(out(&flag).contains("--docker has no effect"), "{}", out(&flag));
    assert_eq!(flag.status.code(), Some(1));
    let unknown = skerry(&["check", "-"], "hostnam: x\n");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        out(&unknown).starts_with("-:1:1: warning: hostnam: unknown key, did you mean `hostname`?; ignored\n"),
        "{}",
        out(&unknown)
    );
    let json = skerry(&["check", "--json", "-"], "hostnam: x\n");
    let json: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!((&json["ok"], &json["problems"][0]["line"]), (&false.into(), &1.into()));
    assert_eq!(skerry(&["check", "/nonexistent"], "").status.code(), Some(1));
}

/// What no rule of `config` looks at: flags and files that only the distribution reads.
#[test]
fn the_whole_files_of_the_reference_page_pass() {
    for (title, text) in skerry_config::reference::WHOLE {
        let checked = skerry(&["check", "-"], text);
        assert!(
            checked.status.success() && out(&checked).ends_with("no problems\n"),
            "{title}: {}",
            out(&checked)
        );
    }
}

#[test]
fn dump_as_k3os_is_one_line_with_problems_on_standard_error() {
    let text = "k3os: {token: A, labels: {a: b}, dns_nameservers: [9.9.9.9]}\nhostname: sys\nhostnam: x\n";
    let output = skerry(
        &[
            "dump",
            "--as",
            "k3os",
            "--cmdline",
            "k3os.token=B k3os.dns_nameserver=1.1.1.1 hostname=cmd",
            "-",
        ],
        text,
    );
    let expected = r#"{"hostname":"cmd","k3os":{"dnsNameservers":["1.1.1.1"],"token":"B","labels":{"a":"b"},"install":{}}}"#;
    assert_eq!(out(&output), format!("{expected}\n"));
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hostnam"));
    // Nothing could be read: 1.
    assert_eq!(skerry(&["dump", "--as", "k3os", "/nonexistent"], "").status.code(), Some(1));
    assert_eq!(skerry(&["dump", "--as", "k3os", "-"], "[[[").status.code(), Some(1));
    // A command line alone is a source.
    assert_eq!(
        out(&skerry(&["dump", "--as", "k3os", "--cmdline", "hostname=h"], "")),
        "{\"hostname\":\"h\",\"k3os\":{\"install\":{}}}\n"
    );
}

#[test]
fn secrets_are_shown_only_when_asked_for() {
    let text = "k3os: {token: 0123456789abcdef}\n";
    for arguments in [
        &["dump", "-"][..],
        &["dump", "--json", "-"],
        &["explain", "-"],
        &["explain", "--json", "-"],
    ] {
        let output = skerry(arguments, text);
        assert!(
            !out(&output).contains("0123456789abcdef") && out(&output).contains("***"),
            "{arguments:?}"
        );
        let output = skerry(&[arguments, &["--show-secrets"]].concat(), text);
        assert!(out(&output).contains("0123456789abcdef"), "{arguments:?}");
    }
}

#[test]
fn explain_says_where_each_value_came_from_and_what_becomes_of_it() {
    let output = skerry(
        &["explain", "--cmdline", "hostname=c", "-"],
        "hostname: a\nk3os: {server_url: 'https://s:6443'}\n",
    );
    let expected = "hostname = c\n    from command line:1:1, over -:1:11\n    boot: set as the host name, also in /etc/hostname and /etc/hosts\n\
                    skerry.server_url = https://s:6443\n    from -:2:20\n    kubernetes: the server whose cluster is joined\n";
    assert_eq!(out(&output), expected);
}

#[test]
fn schema_and_reference_are_the_ones_that_are_checked_in() {
    assert_eq!(out(&skerry(&["schema"], "")), include_str!("../../config/schema.json"));
    assert_eq!(out(&skerry(&["schema", "--json"], "")), include_str!("../../config/schema.json"));
    assert_eq!(out(&skerry(&["reference"], "")), include_str!("../../config/REFERENCE.md"));
    assert!(serde_json::from_str::<serde_json::Value>(&out(&skerry(&["reference", "--json"], ""))).is_ok());
}
