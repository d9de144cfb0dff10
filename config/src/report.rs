//! Collects problems, and knows what the sources are called.

use crate::merge::Spot;
use crate::tree::Mark;
use crate::{Origin, Problem, Severity};

/// More problems than this in one run are not listed: nobody would read them.
const PROBLEMS_MAX: usize = 500;

/// Problems in the making.
pub(crate) struct Report {
    names: Vec<String>,
    source: usize,
    problems: Vec<(Spot, Problem)>,
    left_off: usize,
}

impl Report {
    pub fn new(names: Vec<String>) -> Self {
        Self {
            names,
            source: 0,
            problems: Vec::new(),
            left_off: 0,
        }
    }

    /// Whether no more problems are listed, so that none need be worded.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    /// From here on, marks are places in this source.
    pub fn enter(&mut self, source: usize) {
        self.source = source;
    }

    pub fn spot(&self, mark: Mark) -> Spot {
        Spot {
            source: self.source,
            line: mark.line,
            column: mark.column,
        }
    }

    pub fn origin(&self, spot: Spot) -> Origin {
        Origin {
            source: self.names.get(spot.source).cloned().unwrap_or_default(),
            line: spot.line,
            column: spot.column,
        }
    }

    /// Something was left out because it is wrong.
    pub fn error(&mut self, mark: Mark, path: &str, what: impl Into<String>, write: impl Into<String>) {
        self.push(
            mark,
            Severity::Error,
            true,
            path,
            [what.into(), "left out".to_owned(), write.into()],
        );
    }

    /// Something was left out that means nothing here.
    pub fn unknown(&mut self, mark: Mark, path: &str, what: impl Into<String>, write: impl Into<String>) {
        self.push(
            mark,
            Severity::Warning,
            true,
            path,
            [what.into(), "ignored".to_owned(), write.into()],
        );
    }

    /// Something is doubtful, and was kept.
    pub fn warn(&mut self, mark: Mark, path: &str, what: impl Into<String>, done: impl Into<String>, write: impl Into<String>) {
        self.push(mark, Severity::Warning, false, path, [what.into(), done.into(), write.into()]);
    }

    /// Good to know.
    pub fn note(&mut self, mark: Mark, path: &str, what: impl Into<String>, done: impl Into<String>, write: impl Into<String>) {
        self.push(mark, Severity::Note, false, path, [what.into(), done.into(), write.into()]);
    }

    pub fn push(&mut self, mark: Mark, severity: Severity, drops: bool, path: &str, words: [String; 3]) {
        if self.is_full() {
            self.left_off += 1;
            return;
        }
        let [what, done_instead, write_instead] = words;
        let spot = self.spot(mark);
        let origin = self.origin(spot);
        self.problems.push((
            spot,
            Problem {
                origin,
                severity,
                path: path.to_owned(),
                what,
                done_instead,
                write_instead,
                drops,
            },
        ));
    }

    /// The problems, in order of the sources and of the lines in them.
    pub fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(spot, _)| (spot.source, spot.line, spot.column));
        let mut problems: Vec<_> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        if self.left_off > 0 {
            problems.push(Problem {
                origin: Origin::default(),
                severity: Severity::Error,
                path: String::new(),
                what: format!("{} more problems are not listed", self.left_off),
                done_instead: String::new(),
                write_instead: String::new(),
                drops: true,
            });
        }
        problems
    }
}
