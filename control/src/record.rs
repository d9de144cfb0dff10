//! The text form of everything that crosses PID 1's boundary: a header line, then records of `key value` lines.
//!
//! ```text
//! skerry-units 1
//!
//! unit kubelet
//! argv /usr/bin/kubelet
//! argv --node-ip=10.0.2.15
//! ```
//!
//! A record ends at an empty line. A key may repeat; order is kept. In values a newline, a
//! carriage return and a backslash are escaped by a backslash; nothing else is.

use thiserror::Error;

/// The largest document that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The largest number of lines in one document.
pub const MAX_LINES: usize = 20_000;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// More than [`MAX_BYTES`] bytes or [`MAX_LINES`] lines.
    #[error("reading a {format} document: larger than {MAX_BYTES} bytes or {MAX_LINES} lines")]
    TooLarge {
        /// The expected format name.
        format: &'static str,
    },
    /// The first line is not `FORMAT VERSION`.
    #[error("reading a {format} document: the first line is {found:?}, expected \"{format} 1\"")]
    Header {
        /// The expected format name.
        format: &'static str,
        /// The line that was found, shortened.
        found: String,
    },
    /// A field's value does not mean what its key needs.
    #[error("reading line {line}: {key}: {reason}")]
    Field {
        /// Line number, from 1.
        line: usize,
        /// The key of the field.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// A record has no field that it must have.
    #[error("reading {record}: no {key} given")]
    Missing {
        /// What kind of record.
        record: &'static str,
        /// The absent key.
        key: &'static str,
    },
}

/// One `key value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Line number, from 1; 0 for a field that was not read.
    pub line: usize,
    /// The word before the first blank.
    pub key: String,
    /// The rest, unescaped.
    pub value: String,
}

/// A run of fields that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// In the order given.
    pub fields: Vec<Field>,
}

impl Record {
    /// Adds a field.
    pub fn push(&mut self, key: &str, value: impl AsRef<str>) -> &mut Self {
        self.fields.push(Field {
            line: 0,
            key: key.to_owned(),
            value: value.as_ref().to_owned(),
        });
        self
    }
    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|f| f.key == key).map(|f| f.value.as_str())
    }
    /// All values of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |f| f.key == key).map(|f| f.value.as_str())
    }
    /// The first value of `key` as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

/// Writes a document.
pub fn encode(format: &str, records: &[Record]) -> String {
    let mut out = format!("{format} 1\n");
    for record in records {
        out.push('\n');
        for Field { key, value, .. } in &record.fields {
            out.push_str(key);
            out.push(' ');
            for c in value.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    c => out.push(c),
                }
            }
            out.push('\n');
        }
    }
    out
}

/// Reads a document of the given format. Bytes that are not UTF-8 become U+FFFD.
pub fn decode(format: &'static str, bytes: &[u8]) -> Result<Vec<Record>, Malformed> {
    if bytes.len() > MAX_BYTES {
        return Err(Malformed::TooLarge { format });
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, l)| l);
    if first != format!("{format} 1") {
        return Err(Malformed::Header {
            format,
            found: first.chars().take(40).collect(),
        });
    }
    let mut records = vec![];
    let mut current = Record::default();
    for (at, line) in lines {
        if at >= MAX_LINES {
            return Err(Malformed::TooLarge { format });
        }
        if line.is_empty() {
            if !current.fields.is_empty() {
                records.push(std::mem::take(&mut current));
            }
            continue;
        }
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        current.fields.push(Field {
            line: at + 1,
            key: key.to_owned(),
            value: unescape(value),
        });
    }
    if !current.fields.is_empty() {
        records.push(current);
    }
    Ok(records)
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_ours() {
        assert!(matches!(decode("skerry-units", b"hello"), Err(Malformed::Header { .. })));
        assert!(matches!(decode("skerry-units", b"skerry-units 2\n"), Err(Malformed::Header { .. })));
        assert!(matches!(
            decode("skerry-units", &vec![b'a'; MAX_BYTES + 1]),
            Err(Malformed::TooLarge { .. })
        ));
        let many = format!("x 1\n{}", "\n".repeat(MAX_LINES + 1));
        assert!(matches!(decode("x", many.as_bytes()), Err(Malformed::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode("x", &[b"x 1\n", bytes.as_slice()].concat());
        }

        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec("(?s).{0,40}", 1..20)) {
            let mut record = Record::default();
            for v in &values {
                record.push("key", v);
            }
            let read = decode("x", encode("x", &[record]).as_bytes()).unwrap();
            let got: Vec<_> = read.iter().flat_map(|r| r.all("key")).map(str::to_owned).collect();
            prop_assert_eq!(got, values);
        }
    }
}
