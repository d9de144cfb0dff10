//! The largest sources that are let in, of the nastiest kinds, are done with in bounded time, even without optimisation and on a busy machine.

use skerry_config::{Source, SourceKind, load};
use std::time::{Duration, Instant};

const MAX: usize = 1 << 20;

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn large_sources_are_done_with_in_bounded_time() {
    let documents = [
        ("unknown keys", lines(150_000, |n| format!("a{n}:\n"))),
        ("the same keys", lines(150_000, |n| format!("a{}: 1\n", n % 7))),
        ("broken pieces", lines(100_000, |n| format!("a{n}: [\n"))),
        (
            "broken pieces one level in",
            format!("k3os:\n{}", lines(100_000, |n| format!("  a{n}: [\n"))),
        ),
        (
            "merge keys",
            format!("b: &b {{x: 1}}\nc:\n{}", lines(100_000, |_| "  <<: *b\n".into())),
        ),
        ("anchors", lines(60_000, |n| format!("&a{n} b{n}: *a{n}\n"))),
        ("open quotes", "\"".repeat(MAX)),
        ("flow pairs", format!("[{}", "a: b, ".repeat(170_000))),
    ];
    for (what, mut text) in documents {
        text.truncate(MAX);
        let start = Instant::now();
        let loaded = load(&[Source::new(SourceKind::System, what, text)]);
        assert!(loaded.problems.len() <= 501, "{what}");
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {:?}", start.elapsed());
    }
    let start = Instant::now();
    load(&[Source::new(
        SourceKind::Cmdline,
        "c",
        lines(100_000, |n| format!("k3os.a{n}=\"=\"\" ")),
    )]);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_is_too_large_is_refused() {
    let loaded = load(&[Source::new(SourceKind::System, "big", vec![b'#'; MAX + 1])]);
    assert_eq!(loaded.refused, ["big"]);
    assert_eq!(loaded.readable, 0);
}
