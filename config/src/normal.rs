//! Gives a source's tree its meaning, key by key: spellings become names, values get their shapes, and what does not fit is left out
//! and named. One bad key never costs another.

use crate::SourceKind;
use crate::check::{Check, Verdict};
use crate::merge::{Item, Tree};
use crate::report::Report;
use crate::schema::{self, Key, Shape};
use crate::suggest;
use crate::tree::{Field, Kind, Mark, Node, Scalar, Value};
use crate::write_file::BASE64;
use base64::Engine;
use std::collections::BTreeMap;

/// What is being read.
pub(crate) struct Reader<'a> {
    pub kind: SourceKind,
    pub report: &'a mut Report,
}

/// Gives the tree of a whole source its meaning; `None` when it is no map.
pub(crate) fn read(node: Node, kind: SourceKind, report: &mut Report) -> Option<Item> {
    let spot = report.spot(node.mark);
    let mut reader = Reader { kind, report };
    match node.value {
        Value::Map(fields) => {
            let fields = reader.one_section_name(fields);
            Some(Item::new(spot, Tree::Section(reader.section(fields, schema::TOP, ""))))
        }
        Value::Scalar(scalar) if scalar.is_null() => Some(Item::new(spot, Tree::Section(BTreeMap::new()))),
        _ => None,
    }
}

