//! Gives a source's tree its meaning, key by key: spellings become names, values get their shapes, and what does not fit is left out
//! and named. One bad key never costs another.

mod lists;
mod values;

use crate::SourceKind;
use crate::check::Check;
use crate::merge::{Item, Tree};
use crate::report::Report;
use crate::schema::{self, Key, Shape};
use crate::suggest;
use crate::tree::{Field, Mark, Node, Value};
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
