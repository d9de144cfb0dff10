//! What a source says, before anybody asked what it means: a tree of scalars, lists and maps with a position on each.

/// A place in one source: line and column count from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub mark: Mark,
    pub value: Value,
}

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    /// `!!binary` that is not text.
    Bytes(Vec<u8>),
    List(Vec<Node>),
    Map(Vec<Field>),
    /// Something that was already named as a problem.
    Dropped,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub key: String,
    pub mark: Mark,
    pub value: Node,
}

/// A scalar: what it stands for by YAML 1.1's rules, and its text as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub kind: Kind,
    pub text: String,
}

/// What a scalar stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
}

impl Scalar {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Text,
            text: text.into(),
        }
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The text as k3OS makes it of a value in `labels`, `environment` and `sysctls`: `0644` is `420` and `yes` is `true` there.
    pub fn converted(&self) -> String {
        match self.kind {
            Kind::Null => String::new(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Text => self.text.trim().to_owned(),
        }
    }
}

impl Node {
    pub fn text(mark: Mark, text: impl Into<String>) -> Self {
        Self {
            mark,
            value: Value::Scalar(Scalar::text(text)),
        }
    }

    /// Numbers of nodes and of bytes of text below and including this one.
    pub fn size(&self) -> (usize, usize) {
        let add = |(nodes, bytes): (usize, usize), (more, text): (usize, usize)| (nodes + more, bytes + text);
        match &self.value {
            Value::Scalar(scalar) => (1, scalar.text.len()),
            Value::Bytes(bytes) => (1, bytes.len()),
            Value::List(items) => items.iter().map(Self::size).fold((1, 0), add),
            Value::Map(fields) => fields
                .iter()
                .map(|field| add(field.value.size(), (0, field.key.len())))
                .fold((1, 0), add),
            Value::Dropped => (1, 0),
        }
    }

    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::Scalar(Scalar { kind: Kind::Null, .. }) => "nothing",
            Value::Scalar(Scalar { kind: Kind::Bool(_), .. }) => "yes or no",
            Value::Scalar(Scalar {
                kind: Kind::Int(_) | Kind::Float(_),
                ..
            }) => "a number",
            Value::Scalar(_) => "text",
            Value::Bytes(_) => "binary data",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Dropped => "unreadable",
        }
    }
}
