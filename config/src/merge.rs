//! Trees whose keys are understood, and how a later one wins over an earlier one.
//!
//! Sections merge key by key; everything else (lists, maps of texts) is replaced as a whole. A value that is there but empty clears
//! what an earlier source said.

use crate::WriteFile;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A place: the number of the source, line, column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub source: usize,
    pub line: usize,
    pub column: usize,
}

/// A value, where it stands, and where it stood before and lost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub spot: Spot,
    pub lost: Vec<Spot>,
    pub value: Tree,
}

/// A value in its final shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// Said to be nothing.
    Empty,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Item>),
    TextMap(BTreeMap<String, Item>),
    Section(BTreeMap<&'static str, Item>),
    Named(BTreeMap<String, Item>),
}

impl Item {
    pub fn new(spot: Spot, value: Tree) -> Self {
        Self {
            spot,
            lost: Vec::new(),
            value,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Tree::Section(keys) => keys.get(name),
            _ => None,
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Tree::Section(keys) = &mut self.value {
            keys.remove(name);
        }
    }

    /// The text of a key of this section; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Self {
                value: Tree::Text(text), ..
            }) => text,
            _ => "",
        }
    }

    pub fn set_text(&mut self, name: &str, text: &str) {
        if let Tree::Section(keys) = &mut self.value {
            if let Some(item) = keys.get_mut(name) {
                item.value = Tree::Text(text.to_owned());
            }
        }
    }

    /// This section as a file to write.
    pub fn write_file(&self) -> WriteFile {
        let text = |name| self.text(name).to_owned();
        WriteFile {
            encoding: text("encoding"),
            content: text("content"),
            owner: text("owner"),
            path: text("path"),
            permissions: text("permissions"),
        }
    }

    /// Lays a later value over this one.
    pub fn lay(&mut self, mut later: Self) {
        match (&mut self.value, later.value) {
            (Tree::Section(keys), Tree::Section(more)) => lay_all(keys, more),
            (Tree::Named(names), Tree::Named(more)) => lay_all(names, more),
            (_, value) => {
                later.lost.append(&mut self.lost);
                later.lost.push(self.spot);
                *self = Self { value, ..later };
            }
        }
    }

    /// As JSON, in the shape of the types; `None` where nothing was said.
    pub fn json(&self) -> Option<Json> {
        fn object<'a>(pairs: impl Iterator<Item = (String, &'a Item)>) -> Json {
            pairs
                .filter_map(|(name, item)| Some((name, item.json()?)))
                .collect::<Map<_, _>>()
                .into()
        }
        Some(match &self.value {
            Tree::Empty => return None,
            Tree::Bool(value) => Json::Bool(*value),
            Tree::Number(value) => (*value).into(),
            Tree::Text(text) => Json::String(text.clone()),
            Tree::List(items) => items.iter().filter_map(Self::json).collect(),
            Tree::TextMap(pairs) | Tree::Named(pairs) => object(pairs.iter().map(|(name, item)| (name.clone(), item))),
            Tree::Section(keys) => object(keys.iter().map(|(name, item)| ((*name).to_owned(), item))),
        })
    }
}

fn lay_all<K: Ord>(keys: &mut BTreeMap<K, Item>, more: BTreeMap<K, Item>) {
    for (name, later) in more {
        match keys.get_mut(&name) {
            Some(item) => item.lay(later),
            None => {
                keys.insert(name, later);
            }
        }
    }
}
