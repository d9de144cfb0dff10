//! Reads the documents of a YAML text as kubectl does (YAML 1.1 as Go's reader has it: `yes` is true, `0644` is octal), within bounds.
//!
//! One thing is done otherwise: keys are what is written. For kubectl `y: 1` in a `ConfigMap` is the key `true`.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// How deep lists and maps may nest.
const DEPTH: usize = 100;
/// How many nodes one text may have, aliases expanded.
const NODES: usize = 500_000;
/// And bytes of text in them.
const BYTES: usize = 16 << 20;

/// Reads all documents; empty ones are left out. The error says the line.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        builder.event(event).map_err(|why| format!("line {}: {why}", span.start.line()))?;
        if builder.ended {
            break;
        }
    }
    Ok(builder.documents)
}

enum Frame {
    List(usize, Vec<Value>),
    Map(usize, Map<String, Value>, Option<String>, Vec<Value>),
}

#[derive(Default)]
struct Builder {
    documents: Vec<Value>,
    stack: Vec<Frame>,
    /// Value, nodes, bytes.
    anchors: HashMap<usize, (Value, usize, usize)>,
    nodes: usize,
    bytes: usize,
    ended: bool,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::StreamEnd => self.ended = true,
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                self.count(1, text.len())?;
                self.attach(value, anchor, &text)?;
            }
            Event::SequenceStart(anchor, _) => self.open(Frame::List(anchor, vec![]))?,
            Event::MappingStart(anchor, _) => self.open(Frame::Map(anchor, Map::new(), None, vec![]))?,
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Frame::List(anchor, items)) => self.attach(Value::Array(items), anchor, "")?,
                Some(Frame::Map(anchor, mut map, _, merges)) => {
                    for merged in merges {
                        merge(&mut map, merged);
                    }
                    self.attach(Value::Object(map), anchor, "")?;
                }
                None => {}
            },
            Event::Alias(id) => {
                let (value, nodes, bytes) = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or("an alias (`*…`) of something that is not there, or of what it stands in itself")?;
                self.count(nodes, bytes)?;
                if self.stack.len() + depth(&value) > DEPTH {
                    return Err(format!("lists and maps nest deeper than {DEPTH}"));
                }
                self.attach(value, 0, "")?;
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, bytes: usize) -> Result<(), String> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > NODES || self.bytes > BYTES {
            return Err("the text is too large, or aliases (`*…`) blow it up".to_owned());
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame) -> Result<(), String> {
        self.count(1, 0)?;
        if self.stack.len() >= DEPTH {
            return Err(format!("lists and maps nest deeper than {DEPTH}"));
        }
        self.stack.push(frame);
        Ok(())
    }

    /// Puts a finished value where it belongs: into the list, behind the key, or as a key (`written`).
    fn attach(&mut self, value: Value, anchor: usize, written: &str) -> Result<(), String> {
        if anchor > 0 {
            let (nodes, bytes) = size(&value);
            self.anchors.insert(anchor, (value.clone(), nodes, bytes));
        }
        match self.stack.last_mut() {
            None if value.is_null() => {}
            None => self.documents.push(value),
            Some(Frame::List(_, items)) => items.push(value),
            Some(Frame::Map(_, map, key, merges)) => match key.take() {
                None => {
                    *key = Some(match value {
                        Value::Array(_) | Value::Object(_) => return Err("a list or a map is no key".to_owned()),
                        Value::String(text) if written.is_empty() => text,
                        _ => written.to_owned(),
                    });
                }
                Some(key) if key == "<<" => merges.push(value),
                Some(key) if map.contains_key(&key) => return Err(format!("the key {key:?} is written twice")),
                Some(key) => {
                    map.insert(key, value);
                }
            },
        }
        Ok(())
    }
}

