//! What the tests against a real control plane share: its program, and waiting.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The control plane shares the machine with whatever else is tested.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The multi-call program of a release, which `SKERRY_KUBERNETES` names; without it, it is said where these tests run. With `AGENT_LOG`
/// set, what the agent says is shown.
pub fn program() -> Option<PathBuf> {
    let program = std::env::var_os("SKERRY_KUBERNETES").map(PathBuf::from);
    if program.is_none() {
        // Not by println!, which is kept from who counts.
        let _ = writeln!(
            std::io::stderr(),
            "elsewhere: SKERRY_KUBERNETES names no program; the tier control-plane"
        ); // nobody reads
    } else if std::env::var_os("AGENT_LOG").is_some() {
        skerry_sys::log::begin("AGENT_DEBUG", &["skerry_agent"]);
    }
    program
}

/// Looks until something is found.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            eprintln!("{what}: after {:.1} s", begun.elapsed().as_secs_f32());
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
