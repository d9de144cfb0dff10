//! Reads one YAML document into a tree with positions, within bounds.
//!
//! The parser gives events; what a scalar stands for is ours ([`crate::scalar`]). Aliases are expanded here, and counted, so that a
//! "YAML bomb" is refused before it takes memory.

use crate::scalar;
use crate::tree::{Field, Kind, Mark, Node, Scalar, Value};
use base64::Engine;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// How deep lists and maps may nest.
pub(crate) const DEPTH_MAX: usize = 64;
/// How many nodes aliases may add, and how many bytes of text.
const ALIAS_NODES_MAX: usize = 50_000;
const ALIAS_BYTES_MAX: usize = 2 << 20;

/// Why a document could not be read, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub mark: Mark,
    pub what: String,
}

/// A document, with what was doubtful about it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// `None`: nothing but comments.
    pub root: Option<Node>,
    pub remarks: Vec<Remark>,
}

/// Something doubtful.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remark {
    pub mark: Mark,
    pub key: String,
    pub what: String,
    pub done: &'static str,
    pub write: String,
    /// It was left out.
    pub drops: bool,
}

enum Frame {
    List {
        mark: Mark,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        mark: Mark,
        anchor: usize,
        fields: Fields,
        key: Option<Key>,
    },
}

enum Key {
    /// A key whose value comes next; `merge`: it is `<<`.
    Named { text: String, mark: Mark, merge: bool },
    /// A list or a map as a key: its value is skipped.
    Odd,
}

/// The fields of a map in the making, found by their keys.
#[derive(Default)]
struct Fields {
    list: Vec<Field>,
    index: HashMap<String, usize>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize, usize)>,
    anchor_nodes: usize,
    anchor_bytes: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    root: Option<Node>,
    remarks: Vec<Remark>,
}

/// Reads the first document of a text.
pub(crate) fn read(text: &str) -> Result<Document, Fault> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Fault {
            mark: mark(*error.marker()),
            what: plain(error.info()),
        })?;
        let at = mark(span.start);
        match event {
            Event::StreamEnd => break,
            Event::DocumentEnd => {
                if matches!(parser.next_event(), Some(Ok((Event::DocumentStart(_), _)))) {
                    let what = "a second document follows in this text".to_owned();
                    let done = "only the first one counts";
                    builder.remarks.push(Remark {
                        mark: at,
                        key: String::new(),
                        what,
                        done,
                        write: String::new(),
                        drops: true,
                    });
                }
                break;
            }
            Event::Alias(id) => builder.alias(id, at)?,
            Event::Scalar(text, style, anchor, tag) => builder.scalar(&text, style, anchor, tag.as_deref(), at)?,
            Event::SequenceStart(anchor, _) => builder.open(
                Frame::List {
                    mark: at,
                    anchor,
                    items: Vec::new(),
                },
                at,
            )?,
            Event::MappingStart(anchor, _) => builder.open(
                Frame::Map {
                    mark: at,
                    anchor,
                    fields: Fields::default(),
                    key: None,
                },
                at,
            )?,
            Event::SequenceEnd | Event::MappingEnd => builder.close(),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
        }
    }
    Ok(Document {
        root: builder.root,
        remarks: builder.remarks,
    })
}

/// Where each scalar of the first document stands in a text: its line and column, and the bytes it takes.
pub(crate) fn scalars(text: &str) -> Result<BTreeMap<(usize, usize), Range<usize>>, String> {
    // The parser counts characters.
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let mut found = BTreeMap::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| format!("{}: this is not YAML: {}", error.marker().line(), plain(error.info())))?;
        match event {
            Event::StreamEnd | Event::DocumentEnd => break,
            Event::Scalar(_, style, ..) => {
                let at = mark(span.start);
                if let (Some(&start), Some(&end)) = (bytes.get(span.start.index()), bytes.get(span.end.index())) {
                    // A block's span begins with its first line, or with the sign that opens it.
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    let opens = text.get(..=start).filter(|_| is_block).and_then(|before| before.rfind(['|', '>']));
                    let start = opens.unwrap_or(start);
                    let length = text.get(start..end).map_or(0, |span| written(span, style));
                    found.insert((at.line, at.column), start..start + length);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// How many bytes of a scalar's span it takes itself: the span may reach over a comment to where the next token begins.
fn written(span: &str, style: ScalarStyle) -> usize {
    let plain_end = || {
        span.find([' ', '\t', '\n'])
            .map_or(span.len(), |_| comment(span).unwrap_or(span.len()))
    };
    let end = match style {
        ScalarStyle::DoubleQuoted => {
            let mut is_escaped = false;
            let close = span.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !is_escaped;
                is_escaped = *c == '\\' && !is_escaped;
                closes
            });
            close.map_or(span.len(), |(at, _)| at + 1)
        }
        ScalarStyle::SingleQuoted => {
            // A quote within is written twice.
            let mut quotes = span.match_indices('\'').skip(1).map(|(at, _)| at).peekable();
            let mut end = span.len();
            while let Some(at) = quotes.next() {
                if quotes.peek() == Some(&(at + 1)) {
                    quotes.next();
                } else {
                    end = at + 1;
                    break;
                }
            }
            end
        }
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
            let mut lines = span.split_inclusive('\n');
            let head = lines.next().unwrap_or_default().len();
            let lines: Vec<&str> = lines.collect();
            let first = lines.iter().find(|l| !l.trim().is_empty()).map_or(0, |l| indent(l));
            let ours = lines.iter().take_while(|l| l.trim().is_empty() || indent(l) >= first);
            head + ours.map(|l| l.len()).sum::<usize>()
        }
        ScalarStyle::Plain => plain_end(),
    };
    span.get(..end).map_or(end, |text| text.trim_end().len())
}

