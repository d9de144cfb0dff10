//! How long a 200-line configuration takes: read, merged with a command line, typed, explained, and written out as the next steps get
//! it. `cargo run --release -p skerry-config --example bench [RUNS]` prints the median in milliseconds.

#![allow(clippy::print_stdout, reason = "printing is its job")]

use skerry_config::{Source, SourceKind, load, order};
use std::time::Instant;

fn main() {
    let runs = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_usize);
    let mut text = include_str!("../example.yaml").to_owned();
    let lines = text.lines().count();
    // 200 lines: the example, and modules to fill.
    let modules: Vec<String> = (lines..200).map(|number| format!("  - module{number}\n")).collect();
    text = text.replace("  modules:\n", &format!("  modules:\n{}", modules.concat()));
    let lines = text.lines().count();
    let mut times: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let start = Instant::now();
            let sources = order(vec![
                Source::new(
                    SourceKind::Cmdline,
                    "cmdline",
                    "console=ttyS0 skerry.root=/dev/vda k3os.labels.rack=7 hostname=h",
                ),
                Source::new(SourceKind::System, "/skerry/system/config.yaml", text.as_str()),
            ]);
            let loaded = load(&sources);
            let written = serde_json::to_string(&loaded.config).map_or(0, |json| json.len());
            assert!(loaded.usable().is_ok() && written > 0);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!("config: {lines} lines, {runs} runs, median {median:.3} ms");
}
