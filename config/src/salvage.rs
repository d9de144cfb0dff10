//! What can be saved from a document with a syntax error: every key that can be read by itself.
//!
//! A document is cut at the lines that begin a key at its outermost indentation; each piece is read alone; a piece that cannot be
//! read is cut once more one level in (so that one bad line in `k3os:` costs one key of it), and what remains bad is named.

use crate::document::{self, Fault, Remark};
use crate::tree::{Field, Mark, Node, Value};

/// How often a piece is cut again.
const LEVELS: usize = 4;

/// How many pieces are looked at.
const PIECES: usize = 2_000;

/// What was saved, and what was not.
#[derive(Default)]
pub(crate) struct Saved {
    pub fields: Vec<Field>,
    /// The key, or empty, and what is wrong there.
    pub lost: Vec<(String, Fault)>,
    pub remarks: Vec<Remark>,
}

/// Saves what can be saved.
pub(crate) fn salvage(text: &str) -> Saved {
    let lines: Vec<&str> = text.lines().collect();
    let mut saved = Saved::default();
    cut(&lines, 0, "", LEVELS, &mut saved);
    saved
}

fn cut(lines: &[&str], first: usize, path: &str, levels: usize, saved: &mut Saved) {
    let Some(indent) = lines.iter().find(|line| is_content(line)).map(|line| indent_of(line)) else {
        return;
    };
    let starts: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| indent_of(line) == indent && key_of(line).is_some())
        .map(|(index, _)| index)
        .take(PIECES)
        .collect();
    for (nth, &start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(lines.len());
        let Some(piece) = lines.get(start..end) else { continue };
        let key = piece.first().and_then(|line| key_of(line)).unwrap_or_default();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        one(piece, first + start, &key, &path, levels, saved);
    }
    // Lines before the first key that are no comment belong to nothing.
    let head = lines
        .iter()
        .take(starts.first().copied().unwrap_or(lines.len()))
        .position(|line| is_content(line) && line.trim() != "---");
    if let Some(stray) = head {
        let mark = Mark {
            line: first + stray + 1,
            column: indent + 1,
        };
        saved.lost.push((
            path.to_owned(),
            Fault {
                mark,
                what: "this line belongs to no key".to_owned(),
            },
        ));
    }
}

fn one(piece: &[&str], first: usize, key: &str, path: &str, levels: usize, saved: &mut Saved) {
    match document::read(&piece.join("\n")) {
        Ok(document) => {
            saved.remarks.extend(document.remarks.into_iter().map(|mut remark| {
                remark.mark.line += first;
                remark
            }));
            if let Some(Node {
                value: Value::Map(fields), ..
            }) = document.root
            {
                for mut field in fields {
                    shift(&mut field.value, first);
                    field.mark.line += first;
                    saved.fields.retain(|there| there.key != field.key);
                    saved.fields.push(field);
                }
            }
        }
        Err(fault) => {
            let opens = piece
                .first()
                .is_some_and(|line| line.split(" #").next().is_some_and(|line| line.trim_end().ends_with(':')));
            let below = piece.get(1..).unwrap_or_default();
            let indent = piece.first().map_or(0, |line| indent_of(line));
            let nested = below
                .iter()
                .find(|line| is_content(line))
                .is_some_and(|line| indent_of(line) > indent && key_of(line).is_some());
            if opens && nested && levels > 0 {
                let mut inner = Saved::default();
                cut(below, first + 1, path, levels - 1, &mut inner);
                saved.lost.append(&mut inner.lost);
                saved.remarks.append(&mut inner.remarks);
                let mark = Mark {
                    line: first + 1,
                    column: indent + 1,
                };
                let value = Node {
                    mark,
                    value: Value::Map(inner.fields),
                };
                saved.fields.push(Field {
                    key: key.to_owned(),
                    mark,
                    value,
                });
            } else {
                let mark = Mark {
                    line: fault.mark.line.max(1) + first,
                    column: fault.mark.column,
                };
                saved.lost.push((path.to_owned(), Fault { mark, what: fault.what }));
            }
        }
    }
}

fn shift(node: &mut Node, lines: usize) {
    node.mark.line += lines;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| shift(item, lines)),
        Value::Map(fields) => fields.iter_mut().for_each(|field| {
            field.mark.line += lines;
            shift(&mut field.value, lines);
        }),
        _ => {}
    }
}

fn indent_of(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with(['#', '%'])
}

/// The key that a line begins, if it looks like one.
fn key_of(line: &str) -> Option<String> {
    let line = line.trim();
    let (key, rest) = line.split_once(':')?;
    let key = key.trim().trim_matches(['"', '\'']);
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    (plain && !line.starts_with("- ") && (rest.is_empty() || rest.starts_with([' ', '\t']))).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(saved: &Saved) -> Vec<&str> {
        saved.fields.iter().map(|field| field.key.as_str()).collect()
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_its_key_only() {
        let saved = salvage("hostname: \"h\nssh_authorized_keys:\n- ssh-rsa A\nk3os:\n  token: [x\n  password: p\n");
        assert_eq!(keys(&saved), ["ssh_authorized_keys", "k3os"]);
        let Value::Map(inner) = &saved.fields[1].value.value else {
            panic!("a map")
        };
        assert_eq!(inner[0].key, "password");
        assert_eq!(inner[0].mark, Mark { line: 6, column: 3 });
        let lost: Vec<_> = saved.lost.iter().map(|(key, fault)| (key.as_str(), fault.mark.line)).collect();
        assert_eq!(lost.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["hostname", "k3os.token"]);
    }

    #[test]
    fn nothing_is_saved_from_what_is_no_config() {
        assert!(salvage("\u{0}\u{1}[[[").fields.is_empty());
    }
}
