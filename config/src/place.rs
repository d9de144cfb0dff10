//! Where configuration was looked for, and what came of it: what `skerry config sources` shows.

use crate::SourceKind;
use serde::{Deserialize, Serialize};

/// One place that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The source's name, as messages call it.
    pub name: String,
    /// Its kind; none for a volume as a whole.
    pub kind: Option<SourceKind>,
    /// Something was there.
    pub found: bool,
    /// The configuration of this boot was made from it.
    pub counts: bool,
    /// Why it counts or does not, for a person.
    pub why: String,
}

impl Place {
    /// A place where nothing was.
    pub fn absent(name: impl Into<String>, kind: Option<SourceKind>, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            found: false,
            counts: false,
            why: why.into(),
        }
    }

    /// A source that counts.
    pub fn counted(name: impl Into<String>, kind: SourceKind, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Some(kind),
            found: true,
            counts: true,
            why: why.into(),
        }
    }

    /// Something that is there and does not count.
    pub fn ignored(name: impl Into<String>, kind: Option<SourceKind>, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            found: true,
            counts: false,
            why: why.into(),
        }
    }
}

/// Places as a table for a console.
pub fn table(places: &[Place]) -> String {
    let state = |p: &Place| match (p.found, p.counts) {
        (_, true) => "counts",
        (true, false) => "ignored",
        (false, false) => "not there",
    };
    let width = places.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).max("SOURCE".len());
    let mut lines = vec![format!("{:width$}  {:9}  WHY", "SOURCE", "STATE")];
    lines.extend(
        places
            .iter()
            .map(|p| format!("{:width$}  {:9}  {}", p.name, state(p), p.why).trim_end().to_owned()),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_place_the_weakest_first() {
        let places = [
            Place::absent("esp:/config.yaml", Some(SourceKind::Esp), ""),
            Place::ignored("SKERRYCFG on /dev/sda1", None, "this machine is configured"),
            Place::counted("/proc/cmdline", SourceKind::Cmdline, "always"),
        ];
        assert_eq!(
            table(&places),
            "SOURCE                  STATE      WHY\n\
             esp:/config.yaml        not there\n\
             SKERRYCFG on /dev/sda1  ignored    this machine is configured\n\
             /proc/cmdline           counts     always\n"
        );
        let json = serde_json::to_string(&places).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Place>>(&json).unwrap(), places);
        assert!(json.contains(r#""kind":"cmdline""#), "{json}");
    }
}
