//! Values of many parts, each of which may be left out alone: lists, maps of texts, sections by name.

use super::{Reader, join};
use crate::check::Check;
use crate::merge::{Item, Tree};
use crate::schema::Key;
use crate::tree::{Field, Mark, Node, Value};
use crate::write_file::BASE64;
use crate::{DECODED_MAX, Severity};
use base64::Engine;
use std::collections::BTreeMap;

impl Reader<'_> {
    /// A list of texts; one text alone is a list of one.
    pub(super) fn texts(&mut self, node: Node, key: &Key, path: &str) -> Option<Tree> {
        let items = match node.value {
            Value::List(items) => items,
            Value::Scalar(_) => {
                let spot = self.report.spot(node.mark);
                let text = self.text(node, key, path)?;
                return Some(Tree::List(vec![Item::new(spot, Tree::Text(text))]));
            }
            _ => {
                self.report.error(
                    node.mark,
                    path,
                    format!("a list is expected here, not {}", node.what()),
                    "a list: one `- ` a line",
                );
                return None;
            }
        };
        let any = !items.is_empty();
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let (mark, spot, what) = (item.mark, self.report.spot(item.mark), item.what());
            match item.value {
                Value::Scalar(scalar) if scalar.is_null() => self.report.error(mark, &path, "an empty item", ""),
                Value::Scalar(scalar) => {
                    if self.allowed(key, &scalar.text, mark, &path) {
                        texts.push(Item::new(spot, Tree::Text(scalar.text)));
                    }
                }
                Value::Dropped => {}
                Value::List(words) => {
                    let line = plain_words(&words).join(" ");
                    self.report
                        .error(mark, &path, format!("text is expected here, not {what}"), as_item(&line));
                }
                Value::Map(fields) => {
                    let write = match fields.as_slice() {
                        [
                            Field {
                                key,
                                value:
                                    Node {
                                        value: Value::Scalar(scalar),
                                        ..
                                    },
                                ..
                            },
                        ] => as_item(&format!("{key}: {}", scalar.text)),
                        _ => String::new(),
                    };
                    self.report
                        .error(mark, &path, "text is expected here, and `: ` makes it a map", write);
                }
                Value::Bytes(_) => self.report.error(mark, &path, "text is expected here, not binary data", ""),
            }
        }
        // A list whose every item was left out does not clear what an earlier source said.
        (!any || !texts.is_empty()).then_some(if any { Tree::List(texts) } else { Tree::Empty })
    }

    pub(super) fn text_map(&mut self, node: Node, key: &Key, path: &str) -> Option<Tree> {
        let Value::Map(fields) = node.value else {
            let write = "a map: one `name: value` a line";
            self.report
                .error(node.mark, path, format!("a map is expected here, not {}", node.what()), write);
            return None;
        };
        if fields.is_empty() {
            return Some(Tree::Empty);
        }
        let mut pairs = BTreeMap::new();
        self.pairs(fields, "", key, path, &mut pairs);
        (!pairs.is_empty()).then_some(Tree::TextMap(pairs))
    }

    pub(super) fn pairs(&mut self, fields: Vec<Field>, prefix: &str, key: &Key, path: &str, pairs: &mut BTreeMap<String, Item>) {
        for field in fields {
            let name = if prefix.is_empty() {
                field.key
            } else {
                format!("{prefix}.{}", field.key)
            };
            let here = join(path, &name);
            let (mark, what) = (field.value.mark, field.value.what());
            let scalar = match field.value.value {
                Value::Scalar(scalar) => scalar,
                // On a command line the dots of `sysctl.kernel.printk` made maps of it.
                Value::Map(deeper) if self.is_cmdline() => {
                    self.pairs(deeper, &name, key, path, pairs);
                    continue;
                }
                Value::List(items) if self.is_cmdline() => {
                    let last = items.into_iter().next_back();
                    let Some(Node {
                        mark,
                        value: Value::Scalar(scalar),
                    }) = last
                    else {
                        continue;
                    };
                    self.report.warn(
                        mark,
                        &here,
                        "this key takes one value and is given several times",
                        "the last one counts",
                        "",
                    );
                    scalar
                }
                Value::List(items) => {
                    if let Some(Value::Scalar(scalar)) = items.into_iter().map(|item| item.value).next() {
                        let what = "one value is expected here, not a list";
                        self.report.warn(mark, &here, what, "the first one counts, as in k3OS", "");
                        scalar
                    } else {
                        self.report.error(mark, &here, "one value is expected here, not a list", "");
                        continue;
                    }
                }
                Value::Dropped => continue,
                _ => {
                    self.report
                        .error(mark, &here, format!("one value is expected here, not {what}"), "");
                    continue;
                }
            };
            let text = scalar.converted();
            if text != scalar.text.trim() && !scalar.is_null() {
                let what = format!("without quotes `{}` is read as `{text}`", scalar.text);
                self.report
                    .warn(mark, &here, what, "it counts as that, as in k3OS", format!("'{}'", scalar.text));
            }
            let good = match key.check {
                Check::Pair(rule) => self.pass(rule(&name, &text), mark, &here),
                _ => true,
            };
            if good {
                let spot = self.report.spot(mark);
                pairs.insert(name, Item::new(spot, Tree::Text(text)));
            }
        }
    }

    /// A list of sections; one section alone is a list of one.
    pub(super) fn sections(&mut self, node: Node, key: &Key, keys: &'static [Key], path: &str) -> Option<Tree> {
        let what = node.what();
        let items = match node.value {
            Value::List(items) => items,
            Value::Map(_) => vec![node],
            _ => {
                self.report.error(
                    node.mark,
                    path,
                    format!("a list is expected here, not {what}"),
                    "a list: one `- ` an item",
                );
                return None;
            }
        };
        let any = !items.is_empty();
        let mut sections = Vec::new();
        let mut decoded = 0;
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let (mark, spot, what) = (item.mark, self.report.spot(item.mark), item.what());
            let Value::Map(mut fields) = item.value else {
                if !matches!(item.value, Value::Dropped) {
                    self.report.error(mark, &path, format!("a map is expected here, not {what}"), "");
                }
                continue;
            };
            if key.name == "write_files" {
                encode_bytes(&mut fields);
            }
            let mut section = Item::new(spot, Tree::Section(self.section(fields, keys, &path)));
            if key.name == "write_files" && !self.fits(&section, &mut decoded, mark, &path) {
                continue;
            }
            let good = match key.check {
                Check::Element(rule) => {
                    let verdict = rule("", &mut section);
                    self.pass(verdict, mark, &path)
                }
                _ => true,
            };
            if good {
                sections.push(section);
            }
        }
        (!any || !sections.is_empty()).then_some(if any { Tree::List(sections) } else { Tree::Empty })
    }

    /// Whether all packed files so far stay below what may be unpacked in one source.
    pub(super) fn fits(&mut self, section: &Item, decoded: &mut usize, mark: Mark, path: &str) -> bool {
        const ALL_MAX: usize = 4 * DECODED_MAX;
        if !section.text("encoding").starts_with("gz") {
            return true;
        }
        if *decoded > ALL_MAX {
            self.report.error(
                mark,
                path,
                format!("all packed files of a source unpack to more than {} MiB", ALL_MAX >> 20),
                "",
            );
            return false;
        }
        *decoded += section.write_file().decoded().map_or(DECODED_MAX, |bytes| bytes.len());
        true
    }

    pub(super) fn named(&mut self, node: Node, key: &Key, keys: &'static [Key], path: &str) -> Option<Tree> {
        let Value::Map(fields) = node.value else {
            self.report.error(
                node.mark,
                path,
                format!("a map is expected here, not {}", node.what()),
                "one `name:` an entry",
            );
            return None;
        };
        let mut sections = BTreeMap::new();
        for field in fields {
            let here = join(path, &field.key);
            let spot = self.report.spot(field.value.mark);
            let section = match field.value.value {
                Value::Map(fields) => self.interface(fields, keys, &here),
                Value::Scalar(scalar) if scalar.is_null() => BTreeMap::new(),
                Value::Dropped => continue,
                _ => {
                    self.report.error(
                        field.value.mark,
                        &here,
                        format!("a map is expected here, not {}", field.value.what()),
                        "",
                    );
                    continue;
                }
            };
            let mut section = Item::new(spot, Tree::Section(section));
            let good = match key.check {
                Check::Element(rule) => {
                    let verdict = rule(&field.key, &mut section);
                    self.pass(verdict, field.mark, &here)
                }
                _ => true,
            };
            if good {
                sections.insert(field.key, section);
            }
        }
        Some(Tree::Named(sections))
    }
}

