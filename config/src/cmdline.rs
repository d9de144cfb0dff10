//! The kernel's command line as a document: `k3os.labels.region=us "k3os.password=a b" hostname=h`.
//!
//! Words are cut as k3OS cut them, by the expression `("[^"]+")|([^\s]+=("[^"]+")|([^\s]+))`. A key's dots make maps, and what stands
//! in brackets is one name, dots and all: `k3os.sysctl[kernel.printk]="4 4 1 7"`.

use crate::tree::{Field, Mark, Node, Value};
use nom::branch::alt;
use nom::bytes::complete::{take_till1, take_while1};
use nom::character::complete::{char, multispace1, none_of};
use nom::combinator::{consumed, map, recognize, value};
use nom::multi::{many0, many1};
use nom::sequence::delimited;
use nom::{IResult, Input, Parser};

/// How deep names may nest.
const DEPTH_MAX: usize = 16;
/// How many words are read; the kernel itself stops at 4096 bytes.
const WORDS_MAX: usize = 4096;

/// One word, with the byte it begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub at: usize,
    pub key: &'a str,
    /// `None`: the word has no `=`.
    pub value: Option<&'a str>,
}

/// The words of a command line.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let space = map(multispace1::<&str, ()>, |_| None);
    let word = map(consumed(alt((recognize(quoted), assigned, bare))), |(raw, _)| Some(raw));
    // `bare` accepts whatever is no space, so the whole text is consumed.
    let Ok((_, found)) = many0(alt((space, word))).parse(text) else {
        return Vec::new();
    };
    found.into_iter().flatten().map(|raw| split(raw, offset(text, raw))).collect()
}

/// `"[^"]+"`
fn quoted(input: &str) -> IResult<&str, (), ()> {
    delimited(char('"'), value((), take_till1(|c| c == '"')), char('"')).parse(input)
}

/// `[^\s]+="[^"]+"`: the last `=` of the run that a quoted text follows, and the text.
fn assigned(input: &str) -> IResult<&str, &str, ()> {
    let (_, run) = bare(input)?;
    for (equals, _) in run.rmatch_indices('=') {
        if equals == 0 {
            break;
        }
        let (_, rest) = input.split_at(equals + 1);
        if let Ok((after, ())) = quoted(rest) {
            return Ok(input.take_split(input.len() - after.len()));
        }
    }
    Err(nom::Err::Error(()))
}

/// `[^\s]+`
fn bare(input: &str) -> IResult<&str, &str, ()> {
    take_while1(|c: char| !c.is_whitespace()).parse(input)
}

fn split(raw: &str, at: usize) -> Word<'_> {
    let raw = raw.trim_matches('"');
    match raw.split_once('=') {
        Some((key, value)) => Word {
            at,
            key: key.trim_matches('"'),
            value: Some(value.trim_matches('"')),
        },
        None => Word { at, key: raw, value: None },
    }
}

fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The names in a key: `a.b[c.d].e` is `a`, `b`, `c.d`, `e`.
pub(crate) fn names(key: &str) -> Vec<&str> {
    let bracketed = delimited(char('['), recognize(many1(none_of::<&str, &str, ()>("]"))), char(']'));
    let plain = take_while1(|c| c != '.' && c != '[');
    let dot = value("", char('.'));
    match many0(alt((bracketed, plain, dot, recognize(char('['))))).parse(key) {
        Ok((_, names)) => names.into_iter().filter(|name| !name.is_empty()).collect(),
        Err(_) => vec![key],
    }
}

/// The command line as a tree: what is repeated becomes a list.
pub(crate) fn read(text: &str) -> Node {
    let mut root = Node {
        mark: Mark { line: 1, column: 1 },
        value: Value::Map(Vec::new()),
    };
    for word in words(text).into_iter().take(WORDS_MAX) {
        let mark = Mark {
            line: 1,
            column: text.get(..word.at).map_or(0, |before| before.chars().count()) + 1,
        };
        let names = names(word.key);
        if !names.is_empty() && names.len() <= DEPTH_MAX {
            insert(&mut root, &names, Node::text(mark, word.value.unwrap_or("true")));
        }
    }
    root
}

fn insert(node: &mut Node, names: &[&str], leaf: Node) {
    let Some((name, deeper)) = names.split_first() else {
        match &mut node.value {
            Value::List(items) => items.push(leaf),
            // A bare `k3os` beside `k3os.token=…` says nothing.
            Value::Map(_) => {}
            _ => {
                let first = node.clone();
                node.value = Value::List(vec![first, leaf]);
            }
        }
        return;
    };
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(fields) = &mut node.value else { return };
    if let Some(field) = fields.iter_mut().find(|field| field.key == *name) {
        insert(&mut field.value, deeper, leaf);
    } else {
        let mark = leaf.mark;
        let mut value = leaf.clone();
        if !deeper.is_empty() {
            value.value = Value::Map(Vec::new());
            insert(&mut value, deeper, leaf);
        }
        fields.push(Field {
            key: (*name).to_owned(),
            mark,
            value,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_k3os_cut_them() {
        let cut = |text| {
            words(text)
                .into_iter()
                .map(|word| (word.key.to_owned(), word.value.map(str::to_owned)))
                .collect::<Vec<_>>()
        };
        let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(
            cut(r#""a.b=c d" e="f g" h"#),
            [pair("a.b", "c d"), pair("e", "f g"), ("h".to_owned(), None)]
        );
        assert_eq!(cut("a=b=c"), [pair("a", "b=c")]);
        assert_eq!(cut("a='b c'"), [pair("a", "'b"), ("c'".to_owned(), None)]);
        assert_eq!(cut("a= b=\"\""), [pair("a", ""), pair("b", "")]);
        assert_eq!(cut(r#"x="a b"c"#), [pair("x", "a b"), ("c".to_owned(), None)]);
        assert_eq!(cut(r#"a=b="c d""#), [pair("a", "b=\"c d")].map(|(key, value)| (key, value)));
        assert_eq!(cut("\"unclosed word"), [("unclosed".to_owned(), None), ("word".to_owned(), None)]);
    }

    #[test]
    fn brackets_hold_one_name() {
        assert_eq!(names("k3os.sysctl[kernel.printk]"), ["k3os", "sysctl", "kernel.printk"]);
        assert_eq!(names("a..b."), ["a", "b"]);
        assert_eq!(names("a[b.c"), ["a", "[", "b", "c"]);
        assert_eq!(names("a[]"), ["a", "[", "]"]);
    }
}
