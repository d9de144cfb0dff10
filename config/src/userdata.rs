//! What a cloud hands over: user data, which may be a script, and the plain texts of its metadata.

use crate::tree::{Field, Mark, Node, Value};
use crate::write_file::BASE64;
use base64::Engine;

/// Where a script given as user data is put: k3OS's place.
const SCRIPT: &str = "/run/k3os/userdata";

const START: Mark = Mark { line: 1, column: 1 };

/// User data that is a script (`#!`), or holds a NUL byte: a file to write, and the command that reads it. `None`: it is a document.
pub(crate) fn script(bytes: &[u8]) -> Option<Node> {
    let (encoding, content) = if bytes.contains(&0) {
        ("b64", BASE64.encode(bytes))
    } else if bytes.starts_with(b"#!") {
        match std::str::from_utf8(bytes) {
            Ok(text) => ("", text.to_owned()),
            Err(_) => ("b64", BASE64.encode(bytes)),
        }
    } else {
        return None;
    };
    let file = [
        ("encoding", encoding),
        ("content", &content),
        ("owner", "root"),
        ("path", SCRIPT),
        ("permissions", "0700"),
    ];
    let file = map(file.into_iter().map(|(key, text)| (key, Node::text(START, text))));
    let command = Node::text(START, format!("source {SCRIPT}"));
    Some(map(
        [("write_files", list(vec![file])), ("run_cmd", list(vec![command]))].into_iter()
    ))
}

/// A host name from metadata: its first line.
pub(crate) fn hostname(text: &str) -> Node {
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(name) => map(std::iter::once(("hostname", Node::text(START, name)))),
        None => map(std::iter::empty()),
    }
}

/// SSH keys from metadata: one a line.
pub(crate) fn keys(text: &str) -> Node {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let keys: Vec<Node> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| Node::text(Mark { line, column: 1 }, text))
        .collect();
    if keys.is_empty() {
        map(std::iter::empty())
    } else {
        map(std::iter::once(("ssh_authorized_keys", list(keys))))
    }
}

fn map<'a>(pairs: impl Iterator<Item = (&'a str, Node)>) -> Node {
    let fields = pairs
        .map(|(key, value)| Field {
            key: key.to_owned(),
            mark: START,
            value,
        })
        .collect();
    Node {
        mark: START,
        value: Value::Map(fields),
    }
}

fn list(items: Vec<Node>) -> Node {
    Node {
        mark: START,
        value: Value::List(items),
    }
}