impl Reader<'_> {
    /// A named section. An interface whose addresses all had to be left out asks for one by DHCP: a typing error must not cut the
    /// machine off.
    fn interface(&mut self, fields: Vec<Field>, keys: &'static [Key], path: &str) -> BTreeMap<&'static str, Item> {
        let wanted = fields.iter().find(|field| field.key == "addresses").map(|field| field.value.mark);
        let mut section = self.section(fields, keys, path);
        let dhcp = matches!(
            section.get("dhcp4"),
            Some(Item {
                value: Tree::Bool(true),
                ..
            })
        );
        if let (Some(mark), false, false) = (wanted, section.contains_key("addresses"), dhcp) {
            let spot = self.report.spot(mark);
            let words = ["no address of this interface is left", "it asks for one by DHCP", ""].map(str::to_owned);
            self.report.push(mark, Severity::Error, true, path, words);
            section.insert("dhcp4", Item::new(spot, Tree::Bool(true)));
        }
        section
    }
}

/// `content: !!binary …` that is no text goes on as base64.
fn encode_bytes(fields: &mut Vec<Field>) {
    let encoding = |field: &Field| matches!(&field.value.value, Value::Scalar(scalar) if scalar.text.starts_with("gz"));
    let packed = fields.iter().any(|field| field.key == "encoding" && encoding(field));
    let Some(field) = fields.iter_mut().find(|field| field.key == "content") else {
        return;
    };
    let Value::Bytes(bytes) = &field.value.value else { return };
    let mark = field.value.mark;
    field.value = Node::text(mark, BASE64.encode(bytes));
    fields.retain(|field| field.key != "encoding");
    let value = Node::text(mark, if packed { "gz+b64" } else { "b64" });
    fields.push(Field {
        key: "encoding".to_owned(),
        mark,
        value,
    });
}

fn plain_words(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|node| match &node.value {
            Value::Scalar(scalar) => Some(scalar.text.clone()),
            _ => None,
        })
        .collect()
}

fn as_item(text: &str) -> String {
    format!("- '{}'", text.replace('\'', "''"))
}
