//! A value in the shape of its key: texts, booleans, numbers, sections.

use super::Reader;
use crate::Severity;
use crate::check::{Check, Verdict};
use crate::merge::{Item, Tree};
use crate::schema::{self, Key, Shape};
use crate::tree::{Kind, Mark, Node, Scalar, Value};
use std::collections::BTreeMap;

impl Reader<'_> {
    /// A value in the shape of its key; `None` when it was left out.
    pub(super) fn value(&mut self, node: Node, key: &'static Key, path: &str) -> Option<Item> {
        let spot = self.report.spot(node.mark);
        if matches!(node.value, Value::Dropped) {
            return None;
        }
        let empty = matches!(&node.value, Value::Scalar(scalar) if scalar.is_null() || scalar.text.is_empty());
        let tree = match key.shape {
            Shape::Section(_) if empty => return None,
            _ if empty => Tree::Empty,
            Shape::Text => Tree::Text(self.text(node, key, path)?),
            Shape::Bool => Tree::Bool(self.boolean(node, path)?),
            Shape::Number => Tree::Number(self.number(&node, key, path)?),
            Shape::Texts => self.texts(node, key, path)?,
            Shape::TextMap => self.text_map(node, key, path)?,
            Shape::Section(keys) => Tree::Section(match (key.short, &node.value) {
                (Some(name), Value::Scalar(_)) => self.short_section(node, keys, name, path)?,
                (Some(name), Value::List(_)) if self.is_cmdline() => self.short_section(node, keys, name, path)?,
                _ => self.open_section(node, keys, path)?,
            }),
            Shape::Sections(keys) => self.sections(node, key, keys, path)?,
            Shape::Named(keys) => self.named(node, key, keys, path)?,
        };
        Some(Item::new(spot, tree))
    }

    pub(super) fn open_section(&mut self, node: Node, keys: &'static [Key], path: &str) -> Option<BTreeMap<&'static str, Item>> {
        match node.value {
            Value::Map(fields) => Some(self.section(fields, keys, path)),
            // k3OS's own words: a bare `k3os` or `k3os.install`.
            _ if self.is_cmdline() => {
                let what = "this word names a section and says nothing";
                self.report.warn(node.mark, path, what, "ignored", format!("{path}.KEY=VALUE"));
                None
            }
            _ => {
                self.report
                    .error(node.mark, path, format!("a section is expected here, not {}", node.what()), "");
                None
            }
        }
    }

    /// A text where a section may stand: the value of its key `name`. The other keys are cleared: what an earlier source said there
    /// was not meant for this value.
    fn short_section(&mut self, node: Node, keys: &'static [Key], name: &str, path: &str) -> Option<BTreeMap<&'static str, Item>> {
        let spot = self.report.spot(node.mark);
        let key = schema::find(keys, name)?;
        let item = self.value(node, key, path)?;
        let mut section: BTreeMap<_, _> = keys.iter().map(|key| (key.name, Item::new(spot, Tree::Empty))).collect();
        section.insert(key.name, item);
        Some(section)
    }

    /// A scalar's text as written, unless the rule of its key refuses it.
    pub(super) fn text(&mut self, node: Node, key: &Key, path: &str) -> Option<String> {
        let mark = node.mark;
        let text = match node.value {
            Value::Scalar(scalar) => scalar.text,
            Value::Bytes(_) => {
                self.report.error(mark, path, "binary data where text is expected", "");
                return None;
            }
            Value::List(items) if self.is_cmdline() => {
                let last = items.into_iter().next_back()?;
                self.report.warn(
                    last.mark,
                    path,
                    "this key takes one value and is given several times",
                    "the last one counts",
                    "",
                );
                return self.text(last, key, path);
            }
            _ => {
                self.report
                    .error(mark, path, format!("text is expected here, not {}", node.what()), "");
                return None;
            }
        };
        self.allowed(key, &text, mark, path).then_some(text)
    }

    /// Whether the rule of a key lets a text pass.
    pub(super) fn allowed(&mut self, key: &Key, text: &str, mark: Mark, path: &str) -> bool {
        match key.check {
            Check::Text(rule) if !text.is_empty() => self.pass(rule(text), mark, path),
            _ => true,
        }
    }

    pub(super) fn pass(&mut self, verdict: Verdict, mark: Mark, path: &str) -> bool {
        match verdict {
            Verdict::Good => true,
            Verdict::Doubtful(what, write) => {
                self.report.warn(mark, path, what, "", write);
                true
            }
            Verdict::Mended(what, done, write) => {
                self.report.push(mark, Severity::Error, true, path, [what, done, write]);
                true
            }
            Verdict::Bad(what, write) => {
                self.report.error(mark, path, what, write);
                false
            }
        }
    }

    /// k3OS: true only for a YAML boolean, or exactly the text `true`.
    pub(super) fn boolean(&mut self, node: Node, path: &str) -> Option<bool> {
        let mark = node.mark;
        let what = node.what();
        match node.value {
            Value::Scalar(Scalar {
                kind: Kind::Bool(value), ..
            }) => Some(value),
            Value::Scalar(Scalar { kind: Kind::Text, text }) => {
                if text != "true" && text != "false" {
                    self.report.warn(
                        mark,
                        path,
                        format!("`{text}` as text is neither true nor false"),
                        "taken for false",
                        "true or false",
                    );
                }
                Some(text == "true")
            }
            Value::List(items) if self.is_cmdline() => {
                let last = items.into_iter().next_back()?;
                self.report.warn(
                    last.mark,
                    path,
                    "this key takes one value and is given several times",
                    "the last one counts",
                    "",
                );
                self.boolean(last, path)
            }
            _ => {
                self.report
                    .error(mark, path, format!("true or false is expected here, not {what}"), "true or false");
                None
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, key: &Key, path: &str) -> Option<u64> {
        let mark = node.mark;
        let number = match &node.value {
            Value::Scalar(Scalar {
                kind: Kind::Int(value), ..
            }) => u32::try_from(*value).ok(),
            Value::Scalar(Scalar { kind: Kind::Text, text }) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number.map(u64::from) else {
            self.report
                .error(mark, path, format!("a whole number is expected here, not {}", node.what()), "");
            return None;
        };
        match key.check {
            Check::Number(rule) if !self.pass(rule(number), mark, path) => None,
            _ => Some(number),
        }
    }
}
