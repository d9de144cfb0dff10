//! How the machine was booted: `disk`, `live`, `install`, …

use crate::boot;
use crate::root::Root;

/// As `setup storage` left it; or to install, which the command line says. Of a repeated word the last counts, and a disk that was
/// booted is none to install onto.
pub fn of(root: &Root) -> String {
    let text = root.text("/run/skerry/storage.json").unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let mode = value.get("mode").and_then(|m| m.as_str()).unwrap_or("live");
    let cmdline = root.text("/proc/cmdline").unwrap_or_default();
    let asked = cmdline
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("skerry.mode=").or_else(|| word.strip_prefix("k3os.mode=")))
        .next_back();
    match (mode, asked) {
        ("live", Some(boot::INSTALL)) => boot::INSTALL.to_owned(),
        _ => mode.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::scratch;

    #[test]
    fn a_machine_that_was_started_to_install_does() {
        for (cmdline, storage, mode) in [
            ("skerry.mode=install", "live", "install"),
            ("quiet k3os.mode=install", "live", "install"),
            ("k3os.mode=install skerry.mode=live", "live", "live"),
            ("skerry.mode=install", "disk", "disk"),
            ("skerry.mode=install", "degraded", "degraded"),
            ("quiet", "live", "live"),
        ] {
            let root = scratch("mode");
            root.write("/proc/cmdline", cmdline, 0o644).unwrap();
            root.write("/run/skerry/storage.json", &format!("{{\"mode\":\"{storage}\"}}"), 0o644)
                .unwrap();
            assert_eq!(of(&root), mode, "{cmdline} {storage}");
        }
    }
}
