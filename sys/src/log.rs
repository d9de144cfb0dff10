//! Log lines on standard error, which the supervisor keeps: level, words, fields. No clock: the keeper adds it.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

struct Lines {
    ours: &'static [&'static str],
    all: bool,
}

/// Begins to write what crates whose names begin with one of `ours` say at `info` and above; with `variable` set in the environment,
/// all that anybody says: libraries say much.
pub fn begin(variable: &str, ours: &'static [&'static str]) {
    let all = std::env::var_os(variable).is_some();
    // Fails only if there is one already.
    let _ = tracing::subscriber::set_global_default(Lines { ours, all });
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = self.ours.iter().any(|name| metadata.target().starts_with(name));
        self.all || ours && *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().as_str().to_ascii_lowercase());
        event.record(&mut text);
        text.0.push('\n');
        // One write a line, so that lines stay whole; who does not listen misses it.
        let _ = std::io::stderr().write_all(text.0.as_bytes());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