/// `<<`: keys that are not there yet; of several maps the first counts.
fn merge(map: &mut Map<String, Value>, merged: Value) {
    match merged {
        Value::Object(more) => {
            for (key, value) in more {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(list) => list.into_iter().for_each(|one| merge(map, one)),
        _ => {}
    }
}

fn size(value: &Value) -> (usize, usize) {
    let add = |(n, b): (usize, usize), (m, c): (usize, usize)| (n + m, b + c);
    match value {
        Value::Array(items) => items.iter().map(size).fold((1, 0), add),
        Value::Object(map) => map.iter().map(|(k, v)| add((1, k.len()), size(v))).fold((1, 0), add),
        Value::String(text) => (1, text.len()),
        _ => (1, 8),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let core = tag.filter(|t| t.is_yaml_core_schema()).map(|t| t.suffix.as_str());
    match core {
        // As YAML 1.1 has it: bytes, which JSON carries in base64 anyway.
        Some("binary") => Ok(Value::String(text.split_whitespace().collect())),
        Some("int" | "bool" | "float" | "null") => plain(text),
        None if style == ScalarStyle::Plain && tag.is_none() => plain(text),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Ok(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Ok(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN" | ".NAN" => {
            return Err(format!("{text} is a number that JSON does not have; quote it"));
        }
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) && text.len() <= 64;
    let number = if numeric { number(&text.replace('_', "")) } else { None };
    Ok(number.map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// As Go's `ParseInt(text, 0, 64)`, `ParseUint`, and then `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, body) = match lower.as_str() {
        d if d.starts_with("0x") => (16, d.strip_prefix("0x")?),
        d if d.starts_with("0b") => (2, d.strip_prefix("0b")?),
        d if d.starts_with("0o") => (8, d.strip_prefix("0o")?),
        d if d.len() > 1 && d.starts_with('0') => (8, d.strip_prefix('0')?),
        d => (10, d),
    };
    if body.starts_with(|c: char| c.is_ascii_hexdigit()) {
        if let Ok(value) = u64::from_str_radix(body, base) {
            if !negative {
                return Some(value.into());
            }
            if let Ok(value) = i64::try_from(-i128::from(value)) {
                return Some(value.into());
            }
        }
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let only = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let formed = only(whole) && only(part) && !(whole.is_empty() && part.is_empty()) && exponent.is_none_or(|e| !e.is_empty() && only(e));
    if !formed {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        let mut all = documents(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn as_kubectl_reads() {
        let cases = [
            ("a: yes", json!({"a": true})),
            ("a: 'yes'", json!({"a": "yes"})),
            ("a: !!str yes", json!({"a": "yes"})),
            ("a: 0644", json!({"a": 420})),
            ("a: \"0644\"", json!({"a": "0644"})),
            ("a: 0o644", json!({"a": 420})),
            ("a: 0x1F", json!({"a": 31})),
            ("a: 089", json!({"a": 89.0})),
            ("a: 1_000", json!({"a": 1000})),
            ("a: -5", json!({"a": -5})),
            ("a: 18446744073709551615", json!({"a": u64::MAX})),
            ("a: 1.5e3", json!({"a": 1500.0})),
            ("a: .5", json!({"a": 0.5})),
            ("a: 1.2.3", json!({"a": "1.2.3"})),
            ("a: 100m", json!({"a": "100m"})),
            ("a: 10.0.0.1", json!({"a": "10.0.0.1"})),
            ("a: 2021-01-01", json!({"a": "2021-01-01"})),
            ("a: 12:30", json!({"a": "12:30"})),
            ("a: ~", json!({"a": null})),
            ("a:", json!({"a": null})),
            ("a: -x", json!({"a": "-x"})),
            ("y: 1\non: 2\n3: 4", json!({"y": 1, "on": 2, "3": 4})),
            ("'': 1", json!({"": 1})),
            ("a: |\n  x\n  y\n", json!({"a": "x\ny\n"})),
            ("a: !!binary aGFs\n", json!({"a": "aGFs"})),
            (r#"{"a": [1, "b", null, false]}"#, json!({"a": [1, "b", null, false]})),
            (
                "base: &b {x: 1, z: [1]}\na: {<<: *b, x: 2}\n",
                json!({"base": {"x": 1, "z": [1]}, "a": {"x": 2, "z": [1]}}),
            ),
            ("a: {<<: [{x: 1}, {x: 2, y: 3}]}", json!({"a": {"x": 1, "y": 3}})),
        ];
        for (text, value) in cases {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn several_documents() {
        assert_eq!(
            documents("a: 1\n---\n# nothing\n---\nb: 2\n...\n---\n- 3\n").unwrap(),
            [json!({"a": 1}), json!({"b": 2}), json!([3])]
        );
        for empty in ["", "\n", "---\n", "# only this\n", "---\n---\n"] {
            assert_eq!(documents(empty).unwrap(), [] as [Value; 0], "{empty:?}");
        }
    }

    #[test]
    fn what_is_refused_says_where() {
        for (text, says) in [
            ("a: 1\nb: [", "line"),
            ("a: 1\na: 2", "line 2: the key \"a\" is written twice"),
            ("a: *nobody", "line 1"),
            ("? [a]\n: 1", "is no key"),
            ("a: .inf", "quote it"),
        ] {
            let why = documents(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        let deep = "[".repeat(DEPTH + 2);
        assert!(documents(&deep).unwrap_err().contains("deeper"));
        let lines = (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1));
        let bomb: String = std::iter::once("a0: &a0 [x]\n".to_owned()).chain(lines).collect();
        let why = documents(&bomb).unwrap_err();
        assert!(why.contains("blow") || why.contains("deeper"), "{why}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z/.]{1,8}", inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_yaml(value in any_json()) {
            let read = documents(&value.to_string()).unwrap();
            let wanted: Vec<Value> = if value.is_null() { vec![] } else { vec![value] };
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn nothing_panics(text in "[-a-z0-9:&*<|>!'\"{}\\[\\],# \\n]{0,80}") {
            let _ = documents(&text);
        }
    }
}