/// Where a comment begins: `#` after a blank.
fn comment(text: &str) -> Option<usize> {
    [" #", "\t#", "\n#"].iter().filter_map(|start| text.find(start)).min()
}

impl Builder {
    fn open(&mut self, frame: Frame, at: Mark) -> Result<(), Fault> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Fault {
                mark: at,
                what: format!("lists and maps nest deeper than {DEPTH_MAX}"),
            });
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) {
        let (node, anchor) = match self.stack.pop() {
            Some(Frame::List { mark, anchor, items }) => (
                Node {
                    mark,
                    value: Value::List(items),
                },
                anchor,
            ),
            Some(Frame::Map { mark, anchor, fields, .. }) => (
                Node {
                    mark,
                    value: Value::Map(fields.list),
                },
                anchor,
            ),
            None => return,
        };
        self.attach(node, anchor, false);
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, at: Mark) -> Result<(), Fault> {
        let plain = style == ScalarStyle::Plain;
        let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
        let value = match core {
            Some("binary") => binary(text, at)?,
            None if plain && tag.is_none() => Value::Scalar(scalar::resolve(text)),
            Some("int" | "bool" | "float" | "null") => Value::Scalar(scalar::resolve(text)),
            // Quoted, `!!str`, or a tag of somebody's own.
            _ => Value::Scalar(Scalar::text(text)),
        };
        self.attach(Node { mark: at, value }, anchor, plain && tag.is_none() && text == "<<");
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Mark) -> Result<(), Fault> {
        let Some((node, nodes, bytes)) = self.anchors.get(&id) else {
            return Err(Fault {
                mark: at,
                what: "an alias (`*…`) of something too large, or of what it stands in itself".to_owned(),
            });
        };
        self.alias_nodes += nodes;
        self.alias_bytes += bytes;
        if self.alias_nodes > ALIAS_NODES_MAX || self.alias_bytes > ALIAS_BYTES_MAX {
            return Err(Fault {
                mark: at,
                what: "aliases (`*…`) blow this text up beyond all use".to_owned(),
            });
        }
        let node = Node {
            mark: at,
            value: node.value.clone(),
        };
        if depth(&node) + self.stack.len() > DEPTH_MAX {
            return Err(Fault {
                mark: at,
                what: format!("lists and maps nest deeper than {DEPTH_MAX}"),
            });
        }
        self.attach(node, 0, false);
        Ok(())
    }

    /// Puts a finished node where it belongs: into the list, behind the key, or as a key.
    fn attach(&mut self, node: Node, anchor: usize, merge: bool) {
        if anchor > 0 {
            let (nodes, bytes) = node.size();
            self.anchor_nodes += nodes;
            self.anchor_bytes += bytes;
            if self.anchor_nodes <= ALIAS_NODES_MAX && self.anchor_bytes <= ALIAS_BYTES_MAX {
                self.anchors.insert(anchor, (node.clone(), nodes, bytes));
            }
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { fields, key, .. }) => match key.take() {
                None => *key = Some(as_key(&node, merge, &mut self.remarks)),
                Some(Key::Odd) => {}
                Some(Key::Named { merge: true, .. }) => fields.merge(node),
                Some(Key::Named { text, mark, merge: false }) => {
                    if fields.put(Field {
                        key: text.clone(),
                        mark,
                        value: node,
                    }) {
                        self.remarks.push(Remark {
                            mark,
                            what: "this key is written twice".to_owned(),
                            key: text,
                            done: "the last one counts",
                            write: String::new(),
                            drops: false,
                        });
                    }
                }
            },
        }
    }
}

