//! The files that are generated from the code are those in the folder; `UPDATE=1 cargo test -p skerry-config` writes them anew.

use skerry_config::{Source, SourceKind, load, reference};
use std::path::Path;

#[allow(clippy::disallowed_methods, reason = "a generated file in the source tree needs no durability")]
fn verify(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).expect("the source tree can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is not what the types say: run `UPDATE=1 cargo test -p skerry-config` and look at the difference"
    );
}

#[test]
fn the_schema_is_that_of_the_types() {
    verify(
        "schema.json",
        &(serde_json::to_string_pretty(&reference::json_schema()).unwrap() + "\n"),
    );
}

#[test]
fn the_reference_page_is_that_of_the_keys() {
    for line in reference::lines() {
        assert!(!line.means.is_empty(), "{} has no words in its type", line.path);
    }
    verify("REFERENCE.md", &reference::page());
}

#[test]
fn the_whole_files_are_without_fault() {
    for (title, text) in reference::WHOLE {
        let loaded = load(&[Source::new(SourceKind::System, title, text)]);
        assert_eq!((loaded.problems.as_slice(), loaded.usable()), (&[][..], Ok(())), "{title}");
    }
}

#[test]
fn the_example_is_without_fault_and_explained() {
    let example = include_bytes!("../example.yaml");
    let loaded = load(&[Source::new(SourceKind::System, "example.yaml", &example[..])]);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.usable(), Ok(()));
    for entry in &loaded.explain {
        assert!(entry.origin.line > 0, "{entry:?}");
        assert!(!entry.effect.is_empty() || entry.path == "network.version", "{entry:?}");
    }
    // What `dump` writes means the same.
    let yaml = loaded.config.to_yaml().unwrap();
    let again = load(&[Source::new(SourceKind::System, "dump.yaml", yaml.clone())]);
    assert_eq!(again.config, loaded.config, "{yaml}");
    // And the file between the programs loses nothing.
    let json = serde_json::to_string(&loaded).unwrap();
    assert_eq!(serde_json::from_str::<skerry_config::Loaded>(&json).unwrap(), loaded);
}