impl Reader<'_> {
    fn is_cmdline(&self) -> bool {
        self.kind == SourceKind::Cmdline
    }

    /// `k3os:` is `skerry:`; both in one document is a mistake. (A command line has both: ours come from the boot loader.)
    fn one_section_name(&mut self, fields: Vec<Field>) -> Vec<Field> {
        let ours = fields
            .iter()
            .find(|field| schema::find(schema::TOP, &field.key).is_some_and(|key| key.name == "skerry"))
            .is_some();
        let cmdline = self.is_cmdline();
        let mut kept = Vec::new();
        for field in fields {
            if schema::K3OS.is_spelled(&field.key) && ours && !cmdline {
                let what = "`skerry:` and `k3os:` are two names of one section, and stand in one document";
                self.report.error(field.mark, &field.key, what, "everything under skerry:");
            } else {
                kept.push(field);
            }
        }
        kept
    }

    /// A section: its keys by name.
    fn section(&mut self, mut fields: Vec<Field>, keys: &'static [Key], path: &str) -> BTreeMap<&'static str, Item> {
        let mut found: BTreeMap<&'static str, (String, Item)> = BTreeMap::new();
        // Several spellings of one key: the last in the order of their bytes counts, wherever it stands.
        fields.sort_by(|a, b| a.key.cmp(&b.key));
        for field in fields {
            let here = join(path, &field.key);
            let key = if path.is_empty() && schema::K3OS.is_spelled(&field.key) {
                Some("skerry")
            } else {
                None
            };
            let Some(key) = schema::find(keys, key.unwrap_or(&field.key)) else {
                self.unknown(&field, keys, path, &here);
                continue;
            };
            let (mark, spelled) = (field.mark, field.key);
            let Some(mut item) = self.value(field.value, key, &here) else {
                continue;
            };
            if !self.element(key, "", &mut item, mark, &here) {
                continue;
            }
            self.remark(key, mark, &here, &item);
            match found.get_mut(key.name) {
                Some((_, there)) if matches!(key.shape, Shape::Section(_)) => there.lay(item),
                Some((other, there)) => {
                    let what = format!("`{other}` and `{spelled}` are one key");
                    self.report
                        .warn(mark, &here, what, format!("`{spelled}` counts"), format!("only {}:", key.name));
                    (*other, *there) = (spelled, item);
                }
                None => {
                    found.insert(key.name, (spelled, item));
                }
            }
        }
        found.into_iter().map(|(name, (_, item))| (name, item)).collect()
    }

    /// What is to be said about a key that is accepted.
    fn remark(&mut self, key: &Key, mark: Mark, path: &str, item: &Item) {
        if item.value == Tree::Empty || matches!(&item.value, Tree::Section(keys) if keys.is_empty()) {
            return;
        }
        if let Some(why) = key.not_yet {
            let switched_off = matches!(item.value, Tree::Bool(false));
            if !switched_off {
                self.report
                    .warn(mark, path, format!("not in this version: {why}"), "read and kept", "");
            }
        }
        if key.secret && self.is_cmdline() {
            let what = "a secret on the kernel's command line, which every pod can read";
            self.report
                .warn(mark, path, what, "accepted", "into /skerry/system/config.yaml instead");
        }
    }

    fn unknown(&mut self, field: &Field, keys: &'static [Key], path: &str, here: &str) {
        if self.is_cmdline() && (path.is_empty() || schema::BOOT_WORDS.contains(&field.key.as_str())) {
            return;
        }
        if path.starts_with("network") && schema::network_not_yet(&field.key) {
            self.report.unknown(field.mark, here, "not in this version", "");
            return;
        }
        if self.report.is_full() {
            self.report.unknown(field.mark, here, "", "");
            return;
        }
        let top = std::ptr::eq(keys, schema::TOP);
        let elsewhere = if top { schema::SKERRY } else { schema::TOP };
        let other = schema::find(elsewhere, &field.key).filter(|key| key.name != "skerry");
        let is_root = top || std::ptr::eq(keys, schema::SKERRY);
        let mut what = "unknown key".to_owned();
        let write = match other {
            Some(key) if is_root && top => format!("{}: under skerry:", key.name),
            Some(key) if is_root => format!("{}: at the top level, not under {path}:", key.name),
            _ => match suggest::nearest(&field.key, keys.iter().flat_map(Key::all_spellings)) {
                Some(near) => {
                    what = format!("unknown key, did you mean `{near}`?");
                    format!("{near}:")
                }
                None => String::new(),
            },
        };
        self.report.unknown(field.mark, here, what, write);
    }

    /// A value in the shape of its key; `None` when it was left out.
    fn value(&mut self, node: Node, key: &'static Key, path: &str) -> Option<Item> {
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
            Shape::Section(keys) => Tree::Section(self.open_section(node, keys, path)?),
            Shape::Sections(keys) => self.sections(node, key, keys, path)?,
            Shape::Named(keys) => self.named(node, key, keys, path)?,
        };
        Some(Item::new(spot, tree))
    }

    fn open_section(&mut self, node: Node, keys: &'static [Key], path: &str) -> Option<BTreeMap<&'static str, Item>> {
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

    /// A scalar's text as written, unless the rule of its key refuses it.
    fn text(&mut self, node: Node, key: &Key, path: &str) -> Option<String> {
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
    fn allowed(&mut self, key: &Key, text: &str, mark: Mark, path: &str) -> bool {
        match key.check {
            Check::Text(rule) if !text.is_empty() => self.pass(rule(text), mark, path),
            _ => true,
        }
    }

    fn pass(&mut self, verdict: Verdict, mark: Mark, path: &str) -> bool {
        match verdict {
            Verdict::Good => true,
            Verdict::Doubtful(what, write) => {
                self.report.warn(mark, path, what, "", write);
                true
            }
            Verdict::Mended(what, done, write) => {
                self.report.push(mark, crate::Severity::Error, true, path, [what, done, write]);
                true
            }
            Verdict::Bad(what, write) => {
                self.report.error(mark, path, what, write);
                false
            }
        }
    }

    /// Whether the rule of a key lets a section (or map of names) pass.
    fn element(&mut self, key: &Key, name: &str, item: &mut Item, mark: Mark, path: &str) -> bool {
        match (key.check, key.shape) {
            (Check::Element(rule), Shape::Section(_)) => {
                let verdict = rule(name, item);
                self.pass(verdict, mark, path)
            }
            _ => true,
        }
    }

    /// k3OS: true only for a YAML boolean, or exactly the text `true`.
    fn boolean(&mut self, node: Node, path: &str) -> Option<bool> {
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

    fn number(&mut self, node: &Node, key: &Key, path: &str) -> Option<u64> {
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

    /// A list of texts; one text alone is a list of one.
    fn texts(&mut self, node: Node, key: &Key, path: &str) -> Option<Tree> {
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

    fn text_map(&mut self, node: Node, key: &Key, path: &str) -> Option<Tree> {
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

    fn pairs(&mut self, fields: Vec<Field>, prefix: &str, key: &Key, path: &str, pairs: &mut BTreeMap<String, Item>) {
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
    fn sections(&mut self, node: Node, key: &Key, keys: &'static [Key], path: &str) -> Option<Tree> {
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
    fn fits(&mut self, section: &Item, decoded: &mut usize, mark: Mark, path: &str) -> bool {
        const ALL_MAX: usize = 4 * crate::DECODED_MAX;
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
        *decoded += section.write_file().decoded().map_or(crate::DECODED_MAX, |bytes| bytes.len());
        true
    }

    fn named(&mut self, node: Node, key: &Key, keys: &'static [Key], path: &str) -> Option<Tree> {
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
            self.report.push(mark, crate::Severity::Error, true, path, words);
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

/// A path one key longer; names with dots and the like stand in brackets, which the command line takes too.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else if key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        format!("{path}.{key}")
    } else {
        format!("{path}[{key}]")
    }
}