impl Fields {
    /// Puts a field in; whether it takes the place of another.
    fn put(&mut self, field: Field) -> bool {
        if let Some(there) = self.index.get(&field.key).and_then(|&index| self.list.get_mut(index)) {
            *there = field;
            return true;
        }
        self.index.insert(field.key.clone(), self.list.len());
        self.list.push(field);
        false
    }

    /// `<<: *anchor`: what is not there yet.
    fn merge(&mut self, node: Node) {
        match node.value {
            Value::Map(more) => {
                for field in more {
                    if !self.index.contains_key(&field.key) {
                        self.put(field);
                    }
                }
            }
            Value::List(items) => items.into_iter().for_each(|item| self.merge(item)),
            _ => {}
        }
    }
}

/// A key as Go makes it: booleans become `true` and `false`, numbers decimal.
fn as_key(node: &Node, merge: bool, remarks: &mut Vec<Remark>) -> Key {
    let Value::Scalar(scalar) = &node.value else {
        let what = format!("{} stands where a key should", node.what());
        remarks.push(Remark {
            mark: node.mark,
            key: String::new(),
            what,
            done: "left out",
            write: String::new(),
            drops: true,
        });
        return Key::Odd;
    };
    let text = match scalar.kind {
        Kind::Text => scalar.text.clone(),
        Kind::Null => "null".to_owned(),
        _ => scalar.converted(),
    };
    if text != scalar.text {
        remarks.push(Remark {
            mark: node.mark,
            key: scalar.text.clone(),
            what: format!("without quotes this key is read as `{text}`"),
            done: "it counts as that, as in k3OS",
            write: format!("'{}':", scalar.text),
            drops: false,
        });
    }
    Key::Named {
        text,
        mark: node.mark,
        merge,
    }
}

fn binary(text: &str, at: Mark) -> Result<Value, Fault> {
    let compact: String = text.split_whitespace().collect();
    let bytes = crate::write_file::BASE64.decode(compact).map_err(|error| Fault {
        mark: at,
        what: format!("`!!binary` holds no base64: {error}"),
    })?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Value::Scalar(Scalar::text(text)),
        Err(error) => Value::Bytes(error.into_bytes()),
    })
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(fields) => 1 + fields.iter().map(|field| depth(&field.value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn mark(marker: Marker) -> Mark {
    Mark {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// The parser's words, where ours are plainer.
fn plain(info: &str) -> String {
    let said: Cow<'_, str> = if info.contains("tab") {
        format!("a tab stands where YAML allows only spaces ({info})").into()
    } else {
        info.into()
    };
    said.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn leaves_know_their_place() {
        let document = read("hostname: h\nk3os:\n  labels:\n    a: b\n").unwrap();
        let Some(Node {
            value: Value::Map(fields), ..
        }) = document.root
        else {
            panic!("a map")
        };
        assert_eq!(fields[0].value.mark, Mark { line: 1, column: 11 });
        assert_eq!(fields[1].mark, Mark { line: 2, column: 1 });
    }

    #[test]
    fn bombs_are_refused_in_milliseconds() {
        let start = Instant::now();
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..30 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.extend([format!("a{level}: &a{level} [{below}]\n")]);
        }
        assert!(read(&laughs).unwrap_err().what.contains("aliases"));
        assert!(read(&"[".repeat(1 << 20)).is_err());
        assert!(read(&"- ".repeat(1 << 19)).is_err());
        assert!(read(&"{a: ".repeat(1 << 18)).is_err());
        let text = "x".repeat(100_000);
        let big = format!("a: &a {text}\nb: [{}]\n", vec!["*a"; 1000].join(", "));
        assert!(read(&big).is_err());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn a_value_cannot_hold_itself() {
        assert!(read("a: &a [*a]").is_err());
    }

    #[test]
    fn merge_keys_fill_in_what_is_missing() {
        let document = read("base: &b {p: 1, q: 2}\nmore:\n  <<: *b\n  q: 3\n").unwrap();
        let Some(Node {
            value: Value::Map(fields), ..
        }) = document.root
        else {
            panic!("a map")
        };
        let Value::Map(more) = &fields[1].value.value else {
            panic!("a map")
        };
        assert_eq!(more.iter().map(|field| field.key.as_str()).collect::<Vec<_>>(), ["p", "q"]);
    }
}
